package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"closure/domain"
)

// liquidation is the story of an account that is closed with everything still in it.
func (d *demo) liquidation() []step {
	var buy domain.OrderResource
	var liquidation domain.LiquidationResource
	return []step{
		{"Subscribe a webhook to all events", d.subscribe},
		{"Open a personal account group with an account; it holds two instruments, and a BUY order is open", func(ctx context.Context, p *page) error {
			if err := d.openGroup(ctx, p, "FR", "Réserve"); err != nil {
				return err
			}
			if err := d.tellAll(ctx, p, position(d.cast.first(), isinApple, "3", 1), position(d.cast.first(), isinWorld, "12.5", 1)); err != nil {
				return err
			}
			if err := d.order(ctx, p, "BUY", &buy, http.StatusAccepted); err != nil {
				return err
			}
			d.cast.names[buy.ID] = "the BUY order"
			return d.await(ctx, p, [2]string{domain.PublishedOrderNew, buy.ID})
		}},
		{"Ask to close the account: the order service is asked to cancel the BUY order", func(ctx context.Context, p *page) error {
			if err := d.request(ctx, p, http.MethodDelete, "/accounts/"+d.cast.first(), nil, nil, http.StatusAccepted); err != nil {
				return err
			}
			if err := d.await(ctx, p, [2]string{domain.PublishedOrderCancellationRequested, buy.ID}); err != nil {
				return err
			}
			return d.expect(ctx, p, "account", d.cast.first(), domain.StatusClosing, domain.OpenPositions, domain.OpenOrders)
		}},
		{"From now on a BUY is refused", func(ctx context.Context, p *page) error {
			var refusal problem
			return d.order(ctx, p, "BUY", &refusal, http.StatusUnprocessableEntity)
		}},
		{"Ask for a liquidation: one SELL order for each position, and no second liquidation beside it", func(ctx context.Context, p *page) error {
			if err := d.liquidate(ctx, p, &liquidation, http.StatusAccepted); err != nil {
				return err
			}
			d.cast.names[liquidation.ID] = "the liquidation"
			for i, o := range liquidation.Orders {
				d.cast.names[o.ID] = fmt.Sprintf("SELL order %d", i+1)
			}
			var refusal problem
			if err := d.liquidate(ctx, p, &refusal, http.StatusConflict); err != nil {
				return err
			}
			return d.await(ctx, p, [2]string{domain.PublishedLiquidationNew, liquidation.ID})
		}},
		{"The order service cancels the BUY order and fills both SELL orders", func(ctx context.Context, p *page) error {
			facts := []fact{d.orderIs(buy.ID, "CANCELLED", 1)}
			for _, o := range liquidation.Orders {
				facts = append(facts, d.orderIs(o.ID, "PROCESSING", 1), d.orderIs(o.ID, "FILLED", 2))
			}
			if err := d.tellAll(ctx, p, facts...); err != nil {
				return err
			}
			return d.await(ctx, p, [2]string{domain.PublishedLiquidationProcessing, liquidation.ID}, [2]string{domain.PublishedLiquidationFilled, liquidation.ID})
		}},
		{"What was sold waits for settlement, and then settles: the account closes by itself", func(ctx context.Context, p *page) error {
			waiting := position(d.cast.first(), isinApple, "0", 2)
			waiting.fields["pending_settlement"] = "3"
			if err := d.tellAll(ctx, p, waiting, position(d.cast.first(), isinWorld, "0", 2)); err != nil {
				return err
			}
			if err := d.expect(ctx, p, "account", d.cast.first(), domain.StatusClosing, domain.OpenPositions); err != nil {
				return err
			}
			if err := d.tellAll(ctx, p, position(d.cast.first(), isinApple, "0", 3)); err != nil {
				return err
			}
			if err := d.await(ctx, p, [2]string{domain.PublishedLiquidationSettled, liquidation.ID}, [2]string{domain.PublishedAccountClosed, d.cast.first()}); err != nil {
				return err
			}
			return d.expect(ctx, p, "account", d.cast.first(), domain.StatusClosed)
		}},
		{"The liquidation stays readable", func(ctx context.Context, p *page) error {
			if err := d.request(ctx, p, http.MethodGet, "/accounts/"+d.cast.first()+"/liquidations/"+liquidation.ID, nil, &liquidation, http.StatusOK); err != nil {
				return err
			}
			var orders []string
			for _, o := range liquidation.Orders {
				orders = append(orders, fmt.Sprintf("%s %s", o.Side, o.Status))
			}
			p.note("the liquidation is %s: %s", liquidation.Status, strings.Join(orders, ", "))
			if liquidation.Status != domain.LiquidationAllSettled {
				return fmt.Errorf("the liquidation is %s, want SETTLED", liquidation.Status)
			}
			return nil
		}},
	}
}

func (d *demo) order(ctx context.Context, p *page, side string, into any, want int) error {
	return d.request(ctx, p, http.MethodPost, "/orders", map[string]any{
		"account_id": d.cast.first(), "user_id": d.cast.user, "side": side, "instrument_id": isinSAP, "instrument_id_type": "ISIN",
		"order_type": "MARKET", "cash_amount": "100.00", "currency": "EUR",
	}, into, want)
}

func (d *demo) liquidate(ctx context.Context, p *page, into any, want int) error {
	return d.request(ctx, p, http.MethodPost, "/accounts/"+d.cast.first()+"/liquidations", map[string]any{"user_id": d.cast.user}, into, want)
}

func (d *demo) orderIs(id, status string, revision int) fact {
	return fact{domain.KindAccount, d.cast.first(), "record_order", map[string]any{"order_id": id, "status": status, "revision": revision}}
}
