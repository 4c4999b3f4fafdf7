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
//     in hand again: another one does so when its pin has lapsed, after ten seconds and a little more at most.
//   - Events go in packages, whose order is that of the events. With config.order strict, the default, no event is tried
//     before the ones before it got a 2xx answer. With resource that holds for the events of each resource. It holds over
//     any number of engine processes: the server delivers the events of a subscription to one of them at a time.
//   - A subscription waits for nobody but its own endpoint.
//   - Memory is bounded, whatever waits: a failing subscription has no events in hand, and the others a bounded amount.
//   - Every attempt is kept for a time, and what was acknowledged has its attempt.
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
	"go.opentelemetry.io/otel/trace"

	"closure/eventstore"
	"closure/eventstore/bucket"
	"closure/eventstore/retry"
	"closure/eventstore/tracing"
	"closure/projections/webhooks/endpoint"
	"closure/projections/webhooks/signing"
)

// Config of a Service. Log is required.
type Config struct {
	// Log gives the connection to the streams.
	Log *eventstore.Log
	// Replicas of the bucket of subscriptions. One that has more keeps them. Defaults to 1.
	Replicas int
	// Sender makes the requests. Its own bound of a whole request MUST NOT be above RequestTimeout. Defaults to one of package
	// endpoint with that bound: https and public addresses only.
	Sender Sender
	// Signer signs the requests. Defaults to none: they are not signed.
	Signer Signer
	// Backoff is how long to wait after the attempt with the number (from 1) has failed; 0 is at once. Defaults to 1, 2,
	// 3, 5, 8 … 600 s, each up to a tenth more or less, and never more than 600 s.
	Backoff func(attempt int) time.Duration
	// RequestTimeout bounds one request from the dialling to the end of the answer. All processes should have the same.
	// Defaults to 15s.
	RequestTimeout time.Duration
	// FailingAfter is for how long an endpoint has failed when the operator is told: three times in a failing period.
	// Defaults to an hour, a day and five days.
	FailingAfter [3]time.Duration
	// KeepAttempts is how long attempts are kept; of a subscription and an outcome, 10,000 at most. Defaults
	// to 30 days.
	KeepAttempts time.Duration
	// AttemptBytes bounds the stream of attempts as a whole, before compression; the oldest of all go first. The server sets so
	// much of its storage aside, or less when it has not so much. Defaults to 1 GiB, which holds a million and more.
	AttemptBytes int64
	// Now is the time of changes and attempts. Defaults to the wall clock.
	Now func() time.Time
	// Attempted is told how each request went, tests of an endpoint and resent events included. Defaults to nobody.
	Attempted func(endpoint.Outcome)
	// Tracer makes a span of every request. Defaults to none: the trace context of the events is handed on.
	Tracer trace.Tracer
	// Logger gets each failed attempt at info level. Defaults to none.
	Logger *slog.Logger
}

// Sender makes one request to an endpoint; *endpoint.Sender is one.
type Sender interface {
	// CheckURL says whether a URL may be subscribed; the error says what it must be.
	CheckURL(url string) error
	// Post makes one attempt.
	Post(ctx context.Context, r endpoint.Request) endpoint.Outcome
	// Close releases connections that are idle; it may be used on.
	Close()
}

// Signer signs a request; *signing.Keys is one.
type Signer interface {
	Sign(r *http.Request, body []byte, messageID string, secrets signing.Secrets, at time.Time) error
}

func (cfg Config) withDefaults() Config {
	cfg.Replicas = max(cfg.Replicas, 1)
	if cfg.Backoff == nil {
		cfg.Backoff = jittered
	}
	if cfg.RequestTimeout <= 0 {
		cfg.RequestTimeout = 15 * time.Second
	}
	if cfg.Sender == nil {
		cfg.Sender = endpoint.New(endpoint.Config{
			UserAgent: UserAgent(), Timeouts: endpoint.Timeouts{Whole: cfg.RequestTimeout},
		})
	}
	if cfg.FailingAfter == ([3]time.Duration{}) {
		cfg.FailingAfter = [3]time.Duration{time.Hour, 24 * time.Hour, 5 * 24 * time.Hour}
	}
	if cfg.KeepAttempts <= 0 {
		cfg.KeepAttempts = 30 * 24 * time.Hour
	}
	if cfg.AttemptBytes <= 0 {
		cfg.AttemptBytes = 1 << 30
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Attempted == nil {
		cfg.Attempted = func(endpoint.Outcome) {}
	}
	if cfg.Tracer == nil {
		cfg.Tracer = tracing.None()
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
	cfg    Config
	js     jetstream.JetStream
	sender Sender
	budget *budget

	taking  context.Context // ended: nothing new is begun
	stop    context.CancelFunc
	working context.Context // ended: requests are cut short
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	events   jetstream.Stream // CLOSURE_EVENTS; set before anything runs
	attempts jetstream.Stream // CLOSURE_ATTEMPTS; likewise
	ledger   *ledger

	mu      sync.Mutex
	state   state
	kv      jetstream.KeyValue
	kvState jetstream.KeyValue
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
		cfg: cfg, js: cfg.Log.JetStream(), sender: cfg.Sender, budget: newBudget(budgetBytes), runners: map[string]*runner{},
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
	s.events = stream
	if err := s.openStores(ctx); err != nil {
		return err
	}
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

// openStores opens the buckets and the stream of attempts.
func (s *Service) openStores(ctx context.Context) error {
	open := func(name, description string) (jetstream.KeyValue, error) {
		return bucket.Open(ctx, s.js, bucket.Config{Name: name, Description: description, Replicas: s.cfg.Replicas})
	}
	kv, err := open(Bucket, "closure: webhook subscriptions")
	if err != nil {
		return err
	}
	states, err := open(StateBucket, "closure: how the deliveries of webhooks go")
	if err != nil {
		return err
	}
	s.attempts, err = retry.Insist(ctx, func(ctx context.Context) (jetstream.Stream, error) {
		return s.openAttempts(ctx, attemptStream(s.cfg))
	})
	if err != nil {
		return fmt.Errorf("stream %s: %w", StreamAttempts, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kv, s.kvState, s.ledger = kv, states, newLedger(s)
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
			if s.ledger != nil {
				s.ledger.close()
			}
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
	s.sender.Close()
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

// UserAgent names the program and, when it was built as a module of a version, that.
func UserAgent() string {
	version := "dev"
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") {
		version = strings.TrimPrefix(info.Main.Version, "v")
	}
	return "closure/" + version
}
