package eventstoretest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
)

var appendTests = map[string]func(*testing.T, Open){
	"chain":          testChain,
	"contract":       testContract,
	"several events": testSeveralEvents,
	"guard":          testGuard,
	"rivals":         testRivals,
	"conflict codes": testConflictCodes,
}

// The log sets version and link, whatever the caller left there.
func testChain(t *testing.T, open Open) {
	l, id := open(t), newID()
	c := CommitOf(kind, id)
	c.Version, c.PrevHash = 99, "whatever the caller left there"
	c.Events[0].Data = json.RawMessage("{ \"name\" : \"<Ä & B>\" }")
	first := mustAppend(t, l, c, eventstore.Head{})
	second := mustAppend(t, l, CommitOf(kind, id), first.Head())
	require.Equal(t, 1, first.Version)
	require.Empty(t, first.PrevHash)
	require.Equal(t, `{"name":"<Ä & B>"}`, string(first.Events[0].Data))
	require.Equal(t, 2, second.Version)
	require.Equal(t, first.Hash, second.PrevHash)
	require.Greater(t, second.Sequence, first.Sequence)
	mustStand(t, l, id, first, second)
}

// The message can be read with plain NATS tools as the contract says.
func testContract(t *testing.T, open Open) {
	l, id := open(t), newID()
	rec := mustAppend(t, l, CommitOf("account_group", id), eventstore.Head{})
	msg := mustGet(t, l, rec.Sequence)
	require.Equal(t, eventstore.LogSubject("account_group", id), msg.Subject)
	require.Equal(t, rec.Hash, msg.Header.Get(eventstore.HeaderHash))
	require.Equal(t, rec.Hash, eventstore.HashOf(msg.Data))
	require.Equal(t, rec.ID, msg.Header.Get(nats.MsgIdHdr))
	body, err := rec.Encode()
	require.NoError(t, err)
	require.Equal(t, string(msg.Data), string(body))
	require.Equal(t, len(msg.Data), rec.Size)
}

// mustGet a message as any client can. The replica that answers may be behind.
func mustGet(t testing.TB, l *eventstore.Log, seq uint64) *jetstream.RawStreamMsg {
	t.Helper()
	ctx := within(t)
	stream, err := l.JetStream().Stream(ctx, eventstore.StreamLog)
	require.NoError(t, err)
	for {
		msg, err := stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		require.NoError(t, err)
		return msg
	}
}

// The events of one decision are one message: all of them, in their order.
func testSeveralEvents(t *testing.T, open Open) {
	l, id := open(t), newID()
	c := CommitOf(kind, id)
	c.Events = []eventstore.Event{
		{Type: "account.closing_requested", Version: 2, Data: json.RawMessage(`{"z":1e2,"a":null,"text":"株 \" <&>"}`)},
		{Type: "account.changed", Version: 1, Data: json.RawMessage(`{}`)},
		{Type: "account.changed", Version: 1, Data: json.RawMessage(`{}`)},
		{Type: "account.closed", Version: 1, Data: json.RawMessage(`{"at":"2026-04-06"}`)},
	}
	first := mustAppend(t, l, c, eventstore.Head{})
	require.Equal(t, c.Events, first.Events)
	next := mustAppend(t, l, CommitOf(kind, id), first.Head())
	require.Equal(t, 2, next.Version, "the version counts commits")
	mustStand(t, l, id, first, next)
	mustEqual(t, readAll(t, l, first.Sequence, first.Sequence, 1), []eventstore.Recorded{first})
}

