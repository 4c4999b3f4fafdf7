package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore/retry"
)

// StateBucket is the key-value bucket of what is known about failing endpoints. The keys are those of Bucket.
//
// An entry is written at each failure, and once when the failures are over. While all goes well nothing is written: each
// write is an fsync.
const StateBucket = "CLOSURE_WEBHOOK_STATE"

// deliveryState is how the deliveries of a subscription go, so that any process goes on where another one was.
type deliveryState struct {
	// Revision of the subscription's entry that it was written under. One that was changed since is tried again at once,
	// and packed anew.
	Revision uint64 `json:"revision"`
	// Attempts that have failed in a row.
	Attempts int `json:"attempts"`
	// FailingSince is the first of them; zero: the last attempt went well.
	FailingSince time.Time `json:"failing_since,omitzero"`
	NextAttempt  time.Time `json:"next_attempt,omitzero"`
	// Noticed is the last level that the operator was told of in this failing period.
	Noticed domain.WebhookLevel `json:"noticed,omitempty"`
	// LastSequence: in strict order, the last event of the package that failed, so that it stays as it was formed; by
	// resource, the first event of the one that has been failing the longest.
	LastSequence uint64    `json:"last_sequence,omitempty"`
	LastSuccess  time.Time `json:"last_success,omitzero"`
	LastFailure  string    `json:"last_failure,omitempty"`
}

func (st deliveryState) failing() bool { return !st.FailingSince.IsZero() }

// holds tells whether the state is of the subscription as it is now, and not as it was before a change.
func (st deliveryState) holds(sub subscription) bool { return st.Revision >= sub.revision }

// due is how long the next attempt has to wait.
func (st deliveryState) due(sub subscription, now time.Time) time.Duration {
	if !st.holds(sub) || st.NextAttempt.IsZero() {
		return 0
	}
	return max(st.NextAttempt.Sub(now), 0)
}

func (s *Service) states() (jetstream.KeyValue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kvState == nil {
		return nil, errNotRunning
	}
	return s.kvState, nil
}

// readState gives what is known; the zero state for nothing.
func (s *Service) readState(ctx context.Context, sub subscription) (st deliveryState, err error) {
	kv, err := s.states()
	if err != nil {
		return st, err
	}
	entry, err := retry.Once(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return kv.Get(ctx, sub.key()) })
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return st, nil
	}
	if err != nil {
		return st, fmt.Errorf("read the state of the deliveries: %w", err)
	}
	if err := json.Unmarshal(entry.Value(), &st); err != nil {
		// Nothing depends on it that an attempt would not bring back.
		s.cfg.Logger.Error("webhooks: the state of a webhook's deliveries cannot be read, beginning anew", "webhook", sub.ID, "error", err)
		return deliveryState{}, nil
	}
	return st, nil
}

// writeState stores it, within a bound. What cannot be stored is logged: this process has it, and another one would only
// try too early.
func (s *Service) writeState(sub subscription, st deliveryState) {
	ctx, cancel := context.WithTimeout(context.Background(), finishWithin)
	defer cancel()
	kv, err := s.states()
	if err == nil {
		var value []byte
		if value, err = json.Marshal(st); err == nil {
			_, err = kv.Put(ctx, sub.key(), value)
		}
	}
	if err != nil {
		s.cfg.Logger.Warn("webhooks: cannot store the state of a webhook's deliveries", "webhook", sub.ID, "error", err)
	}
}

// forgetState drops what is known of a subscription that was deleted.
func (s *Service) forgetState(ctx context.Context, clientID, id string) {
	kv, err := s.states()
	if err == nil {
		err = kv.Purge(ctx, key(clientID, id))
	}
	if err != nil {
		s.cfg.Logger.Debug("webhooks: the state of a deleted webhook stays", "webhook", id, "error", err)
	}
}
