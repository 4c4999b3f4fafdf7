package eventstore_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/verify"
)

// ledger is what many writers asked the log for, and what they were told. In the end the log is compared with it.
type ledger struct {
	mu    sync.Mutex
	asked map[string]eventstore.Commit   // whatever was ever given to Append, by id
	acked map[string]eventstore.Recorded // what Append gave back
	// refused ended in a conflict, and were not asked for again.
	refused map[string]bool
	// abandoned had no answer, and were not asked for again: they may be there.
	abandoned map[string]bool
	unknown   int // answers that said so
	conflicts int
	inFlight  int
	marks     []mark
}

// mark is a state of the ledger that somebody waits for.
type mark struct {
	met     func() bool // called with the ledger locked
	reached chan struct{}
}

func newLedger() *ledger {
	return &ledger{
		asked: map[string]eventstore.Commit{}, acked: map[string]eventstore.Recorded{},
		refused: map[string]bool{}, abandoned: map[string]bool{},
	}
}

func (l *ledger) ask(c eventstore.Commit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[c.ID] = c
	l.inFlight++
}

// answered: the call of Append is over.
func (l *ledger) answered(note func(l *ledger)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight--
	note(l)
	l.marks = slices.DeleteFunc(l.marks, func(m mark) bool {
		met := m.met()
		if met {
			close(m.reached)
		}
		return met
	})
}

// wait until count has grown by so many, and tell how many appends are in flight then.
func (l *ledger) wait(ctx context.Context, count func() int, more int) (inFlight int, err error) {
	l.mu.Lock()
	goal := count() + more
	m := mark{met: func() bool { return count() >= goal }, reached: make(chan struct{})}
	l.marks = append(l.marks, m)
	l.mu.Unlock()
	select {
	case <-m.reached:
	case <-ctx.Done():
		return 0, fmt.Errorf("%w; %s", ctx.Err(), l)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inFlight, nil
}

func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d commits asked for: %d acknowledged, %d given up without an answer, %d refused for good; %d answers unknown, %d conflicts",
		len(l.asked), len(l.acked), len(l.abandoned), len(l.refused), l.unknown, l.conflicts)
}

// compare the whole log with what was asked for and told. All writers have to be done.
func (l *ledger) compare(t testing.TB, log []eventstore.Recorded) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.NotEmpty(t, l.acked, "acknowledged commits")
	at := map[string]uint64{}
	for i, r := range log {
		require.Equal(t, uint64(i+1), r.Sequence, "sequences have no gap")
		require.NotContains(t, at, r.ID, "commit %s at sequence %d is there twice", r.ID, r.Sequence)
		at[r.ID] = r.Sequence
		want, ok := l.asked[r.ID]
		require.True(t, ok, "nobody asked for commit %s at sequence %d", r.ID, r.Sequence)
		// Append sets these from the head; that they are right is for the chain to show.
		want.Version, want.PrevHash, want.Time = r.Version, r.PrevHash, want.Time.Round(0).UTC()
		require.Equal(t, want, r.Commit, "the commit at sequence %d is what was asked for", r.Sequence)
		require.False(t, l.refused[r.ID], "commit %s at sequence %d was refused", r.ID, r.Sequence)
		_, acked := l.acked[r.ID]
		require.True(t, acked || l.abandoned[r.ID], "commit %s at sequence %d was not acknowledged, and nobody gave it up", r.ID, r.Sequence)
	}
	for _, id := range slices.Sorted(maps.Keys(l.acked)) {
		rec := l.acked[id]
		require.LessOrEqual(t, rec.Sequence, uint64(len(log)), "acknowledged at sequence %d: commit %s", rec.Sequence, id)
		require.Equal(t, rec, log[rec.Sequence-1], "acknowledged at sequence %d", rec.Sequence)
	}
}

// foundAbandoned counts the commits that nobody waited for, and that are there all the same.
func (l *ledger) foundAbandoned(log []eventstore.Recorded) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range log {
		if l.abandoned[r.ID] {
			n++
		}
	}
	return n
}

// readWhole reads the log to its end, and walks its chains.
func readWhole(t testing.TB, l *eventstore.Log) []eventstore.Recorded {
	t.Helper()
	ctx := testContext(t)
	last, err := l.LastSequence(ctx)
	require.NoError(t, err)
	var all []eventstore.Recorded
	for uint64(len(all)) < last {
		batch, err := l.Read(ctx, uint64(len(all))+1, 1000)
		require.NoError(t, err)
		require.NotEmpty(t, batch, "the log ends at sequence %d, want %d", len(all), last)
		all = append(all, batch...)
	}
	src, err := verify.OpenStream(ctx, l.Conn(), verify.Scope{})
	require.NoError(t, err)
	report, err := verify.Run(ctx, src, verify.Config{})
	require.NoError(t, err)
	require.True(t, report.OK && report.Whole, "the chains: %+v", report)
	require.Equal(t, uint64(len(all)), report.Commits)
	return all
}
