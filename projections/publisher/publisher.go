// Package publisher turns commits of CLOSURE_LOG into the published events of CLOSURE_EVENTS: each once, in the order of
// the log, as CloudEvents 1.0 (CONTRACT: A published event).
//
// Exactly once rests on the output alone. Every event goes to the subject of its resource and type under a guard: the
// publisher looks up the last event on that subject, skips what is already there, and else publishes on the condition
// that the subject is still as it was seen. So a publisher that repeats itself after a crash, or a second one that
// runs by mistake, is refused and writes nothing twice. The guard is per subject and not on the whole stream, since
// others write to the stream, too (COMMAND.REJECTED): a flood of refused commands must not hold up closed events.
package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
	"closure/eventstore/retry"
)

// Config of a Publisher.
type Config struct {
	Log *eventstore.Log
	// Replicas of CLOSURE_EVENTS. Defaults to 1.
	Replicas int
	Logger   *slog.Logger
}

// Publisher follows the log; one of all engines is active at a time.
type Publisher struct {
	cfg      Config
	js       jetstream.JetStream
	stream   jetstream.Stream // set by Start
	states   *replay.Tracker
	follower *eventstore.Follower
}

// New makes a publisher. Start starts it.
func New(cfg Config) *Publisher {
	p := &Publisher{cfg: cfg, js: cfg.Log.JetStream(), states: replay.NewTracker(cfg.Log, 0)}
	p.follower = eventstore.NewFollower(cfg.Log, eventstore.FollowerConfig{Name: "publisher", Handle: p.handle, Logger: cfg.Logger})
	return p
}

// StreamConfig is how CLOSURE_EVENTS is kept: in files, for ever, so that a consumer that starts a year later gets everything.
func StreamConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        eventstore.StreamEvents,
		Description: "closure: published events (CloudEvents 1.0). Subscribe to it, never write it.",
		Subjects:    []string{eventstore.EventSubjects},
		Retention:   jetstream.LimitsPolicy,
		Storage:     jetstream.FileStorage,
		Replicas:    max(replicas, 1),
		AllowDirect: true,
		// A publisher that is behind writes many events for one fsync.
		AllowAtomicPublish: true,
	}
}

// EnsureStream creates CLOSURE_EVENTS, or brings it to the settings of StreamConfig. It waits for a cluster that has just started.
func EnsureStream(ctx context.Context, js jetstream.JetStream, replicas int) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, retry.StartWithin)
	defer cancel()
	stream, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.Stream, error) {
		return js.CreateOrUpdateStream(ctx, StreamConfig(replicas))
	})
	if err != nil {
		return nil, eventstore.Unavailable("stream "+eventstore.StreamEvents, err)
	}
	return stream, nil
}

// Start creates the stream when it is missing, and follows the log until Stop.
func (p *Publisher) Start(ctx context.Context) error {
	stream, err := EnsureStream(ctx, p.js, p.cfg.Replicas)
	if err != nil {
		return err
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

// handle publishes a run of commits. The follower repeats it, whole, after an error; what is there by then is skipped. A
// commit that cannot be read ends the run, and what stands before it is published all the same.
func (p *Publisher) handle(ctx context.Context, commits []eventstore.Recorded) error {
	var events []event
	for _, c := range commits {
		more, err := p.eventsOf(ctx, c)
		if err != nil {
			return errors.Join(p.publish(ctx, events), err)
		}
		events = append(events, more...)
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

// event is a message for CLOSURE_EVENTS, and the place in the log that it comes from.
type event struct {
	msg  *nats.Msg
	from place
}

// place is where an event stands in the log: the sequence of its commit, and its index there.
type place struct {
	sequence uint64
	index    int
}

func (p place) before(other place) bool {
	return p.sequence < other.sequence || (p.sequence == other.sequence && p.index < other.index)
}

// Headers of a published event. The names are those of the CloudEvents NATS binding, in its lower case.
const (
	headerSpecVersion = "ce-specversion"
	headerID          = "ce-id"
	headerSource      = "ce-source"
	headerType        = "ce-type"
	headerSubject     = "ce-subject"
	headerTime        = "ce-time"
	headerClientID    = "ce-clientid"
	headerLogSequence = "ce-logsequence"
	headerContentType = "content-type"
	// headerIndex is ours: the event's index in its commit. With the log's sequence it orders events.
	headerIndex = "closure-index"
)

// EventID is the stable id of the event with the index in a commit.
func EventID(commitID string, index int) string {
	return domain.DeriveID("event", commitID, fmt.Sprint(index))
}

func cloudEvent(c eventstore.Recorded, p domain.Publication) (event, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	// As the log and the HTTP answers have it: a name with an & is to be read by people, too.
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p.Body); err != nil {
		return event{}, fmt.Errorf("event %s of commit %s: %w", p.Type, c.ID, err)
	}
	msg := nats.NewMsg(eventstore.EventSubject(c.ClientID, p.Type, p.ResourceID))
	msg.Data = bytes.TrimSuffix(body.Bytes(), []byte("\n"))
	id := EventID(c.ID, p.Index)
	for name, value := range map[string]string{
		headerSpecVersion: "1.0", headerID: id, headerSource: "/closure", headerType: p.Type, headerSubject: p.ResourceID,
		headerTime: c.Time.UTC().Format(time.RFC3339Nano), headerClientID: c.ClientID,
		headerLogSequence: fmt.Sprint(c.Sequence), headerIndex: fmt.Sprint(p.Index), headerContentType: "application/json",
		jetstream.MsgIDHeader: id,
	} {
		msg.Header.Set(name, value)
	}
	return event{msg: msg, from: place{c.Sequence, p.Index}}, nil
}
