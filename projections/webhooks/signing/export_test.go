package signing

import (
	"context"
	"crypto/ed25519"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// SetBucket puts something between the keys and their bucket, for Rotate.
func (k *Keys) SetBucket(wrap func(jetstream.KeyValue) jetstream.KeyValue) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kv = wrap(k.kv)
}

// Load reads the keys, or makes the first one, as Start does, and gives the id of the one that signs.
func (k *Keys) Load(ctx context.Context, kv jetstream.KeyValue) (string, error) {
	set, err := k.load(ctx, kv)
	if err != nil {
		return "", err
	}
	return set.keys[0].id, nil
}

// Take takes in an entry, as the watch does.
func (k *Keys) Take(entry jetstream.KeyValueEntry) { k.take(entry) }

// EntryKey is the entry of the bucket.
const EntryKey = ForWebhooks

// SignWith signs as Keys do that have this one key.
func SignWith(private ed25519.PrivateKey, r *http.Request, body []byte, messageID string, secrets Secrets, at time.Time) error {
	k, err := keyOf(private, at, time.Time{})
	if err != nil {
		return err
	}
	return keySet{keys: []key{k}}.sign(r, body, messageID, secrets, at, 10*time.Second)
}
