package publisher

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	attributes "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"closure/eventstore/tracing"
)

const (
	// maxBatch is half of what the server takes in one atomic batch.
	maxBatch = 500
	// fewEvents is up to where single publishes, each with its fsync, are quicker than one atomic batch: about 0.5 to 1 ms for
	// each against 15 to 20 ms for the staging store of a batch of any size (BenchmarkPublish).
	fewEvents = 32
	// lookups is how many subjects are looked up at a time.
	lookups = 32
)

// publish writes events in their order. A guard that fails (another publisher was quicker) is an error: the follower
// comes again, and the look-up then shows what is there.
func (p *Publisher) publish(ctx context.Context, events []event) error {
	for len(events) > 0 {
		n := min(len(events), maxBatch)
		if err := p.publishRun(ctx, events[:n]); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

func (p *Publisher) publishRun(ctx context.Context, events []event) error {
	last, err := p.lastOf(ctx, events)
	if err != nil {
		return err
	}
	var missing []event
	for _, e := range events {
		if last[e.msg.Subject].from.before(e.from) {
			missing = append(missing, e)
		}
	}
	published := p.traced(ctx, missing)
	if len(missing) <= fewEvents {
		err = p.publishSingly(ctx, missing, last)
	} else {
		err = p.publishBatch(ctx, missing, last)
	}
	published(err)
	return err
}

// traced begins a span for each event, in the trace of its commit, and has the event carry it.
func (p *Publisher) traced(ctx context.Context, events []event) (published func(error)) {
	var spans []trace.Span
	for _, e := range events {
		if !e.trace.Valid() {
			continue
		}
		ctx, span := p.cfg.Tracer.Start(e.trace.In(ctx), "publish "+e.msg.Header.Get(headerType), trace.WithSpanKind(trace.SpanKindProducer))
		e.carry(tracing.Of(ctx))
		if span.IsRecording() {
			span.SetAttributes(
				attributes.String("messaging.system", "nats"), attributes.String("messaging.operation.type", "send"),
				attributes.String("messaging.destination.name", e.msg.Subject), attributes.String("messaging.message.id", e.msg.Header.Get(headerID)),
			)
			spans = append(spans, span)
		}
	}
	return func(err error) {
		failure := ""
		if err != nil {
			failure = "not published"
		}
		for _, span := range spans {
			tracing.End(span, failure)
		}
	}
}

// published is the last event on a subject: its sequence in CLOSURE_EVENTS (0 for none), and where it came from.
type published struct {
	sequence uint64
	from     place
}

// lastOf looks up what stands on the subjects of the events.
func (p *Publisher) lastOf(ctx context.Context, events []event) (map[string]published, error) {
	found := make([]published, len(events))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for i, e := range events {
		g.Go(func() error {
			var err error
			found[i], err = last(ctx, p.stream, e.msg.Subject)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	bySubject := make(map[string]published, len(events))
	for i, e := range events {
		bySubject[e.msg.Subject] = found[i]
	}
	return bySubject, nil
}

func last(ctx context.Context, stream jetstream.Stream, subject string) (published, error) {
	msg, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return published{}, nil
	}
	if err != nil {
		return published{}, fmt.Errorf("last event on %s: %w", subject, err)
	}
	sequence, err := strconv.ParseUint(msg.Header.Get(headerLogSequence), 10, 64)
	if err != nil {
		return published{}, fmt.Errorf("event %d on %s was not written by a publisher: %s: %w", msg.Sequence, subject, headerLogSequence, err)
	}
	index, err := strconv.Atoi(msg.Header.Get(headerIndex))
	if err != nil {
		return published{}, fmt.Errorf("event %d on %s was not written by a publisher: %s: %w", msg.Sequence, subject, headerIndex, err)
	}
	return published{sequence: msg.Sequence, from: place{sequence, index}}, nil
}

// publishSingly waits for each acknowledgement before the next event, so that none can overtake another.
func (p *Publisher) publishSingly(ctx context.Context, events []event, last map[string]published) error {
	for _, e := range events {
		guard := last[e.msg.Subject].sequence
		ack, err := p.js.PublishMsg(ctx, e.msg, jetstream.WithExpectLastSequencePerSubject(guard))
		if err != nil {
			return fmt.Errorf("publish %s: %w", e.msg.Subject, err)
		}
		if ack.Duplicate {
			// The look-up says that it is not there, and the server that it was: somebody removed it. It was not stored again.
			return fmt.Errorf("publish %s: the server takes %s for a repetition", e.msg.Subject, e.msg.Header.Get(headerID))
		}
		last[e.msg.Subject] = published{sequence: ack.Sequence, from: e.from}
	}
	return nil
}

// publishBatch writes all events or none, with one fsync. The guard stands on the first event of each subject: within
// a batch a later one cannot have it, and needs none.
func (p *Publisher) publishBatch(ctx context.Context, events []event, last map[string]published) error {
	msgs := make([]*nats.Msg, 0, len(events))
	guarded := map[string]bool{}
	for _, e := range events {
		if !guarded[e.msg.Subject] {
			guarded[e.msg.Subject] = true
			e.msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(last[e.msg.Subject].sequence, 10))
		}
		msgs = append(msgs, e.msg)
	}
	if _, err := jetstreamext.PublishMsgBatch(ctx, p.js, msgs); err != nil {
		return fmt.Errorf("publish a batch of %d events: %w", len(msgs), err)
	}
	return nil
}
