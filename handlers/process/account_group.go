package process

import (
	"context"
	"errors"

	"closure/domain"
	"closure/eventstore"
)

// recordGroupClosure tells the users that one of their groups is CLOSED: close last, so that nobody is offboarded over a group
// that is open. Who owns what was in a group with a German tax resident waits for a tax statement from then on.
func (m *Manager) recordGroupClosure(ctx context.Context, c eventstore.Recorded) error {
	group, err := m.engine.AccountGroup(ctx, c.ClientID, c.AggregateID)
	if err != nil {
		return err
	}
	for _, user := range group.Users {
		told := domain.RecordGroupClosure{AccountGroupID: group.ID, ClosedAt: c.Time}
		if user.Owns() {
			told.TaxStatementYear = group.TaxStatementYear()
		}
		if err := m.tellUser(ctx, c, user.ID, &told); err != nil {
			return err
		}
	}
	return nil
}

// tellUser tells a user of a group. One who does not know it is left alone: the group was opened by a version that told nobody.
// No replica that lags can look like that, since the engine asks the leader before it refuses.
func (m *Manager) tellUser(ctx context.Context, c eventstore.Recorded, userID string, p domain.Payload) error {
	err := m.do(ctx, c, domain.Ref{Kind: domain.KindUser, ID: userID}, p)
	var refusal *domain.Refusal
	if errors.As(err, &refusal) && (refusal.Kind == domain.NotFound || refusal.Kind == domain.Conflict) {
		m.cfg.Logger.Warn("a user does not know the account group", "user", userID, "account_group", c.AggregateID, "error", err)
		return nil
	}
	return err
}

// recordDomicile tells the accounts of a group that it has another domicile. Those that are closing go on by the new rule,
// and one that only the former rule held closes with that.
//
// The group's domicile as it is now counts, not that of the commit: changes are told in their order, and what is told last
// is what holds.
func (m *Manager) recordDomicile(ctx context.Context, c eventstore.Recorded) error {
	group, err := m.engine.AccountGroup(ctx, c.ClientID, c.AggregateID)
	if err != nil {
		return err
	}
	for _, id := range group.AccountIDs() {
		if link, _ := group.Link(id); link.ClosedAt != nil {
			continue
		}
		account := domain.Ref{Kind: domain.KindAccount, ID: id}
		err := m.do(ctx, c, account, &domain.RecordDomicile{AccountGroupID: group.ID, Domicile: group.Domicile})
		var refusal *domain.Refusal
		if errors.As(err, &refusal) && refusal.Kind == domain.NotFound {
			continue // linked and not begun yet: its close request will read the domicile
		}
		if err != nil {
			return err
		}
	}
	return nil
}
