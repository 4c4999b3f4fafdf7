package domain

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestStalls are reported when they are due, each once: not a nanosecond early, not twice, and not after the end.
func TestStalls(t *testing.T) {
	for _, begin := range []func(rapid.TB) *stage{closingAccount, closingGroup} {
		s := begin(t)
		requested := *s.closure().RequestedAt
		for n := 1; n <= 3; n++ {
			due := StallDue(requested, n, month)
			require.Equal(t, requested.Add(time.Duration(n)*month), due)
			s.clock.stop(due.Add(-time.Nanosecond))
			s.does(t, stall(n), "")
			s.clock.stop(due)
			require.Equal(t, ClosureStalled{Number: n}, s.does(t, stall(n), "closure_stalled")[0])
			s.does(t, stall(n), "")
			require.Equal(t, n, lifecycleOf(s.agg).Stalls())
		}
		s.does(t, stall(2), "")
		s.clock.stop(requested.Add(10 * month))
		require.Equal(t, ClosureStalled{Number: 10}, s.does(t, stall(10), "closure_stalled")[0], "an engine that was away does not report what it missed one by one")
		s.does(t, stall(9), "")
		require.NotEmpty(t, s.closure().Blockers, "it goes on to wait")
	}
}

// TestNoStall: there is none of what nobody asked to close, nor of what is closed. One under a lock is in progress.
func TestNoStall(t *testing.T) {
	for _, begin := range []func(rapid.TB) *stage{activeAccount, activeGroup, closedAccount, closedGroup, after(activeAccount, &Lock{}),
		after(activeGroup, announce("risk_based"))} {
		s := begin(t)
		s.clock.now = at(0).Add(12 * month)
		s.does(t, stall(1), "")
	}
	s := after(closingAccount, &Lock{})(t)
	s.clock.now = at(0).Add(2 * month)
	s.does(t, stall(1), "closure_stalled")
	s.does(t, &Unlock{}, "unlocked")
	s.does(t, holds(basf, "0", 2), "position_recorded, closed")
	s.clock.now = at(0).Add(4 * month)
	s.does(t, stall(2), "")
}

// TestStallNotice is what the operators get: the closing, with its blockers and since when they have stood.
func TestStallNotice(t *testing.T) {
	s := british(t, at(0))
	s.clock.stop(at(0).Add(month))
	events := s.does(t, stall(1), "closure_stalled")
	require.Equal(t, []Publication{{0, "CLOSURE.STALLED", firstAccount, StallNotice{
		Aggregate: KindAccount, ID: firstAccount, Number: 1, Closure: s.closure(),
	}}}, Publish(s.agg, events))
	require.Equal(t, "OPEN_POSITIONS, TAX_YEAR_END", codes(s.closure().Blockers))
	require.Equal(t, at(0), s.closure().Blockers[0].Since, "a report does not restart what stands")

	g := closingGroup(t)
	g.clock.now = at(0).Add(3 * month)
	notice := Publish(g.agg, g.does(t, stall(2), "closure_stalled"))[0].Body.(StallNotice)
	require.Equal(t, []any{KindAccountGroup, someGroup, 2, "OPEN_ACCOUNTS"}, []any{notice.Aggregate, notice.ID, notice.Number, codes(notice.Closure.Blockers)})
}

// TestReviewChangesNothing where the time stands against nothing.
func TestReviewChangesNothing(t *testing.T) {
	for _, begin := range []func(rapid.TB) *stage{activeAccount, closingAccount, closedAccount, activeGroup, closingGroup, closedGroup} {
		s := begin(t)
		before := s.agg.Copy()
		s.does(t, &ReviewClosure{}, "")
		require.Equal(t, before, s.agg)
	}
}
