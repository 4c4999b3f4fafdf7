package verify_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/verify"
)

func TestAGoodLogIsOK(t *testing.T) {
	t.Parallel()
	s := closing(t)
	nc := publish(t, s.log)
	r := run(t, openStream(t, nc, verify.Scope{}), verify.Config{})
	require.Empty(t, r.Problems)
	require.True(t, r.OK && r.Whole)
	require.Equal(t, []any{uint64(1), uint64(10), uint64(10), uint64(14), 3, 0, 1},
		[]any{r.First, r.Last, r.Commits, r.Events, r.Aggregates, r.Unjudged, r.Walks})

	// The digest is what an auditor would make of the last lines of each aggregate.
	var heads []string
	for ref, head := range s.heads {
		heads = append(heads, fmt.Sprintf("%s %d %s\n", eventstore.LogSubject(string(ref.Kind), ref.ID), head.Version, head.Hash))
	}
	slices.Sort(heads)
	sum := sha256.Sum256([]byte(strings.Join(heads, "")))
	require.Equal(t, hex.EncodeToString(sum[:]), r.Heads)

	// The export says the same, and so does the log up to a sequence as an audit of that time did.
	require.Equal(t, r, run(t, openExport(t, export(t, openStream(t, nc, verify.Scope{}))), verify.Config{}))
	early := run(t, openStream(t, publish(t, s.log[:7]), verify.Scope{}), verify.Config{})
	again := run(t, openStream(t, nc, verify.Scope{To: 7}), verify.Config{Expect: early.Heads})
	require.True(t, again.OK)
	require.False(t, again.Whole, "the log goes on")
	require.Equal(t, []string{"DAMAGED@0"}, found(run(t, openStream(t, nc, verify.Scope{}), verify.Config{Expect: early.Heads})))
}

func TestAnEmptyLogIsOK(t *testing.T) {
	t.Parallel()
	nc := publish(t, nil)
	r := run(t, openStream(t, nc, verify.Scope{}), verify.Config{})
	require.True(t, r.OK && r.Whole)
	require.Zero(t, r.Last)
	require.Equal(t, r, run(t, openExport(t, export(t, openStream(t, nc, verify.Scope{}))), verify.Config{}))
}

// A log that is not there is an error, not an empty log; and it is not made by looking.
func TestNoLog(t *testing.T) {
	t.Parallel()
	nc := embeddedtest.Connect(t, embeddedtest.Server(t))
	for range 2 {
		_, err := verify.OpenStream(testContext(t), nc, verify.Scope{})
		require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
	}
}

// damage is a way to forge a log: what is done to the messages of a closing, and what has to be found.
type damage struct {
	do   func(t *testing.T, log []verify.Message) []verify.Message
	want []string
	says string // of the first problem
}

