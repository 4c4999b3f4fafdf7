// Package readmodel keeps the lists of the API, in a SQLite file of its own: accounts, account groups and reports of a
// client or of one of its users, sorted and in pages (CONTRACT: Lists); the closings, filtered by what operators ask for;
// and which account an order is in.
//
// What it promises:
//
//   - The file is a copy, the log is the truth. A file that is missing, damaged, of another version, of another log or
//     ahead of its log is deleted and built from the log again. It MAY be deleted at any time while the model is stopped.
//   - Rows and position are written in one transaction: however a process ends, the rows are those of the log up to the
//     position, and the model goes on from there.
//   - A row is the resource as the domain renders it right after a commit: lists cannot say anything else than events and
//     single reads do.
//   - A list MAY lag behind the log; it MUST NOT show one client anything of another. A page and its total are of one moment.
//     The one list of every client is that of the closings, for operators; OrderAccount does not lag.
//
// Each engine has a file of its own, and one Model at a time works on a file.
package readmodel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"closure/eventstore"
	"closure/eventstore/replay"
)

// maxBatch is the most commits in one transaction: enough for its price to vanish, and little enough for a batch to be
// quick, since a stop waits for the one in hand.
const maxBatch = 1000

// errNotRunning: the model was not started, or did not get as far.
var errNotRunning = errors.New("the read model is not running")

// Config of a Model.
type Config struct {
	// Path of the database file; its folder is created when it is missing. Required.
	Path string
	// Log that is followed. Required.
	Log *eventstore.Log
	// Logger gets rebuilds, and commits that cannot be taken. Defaults to none.
	Logger *slog.Logger
}

// Model follows the log into the lists, and reads them. It may be used from many goroutines.
type Model struct {
	cfg    Config
	states *replay.Tracker // for the follower's handler only

	life    sync.Mutex // held by Start and Stop
	ended   bool
	running atomic.Pointer[running] // nil until started; it stays after Stop
}

// running is what a started model has.
type running struct {
	db       *database
	follower *eventstore.Follower
}

// New makes a model. Start starts it.
func New(cfg Config) *Model {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Model{cfg: cfg, states: replay.NewTracker(cfg.Log, 0)}
}

// Start opens the file, or creates it anew when it cannot be used, and follows the log from the file's position on. It
// returns when lists can be read; they catch up with the log in the background (Lag, WaitFor). A log that does not
// answer is eventstore.ErrUnavailable. The context is for the start only; Stop ends it. A model can be started once.
func (m *Model) Start(ctx context.Context) error {
	m.life.Lock()
	defer m.life.Unlock()
	if m.ended || m.running.Load() != nil {
		return errors.New("read model: it can be started once, and not after a stop")
	}
	db, err := m.open(ctx)
	if err != nil {
		return fmt.Errorf("read model: %w", err)
	}
	from := db.at.position + 1
	follower := eventstore.NewFollower(m.cfg.Log, eventstore.FollowerConfig{
		From: from, MaxBatch: maxBatch, Logger: m.cfg.Logger.With("projection", "readmodel"),
		Handle: func(ctx context.Context, commits []eventstore.Recorded) error { return m.take(ctx, db, commits) },
	})
	if err := follower.Start(ctx); err != nil {
		return errors.Join(fmt.Errorf("read model: %w", err), db.close())
	}
	m.cfg.Logger.Info("the read model follows the log", "from", from)
	m.running.Store(&running{db: db, follower: follower})
	return nil
}

// Stop finishes the batch in hand, or cuts it short when the context ends, and closes the file. What was cut short is
// done again after the next start. It may be called more than once, and before Start.
func (m *Model) Stop(ctx context.Context) error {
	m.life.Lock()
	defer m.life.Unlock()
	r := m.running.Load()
	if m.ended || r == nil {
		m.ended = true
		return nil
	}
	m.ended = true
	if err := errors.Join(r.follower.Stop(ctx), r.db.close()); err != nil {
		return fmt.Errorf("read model: %w", err)
	}
	return nil
}

// Position is the sequence of the last commit that the lists show; 0 for none, and before Start.
func (m *Model) Position() uint64 {
	if r := m.running.Load(); r != nil {
		return r.follower.Position()
	}
	return 0
}

// WaitFor returns when the lists show the commit with the sequence, or when the context ends or the model stops, which
// is the error.
func (m *Model) WaitFor(ctx context.Context, seq uint64) error {
	r := m.running.Load()
	if r == nil {
		return errNotRunning
	}
	return r.follower.WaitFor(ctx, seq)
}

// Lag is the number of commits in the log that the lists do not show yet.
func (m *Model) Lag(ctx context.Context) (uint64, error) {
	r := m.running.Load()
	if r == nil {
		return 0, errNotRunning
	}
	return r.follower.Lag(ctx)
}
