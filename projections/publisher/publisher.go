// Package publisher turns commits of CLOSURE_LOG into the published events of CLOSURE_EVENTS: each once, in the order of
// the log, as CloudEvents 1.0 (CONTRACT: A published event).
//
// Exactly once rests on the output alone. Every event goes to the subject of its resource and type under a guard: the
// publisher looks up the last event on that subject, skips what is already there, and else publishes on the condition
// that the subject is still as it was seen. So a publisher that repeats itself after a crash, or a second one that
// runs by mistake, is refused and writes nothing twice. The guard is per subject and not on the whole stream, since
// others write to the stream, too (COMMAND.REJECTED): a flood of refused commands must not hold up closed events.
//
// A slow disk makes Lag grow, and not the memory. However long the backlog is, a publisher holds the commits that were
// delivered and wait (1024 at most, and 16 MiB at most), one run of 256 commits at most that it is at, the events of that run as far as they
// are not written (of 8 MiB and one commit at most), and the states of the 10,000 aggregates that it met last.
package publisher

import (
	"context"
	"errors"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
	"closure/eventstore/tracing"
)

// Config of a Publisher.
type Config struct {
	Log *eventstore.Log
	// Replicas of CLOSURE_EVENTS when it is created; one that exists has to have as many at least. Defaults to 1.
	Replicas int
	// Tracer makes a span of every event that is published. Defaults to none: the trace context of the commit is handed on.
	Tracer trace.Tracer
	// Logger for what an operator may want to know. Defaults to none.
	Logger *slog.Logger
}

// Publisher follows the log; one of all engines is active at a time.
type Publisher struct {
	cfg      Config
	js       jetstream.JetStream
	stream   jetstream.Stream // set by Start
	hold     int              // holdBytes, but in tests
	states   *replay.Tracker
	follower *eventstore.Follower
}

// New makes a publisher. Start starts it.
func New(cfg Config) *Publisher {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Tracer == nil {
		cfg.Tracer = tracing.None()
	}
	p := &Publisher{cfg: cfg, js: cfg.Log.JetStream(), hold: holdBytes, states: replay.NewTracker(cfg.Log, 0)}
	p.follower = eventstore.NewFollower(cfg.Log, eventstore.FollowerConfig{Name: "publisher", Handle: p.handle, Logger: cfg.Logger})
	return p
}

// Start creates the stream when it is missing, or checks it, and follows the log until Stop.
func (p *Publisher) Start(ctx context.Context) error {
	stream, err := EnsureStream(ctx, p.js, p.cfg.Replicas)
	if err != nil {
		return err
	}
	if gaps := gapsIn(stream.CachedInfo().State); gaps != "" {
		// The log has it all the same; but who begins now does not get everything from this stream.
		p.cfg.Logger.Warn("events are missing in "+eventstore.StreamEvents+", and no consumer gets them any more", "gaps", gaps)
	}
	p.stream = stream
	return p.follower.Start(ctx)
}

// Stop finishes what is in hand.
func (p *Publisher) Stop(ctx context.Context) error { return p.follower.Stop(ctx) }

// Position is the last commit whose events are all published, as far as this instance knows.
func (p *Publisher) Position() uint64 { return p.follower.Position() }

// WaitFor waits until the commit with the sequence is published by this instance.
func (p *Publisher) WaitFor(ctx context.Context, seq uint64) error {
	return p.follower.WaitFor(ctx, seq)
}

// Lag is how many commits of the log are not yet published.
func (p *Publisher) Lag(ctx context.Context) (uint64, error) { return p.follower.Lag(ctx) }

// holdBytes is how much of events waits at most for the rest of a run: what a run tells the world may be many times larger than
// the run itself, since each event shows its resource in full.
const holdBytes = 8 << 20

// handle publishes a run of commits. The follower repeats it, whole, after an error; what is there by then is skipped. A
// commit that cannot be read ends the run, and what stands before it is published all the same.
func (p *Publisher) handle(ctx context.Context, commits []eventstore.Recorded) error {
	var events []event
	held := 0
	for _, c := range commits {
		more, err := p.eventsOf(ctx, c)
		if err != nil {
			return errors.Join(p.publish(ctx, events), err)
		}
		events = append(events, more...)
		for _, e := range more {
			held += len(e.msg.Data)
		}
		if held < p.hold {
			continue
		}
		if err := p.publish(ctx, events); err != nil {
			return err
		}
		events, held = nil, 0
	}
	return p.publish(ctx, events)
}

// eventsOf gives what a commit tells the world.
func (p *Publisher) eventsOf(ctx context.Context, c eventstore.Recorded) ([]event, error) {
	after, decided, err := p.states.After(ctx, c)
	if err != nil {
		return nil, err
	}
	var events []event
	for _, publication := range domain.Publish(after, decided) {
		e, err := cloudEvent(c, publication)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}
