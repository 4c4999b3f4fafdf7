package webhooks

import (
	"context"
	"math/rand/v2"
	"time"
)

// longestBackoff is the longest wait between two attempts (CONTRACT: Webhooks).
const longestBackoff = 600 * time.Second

// fibonacci is the wait after an attempt, from 1: 1, 2, 3, 5, 8 … 377, 600, 600 … seconds.
func fibonacci(attempt int) time.Duration {
	wait, next := time.Second, 2*time.Second
	for i := 1; i < attempt && wait < longestBackoff; i++ {
		wait, next = next, wait+next
	}
	return min(wait, longestBackoff)
}

// jittered is fibonacci, a tenth more or less, so that the endpoints that one failure has struck do not come back to it
// all at once.
func jittered(attempt int) time.Duration {
	factor := 0.9 + 0.2*rand.Float64()
	return min(time.Duration(float64(fibonacci(attempt))*factor), longestBackoff)
}

// The bounds of the pauses between requests to the server that fail.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// pause is a wait that doubles each time.
type pause struct{ next time.Duration }

func newPause() *pause { return &pause{next: firstPause} }

func (p *pause) reset() { p.next = firstPause }

// wait for the pause that is due; false when the context ends first.
func (p *pause) wait(ctx context.Context) bool {
	timer := time.NewTimer(p.next)
	defer timer.Stop()
	p.next = min(2*p.next, longestPause)
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// tryWithin bounds one request: in a cluster that is electing a leader nobody may answer it, ever.
const tryWithin = 2 * time.Second

// insist repeats a request that may well succeed in a moment, until the context ends. The request has to be one that may be
// made twice.
func insist[T any](ctx context.Context, try func(context.Context) (T, error)) (T, error) {
	for p := newPause(); ; {
		v, err := once(ctx, try)
		if err == nil || !transient(err) || !p.wait(ctx) {
			return v, err
		}
	}
}

// once makes a request within its bound.
func once[T any](ctx context.Context, try func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, tryWithin)
	defer cancel()
	return try(ctx)
}
