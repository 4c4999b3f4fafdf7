package signing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/bucket"
	"closure/eventstore/retry"
)

const (
	// rotateTries bounds the attempts of Rotate while others write, or nobody answers.
	rotateTries = 5
	// callWithin bounds each step of Rotate that is repeated until the server answers.
	callWithin = 10 * time.Second
)

// Config of Keys. Log is required.
type Config struct {
	// Log gives the connection to the streams.
	Log *eventstore.Log
	// Entry is the entry of the bucket with the keys: keys for another purpose are others. Defaults to ForWebhooks.
	Entry string
	// Replicas of the bucket of keys. One that has more keeps them. Defaults to 1.
	Replicas int
	// Overlap is how long a key that was replaced goes on to sign and to verify. Defaults to 7 days.
	Overlap time.Duration
	// Expires is how long an HTTP message signature is valid. Defaults to 10s (CONTRACT: HTTP message signatures).
	Expires time.Duration
	// Now is the clock by which keys end. Defaults to time.Now.
	Now func() time.Time
	// Logger is told of new keys, and of what goes wrong. Defaults to none.
	Logger *slog.Logger
}

func (cfg Config) withDefaults() Config {
	if cfg.Entry == "" {
		cfg.Entry = ForWebhooks
	}
	cfg.Replicas = max(cfg.Replicas, 1)
	if cfg.Overlap <= 0 {
		cfg.Overlap = DefaultOverlap
	}
	if cfg.Expires <= 0 {
		cfg.Expires = 10 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// errNotRunning: Start has not been called, or Stop has. The caller may come again.
var errNotRunning = fmt.Errorf("the keys of webhooks are not loaded: %w", eventstore.ErrUnavailable)

// Keys are the engine's keys. It may be used from many goroutines, and in many processes at once.
type Keys struct {
	cfg Config

	taking context.Context // ended: the bucket is not followed any more
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	state state
	kv    jetstream.KeyValue
	set   keySet
}

type state int

const (
	fresh state = iota
	running
	stopped
)

// New makes the keys. Start loads them.
func New(cfg Config) *Keys {
	k := &Keys{cfg: cfg.withDefaults()}
	k.taking, k.stop = context.WithCancel(context.Background())
	return k
}

// Start opens the bucket, loads the keys or makes the first one, and begins to follow what other processes change. When it
// returns, Sign and JWKSet work.
func (k *Keys) Start(ctx context.Context) error {
	k.mu.Lock()
	if k.state != fresh {
		k.mu.Unlock()
		return errors.New("webhook keys: start: started before")
	}
	k.state = running
	k.mu.Unlock()
	if err := k.open(ctx); err != nil {
		return errors.Join(fmt.Errorf("webhook keys: start: %w", err), k.Stop(ctx))
	}
	return nil
}

func (k *Keys) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, retry.StartWithin)
	defer cancel()
	js := k.cfg.Log.JetStream()
	kv, err := bucket.Open(ctx, js, bucket.Config{Name: Bucket, Description: "closure: the engine's keys (private)", Replicas: k.cfg.Replicas})
	if err != nil {
		return err
	}
	set, err := k.load(ctx, kv)
	if err != nil {
		return fmt.Errorf("bucket %s: %w", Bucket, err)
	}
	k.mu.Lock()
	k.kv = kv
	k.mu.Unlock()
	k.apply(set)
	k.wg.Go(func() { k.follow(kv) })
	return nil
}

// Stop ends the following of the bucket, and returns when nothing runs any more. Nothing of it takes time that the context
// would have to bound.
func (k *Keys) Stop(context.Context) error {
	k.mu.Lock()
	if k.state == fresh {
		k.mu.Unlock()
		return nil
	}
	k.state = stopped
	k.mu.Unlock()
	k.stop()
	k.wg.Wait()
	return nil
}

// Rotate puts a new key in front: it signs from now on. The one before it stays valid for the overlap; one that was still
// valid from a rotation before ends now. Rotations at the same moment, in whatever processes, count as one. Errors:
// eventstore.ErrUnavailable; the keys may have been rotated all the same.
func (k *Keys) Rotate(ctx context.Context) error {
	k.mu.Lock()
	kv, state := k.kv, k.state
	k.mu.Unlock()
	if state != running || kv == nil {
		return errNotRunning
	}
	_, err := k.rotate(ctx, kv)
	return err
}

// rotate gives the keys as they are afterwards.
func (k *Keys) rotate(ctx context.Context, kv jetstream.KeyValue) (set keySet, err error) {
	before := "" // the key that is to be replaced
	for range rotateTries {
		if set, err = k.read(ctx, kv); err != nil {
			break
		}
		if before == "" {
			before = set.keys[0].id
		}
		if set.keys[0].id != before { // by somebody else, or by a write of ours whose answer was lost
			return set, nil
		}
		if set, err = k.replace(ctx, kv, set); err == nil || !bucket.Conflict(err) && !retry.Transient(err) {
			break
		}
	}
	if err != nil {
		return set, eventstore.Unavailable("rotate the keys of webhooks", err)
	}
	return set, nil
}

// read gives the keys as they are now, and takes them in.
func (k *Keys) read(ctx context.Context, kv jetstream.KeyValue) (keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	set, err := k.load(ctx, kv)
	if err == nil {
		k.apply(set)
	}
	return set, err
}

// replace writes keys with a new one in front.
func (k *Keys) replace(ctx context.Context, kv jetstream.KeyValue, set keySet) (keySet, error) {
	now := k.now()
	next, err := newKey(now)
	if err != nil {
		return set, err
	}
	written, err := k.write(ctx, kv, set.rotated(next, now, k.cfg.Overlap), set.revision)
	if err == nil {
		k.apply(written)
	}
	return written, err
}

// JWKSet is the public half of the keys that are valid now, as JSON of a JWK set: Ed25519, to verify signatures with.
// Errors: eventstore.ErrUnavailable before Start and after Stop.
func (k *Keys) JWKSet() ([]byte, error) {
	set, err := k.snapshot()
	if err != nil {
		return nil, err
	}
	return set.jwks(k.cfg.Now())
}

// snapshot gives the keys of a running process.
func (k *Keys) snapshot() (keySet, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state != running || len(k.set.keys) == 0 {
		return keySet{}, errNotRunning
	}
	return k.set, nil
}

// apply makes keys take effect in this process, unless it has newer ones.
func (k *Keys) apply(set keySet) {
	k.mu.Lock()
	old := k.set
	if set.revision > old.revision {
		k.set = set
	}
	k.mu.Unlock()
	if set.revision > old.revision && (len(old.keys) == 0 || old.keys[0].id != set.keys[0].id) {
		k.cfg.Logger.Info("webhook keys: this key signs", "kid", set.keys[0].id, "created_at", set.keys[0].created, "revision", set.revision)
	}
}

// String and GoString keep the private keys out of logs.
func (k *Keys) String() string { return "webhook keys" }

// GoString is String, for %#v.
func (k *Keys) GoString() string { return k.String() }

// now is the time of a change: UTC, and equal to itself after it was stored and read.
func (k *Keys) now() time.Time { return k.cfg.Now().UTC().Round(0) }
