// Package webhooks delivers published events to the endpoints of clients: CLOSURE_EVENTS -> HTTP (CONTRACT: Webhooks).
//
// A subscription is two things. Its entry in the bucket CLOSURE_WEBHOOKS says what the client wants; it is the truth.
// Its durable consumer on CLOSURE_EVENTS holds how far it got; the server keeps it, so that place, retries and waiting
// times survive every restart. The entry is written first, and every engine process follows the bucket and makes the
// consumers fit: a crash in between leaves nothing half done.
//
// What it promises:
//
//   - Every event from a subscription's creation on is delivered at least once. A process that dies delivers what it had
//     in hand again: another one does so when RequestTimeout and two seconds are over.
//   - No event of a subscription is tried before the one before it got a 2xx answer. The consumer hands out one event at
//     a time, to whichever engine process asks, so that this holds over any number of them.
//   - A subscription waits for nobody but its own endpoint.
package webhooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/retry"
)

// Config of a Service. Log is required.
type Config struct {
	// Log gives the connection to the streams.
	Log *eventstore.Log
	// Replicas of the bucket of subscriptions. One that has more keeps them. Defaults to 1.
	Replicas int
	// Client makes the requests; it never follows a redirect, whatever its own settings. Defaults to one made here.
	Client *http.Client
	// Backoff is how long to wait after the attempt with the number (from 1) has failed; 0 is at once. Defaults to 1, 2,
	// 3, 5, 8 … 600 s, each up to a tenth more or less, and never more than 600 s.
	Backoff func(attempt int) time.Duration
	// RequestTimeout bounds one request from the dialling to the end of the answer. Defaults to 10s.
	RequestTimeout time.Duration
	// Logger gets each failed attempt at info level. Defaults to none.
	Logger *slog.Logger
}

func (cfg Config) withDefaults() Config {
	cfg.Replicas = max(cfg.Replicas, 1)
	if cfg.Backoff == nil {
		cfg.Backoff = jittered
	}
	if cfg.RequestTimeout <= 0 {
		cfg.RequestTimeout = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

const (
	// finishWithin bounds each request of a clean end.
	finishWithin = 2 * time.Second
)

// errNotRunning: the service was not started, or is stopped. The caller may come again.
var errNotRunning = fmt.Errorf("webhooks are not running: %w", eventstore.ErrUnavailable)

// Service keeps the subscriptions and delivers to them. It may be used from many goroutines, and in many processes at once.
type Service struct {
	cfg       Config
	js        jetstream.JetStream
	client    *http.Client
	userAgent string

	taking  context.Context // ended: nothing new is begun
	stop    context.CancelFunc
	working context.Context // ended: requests are cut short
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu      sync.Mutex
	state   state
	kv      jetstream.KeyValue
	runners map[string]*runner // by the subscription's id
	idle    chan struct{}      // made by Stop; closed when nothing runs any more
}

type state int

const (
	fresh state = iota
	running
	stopped
)

// New makes a service. Start starts it.
func New(cfg Config) *Service {
	cfg = cfg.withDefaults()
	s := &Service{
		cfg: cfg, js: cfg.Log.JetStream(), client: clientOf(cfg), userAgent: userAgent(), runners: map[string]*runner{},
	}
	s.taking, s.stop = context.WithCancel(context.Background())
	s.working, s.cancel = context.WithCancel(context.Background())
	return s
}

// Start opens the bucket, removes what deleted subscriptions have left, and begins to deliver. It returns when all
// subscriptions are known. CLOSURE_EVENTS MUST exist: the publisher creates it.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	if s.state != fresh {
		s.mu.Unlock()
		return errors.New("webhooks: start: started before")
	}
	s.state = running
	s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return errors.Join(fmt.Errorf("webhooks: start: %w", err), s.Stop(ctx))
	}
	return nil
}

func (s *Service) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, retry.StartWithin)
	defer cancel()
	stream, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.Stream, error) {
		return s.js.Stream(ctx, eventstore.StreamEvents)
	})
	if err != nil {
		return fmt.Errorf("stream %s: %w", eventstore.StreamEvents, err)
	}
	kv, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.KeyValue, error) { return openBucket(ctx, s.js, s.cfg.Replicas) })
	if err != nil {
		return fmt.Errorf("bucket %s: %w", Bucket, err)
	}
	s.mu.Lock()
	s.kv = kv
	s.mu.Unlock()
	// Consumers first, entries second: an entry is written before its consumer is made, so a consumer of this list whose
	// entry is not found afterwards belongs to a subscription that was deleted, and not to one that is just being made.
	consumers, err := retry.Insist(ctx, func(ctx context.Context) ([]string, error) { return consumerIDs(ctx, stream) })
	if err != nil {
		return fmt.Errorf("list the consumers: %w", err)
	}
	w, seen, err := s.openWatch(ctx)
	if err != nil {
		return err
	}
	s.wg.Go(func() { s.watch(w) })
	s.removeOrphans(ctx, consumers, seen)
	return nil
}

// Stop takes no more events, finishes the requests that are under way, and hands the rest back to the server. When the
// context ends first the requests are cut short, and what they carried is delivered again; that is the error.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	if s.state == fresh {
		s.mu.Unlock()
		return nil
	}
	s.state = stopped
	s.stop()
	if s.idle == nil {
		s.idle = make(chan struct{})
		go func() {
			s.wg.Wait()
			s.cancel()
			close(s.idle)
		}()
	}
	s.mu.Unlock()
	var err error
	select {
	case <-s.idle:
	case <-ctx.Done():
		s.cancel()
		<-s.idle
		err = fmt.Errorf("webhooks: requests were cut short: %w", ctx.Err())
	}
	s.client.CloseIdleConnections()
	s.flush()
	return err
}

// flush sees to it that what was acknowledged last reaches the server before somebody closes the connection.
func (s *Service) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), finishWithin)
	defer cancel()
	if err := s.cfg.Log.Conn().FlushWithContext(ctx); err != nil {
		s.cfg.Logger.Warn("webhooks: the last acknowledgements may be lost; some events may be delivered again", "error", err)
	}
}

// bucket is the bucket of a running service.
func (s *Service) bucket() (jetstream.KeyValue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != running || s.kv == nil {
		return nil, errNotRunning
	}
	return s.kv, nil
}

// userAgent names the program and, when it was built as a module of a version, that.
func userAgent() string {
	version := "dev"
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") {
		version = strings.TrimPrefix(info.Main.Version, "v")
	}
	return "closure/" + version
}
