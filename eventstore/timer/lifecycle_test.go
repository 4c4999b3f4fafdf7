package timer_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/timer"
)

// A server that was down while timers became due, and services that end with one in hand: nothing is lost.
func TestTimersSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, err := embedded.Start(embedded.Config{Addr: "127.0.0.1:0", Dir: dir})
	require.NoError(t, err)
	begun, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := timer.New(timer.Config{Log: openLog(t, server.ClientURL(), 1), HandleWithin: time.Second, Handle: func(ctx context.Context, _ timer.Timer) error {
		once.Do(func() { close(begun) })
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-release:
			return nil
		}
	}})
	require.NoError(t, s.Start(testContext(t)))
	soon := time.Now().Add(1500 * time.Millisecond)
	require.NoError(t, s.Set(testContext(t), at("in-hand", time.Now())))
	require.NoError(t, s.Set(testContext(t), at("missed", soon)))
	require.NoError(t, s.Set(testContext(t), at("later", soon.Add(time.Hour))))
	<-begun
	// It is cut short, as by the end of its process.
	over, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, s.Stop(over), context.Canceled)
	server.Shutdown()
	<-time.After(time.Until(soon)) // the moment passes while nothing runs

	server, err = embedded.Start(embedded.Config{Addr: "127.0.0.1:0", Dir: dir})
	require.NoError(t, err)
	defer server.Shutdown()
	h := newHand()
	again := start(t, server, timer.Config{HandleWithin: time.Second, Handle: h.handle})
	defer stop(t, again)
	seen := map[string]int{}
	for _, g := range h.await(t, 2) {
		seen[g.ID]++
	}
	require.Equal(t, map[string]int{"in-hand": 1, "missed": 1}, seen)
	pending, err := again.Pending(testContext(t))
	require.NoError(t, err)
	require.Equal(t, "later", pending[len(pending)-1].ID)
	close(release)
}

// Two services share the work; each timer goes to one of them.
func TestTwoServices(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Server(t)
	h := newHand()
	const n = 60
	var busy sync.WaitGroup
	busy.Add(2) // both have to be in a handler at the same time
	var first atomic.Int64
	together := func(ctx context.Context, tm timer.Timer) error {
		if first.Add(1) <= 2 {
			busy.Done()
			busy.Wait()
		}
		return h.handle(ctx, tm)
	}
	one := start(t, server, timer.Config{Handle: together, Parallel: 1})
	start(t, server, timer.Config{Handle: together, Parallel: 1})
	for i := range n {
		require.NoError(t, one.Set(testContext(t), at(fmt.Sprint(i), time.Now())))
	}
	got := h.await(t, n)
	drained(t, one)
	ids := map[string]bool{}
	for _, g := range got {
		ids[g.ID] = true
	}
	require.Len(t, ids, n)
	require.Len(t, got, n)
}

// A service that ends without a word, as with SIGKILL, has its timer handled by another one. A timer that is only slow stays
// with the service that has it.
func TestAServiceThatIsKilled(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Server(t)
	slow, killed, h := newHolder(), newHolder(), newHand()
	one := start(t, server, timer.Config{Handle: slow.handle, Parallel: 1})
	require.NoError(t, one.Set(testContext(t), at("slow", time.Now())))
	require.Equal(t, "slow", slow.await(t).ID)

	dies := openLog(t, server.ClientURL(), 1)
	two := timer.New(timer.Config{Log: dies, Handle: killed.handle, Parallel: 1})
	require.NoError(t, two.Start(testContext(t)))
	require.NoError(t, one.Set(testContext(t), at("orphan", time.Now())))
	require.Equal(t, "orphan", killed.await(t).ID)
	dies.Conn().Close()
	start(t, server, timer.Config{Handle: h.handle})
	require.Equal(t, "orphan", h.await(t, 1)[0].ID)
	require.Len(t, h.await(t, 1), 1, "the slow one was handed out before the orphan, and is not missed")

	close(killed.release)
	close(slow.release)
	stop(t, two)
	drained(t, one)
	require.Empty(t, slow.holds, "each was handed out once")
	require.Empty(t, killed.holds)
}

