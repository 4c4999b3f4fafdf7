package bench

import (
	"context"
	"slices"
	"time"
)

// Figure is one row of the table: what is measured, beside what, and what is to be reached. A new row is a new Figure in the
// list of figures.go.
type Figure struct {
	// ID is stable, for programs that read the document.
	ID   string
	Name string
	// Unit of the values: more is better for a figure with a baseline.
	Unit string
	// Baseline is what the figure is measured beside. Defaults to none: the figure is only reported.
	Baseline string
	// Target is the ratio to reach, which may depend on the disk. Defaults to none: then the ratio is only reported.
	Target func(m Machine) float64
	// Rounds of both sides, as far as the time goes. Defaults to Sizes.Rounds.
	Rounds int
	// on are the servers that it needs; one goes when no later figure needs it.
	on []setting
	// prepare makes ready what both sides need, and lets them run once before anything counts.
	prepare func(ctx context.Context, b *bench) (sides, error)
}

// side measures once.
type side func(ctx context.Context) (float64, error)

// sides of a figure.
type sides struct {
	engine   side
	baseline side // nil for a figure without one
	// note is what a reader has to know; it is asked for when all is measured.
	note func() string
}

// notHere is the reason why a figure cannot be measured in these circumstances. It is no failure.
type notHere string

func (n notHere) Error() string { return string(n) }

// Result is a figure as it was measured.
type Result struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Unit string `json:"unit"`
	// Value is the median of the rounds.
	Value float64 `json:"value"`
	// Baseline is what the plain side was; "" without one. BaselineValue is the median of its rounds.
	Baseline      string  `json:"baseline,omitempty"`
	BaselineValue float64 `json:"baseline_value,omitempty"`
	// Ratio is the median of the ratios of the rounds; RatioMin and RatioMax are how far they spread.
	Ratio    float64 `json:"ratio,omitempty"`
	RatioMin float64 `json:"ratio_min,omitempty"`
	RatioMax float64 `json:"ratio_max,omitempty"`
	// Target is the ratio to reach; 0 for none. Reached compares; null without a target.
	Target  float64 `json:"target,omitempty"`
	Reached *bool   `json:"reached,omitempty"`
	Rounds  int     `json:"rounds"`
	Note    string  `json:"note,omitempty"`
	// NotMeasured says why there are no values; "" when there are.
	NotMeasured string `json:"not_measured,omitempty"`
}

// round is what both sides gave right after each other.
type round struct{ engine, baseline float64 }

// alternate measures two sides in turn: A B, B A, A B, … So whatever changes while it runs (a neighbour on the machine, a log
// that grows, a cache that fills) meets both alike. Without a second side it measures the first one. No round is begun when the
// time is up, but for the first one.
func alternate(ctx context.Context, rounds int, within time.Duration, s sides) ([]round, error) {
	begin := time.Now()
	out := make([]round, 0, rounds)
	for i := range rounds {
		if i > 0 && time.Since(begin) > within {
			break
		}
		var r round
		turns := []struct {
			side side
			into *float64
		}{{s.engine, &r.engine}, {s.baseline, &r.baseline}}
		if i%2 == 1 {
			slices.Reverse(turns)
		}
		for _, turn := range turns {
			if turn.side == nil {
				continue
			}
			value, err := turn.side(ctx)
			if err != nil {
				return nil, err
			}
			*turn.into = value
		}
		out = append(out, r)
	}
	return out, nil
}

// sum puts the rounds of a figure together.
func (f Figure) sum(rounds []round, m Machine) Result {
	r := Result{ID: f.ID, Name: f.Name, Unit: f.Unit, Baseline: f.Baseline, Rounds: len(rounds)}
	var engine, baseline, ratios []float64
	for _, one := range rounds {
		engine = append(engine, one.engine)
		if f.Baseline != "" {
			baseline = append(baseline, one.baseline)
			ratios = append(ratios, one.engine/one.baseline)
		}
	}
	r.Value = median(engine)
	if f.Baseline == "" {
		return r
	}
	r.BaselineValue, r.Ratio = median(baseline), median(ratios)
	r.RatioMin, r.RatioMax = slices.Min(ratios), slices.Max(ratios)
	if f.Target != nil {
		r.Target = f.Target(m)
		reached := r.Ratio >= r.Target
		r.Reached = &reached
	}
	return r
}

// median is the middle value; of an even number the mean of the middle two. There is one value at least.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// atLeast is a target that does not depend on the machine.
func atLeast(ratio float64) func(Machine) float64 {
	return func(Machine) float64 { return ratio }
}
