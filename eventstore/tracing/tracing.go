// Package tracing carries a W3C trace context (https://www.w3.org/TR/trace-context/) through what is stored: from the request that
// a command came with, by the headers of the log and of the published events, to the request of a webhook.
//
// A trace context is handed on whether spans are recorded here or not, so that whoever traces around the engine sees through it.
// Spans are made by OpenTelemetry, on the tracer that the program gives; without one nothing is recorded.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// The headers, as they stand in NATS messages; in HTTP, their case does not count.
const (
	HeaderParent = "traceparent"
	HeaderState  = "tracestate"
)

// maxState bounds a trace state that is handed on, in bytes: so much the standard asks for. A longer one is left out, as it allows:
// it would take the room of the commit.
const maxState = 512

// Context is a trace context as it stands in headers. The zero value is none.
type Context struct {
	Parent string // version, trace id, span id and flags: 55 characters
	State  string // of vendors; "" for none
}

var w3c propagation.TraceContext

// Of is the trace context of the span in a context.
func Of(ctx context.Context) Context {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return Context{}
	}
	var c Context
	w3c.Inject(ctx, &c)
	if len(c.State) > maxState {
		c.State = ""
	}
	return c
}

// Stored reads the headers of a message that the engine has written. What others may have written is for From.
func Stored(header map[string][]string) Context {
	return Context{Parent: first(header, HeaderParent), State: first(header, HeaderState)}
}

// From reads the headers of a request or of a message from outside. What is no trace context is none; what is one is written anew,
// so that nothing else goes on with it.
func From(header map[string][]string) Context {
	c := Context{Parent: either(header, HeaderParent, "Traceparent"), State: either(header, HeaderState, "Tracestate")}
	if len(c.State) > maxState {
		c.State = ""
	}
	return Of(c.In(context.Background()))
}

// Valid tells whether it is one.
func (c Context) Valid() bool { return c.Parent != "" }

// TraceID is the id of the trace, 32 hex digits, of what stands in the headers; "" for none.
func (c Context) TraceID() string {
	const version, id = len("00-"), 32
	if len(c.Parent) < version+id {
		return ""
	}
	return c.Parent[version : version+id]
}

// In gives a context in which it is the parent of the next span.
func (c Context) In(ctx context.Context) context.Context {
	if span := c.span(); span.IsValid() {
		return trace.ContextWithRemoteSpanContext(ctx, span)
	}
	return ctx
}

// Link links a span to it.
func (c Context) Link() trace.Link { return trace.Link{SpanContext: c.span()} }

func (c Context) span() trace.SpanContext {
	if c.Parent == "" {
		return trace.SpanContext{}
	}
	return trace.SpanContextFromContext(w3c.Extract(context.Background(), &c))
}

// Put writes it into the headers of a NATS message. None takes away what stands there.
func (c Context) Put(header map[string][]string) {
	set := func(name, value string) {
		if value == "" {
			delete(header, name)
			return
		}
		header[name] = []string{value}
	}
	set(HeaderParent, c.Parent)
	set(HeaderState, c.State)
}

// Get, Set and Keys make it a carrier for OpenTelemetry.
func (c *Context) Get(name string) string {
	switch name {
	case HeaderParent:
		return c.Parent
	case HeaderState:
		return c.State
	}
	return ""
}

// Set is for OpenTelemetry.
func (c *Context) Set(name, value string) {
	switch name {
	case HeaderParent:
		c.Parent = value
	case HeaderState:
		c.State = value
	}
}

// Keys is for OpenTelemetry.
func (c *Context) Keys() []string { return []string{HeaderParent, HeaderState} }

func first(header map[string][]string, name string) string {
	if values := header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func either(header map[string][]string, name, other string) string {
	if value := first(header, name); value != "" {
		return value
	}
	return first(header, other)
}

// None is a tracer that records nothing, and hands trace contexts on.
func None() trace.Tracer { return noop.NewTracerProvider().Tracer("") }

// End ends a span; with an error it says which class of failure it was. The text of an error stays in the log: it may have in it
// what is not for those who read traces.
func End(span trace.Span, failure string) {
	if failure != "" {
		span.SetStatus(codes.Error, failure)
	}
	span.End()
}
