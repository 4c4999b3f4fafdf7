package natsapi_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"closure/eventstore"
	"closure/eventstore/tracing"
	"closure/handlers"
)

var someTrace = tracing.Context{Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", State: "vendor=1"}

// traced is a message in a trace.
func traced(subject string, body []byte) *nats.Msg {
	msg := nats.NewMsg(subject)
	msg.Data = body
	someTrace.Put(msg.Header)
	return msg
}

// The trace context that a command came with is that of its commit: from the micro service, from the inbox, and from where it had
// to wait. A rejection carries it, too.
func TestTraceComesIn(t *testing.T) {
	t.Parallel()
	r := serve(t)
	group, account := uuid.NewString(), uuid.NewString()
	reply, err := r.nc.RequestMsg(traced(eventstore.RPCSubject("account_group", group, "open"), body(t, personal())), patience)
	require.NoError(t, err)
	require.Equal(t, handlers.Accepted, answer(t, reply).Result)
	require.Equal(t, someTrace, r.commits("account_group", group)[0].Trace)

	// The fact comes before its account: it waits aside.
	_, err = r.js.PublishMsg(r.ctx, traced(eventstore.CommandSubject("account", account, "record_position"), body(t, position(1))))
	require.NoError(t, err)
	r.publish(eventstore.CommandSubject("account", account, "open"), body(t, trading(group)))
	r.settled()
	commits := r.commits("account", account)
	require.Len(t, commits, 2)
	require.Zero(t, commits[0].Trace)
	require.Equal(t, someTrace, commits[1].Trace)

	q := r.rejections()
	_, err = r.js.PublishMsg(r.ctx, traced(eventstore.CommandSubject("account", account, "activate"), []byte(`{}`)))
	require.NoError(t, err)
	msg, _ := q.next()
	require.Equal(t, someTrace, tracing.Stored(msg.Headers()))
}

// A rejection is counted by its kind, and each try of a command is a span in the trace that it came with.
func TestRejectionsAreToldOf(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.keepEvents(1)
	var mu sync.Mutex
	var told []handlers.Slug
	spans := tracetest.NewSpanRecorder()
	cfg := r.config()
	cfg.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
	cfg.Rejected = func(s handlers.Slug) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, s)
	}
	s := r.start(cfg)
	q := r.rejections()
	_, err := r.js.PublishMsg(r.ctx, traced(eventstore.CommandSubject("account", uuid.NewString(), "request_closure"), body(t, fields{})))
	require.NoError(t, err)
	q.next()
	r.settled()
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []handlers.Slug{handlers.NotFound}, told)
	require.NotEmpty(t, spans.Ended())
	require.Equal(t, "inbox request_closure", spans.Ended()[0].Name())
	require.Equal(t, "b7ad6b7169203331", spans.Ended()[0].Parent().SpanID().String())
	inbox, aside, err := s.Waiting(r.ctx)
	require.NoError(t, err)
	require.Zero(t, inbox)
	require.Zero(t, aside)
}

// What waits is counted where it waits.
func TestWaiting(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.keepEvents(1)
	s := r.start(r.config())
	r.publish(eventstore.CommandSubject("account", uuid.NewString(), "record_position"), body(t, position(1)))
	r.until("the fact to wait aside", func() bool {
		inbox, aside, err := s.Waiting(r.ctx)
		return err == nil && inbox == 0 && aside == 1
	})
}

// Every engine answers how it is.
func TestStatusOfEveryEngine(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, name := range []string{"first", "second"} {
		cfg := r.config()
		cfg.Status = func(context.Context) any { return map[string]string{"id": name} }
		r.start(cfg)
	}
	inbox := r.nc.NewInbox()
	answers, err := r.nc.SubscribeSync(inbox)
	require.NoError(t, err)
	require.NoError(t, r.nc.PublishRequest(eventstore.QueryStatus, inbox, nil))
	got := map[string]bool{}
	for range 2 {
		msg, err := answers.NextMsg(patience)
		require.NoError(t, err)
		var a struct{ ID string }
		require.NoError(t, json.Unmarshal(msg.Data, &a), string(msg.Data))
		got[a.ID] = true
	}
	require.Equal(t, map[string]bool{"first": true, "second": true}, got)
}
