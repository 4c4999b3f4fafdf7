package eventstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/eventstoretest"
)

// The log keeps its promises when appends share batches, too.
func TestConformanceInCompany(t *testing.T) {
	t.Parallel()
	s := embeddedtest.Server(t)
	eventstoretest.Run(t, func(t testing.TB) *eventstore.Log {
		l := openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{AppendTimeout: patience})
		l.GroupAlways()
		return l
	})
}

// grouped gives a log of its own whose appends share batches.
func grouped(t testing.TB) *eventstore.Log {
	t.Helper()
	l := openLogOn(t, embeddedtest.Connect(t, embeddedtest.Server(t)), eventstore.Config{AppendTimeout: patience})
	l.GroupAlways()
	return l
}

// appending is one of several appends at the same time.
type appending struct {
	commit eventstore.Commit
	head   eventstore.Head
	rec    eventstore.Recorded
	err    error
}

// together lets them wait, in their order, and then share what they can.
func together(t testing.TB, l *eventstore.Log, all ...*appending) (finish func()) {
	t.Helper()
	release := l.HoldGroup()
	var wg sync.WaitGroup
	for i, a := range all {
		wg.Go(func() { a.rec, a.err = l.Append(testContext(t), a.commit, a.head) })
		mustQueue(t, l, i+1)
	}
	return func() {
		release()
		wg.Wait()
	}
}

// mustQueue waits until so many appends wait. Thousands come one after the other, so it
// looks often.
func mustQueue(t testing.TB, l *eventstore.Log, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); l.Queued() != n; runtime.Gosched() {
		require.True(t, time.Now().Before(deadline), "%d appends wait, want %d", l.Queued(), n)
	}
}

func new1(id string) *appending { return &appending{commit: commitOf("account", id)} }

// mustStandAlone checks that an append was a success, and that nothing else stands there.
func mustStandAlone(t testing.TB, l *eventstore.Log, a *appending) {
	t.Helper()
	require.NoError(t, a.err)
	all, err := l.LoadFromLeader(testContext(t), "account", a.commit.AggregateID, a.head.Sequence)
	require.NoError(t, err)
	require.Equal(t, []eventstore.Recorded{a.rec}, all)
}

func TestAppendsShareABatch(t *testing.T) {
	t.Parallel()
	l := grouped(t)
	w := newWriter(t, l)
	w.spread(10, 5)
	before := l.GroupStats()
	var all []*appending
	for i := range 300 {
		a := new1(uuid.NewString())
		if i < 5 { // behind others
			a = new1(fmt.Sprintf("a%d", i))
			a.head = w.all[5+i].Head()
		}
		all = append(all, a)
	}
	together(t, l, all...)()
	for i, a := range all {
		mustStandAlone(t, l, a)
		require.Equal(t, uint64(11+i), a.rec.Sequence, "they stand in the order in which they came")
	}
	after := l.GroupStats()
	require.Equal(t, eventstore.GroupStats{Alone: before.Alone, Batches: 1, Grouped: 300}, after)
}

// Whoever is alone is published at once, and there is no batch.
func TestALoneAppendDoesNotWait(t *testing.T) {
	t.Parallel()
	l := grouped(t)
	newWriter(t, l).spread(100, 3)
	require.Equal(t, eventstore.GroupStats{Alone: 100}, l.GroupStats())
}

// More than a batch takes: two. Their bytes count, too.
func TestAppendsShareSeveralBatches(t *testing.T) {
	t.Parallel()
	l := grouped(t)
	var all []*appending
	for range 1500 {
		all = append(all, new1(uuid.NewString()))
	}
	together(t, l, all...)()
	require.Equal(t, eventstore.GroupStats{Batches: 2, Grouped: 1500}, l.GroupStats())
	all = nil
	for range 40 {
		a := new1(uuid.NewString())
		a.commit.Events[0].Data = json.RawMessage(`{"x":"` + strings.Repeat("x", 200<<10) + `"}`)
		all = append(all, a)
	}
	together(t, l, all...)()
	for _, a := range all {
		mustStandAlone(t, l, a)
	}
	require.Equal(t, eventstore.GroupStats{Batches: 4, Grouped: 1540}, l.GroupStats())
}

