package webhooks_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"closure/domain"
	"closure/eventstore/tracing"
	"closure/projections/webhooks"
	"closure/projections/webhooks/endpoint"
)

// Three traces of as many requests.
var traces = []tracing.Context{
	{Parent: "00-11111111111111111111111111111111-1111111111111111-01", State: "vendor=1"},
	{Parent: "00-22222222222222222222222222222222-2222222222222222-01"},
	{Parent: "00-33333333333333333333333333333333-3333333333333333-01"},
}

// Without a tracer the trace context of an event goes on to its endpoint as it is, and an event without one has no such header.
func TestTraceIsHandedOn(t *testing.T) {
	t.Parallel()
	for _, order := range []domain.WebhookOrder{domain.WebhookStrict, domain.WebhookByResource} {
		t.Run(string(order), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			var mu sync.Mutex
			var told []endpoint.Failure
			s := r.start(webhooks.Config{Attempted: func(out endpoint.Outcome) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, out.Failure)
			}})
			target := newReceiver(t, nil)
			sub := r.subscribe(s, target.URL, "ACCOUNT")
			r.update(s, sub.ID, func(w *domain.Webhook) { w.Config.Order = order })
			r.trace = traces[0]
			r.publish(domain.PublishedAccountClosed)
			got := target.await(1)
			require.Equal(t, traces[0].Parent, got[0].header.Get("traceparent"))
			require.Equal(t, traces[0].State, got[0].header.Get("tracestate"))
			r.trace = tracing.Context{}
			r.publish(domain.PublishedAccountClosed)
			got = target.await(2)
			require.NotContains(t, got[1].header, "Traceparent")
			require.NotContains(t, got[1].header, "Tracestate")
			r.awaitSettled(sub.ID)
			mu.Lock()
			defer mu.Unlock()
			require.Equal(t, []endpoint.Failure{"", ""}, told)
		})
	}
}

// A package shows in the trace of each of its events. The span in the trace of the first one made the request, and the others are
// linked with it.
func TestSpansOfAPackage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	spans := tracetest.NewSpanRecorder()
	s := r.start(webhooks.Config{Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")})
	target := newReceiver(t, nil)
	sub := r.subscribe(s, target.URL, "ACCOUNT")
	r.trace = traces[0]
	r.publish(domain.PublishedAccountClosed) // goes at once, and alone; what comes within the delay behind it goes together
	target.await(1)
	for _, trace := range append([]tracing.Context{{}}, append(traces, traces[1])...) {
		r.trace = trace
		r.publish(domain.PublishedAccountClosed)
	}
	target.awaitEvents(6)
	r.awaitSettled(sub.ID)
	carried := map[string]bool{}
	for _, q := range target.requests() {
		carried[q.header.Get("traceparent")] = true
	}
	require.Len(t, carried, len(target.requests()), "each request has a span of its own")
	linked := 0
	shown := map[string]bool{} // the traces
	for _, span := range spans.Ended() {
		require.Equal(t, "deliver webhook", span.Name())
		attributes := attribute.NewSet(span.Attributes()...)
		shown[span.SpanContext().TraceID().String()] = true
		status, _ := attributes.Value("http.response.status_code")
		require.EqualValues(t, 204, status.AsInt64())
		own := "00-" + span.SpanContext().TraceID().String() + "-" + span.SpanContext().SpanID().String() + "-01"
		if carried[own] {
			continue
		}
		linked++
		require.Len(t, span.Links(), 1)
		to := span.Links()[0].SpanContext
		require.True(t, carried["00-"+to.TraceID().String()+"-"+to.SpanID().String()+"-01"])
	}
	require.Positive(t, linked, "no package had events of two traces")
	for _, trace := range traces {
		require.True(t, shown[trace.TraceID()])
	}
}
