// Package bucket opens the key-value buckets that the instances of the engine share.
package bucket

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/retry"
)

// Config of a bucket.
type Config struct {
	// Name of the bucket. Required.
	Name string
	// Description is for whoever looks at the streams.
	Description string
	// Replicas, at least; a bucket that has more keeps them. Defaults to 1.
	Replicas int
	// Age is when an entry goes by itself, after its last change. Defaults to never.
	Age time.Duration
	// Markers lets what is purged leave markers that go before their age (jetstream.PurgeTTL).
	Markers bool
	// Memory keeps the entries in the memory of the servers: for what is of no use after a restart. Defaults to files.
	Memory bool
}

// stream is what any client library makes for a bucket, but for AllowDirect: all reads are answered by the leader, so that
// an instance cannot miss what another one has just written. One value of an entry is kept.
func (cfg Config) stream() jetstream.StreamConfig {
	storage := jetstream.FileStorage
	if cfg.Memory {
		storage = jetstream.MemoryStorage
	}
	return jetstream.StreamConfig{
		Name:              "KV_" + cfg.Name,
		Description:       cfg.Description,
		Subjects:          []string{"$KV." + cfg.Name + ".>"},
		Storage:           storage,
		Replicas:          max(cfg.Replicas, 1),
		MaxAge:            cfg.Age,
		MaxMsgsPerSubject: 1,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgSize:        -1,
		Discard:           jetstream.DiscardNew,
		AllowRollup:       true,
		AllowMsgTTL:       cfg.Markers,
		DenyDelete:        true,
		AllowDirect:       false,
	}
}

// Open the bucket: it is created, or brought to its settings; replicas are never taken away. It insists for as long as a
// start may take. Errors: eventstore.ErrUnavailable.
func Open(ctx context.Context, js jetstream.JetStream, cfg Config) (jetstream.KeyValue, error) {
	ctx, cancel := context.WithTimeout(ctx, retry.StartWithin)
	defer cancel()
	kv, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.KeyValue, error) { return open(ctx, js, cfg) })
	if err != nil {
		return nil, eventstore.Unavailable("the bucket "+cfg.Name, err)
	}
	return kv, nil
}

func open(ctx context.Context, js jetstream.JetStream, cfg Config) (jetstream.KeyValue, error) {
	stream, err := js.Stream(ctx, cfg.stream().Name)
	switch {
	case err == nil:
		cfg.Replicas = max(cfg.Replicas, stream.CachedInfo().Config.Replicas)
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, err
	}
	if _, err := js.CreateOrUpdateStream(ctx, cfg.stream()); err != nil {
		return nil, err
	}
	return js.KeyValue(ctx, cfg.Name)
}

// Conflict tells whether a guarded write failed since somebody else was faster.
func Conflict(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}
