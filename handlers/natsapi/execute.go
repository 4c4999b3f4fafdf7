package natsapi

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"closure/domain"
	"closure/eventstore/tracing"
	"closure/handlers"
)

// request is a command as it came, by either way.
type request struct {
	subject                string // as the client sent it
	aggregate, id, command string // its tokens
	refusal                error  // when the subject does not have them
	body                   []byte
	way                    string // rpc or inbox
	trace                  tracing.Context
}

// execute reads and does a command once, within its time. A panic is an internal error. What is returned with an error
// says whose command it was, as far as that could be read.
func (s *Service) execute(r request) (c domain.Command, out handlers.Outcome, err error) {
	defer recovered(&err)
	c, err = ParseCommand(r.aggregate, r.id, r.command, r.body)
	if r.refusal != nil {
		return c, out, r.refusal
	}
	if err != nil {
		return c, out, err
	}
	if r.way == "rpc" {
		leave, ok := s.shares.take(c.ClientID)
		if !ok {
			return c, out, errShare
		}
		defer leave()
	}
	ctx, cancel := context.WithTimeoutCause(s.working, s.commandTime, errTimeUp)
	defer cancel()
	ctx, span := s.traced(ctx, r, c)
	defer func() { endTraced(span, err) }()
	out, err = s.cfg.Engine.Do(ctx, c)
	var refusal *domain.Refusal
	if err != nil && !errors.As(err, &refusal) && !transient(err) && errors.Is(context.Cause(ctx), errTimeUp) {
		err = fmt.Errorf("%w: %w", errTimeUp, err)
	}
	return c, out, err
}

// logFailure tells the operator what the client is not told.
func (s *Service) logFailure(r request, c domain.Command, err error) {
	s.log.ErrorContext(r.trace.In(s.working), "a command failed for an internal reason", "subject", r.subject,
		"command_id", c.ID, "client_id", c.ClientID, "request_id", c.RequestID, "correlation_id", c.CorrelationID, "error", err)
}

// traced begins the span of one execution, in the trace that the command came with.
func (s *Service) traced(ctx context.Context, r request, c domain.Command) (context.Context, trace.Span) {
	kind := trace.SpanKindServer
	if r.way != "rpc" {
		kind = trace.SpanKindConsumer
	}
	ctx, span := s.cfg.Tracer.Start(r.trace.In(ctx), r.way+" "+r.command, trace.WithSpanKind(kind))
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", r.subject),
			attribute.String("closure.command_id", c.ID), attribute.String("closure.request_id", c.RequestID),
			attribute.String("closure.correlation_id", c.CorrelationID),
		)
	}
	return ctx, span
}

func endTraced(span trace.Span, err error) {
	failure := ""
	if err != nil && (transient(err) || slugOf(err) == handlers.InternalError) {
		failure = string(slugOf(err))
	}
	tracing.End(span, failure)
}
