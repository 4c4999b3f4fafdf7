package handlers

import (
	"context"

	"closure/domain"
)

// Liquidation reads a liquidation of an account as it is right now: what was just accepted shows.
func (e *Engine) Liquidation(ctx context.Context, clientID, accountID, id string) (domain.LiquidationResource, error) {
	a, err := e.Account(ctx, clientID, accountID)
	if err != nil {
		return domain.LiquidationResource{}, err
	}
	liquidation, ok := a.Liquidation(id)
	if !ok {
		return domain.LiquidationResource{}, missing("liquidation", id)
	}
	return a.LiquidationResource(liquidation), nil
}

// Liquidations lists the liquidations of an account, the oldest first.
func (e *Engine) Liquidations(ctx context.Context, clientID, accountID string) ([]domain.LiquidationResource, error) {
	a, err := e.Account(ctx, clientID, accountID)
	if err != nil {
		return nil, err
	}
	all := []domain.LiquidationResource{}
	for _, l := range a.Liquidations() {
		all = append(all, a.LiquidationResource(l))
	}
	return all, nil
}