// damages leave the sequences whole: a server gives them.
func damages() map[string]damage {
	type messages = []verify.Message
	return map[string]damage{
		"a body that was changed": {func(_ *testing.T, log messages) messages {
			log[7].Body = bytes.Replace(log[7].Body, []byte(`"quantity":"1"`), []byte(`"quantity":"2"`), 1)
			return log
		}, []string{"WRONG_HASH@8", "BROKEN_LINK@9"}, "its header Closure-Hash says"},
		"a body and its hash that were changed": {func(_ *testing.T, log messages) messages {
			log[7].Body = bytes.Replace(log[7].Body, []byte(`"quantity":"1"`), []byte(`"quantity":"2"`), 1)
			log[7].Hash = eventstore.HashOf(log[7].Body)
			return log
		}, []string{"BROKEN_LINK@9"}, "version 5 with prev_hash"},
		"no hash": {func(_ *testing.T, log messages) messages {
			log[7].Hash = ""
			return log
		}, []string{"WRONG_HASH@8"}, `says ""`},
		"two in the wrong order": {func(_ *testing.T, log messages) messages {
			log[7], log[8] = log[8], log[7]
			return log
		}, []string{"BROKEN_LINK@8", "BROKEN_LINK@9"}, "version 5 with prev_hash"},
		"one left out": {func(_ *testing.T, log messages) messages {
			return slices.Delete(log, 7, 8)
		}, []string{"BROKEN_LINK@8"}, "follows on version 3"},
		"the beginning left out": {func(_ *testing.T, log messages) messages {
			return log[1:]
		}, nil, ""}, // a user of whom nothing else is told: only the sequences, or the digest of an earlier audit, know
		"the beginning of an aggregate left out": {func(_ *testing.T, log messages) messages {
			return slices.Delete(log, 3, 4)
		}, []string{"BROKEN_LINK@4"}, "its aggregate begins with version 2"},
		"one twice": {func(_ *testing.T, log messages) messages {
			again := log[8]
			again.ID = ""
			return append(log, again)
		}, []string{"BROKEN_LINK@11"}, "version 5 with prev_hash"},
		"no commit": {func(_ *testing.T, log messages) messages {
			log[7].Body = []byte("{}")
			return log
		}, []string{"MALFORMED@8", "BROKEN_LINK@9"}, "missing or null: id"},
		"no JSON": {func(_ *testing.T, log messages) messages {
			log[7].Body = []byte{0xff, 0x00, '\n'}
			return log
		}, []string{"MALFORMED@8", "BROKEN_LINK@9"}, "at byte"},
		"another spelling": {func(_ *testing.T, log messages) messages {
			log[9].Body = append(log[9].Body, ' ')
			log[9].Hash = eventstore.HashOf(log[9].Body)
			return log
		}, []string{"MALFORMED@10"}, "byte for byte"},
		"under another subject": {func(_ *testing.T, log messages) messages {
			log[9].Subject = eventstore.LogSubject("account_group", account)
			return log
		}, []string{"WRONG_SUBJECT@10"}, "it holds a commit of " + eventstore.LogSubject("account_group", group)},
		"under another message id": {func(_ *testing.T, log messages) messages {
			log[9].ID = "something else"
			return log
		}, []string{"WRONG_ID@10"}, `the message has the id "something else"`},
		"a commit id of its own": {func(t *testing.T, log messages) messages {
			return append(log, forged(t, log[9], "settle_reconciliation", func(c *eventstore.Commit) { c.ID = uuid.NewString() },
				event("account_group.domicile_changed", `{"domicile":"DE","tax_residencies":[]}`)))
		}, []string{"IMPLAUSIBLE@11"}, "does not come from the command"},
		"a commit id that was there": {func(t *testing.T, log messages) messages {
			last, err := eventstore.DecodeCommit(log[9].Body)
			require.NoError(t, err)
			m := forged(t, log[4], "record_position", func(c *eventstore.Commit) { c.ID = last.ID },
				event("account.position_recorded", `{"isin":"`+basf+`","quantity":"1","pending_settlement":"0","revision":2}`))
			m.ID = "" // the server itself would find it, within two minutes
			return append(log[:5], m)
		}, []string{"IMPLAUSIBLE@6"}, "the id of the commit is"},
		"of another client": {func(t *testing.T, log messages) messages {
			return append(log[:5], forged(t, log[4], "lock", func(c *eventstore.Commit) { c.ClientID = otherClient }, event("account.locked", `{}`)))
		}, []string{"WRONG_CLIENT@6"}, "the commit is of client"},
		"an event that nobody knows": {func(t *testing.T, log messages) messages {
			return append(log, forged(t, log[8], "lock", nil, event("account.teleported", `{}`)))
		}, []string{"UNKNOWN_EVENT@11"}, "unknown event: account.teleported version 1"},
		"an event in an unknown version": {func(t *testing.T, log messages) messages {
			return append(log, forged(t, log[8], "lock", nil, eventstore.Event{Type: "account.locked", Version: 7, Data: []byte("{}")}))
		}, []string{"UNKNOWN_EVENT@11"}, "account.locked version 7"},
		"an event of another kind": {func(t *testing.T, log messages) messages {
			return append(log, forged(t, log[8], "lock", nil, event("account_group.locked", `{}`)))
		}, []string{"IMPLAUSIBLE@11"}, "account_group.locked, is not one of an account"},
		"a kind that there is not": {func(t *testing.T, log messages) messages {
			return append(log, messageOf(t, eventstore.Commit{
				ID: "x", Aggregate: "order", AggregateID: "y", Version: 1, Time: closing(t).now, Events: []eventstore.Event{event("order.opened", `{}`)},
			}))
		}, []string{"IMPLAUSIBLE@11"}, `no kind of aggregate "order"`},
		"closed over a position": {func(t *testing.T, log messages) messages {
			return append(log[:8], forged(t, log[7], "review_closure", nil, event("account.closed", `{}`)))
		}, []string{"IMPLAUSIBLE@9"}, "account.closed, could not be decided"},
		"opened twice": {func(t *testing.T, log messages) messages {
			first, err := eventstore.DecodeCommit(log[3].Body)
			require.NoError(t, err)
			return append(log[:5], forged(t, log[4], "open", nil, first.Events...))
		}, []string{"IMPLAUSIBLE@6"}, "it was so already"},
	}
}

