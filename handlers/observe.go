package handlers

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/tracing"
)

// Observation is what became of one command, for who counts them. It has no ids in it.
type Observation struct {
	Aggregate domain.Kind
	Command   string
	// Result is Accepted or Unchanged; "" with a Problem.
	Result Result
	// Refused tells a command that the domain refused from one that failed.
	Refused bool
	// Problem is why there is no result: of a refusal the kind; else unavailable, internal, and so on. "" with a Result.
	Problem Slug
	// Took is how long it took, the waiting for its turn included.
	Took time.Duration
}

func (e *Engine) observed(c domain.Command, out Outcome, err error, took time.Duration) {
	if e.observe == nil {
		return
	}
	o := Observation{Aggregate: c.Target.Kind, Command: c.Payload.CommandName(), Result: out.Result, Took: took}
	if err != nil {
		o.Result, o.Problem = "", SlugOf(err)
		o.Refused = refused(err)
	}
	e.observe(o)
}

// refused tells whether an error is the domain's last word, and nothing that may pass.
func refused(err error) bool {
	var refusal *domain.Refusal
	return errors.As(err, &refusal) && SlugOf(err) == Slug(refusal.Kind)
}

// traced begins the span of a command.
func (e *Engine) traced(ctx context.Context, c domain.Command) (context.Context, trace.Span) {
	ctx, span := e.tracer.Start(ctx, string(c.Target.Kind)+" "+c.Payload.CommandName())
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("closure.aggregate", string(c.Target.Kind)), attribute.String("closure.aggregate_id", c.Target.ID),
			attribute.String("closure.command", c.Payload.CommandName()), attribute.String("closure.command_id", c.ID),
			attribute.String("closure.correlation_id", c.CorrelationID),
		)
	}
	return ctx, span
}

func endTraced(span trace.Span, out Outcome, err error) {
	if !span.IsRecording() {
		return
	}
	if err != nil {
		slug := string(SlugOf(err))
		span.SetAttributes(attribute.String("closure.problem", slug))
		if refused(err) { // an answer like any other
			slug = ""
		}
		tracing.End(span, slug)
		return
	}
	span.SetAttributes(attribute.String("closure.result", string(out.Result)), attribute.Int64("closure.sequence", int64(out.Sequence)))
	tracing.End(span, "")
}

// decide is the decision, in a span of its own.
func (e *Engine) decide(ctx context.Context, c domain.Command, state domain.Aggregate) ([]domain.Event, domain.Aggregate, error) {
	_, span := e.tracer.Start(ctx, "decide")
	events, next, err := state.DecideNext(c)
	if span.IsRecording() {
		span.SetAttributes(attribute.Int("closure.events", len(events)))
		tracing.End(span, "")
	}
	return events, next, err
}

// append is the append, in a span of its own, which is the one that the commit is stored with.
func (e *Engine) append(ctx context.Context, c eventstore.Commit, head eventstore.Head) (eventstore.Recorded, error) {
	ctx, span := e.tracer.Start(ctx, "append", trace.WithSpanKind(trace.SpanKindProducer))
	recorded, err := e.log.Append(ctx, c, head)
	switch {
	case !span.IsRecording():
	case errors.Is(err, eventstore.ErrConflict):
		tracing.End(span, "conflict")
	case err != nil:
		tracing.End(span, string(SlugOf(err)))
	default:
		span.SetAttributes(attribute.Int64("closure.sequence", int64(recorded.Sequence)))
		tracing.End(span, "")
	}
	return recorded, err
}
