package main

import (
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/tracing"
)

const (
	clientTrace  = "0af7651916cd43dd8448eb211c80319c"
	clientSpan   = "b7ad6b7169203331"
	clientParent = "00-" + clientTrace + "-" + clientSpan + "-01"
)

// closingRig is an account that holds nothing, in a group, and an endpoint that hears of it.
type closingRig struct {
	*serving
	caller
	hook           *witness
	heard          map[string]tracing.Context // by the type of event: what the last delivery of one came with
	group, account string
}

func newClosingRig(t *testing.T, flags ...string) *closingRig {
	t.Helper()
	s := serve(t, t.TempDir(), flags...)
	r := &closingRig{serving: s, caller: s.caller(t, uuid.NewString()), hook: newWitness(t), heard: map[string]tracing.Context{}}
	r.group = call2[domain.AccountGroupResource](r.caller, http.MethodPost, "/account_groups",
		map[string]any{"user_id": uuid.NewString(), "type": "PERSONAL"}, http.StatusCreated).ID
	r.account = call2[domain.AccountResource](r.caller, http.MethodPost, "/accounts",
		map[string]any{"account_group_id": r.group, "type": "TRADING", "name": "traced"}, http.StatusCreated).ID
	r.settled() // so that the webhook, which gets what comes from here on, hears of the closing alone
	call2[domain.Webhook](r.caller, http.MethodPost, "/webhooks",
		map[string]any{"title": "all", "url": r.hook.URL, "type": []string{"ALL"}}, http.StatusCreated)
	return r
}

// settled waits until all that follows from the commits in the log is done, and published.
func (r *closingRig) settled() {
	r.t.Helper()
	server := js(r.t, r.connect(r.t))
	last := func() float64 {
		log, err := server.Stream(r.t.Context(), eventstore.StreamLog)
		require.NoError(r.t, err)
		return float64(log.CachedInfo().State.LastSeq)
	}
	require.Eventually(r.t, func() bool {
		end := last()
		families, _ := scrape(r.t, r.HTTP)
		for _, projection := range []string{"publisher", "process", "reports"} {
			if value(r.t, families, "closure_projection_position", "projection", projection) < end {
				return false
			}
		}
		return last() == end // else something has followed meanwhile
	}, within, 10*time.Millisecond)
}

// remove is a DELETE in the trace of the client.
func (r *closingRig) remove(path string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodDelete, r.base+path, nil)
	require.NoError(r.t, err)
	r.identify(req)
	req.Header.Set("traceparent", clientParent)
	req.Header.Set("tracestate", "vendor=1")
	res, err := http.DefaultClient.Do(req)
	require.NoError(r.t, err)
	require.NoError(r.t, res.Body.Close())
	require.Equal(r.t, http.StatusAccepted, res.StatusCode)
}

// await waits for the delivery of an event, and gives the trace context that it came with.
func (r *closingRig) await(eventType string) tracing.Context {
	r.t.Helper()
	timeout := time.After(within)
	for {
		if from, ok := r.heard[eventType]; ok {
			delete(r.heard, eventType)
			return from
		}
		select {
		case p := <-r.hook.got:
			for _, one := range p.types() {
				r.heard[one] = tracing.From(p.header)
			}
		case <-timeout:
			require.FailNow(r.t, "no "+eventType, r.logs.String())
		}
	}
}

