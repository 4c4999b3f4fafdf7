// Package timer keeps durable timers on the stream CLOSURE_TIMERS. It knows no account: a timer is of an aggregate, for a
// purpose, and due at a time.
//
// What it promises:
//
//   - A timer that was set is handled at or after it is due, at least once, however often processes and servers end
//     meanwhile. One that was due while nothing ran is handled as soon as something does.
//   - It is never handled before it is due by the clock that was given, however early the server fires, and however far that
//     clock is away from the server's.
//   - Any number of services may run on one stream: each timer goes to one of them at a time.
//
// A handler MUST be idempotent.
//
// # How a timer is kept
//
// A timer stands as one plain message, which is the truth: it is set while it stands there. Beside it stands a message
// schedule of JetStream, which only wakes: what it fires says "look at the timer with this sequence". They are kept apart
// since the server, when a schedule fires, removes whatever stands on the schedule's subject by then. If the timer were the
// schedule, one that is set anew at the moment at which it fires would sometimes be lost, although it was acknowledged.
package timer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/retry"
)

var (
	// ErrInvalid: this cannot be a timer; the text names the field. A defect of the caller, repeating it is useless.
	ErrInvalid = errors.New("not a timer")
	// ErrNotStarted: Start has not been called yet, or has failed.
	ErrNotStarted = errors.New("the timers are not started")
	// ErrNotDue: by the clock of the service it is too early to handle the timer. The caller moves the clock first.
	ErrNotDue = errors.New("the timer is not due yet")
)

// Config of a Service.
type Config struct {
	// Log gives the connection. Required.
	Log *eventstore.Log
	// Replicas of CLOSURE_TIMERS when it is created; one that exists has to have as many at least. Defaults to 1.
	Replicas int
	// Now is the clock by which timers are due. It may run ahead of the machine's. Defaults to time.Now.
	Now func() time.Time
	// Handle does what a timer is for. On an error the timer comes again after 100 ms, doubling up to a minute, without end. It
	// MUST be idempotent, and it MUST end when its context does. Required.
	Handle func(ctx context.Context, t Timer) error
	// HandleWithin bounds one call of Handle: then its context ends. Defaults to 1 minute.
	HandleWithin time.Duration
	// Parallel is how many timers are handled at a time. Defaults to 16.
	Parallel int
	// Logger gets failures of Handle, and trouble with the server. Defaults to none.
	Logger *slog.Logger
}

func (cfg Config) withDefaults() Config {
	cfg.Replicas = max(cfg.Replicas, 1)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.HandleWithin <= 0 {
		cfg.HandleWithin = time.Minute
	}
	if cfg.Parallel < 1 {
		cfg.Parallel = 16
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Service sets timers and handles those that are due. It may be used from many goroutines.
type Service struct {
	cfg    Config
	js     jetstream.JetStream
	logger *slog.Logger
	opened atomic.Pointer[jetstream.Stream] // by Start

	stopping context.Context // ended: nothing new is taken
	stop     context.CancelFunc
	working  context.Context // ended: what is in hand is cut short
	abort    context.CancelFunc
	hands    sync.WaitGroup // the timers in hand
	asked    chan struct{}  // closed: the server knows that nothing is asked for any more
	done     chan struct{}  // closed: it has stopped

	set, fired atomic.Uint64

	mu       sync.Mutex
	starting bool
	started  bool
}

// Stats counts what this service did since its start.
type Stats struct {
	// Set: timers that were set, those that were set again included. Fired: timers that were due, and were handled.
	Set, Fired uint64
}

// Stats counts what this service did.
func (s *Service) Stats() Stats { return Stats{Set: s.set.Load(), Fired: s.fired.Load()} }

// Due is how many timers, of all services, were woken and are not settled yet: by the wall clock their time has come.
func (s *Service) Due(ctx context.Context) (uint64, error) {
	stream, err := s.stream()
	if err != nil {
		return 0, fmt.Errorf("timers: %w", err)
	}
	consumer, err := stream.Consumer(ctx, consumerName)
	if err != nil {
		return 0, eventstore.Unavailable("timers: look at the consumer", err)
	}
	info := consumer.CachedInfo()
	return info.NumPending + uint64(max(info.NumAckPending, 0)), nil
}

// New makes a service. Start starts it.
func New(cfg Config) *Service {
	cfg = cfg.withDefaults()
	s := &Service{cfg: cfg, js: cfg.Log.JetStream(), logger: cfg.Logger.With("component", "timer")}
	s.asked, s.done = make(chan struct{}), make(chan struct{})
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.working, s.abort = context.WithCancel(context.Background())
	return s
}

// Start creates the stream when it is missing, and handles timers until Stop. Settings of the stream that would lose timers
// are eventstore.ErrWrongStream; a server that does not answer is eventstore.ErrUnavailable. The context is for the start
// only.
func (s *Service) Start(ctx context.Context) error {
	if s.cfg.Handle == nil {
		return errors.New("timers: no handler")
	}
	if !s.claimStart() {
		return errors.New("timers: they can be started once, and not after a stop")
	}
	consumer, err := s.open(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starting = false
	if err != nil {
		return fmt.Errorf("timers: %w", err)
	}
	if s.stopping.Err() != nil {
		return errors.New("timers: stopped while they were starting")
	}
	s.started = true
	var loops sync.WaitGroup
	loops.Go(func() { s.work(consumer) })
	loops.Go(s.watch)
	go func() {
		defer close(s.done)
		loops.Wait() // only then nothing more comes into the hands
		s.hands.Wait()
	}()
	return nil
}

func (s *Service) claimStart() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.starting || s.started || s.stopping.Err() != nil {
		return false
	}
	s.starting = true
	return true
}

func (s *Service) open(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, retry.StartWithin)
	defer cancel()
	stream, err := openStream(ctx, s.js, s.cfg.Replicas)
	if err != nil {
		return nil, err
	}
	consumer, err := openConsumer(ctx, stream)
	if err == nil {
		s.opened.Store(&stream)
	}
	return consumer, err
}

// Stop takes no more timers and lets those in hand finish. When the context ends first they are cut short, and come again; that
// is the error. It may be called more than once, and before Start. What is set stays set.
func (s *Service) Stop(ctx context.Context) error {
	s.stop()
	s.mu.Lock()
	started := s.started
	s.mu.Unlock()
	if !started {
		return nil
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	s.abort()
	select {
	case <-s.done:
		return fmt.Errorf("timers: stopped before everything in hand was finished: %w", ctx.Err())
	case <-time.After(abortGrace):
		return fmt.Errorf("timers: a handler does not stop: %w", ctx.Err())
	}
}

// abortGrace is how long Stop waits for handlers whose context it has ended.
const abortGrace = 2 * time.Second

// stream is the one that Start has opened.
func (s *Service) stream() (jetstream.Stream, error) {
	if opened := s.opened.Load(); opened != nil {
		return *opened, nil
	}
	return nil, ErrNotStarted
}