// Only the head of the aggregate itself lets a commit in.
func testGuard(t *testing.T, open Open) {
	l, id, other := open(t), newID(), newID()
	first := extend(t, l, id, eventstore.Head{}, 1)[0]
	elsewhere := extend(t, l, other, eventstore.Head{}, 1)[0]
	second := extend(t, l, id, first.Head(), 1)[0]
	for name, head := range map[string]eventstore.Head{"none": {}, "old": first.Head(), "another aggregate's": elsewhere.Head()} {
		_, err := l.Append(within(t), CommitOf(kind, id), head)
		require.ErrorIs(t, err, eventstore.ErrConflict, "head: %s", name)
		require.ErrorContains(t, err, eventstore.LogSubject(kind, id))
	}
	// A head that the log never had is neither a conflict nor a success: on a cluster
	// it may be on its way. The error says so.
	ahead := eventstore.Head{Sequence: second.Sequence + 1<<40, Version: 2, Hash: second.Hash}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := l.Append(ctx, CommitOf(kind, id), ahead)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.ErrorContains(t, err, "is it of another log?")
	mustStand(t, l, id, first, second)
	mustStand(t, l, other, elsewhere)
}

// Of many appends on the same head one wins, and the others are conflicts.
func testRivals(t *testing.T, open Open) {
	logs := []*eventstore.Log{open(t), open(t), open(t)}
	for range 5 {
		race(t, logs, 30)
	}
}

// race appends n different commits on the same head of a new aggregate.
func race(t testing.TB, logs []*eventstore.Log, n int) {
	t.Helper()
	var mu sync.Mutex
	var won []eventstore.Recorded
	var wg sync.WaitGroup
	ctx, id := within(t), newID()
	for i := range n {
		wg.Go(func() {
			rec, err := logs[i%len(logs)].Append(ctx, CommitOf(kind, id), eventstore.Head{})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, rec)
			} else {
				assert.ErrorIs(t, err, eventstore.ErrConflict)
			}
		})
	}
	wg.Wait()
	require.Len(t, won, 1, "of all rivals one wins")
	mustStand(t, logs[0], id, won[0])
}

// The server has two codes for what the guard refuses: 10071, and on replicated
// streams also 10164, while another append to the subject is on its way. Both are
// ErrConflict; the test goes on until the server has given each.
func testConflictCodes(t *testing.T, open Open) {
	l, id := open(t), newID()
	seen := codesSeen(t, l)
	first := extend(t, l, id, eventstore.Head{}, 1)[0]
	_, err := l.Append(within(t), CommitOf(kind, id), eventstore.Head{})
	require.ErrorIs(t, err, eventstore.ErrConflict)
	require.Contains(t, seen(), jetstream.JSErrCodeStreamWrongLastSequence)
	mustStand(t, l, id, first)

	stream, err := l.JetStream().Stream(within(t), eventstore.StreamLog)
	require.NoError(t, err)
	if stream.CachedInfo().Config.Replicas == 1 {
		return // this server knows no other code
	}
	for deadline := time.Now().Add(patience); !seen()[jetstream.JSErrCodeStreamWrongLastSequenceConstant]; {
		require.True(t, time.Now().Before(deadline), "the server never gave code 10164")
		race(t, []*eventstore.Log{l}, 30)
	}
}

// codesSeen collects the codes of errors that the server gives to requests of the
// connection: what Append gets, and makes one error of.
func codesSeen(t testing.TB, l *eventstore.Log) func() map[jetstream.ErrorCode]bool {
	t.Helper()
	codes := map[jetstream.ErrorCode]bool{}
	inbox := l.Conn().NewRespInbox()
	answers, err := l.Conn().SubscribeSync(inbox[:strings.LastIndex(inbox, ".")] + ".*")
	require.NoError(t, err)
	return func() map[jetstream.ErrorCode]bool {
		// What the server had sent before it answered the flush is in the queue then.
		require.NoError(t, l.Conn().FlushWithContext(within(t)))
		for {
			waiting, _, err := answers.Pending()
			require.NoError(t, err)
			if waiting == 0 {
				return codes
			}
			msg, err := answers.NextMsgWithContext(within(t))
			require.NoError(t, err)
			var answer struct {
				Error *jetstream.APIError `json:"error"`
			}
			if json.Unmarshal(msg.Data, &answer) == nil && answer.Error != nil {
				codes[answer.Error.ErrorCode] = true
			}
		}
	}
}
