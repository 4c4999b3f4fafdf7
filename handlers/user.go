package handlers

import (
	"context"
	"errors"
	"fmt"

	"closure/domain"
	"closure/eventstore"
)

// User reads a user as it is right now: what was just accepted shows.
func (e *Engine) User(ctx context.Context, clientID, id string) (*domain.User, error) {
	state, err := e.load(ctx, clientID, domain.Ref{Kind: domain.KindUser, ID: id})
	if err != nil {
		return nil, err
	}
	return state.(*domain.User), nil
}

// linkUsers tells every user of a group that is about to be opened: link first. linked says that one of them did not know it
// yet. A user who refuses ends the open: those who were told before are told that it is off, and only then the error is the
// refusal.
func (e *Engine) linkUsers(ctx context.Context, c domain.Command, p *domain.OpenAccountGroup) (linked bool, err error) {
	for _, user := range p.Users {
		link := c
		link.ID = domain.DeriveID("link_account_group", user.ID, c.Target.ID, c.ID)
		// With the cause and the time on the link, whoever finishes a cut-short open writes the same (FinishOpenGroup).
		link.CausationID = c.ID
		link.Target = domain.Ref{Kind: domain.KindUser, ID: user.ID}
		link.Payload = &domain.LinkGroup{AccountGroupID: c.Target.ID, Open: *p}
		done, err := e.execute(ctx, link, nil)
		var refusal *domain.Refusal
		if errors.As(err, &refusal) {
			return false, e.withdrawn(ctx, c, p, err)
		}
		if err != nil {
			return false, err
		}
		linked = linked || done.Result == Accepted
	}
	return linked, nil
}

// withdrawn withdraws the links of a group that was refused; only when that is done the error is the refusal.
func (e *Engine) withdrawn(ctx context.Context, c domain.Command, p *domain.OpenAccountGroup, refusal error) error {
	if err := e.withdrawUserLinks(ctx, c, p); err != nil {
		return err
	}
	// The same open may have got through in between, by whoever finished it: then its users have to know it after all.
	group, _, err := e.latest(ctx, c.Target)
	if err != nil {
		return err
	}
	if opened := group.(*domain.AccountGroup); opened.OpenedAs(p) && opened.Client() == c.ClientID {
		if _, err := e.linkUsers(ctx, c, p); err != nil {
			return err
		}
	}
	return refusal
}

// withdrawUserLinks takes back what the users were told of a group that was not opened as they were told.
func (e *Engine) withdrawUserLinks(ctx context.Context, c domain.Command, p *domain.OpenAccountGroup) error {
	group, _, err := e.latest(ctx, c.Target)
	if err != nil {
		return err
	}
	if group.(*domain.AccountGroup).OpenedAs(p) && group.Client() == c.ClientID {
		return nil
	}
	for _, user := range p.Users {
		ref := domain.Ref{Kind: domain.KindUser, ID: user.ID}
		state, _, err := e.latest(ctx, ref)
		if err != nil {
			return err
		}
		u := state.(*domain.User)
		if u.Client() != c.ClientID || !u.LinkedAs(c.Target.ID, p) {
			continue
		}
		withdraw := c
		withdraw.ID = domain.DeriveID("withdraw_account_group_link", user.ID, c.Target.ID, c.ID)
		withdraw.Target = ref
		withdraw.Payload = &domain.WithdrawGroupLink{AccountGroupID: c.Target.ID}
		if _, err := e.execute(ctx, withdraw, nil); err != nil {
			return fmt.Errorf("withdraw the link of account group %s: %w", c.Target.ID, err)
		}
	}
	return nil
}

// FinishOpenGroup opens the account group that a commit of a user has linked, when the open was cut short in between. Doing
// it again does nothing.
func (e *Engine) FinishOpenGroup(ctx context.Context, link eventstore.Commit, linked domain.GroupLinked) error {
	user, err := e.User(ctx, link.ClientID, link.AggregateID)
	if err != nil {
		return err
	}
	if _, ok := user.Group(linked.AccountGroupID); !ok {
		return nil // withdrawn in the meantime
	}
	_, err = e.openAccountGroup(ctx, domain.Command{
		Target: domain.Ref{Kind: domain.KindAccountGroup, ID: linked.AccountGroupID},
		ID:     link.CausationID, ClientID: link.ClientID, Actor: link.Actor,
		RequestID: link.RequestID, CorrelationID: link.CorrelationID, Time: link.Time,
	}, &domain.OpenAccountGroup{
		Users: linked.Users, Type: linked.Type, Domicile: linked.Domicile, TaxResidencies: linked.TaxResidencies, Status: linked.Status,
	})
	var refusal *domain.Refusal
	if errors.As(err, &refusal) && refusal.Kind == domain.Conflict {
		// Another user refused, or the group exists with other content; the links are withdrawn: that is how this open ends.
		return nil
	}
	return err
}
