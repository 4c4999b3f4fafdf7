package webhooks

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Nobody waits for memory: who gets none goes on with what it has, and what was given back is there for others.
func TestTheBudgetIsShared(t *testing.T) {
	t.Parallel()
	s := &Service{budget: newBudget(3 * chunk)}
	greedy, other := &session{s: s}, &session{s: s}
	require.True(t, greedy.allow(0), "the first is everybody's own")
	require.True(t, other.allow(0))
	for have := 1; have <= 3; have++ {
		require.True(t, greedy.allow(have*chunk))
		require.True(t, greedy.allow(have*chunk), "it has that already")
	}
	require.False(t, greedy.allow(4*chunk))
	require.False(t, other.allow(1))
	require.True(t, other.allow(0))
	greedy.release(chunk + 1)
	require.EqualValues(t, chunk, s.budget.left.Load(), "two for what it still has")
	greedy.release(0)
	require.True(t, other.allow(3*chunk-chunk))
	other.release(0)
	require.EqualValues(t, 3*chunk, s.budget.left.Load())
}
