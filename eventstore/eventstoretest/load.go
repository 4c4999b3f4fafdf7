package eventstoretest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
)

var loadTests = map[string]func(*testing.T, Open){
	"a long aggregate":      testLongAggregate,
	"large commits":         testLargeCommits,
	"as of a sequence":      testAsOfSequence,
	"as of a time":          testAsOfTime,
	"what was just written": testLoadCurrent,
	"from a position":       testRead,
	"nothing leaves":        testNothingLeaves,
}

type loader func(ctx context.Context, aggregate, id string) ([]eventstore.Recorded, error)

// waysToLoad are all reads of one aggregate, of the whole of it.
func waysToLoad(l *eventstore.Log) map[string]loader {
	from := func(load func(context.Context, string, string, uint64) ([]eventstore.Recorded, error)) loader {
		return func(ctx context.Context, aggregate, id string) ([]eventstore.Recorded, error) {
			return load(ctx, aggregate, id, 0)
		}
	}
	return map[string]loader{
		"Load": from(l.Load), "LoadFromLeader": from(l.LoadFromLeader), "LoadCurrent": from(l.LoadCurrent),
		"LoadUpTo": func(ctx context.Context, aggregate, id string) ([]eventstore.Recorded, error) {
			return l.LoadUpTo(ctx, aggregate, id, 1<<40)
		},
		"LoadAsOf": func(ctx context.Context, aggregate, id string) ([]eventstore.Recorded, error) {
			return l.LoadAsOf(ctx, aggregate, id, time.Now().AddDate(1, 0, 0))
		},
	}
}

// mustLoad checks that a way to load gives these commits. Load alone MAY read from a
// replica that is behind, and is asked again until it is not; what it gives until then
// is where they begin.
func mustLoad(t testing.TB, way string, load func(context.Context) ([]eventstore.Recorded, error), want []eventstore.Recorded) {
	t.Helper()
	for ctx := within(t); ; {
		got, err := load(ctx)
		require.NoError(t, err, way)
		if way != "Load" || len(got) >= len(want) {
			mustEqual(t, got, want)
			return
		}
		mustEqual(t, got, want[:len(got)])
	}
}

// An aggregate that is longer than any batch, with others in between.
func testLongAggregate(t *testing.T, open Open) {
	l, id, other := open(t), newID(), newID()
	var mine, others []eventstore.Recorded
	var head, otherHead eventstore.Head
	for len(mine) < 560 {
		more := extend(t, l, id, head, 20)
		between := extend(t, l, other, otherHead, 1)
		mine, head = append(mine, more...), more[19].Head()
		others, otherHead = append(others, between...), between[0].Head()
	}
	for way, load := range waysToLoad(l) {
		mustLoad(t, way, func(ctx context.Context) ([]eventstore.Recorded, error) { return load(ctx, kind, id) }, mine)
	}
	mustStand(t, l, other, others...)
	for way, load := range map[string]func(context.Context, string, string, uint64) ([]eventstore.Recorded, error){
		"Load": l.Load, "LoadFromLeader": l.LoadFromLeader, "LoadCurrent": l.LoadCurrent,
	} {
		for _, after := range []int{39, 550, 558, 559} {
			mustLoad(t, way, func(ctx context.Context) ([]eventstore.Recorded, error) {
				return load(ctx, kind, id, mine[after].Sequence)
			}, mine[after+1:])
		}
		for _, none := range []string{id, newID()} {
			got, err := load(within(t), kind, none, 1<<40)
			require.NoError(t, err, way)
			require.Empty(t, got, way)
		}
	}
	// A head that is behind by very many commits is one like any other.
	_, err := l.Append(within(t), CommitOf(kind, id), mine[0].Head())
	require.ErrorIs(t, err, eventstore.ErrConflict)
	again(t, open, mine[540], mine[0].Head())
}

// Large commits come in several answers, each below what a connection buffers.
func testLargeCommits(t *testing.T, open Open) {
	l, id := open(t), newID()
	var all []eventstore.Recorded
	var head eventstore.Head
	for range 12 {
		rec := mustAppend(t, l, huge(id, 1, 1<<20), head)
		all, head = append(all, rec), rec.Head()
	}
	for way, load := range waysToLoad(l) {
		mustLoad(t, way, func(ctx context.Context) ([]eventstore.Recorded, error) { return load(ctx, kind, id) }, all)
	}
	read := readAll(t, l, all[0].Sequence, all[11].Sequence, 1000)
	mustEqual(t, only(read, id), all)
}

// What is loaded up to a sequence is what stood there then, whatever came later.
func testAsOfSequence(t *testing.T, open Open) {
	l, id, other := open(t), newID(), newID()
	elsewhere := extend(t, l, other, eventstore.Head{}, 1)[0]
	all := extend(t, l, id, eventstore.Head{}, 3)
	upTo := func(seq uint64, want ...eventstore.Recorded) {
		t.Helper()
		got, err := open(t).LoadUpTo(within(t), kind, id, seq)
		require.NoError(t, err)
		mustEqual(t, got, want)
	}
	upTo(0)
	upTo(elsewhere.Sequence)
	upTo(all[0].Sequence - 1)
	upTo(all[0].Sequence, all[0])
	upTo(all[2].Sequence-1, all[:2]...)
	upTo(all[2].Sequence, all...)
	upTo(1<<40, all...)
	more := extend(t, l, id, all[2].Head(), 2)
	upTo(all[2].Sequence, all...)
	upTo(more[0].Sequence, append(all[:3:3], more[0])...)
	got, err := l.LoadUpTo(within(t), kind, newID(), 1<<40)
	require.NoError(t, err)
	require.Empty(t, got)
}

