package timer_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/timer"
)

// What is set and what is fired is counted, and what is due is known while it is in hand.
func TestStats(t *testing.T) {
	t.Parallel()
	h := newHolder()
	s := start(t, embeddedtest.Server(t), timer.Config{Handle: h.handle})
	ctx := testContext(t)
	require.NoError(t, s.Set(ctx, at("later", time.Now().Add(time.Hour))))
	require.NoError(t, s.Set(ctx, at("now", time.Now())))
	require.Equal(t, "now", h.await(t).ID)
	due, err := s.Due(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 1, due, "the one in hand")
	require.Equal(t, timer.Stats{Set: 2}, s.Stats())
	close(h.release)
	require.Eventually(t, func() bool {
		due, err := s.Due(ctx)
		return err == nil && due == 0
	}, patience, 10*time.Millisecond)
	require.Equal(t, timer.Stats{Set: 2, Fired: 1}, s.Stats())
}
