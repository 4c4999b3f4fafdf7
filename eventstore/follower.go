package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/retry"
)

const (
	defaultMaxBatch = 256

	// window bounds how far a parallel follower runs ahead of the oldest commit
	// that is not handled yet.
	window = 4096

	retryFirst = 100 * time.Millisecond
	retryLimit = 10 * time.Second

	// abortGrace is how long Stop waits for a handler whose context it has ended.
	abortGrace = 2 * time.Second
)

// errStopped: the follower is stopped, or was never started.
var errStopped = errors.New("the follower is not running")

// FollowerConfig says what to follow, and how.
type FollowerConfig struct {
	// Name makes the follower durable: of all instances with the same name, in any
	// number of processes, one is active; its progress is kept in the server, and
	// when it ends another instance goes on from there. Without a name every
	// instance reads for itself, from From on. Defaults to "".
	Name string
	// From is the first sequence to handle, without a name. Defaults to 1.
	From uint64
	// MaxBatch is the most commits that one call of Handle gets. Defaults to 256.
	MaxBatch int
	// Parallel: up to 1, Handle gets contiguous batches in the order of the log, one
	// call at a time. Above 1, each call gets commits of one aggregate, in its
	// order, and up to Parallel aggregates are handled at once; one that is slow or
	// fails does not hold up the others, as long as they are at most 4096 commits
	// ahead of it. Defaults to 0.
	Parallel int
	// Handle takes commits. They are handled when it returns nil. On an error the same
	// commits come again after 100 ms, doubling up to 10 s, without end. It MUST be
	// prepared to get commits again that it had handled: after a crash, and when an
	// instance that was paused wakes up. It MUST end when its context does. Required.
	Handle func(ctx context.Context, commits []Recorded) error
	// Logger gets failures of Handle and changes of activeness. Defaults to none.
	Logger *slog.Logger
}

// Follower reads the log in order and hands its commits to a handler, each one at
// least once. A commit that does not decode is never skipped: the follower says
// which one it is, and stays there.
type Follower struct {
	log    *Log
	cfg    FollowerConfig
	logger *slog.Logger

	stopping context.Context // ended: nothing new is begun
	stop     context.CancelFunc
	working  context.Context // ended: what is in hand is cut short
	abort    context.CancelFunc
	done     chan struct{} // closed: it has stopped

	mu       sync.Mutex
	starting bool
	started  bool
	position uint64
	moved    chan struct{} // closed, and made anew, when position moves
}

// NewFollower makes a follower; Start sets it going.
func NewFollower(l *Log, cfg FollowerConfig) *Follower {
	if cfg.MaxBatch < 1 {
		cfg.MaxBatch = defaultMaxBatch
	}
	cfg.From = max(cfg.From, 1)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Follower{
		log:    l,
		cfg:    cfg,
		logger: cfg.Logger.With("follower", cfg.Name),
		done:   make(chan struct{}),
		moved:  make(chan struct{}),
	}
	f.stopping, f.stop = context.WithCancel(context.Background())
	f.working, f.abort = context.WithCancel(context.Background())
	if cfg.Name == "" {
		f.position = cfg.From - 1
	}
	return f
}

// Start returns when the follower follows, or why it cannot. A durable one may
// then be active or stand by. The context is for the start only; Stop ends it.
func (f *Follower) Start(ctx context.Context) error {
	if f.cfg.Handle == nil {
		return errors.New("follower: no handler")
	}
	if !f.claimStart() {
		return fmt.Errorf("follower %q: it can be started once, and not after a stop", f.cfg.Name)
	}
	consumer, err := f.openConsumer(ctx, f.Position()+1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.starting = false
	if err != nil {
		return fmt.Errorf("follower %q: %w", f.cfg.Name, err)
	}
	if f.stopping.Err() != nil {
		return fmt.Errorf("follower %q: %w", f.cfg.Name, errStopped)
	}
	f.started = true
	go func() {
		defer close(f.done)
		newPuller(f, consumer).run()
	}()
	return nil
}

func (f *Follower) claimStart() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.starting || f.started || f.stopping.Err() != nil {
		return false
	}
	f.starting = true
	return true
}

// openConsumer retries for as long as the failure may pass and the context, or
// retry.StartWithin, allows.
func (f *Follower) openConsumer(ctx context.Context, next uint64) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, retry.StartWithin)
	defer cancel()
	consumer, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return f.log.js.CreateOrUpdateConsumer(ctx, StreamLog, f.consumerConfig(next))
	})
	if err != nil {
		return nil, Unavailable("its consumer", err)
	}
	return consumer, nil
}

// Stop lets the calls of Handle that are under way finish, stores the progress and
// hands over to another instance. When the context ends first, it cuts them short
// by ending their context, and says so. It may be called more than once, and
// before Start.
func (f *Follower) Stop(ctx context.Context) error {
	f.stop()
	f.mu.Lock()
	started := f.started
	f.mu.Unlock()
	if !started {
		return nil
	}
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
	}
	f.abort()
	select {
	case <-f.done:
		return fmt.Errorf("follower %q: stopped before its handler had finished: %w", f.cfg.Name, ctx.Err())
	case <-time.After(abortGrace):
		return fmt.Errorf("follower %q: its handler does not stop: %w", f.cfg.Name, ctx.Err())
	}
}

// Position is a sequence up to which every commit is handled. While another
// instance is the active one it is what that one has stored, about a second old.
func (f *Follower) Position() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.position
}

// WaitFor returns when every commit up to seq is handled, or when the context ends
// or the follower stops, which is the error.
func (f *Follower) WaitFor(ctx context.Context, seq uint64) error {
	for {
		f.mu.Lock()
		position, moved := f.position, f.moved
		f.mu.Unlock()
		if position >= seq {
			return nil
		}
		select {
		case <-moved:
		case <-f.done:
			if f.Position() >= seq {
				return nil
			}
			return fmt.Errorf("wait for sequence %d at %d: %w", seq, position, errStopped)
		case <-ctx.Done():
			return fmt.Errorf("wait for sequence %d at %d: %w", seq, position, ctx.Err())
		}
	}
}

// Lag is the number of commits in the log that are not handled yet.
func (f *Follower) Lag(ctx context.Context) (uint64, error) {
	last, err := f.log.LastSequence(ctx)
	if err != nil {
		return 0, err
	}
	position := f.Position()
	return last - min(last, position), nil
}

// advance moves the position, never back.
func (f *Follower) advance(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if seq <= f.position {
		return
	}
	f.position = seq
	close(f.moved)
	f.moved = make(chan struct{})
}