// One closing can be followed from DELETE to the webhook: one trace, in which each span hangs below the one that caused it.
func TestTraceOfAClosing(t *testing.T) {
	spans := newCollectorServer(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", spans.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	r := newClosingRig(t)
	r.remove("/accounts/" + r.account)
	got := r.await("ACCOUNT.CLOSED")
	require.Equal(t, clientTrace, got.TraceID())
	require.Equal(t, "vendor=1", got.State)
	r.settled() // the group knows that its account is closed
	r.remove("/account_groups/" + r.group)
	group := r.await("ACCOUNT_GROUP.CLOSED")
	require.Equal(t, clientTrace, group.TraceID())
	report := r.await("REPORT.CREATED")
	require.Equal(t, clientTrace, report.TraceID())
	require.Equal(t, exitDone, r.stop(), r.logs.String()) // the last spans are sent

	byID := spans.byID()
	command := []string{"append", "account request_closure", "closeAccount"}
	require.Equal(t, command, path(t, byID, named(t, byID, "publish ACCOUNT.CLOSED").ParentSpanId))
	// A package is in the trace of its first event: CLOSED may come together with CLOSING_INITIATED, which is of the same commit.
	id, err := hex.DecodeString(got.Parent[36:52])
	require.NoError(t, err)
	delivered := path(t, byID, id)
	require.Equal(t, "deliver webhook", delivered[0])
	require.Contains(t, []string{"publish ACCOUNT.CLOSED", "publish ACCOUNT.CLOSING_INITIATED"}, delivered[1])
	require.Equal(t, command, delivered[2:])
	// The report follows from the closing of the group, and is recorded by a command of the engine's own.
	require.Equal(t, []string{"append", "account_group record_report", "append", "account_group request_closure", "closeAccountGroup"},
		path(t, byID, named(t, byID, "publish REPORT.CREATED").ParentSpanId))
	told := false
	for _, span := range byID {
		told = told || span.Name == "account_group record_account_closure" && hex.EncodeToString(span.TraceId) == clientTrace
		require.NotContains(t, []string{"getHealth", "getReadiness"}, span.Name)
	}
	require.True(t, told, "the process manager's command is in the trace")
}

// named is the span with a name in the client's trace, of which there has to be one.
func named(t *testing.T, byID map[string]*tracepb.Span, name string) (found *tracepb.Span) {
	t.Helper()
	for _, span := range byID {
		if span.Name == name && hex.EncodeToString(span.TraceId) == clientTrace {
			require.Nil(t, found, "%s is there twice", name)
			found = span
		}
	}
	require.NotNil(t, found, "%s is not in the trace", name)
	return found
}

// path walks from a span up to the client's own, and gives the names on the way.
func path(t *testing.T, byID map[string]*tracepb.Span, id []byte) (names []string) {
	t.Helper()
	for hex.EncodeToString(id) != clientSpan {
		span := byID[string(id)]
		require.NotNil(t, span, "the span %x is not there; on the way to it: %v", id, names)
		require.Equal(t, clientTrace, hex.EncodeToString(span.TraceId))
		names, id = append(names, span.Name), span.ParentSpanId
		require.Less(t, len(names), 20)
	}
	return names
}

// Without a configuration nothing is recorded, and the client's own trace context goes on through the log to the webhook, whichever
// way a command came.
func TestTraceIsHandedThrough(t *testing.T) {
	t.Parallel()
	r := newClosingRig(t)
	r.remove("/accounts/" + r.account)
	want := tracing.Context{Parent: clientParent, State: "vendor=1"}
	require.Equal(t, want, r.await("ACCOUNT.CLOSED"))

	nc := r.connect(t)
	other := call2[domain.AccountResource](r.caller, http.MethodPost, "/accounts",
		map[string]any{"account_group_id": r.group, "type": "TRADING", "name": "over NATS"}, http.StatusCreated).ID
	body := `{"command_id":"` + uuid.NewString() + `","client_id":"` + r.client + `","actor":"upstream","name":"durable"}`
	msg := nats.NewMsg(eventstore.CommandSubject("account", other, "rename"))
	msg.Data = []byte(body)
	fromNATS := tracing.Context{Parent: strings.Replace(clientParent, clientSpan, "00000000000000aa", 1)}
	fromNATS.Put(msg.Header)
	_, err := js(t, nc).PublishMsg(t.Context(), msg)
	require.NoError(t, err)
	require.Equal(t, fromNATS, r.await("ACCOUNT.UPDATED"))

	stored, err := js(t, nc).Stream(t.Context(), eventstore.StreamLog)
	require.NoError(t, err)
	commit, err := stored.GetLastMsgForSubject(t.Context(), eventstore.LogSubject("account", r.account))
	require.NoError(t, err)
	require.Equal(t, want, tracing.Stored(commit.Header))
	code, out, stderr := once(t, "", append([]string{"verify", "--json"}, r.at()...)...)
	require.Equal(t, exitDone, code, out+stderr)
}

// What cannot be done is said at the start, and not found out when a trace is missing.
func TestWrongTracing(t *testing.T) {
	for _, c := range []struct{ name, value, says string }{
		{"OTEL_TRACES_EXPORTER", "zipkin", "OTEL_TRACES_EXPORTER: must be otlp or none"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
			t.Setenv(c.name, c.value)
			code, _, stderr := once(t, "", "serve", "--http-addr", "127.0.0.1:0", "--nats-addr", "127.0.0.1:0", "--data", t.TempDir())
			require.Equal(t, exitUsage, code)
			require.Contains(t, stderr, c.says)
		})
	}
}

// A collector that is not there costs spans, and nothing else.
func TestNoCollector(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	r := newClosingRig(t)
	r.remove("/accounts/" + r.account)
	require.Equal(t, clientTrace, r.await("ACCOUNT.CLOSED").TraceID())
	require.Equal(t, exitDone, r.stop(), r.logs.String())
	require.Contains(t, r.logs.String(), "spans cannot be sent")
}
