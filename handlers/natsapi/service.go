package natsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/retry"
	"closure/eventstore/tracing"
	"closure/handlers"
)

// Engine executes commands: handlers.Engine does. Doing a command again MUST change nothing the second time.
type Engine interface {
	Do(ctx context.Context, c domain.Command) (handlers.Outcome, error)
}

// Config of a Service.
type Config struct {
	// Engine executes the commands. Required.
	Engine Engine
	// Log is where the engine writes; its connection is used for everything. Required.
	Log *eventstore.Log
	// Lists answer the questions of operators. Defaults to none: they are not answered.
	Lists Lists
	// Replicas of CLOSURE_COMMANDS when it is created; one that exists has to have as many at least. Defaults to 1.
	Replicas int
	// EarlyFactWait is how long a fact in the inbox waits for its aggregate to be opened. Defaults to 10m.
	EarlyFactWait time.Duration
	// Status is what the engine says of itself on closure.query.status: a JSON object. Defaults to none: the question is not answered.
	Status func(ctx context.Context) any
	// Rejected is told the kind of problem of every command of the inbox that is refused. Defaults to nobody.
	Rejected func(handlers.Slug)
	// Tracer makes a span of every command that comes. Defaults to none: a trace context that comes is handed on.
	Tracer trace.Tracer
	// Version of the program, as the micro service shows it: a semantic version. Defaults to 0.0.0.
	Version string
	// Logger for what an operator may want to know. Defaults to none.
	Logger *slog.Logger
	// Now is the clock for the time of COMMAND.REJECTED. Defaults to time.Now.
	Now func() time.Time
}

func (cfg Config) withDefaults() Config {
	if cfg.Replicas == 0 {
		cfg.Replicas = 1
	}
	if cfg.EarlyFactWait == 0 {
		cfg.EarlyFactWait = 10 * time.Minute
	}
	if cfg.Version == "" {
		cfg.Version = "0.0.0"
	}
	if cfg.Rejected == nil {
		cfg.Rejected = func(handlers.Slug) {}
	}
	if cfg.Tracer == nil {
		cfg.Tracer = tracing.None()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return cfg
}

const (
	// commandTime is what one execution of one command may take.
	commandTime = 10 * time.Second
	// flushWithin bounds the last flush of answers and acknowledgements in Stop.
	flushWithin = 5 * time.Second
)

// Service is the way in over NATS: the micro service and the durable inbox. Any number of them may run on one log.
type Service struct {
	cfg Config
	log *slog.Logger
	nc  *nats.Conn
	js  jetstream.JetStream

	stopping context.Context // ends when Stop begins: nothing new is taken, and nobody waits any more
	stop     context.CancelFunc
	working  context.Context // ends when Stop runs out of time: what is in hand is cut off
	cutOff   context.CancelFunc

	commandTime time.Duration       // commandTime, but in tests
	slots       *semaphore.Weighted // one for each request in hand
	shares      shares              // of each client in them
	lastRequest atomic.Int64        // when the last request came, Unix nanoseconds
	workers     sync.WaitGroup      // of the inbox
	gone        sync.Once           // tells that the connection is closed

	mu               sync.Mutex // held by Start and Stop
	started, stopped bool
	stream           jetstream.Stream // CLOSURE_COMMANDS; set by Start
	rpc              micro.Service    // set by Start
}

// New makes a service. Start starts it.
func New(cfg Config) *Service {
	cfg = cfg.withDefaults()
	s := &Service{
		cfg: cfg, log: cfg.Logger.With("component", "natsapi"), nc: cfg.Log.Conn(), js: cfg.Log.JetStream(),
		commandTime: commandTime, slots: semaphore.NewWeighted(maxRequests),
	}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.working, s.cutOff = context.WithCancel(context.Background())
	return s
}

// Start creates the stream CLOSURE_COMMANDS and its consumers when they are missing, begins to work the inbox off, and
// then answers on closure.rpc.>. It returns when requests are answered, or why it cannot: a stream with settings that
// would lose or reorder commands is eventstore.ErrWrongStream, a server that does not answer eventstore.ErrUnavailable.
// A service is started once.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return errors.New("natsapi: the service has been stopped")
	case s.started:
		return errors.New("natsapi: the service is started already")
	case s.cfg.Replicas < 0 || s.cfg.EarlyFactWait < 0:
		return errors.New("natsapi: replicas and times cannot be negative")
	}
	ctx, cancel := context.WithTimeout(ctx, retry.StartWithin)
	defer cancel()
	stream, err := s.openStream(ctx)
	if err != nil {
		return fmt.Errorf("natsapi: %w", err)
	}
	s.stream = stream
	s.started = true
	if err := s.startInbox(ctx); err != nil {
		return errors.Join(fmt.Errorf("natsapi: %w", err), s.halt(ctx))
	}
	if err := s.startRPC(); err != nil {
		return errors.Join(fmt.Errorf("natsapi: %w", err), s.halt(ctx))
	}
	return nil
}

// Stop takes nothing new, finishes what is in hand, and returns when nothing of the service runs any more. A command of
// the inbox that waits to be tried again goes back to the inbox. When the context ends first, what is in hand is cut off
// (it stays in the inbox; a request is answered as unavailable), and the error says so.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started || s.stopped {
		return nil
	}
	return s.halt(ctx)
}

// halt is Stop with the lock held.
func (s *Service) halt(ctx context.Context) error {
	s.stopped = true
	s.stop()
	defer s.cutOff()
	err := s.stopRPC()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.workers.Wait()
		s.finishRequests()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.cutOff()
		<-done
		err = errors.Join(err, fmt.Errorf("natsapi: stopped before everything in hand was finished: %w", ctx.Err()))
	}
	return errors.Join(err, s.flush())
}

// flush sees to it that answers and acknowledgements have left before the connection may be closed.
func (s *Service) flush() error {
	if !s.nc.IsConnected() {
		// Whoever waits for an answer asks again, and what was not acknowledged comes again and changes nothing.
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	err := s.nc.FlushWithContext(ctx)
	// The client says this, too, when it loses the connection meanwhile and connects again: as above.
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("natsapi: flush: %w", err)
	}
	return nil
}

// pause waits before something is tried again; false when there is no point in it any more.
func (s *Service) pause(d time.Duration) bool {
	return retry.Pause(s.stopping, d) == nil && !s.nc.IsClosed()
}
