// Package process holds the process managers: what happened to one aggregate becomes a command for another, or a timer for
// later. They follow the log, in order within an aggregate and in parallel across, with one active instance among all engines.
//
// A command's id derives from the commit that caused it, and every command here is idempotent, so that doing the work
// twice, after a crash or by two instances, changes nothing the second time.
package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
	"closure/eventstore/timer"
	"closure/handlers"
)

// actor is who a process manager's commands say that asks.
const actor = "closure:process"

// parallel is how many aggregates are worked on at a time.
const parallel = 32

// Config of a Manager.
type Config struct {
	// Engine executes what follows. Required.
	Engine *handlers.Engine
	// Log is what is followed. Required.
	Log *eventstore.Log
	// Replicas of the stream of timers. Defaults to 1.
	Replicas int
	// StallAfter is how long a closure may be in progress before it is reported, and between two reports. Defaults to 30 days.
	StallAfter time.Duration
	// TaxStatementDay is when the annual tax statements of the year before are made. Defaults to 15 March.
	TaxStatementDay domain.MonthDay
	// Now is the clock of the timers; it MUST be that of the engine. Defaults to time.Now.
	Now func() time.Time
	// Logger for what an operator may want to know. Defaults to none.
	Logger *slog.Logger
}

func (cfg Config) withDefaults() Config {
	if cfg.StallAfter == 0 {
		cfg.StallAfter = 30 * 24 * time.Hour
	}
	if cfg.TaxStatementDay == (domain.MonthDay{}) {
		cfg.TaxStatementDay = domain.DefaultTaxStatementDay
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Manager runs the process managers.
type Manager struct {
	cfg      Config
	engine   *handlers.Engine
	follower *eventstore.Follower
	timers   *timer.Service
}

// New makes the process managers. Start starts them.
func New(cfg Config) *Manager {
	m := &Manager{cfg: cfg.withDefaults(), engine: cfg.Engine}
	m.follower = eventstore.NewFollower(cfg.Log, eventstore.FollowerConfig{Name: "process", Parallel: parallel, Handle: m.handle, Logger: cfg.Logger})
	m.timers = timer.New(timer.Config{
		Log: cfg.Log, Replicas: cfg.Replicas, Now: m.cfg.Now, Handle: m.expired, Parallel: parallel, Logger: cfg.Logger,
	})
	return m
}

// Start follows the log, and handles timers, until Stop.
func (m *Manager) Start(ctx context.Context) error {
	if err := m.timers.Start(ctx); err != nil {
		return err
	}
	return m.follower.Start(ctx)
}

// Stop finishes what is in hand.
func (m *Manager) Stop(ctx context.Context) error {
	return errors.Join(m.follower.Stop(ctx), m.timers.Stop(ctx))
}

// Position is the last commit up to which all work is done, as far as this instance knows.
func (m *Manager) Position() uint64 { return m.follower.Position() }

// WaitFor waits until the work that follows from the commit with the sequence, and from all before it, is done.
func (m *Manager) WaitFor(ctx context.Context, seq uint64) error { return m.follower.WaitFor(ctx, seq) }

// Lag is how many commits of the log are not yet looked at.
func (m *Manager) Lag(ctx context.Context) (uint64, error) { return m.follower.Lag(ctx) }

// Timers are the durable timers; for a sandbox, whose clock is moved.
func (m *Manager) Timers() *timer.Service { return m.timers }

// handle works on commits of one aggregate. A refusal here is an error like any other: but where it says so, the engine's own
// commands are never refused for good, so what is refused now is tried again.
func (m *Manager) handle(ctx context.Context, commits []eventstore.Recorded) error {
	for _, c := range commits {
		ctx := c.Trace.In(ctx) // what follows belongs to the same trace
		events, err := replay.Events(c.Commit)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := m.react(ctx, c, e); err != nil {
				return fmt.Errorf("after %s %s, sequence %d: %w", c.Aggregate, c.AggregateID, c.Sequence, err)
			}
		}
		if err := m.setTimers(ctx, c, events); err != nil {
			return fmt.Errorf("timers of %s %s, sequence %d: %w", c.Aggregate, c.AggregateID, c.Sequence, err)
		}
	}
	return nil
}

// react is the whole of what follows from what, but for the timers.
func (m *Manager) react(ctx context.Context, c eventstore.Recorded, e domain.Event) error {
	switch e := e.(type) {
	case domain.GroupLinked:
		return m.engine.FinishOpenGroup(ctx, c.Commit, e)
	case domain.AccountLinked:
		return m.engine.FinishOpen(ctx, c.Commit, e.AccountID)
	case domain.Closed:
		if domain.Kind(c.Aggregate) == domain.KindAccount {
			return m.recordAccountClosure(ctx, c)
		}
		return m.recordGroupClosure(ctx, c)
	case domain.DomicileChanged:
		return m.recordDomicile(ctx, c)
	case domain.ReportCreated:
		if e.Type == domain.ReportAnnualTaxStatement {
			return m.tellUser(ctx, c, e.UserID, &domain.RecordTaxStatement{AccountGroupID: c.AggregateID})
		}
	}
	return nil
}

// do sends a command that follows from a commit. Its id derives from both, and from the aggregate that it is for.
func (m *Manager) do(ctx context.Context, cause eventstore.Recorded, to domain.Ref, p domain.Payload) error {
	_, err := m.engine.Do(ctx, domain.Command{
		Target: to, ID: domain.DeriveID(p.CommandName(), cause.ID, to.ID), ClientID: cause.ClientID, Actor: actor,
		RequestID: cause.RequestID, CorrelationID: cause.CorrelationID, CausationID: cause.ID, Payload: p,
	})
	return err
}