// Those that the guard refuses are told so; their neighbours share a batch all the same.
func TestARefusedNeighbour(t *testing.T) {
	t.Parallel()
	l := grouped(t)
	w := newWriter(t, l)
	w.spread(4, 2)
	late, again, rival := new1("a0"), new1("a1"), new1("new")
	late.head = w.all[0].Head() // "a0" has moved on
	again.commit, again.head = w.all[3].Commit, w.all[1].Head()
	first := new1("new") // came before its rival
	all := []*appending{new1(uuid.NewString()), late, again, first, rival, new1(uuid.NewString())}
	together(t, l, all...)()
	require.ErrorIs(t, late.err, eventstore.ErrConflict)
	require.NoError(t, again.err, "it is in the log already")
	require.Equal(t, w.all[3], again.rec)
	require.ErrorIs(t, rival.err, eventstore.ErrConflict)
	for _, a := range []*appending{all[0], first, all[5]} {
		mustStandAlone(t, l, a)
	}
	stats := l.GroupStats()
	require.Equal(t, uint64(1), stats.Refused)
	require.Equal(t, uint64(1), stats.Batches)
	require.Equal(t, uint64(3), stats.Grouped)
}

// A commit that the server knows by its id, decided again on a later head, is recognised
// whether it was stored in a batch or comes again in one.
func TestARetryOnALaterHeadInCompany(t *testing.T) {
	t.Parallel()
	l := grouped(t)
	a, b := new1("a"), new1("b")
	together(t, l, a, b)()
	mustStandAlone(t, l, a)
	require.Equal(t, uint64(1), l.GroupStats().Batches)

	again, other := &appending{commit: a.commit, head: a.rec.Head()}, new1("c")
	together(t, l, again, other)()
	require.NoError(t, again.err)
	require.Equal(t, a.rec, again.rec)
	mustStandAlone(t, l, other)
	mustStandAlone(t, l, a)
	// Alone, it is the same.
	rec, err := l.Append(testContext(t), b.commit, b.rec.Head())
	require.NoError(t, err)
	require.Equal(t, b.rec, rec)
}

// A commit that is too large for the stream, or the server, does not harm the others.
func TestATooLargeNeighbour(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), NoSync: true, MaxPayload: 64 << 10})
	require.NoError(t, err)
	t.Cleanup(s.Shutdown)
	l := openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{})
	l.GroupAlways()
	cfg := goodStream()
	cfg.MaxMsgSize = 10 << 10
	_, err = l.JetStream().UpdateStream(testContext(t), cfg)
	require.NoError(t, err)
	for _, size := range []int{10 << 10, 63<<10 + 300, 64 << 10} {
		large := new1(uuid.NewString())
		large.commit.Events[0].Data = json.RawMessage(`{"x":"` + strings.Repeat("x", size) + `"}`)
		all := []*appending{new1(uuid.NewString()), new1(uuid.NewString()), large, new1(uuid.NewString())}
		release := l.HoldGroup()
		var wg sync.WaitGroup
		for _, a := range all {
			wg.Go(func() { a.rec, a.err = l.Append(testContext(t), a.commit, a.head) })
		}
		eventually(t, "appends in the queue", func() bool { return l.Queued() >= 3 })
		release()
		wg.Wait()
		require.ErrorIs(t, large.err, eventstore.ErrTooLarge, "%d bytes", size)
		for _, i := range []int{0, 1, 3} {
			mustStandAlone(t, l, all[i])
		}
	}
}