// By time it is what had been decided, to the nanosecond and inclusive. Clocks
// differ: behind a commit of a later time nothing counts, or the past had a hole.
func testAsOfTime(t *testing.T, open Open) {
	l, id := open(t), newID()
	start := time.Date(2026, 4, 6, 0, 0, 0, 0, time.UTC)
	var all []eventstore.Recorded
	var head eventstore.Head
	for _, after := range []time.Duration{0, time.Hour, time.Hour, 3 * time.Hour, 2 * time.Hour, 4 * time.Hour} {
		c := CommitOf(kind, id)
		c.Time = start.Add(after)
		rec := mustAppend(t, l, c, head)
		all, head = append(all, rec), rec.Head()
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{
		{-time.Nanosecond, 0}, {0, 1}, {time.Hour - time.Nanosecond, 1}, {time.Hour, 3},
		{2 * time.Hour, 3}, {3*time.Hour - time.Nanosecond, 3}, {3 * time.Hour, 5}, {4 * time.Hour, 6}, {1000 * time.Hour, 6},
	} {
		at := start.Add(c.after).In(time.FixedZone("elsewhere", -7*3600)) // the instant counts
		got, err := open(t).LoadAsOf(within(t), kind, id, at)
		require.NoError(t, err)
		mustEqual(t, got, all[:c.want])
	}
}

// Whoever was told that a commit is stored finds it, from anywhere.
func testLoadCurrent(t *testing.T, open Open) {
	logs, id := []*eventstore.Log{open(t), open(t), open(t)}, newID()
	var all []eventstore.Recorded
	var head eventstore.Head
	for i := range 60 {
		rec := mustAppend(t, logs[i%3], CommitOf(kind, id), head)
		all, head = append(all, rec), rec.Head()
		reader := logs[(i+1)%3]
		got, err := reader.LoadCurrent(within(t), kind, id, 0)
		require.NoError(t, err)
		mustEqual(t, got, all)
		got, err = reader.LoadUpTo(within(t), kind, id, rec.Sequence)
		require.NoError(t, err)
		mustEqual(t, got, all)
		last, err := reader.LastSequence(within(t))
		require.NoError(t, err)
		require.GreaterOrEqual(t, last, rec.Sequence)
	}
}

// readAll reads the log in its order, until it has a sequence.
func readAll(t testing.TB, l *eventstore.Log, from, to uint64, limit int) []eventstore.Recorded {
	t.Helper()
	var all []eventstore.Recorded
	for ctx := within(t); from <= to; {
		part, err := l.Read(ctx, from, limit)
		require.NoError(t, err)
		require.LessOrEqual(t, len(part), limit)
		if len(part) > 0 { // else the replica that answered is behind
			require.Equal(t, from, part[0].Sequence)
			all, from = append(all, part...), part[len(part)-1].Sequence+1
		}
	}
	mustRun(t, all)
	return all
}

// The log is read in its order from any position on, all aggregates and no gap.
func testRead(t *testing.T, open Open) {
	l := open(t)
	ids := []string{newID(), newID(), newID()}
	heads, mine := map[string]eventstore.Head{}, map[string][]eventstore.Recorded{}
	var all []eventstore.Recorded
	for i := range 120 {
		id := ids[i%3]
		rec := mustAppend(t, l, CommitOf(kind, id), heads[id])
		heads[id], mine[id], all = rec.Head(), append(mine[id], rec), append(all, rec)
	}
	first, last := all[0].Sequence, all[119].Sequence
	for _, limit := range []int{1, 7, 1000} {
		read := readAll(t, l, first, last, limit)
		for _, id := range ids {
			mustEqual(t, only(read, id), mine[id])
		}
	}
	middle := readAll(t, l, all[60].Sequence, all[60].Sequence, 1)
	mustEqual(t, middle, all[60:61])
	// 0 is the beginning, as 1 is.
	for _, from := range []uint64{0, 1} {
		got, err := l.Read(within(t), from, 1)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.EqualValues(t, 1, got[0].Sequence)
	}
	got, err := l.Read(within(t), 1<<40, 10)
	require.NoError(t, err)
	require.Empty(t, got, "behind the end")
	for _, limit := range []int{0, -1} {
		_, err = l.Read(within(t), 1, limit)
		require.ErrorContains(t, err, fmt.Sprintf("cannot read %d commits", limit))
	}
}

// The server refuses whatever would take a commit out of the log.
func testNothingLeaves(t *testing.T, open Open) {
	l, id := open(t), newID()
	all := extend(t, l, id, eventstore.Head{}, 3)
	stream, err := l.JetStream().Stream(within(t), eventstore.StreamLog)
	require.NoError(t, err)
	subject := eventstore.LogSubject(kind, id)
	for name, do := range map[string]func(context.Context) error{
		"delete":        func(ctx context.Context) error { return stream.DeleteMsg(ctx, all[1].Sequence) },
		"secure delete": func(ctx context.Context) error { return stream.SecureDeleteMsg(ctx, all[1].Sequence) },
		"purge":         func(ctx context.Context) error { return stream.Purge(ctx, jetstream.WithPurgeSubject(subject)) },
		"rollup": func(ctx context.Context) error {
			msg := nats.NewMsg(subject)
			msg.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
			_, err := l.JetStream().PublishMsg(ctx, msg)
			return err
		},
		"expiry": func(ctx context.Context) error {
			_, err := l.JetStream().Publish(ctx, subject, nil, jetstream.WithMsgTTL(time.Second))
			return err
		},
	} {
		err := do(within(t))
		var api *jetstream.APIError
		refused := errors.As(err, &api) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful)
		require.True(t, refused, "%s: got %v, want that the server refuses it", name, err)
	}
	mustStand(t, l, id, all...)
}
