// Package eventstoretest is the conformance suite of package eventstore: what the
// log promises, whatever servers it stands on.
package eventstoretest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
)

// patience is how long a test of the suite waits for what has to come.
const patience = 30 * time.Second

// Open opens the log on a connection of its own, which goes away with the test. All
// calls have to give the same log; on a cluster each may begin at another server.
type Open func(t testing.TB) *eventstore.Log

// Run checks the log. It may hold commits already, and others may append to it at
// the same time: the suite only looks at aggregates of its own. What it writes are
// commits that can be read, so that several runs can share one log.
func Run(t *testing.T, open Open) {
	t.Helper()
	for _, topic := range []struct {
		name  string
		tests map[string]func(*testing.T, Open)
	}{
		{"append", appendTests}, {"retry", retryTests}, {"limits", limitTests}, {"load", loadTests}, {"follow", followTests},
	} {
		for name, test := range topic.tests {
			t.Run(topic.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				test(t, open)
			})
		}
	}
}

// CommitOf makes a commit of one event, with a new id.
func CommitOf(aggregate, id string) eventstore.Commit {
	return eventstore.Commit{
		ID: uuid.NewString(), Aggregate: aggregate, AggregateID: id, Actor: "test",
		Time:   time.Now(),
		Events: []eventstore.Event{{Type: aggregate + ".changed", Version: 1, Data: json.RawMessage(`{}`)}},
	}
}

// kind of the suite's aggregates. Each test has some of its own.
const kind = "account"

func newID() string { return uuid.NewString() }

// within gives a context for what has to end in time.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func mustAppend(t testing.TB, l *eventstore.Log, c eventstore.Commit, head eventstore.Head) eventstore.Recorded {
	t.Helper()
	rec, err := l.Append(within(t), c, head)
	require.NoError(t, err)
	return rec
}

// extend an aggregate by n commits behind a head.
func extend(t testing.TB, l *eventstore.Log, id string, head eventstore.Head, n int) []eventstore.Recorded {
	t.Helper()
	out := make([]eventstore.Recorded, 0, n)
	for range n {
		rec := mustAppend(t, l, CommitOf(kind, id), head)
		out, head = append(out, rec), rec.Head()
	}
	return out
}

// stored is what the leader has of an aggregate.
func stored(t testing.TB, l *eventstore.Log, id string) []eventstore.Recorded {
	t.Helper()
	all, err := l.LoadFromLeader(within(t), kind, id, 0)
	require.NoError(t, err)
	return all
}

// mustStand checks that exactly these commits stand in the aggregate.
func mustStand(t testing.TB, l *eventstore.Log, id string, want ...eventstore.Recorded) {
	t.Helper()
	mustEqual(t, stored(t, l, id), want)
}

// mustEqual: what Append returns is what is read, to the last byte. The lists may be
// long, so it shows the first difference only.
func mustEqual(t testing.TB, got, want []eventstore.Recorded) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i].Hash != want[i].Hash || got[i].Sequence != want[i].Sequence {
			t.Fatalf("commit %d is %s at sequence %d, want %s at %d", i, got[i].ID, got[i].Sequence, want[i].ID, want[i].Sequence)
		}
		require.Equal(t, want[i], got[i], "commit %d", i)
	}
	require.Len(t, got, len(want))
}

// only the commits of one aggregate.
func only(commits []eventstore.Recorded, id string) []eventstore.Recorded {
	var out []eventstore.Recorded
	for _, c := range commits {
		if c.AggregateID == id {
			out = append(out, c)
		}
	}
	return out
}

// mustRun checks that no sequence is missing, and none there twice.
func mustRun(t testing.TB, commits []eventstore.Recorded) {
	t.Helper()
	for i := 1; i < len(commits); i++ {
		require.Equal(t, commits[i-1].Sequence+1, commits[i].Sequence, "what follows on sequence %d", commits[i-1].Sequence)
	}
}
