package signing

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/retry"
)

const (
	// Bucket is the key-value bucket of the engine's keys.
	Bucket = "CLOSURE_KEYS"
	// ForWebhooks and ForTokens are the entries of the keys for webhooks and for access tokens. All keys for one purpose are in one
	// entry: a rotation is one guarded write.
	ForWebhooks = "webhooks"
	ForTokens   = "tokens"
)

// bucketStream is the stream of the bucket. It is what any client library makes for a bucket, but for AllowDirect: all
// reads are answered by the leader, so that a process that starts cannot miss the key that another one has just made. One
// value is kept: a key that a rotation has ended is gone.
func bucketStream(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              "KV_" + Bucket,
		Description:       "closure: the engine's keys for webhooks (private)",
		Subjects:          []string{"$KV." + Bucket + ".>"},
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

// load reads the keys, and makes the first one if there is none.
func (k *Keys) load(ctx context.Context, kv jetstream.KeyValue) (keySet, error) {
	return retry.Insist(ctx, func(ctx context.Context) (keySet, error) {
		entry, err := kv.Get(ctx, k.cfg.Entry)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			if err = k.create(ctx, kv); err != nil {
				return keySet{}, err
			}
			entry, err = kv.Get(ctx, k.cfg.Entry)
		}
		if err != nil {
			return keySet{}, err
		}
		return decodeEntry(entry)
	})
}

// create makes the first key. If another process was faster its key is the one; the caller reads it.
func (k *Keys) create(ctx context.Context, kv jetstream.KeyValue) error {
	first, err := newKey(k.now())
	if err != nil {
		return err
	}
	value, err := keySet{keys: []key{first}}.encode()
	if err != nil {
		return err
	}
	if _, err := kv.Create(ctx, k.cfg.Entry, value); err != nil && !conflict(err) {
		return err
	}
	return nil
}

// write replaces the keys if the entry still has the revision, and gives back the keys with their new one.
func (k *Keys) write(ctx context.Context, kv jetstream.KeyValue, set keySet, revision uint64) (keySet, error) {
	value, err := set.encode()
	if err != nil {
		return keySet{}, err
	}
	set.revision, err = retry.Once(ctx, func(ctx context.Context) (uint64, error) { return kv.Update(ctx, k.cfg.Entry, value, revision) })
	return set, err
}

// conflict tells whether somebody else was faster.
func conflict(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}

// decodeEntry reads an entry that is not a deletion.
func decodeEntry(e jetstream.KeyValueEntry) (keySet, error) {
	set, err := decodeKeys(e.Value(), e.Revision())
	if err != nil {
		return keySet{}, fmt.Errorf("entry %s: %w", e.Key(), err)
	}
	return set, nil
}
