package webhooks

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/retry"
)

// findWithin bounds the search for an event.
const findWithin = time.Minute

// ReplayFrom says where a replay begins: at a time or at an event; one of them.
type ReplayFrom struct {
	Time    time.Time // the first event that was published then or later
	EventID string    // that event
}

// Replay has a subscription get its events again, from a time or an event on, in their order. It takes effect at once, and
// what was not delivered yet keeps its place in that order: nothing that waits is passed over by a replay from a later point.
// A time before the subscription's creation means its first event.
//
// To find an event by its id all events of the client are read, up to that one: some hundred thousand a second. Errors:
// *domain.Refusal (NotFound, Invalid), eventstore.ErrUnavailable, after which it may have begun.
func (s *Service) Replay(ctx context.Context, clientID, id string, from ReplayFrom) error {
	id, err := checkID(clientID, id)
	if err != nil {
		return err
	}
	sub, err := s.read(ctx, clientID, id)
	if err != nil {
		return err
	}
	sequence, err := s.replaySequence(ctx, sub, from)
	if err != nil {
		return err
	}
	order := replayOrder{ID: uuid.NewString(), From: sequence}
	_, err = s.change(ctx, clientID, id, func(sub *subscription) error {
		sub.Replay = order
		return nil
	})
	return err
}

func (s *Service) replaySequence(ctx context.Context, sub subscription, from ReplayFrom) (uint64, error) {
	switch {
	case (from.EventID == "") == from.Time.IsZero():
		return 0, invalid("from", "must be either a time or the id of an event")
	case from.EventID == "":
		return s.sequenceAt(ctx, sub.clientID, from.Time)
	}
	it, err := s.find(ctx, sub, from.EventID)
	if err != nil {
		return 0, err
	}
	if it.seq < sub.FromSequence {
		return 0, invalid("from", "the event %s is from before the webhook was created; its first event is the earliest that can be replayed", it.ID)
	}
	return it.seq, nil
}

// sequenceAt is the first sequence of the client's events that were published at a time or later; when there is none, the
// next that will be.
func (s *Service) sequenceAt(ctx context.Context, clientID string, at time.Time) (uint64, error) {
	next, err := s.nextSequence(ctx) // first: what is published meanwhile is behind it
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	messages, err := jetstreamext.GetBatch(ctx, s.js, eventstore.StreamEvents, 1,
		jetstreamext.GetBatchSubject(eventstore.EventFilter(clientID, "")), jetstreamext.GetBatchStartTime(at))
	if err != nil {
		return 0, eventstore.Unavailable("find where a replay begins", err)
	}
	for msg, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return 0, eventstore.Unavailable("find where a replay begins", err)
		}
		return msg.Sequence, nil
	}
	return next, nil
}

// find reads an event of a client.
func (s *Service) find(ctx context.Context, sub subscription, eventID string) (*item, error) {
	if _, err := domain.ParseID(eventID); err != nil {
		return nil, invalid("event", "must be the id of an event, which is a uuid, got %s", domain.Quote(eventID))
	}
	ctx, cancel := context.WithTimeout(ctx, findWithin)
	defer cancel()
	var found uint64
	err := s.eachMessage(ctx, eventstore.StreamEvents, eventstore.EventFilter(sub.clientID, ""), true, func(msg jetstream.Msg, seq uint64) bool {
		if msg.Headers().Get("ce-id") == eventID {
			found = seq
		}
		return found == 0
	})
	if err != nil {
		return nil, eventstore.Unavailable("look for an event", err)
	}
	if found == 0 {
		return nil, invalid("event", "there is no event with the id %s; the id is that of the payload", eventID)
	}
	msg, err := retry.Insist(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return s.events.GetMsg(ctx, found) })
	if err != nil {
		return nil, eventstore.Unavailable("read an event", err)
	}
	return readItem(msg.Subject, msg.Header, msg.Data, found, sub.ID)
}
