package readmodel

import (
	"context"

	"closure/domain"
)

// Accounts lists the accounts of a client, or with a user those of the groups that the user is in, as OWNER, CHILD or
// GUARDIAN. The number is how many there are in all. An unknown client or user has an empty list, never nil. A page that
// cannot be is a *domain.Refusal (Invalid).
func (m *Model) Accounts(ctx context.Context, clientID, userID string, page domain.Page) ([]domain.AccountResource, int, error) {
	return list[domain.AccountResource](ctx, m, accounts, clientID, userID, page)
}

func accountRow(a *domain.Account) row {
	r := a.Resource()
	return row{
		of: accounts, id: r.ID, clientID: a.Client(), createdAt: r.CreatedAt, updatedAt: r.UpdatedAt,
		users: ids(r.Users), resource: r,
	}
}

func ids(parties []domain.Party) []string {
	users := make([]string, 0, len(parties))
	for _, p := range parties {
		users = append(users, p.ID)
	}
	return users
}
