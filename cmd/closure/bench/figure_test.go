package bench

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// script is a side that gives one value after the other, and writes down that it was its turn.
func script(turns *string, name string, values ...float64) side {
	i := -1
	return func(context.Context) (float64, error) {
		*turns += name
		i++
		return values[i], nil
	}
}

// Neither side is always the first one, and a round compares what was measured side by side.
func TestAlternate(t *testing.T) {
	turns := ""
	rounds, err := alternate(t.Context(), 4, time.Hour, sides{
		engine: script(&turns, "A", 10, 20, 30, 40), baseline: script(&turns, "B", 1, 2, 3, 4),
	})
	require.NoError(t, err)
	require.Equal(t, "ABBAABBA", turns)
	require.Equal(t, []round{{10, 1}, {20, 2}, {30, 3}, {40, 4}}, rounds)

	turns = ""
	rounds, err = alternate(t.Context(), 2, time.Hour, sides{engine: script(&turns, "A", 5, 6)})
	require.NoError(t, err)
	require.Equal(t, "AA", turns)
	require.Equal(t, []round{{engine: 5}, {engine: 6}}, rounds)
}

// A slow machine measures fewer rounds, one at least.
func TestAlternateWithin(t *testing.T) {
	turns := ""
	rounds, err := alternate(t.Context(), 3, 0, sides{engine: script(&turns, "A", 1, 2, 3), baseline: script(&turns, "B", 1, 2, 3)})
	require.NoError(t, err)
	require.Equal(t, "AB", turns)
	require.Equal(t, []round{{1, 1}}, rounds)
}

func TestAlternateEndsAtTheFirstError(t *testing.T) {
	broken := errors.New("broken")
	turns := ""
	_, err := alternate(t.Context(), 3, time.Hour, sides{
		engine:   script(&turns, "A", 1, 2, 3),
		baseline: func(context.Context) (float64, error) { turns += "B"; return 0, broken },
	})
	require.ErrorIs(t, err, broken)
	require.Equal(t, "AB", turns)
}

// The ratio is the median of the ratios of the rounds, and not the ratio of the medians: a machine that gets slower changes
// both sides of a round.
func TestSum(t *testing.T) {
	f := Figure{ID: "x", Name: "x", Unit: "/s", Baseline: "plain", Target: sharedSync}
	rounds := []round{{100, 10}, {60, 30}, {10, 5}}
	r := f.sum(rounds, Machine{FsyncSeconds: 0.001})
	require.InDelta(t, 60, r.Value, 0)
	require.InDelta(t, 10, r.BaselineValue, 0)
	require.InDelta(t, 2, r.Ratio, 0)
	require.InDelta(t, 2, r.RatioMin, 0)
	require.InDelta(t, 10, r.RatioMax, 0)
	require.InDelta(t, 5, r.Target, 0)
	require.False(t, *r.Reached)
	require.Equal(t, 3, r.Rounds)
	require.Equal(t, "NOT REACHED", r.outcome())

	f.Target = atLeast(2)
	r = f.sum(rounds, Machine{})
	require.True(t, *r.Reached)
	require.Equal(t, "reached", r.outcome())

	r = Figure{Unit: "bytes"}.sum([]round{{engine: 3}, {engine: 1}}, Machine{})
	require.InDelta(t, 2, r.Value, 0)
	require.Zero(t, r.Ratio)
	require.Nil(t, r.Reached)
}

// Sharing an fsync has to pay where one is slow; it may never cost anything.
func TestSharedSync(t *testing.T) {
	require.InDelta(t, 5, sharedSync(Machine{FsyncSeconds: 0.0005}), 0)
	require.InDelta(t, 0.9, sharedSync(Machine{FsyncSeconds: 0.0004}), 0)
}

func TestMedian(t *testing.T) {
	for want, values := range map[float64][]float64{
		7: {7}, 2: {3, 1, 2}, 2.5: {4, 1, 2, 3}, 5: {5, 5, 100, 1, 5},
	} {
		before := append([]float64{}, values...)
		require.InDelta(t, want, median(values), 0)
		require.Equal(t, before, values, "the values stay as they are")
	}
}
