// Package process holds the process managers: what happened to one aggregate becomes a command for another. They
// follow the log, in order within an aggregate and in parallel across, with one active instance among all engines.
//
// A command's id derives from the commit that caused it, and every command here is idempotent, so that doing the work
// twice, after a crash or by two instances, changes nothing the second time.
package process

import (
	"context"
	"fmt"
	"log/slog"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
	"closure/handlers"
)

// actor is who a process manager's commands say that asks.
const actor = "closure:process"

// parallel is how many aggregates are worked on at a time.
const parallel = 32

// Config of a Manager.
type Config struct {
	Engine *handlers.Engine
	Log    *eventstore.Log
	Logger *slog.Logger
}

// Manager runs the process managers.
type Manager struct {
	engine   *handlers.Engine
	follower *eventstore.Follower
}

// New makes the process managers. Start starts them.
func New(cfg Config) *Manager {
	m := &Manager{engine: cfg.Engine}
	m.follower = eventstore.NewFollower(cfg.Log, eventstore.FollowerConfig{Name: "process", Parallel: parallel, Handle: m.handle, Logger: cfg.Logger})
	return m
}

// Start follows the log until Stop.
func (m *Manager) Start(ctx context.Context) error { return m.follower.Start(ctx) }

// Stop finishes what is in hand.
func (m *Manager) Stop(ctx context.Context) error { return m.follower.Stop(ctx) }

// Position is the last commit up to which all work is done, as far as this instance knows.
func (m *Manager) Position() uint64 { return m.follower.Position() }

// Lag is how many commits of the log are not yet looked at.
func (m *Manager) Lag(ctx context.Context) (uint64, error) { return m.follower.Lag(ctx) }

// handle works on commits of one aggregate. A refusal here is an error like any other: the engine's own commands are
// never refused for good, so what is refused now (a replica that lags shows no group yet) is tried again.
func (m *Manager) handle(ctx context.Context, commits []eventstore.Recorded) error {
	for _, c := range commits {
		events, err := replay.Events(c.Commit)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := m.react(ctx, c, e); err != nil {
				return fmt.Errorf("after %s %s, sequence %d: %w", c.Aggregate, c.AggregateID, c.Sequence, err)
			}
		}
	}
	return nil
}

// react is the whole of what follows from what.
func (m *Manager) react(ctx context.Context, c eventstore.Recorded, e domain.Event) error {
	switch e := e.(type) {
	case domain.AccountLinked:
		return m.engine.FinishOpen(ctx, c.Commit, e.AccountID)
	case domain.Closed:
		if domain.Kind(c.Aggregate) == domain.KindAccount {
			return m.recordAccountClosure(ctx, c)
		}
	}
	return nil
}
