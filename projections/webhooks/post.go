package webhooks

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"closure/eventstore/tracing"
	"closure/projections/webhooks/endpoint"
)

// maxTraces bounds the traces in which the span of a package shows.
const maxTraces = 128

// post makes one request to the endpoint of a subscription, with a package whose body is given. It carries the trace context of
// the first event that has one.
func (s *Service) post(sub subscription, p *parcel, body []byte) endpoint.Outcome {
	// The sender has a bound of its own, which says more when it is reached.
	ctx, cancel := context.WithTimeout(s.working, s.cfg.RequestTimeout+time.Second)
	defer cancel()
	messageID := p.id(sub.ID)
	ctx, ended := s.traced(ctx, sub, p, messageID)
	request := endpoint.Request{URL: sub.URL, Body: body, Header: http.Header{"Content-Type": {"application/json"}}}
	if t := tracing.Of(ctx); t.Valid() {
		request.Header.Set(tracing.HeaderParent, t.Parent)
		if t.State != "" {
			request.Header.Set(tracing.HeaderState, t.State)
		}
	}
	if s.cfg.Signer != nil {
		request.Sign = func(r *http.Request) error {
			return s.cfg.Signer.Sign(r, body, messageID, sub.Secrets, time.Now()) // receivers compare it with their clock
		}
	}
	out := s.sender.Post(ctx, request)
	s.cfg.Attempted(out)
	ended(out)
	return out
}

// traced begins the span of an attempt, in the trace of the first event that has one. The package may have events of other traces:
// each of these gets a span, too, so that it shows where its events went; they are linked with the one that made the request.
// The URL is in none of them: there may be a secret of the client in that.
func (s *Service) traced(ctx context.Context, sub subscription, p *parcel, messageID string) (context.Context, func(endpoint.Outcome)) {
	parents := p.traces()
	var links []trace.Link
	for _, other := range parents[1:] {
		links = append(links, other.Link())
	}
	start := func(parent tracing.Context, links ...trace.Link) (context.Context, trace.Span) {
		return s.cfg.Tracer.Start(parent.In(ctx), "deliver webhook", trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(links...),
			trace.WithAttributes(
				attribute.String("http.request.method", http.MethodPost), attribute.String("closure.webhook_id", sub.ID),
				attribute.String("messaging.message.id", messageID), attribute.Int("messaging.batch.message_count", len(p.items)),
			))
	}
	request, span := start(parents[0], links...)
	if !span.IsRecording() {
		return request, func(endpoint.Outcome) {}
	}
	spans := []trace.Span{span}
	for _, other := range parents[1:] {
		_, span := start(other, trace.LinkFromContext(request))
		spans = append(spans, span)
	}
	return request, func(out endpoint.Outcome) {
		for _, span := range spans {
			if out.Status != 0 {
				span.SetAttributes(attribute.Int("http.response.status_code", out.Status))
			}
			tracing.End(span, string(out.Failure))
		}
	}
}

// traces are those of the events, each once, as their first event has it; there is one at least, which may be none.
func (p *parcel) traces() []tracing.Context {
	var out []tracing.Context
	seen := map[string]bool{}
	for _, it := range p.items {
		if id := it.trace.TraceID(); id != "" && !seen[id] && len(out) < maxTraces {
			seen[id] = true
			out = append(out, it.trace)
		}
	}
	if len(out) == 0 {
		return []tracing.Context{{}}
	}
	return out
}
