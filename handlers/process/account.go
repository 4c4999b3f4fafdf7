package process

import (
	"context"

	"closure/domain"
	"closure/eventstore"
)

// recordAccountClosure tells the group that one of its accounts is CLOSED: close last, so that a group never closes over an
// account that is open.
func (m *Manager) recordAccountClosure(ctx context.Context, c eventstore.Recorded) error {
	account, err := m.engine.Account(ctx, c.ClientID, c.AggregateID)
	if err != nil {
		return err
	}
	group := domain.Ref{Kind: domain.KindAccountGroup, ID: account.GroupID}
	return m.do(ctx, c, group, &domain.RecordAccountClosure{AccountID: c.AggregateID, ClosedAt: c.Time})
}
