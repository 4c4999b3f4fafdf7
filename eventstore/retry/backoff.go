package retry

import (
	"context"
	"time"
)

// Backoff is a pause that doubles each time, up to a limit. It is for one goroutine.
type Backoff struct {
	first, limit, next time.Duration
}

// NewBackoff begins with a pause of first.
func NewBackoff(first, limit time.Duration) *Backoff {
	return &Backoff{first: first, limit: limit, next: first}
}

// Step returns the pause that is due, and doubles the one after it.
func (b *Backoff) Step() time.Duration {
	d := b.next
	b.next = min(2*b.next, b.limit)
	return d
}

// Reset begins anew: what was tried went well.
func (b *Backoff) Reset() { b.next = b.first }

// Untouched tells whether no pause was made yet, or none since Reset.
func (b *Backoff) Untouched() bool { return b.next == b.first }

// Longest tells whether the pauses do not grow any more.
func (b *Backoff) Longest() bool { return b.next == b.limit }

// Wait for the pause that is due, or for the context to end, which is the error.
func (b *Backoff) Wait(ctx context.Context) error { return Pause(ctx, b.Step()) }

// Pause for a time; an error when the context ends first.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
