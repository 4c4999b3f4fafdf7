package webhooks

import "sync/atomic"

const (
	// chunk is how much one request to the server brings, in bytes, and what a session may have in hand without asking the
	// budget.
	chunk = 32 << 10
	// budgetBytes is what all sessions of a process may have in hand beyond that.
	budgetBytes = 64 << 20
)

// budget is memory that sessions share.
type budget struct{ left atomic.Int64 }

func newBudget(bytes int64) *budget {
	b := &budget{}
	b.left.Store(bytes)
	return b
}

// take never waits: who gets nothing goes on with what it has in hand. So nobody waits for the memory of a hung endpoint.
func (b *budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

func (b *budget) give(n int64) { b.left.Add(n) }

// allow tells whether there is memory for a chunk more, with so much in hand.
func (x *session) allow(inHand int) bool {
	if int64(inHand)+chunk <= chunk+x.held {
		return true
	}
	if !x.s.budget.take(chunk) {
		return false
	}
	x.held += chunk
	return true
}

// release gives back what is not needed for what is in hand.
func (x *session) release(inHand int) {
	keep := (int64(inHand) + chunk - 1) / chunk * chunk
	if x.held > keep {
		x.s.budget.give(x.held - keep)
		x.held = keep
	}
}
