package handlers

import (
	"context"
	"errors"
	"fmt"

	"closure/domain"
	"closure/eventstore"
)

// openAccount opens an account, link first: the group learns of the account before it begins, so that it can never close
// over an account that it does not know.
func (e *Engine) openAccount(ctx context.Context, c domain.Command, p *domain.OpenAccount) (Outcome, error) {
	state, head, err := e.known(ctx, c.Target)
	if err != nil {
		return Outcome{}, err
	}
	if state.Exists() {
		if state, head, err = e.refresh(ctx, c.Target, state, head); err != nil {
			return Outcome{}, err
		}
		// It is unchanged, or a conflict; neither needs the group.
		if _, err := state.Decide(c); err != nil {
			return Outcome{}, err
		}
		return Outcome{Unchanged, head.Sequence}, nil
	}
	link := c
	link.ID = domain.DeriveID("link_account", c.Target.ID, c.ID)
	// With the cause and the time on the link, whoever finishes a cut-short open writes the very same commit (FinishOpen).
	link.CausationID = c.ID
	link.Target = domain.Ref{Kind: domain.KindAccountGroup, ID: p.AccountGroupID}
	link.Payload = &domain.LinkAccount{AccountID: c.Target.ID, Type: p.Type, Name: p.Name, Status: p.Status}
	linked, err := e.execute(ctx, link, nil)
	if err != nil {
		return Outcome{}, err
	}
	opened, err := e.openLinked(ctx, c, linked.state.(*domain.AccountGroup))
	if err == nil && linked.Result == Accepted {
		// When a process manager was quicker to finish this open, the account is there unchanged; all the same it was this
		// command that opened it.
		opened.Result = Accepted
	}
	return opened, err
}

// openLinked opens an account that its group has linked. It withdraws the link when the account turns out to exist
// already in another group; only when that is done the error is the refusal.
func (e *Engine) openLinked(ctx context.Context, c domain.Command, group *domain.AccountGroup) (Outcome, error) {
	p := *c.Payload.(*domain.OpenAccount)
	c.Payload = &p
	link, ok := group.Link(c.Target.ID)
	if !ok {
		// Withdrawn in the meantime: the account is somewhere else, and the command's own decision says so.
		return Outcome{}, &domain.Refusal{Kind: domain.Conflict, Detail: "the id " + c.Target.ID + " is taken by an account with other content"}
	}
	p.Link = &link
	opened, err := e.execute(ctx, c, nil)
	var refusal *domain.Refusal
	if errors.As(err, &refusal) && refusal.Kind == domain.Conflict {
		if err := e.withdrawLinkElsewhere(ctx, c, group.ID); err != nil {
			return Outcome{}, fmt.Errorf("withdraw the link of account %s: %w", c.Target.ID, err)
		}
	}
	return opened.Outcome, err
}

// withdrawLinkElsewhere takes back the group's link to an account that belongs to another group.
func (e *Engine) withdrawLinkElsewhere(ctx context.Context, c domain.Command, groupID string) error {
	state, _, err := e.latest(ctx, c.Target)
	if err != nil {
		return err
	}
	if !state.Exists() || state.(*domain.Account).GroupID == groupID {
		return nil
	}
	withdraw := c
	withdraw.ID = domain.DeriveID("withdraw_account_link", c.Target.ID, c.ID)
	withdraw.Target = domain.Ref{Kind: domain.KindAccountGroup, ID: groupID}
	withdraw.Payload = &domain.WithdrawAccountLink{AccountID: c.Target.ID}
	_, err = e.execute(ctx, withdraw, nil)
	return err
}

// FinishOpen opens the account that a commit of a group has linked, when the open was cut short between the two. The
// link tells the command that it came from, so this open is the same commit, whoever is quicker. Doing it again does nothing.
func (e *Engine) FinishOpen(ctx context.Context, link eventstore.Commit, accountID string) error {
	state, err := e.load(ctx, link.ClientID, domain.Ref{Kind: domain.KindAccountGroup, ID: link.AggregateID})
	if err != nil {
		return err
	}
	group := state.(*domain.AccountGroup)
	linked, ok := group.Link(accountID)
	if !ok {
		// Withdrawn in the meantime: load shows all that the log has, so it cannot be that the link is not yet seen.
		return nil
	}
	open := domain.Command{
		Target: domain.Ref{Kind: domain.KindAccount, ID: accountID},
		ID:     link.CausationID, ClientID: link.ClientID, Actor: link.Actor,
		RequestID: link.RequestID, CorrelationID: link.CorrelationID, Time: link.Time,
		// Without a status the link's holds.
		Payload: &domain.OpenAccount{AccountGroupID: group.ID, Type: linked.Type, Name: linked.Name},
	}
	_, err = e.openLinked(ctx, open, group)
	var refusal *domain.Refusal
	if errors.As(err, &refusal) && refusal.Kind == domain.Conflict {
		// It exists elsewhere, and the link is withdrawn: that is how this open ends.
		return nil
	}
	return err
}

// requestAccountClosure looks at the group's withdrawals and its domicile before each attempt: what is known then decides.
func (e *Engine) requestAccountClosure(ctx context.Context, c domain.Command, p *domain.RequestAccountClosure) (Outcome, error) {
	request := *p
	c.Payload = &request
	d, err := e.execute(ctx, c, func(ctx context.Context, state domain.Aggregate) error {
		if !state.Exists() {
			return nil
		}
		group, err := e.groupOf(ctx, state.(*domain.Account))
		if err != nil {
			return err
		}
		request.Withdrawals, request.Domicile = group.OutstandingWithdrawals(), group.Domicile
		return nil
	})
	return d.Outcome, err
}

// groupOf is the account's group as it is now.
func (e *Engine) groupOf(ctx context.Context, a *domain.Account) (*domain.AccountGroup, error) {
	group, _, err := e.latest(ctx, domain.Ref{Kind: domain.KindAccountGroup, ID: a.GroupID})
	if err != nil {
		return nil, err
	}
	return group.(*domain.AccountGroup), nil
}

// Account reads an account as it is right now: what was just accepted shows.
func (e *Engine) Account(ctx context.Context, clientID, id string) (*domain.Account, error) {
	state, err := e.load(ctx, clientID, domain.Ref{Kind: domain.KindAccount, ID: id})
	if err != nil {
		return nil, err
	}
	return state.(*domain.Account), nil
}

// AccountClosure is the account's checklist. Before closing was asked for it shows what the group has against it, too.
func (e *Engine) AccountClosure(ctx context.Context, clientID, id string) (domain.Closure, error) {
	a, err := e.Account(ctx, clientID, id)
	if err != nil {
		return domain.Closure{}, err
	}
	outlook := domain.Outlook{Now: e.now().UTC()}
	if a.RequestedAt() == nil {
		group, err := e.groupOf(ctx, a)
		if err != nil {
			return domain.Closure{}, err
		}
		outlook.Withdrawals, outlook.Domicile = group.OutstandingWithdrawals(), group.Domicile
	}
	return a.Closure(outlook), nil
}
