package verify_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/verify"
)

func natsMessage(subject, logSequence string) *nats.Msg {
	msg := &nats.Msg{Subject: subject, Data: []byte("{}"), Header: nats.Header{}}
	if logSequence != "" {
		msg.Header.Set("ce-logsequence", logSequence)
	}
	return msg
}

func exportOf(t testing.TB, s *scribe) [][]byte {
	t.Helper()
	return export(t, openStream(t, publish(t, s.log), verify.Scope{}))
}

// Whoever edits an export is found, at the place. The first line is the head, so line n is sequence n.
func TestDamagedExports(t *testing.T) {
	t.Parallel()
	whole := exportOf(t, closing(t))
	for name, c := range map[string]struct {
		do   func(lines [][]byte) [][]byte
		want []string
	}{
		"two lines swapped": {func(l [][]byte) [][]byte { l[5], l[6] = l[6], l[5]; return l }, []string{"MISSING@5", "REPEATED@5", "DAMAGED@0"}},
		"two of an account": {func(l [][]byte) [][]byte { l[7], l[8] = l[8], l[7]; return l },
			[]string{"MISSING@7", "REPEATED@7", "BROKEN_LINK@8", "DAMAGED@0"}},
		"a line left out": {func(l [][]byte) [][]byte { return slices.Delete(l, 8, 9) }, []string{"MISSING@8", "BROKEN_LINK@9", "DAMAGED@0", "DAMAGED@0"}},
		"a line twice":    {func(l [][]byte) [][]byte { return slices.Insert(l, 8, l[8]) }, []string{"REPEATED@8", "DAMAGED@0", "DAMAGED@0"}},
		"an edited line": {func(l [][]byte) [][]byte {
			l[8] = bytes.Replace(l[8], []byte(`"quantity":"1"`), []byte(`"quantity":"9"`), 1)
			return l
		}, []string{"WRONG_HASH@8", "BROKEN_LINK@9", "DAMAGED@0"}},
		"another time": {func(l [][]byte) [][]byte {
			l[8] = bytes.Replace(l[8], []byte(`"time":"20`), []byte(`"time":"19`), 1)
			return l
		}, []string{"DAMAGED@0"}},
		"no JSON":         {func(l [][]byte) [][]byte { l[8] = l[8][:100]; return l }, []string{"DAMAGED@8", "MISSING@8", "BROKEN_LINK@9", "DAMAGED@0", "DAMAGED@0"}},
		"one more member": {func(l [][]byte) [][]byte { l[10] = append([]byte(`{"x":1,`), l[10][1:]...); return l }, []string{"DAMAGED@10", "MISSING@10", "DAMAGED@0", "DAMAGED@0"}},
		"no end":          {func(l [][]byte) [][]byte { return l[:11] }, []string{"DAMAGED@0"}},
		"cut in the line": {func(l [][]byte) [][]byte { l[9] = l[9][:50]; return l[:10] }, []string{"DAMAGED@9", "MISSING@9", "DAMAGED@0"}},
		"the head alone":  {func(l [][]byte) [][]byte { return l[:1] }, []string{"MISSING@1", "DAMAGED@0"}},
		"behind the end":  {func(l [][]byte) [][]byte { return append(l, l[10]) }, []string{"DAMAGED@0"}},
		"an edited head": {func(l [][]byte) [][]byte {
			l[0] = bytes.Replace(l[0], []byte(`"to":10`), []byte(`"to":11`), 1)
			return l
		}, []string{"MISSING@11", "DAMAGED@0"}},
		"a lie in the end": {func(l [][]byte) [][]byte {
			l[11] = bytes.Replace(l[11], []byte("true,\"digest"), []byte("false,\"digest"), 1)
			return l
		}, []string{"DAMAGED@0"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, openExport(t, c.do(slices.Clone(whole))), verify.Config{})
			require.Equal(t, c.want, found(r), "%v", r.Problems)
		})
	}
	require.Empty(t, run(t, openExport(t, whole), verify.Config{}).Problems, "the export itself is still whole")
}

