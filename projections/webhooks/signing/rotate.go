package signing

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/retry"
)

const (
	// DefaultOverlap is for how long a key that was replaced goes on to sign and to verify.
	DefaultOverlap = 7 * 24 * time.Hour
	// MaxOverlap is the longest that Rotate takes.
	MaxOverlap = 90 * 24 * time.Hour
)

// ErrNoKeys: no engine has made keys on this server. The caller looks whether it is the right one.
var ErrNoKeys = errors.New("there are no keys of an engine on this server")

// Rotated is what a rotation has done.
type Rotated struct {
	KeyID string // of the key that signs from now on
	// PreviousID is the key before it, which signs as well until PreviousUntil. "" and zero when it has ended.
	PreviousID    string
	PreviousUntil time.Time
}

// Rotate rotates the keys of an entry from outside of the engines, as Keys.Rotate does inside: all engines on the server take the new key
// at once, and one that starts later, too. An overlap of 0 ends the key before it at once: for one that was stolen. Errors:
// ErrNoKeys, eventstore.ErrUnavailable; the keys may have been rotated all the same.
func Rotate(ctx context.Context, js jetstream.JetStream, entry string, overlap time.Duration) (Rotated, error) {
	kv, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.KeyValue, error) { return js.KeyValue(ctx, Bucket) })
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return Rotated{}, ErrNoKeys
	}
	if err != nil {
		return Rotated{}, eventstore.Unavailable("rotate the keys of webhooks", err)
	}
	k := New(Config{Entry: entry})
	k.cfg.Overlap = max(overlap, 0)
	set, err := k.rotate(ctx, kv)
	if err != nil {
		return Rotated{}, err
	}
	valid := set.valid(k.now())
	out := Rotated{KeyID: valid[0].id}
	if len(valid) > 1 {
		out.PreviousID, out.PreviousUntil = valid[1].id, valid[1].until
	}
	return out, nil
}
