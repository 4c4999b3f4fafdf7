package eventstoretest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/eventstore"
)

var limitTests = map[string]func(*testing.T, Open){
	"no events":          testNoEvents,
	"500 events":         func(t *testing.T, open Open) { testHuge(t, open, 500, 64) },
	"900 kB":             func(t *testing.T, open Open) { testHuge(t, open, 1, 900_000) },
	"500 events, 900 kB": func(t *testing.T, open Open) { testHuge(t, open, 500, 1700) },
	"the largest":        testLargest,
	"too large":          testTooLarge,
	"no token":           testNoToken,
	"no commit":          testNoCommit,
	"no head":            testNoHead,
	"given up":           testGivenUp,
	"no connection":      testNoConnection,
}

// huge makes a commit of n events with so many bytes in each.
func huge(id string, n, bytes int) eventstore.Commit {
	c := CommitOf(kind, id)
	c.Events = nil
	for i := range n {
		data := fmt.Sprintf(`{"n":%d,"x":"%s"}`, i, strings.Repeat("x", bytes))
		c.Events = append(c.Events, eventstore.Event{Type: kind + ".changed", Version: 1, Data: json.RawMessage(data)})
	}
	return c
}

func testHuge(t *testing.T, open Open, n, bytes int) {
	l, id := open(t), newID()
	rec := mustAppend(t, l, huge(id, n, bytes), eventstore.Head{})
	require.Greater(t, rec.Size, n*bytes)
	next := extend(t, l, id, rec.Head(), 1)[0]
	want := []eventstore.Recorded{rec, next}
	mustStand(t, l, id, want...)
	require.Len(t, stored(t, l, id)[0].Events, n)
	loaded, err := l.LoadCurrent(within(t), kind, id, 0)
	require.NoError(t, err)
	mustEqual(t, loaded, want)
	again(t, open, rec, eventstore.Head{})
}

// Whatever the server takes can be read again, by every way.
func testLargest(t *testing.T, open Open) {
	l, id := open(t), newID()
	const envelope = 4 << 10 // the members of the commit, and the headers
	rec := mustAppend(t, l, huge(id, 1, int(l.Conn().MaxPayload())-envelope), eventstore.Head{})
	mustStand(t, l, id, rec)
	loaded, err := l.LoadCurrent(within(t), kind, id, 0)
	require.NoError(t, err)
	mustEqual(t, loaded, []eventstore.Recorded{rec})
	mustEqual(t, readAll(t, l, rec.Sequence, rec.Sequence, 1), []eventstore.Recorded{rec})
}

// A commit over the limit is refused with the limit, and the connection lives on.
func testTooLarge(t *testing.T, open Open) {
	l, id := open(t), newID()
	limit := l.Conn().MaxPayload()
	for _, bytes := range []int64{limit - 200, limit, limit + limit/2} { // the first by its envelope only
		_, err := l.Append(within(t), huge(id, 1, int(bytes)), eventstore.Head{})
		require.ErrorIs(t, err, eventstore.ErrTooLarge)
		require.ErrorContains(t, err, fmt.Sprint(limit))
	}
	mustStand(t, l, id, extend(t, l, id, eventstore.Head{}, 1)...)
}

func testNoEvents(t *testing.T, open Open) {
	l, id := open(t), newID()
	for _, none := range [][]eventstore.Event{nil, {}} {
		c := CommitOf(kind, id)
		c.Events = none
		_, err := l.Append(within(t), c, eventstore.Head{})
		require.ErrorIs(t, err, eventstore.ErrMalformedCommit)
		require.ErrorContains(t, err, "events is empty: a commit has at least one event")
	}
	mustStand(t, l, id)
}

