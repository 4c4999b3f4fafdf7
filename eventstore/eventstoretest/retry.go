package eventstoretest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
)

var retryTests = map[string]func(*testing.T, Open){
	"at once":                testRetryAtOnce,
	"after others":           testRetryAfterOthers,
	"on an older head":       testRetryOnAnOlderHead,
	"on a later head":        testRetryOnALaterHead,
	"while it is on its way": testRetryMeanwhile,
	"id taken":               testCommitIDTaken,
}

// again appends a commit that is in the log, on a connection of its own as an engine
// that was restarted would, and checks that the one stored is what comes back.
func again(t testing.TB, open Open, want eventstore.Recorded, head eventstore.Head) {
	t.Helper()
	c := want.Commit
	c.Time = c.Time.Add(time.Hour) // decided again; the id is what counts
	rec, err := open(t).Append(within(t), c, head)
	require.NoError(t, err, "on the head at %d", head.Sequence)
	require.Equal(t, want, rec)
}

func testRetryAtOnce(t *testing.T, open Open) {
	l, id := open(t), newID()
	first := extend(t, l, id, eventstore.Head{}, 1)[0]
	again(t, open, first, eventstore.Head{})
	second := extend(t, l, id, first.Head(), 1)[0]
	again(t, open, second, first.Head())
	mustStand(t, l, id, first, second)
}

// The same commit id and head are a success also when others have followed.
func testRetryAfterOthers(t *testing.T, open Open) {
	l, id := open(t), newID()
	all := extend(t, l, id, eventstore.Head{}, 20)
	again(t, open, all[0], eventstore.Head{})
	again(t, open, all[7], all[6].Head())
	again(t, open, all[19], all[18].Head())
	mustStand(t, l, id, all...)
}

// The commit was decided again on a head that is older than the one it stands on.
func testRetryOnAnOlderHead(t *testing.T, open Open) {
	l, id := open(t), newID()
	all := extend(t, l, id, eventstore.Head{}, 4)
	for _, head := range []eventstore.Head{{}, all[0].Head(), all[1].Head(), all[2].Head()} {
		again(t, open, all[3], head)
	}
	mustStand(t, l, id, all...)
}

// The commit was decided again on a head that it is behind of already: the duplicate
// window of the stream recognises it.
func testRetryOnALaterHead(t *testing.T, open Open) {
	l, id := open(t), newID()
	all := extend(t, l, id, eventstore.Head{}, 3)
	again(t, open, all[0], all[2].Head())
	again(t, open, all[2], all[2].Head())
	mustStand(t, l, id, all...)
}

// The same append from many places at once: all of them succeed, with one commit.
func testRetryMeanwhile(t *testing.T, open Open) {
	logs, id := []*eventstore.Log{open(t), open(t), open(t)}, newID()
	head := eventstore.Head{}
	var all []eventstore.Recorded
	for range 5 {
		c, got := CommitOf(kind, id), make([]eventstore.Recorded, 24)
		ctx := within(t)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				rec, err := logs[i%len(logs)].Append(ctx, c, head)
				assert.NoError(t, err)
				got[i] = rec
			})
		}
		wg.Wait()
		for _, rec := range got {
			require.Equal(t, got[0], rec)
		}
		all, head = append(all, got[0]), got[0].Head()
	}
	mustStand(t, logs[0], id, all...)
}

// The same id on another aggregate is no repetition, and is said to be wrong.
func testCommitIDTaken(t *testing.T, open Open) {
	l, id, other := open(t), newID(), newID()
	first := extend(t, l, id, eventstore.Head{}, 1)[0]
	c := first.Commit
	c.AggregateID = other
	_, err := l.Append(within(t), c, eventstore.Head{})
	require.ErrorIs(t, err, eventstore.ErrCommitIDTaken)
	require.ErrorContains(t, err, first.ID)
	mustStand(t, l, other)
	mustStand(t, l, id, first)
}
