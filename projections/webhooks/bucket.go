package webhooks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/retry"
	"closure/projections/webhooks/signing"
)

// Bucket is the key-value bucket of the subscriptions. The keys are <client id>.<webhook id>.
const Bucket = "CLOSURE_WEBHOOKS"

// subscription is an entry of the bucket: what the client sees, where it begins, and what is for the engine alone.
type subscription struct {
	domain.Webhook
	// FromSequence is the first sequence of CLOSURE_EVENTS that it may get.
	FromSequence uint64 `json:"from_sequence"`
	// Secrets that its requests are signed with. They are never shown again.
	Secrets signing.Secrets `json:"secrets,omitzero"`
	// Replay is the last one that was asked for.
	Replay replayOrder `json:"replay,omitzero"`

	clientID string
	revision uint64 // of the entry: a higher one is newer
}

// replayOrder has the consumer put back once, by whichever process comes first.
type replayOrder struct {
	ID   string `json:"id"`
	From uint64 `json:"from"` // sequence of CLOSURE_EVENTS
}

func (s subscription) key() string { return key(s.clientID, s.ID) }

func key(clientID, id string) string { return clientID + "." + id }

// entrySubject is where the bucket's stream keeps the entry with the key.
func entrySubject(key string) string { return "$KV." + Bucket + "." + key }

// splitKey splits the key of an entry.
func splitKey(key string) (clientID, id string, ok bool) {
	clientID, id, ok = strings.Cut(key, ".")
	return clientID, id, ok && clientID != "" && id != "" && !strings.Contains(id, ".")
}

// decodeEntry reads an entry that is not a deletion.
func decodeEntry(e jetstream.KeyValueEntry) (subscription, error) {
	var s subscription
	clientID, id, ok := splitKey(e.Key())
	if !ok {
		return s, fmt.Errorf("%s is not the key of a subscription", e.Key())
	}
	if err := json.Unmarshal(e.Value(), &s); err != nil {
		return s, fmt.Errorf("subscription %s: %w", e.Key(), err)
	}
	if s.ID != id {
		return s, fmt.Errorf("subscription %s: the id within is %q", e.Key(), s.ID)
	}
	s.clientID, s.revision = clientID, e.Revision()
	return s, nil
}

// replicasOf is how many replicas a stream has to have: those that are wanted, or the more that it has.
func replicasOf(ctx context.Context, js jetstream.JetStream, name string, want int) (int, error) {
	stream, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return want, nil
	}
	if err != nil {
		return 0, err
	}
	return max(want, stream.CachedInfo().Config.Replicas), nil
}

// read gives a subscription as it is now. One that is missing is a *domain.Refusal of kind NotFound.
func (s *Service) read(ctx context.Context, clientID, id string) (subscription, error) {
	kv, err := s.bucket()
	if err != nil {
		return subscription{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	entry, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return kv.Get(ctx, key(clientID, id)) })
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return subscription{}, missing(id)
	}
	if err != nil {
		return subscription{}, eventstore.Unavailable("read the subscription", err)
	}
	return decodeEntry(entry)
}

// write stores a subscription if the bucket has the revision that it is based on (0: none), and gives it back with the
// revision that it has now. Else the error is jetstream.ErrKeyRevisionMismatch.
func (s *Service) write(ctx context.Context, sub subscription) (subscription, error) {
	kv, err := s.bucket()
	if err != nil {
		return sub, err
	}
	value, err := json.Marshal(sub)
	if err != nil {
		return sub, fmt.Errorf("subscription %s: %w", sub.key(), err)
	}
	revision, err := retry.Once(ctx, func(ctx context.Context) (uint64, error) { return kv.Update(ctx, sub.key(), value, sub.revision) })
	if err != nil && retry.Transient(err) {
		// Written or not? The time of the change makes the value one of a kind.
		entry, readErr := retry.Insist(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return kv.Get(ctx, sub.key()) })
		if readErr == nil && bytes.Equal(entry.Value(), value) {
			revision, err = entry.Revision(), nil
		}
	}
	if err != nil {
		return sub, eventstore.Unavailable("write the subscription", err)
	}
	sub.revision = revision
	return sub, nil
}

func missing(id string) error {
	return &domain.Refusal{Kind: domain.NotFound, Detail: "there is no webhook with the id " + id}
}

// isMissing tells whether a read found no such subscription.
func isMissing(err error) bool {
	var refusal *domain.Refusal
	return errors.As(err, &refusal) && refusal.Kind == domain.NotFound
}

// invalid refuses what a caller has given.
func invalid(field, format string, args ...any) error {
	return &domain.Refusal{Kind: domain.Invalid, Detail: field + ": " + fmt.Sprintf(format, args...)}
}

// now is the time of a change: UTC, and equal to itself after it was stored and read.
func (s *Service) now() time.Time { return s.cfg.Now().UTC().Round(0) }
