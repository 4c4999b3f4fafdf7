package handlers

import (
	"context"

	"closure/domain"
)

// Order reads an order of an account as it is right now: what was just accepted shows.
func (e *Engine) Order(ctx context.Context, clientID, accountID, id string) (domain.OrderResource, error) {
	a, err := e.Account(ctx, clientID, accountID)
	if err != nil {
		return domain.OrderResource{}, err
	}
	order, ok := a.Order(id)
	if !ok {
		return domain.OrderResource{}, missing("order", id)
	}
	return a.OrderResource(order), nil
}

// missing is the refusal for something within an aggregate that is not there.
func missing(noun, id string) error {
	return &domain.Refusal{Kind: domain.NotFound, Detail: "there is no " + noun + " with the id " + id}
}
