package backup_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/backup"
	"closure/eventstore/timer"
)

// A timer is woken by its schedule, which is a message like any other: it fires on the server that it is restored to, and not before
// its time.
func TestTimersFireAfterARestore(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	service := func(log *eventstore.Log, handle func(context.Context, timer.Timer) error) *timer.Service {
		s := timer.New(timer.Config{Log: log, Handle: handle})
		require.NoError(t, s.Start(ctx))
		t.Cleanup(func() { require.NoError(t, s.Stop(context.WithoutCancel(ctx))) })
		return s
	}
	s := newSite(t, newServer(t), 1)
	// Should it be due before the backup is taken, it is not handled: then what its schedule fired is in the backup.
	before := service(s.log, func(context.Context, timer.Timer) error { return errors.New("not here") })
	due := timer.Timer{Aggregate: "account", ID: "soon", Purpose: "test", Due: time.Now().Add(3 * time.Second)}
	require.NoError(t, before.Set(ctx, due))
	later := timer.Timer{Aggregate: "account", ID: "later", Purpose: "test", Due: time.Now().Add(time.Hour)}
	require.NoError(t, before.Set(ctx, later))
	require.NoError(t, before.Stop(ctx))
	folder, m := s.take()

	to := newServer(t)
	_, err := backup.Restore(ctx, to, folder, m, backup.RestoreConfig{})
	require.NoError(t, err)
	log, err := eventstore.Open(ctx, to, eventstore.Config{})
	require.NoError(t, err)
	fired := make(chan time.Time, 10)
	after := service(log, func(_ context.Context, at timer.Timer) error {
		if at.ID == due.ID {
			fired <- time.Now()
		}
		return nil
	})
	select {
	case at := <-fired:
		require.False(t, at.Before(due.Due))
	case <-ctx.Done():
		t.Fatal("the timer does not fire")
	}
	pending, err := after.Pending(ctx)
	require.NoError(t, err)
	ids := map[string]bool{}
	for _, p := range pending {
		ids[p.ID] = true
	}
	require.True(t, ids[later.ID])
}
