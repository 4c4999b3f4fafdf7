package replay

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
)

// mustTrack asks for the state after the commit at a place, and compares it with the fold from scratch.
func (a *author) mustTrack(tracker *Tracker, place int) {
	a.t.Helper()
	c := a.all[place]
	ref := domain.Ref{Kind: domain.Kind(c.Aggregate), ID: c.AggregateID}
	got, events, err := tracker.After(testContext(a.t), c)
	require.NoError(a.t, err)
	want, _ := a.fold(ref, a.all[:place+1])
	require.Equal(a.t, want, got, "after sequence %d", c.Sequence)
	decoded, err := Events(c.Commit)
	require.NoError(a.t, err)
	require.Equal(a.t, decoded, events)
	require.LessOrEqual(a.t, tracker.order.Len(), tracker.limit)
	require.Len(a.t, tracker.byKey, tracker.order.Len())
}

// However many states it keeps, and in whatever order commits come, the state is the one right after the commit: as it
// was, not as it is.
func TestTrackerGivesTheStateRightAfterTheCommit(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	a.someLives(5)
	orders := map[string]func(yield func(int) bool){
		"the order of the log": func(yield func(int) bool) {
			for i := range a.all {
				if !yield(i) {
					return
				}
			}
		},
		"each one twice": func(yield func(int) bool) {
			for i := range 2 * len(a.all) {
				if !yield(i / 2) {
					return
				}
			}
		},
		// A run that failed comes again from its beginning.
		"redelivered in runs": func(yield func(int) bool) {
			for begin := range a.all {
				for i := begin; i < min(begin+7, len(a.all)); i++ {
					if !yield(i) {
						return
					}
				}
			}
		},
		"backwards": func(yield func(int) bool) {
			for i := range a.all {
				if !yield(len(a.all) - 1 - i) {
					return
				}
			}
		},
		"any order": func(yield func(int) bool) {
			random := rand.New(rand.NewPCG(1, 2))
			for range 4 * len(a.all) {
				if !yield(random.IntN(len(a.all))) {
					return
				}
			}
		},
	}
	for name, order := range orders {
		for _, limit := range []int{1, 2, 3, 1000} {
			t.Run(fmt.Sprintf("%s, limit %d", name, limit), func(t *testing.T) {
				tracker := NewTracker(a.log, limit)
				for place := range order {
					a.mustTrack(tracker, place)
				}
			})
		}
	}
}

// A tracker that starts anew has nothing; it loads what was before.
func TestTrackerAfterARestart(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	a.someLives(4)
	for place := range a.all {
		tracker := NewTracker(a.log, 2)
		for i := place; i < min(place+4, len(a.all)); i++ {
			a.mustTrack(tracker, i)
		}
	}
}

func TestTrackerKeepsTenThousandByDefault(t *testing.T) {
	require.Equal(t, 10_000, NewTracker(nil, 0).limit)
}

// A state that is kept costs no read.
func TestTrackerReadsWhatItDoesNotKeepOnly(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	a.someLives(3)
	tracker := NewTracker(a.log, 0)
	conn := a.log.Conn()
	require.NoError(t, conn.Flush())
	before := conn.Stats().OutMsgs
	for place := range a.all {
		a.mustTrack(tracker, place)
	}
	require.Equal(t, before, conn.Stats().OutMsgs, "in the order of the log, each state begins with its first commit")
	a.mustTrack(tracker, 4)
	require.NotEqual(t, before, conn.Stats().OutMsgs, "an old state is not kept, and has to be read")
}

// What goes first is what was not asked for the longest.
func TestTrackerLetsTheLeastRecentlyUsedGo(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	group := func() domain.Ref { return domain.Ref{Kind: domain.KindAccountGroup, ID: uuid.NewString()} }
	often, once, other := group(), group(), group()
	open := &domain.OpenAccountGroup{Users: []domain.Party{{ID: owner, Type: domain.Owner}}, Type: "PERSONAL"}
	a.write(often, open)
	a.write(once, open)
	a.write(often, &domain.Lock{})
	a.write(other, open)
	a.write(often, &domain.Unlock{})
	a.write(once, &domain.Lock{})
	tracker := NewTracker(a.log, 2)
	for place := range 4 {
		a.mustTrack(tracker, place)
	}
	conn := a.log.Conn()
	before := conn.Stats().OutMsgs
	a.mustTrack(tracker, 4)
	require.Equal(t, before, conn.Stats().OutMsgs, "it was used last but one, and is not kept")
	a.mustTrack(tracker, 5)
	require.NotEqual(t, before, conn.Stats().OutMsgs)
}

// An error leaves nothing behind: what comes next is as if it had not been.
func TestTrackerAfterAnError(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	ref := a.someLives(2)[0]
	known := len(a.all) - 1
	commit := a.unknown(ref)
	tracker := NewTracker(a.log, 0)
	for range 2 {
		for place := range a.all[:known+1] {
			a.mustTrack(tracker, place)
		}
		for range 2 {
			_, _, err := tracker.After(testContext(t), commit)
			require.ErrorIs(t, err, domain.ErrUnknownEvent)
		}
	}
}

// A commit that the log does not show with its whole history, as a replica that lags would not, has no state yet.
func TestTrackerWaitsForTheWholeHistory(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	ref := a.someLives(2)[0]
	last := a.of(ref)[len(a.of(ref))-1]
	next := last
	next.Version, next.Sequence = last.Version+1, last.Sequence+100
	beyond := last
	beyond.Version, beyond.Sequence = last.Version+5, last.Sequence+100
	elsewhere := last
	elsewhere.Sequence++
	for _, c := range []eventstore.Recorded{next, beyond, elsewhere} {
		_, _, err := NewTracker(a.log, 0).After(testContext(t), c)
		require.ErrorIs(t, err, eventstore.ErrUnavailable)
	}
}