// A service that stops lets go of what it cannot finish, and another one need not wait until that is missed.
func TestStopCutsShortAndHandsOver(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Server(t)
	held, h := newHolder(), newHand()
	one := timer.New(timer.Config{Log: openLog(t, server.ClientURL(), 1), Handle: held.handle})
	require.NoError(t, one.Start(testContext(t)))
	require.NoError(t, one.Set(testContext(t), at("a", time.Now())))
	held.await(t)
	start(t, server, timer.Config{Handle: h.handle})
	over, cancel := context.WithCancel(context.Background())
	cancel()
	begin := time.Now()
	require.ErrorIs(t, one.Stop(over), context.Canceled)
	h.await(t, 1)
	require.Less(t, time.Since(begin), 4*time.Second)
}

// What is in hand is finished before Stop returns.
func TestStopWaitsForWhatIsInHand(t *testing.T) {
	t.Parallel()
	held := newHolder()
	server := embeddedtest.Server(t)
	s := timer.New(timer.Config{Log: openLog(t, server.ClientURL(), 1), Handle: held.handle})
	require.NoError(t, s.Start(testContext(t)))
	require.NoError(t, s.Set(testContext(t), at("a", time.Now())))
	held.await(t)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(testContext(t)) }()
	select {
	case err := <-stopped:
		require.FailNow(t, "stopped with a timer in hand", "%v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(held.release)
	require.NoError(t, <-stopped)
	nothingLies(t, openLog(t, server.ClientURL(), 1))
}

// No more timers are in hand at a time than there may be, and a handler that hangs is cut short.
func TestParallelAndWithin(t *testing.T) {
	t.Parallel()
	const n, parallel = 9, 3
	var now, most, ended atomic.Int64
	together := make(chan struct{}, n)
	s := start(t, embeddedtest.Server(t), timer.Config{Parallel: parallel, HandleWithin: 200 * time.Millisecond, Handle: func(ctx context.Context, tm timer.Timer) error {
		if in := now.Add(1); in == parallel {
			together <- struct{}{}
		} else if in > parallel {
			most.Store(in)
		}
		<-ctx.Done()
		ended.Add(1)
		now.Add(-1)
		return nil
	}})
	for i := range n {
		require.NoError(t, s.Set(testContext(t), at(fmt.Sprint(i), time.Now())))
	}
	drained(t, s)
	require.Zero(t, most.Load(), "in hand at a time")
	require.NotEmpty(t, together, "they are handled in parallel")
	require.EqualValues(t, n, ended.Load())
}

// Somebody deletes the consumer: it is made again, and nothing is lost.
func TestAConsumerThatIsDeleted(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Server(t)
	h := newHand()
	s := start(t, server, timer.Config{Handle: h.handle})
	log := openLog(t, server.ClientURL(), 1)
	require.NoError(t, log.JetStream().DeleteConsumer(testContext(t), eventstore.StreamTimers, "timers"))
	require.NoError(t, s.Set(testContext(t), at("a", time.Now())))
	h.await(t, 1)
	nothingLies(t, log)
}

func TestTimersOnACluster(t *testing.T) {
	t.Parallel()
	cluster, err := embedded.StartCluster(3, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(cluster.Shutdown)
	h := newHand()
	s := startAt(t, cluster.ClientURL(), timer.Config{Replicas: 3, Handle: h.handle})
	soon := time.Now().Add(2 * time.Second)
	require.NoError(t, s.Set(testContext(t), at("a", soon)))
	require.NoError(t, s.Set(testContext(t), at("b", soon.Add(time.Hour))))
	got := h.await(t, 1)
	require.Equal(t, "a", got[0].ID)
	require.False(t, got[0].at.Before(soon))
	cluster.Stop(0)
	require.NoError(t, s.Set(testContext(t), at("c", time.Now())), "without one of the servers")
	require.Equal(t, "c", h.await(t, 2)[1].ID)
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Server(t)
	h := newHand()
	s := start(t, server, timer.Config{Handle: h.handle})
	for _, bad := range []string{"", "a.b", "a b", "*", ">", "a\n", "\xff", strings.Repeat("x", 256)} {
		for field, tm := range map[string]timer.Timer{
			"aggregate": {Aggregate: bad, ID: "a", Purpose: "test", Due: time.Now()},
			"id":        {Aggregate: "account", ID: bad, Purpose: "test", Due: time.Now()},
			"purpose":   {Aggregate: "account", ID: "a", Purpose: bad, Due: time.Now()},
		} {
			for _, err := range []error{s.Set(testContext(t), tm), s.Cancel(testContext(t), tm.Aggregate, tm.ID, tm.Purpose), s.Expire(testContext(t), tm)} {
				require.ErrorIs(t, err, timer.ErrInvalid)
				require.ErrorContains(t, err, field+" ")
				require.ErrorContains(t, err, "must be one token")
			}
		}
	}
	for _, due := range []time.Time{{}, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)} {
		err := s.Set(testContext(t), timer.Timer{Aggregate: "account", ID: "a", Purpose: "test", Due: due})
		require.ErrorIs(t, err, timer.ErrInvalid)
		require.ErrorContains(t, err, "due ")
	}
	pending, err := s.Pending(testContext(t))
	require.NoError(t, err)
	require.Empty(t, pending)
}

func TestStartAndStopAtAnyTime(t *testing.T) {
	t.Parallel()
	log := openLog(t, embeddedtest.Server(t).ClientURL(), 1)
	s := timer.New(timer.Config{Log: log, Handle: newHand().handle})
	require.ErrorIs(t, s.Set(testContext(t), at("a", time.Now())), timer.ErrNotStarted)
	require.ErrorIs(t, s.Cancel(testContext(t), "account", "a", "test"), timer.ErrNotStarted)
	_, err := s.Pending(testContext(t))
	require.ErrorIs(t, err, timer.ErrNotStarted)
	require.ErrorIs(t, s.Reschedule(testContext(t)), timer.ErrNotStarted)
	require.NoError(t, s.Start(testContext(t)))
	require.ErrorContains(t, s.Start(testContext(t)), "once")
	stop(t, s)
	stop(t, s) // twice is no error
	require.ErrorContains(t, s.Start(testContext(t)), "not after a stop")
	never := timer.New(timer.Config{Log: log, Handle: newHand().handle})
	stop(t, never)
	require.ErrorContains(t, never.Start(testContext(t)), "not after a stop")
	require.ErrorContains(t, timer.New(timer.Config{Log: log}).Start(testContext(t)), "no handler")
}

// Without a server, calls end and say that it is not available.
func TestAServerThatIsGone(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Server(t)
	s := start(t, server, timer.Config{Handle: newHand().handle})
	server.Shutdown()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Set(ctx, at("a", time.Now())), eventstore.ErrUnavailable)
	require.ErrorIs(t, s.Cancel(ctx, "account", "a", "test"), eventstore.ErrUnavailable)
	_, err := s.Pending(ctx)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
}

// A stream that would lose timers is not used; the error names every setting.
func TestAStreamWithTheWrongSettings(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Server(t)
	log := openLog(t, server.ClientURL(), 1)
	_, err := log.JetStream().CreateStream(testContext(t), jetstream.StreamConfig{
		Name: eventstore.StreamTimers, Subjects: []string{"closure.timer.>"}, Storage: jetstream.MemoryStorage, MaxAge: time.Hour,
	})
	require.NoError(t, err)
	err = timer.New(timer.Config{Log: log, Handle: newHand().handle}).Start(testContext(t))
	require.ErrorIs(t, err, eventstore.ErrWrongStream)
	for _, setting := range []string{"storage is", "max_age is 1h0m0s", "allow_msg_schedules", "retention is", "subjects are", "max_msgs_per_subject"} {
		require.ErrorContains(t, err, setting)
	}
}
