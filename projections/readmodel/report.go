package readmodel

import (
	"context"

	"closure/domain"
)

// Reports lists the reports of a client, or with a user those that are for this user. A report does not change, so
// sorting by updated_at is sorting by created_at. Otherwise as Accounts.
func (m *Model) Reports(ctx context.Context, clientID, userID string, page domain.Page) ([]domain.ReportResource, int, error) {
	return list[domain.ReportResource](ctx, m, reports, clientID, userID, page)
}

// reportRow is a report of a group. It belongs to its user alone, whoever else is in the group.
func reportRow(g *domain.AccountGroup, report domain.Report) row {
	r := g.ReportResource(report)
	return row{
		of: reports, id: r.ID, clientID: g.Client(), createdAt: r.CreatedAt, updatedAt: r.CreatedAt,
		users: []string{r.UserID}, resource: r,
	}
}
