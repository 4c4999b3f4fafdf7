package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/retry"
)

// Progress is how the deliveries of one subscription go.
type Progress struct {
	// Waiting events were published and not taken by the endpoint yet; those that wait for company or are under way count.
	Waiting uint64
	// LastDelivered is when a request last got a 2xx answer, a resent one too; zero when none is known.
	LastDelivered time.Time
	// FailingSince is the first failure after the last success; zero when it is not failing.
	FailingSince time.Time
	Attempts     int // that have failed since
	// NextAttempt is when the endpoint is tried again; zero when it is not failing, and when no one time holds for all that waits.
	NextAttempt time.Time
	LastFailure string // the class of the last failure while it is failing, and the status if there was one
}

// Progress tells how the deliveries of a subscription go. It costs a question to the server for each of the subscription, its
// consumer, its state and its last attempt, however much waits. Errors: *domain.Refusal (NotFound), eventstore.ErrUnavailable.
func (s *Service) Progress(ctx context.Context, clientID, id string) (Progress, error) {
	id, err := checkID(clientID, id)
	if err != nil {
		return Progress{}, err
	}
	sub, err := s.read(ctx, clientID, id)
	if err != nil {
		return Progress{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	consumer, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return s.events.Consumer(ctx, consumerName(id))
	})
	if err != nil {
		return Progress{}, eventstore.Unavailable("look at the consumer of a webhook", err)
	}
	out := Progress{Waiting: waitingOf(consumer.CachedInfo())}
	st, err := s.readState(ctx, sub)
	if err != nil {
		return Progress{}, eventstore.Unavailable("look at the deliveries of a webhook", err)
	}
	if out.LastDelivered, err = s.lastSuccess(ctx, sub, st); err != nil {
		return Progress{}, eventstore.Unavailable("look at the attempts of a webhook", err)
	}
	if st.failing() {
		out.FailingSince, out.Attempts, out.LastFailure = st.FailingSince, st.Attempts, st.LastFailure
		if sub.Enabled && st.holds(sub) { // else it is tried as soon as somebody can
			out.NextAttempt = st.NextAttempt
		}
	}
	return out, nil
}

// lastSuccess is the end of the last attempt that went well, as far as attempts are kept; else what the state knows.
func (s *Service) lastSuccess(ctx context.Context, sub subscription, st deliveryState) (time.Time, error) {
	msg, err := retry.Insist(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return s.attempts.GetLastMsgForSubject(ctx, attemptSubject(sub.clientID, sub.ID, AttemptSucceeded))
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return st.LastSuccess, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	var a Attempt
	if err := json.Unmarshal(msg.Data, &a); err != nil {
		return st.LastSuccess, nil // no engine has written it
	}
	if at := a.Time.Add(time.Duration(a.Duration) * time.Millisecond); at.After(st.LastSuccess) {
		return at, nil
	}
	return st.LastSuccess, nil
}

// waitingOf is how many events of a consumer wait.
func waitingOf(info *jetstream.ConsumerInfo) uint64 {
	return info.NumPending + uint64(max(info.NumAckPending, 0))
}
