package timer_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/timer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to come.
const patience = 60 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// hand is a handler that notes what it gets, and by which clock.
type hand struct {
	now  func() time.Time
	fail atomic.Int64 // so many times it fails first

	mu   sync.Mutex
	got  []handled
	more chan struct{}
}

type handled struct {
	timer.Timer
	at time.Time
}

func newHand() *hand { return &hand{now: time.Now, more: make(chan struct{})} }

func (h *hand) handle(_ context.Context, t timer.Timer) error {
	at := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, handled{t, at})
	close(h.more)
	h.more = make(chan struct{})
	if h.fail.Add(-1) >= 0 {
		return errors.New("not now")
	}
	return nil
}

// await waits until so many timers were handed in.
func (h *hand) await(t testing.TB, n int) []handled {
	t.Helper()
	ctx := testContext(t)
	for {
		h.mu.Lock()
		got, more := append([]handled{}, h.got...), h.more
		h.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-more:
		case <-ctx.Done():
			require.FailNow(t, "a timer did not come", "%d of %d: %v", len(got), n, got)
		}
	}
}

func openLog(t testing.TB, url string, replicas int) *eventstore.Log {
	t.Helper()
	log, err := eventstore.Open(testContext(t), embeddedtest.ConnectURL(t, url), eventstore.Config{Replicas: replicas})
	require.NoError(t, err)
	return log
}

// start starts a service with a connection of its own.
func start(t testing.TB, server *embedded.Server, cfg timer.Config) *timer.Service {
	t.Helper()
	return startAt(t, server.ClientURL(), cfg)
}

func startAt(t testing.TB, url string, cfg timer.Config) *timer.Service {
	t.Helper()
	cfg.Log = openLog(t, url, cfg.Replicas)
	s := timer.New(cfg)
	require.NoError(t, s.Start(testContext(t)))
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t testing.TB, s *timer.Service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, s.Stop(ctx))
}

func at(id string, due time.Time) timer.Timer {
	return timer.Timer{Aggregate: "account", ID: id, Purpose: "test", Due: due.UTC()}
}

// drained waits until nothing is pending any more: what was handled is acknowledged a moment later.
func drained(t testing.TB, s *timer.Service) {
	t.Helper()
	ctx := testContext(t)
	require.Eventually(t, func() bool {
		pending, err := s.Pending(ctx)
		require.NoError(t, err)
		return len(pending) == 0
	}, patience, 10*time.Millisecond)
}

// lies tells what stands on the subjects of CLOSURE_TIMERS that match.
func lies(t testing.TB, log *eventstore.Log, filter string) map[string]uint64 {
	t.Helper()
	stream, err := log.JetStream().Stream(testContext(t), eventstore.StreamTimers)
	require.NoError(t, err)
	info, err := stream.Info(testContext(t), jetstream.WithSubjectFilter(filter))
	require.NoError(t, err)
	return info.State.Subjects
}

// nothingLies waits until the stream is empty: what was handled leaves nothing behind.
func nothingLies(t testing.TB, log *eventstore.Log) {
	t.Helper()
	require.Eventually(t, func() bool { return len(lies(t, log, ">")) == 0 }, patience, 10*time.Millisecond)
}

// holder is a handler that holds every timer until it is told to go on, or its context ends.
type holder struct {
	holds   chan timer.Timer
	release chan struct{}
}

func newHolder() *holder {
	return &holder{holds: make(chan timer.Timer, 100), release: make(chan struct{})}
}

func (h *holder) handle(ctx context.Context, t timer.Timer) error {
	h.holds <- t
	select {
	case <-h.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *holder) await(t testing.TB) timer.Timer {
	t.Helper()
	select {
	case held := <-h.holds:
		return held
	case <-time.After(patience):
		require.FailNow(t, "a timer did not come")
		return timer.Timer{}
	}
}

// store writes to the stream past the package.
func store(t testing.TB, log *eventstore.Log, subject, body string, opts ...jetstream.PublishOpt) uint64 {
	t.Helper()
	ack, err := log.JetStream().Publish(testContext(t), subject, []byte(body), opts...)
	require.NoError(t, err)
	return ack.Sequence
}

// clock is one that a test moves. It begins with the machine's.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) move(by time.Duration) { c.ahead.Add(int64(by)) }