// TestDamageIsFound: on the server, and in an export that was made of it, at the same places.
func TestDamageIsFound(t *testing.T) {
	for name, d := range damages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc := publish(t, d.do(t, closing(t).log))
			r := run(t, openStream(t, nc, verify.Scope{}), verify.Config{})
			require.Equal(t, append([]string{}, d.want...), found(r), "%v", r.Problems)
			if len(d.want) > 0 {
				first := r.Problems[0]
				require.Contains(t, first.Detail, d.says)
				require.NotEmpty(t, first.Subject)
				require.Contains(t, first.String(), fmt.Sprintf("sequence %d %s", first.Sequence, first.Subject))
			}
			exported := run(t, openExport(t, export(t, openStream(t, nc, verify.Scope{}))), verify.Config{})
			// An export does not carry the message id.
			require.Equal(t, slices.DeleteFunc(found(r), func(s string) bool { return strings.HasPrefix(s, "WRONG_ID") }), found(exported))
			require.Equal(t, r.Heads, exported.Heads)
		})
	}
}

// What the server has lost is found, wherever it was.
func TestMissingMessages(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lose []uint64
		want []string
	}{
		"the first":       {[]uint64{1}, []string{"MISSING@1"}},
		"the first two":   {[]uint64{1, 2}, []string{"MISSING@1", "BROKEN_LINK@3"}},
		"in the middle":   {[]uint64{5}, []string{"MISSING@5", "BROKEN_LINK@7"}},
		"several":         {[]uint64{3, 7, 8}, []string{"MISSING@3", "BROKEN_LINK@6", "MISSING@7", "BROKEN_LINK@9"}},
		"the last":        {[]uint64{10}, []string{"MISSING@10"}},
		"all but one":     {[]uint64{1, 2, 3, 4, 5, 6, 7, 9, 10}, []string{"MISSING@1", "BROKEN_LINK@8", "MISSING@9"}},
		"every single on": {[]uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, []string{"MISSING@1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc := publish(t, closing(t).log)
			js, err := jetstream.New(nc)
			require.NoError(t, err)
			stream, err := js.Stream(testContext(t), eventstore.StreamLog)
			require.NoError(t, err)
			for _, seq := range c.lose {
				require.NoError(t, stream.DeleteMsg(testContext(t), seq))
			}
			r := run(t, openStream(t, nc, verify.Scope{}), verify.Config{})
			require.Equal(t, c.want, found(r), "%v", r.Problems)
		})
	}
}

// A log whose end was cut off is whole up to there. The published events, or an earlier audit, know better.
func TestALostEnd(t *testing.T) {
	t.Parallel()
	nc := publish(t, closing(t).log[:8])
	require.Equal(t, []string{"MISSING@9"}, found(run(t, openStream(t, nc, verify.Scope{To: 10}), verify.Config{})))

	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(testContext(t), jetstream.StreamConfig{Name: eventstore.StreamEvents, Subjects: []string{eventstore.EventSubjects}})
	require.NoError(t, err)
	require.Empty(t, run(t, openStream(t, nc, verify.Scope{}), verify.Config{}).Problems, "nothing was published yet")
	for _, logSequence := range []string{"9", ""} {
		msg := natsMessage(eventstore.EventSubject(someClient, "ACCOUNT.CLOSED", account), logSequence)
		_, err = js.PublishMsg(testContext(t), msg)
		require.NoError(t, err)
		r := run(t, openStream(t, nc, verify.Scope{}), verify.Config{})
		require.Equal(t, []string{"DAMAGED@0"}, found(r))
		require.Contains(t, r.Problems[0].Detail, "the log ends at sequence 8, but an event of sequence 9 is published")
	}
}

