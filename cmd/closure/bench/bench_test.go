package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// benchSizes are between Quick and Smoke: a round of a figure is one iteration.
func benchSizes() Sizes {
	s := Quick()
	s.LargeAccounts, s.Slice = 2000, 500*time.Millisecond
	return s
}

// BenchmarkFigures runs every figure that has a baseline, beside it, and reports the ratio. With -cpuprofile and one figure it
// shows where the time goes:
//
//	go test ./cmd/closure/bench -run '^$' -bench 'BenchmarkFigures/command_64' -cpuprofile cpu.out
func BenchmarkFigures(b *testing.B) {
	shared, err := open(b.Context(), Config{Dir: b.TempDir(), Sizes: benchSizes()})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, shared.close()) })
	for _, f := range shared.figures() {
		if f.Baseline == "" {
			continue
		}
		b.Run(f.ID, func(b *testing.B) {
			s, err := f.prepare(b.Context(), shared)
			require.NoError(b, err)
			var rounds []round
			for b.Loop() {
				r, err := alternate(b.Context(), 2, time.Hour, s)
				require.NoError(b, err)
				rounds = append(rounds, r...)
			}
			r := f.sum(rounds, shared.machine)
			b.ReportMetric(r.Value, r.Unit)
			b.ReportMetric(r.BaselineValue, "plain-"+r.Unit)
			b.ReportMetric(r.Ratio, "ratio")
		})
	}
}
