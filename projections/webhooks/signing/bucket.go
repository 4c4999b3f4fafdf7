package signing

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/bucket"
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
	if _, err := kv.Create(ctx, k.cfg.Entry, value); err != nil && !bucket.Conflict(err) {
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

// decodeEntry reads an entry that is not a deletion.
func decodeEntry(e jetstream.KeyValueEntry) (keySet, error) {
	set, err := decodeKeys(e.Value(), e.Revision())
	if err != nil {
		return keySet{}, fmt.Errorf("entry %s: %w", e.Key(), err)
	}
	return set, nil
}