// What cannot stand in a subject would be another aggregate, or many.
func testNoToken(t *testing.T, open Open) {
	l := open(t)
	for _, bad := range []string{"", "a.b", "*", ">", "a b", "a\n", "a\x00"} {
		for _, at := range [][2]string{{kind, bad}, {bad, newID()}} {
			_, err := l.Append(within(t), CommitOf(at[0], at[1]), eventstore.Head{})
			require.ErrorIs(t, err, eventstore.ErrMalformedCommit)
			require.ErrorContains(t, err, fmt.Sprintf("%q is not one token of a subject", bad))
			for way, load := range waysToLoad(l) {
				_, err := load(within(t), at[0], at[1])
				require.ErrorContains(t, err, fmt.Sprintf("%q", bad), way)
				require.NotErrorIs(t, err, eventstore.ErrUnavailable, way)
			}
		}
	}
}

// What could not be read again is not written.
func testNoCommit(t *testing.T, open Open) {
	l, id := open(t), newID()
	for names, change := range map[string]func(*eventstore.Commit){
		"id is empty":       func(c *eventstore.Commit) { c.ID = "" },
		"time":              func(c *eventstore.Commit) { c.Time = time.Time{} },
		"UTF-8":             func(c *eventstore.Commit) { c.Actor = "\xff" },
		"events[0].type":    func(c *eventstore.Commit) { c.Events[0].Type = "" },
		"events[0].version": func(c *eventstore.Commit) { c.Events[0].Version = 0 },
		"events[0].data":    func(c *eventstore.Commit) { c.Events[0].Data = json.RawMessage(`[1]`) },
	} {
		c := CommitOf(kind, id)
		change(&c)
		_, err := l.Append(within(t), c, eventstore.Head{})
		require.ErrorIs(t, err, eventstore.ErrMalformedCommit)
		require.ErrorContains(t, err, names)
	}
	mustStand(t, l, id)
}

// The guard sees the sequence of a head only, so the rest of it has to fit to it.
func testNoHead(t *testing.T, open Open) {
	l, id := open(t), newID()
	hash := strings.Repeat("0", 64)
	bad := func(head eventstore.Head, names string) {
		t.Helper()
		_, err := l.Append(within(t), CommitOf(kind, id), head)
		require.ErrorIs(t, err, eventstore.ErrMalformedCommit)
		require.ErrorContains(t, err, names)
	}
	bad(eventstore.Head{Version: 1}, "without a sequence")
	bad(eventstore.Head{Version: 3, Hash: hash}, "without a sequence")
	first := extend(t, l, id, eventstore.Head{}, 1)[0]
	bad(eventstore.Head{Sequence: first.Sequence}, "version 0 at sequence")
	bad(eventstore.Head{Sequence: first.Sequence, Version: -1, Hash: first.Hash}, "version -1")
	bad(eventstore.Head{Sequence: first.Sequence, Version: int(first.Sequence) + 1, Hash: first.Hash}, "has to be from 1 to the sequence")
	bad(eventstore.Head{Sequence: first.Sequence, Version: 1}, "hash")
	bad(eventstore.Head{Sequence: first.Sequence, Version: 1, Hash: strings.ToUpper(first.Hash[:63]) + "G"}, "hash")
	mustStand(t, l, id, first)
}

// Whoever gave up does not know whether the commit is in the log, and can ask again.
func testGivenUp(t *testing.T, open Open) {
	l, id := open(t), newID()
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	c := CommitOf(kind, id)
	_, err := l.Append(ctx, c, eventstore.Head{})
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.ErrorIs(t, err, context.Canceled)
	mustStand(t, l, id, mustAppend(t, l, c, eventstore.Head{}))
	for way, load := range waysToLoad(l) {
		_, err := load(ctx, kind, id)
		require.ErrorIs(t, err, eventstore.ErrUnavailable, way)
	}
}

func testNoConnection(t *testing.T, open Open) {
	l, id := open(t), newID()
	l.Conn().Close()
	_, err := l.Append(within(t), CommitOf(kind, id), eventstore.Head{})
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	for way, load := range waysToLoad(l) {
		_, err := load(within(t), kind, id)
		require.ErrorIs(t, err, eventstore.ErrUnavailable, way)
	}
	_, err = l.Read(within(t), 1, 1)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	_, err = l.LastSequence(within(t))
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	mustStand(t, open(t), id)
}
