package eventstoretest

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
)

var followTests = map[string]func(*testing.T, Open){
	"from a position":     testFollowFrom,
	"durable":             testFollowDurable,
	"wait for a position": testWaitFor,
	"wait in vain":        testWaitInVain,
}

// collector is a handler that keeps what it gets.
type collector struct {
	mu      sync.Mutex
	commits []eventstore.Recorded
	largest int // of the calls
}

func (c *collector) handle(_ context.Context, commits []eventstore.Recorded) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commits, c.largest = append(c.commits, commits...), max(c.largest, len(commits))
	return nil
}

func (c *collector) all() []eventstore.Recorded {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.commits
}

// follow starts a follower that stops with the test.
func follow(t testing.TB, l *eventstore.Log, cfg eventstore.FollowerConfig) *eventstore.Follower {
	t.Helper()
	f := eventstore.NewFollower(l, cfg)
	require.NoError(t, f.Start(within(t)))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, f.Stop(ctx))
	})
	return f
}

// A follower without a name begins at its position, and hands on what was there and
// what comes, all aggregates in the order of the log.
func testFollowFrom(t *testing.T, open Open) {
	l, id := open(t), newID()
	before := extend(t, l, id, eventstore.Head{}, 50)
	var got collector
	f := follow(t, open(t), eventstore.FollowerConfig{From: before[30].Sequence, MaxBatch: 16, Handle: got.handle})
	require.GreaterOrEqual(t, f.Position(), before[30].Sequence-1)
	require.NoError(t, f.WaitFor(within(t), before[49].Sequence))
	after := extend(t, l, id, before[49].Head(), 50)
	require.NoError(t, f.WaitFor(within(t), after[49].Sequence))
	commits := got.all()
	require.Equal(t, before[30].Sequence, commits[0].Sequence)
	mustRun(t, commits)
	mustEqual(t, only(commits, id), append(before[30:], after...))
	got.mu.Lock()
	defer got.mu.Unlock()
	require.LessOrEqual(t, got.largest, 16)
}

// A follower with a name reads the whole log, and goes on where it was stopped.
func testFollowDurable(t *testing.T, open Open) {
	l, id := open(t), newID()
	name, next := "suite-"+id, uint64(1)
	var head eventstore.Head
	for range 2 {
		written := extend(t, l, id, head, 30)
		head = written[29].Head()
		var got collector
		f := follow(t, open(t), eventstore.FollowerConfig{Name: name, Handle: got.handle})
		require.NoError(t, f.WaitFor(within(t), head.Sequence))
		require.NoError(t, f.Stop(within(t)))
		commits := got.all()
		require.Equal(t, next, commits[0].Sequence)
		mustRun(t, commits)
		mustEqual(t, only(commits, id), written)
		require.Equal(t, commits[len(commits)-1].Sequence, f.Position())
		next = f.Position() + 1
	}
}

// Whoever waits for a position goes on when everything up to it is handled, and not
// before.
func testWaitFor(t *testing.T, open Open) {
	l, id := open(t), newID()
	all := extend(t, l, id, eventstore.Head{}, 3)
	gate, entered := make(chan struct{}), make(chan struct{})
	f := follow(t, open(t), eventstore.FollowerConfig{From: all[0].Sequence, MaxBatch: 1, Handle: func(ctx context.Context, commits []eventstore.Recorded) error {
		if commits[0].Sequence != all[2].Sequence {
			return nil
		}
		close(entered)
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	require.NoError(t, f.WaitFor(within(t), all[1].Sequence))
	require.NoError(t, f.WaitFor(within(t), 0))
	<-entered
	require.Equal(t, all[2].Sequence-1, f.Position())
	done := make(chan error, 1)
	go func() { done <- f.WaitFor(context.Background(), all[2].Sequence) }()
	select {
	case err := <-done:
		t.Fatalf("the wait ended before the commit was handled: %v", err)
	default:
	}
	close(gate)
	require.NoError(t, <-done)
	require.GreaterOrEqual(t, f.Position(), all[2].Sequence)
}

// A wait ends with its context, and with the follower.
func testWaitInVain(t *testing.T, open Open) {
	l := open(t)
	last, err := l.LastSequence(within(t))
	require.NoError(t, err)
	var got collector
	f := follow(t, l, eventstore.FollowerConfig{From: last + 1, Handle: got.handle})
	const never = 1 << 40
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- f.WaitFor(ctx, never) }()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	go func() { done <- f.WaitFor(context.Background(), never) }()
	require.NoError(t, f.Stop(within(t)))
	require.ErrorContains(t, <-done, "not running")
}