// The number of problems is bounded, and so is the walk.
func TestEnoughProblems(t *testing.T) {
	t.Parallel()
	log := closing(t).log
	for i := range log {
		log[i].Hash = ""
	}
	nc := publish(t, log)
	r := run(t, openStream(t, nc, verify.Scope{}), verify.Config{MaxProblems: 4})
	require.Equal(t, []string{"WRONG_HASH@1", "WRONG_HASH@2", "WRONG_HASH@3", "WRONG_HASH@4"}, found(r))
	require.True(t, r.GaveUp)
	require.False(t, r.Whole)
	r = run(t, openStream(t, nc, verify.Scope{}), verify.Config{})
	require.Equal(t, 10, r.Count)
	require.False(t, r.GaveUp)
}

// With few states in memory the log is walked several times, and the outcome is the same.
func TestManyAggregatesInLittleMemory(t *testing.T) {
	t.Parallel()
	s := newScribe(t)
	for range 300 {
		s.life(uuid.NewString(), uuid.NewString(), uuid.NewString())
	}
	// The last commit of some accounts closes them again.
	for i := range 20 {
		m := s.log[i*100+8]
		s.log = append(s.log, forged(t, m, "review_closure", nil, event(string(domain.KindAccount)+".closed", `{}`)))
	}
	nc := publish(t, s.log)
	once := run(t, openStream(t, nc, verify.Scope{}), verify.Config{})
	require.Equal(t, 1, once.Walks)
	require.Equal(t, 20, once.Count)
	require.Equal(t, 900, once.Aggregates)
	for _, states := range []int{899, 250} {
		walked := 0
		again := run(t, openStream(t, nc, verify.Scope{}), verify.Config{States: states, Progress: func(walk, walks int, seq uint64) {
			walked++
			require.LessOrEqual(t, walk, walks)
			require.LessOrEqual(t, seq, uint64(len(s.log)))
		}})
		require.Greater(t, again.Walks, 1)
		require.GreaterOrEqual(t, walked, again.Walks)
		again.Walks = 1
		require.Equal(t, once, again)
	}
}

// In a cluster the server that reads may lag behind the leader of the stream. What it does not have yet is not missing.
func TestALaggingServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := closing(t)
	nc := publish(t, s.log)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	const behind, has = "BEHIND", 4
	_, err = js.CreateStream(testContext(t), jetstream.StreamConfig{
		Name: behind, Subjects: []string{"behind.>"}, AllowDirect: true,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: "behind.>", Destination: eventstore.LogSubjects},
	})
	require.NoError(t, err)
	lagging := slices.Clone(s.log[:has])
	for i := range lagging {
		lagging[i].Subject = strings.Replace(lagging[i].Subject, "closure.log.", "behind.", 1)
	}
	publishInto(t, js, lagging)

	for _, scope := range []verify.Scope{{}, {Aggregate: string(domain.KindAccountGroup), ID: group}, {From: 3}} {
		src := openStream(t, nc, scope)
		src.ReadBehind(behind, 3)
		var got, want []uint64
		require.NoError(t, src.Walk(testContext(t), func(m verify.Message) error {
			require.Empty(t, m.Fault)
			got = append(got, m.Sequence)
			return nil
		}))
		require.NoError(t, openStream(t, nc, scope).Walk(testContext(t), func(m verify.Message) error {
			want = append(want, m.Sequence)
			return nil
		}))
		require.Equal(t, want, got)
		require.Greater(t, got[len(got)-1], uint64(has))
	}
	src := openStream(t, nc, verify.Scope{})
	src.ReadBehind(behind, 3)
	require.True(t, run(t, src, verify.Config{}).OK)
}
