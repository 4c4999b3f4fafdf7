package readmodel

import (
	"context"

	"closure/domain"
)

// AccountGroups lists the account groups of a client, or with a user those that the user is in. Otherwise as Accounts.
func (m *Model) AccountGroups(ctx context.Context, clientID, userID string, page domain.Page) ([]domain.AccountGroupResource, int, error) {
	return list[domain.AccountGroupResource](ctx, m, accountGroups, clientID, userID, page)
}

func accountGroupRow(g *domain.AccountGroup) row {
	r := g.Resource()
	return row{
		of: accountGroups, id: r.ID, clientID: g.Client(), createdAt: r.CreatedAt, updatedAt: r.UpdatedAt,
		users: ids(r.Users), resource: r,
	}
}
