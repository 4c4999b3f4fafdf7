package process

import (
	"context"
	"fmt"
	"time"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/timer"
)

// The purposes of timers; they are tokens of subjects. An aggregate has one timer of each at most.
const (
	purposeTaxYearEnd   = "tax_year_end"  // an account whose domicile is GB may close
	purposeStall        = "stall"         // a closure in progress is to be reported
	purposeTaxStatement = "tax_statement" // the annual tax statements of a closed group are to be made
)

// setTimers brings the timers of an aggregate to what its events say. What is to be set follows from the state as it is now,
// so that doing it again, late or out of order comes to the same. A timer that should not fire any more is taken away; one
// that fires all the same finds nothing to do, since the domain checks for itself.
func (m *Manager) setTimers(ctx context.Context, c eventstore.Recorded, events []domain.Event) error {
	initiated, ended, moved, stalled := false, false, false, false
	for _, e := range events {
		switch e.(type) {
		case domain.ClosingInitiated:
			initiated = true
		case domain.Closed:
			ended = true
		case domain.DomicileRecorded:
			moved = true
		case domain.ClosureStalled:
			stalled = true
		}
	}
	if !initiated && !ended && !moved && !stalled {
		return nil
	}
	state, err := m.closable(ctx, domain.Ref{Kind: domain.Kind(c.Aggregate), ID: c.AggregateID})
	if err != nil {
		return err
	}
	switch {
	case state.InProgress():
		return m.watch(ctx, state, initiated || stalled, initiated || moved)
	case ended:
		return m.unwatch(ctx, state, initiated, moved)
	case moved && state.RequestedAt() != nil:
		// It has closed since, by the commit behind this one, which knew nothing of the former domicile.
		return m.cancel(ctx, state, purposeTaxYearEnd)
	}
	return nil
}

// closable is what setTimers needs of an account and of a group.
type closable interface {
	domain.Closable
	InProgress() bool
	Stalls() int
}

func (m *Manager) closable(ctx context.Context, ref domain.Ref) (closable, error) {
	state, err := m.engine.State(ctx, ref)
	if err != nil {
		return nil, err
	}
	c, ok := state.(closable)
	if !ok {
		return nil, fmt.Errorf("a %s has no timers", ref.Kind)
	}
	return c, nil
}

// watch sets the timers of a closure in progress.
func (m *Manager) watch(ctx context.Context, state closable, stall, taxYear bool) error {
	if stall {
		due := domain.StallDue(*state.RequestedAt(), state.Stalls()+1, m.cfg.StallAfter)
		if err := m.set(ctx, state, purposeStall, due); err != nil {
			return err
		}
	}
	account, ok := state.(*domain.Account)
	if !ok || !taxYear {
		return nil
	}
	if due := account.EligibleAt(); due != nil {
		return m.set(ctx, state, purposeTaxYearEnd, *due)
	}
	return m.cancel(ctx, state, purposeTaxYearEnd)
}

// unwatch takes the timers of a closure away that has come to its end, and sets what comes after it. One that ended in the
// commit that began it never had any; one that ended with a change of domicile may have had one by the former domicile.
func (m *Manager) unwatch(ctx context.Context, state closable, atOnce, moved bool) error {
	if !atOnce {
		if err := m.cancel(ctx, state, purposeStall); err != nil {
			return err
		}
	}
	switch a := state.(type) {
	case *domain.Account:
		if !atOnce && (moved || a.EligibleAt() != nil) {
			return m.cancel(ctx, state, purposeTaxYearEnd)
		}
	case *domain.AccountGroup:
		if year := a.TaxStatementYear(); year != 0 {
			return m.set(ctx, state, purposeTaxStatement, domain.TaxStatementDue(year, m.cfg.TaxStatementDay))
		}
	}
	return nil
}

func (m *Manager) set(ctx context.Context, of domain.Aggregate, purpose string, due time.Time) error {
	return m.timers.Set(ctx, timer.Timer{Aggregate: string(of.Kind()), ID: of.AggregateID(), Purpose: purpose, Due: due})
}

func (m *Manager) cancel(ctx context.Context, of domain.Aggregate, purpose string) error {
	return m.timers.Cancel(ctx, string(of.Kind()), of.AggregateID(), purpose)
}

// expired is what a timer does: a command to its aggregate, which checks the time itself. Its id derives from the timer, so
// that one that fires twice does nothing the second time.
//
// When it is due is asked anew, of the state and of the configuration as they are now: a timer that was set by another
// configuration, and that comes too early by this one, is set again.
func (m *Manager) expired(ctx context.Context, t timer.Timer) error {
	ref := domain.Ref{Kind: domain.Kind(t.Aggregate), ID: t.ID}
	state, err := m.closable(ctx, ref)
	if err != nil {
		return err
	}
	p, due, err := m.purposeOf(state, t.Purpose)
	if err != nil || p == nil {
		return err
	}
	if due.After(m.cfg.Now()) {
		return m.set(ctx, state, t.Purpose, due)
	}
	_, err = m.engine.Do(ctx, domain.Command{
		Target: ref, ID: domain.DeriveID("timer", t.Aggregate, t.ID, t.Purpose, t.Due.UTC().Format(time.RFC3339Nano)),
		ClientID: state.Client(), Actor: actor, Payload: p,
	})
	return err
}

// purposeOf is what a timer asks for by now, and since when that is due; nil for nothing.
func (m *Manager) purposeOf(state closable, purpose string) (domain.Payload, time.Time, error) {
	switch purpose {
	case purposeTaxYearEnd:
		if account, ok := state.(*domain.Account); ok && account.InProgress() && account.EligibleAt() != nil {
			return &domain.ReviewClosure{}, *account.EligibleAt(), nil
		}
	case purposeStall:
		if state.InProgress() {
			// After a long time without an engine one report is enough.
			over := int(m.cfg.Now().Sub(*state.RequestedAt()) / m.cfg.StallAfter)
			n := max(over, state.Stalls()+1)
			return &domain.ReportStall{Number: n, Period: m.cfg.StallAfter}, domain.StallDue(*state.RequestedAt(), n, m.cfg.StallAfter), nil
		}
	case purposeTaxStatement:
		if group, ok := state.(*domain.AccountGroup); ok && group.TaxStatementYear() != 0 {
			due := domain.TaxStatementDue(group.TaxStatementYear(), m.cfg.TaxStatementDay)
			return &domain.RequestTaxStatement{Day: m.cfg.TaxStatementDay}, due, nil
		}
	default:
		return nil, time.Time{}, fmt.Errorf("a timer for %s: this version does not know that", purpose)
	}
	return nil, time.Time{}, nil
}
