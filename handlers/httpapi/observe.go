package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"closure/eventstore/tracing"
	"closure/handlers/auth"
)

// Gate is what a request has to pass before it is carried out.
type Gate string

// The gates.
const (
	GateToken       Gate = "token"       // an access token that is good, and of the client that the request names
	GateScope       Gate = "scope"       // the scope that the call needs
	GateSignature   Gate = "signature"   // a signature that is good, for who has to sign
	GateCredentials Gate = "credentials" // a secret that is good, for an access token
	GateRate        Gate = "rate"        // the rate of the client
	GateInFlight    Gate = "in_flight"   // the bound on all requests
)

// Gates lists them.
func Gates() []Gate {
	return []Gate{GateToken, GateScope, GateSignature, GateCredentials, GateRate, GateInFlight}
}

// deny counts a request that a gate kept out, and gives the error back. That it cannot be told at present is no refusal.
func (a *api) deny(by Gate, err error) error {
	var refusal *auth.Error
	if errors.As(err, &refusal) && (refusal.Kind == auth.Unauthenticated || refusal.Kind == auth.Invalid) {
		a.denied(by)
	}
	return err
}

// traced begins the span of a request, in the trace that it came with. Probes and documents have none: they would be most of
// all traces.
func (a *api) traced(ctx context.Context, r *http.Request, req *request) (context.Context, trace.Span) {
	ctx = tracing.From(r.Header).In(ctx)
	if req.route.id == "" || req.route.anonymous {
		return ctx, trace.SpanFromContext(context.Background())
	}
	ctx, span := a.tracer.Start(ctx, req.route.id, trace.WithSpanKind(trace.SpanKindServer))
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("http.request.method", req.method), attribute.String("http.route", req.route.path),
			attribute.String("url.path", req.instance()), attribute.String("closure.request_id", req.id),
		)
	}
	return ctx, span
}

// observed tells how a request was answered. One whose connection was cut has no status.
func (a *api) observed(ctx context.Context, span trace.Span, req *request, status int, took time.Duration) {
	a.observe(req.route.id, status, took)
	if span.IsRecording() {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		failure := ""
		if status == 0 || status >= http.StatusInternalServerError {
			failure = http.StatusText(status)
		}
		tracing.End(span, failure)
	}
	if a.logger.Enabled(ctx, slog.LevelDebug) {
		a.logger.DebugContext(ctx, "answered a request", "request_id", req.id, "operation", req.route.id, "method", req.method,
			"path", req.instance(), "client_id", req.client, "status", status, "took", took)
	}
}
