package handlers

import (
	"context"
	"errors"
	"strconv"

	"closure/domain"
)

// openAccountGroup opens a group, link first: each of its users learns of it before it begins, so that nobody is offboarded
// over a group that is still to come. A new group takes a securities account number; one that exists already takes none.
func (e *Engine) openAccountGroup(ctx context.Context, c domain.Command, p *domain.OpenAccountGroup) (Outcome, error) {
	state, head, err := e.known(ctx, c.Target)
	if err != nil {
		return Outcome{}, err
	}
	open := *p
	c.Payload = &open
	if state.Exists() {
		if state, head, err = e.refresh(ctx, c.Target, state, head); err != nil {
			return Outcome{}, err
		}
		// It is unchanged, or a conflict. An open that was cut short may have told the users before; that is taken back.
		if _, err := state.Decide(c); err != nil {
			return Outcome{}, e.withdrawn(ctx, c, p, err)
		}
		return Outcome{Unchanged, head.Sequence}, nil
	}
	linked, err := e.linkUsers(ctx, c, p)
	if err != nil {
		return Outcome{}, err
	}
	d, err := e.execute(ctx, c, func(ctx context.Context, state domain.Aggregate) error {
		if state.Exists() || open.SecuritiesAccountNumber != "" {
			return nil
		}
		n, err := e.numbers.Next(ctx)
		open.SecuritiesAccountNumber = strconv.FormatUint(n, 10)
		return err
	})
	var refusal *domain.Refusal
	if errors.As(err, &refusal) {
		return Outcome{}, e.withdrawn(ctx, c, p, err)
	}
	if err != nil {
		return Outcome{}, err
	}
	// Who linked has opened it. A process manager, or another open of the same, may have been quicker to finish it.
	if d.Result = Unchanged; linked {
		d.Result = Accepted
	}
	return d.Outcome, nil
}

// AccountGroup reads a group as it is right now: what was just accepted shows.
func (e *Engine) AccountGroup(ctx context.Context, clientID, id string) (*domain.AccountGroup, error) {
	state, err := e.load(ctx, clientID, domain.Ref{Kind: domain.KindAccountGroup, ID: id})
	if err != nil {
		return nil, err
	}
	return state.(*domain.AccountGroup), nil
}

// AccountGroupClosure is the group's checklist.
func (e *Engine) AccountGroupClosure(ctx context.Context, clientID, id string) (domain.Closure, error) {
	g, err := e.AccountGroup(ctx, clientID, id)
	if err != nil {
		return domain.Closure{}, err
	}
	return g.Closure(domain.Outlook{Now: e.now().UTC()}), nil
}
