package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"closure/domain"
)

// The stories that wait for a date, and move the sandbox's clock to it.

// advance moves the clock of the sandbox.
func (d *demo) advance(ctx context.Context, p *page, to time.Time) error {
	var now struct {
		Now time.Time `json:"now"`
	}
	if err := d.request(ctx, p, http.MethodPost, "/sandbox/clock", map[string]any{"now": to.Format(time.RFC3339Nano)}, &now, http.StatusOK); err != nil {
		return err
	}
	p.note("It is %s now", now.Now.Format(time.RFC3339))
	return nil
}

// unitedKingdom is the story of an account that everything is sold of, and that still has to wait.
func (d *demo) unitedKingdom() []step {
	var due time.Time
	return []step{
		{"Subscribe a webhook to all events", d.subscribe},
		{"Open a personal account group, domicile GB, with an account that holds shares", func(ctx context.Context, p *page) error {
			if err := d.openGroup(ctx, p, "GB", "Rainy days"); err != nil {
				return err
			}
			return d.tellAll(ctx, p, position(d.cast.first(), isinApple, "5", 1))
		}},
		{"Ask to close the account and the group", func(ctx context.Context, p *page) error {
			if err := d.closeAll(ctx, p); err != nil {
				return err
			}
			return d.expect(ctx, p, "account", d.cast.first(), domain.StatusClosing, domain.OpenPositions, domain.TaxYearEndBlocker)
		}},
		{"The shares are sold: only the tax year stands against closing", func(ctx context.Context, p *page) error {
			if err := d.tellAll(ctx, p, position(d.cast.first(), isinApple, "0", 2)); err != nil {
				return err
			}
			c, err := d.look(ctx, p, "account", d.cast.first())
			if err != nil {
				return err
			}
			if c.NextEligibleAt == nil || len(c.Blockers) != 1 || c.Blockers[0].Code != domain.TaxYearEndBlocker {
				return fmt.Errorf("the checklist has %v, want %s with a date", c.Blockers, domain.TaxYearEndBlocker)
			}
			due = *c.NextEligibleAt
			return nil
		}},
		{"A minute before the end of the tax year nothing has happened", func(ctx context.Context, p *page) error {
			if err := d.advance(ctx, p, due.Add(-time.Minute)); err != nil {
				return err
			}
			return d.expect(ctx, p, "account", d.cast.first(), domain.StatusClosing, domain.TaxYearEndBlocker)
		}},
		{"The tax year ends: the account closes by itself, and its group with it", func(ctx context.Context, p *page) error {
			if err := d.advance(ctx, p, due); err != nil {
				return err
			}
			if err := d.await(ctx, p, [2]string{domain.PublishedAccountClosed, d.cast.first()}, [2]string{domain.PublishedGroupClosed, d.cast.group}); err != nil {
				return err
			}
			return d.expect(ctx, p, "account", d.cast.first(), domain.StatusClosed)
		}},
		{"The PDF report ACCOUNT_CLOSING is made and announced", d.fetchClosingReport},
	}
}

// closeAll asks to close all accounts, and the group.
func (d *demo) closeAll(ctx context.Context, p *page) error {
	for _, id := range d.cast.accounts {
		if err := d.request(ctx, p, http.MethodDelete, "/accounts/"+id, nil, nil, http.StatusAccepted); err != nil {
			return err
		}
	}
	return d.request(ctx, p, http.MethodDelete, d.closePath(), nil, nil, http.StatusAccepted)
}

// germany is the story of a closed group whose tax statement follows in March of the next year.
func (d *demo) germany() []step {
	year := domain.TaxYear(time.Now())
	return []step{
		{"Subscribe a webhook to all events", d.subscribe},
		{"Open a personal account group of a German tax resident, with an account", func(ctx context.Context, p *page) error {
			return d.openGroup(ctx, p, "DE", "Für später")
		}},
		{"Upstream reports the tax bookings of the year", func(ctx context.Context, p *page) error {
			return d.tellAll(ctx, p,
				d.booking(year, "DIVIDEND", "12.40"), d.booking(year, "CAPITAL_GAIN", "310.05"), d.booking(year, "CAPITAL_GAIN", "-45.10"),
				d.booking(year, "TAX_WITHHELD", "-69.34"), d.booking(year-1, "DIVIDEND", "11.00"))
		}},
		{"Ask to close both: nothing stands against it, and CLOSED does not wait for the statement", func(ctx context.Context, p *page) error {
			if err := d.closeAll(ctx, p); err != nil {
				return err
			}
			return d.await(ctx, p, [2]string{domain.PublishedGroupClosed, d.cast.group})
		}},
		{"The PDF report ACCOUNT_CLOSING is made and announced", d.fetchClosingReport},
		{"Ask to offboard the customer: OFFBOARDING until the tax statement is made", func(ctx context.Context, p *page) error {
			if err := d.offboard(ctx, p, http.StatusAccepted); err != nil {
				return err
			}
			return d.expectUser(ctx, p, domain.UserOffboarding, domain.PendingTaxStatements)
		}},
		{"In March of the next year the annual tax statement is made", func(ctx context.Context, p *page) error {
			if err := d.advance(ctx, p, domain.TaxStatementDue(year, domain.DefaultTaxStatementDay)); err != nil {
				return err
			}
			return d.fetchReport(ctx, p, domain.ReportAnnualTaxStatement)
		}},
		{"The customer is offboarded by itself", func(ctx context.Context, p *page) error {
			if err := d.await(ctx, p, [2]string{domain.PublishedUserOffboarded, d.cast.user}); err != nil {
				return err
			}
			return d.expectUser(ctx, p, domain.UserOffboarded)
		}},
	}
}

func (d *demo) booking(year int, kind, amount string) fact {
	return fact{domain.KindAccountGroup, d.cast.group, "record_tax_booking", map[string]any{
		"tax_booking_id": uuid.NewString(), "year": year, "kind": kind, "amount": amount, "currency": "EUR", "revision": 1}}
}