// What stands in an export is, byte for byte, what is in the log, whatever that is.
func TestExportsAreExact(t *testing.T) {
	t.Parallel()
	s := closing(t)
	bodies := []string{"", " ", "null", "{}\n", `{"a": 1}`, `{"a":1}`, `{"a":1e2,"a":"\u003c<\u2028"}`, "\xff\xfe", `"` + "\u2028" + `"`, "[1]"}
	for _, body := range bodies {
		s.log = append(s.log, verify.Message{Subject: eventstore.LogSubject("odd", "x"), Body: []byte(body), Hash: `"<&`})
	}
	lines := exportOf(t, s)
	i := 0
	require.NoError(t, openExport(t, lines).Walk(testContext(t), func(m verify.Message) error {
		require.Empty(t, m.Fault)
		require.Equal(t, string(s.log[i].Body), string(m.Body))
		require.Equal(t, s.log[i].Subject, m.Subject)
		require.Equal(t, s.log[i].Hash, m.Hash)
		require.Equal(t, uint64(i+1), m.Sequence)
		require.WithinDuration(t, time.Now(), m.Time, time.Hour)
		i++
		return nil
	}))
	require.Equal(t, len(s.log), i)
	// An auditor without this program finds the body by cutting the line.
	for i, line := range lines[1:11] {
		_, body, ok := bytes.Cut(line, []byte(`,"commit":`))
		require.True(t, ok)
		require.Equal(t, s.log[i].Hash, eventstore.HashOf(body[:len(body)-1]))
		require.True(t, json.Valid(line))
	}
}

// A part of a log verifies on its own, from the first commit on that it has of each aggregate.
func TestPartialExports(t *testing.T) {
	t.Parallel()
	nc := publish(t, closing(t).log)
	for name, c := range map[string]struct {
		scope                        verify.Scope
		commits, aggregates, unknown int
	}{
		"from":         {verify.Scope{From: 6}, 5, 2, 2},
		"to":           {verify.Scope{To: 6}, 6, 3, 0},
		"between":      {verify.Scope{From: 3, To: 5}, 3, 2, 1},
		"a kind":       {verify.Scope{Aggregate: "account"}, 5, 1, 0},
		"one":          {verify.Scope{Aggregate: "account_group", ID: group}, 4, 1, 0},
		"a part of it": {verify.Scope{Aggregate: "account_group", ID: group, From: 3, To: 8}, 2, 1, 1},
		"nothing":      {verify.Scope{Aggregate: "account", ID: group}, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			lines := export(t, openStream(t, nc, c.scope))
			require.Contains(t, string(lines[len(lines)-1]), `"complete":false`)
			r := run(t, openExport(t, lines), verify.Config{})
			require.Empty(t, r.Problems)
			require.False(t, r.Whole)
			require.Equal(t, []int{c.commits, c.aggregates, c.unknown}, []int{int(r.Commits), r.Aggregates, r.Unjudged})
			if c.commits < 3 {
				return
			}
			// A line that is left out is missed in a part, too.
			r = run(t, openExport(t, slices.Delete(slices.Clone(lines), 2, 3)), verify.Config{})
			require.Contains(t, []string{"MISSING", "BROKEN_LINK"}, string(r.Problems[0].Code))
			// What does not belong into it is not taken.
			foreign := bytes.ReplaceAll(lines[1], []byte(group), []byte(owner))
			if c.scope.ID != "" {
				r = run(t, openExport(t, slices.Insert(slices.Clone(lines), 1, foreign)), verify.Config{})
				require.Contains(t, r.Problems[len(r.Problems)-1].Detail+r.Problems[0].Detail, "does not belong into this export")
			}
		})
	}
}

func TestWhatIsNoExport(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n", "{}\n", "commits\n", `{"sequence":1}` + "\n", `{"export":"CLOSURE_LOG","format":1}{}` + "\n"} {
		_, err := verify.OpenExport(bytes.NewReader([]byte(text)))
		require.ErrorIs(t, err, verify.ErrNoExport, text)
	}
	_, err := verify.OpenExport(bytes.NewReader([]byte(`{"export":"CLOSURE_LOG","format":2}`)))
	require.ErrorContains(t, err, "its format is 2, not 1")
}

// Times are those of the server; a part between two of them has what was stored then.
func TestSequenceAt(t *testing.T) {
	t.Parallel()
	nc := publish(t, closing(t).log)
	var times []time.Time
	require.NoError(t, openStream(t, nc, verify.Scope{}).Walk(testContext(t), func(m verify.Message) error {
		times = append(times, m.Time)
		return nil
	}))
	for i, at := range times {
		seq, err := verify.SequenceAt(testContext(t), nc, at)
		require.NoError(t, err)
		require.Equal(t, uint64(1+slices.IndexFunc(times, func(other time.Time) bool { return !other.Before(times[i]) })), seq)
	}
	before, err := verify.SequenceAt(testContext(t), nc, times[0].Add(-time.Hour))
	require.NoError(t, err)
	require.Equal(t, uint64(1), before)
	behind, err := verify.SequenceAt(testContext(t), nc, times[9].Add(1))
	require.NoError(t, err)
	require.Equal(t, uint64(11), behind)
}
