package tracing_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/eventstore/tracing"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// A context survives the way through headers, and a tracer that records nothing hands it on.
func TestHandedOn(t *testing.T) {
	for name, header := range map[string]map[string][]string{
		"NATS": {"traceparent": {parent}, "tracestate": {"a=1,b=2"}},
		"HTTP": {"Traceparent": {parent}, "Tracestate": {"a=1,b=2"}},
	} {
		c := tracing.From(header)
		require.Equal(t, tracing.Context{Parent: parent, State: "a=1,b=2"}, c, name)
		ctx, span := tracing.None().Start(c.In(t.Context()), "work")
		require.Equal(t, c, tracing.Of(ctx), name)
		require.False(t, span.IsRecording())
		out := map[string][]string{}
		tracing.Of(ctx).Put(out)
		require.Equal(t, c, tracing.Stored(out))
		require.Equal(t, parent[3:35], c.TraceID())
	}
}

// What is no trace context is none, and nothing of it goes on.
func TestNone(t *testing.T) {
	for _, value := range []string{
		"", "x", parent + "x", strings.ToUpper(parent), "ff" + parent[2:], "00-" + strings.Repeat("0", 32) + parent[35:],
		parent[:36] + strings.Repeat("0", 16) + "-01", "00-0af7651916cd43dd8448eb211c80319c", strings.Repeat("9", 1<<16),
	} {
		require.Zero(t, tracing.From(map[string][]string{"traceparent": {value}, "tracestate": {"a=1"}}), value)
		ctx := tracing.Context{Parent: value}.In(t.Context())
		require.Zero(t, tracing.Of(ctx), value)
	}
	require.Equal(t, tracing.Context{Parent: parent}, tracing.From(map[string][]string{"traceparent": {"01" + parent[2:] + "-" + strings.Repeat("9", 1000)}}),
		"of a version to come, what this one has")
	require.Zero(t, tracing.Of(context.Background()))
	require.Empty(t, tracing.Context{}.TraceID())
	header := map[string][]string{"traceparent": {parent}, "other": {"stays"}}
	tracing.Context{}.Put(header)
	require.Equal(t, map[string][]string{"other": {"stays"}}, header)
}

// A trace state that is too long, or that is none, is left out, and the trace goes on.
func TestStates(t *testing.T) {
	for _, state := range []string{"a=" + strings.Repeat("x", 511), "a=" + strings.Repeat("x", 100_000)} {
		require.Equal(t, tracing.Context{Parent: parent}, tracing.From(map[string][]string{"traceparent": {parent}, "tracestate": {state}}))
	}
	c := tracing.From(map[string][]string{"traceparent": {parent}, "tracestate": {"a=" + strings.Repeat("x", 200)}})
	require.Equal(t, c, tracing.Of(c.In(t.Context())))
	c = tracing.From(map[string][]string{"traceparent": {parent}, "tracestate": {"not a state"}})
	require.Equal(t, tracing.Context{Parent: parent}, tracing.Of(c.In(t.Context())))
}

// BenchmarkNone is what a command pays for its three spans when nothing is recorded, in a trace and in none.
func BenchmarkNone(b *testing.B) {
	tracer := tracing.None()
	for name, c := range map[string]tracing.Context{"untraced": {}, "traced": {Parent: parent}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ctx := c.In(b.Context())
				for range 3 {
					_, span := tracer.Start(ctx, "command")
					if span.IsRecording() {
						b.Fatal("recorded")
					}
				}
				_ = tracing.Of(ctx)
			}
		})
	}
}
