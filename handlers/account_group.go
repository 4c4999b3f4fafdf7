package handlers

import (
	"context"
	"strconv"

	"closure/domain"
)

// openAccountGroup gives a new group its securities account number. A group that exists already takes none.
func (e *Engine) openAccountGroup(ctx context.Context, c domain.Command, p *domain.OpenAccountGroup) (Outcome, error) {
	open := *p
	c.Payload = &open
	d, err := e.execute(ctx, c, func(ctx context.Context, state domain.Aggregate) error {
		if state.Exists() || open.SecuritiesAccountNumber != "" {
			return nil
		}
		n, err := e.numbers.Next(ctx)
		open.SecuritiesAccountNumber = strconv.FormatUint(n, 10)
		return err
	})
	return d.Outcome, err
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
	return g.Closure(nil), nil
}