// Who gives up while it waits is not published; who is on its way may be.
func TestGivingUpInCompany(t *testing.T) {
	t.Parallel()
	l := grouped(t)
	release := l.HoldGroup()
	ctx, cancel := context.WithCancel(testContext(t))
	gone := new1(uuid.NewString())
	var wg, left sync.WaitGroup
	left.Go(func() { gone.rec, gone.err = l.Append(ctx, gone.commit, gone.head) })
	mustQueue(t, l, 1)
	stays := []*appending{new1(uuid.NewString()), new1(uuid.NewString())}
	for _, a := range stays {
		wg.Go(func() { a.rec, a.err = l.Append(testContext(t), a.commit, a.head) })
	}
	mustQueue(t, l, 3)
	cancel()
	left.Wait()
	require.ErrorIs(t, gone.err, eventstore.ErrUnavailable)
	require.Equal(t, 2, l.Queued())
	release()
	wg.Wait()
	for _, a := range stays {
		mustStandAlone(t, l, a)
	}
	all, err := l.LoadFromLeader(testContext(t), "account", gone.commit.AggregateID, 0)
	require.NoError(t, err)
	require.Empty(t, all)
	newWriter(t, l).append("account", "later") // the group goes on
}

// Many writers on some aggregates, in two logs that group: the order within each
// aggregate is that of its chain, and nothing is lost or doubled.
func TestManyWritersInCompany(t *testing.T) {
	t.Parallel()
	s := embeddedtest.Server(t)
	var logs []*eventstore.Log
	for range 2 {
		l := openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{AppendTimeout: patience})
		l.GroupAlways()
		logs = append(logs, l)
	}
	const writers, each, shared = 32, 12, 16
	var mu sync.Mutex
	acked := map[string]eventstore.Recorded{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			l := logs[w%2]
			for i := range each {
				id := fmt.Sprintf("own-%d", w)
				if i%4 == 0 {
					id = fmt.Sprintf("shared-%d", (w+i)%shared)
				}
				rec := appendBehind(t, l, id)
				mu.Lock()
				acked[rec.ID] = rec
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, acked, writers*each)
	all, err := logs[0].Read(testContext(t), 1, writers*each+1)
	require.NoError(t, err)
	require.Len(t, all, writers*each)
	byAggregate := map[string][]eventstore.Recorded{}
	for _, rec := range all {
		require.Equal(t, acked[rec.ID], rec)
		byAggregate[rec.AggregateID] = append(byAggregate[rec.AggregateID], rec)
	}
	for id, commits := range byAggregate {
		loaded, err := logs[1].Load(testContext(t), "account", id, 0) // checks the chain
		require.NoError(t, err)
		require.Equal(t, commits, loaded)
	}
	a, b := logs[0].GroupStats(), logs[1].GroupStats()
	t.Logf("%+v %+v", a, b)
	require.Positive(t, a.Refused+b.Refused, "no batch met a rival of the other log")
	require.Positive(t, min(a.Batches, b.Batches))
}

// appendBehind whatever stands there, as an engine does.
func appendBehind(t testing.TB, l *eventstore.Log, id string) eventstore.Recorded {
	c := commitOf("account", id)
	for {
		var head eventstore.Head
		known, err := l.Load(testContext(t), "account", id, 0)
		if err == nil && len(known) > 0 {
			head = known[len(known)-1].Head()
		}
		if err != nil {
			t.Errorf("load: %v", err)
			return eventstore.Recorded{}
		}
		rec, err := l.Append(testContext(t), c, head)
		if err == nil {
			return rec
		}
		if !errors.Is(err, eventstore.ErrConflict) {
			t.Errorf("append: %v", err)
			return eventstore.Recorded{}
		}
	}
}

// The message of a batch holds the commit as any other does; who reads it with other
// tools finds the same headers.
func TestAMessageOfABatch(t *testing.T) {
	t.Parallel()
	l := grouped(t)
	a, b := new1("a"), new1("b")
	together(t, l, a, b)()
	stream, err := l.JetStream().Stream(testContext(t), eventstore.StreamLog)
	require.NoError(t, err)
	msg, err := stream.GetMsg(testContext(t), b.rec.Sequence)
	require.NoError(t, err)
	body, err := b.rec.Encode()
	require.NoError(t, err)
	require.True(t, bytes.Equal(body, msg.Data))
	require.Equal(t, eventstore.LogSubject("account", "b"), msg.Subject)
	require.Equal(t, b.rec.Hash, msg.Header.Get(eventstore.HeaderHash))
	require.Equal(t, b.rec.ID, msg.Header.Get("Nats-Msg-Id"))
	var names []string
	for name := range msg.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	t.Log(names)
}
