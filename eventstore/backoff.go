package eventstore

import (
	"context"
	"time"
)

// backoff is a pause that doubles each time, up to a limit.
type backoff struct {
	first, limit, next time.Duration
}

func newBackoff(first, limit time.Duration) *backoff {
	return &backoff{first: first, limit: limit, next: first}
}

// step returns the pause that is due, and doubles the one after it.
func (b *backoff) step() time.Duration {
	d := b.next
	b.next = min(2*b.next, b.limit)
	return d
}

func (b *backoff) reset() { b.next = b.first }

// wait for the pause that is due, or for the context to end, which is the error.
func (b *backoff) wait(ctx context.Context) error { return pause(ctx, b.step()) }

// pause for a time; an error when the context ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
