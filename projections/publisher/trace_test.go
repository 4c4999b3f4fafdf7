package publisher

import (
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"closure/domain"
	"closure/eventstore/tracing"
)

var someTrace = tracing.Context{Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", State: `a=%"1`}

// Without a tracer an event carries the trace context of its commit, in both headers. An event of a commit without one has none.
func TestTraceIsHandedOn(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	a.trace = someTrace
	a.open()
	a.trace = tracing.Context{}
	a.write(someGroup, &domain.Lock{})
	p := a.start(Config{})
	a.caughtUp(p)
	out := a.out()
	last := out[len(out)-1]
	require.Equal(t, domain.PublishedGroupLocked, last.Header.Get(headerType))
	require.NotContains(t, last.Header, "traceparent")
	require.NotContains(t, last.Header, "ce-traceparent")
	for _, msg := range out[:len(out)-1] {
		require.Equal(t, someTrace, tracing.Stored(msg.Header))
		require.Equal(t, someTrace.Parent, msg.Header.Get("ce-traceparent"))
		require.Equal(t, "a=%25%221", msg.Header.Get("ce-tracestate"), "as the binding asks for")
	}
	require.Greater(t, len(out), 1)
}

// With one, each event has a span of its own, in the trace of its commit.
func TestSpansOfEvents(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	a.trace = someTrace
	a.open()
	spans := tracetest.NewSpanRecorder()
	p := a.start(Config{Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")})
	a.caughtUp(p)
	out := a.out()
	require.Len(t, spans.Ended(), len(out))
	require.NotEmpty(t, out)
	for i, span := range spans.Ended() {
		require.Equal(t, "publish "+out[i].Header.Get(headerType), span.Name())
		require.Equal(t, "b7ad6b7169203331", span.Parent().SpanID().String())
		require.Equal(t, "00-0af7651916cd43dd8448eb211c80319c-"+span.SpanContext().SpanID().String()+"-01", out[i].Header.Get("traceparent"))
		require.Equal(t, out[i].Header.Get("traceparent"), out[i].Header.Get("ce-traceparent"))
	}
}
