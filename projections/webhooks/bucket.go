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
)

// Bucket is the key-value bucket of the subscriptions. The keys are <client id>.<webhook id>.
const Bucket = "CLOSURE_WEBHOOKS"

// subscription is an entry of the bucket: what the client sees, and where it begins.
type subscription struct {
	domain.Webhook
	// FromSequence is the first sequence of CLOSURE_EVENTS that it may get.
	FromSequence uint64 `json:"from_sequence"`

	clientID string
	revision uint64 // of the entry: a higher one is newer
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

// bucketStream is the stream of the bucket. It is what any client library makes for a bucket, but for AllowDirect: all
// reads are answered by the leader, so that a change is decided upon what is there, and what one process has accepted is
// seen by all others at once.
func bucketStream(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              "KV_" + Bucket,
		Description:       "closure: webhook subscriptions",
		Subjects:          []string{entrySubject(">")},
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		MaxMsgsPerSubject: 1,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgSize:        -1,
		Discard:           jetstream.DiscardNew,
		AllowRollup:       true,
		DenyDelete:        true,
		AllowDirect:       false,
	}
}

// openBucket creates the bucket, or brings it to its settings; it never takes replicas away.
func openBucket(ctx context.Context, js jetstream.JetStream, replicas int) (jetstream.KeyValue, error) {
	stream, err := js.Stream(ctx, bucketStream(replicas).Name)
	switch {
	case err == nil:
		replicas = max(replicas, stream.CachedInfo().Config.Replicas)
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, err
	}
	if _, err := js.CreateOrUpdateStream(ctx, bucketStream(replicas)); err != nil {
		return nil, err
	}
	return js.KeyValue(ctx, Bucket)
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

// now is the time of a change: UTC, and equal to itself after it was stored and read.
func now() time.Time { return time.Now().UTC().Round(0) }
