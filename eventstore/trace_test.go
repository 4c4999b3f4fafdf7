package eventstore_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/tracing"
)

var someTrace = tracing.Context{Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", State: "vendor=1"}

// A trace context stands beside the commit, however that was published, and every way to read gives it back. It is no part of the
// body, and so not of the hash.
func TestTraceBesideTheCommit(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]*eventstore.Log{"alone": openLog(t), "in company": grouped(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			all := make([]eventstore.Recorded, 20)
			var appends sync.WaitGroup
			for i := range all {
				appends.Go(func() {
					var err error
					if all[i], err = l.Append(someTrace.In(ctx), commitOf("account", uuid.NewString()), eventstore.Head{}); err != nil {
						t.Error(err)
					}
				})
			}
			appends.Wait()
			for _, rec := range all {
				require.Equal(t, someTrace, rec.Trace)
				body, err := rec.Encode()
				require.NoError(t, err)
				require.Equal(t, rec.Hash, eventstore.HashOf(body))
				require.NotContains(t, string(body), "traceparent")
				loaded, err := l.Load(ctx, rec.Aggregate, rec.AggregateID, 0)
				require.NoError(t, err)
				require.Equal(t, []eventstore.Recorded{rec}, loaded)
				loaded, err = l.LoadFromLeader(ctx, rec.Aggregate, rec.AggregateID, 0)
				require.NoError(t, err)
				require.Equal(t, []eventstore.Recorded{rec}, loaded)
			}
			var c collector
			f := startFollower(t, l, eventstore.FollowerConfig{Name: "traced", Handle: c.handle})
			last, err := l.LastSequence(ctx)
			require.NoError(t, err)
			waitFor(t, f, last)
			c.mu.Lock()
			defer c.mu.Unlock()
			require.Len(t, c.commits, len(all))
			for _, rec := range c.commits {
				require.Equal(t, someTrace, rec.Trace)
			}
		})
	}
}

// Every append is told of, with what came of it.
func TestAppendsAreToldOf(t *testing.T) {
	t.Parallel()
	var told []error
	l := openLogOn(t, embeddedtest.Connect(t, embeddedtest.Server(t)), eventstore.Config{Appended: func(took time.Duration, err error) {
		require.Positive(t, took)
		told = append(told, err)
	}})
	rec, err := l.Append(testContext(t), commitOf("account", "a"), eventstore.Head{})
	require.NoError(t, err)
	require.Zero(t, rec.Trace, "there was none")
	other := commitOf("account", "a")
	_, err = l.Append(testContext(t), other, eventstore.Head{})
	require.ErrorIs(t, err, eventstore.ErrConflict)
	require.Len(t, told, 2)
	require.NoError(t, told[0])
	require.True(t, errors.Is(told[1], eventstore.ErrConflict))
}
