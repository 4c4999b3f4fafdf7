package webhooks

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheBackoffIsFibonacciUpToTenMinutes(t *testing.T) {
	t.Parallel()
	var got []float64
	for attempt := range 18 {
		got = append(got, fibonacci(attempt+1).Seconds())
	}
	require.Equal(t, []float64{1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 600, 600, 600, 600, 600}, got)
	require.Equal(t, time.Second, fibonacci(0))
	require.Equal(t, 600*time.Second, fibonacci(1<<40), "any number of attempts")
}

func TestTheBackoffHasJitter(t *testing.T) {
	t.Parallel()
	for _, attempt := range []int{1, 5, 13, 14, 1000} {
		base := fibonacci(attempt)
		seen := map[time.Duration]bool{}
		for range 200 {
			wait := jittered(attempt)
			require.GreaterOrEqual(t, wait, base*9/10)
			require.LessOrEqual(t, wait, min(base*11/10, 600*time.Second))
			seen[wait] = true
		}
		require.Greater(t, len(seen), 50, "attempt %d", attempt)
	}
}

func TestTheDefaults(t *testing.T) {
	t.Parallel()
	cfg := Config{}.withDefaults()
	require.Equal(t, 15*time.Second, cfg.RequestTimeout)
	require.Equal(t, 1, cfg.Replicas)
	require.InDelta(t, 8, cfg.Backoff(5).Seconds(), 0.8)
	require.NotNil(t, cfg.Logger)
}
