package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"closure/domain"
	"closure/eventstore/retry"
	"closure/handlers"
)

// The stories of what comes after a closing: a user who leaves, and cash that comes back.

// offboard asks to offboard the customer, and gives the refusal when there has to be one.
func (d *demo) offboard(ctx context.Context, p *page, want int) error {
	if want == http.StatusAccepted {
		return d.request(ctx, p, http.MethodDelete, "/users/"+d.cast.user, nil, nil, want)
	}
	var refusal problem
	if err := d.request(ctx, p, http.MethodDelete, "/users/"+d.cast.user, nil, &refusal, want); err != nil {
		return err
	}
	if len(refusal.Blockers) != 1 || refusal.Blockers[0].Code != domain.OpenAccountGroups {
		return fmt.Errorf("the refusal names %v, want %s", refusal.Blockers, domain.OpenAccountGroups)
	}
	return nil
}

// expectUser looks at the customer, and compares.
func (d *demo) expectUser(ctx context.Context, p *page, status domain.UserStatus, codes ...domain.BlockerCode) error {
	var u domain.UserResource
	if err := d.request(ctx, p, http.MethodGet, "/users/"+d.cast.user, nil, &u, http.StatusOK); err != nil {
		return err
	}
	var got []domain.BlockerCode
	for _, b := range u.Blockers {
		got = append(got, b.Code)
	}
	p.note("%s is %s %s", d.cast.name(u.ID), u.Status, strings.Trim(fmt.Sprint(got), "[]"))
	if u.Status != status || fmt.Sprint(got) != fmt.Sprint(codes) {
		return fmt.Errorf("the customer is %s with %v, want %s with %v", u.Status, got, status, codes)
	}
	return nil
}

func (d *demo) offboarding() []step {
	return []step{
		{"Subscribe a webhook to all events", d.subscribe},
		{"Open a personal account group with an account", func(ctx context.Context, p *page) error {
			return d.openGroup(ctx, p, "FR", "Réserve")
		}},
		{"Ask to offboard the customer while the group is open: it is refused", func(ctx context.Context, p *page) error {
			return d.offboard(ctx, p, http.StatusConflict)
		}},
		{"Close the account and the group", func(ctx context.Context, p *page) error {
			if err := d.closeAll(ctx, p); err != nil {
				return err
			}
			if err := d.await(ctx, p, [2]string{domain.PublishedGroupClosed, d.cast.group}); err != nil {
				return err
			}
			return d.toldToUser(ctx)
		}},
		{"Ask again: nothing stands against it, and the customer is offboarded", func(ctx context.Context, p *page) error {
			if err := d.offboard(ctx, p, http.StatusAccepted); err != nil {
				return err
			}
			if err := d.await(ctx, p, [2]string{domain.PublishedUserOffboarded, d.cast.user}); err != nil {
				return err
			}
			return d.expectUser(ctx, p, domain.UserOffboarded)
		}},
		{"No new group is opened for the customer", func(ctx context.Context, p *page) error {
			var refusal problem
			return d.request(ctx, p, http.MethodPost, "/account_groups", map[string]any{"user_id": d.cast.user, "type": "PERSONAL"}, &refusal, http.StatusConflict)
		}},
	}
}

// toldToUser waits until the customer's side knows that the group is closed: the engine tells it after the group closed.
func (d *demo) toldToUser(ctx context.Context) error {
	quiet := &page{show: jsonPresenter{io.Discard}}
	for {
		err := d.expectUser(ctx, quiet, domain.UserActive)
		if err == nil || retry.Pause(ctx, glance) != nil {
			return err
		}
	}
}

// glance is the pause between two looks at what follows a moment later.
const glance = 10 * time.Millisecond

func (d *demo) lateCash() []step {
	var raised domain.Reconciliation
	return []step{
		{"Subscribe a webhook to all events, those for operators too", d.subscribe},
		{"Open a personal account group with an account, and close both", func(ctx context.Context, p *page) error {
			if err := d.openGroup(ctx, p, "FR", "Réserve"); err != nil {
				return err
			}
			if err := d.closeAll(ctx, p); err != nil {
				return err
			}
			return d.await(ctx, p, [2]string{domain.PublishedGroupClosed, d.cast.group})
		}},
		{"The bank sends 37.20 EUR back: CLOSED stays CLOSED, and somebody has to look", func(ctx context.Context, p *page) error {
			if err := d.tellAll(ctx, p, d.cash("37.20", 1)); err != nil {
				return err
			}
			if err := d.await(ctx, p, [2]string{domain.PublishedReconciliationRequired, d.cast.group}); err != nil {
				return err
			}
			c, err := d.look(ctx, p, "account_group", d.cast.group)
			if err == nil && (c.Status != domain.StatusClosed || len(c.Reconciliation) != 1) {
				err = fmt.Errorf("the group is %s with %d to reconcile, want CLOSED with 1", c.Status, len(c.Reconciliation))
			}
			if err == nil {
				raised = c.Reconciliation[0]
			}
			return err
		}},
		{"It stands in the list of closings until it is settled", func(ctx context.Context, p *page) error {
			return d.listed(ctx, p, 1)
		}},
		{"The cash is paid out again, and somebody settles it with a note", func(ctx context.Context, p *page) error {
			if err := d.tellAll(ctx, p, d.cash("0.00", 2), fact{domain.KindAccountGroup, d.cast.group, "settle_reconciliation", map[string]any{
				"reconciliation_id": raised.ID, "note": "paid out to the reference account"}}); err != nil {
				return err
			}
			if err := d.expect(ctx, p, "account_group", d.cast.group, domain.StatusClosed); err != nil {
				return err
			}
			return d.listed(ctx, p, 0)
		}},
		{"The history says who settled it, and how", d.settledBy},
	}
}

// listed waits until the list of what is to be reconciled has so many entries; lists may lag by a moment.
func (d *demo) listed(ctx context.Context, p *page, want int) error {
	const path = "/closures?status=CLOSED&reconciliation=true"
	quiet := &page{show: jsonPresenter{io.Discard}}
	for {
		var closures struct {
			Data []domain.ClosureItem `json:"data"`
		}
		if err := d.request(ctx, quiet, http.MethodGet, path, nil, &closures, http.StatusOK); err != nil {
			return err
		}
		if len(closures.Data) == want {
			p.call(call{Request: "GET " + path, Answer: fmt.Sprintf("200 OK, %d to reconcile", want)})
			return nil
		}
		if err := retry.Pause(ctx, glance); err != nil {
			return fmt.Errorf("%d are to be reconciled, want %d: %w", len(closures.Data), want, err)
		}
	}
}

func (d *demo) settledBy(ctx context.Context, p *page) error {
	var list struct {
		Data []handlers.HistoryItem `json:"data"`
	}
	if err := d.request(ctx, p, http.MethodGet, "/account_groups/"+d.cast.group+"/history", nil, &list, http.StatusOK); err != nil {
		return err
	}
	for _, item := range list.Data {
		if item.Type == domain.EventGroupReconciliationSettled {
			p.event(fmt.Sprintf("%5d.%d  %s  by %s: %s", item.Sequence, item.Index, item.Type, item.Actor, item.Data))
			return nil
		}
	}
	return errors.New("the history does not say that it was settled")
}
