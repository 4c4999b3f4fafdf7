// Package idempotency remembers what was answered to a request with an idempotency key, for all instances of the engine.
//
// It does not lock. A request first claims its key, which fixes two things: what the request is, and a seed. Whatever a request
// makes takes its ids from the seed, so that a request that is carried out twice, at the same moment or after a crash, makes
// one thing: the second time the engine says that it is there already. The answer that is kept first is the one that all get.
package idempotency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/bucket"
	"closure/eventstore/retry"
)

// Bucket is the key-value bucket of the claims.
const Bucket = "CLOSURE_IDEMPOTENCY"

const (
	// defaultAge is how long an answer is kept (CONTRACT: at least 24 hours).
	defaultAge = 25 * time.Hour
	// claimWithin bounds a claim: most of the time of a request is for carrying it out.
	claimWithin = 3 * time.Second
	// markerAge is how long what is left of a key that was let go stays: only rivals of the request may meet it.
	markerAge = time.Minute
	// tries bounds how often a claim is lost to others and looked at again.
	tries = 8
)

// ErrOtherRequest: the key was used for another request. The client takes a new key.
var ErrOtherRequest = errors.New("the idempotency key was used for another request")

// Config of a Store. Log is required.
type Config struct {
	// Log gives the connection to the streams.
	Log *eventstore.Log
	// Replicas of the bucket. Defaults to 1.
	Replicas int
	// Age is how long an answer is kept. Defaults to 25 h.
	Age time.Duration
	// Logger is told of answers that could not be kept. Defaults to none.
	Logger *slog.Logger
}

// Answer is what a client was answered. It is a success.
type Answer struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header,omitempty"`
	Body   []byte            `json:"body,omitempty"`
}

// Claim is a request that has its key.
type Claim struct {
	// Seed is where the ids of the request come from: the same for each request with this key, and for no other.
	Seed string
	// Answer is the one that was given before; nil when there is none yet, and the request is to be carried out.
	Answer *Answer

	key         string
	fingerprint string
	revision    uint64
}

// record is a claim in the bucket.
type record struct {
	Request string  `json:"request"`
	Seed    string  `json:"seed"`
	Answer  *Answer `json:"answer,omitempty"`
}

// Store of claims. It may be used from many goroutines, and in many processes at once.
type Store struct {
	cfg Config
	kv  jetstream.KeyValue
}

// New makes a store. Start opens it.
func New(cfg Config) *Store {
	if cfg.Age <= 0 {
		cfg.Age = defaultAge
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Store{cfg: cfg}
}

// Start opens the bucket.
func (s *Store) Start(ctx context.Context) (err error) {
	s.kv, err = bucket.Open(ctx, s.cfg.Log.JetStream(), bucket.Config{
		Name: Bucket, Description: "closure: what was answered to requests with an idempotency key", Replicas: s.cfg.Replicas, Age: s.cfg.Age, Markers: true,
	})
	return err
}

// Stop has nothing to end.
func (s *Store) Stop(context.Context) error { return nil }

// Claim takes the key of a client for a request, of which the fingerprint says all that makes it this one and no other. The
// client and the key MUST be uuids. Errors: ErrOtherRequest; eventstore.ErrUnavailable, after which the claim may stand.
func (s *Store) Claim(ctx context.Context, clientID, idempotencyKey, fingerprint string) (*Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, claimWithin)
	defer cancel()
	c := &Claim{key: clientID + "." + idempotencyKey, fingerprint: fingerprint}
	for range tries {
		err := s.create(ctx, c, record{Request: fingerprint, Seed: uuid.NewString()})
		if bucket.Conflict(err) {
			err = s.look(ctx, c)
		}
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue // it has gone in between: its time was up, or its request was refused
		}
		return c, unavailable(err)
	}
	return nil, unavailable(errTaken)
}

var errTaken = errors.New("others kept taking the key and letting it go")

func unavailable(err error) error {
	if err == nil || errors.Is(err, ErrOtherRequest) {
		return err
	}
	return fmt.Errorf("%w: the idempotency key: %w", eventstore.ErrUnavailable, err)
}

func (s *Store) create(ctx context.Context, c *Claim, r record) error {
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// When the answer to the write gets lost, the claim that is then found is our own: that does no harm.
	revision, err := retry.Insist(ctx, func(ctx context.Context) (uint64, error) { return s.kv.Create(ctx, c.key, value) })
	if err != nil {
		return err
	}
	c.Seed, c.Answer, c.revision = r.Seed, r.Answer, revision
	return nil
}

// look reads the claim that is there.
func (s *Store) look(ctx context.Context, c *Claim) error {
	entry, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return s.kv.Get(ctx, c.key) })
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal(entry.Value(), &r); err != nil {
		return fmt.Errorf("the claim at revision %d: %w", entry.Revision(), err)
	}
	if r.Request != c.fingerprint {
		return ErrOtherRequest
	}
	c.Seed, c.Answer, c.revision = r.Seed, r.Answer, entry.Revision()
	return nil
}

// Keep keeps the answer of a claim, and returns the one that counts: a rival with the same request may have been faster. That
// it could not be kept is no failure of the request, which has been carried out: then a repetition is, once more, and finds
// everything there.
func (s *Store) Keep(ctx context.Context, c *Claim, a Answer) Answer {
	value, err := json.Marshal(record{Request: c.fingerprint, Seed: c.Seed, Answer: &a})
	for range tries {
		if err != nil {
			break
		}
		_, err = retry.Insist(ctx, func(ctx context.Context) (uint64, error) { return s.kv.Update(ctx, c.key, value, c.revision) })
		if !bucket.Conflict(err) {
			break
		}
		if err = s.look(ctx, c); err == nil && c.Answer != nil {
			return *c.Answer
		}
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			// A rival was refused, and has let the key go.
			if err = s.create(ctx, c, record{Request: c.fingerprint, Seed: c.Seed, Answer: &a}); err == nil {
				return a
			}
			if bucket.Conflict(err) {
				err = s.look(ctx, c)
			}
		}
	}
	if err != nil {
		s.cfg.Logger.Warn("an answer could not be kept for its idempotency key; a repetition is carried out again, and makes nothing twice", "error", err)
	}
	return a
}

// Release lets the key of a refused request go, so that the client may put it right and come again with it. If it cannot be
// let go, the client needs a new key.
func (s *Store) Release(ctx context.Context, c *Claim) {
	err := s.kv.Purge(ctx, c.key, jetstream.LastRevision(c.revision), jetstream.PurgeTTL(markerAge))
	if err != nil && !bucket.Conflict(err) {
		s.cfg.Logger.Debug("the idempotency key of a refused request stays taken", "error", err)
	}
}
