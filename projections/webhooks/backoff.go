package webhooks

import (
	"math/rand/v2"
	"time"

	"closure/eventstore/retry"
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

// newPause is the wait between requests to the server that fail.
func newPause() *retry.Backoff { return retry.NewBackoff(firstPause, longestPause) }
