package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/bucket"
	"closure/eventstore/retry"
)

const (
	// NonceBucket is the key-value bucket of the nonces that were used, in the memory of the servers.
	NonceBucket = "CLOSURE_NONCES"
	// nonceAge is how long a nonce is kept: longer than any signature is valid by any of the engines' clocks.
	nonceAge = 2 * time.Minute
	// firstStoreKey is the entry of the registry with the time at which the first store of nonces was made.
	firstStoreKey = "nonces"
	// reopenWithin bounds the opening of a store that was lost, for the request that does it.
	reopenWithin = 5 * time.Second
)

var (
	// errUsed: the nonce was used before.
	errUsed = errors.New("the nonce was used before")
	// errForgotten: the nonce may have been used before, in a store that is no more.
	errForgotten = errors.New("the nonces that were used have been lost since")
	// errOpening: the store was lost, and is being opened anew.
	errOpening = errors.New("the store of nonces is being opened")
)

// nonces are those that signatures had, on all engine processes: each is taken once.
//
// They are in memory, as an fsync for each request would be dear, so a server that restarts may forget them. Then a signature
// that is still valid could be used again. That is why signatures from before the store was made are refused; only the first
// store of all has nothing before it. A loss that leaves the store in place (all servers of a cluster at once) shows itself by
// revisions that begin anew, or by a store that is old and has never had a nonce.
type nonces struct {
	conn     *nats.Conn
	registry func() (jetstream.KeyValue, error)
	replicas int
	now      func() time.Time

	opening sync.Mutex // held while the store is opened
	mu      sync.Mutex
	kv      jetstream.KeyValue // nil: to be opened
	since   time.Time          // signatures have to be newer; zero for any
	last    uint64             // the highest revision that was answered
}

func newNonces(clients *Clients, cfg Config) *nonces {
	return &nonces{conn: cfg.Conn, registry: clients.opened, replicas: cfg.Replicas, now: cfg.Now}
}

// open opens the store, or makes a new one. One opens it at a time; others come again.
func (n *nonces) open(ctx context.Context) error {
	if kv, _, _ := n.opened(); kv != nil {
		return nil
	}
	if !n.opening.TryLock() {
		return errOpening
	}
	defer n.opening.Unlock()
	js, err := jetstream.New(n.conn)
	if err != nil {
		return err
	}
	kv, err := bucket.Open(ctx, js, bucket.Config{
		Name: NonceBucket, Description: "closure: nonces of signatures that were used", Replicas: n.replicas, Age: nonceAge, Memory: true,
	})
	if err != nil {
		return err
	}
	stream, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, "KV_"+NonceBucket) })
	if err != nil {
		return fmt.Errorf("bucket %s: %w", NonceBucket, err)
	}
	info := stream.CachedInfo()
	first, err := n.isFirst(ctx, info.Created)
	if err != nil {
		return fmt.Errorf("bucket %s: %w", Bucket, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case !first:
		n.forgotBefore(info.Created)
	case info.State.LastSeq < n.last, info.State.LastSeq == 0 && n.now().Sub(info.Created) > nonceAge:
		n.forgotBefore(n.now())
	}
	n.kv, n.last = kv, info.State.LastSeq
	return nil
}

// isFirst tells whether the store of this time is the first of all.
func (n *nonces) isFirst(ctx context.Context, created time.Time) (bool, error) {
	registry, err := n.registry()
	if err != nil {
		return false, err
	}
	mine := []byte(created.UTC().Format(time.RFC3339Nano))
	stored, err := retry.Insist(ctx, func(ctx context.Context) ([]byte, error) {
		_, err := registry.Create(ctx, firstStoreKey, mine)
		if err == nil {
			return mine, nil
		}
		if !bucket.Conflict(err) {
			return nil, err
		}
		entry, err := registry.Get(ctx, firstStoreKey)
		if err != nil {
			return nil, err
		}
		return entry.Value(), nil
	})
	return bytes.Equal(stored, mine), err
}

// forgotBefore refuses what may have been used before a time. Clocks of clients may be ahead by futureLeeway. The caller holds
// the lock.
func (n *nonces) forgotBefore(t time.Time) {
	if t = t.Add(futureLeeway); t.After(n.since) {
		n.since = t
	}
}

func (n *nonces) opened() (kv jetstream.KeyValue, since time.Time, last uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.kv, n.since, n.last
}

// reopen has the store opened at the next use, unless that was done already.
func (n *nonces) reopen(broken jetstream.KeyValue) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.kv == broken {
		n.kv = nil
	}
}

// answered takes in the revision of a nonce. It is higher than all that were answered before it was sent: else the store has
// lost what it had.
func (n *nonces) answered(revision, before uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if revision <= before {
		n.forgotBefore(n.now())
		n.last = revision
		return errForgotten
	}
	n.last = max(n.last, revision)
	return nil
}

// use takes a nonce of a key of a client, once. created is the time of the signature. Errors: errUsed, errForgotten; others
// mean that it cannot be told.
func (n *nonces) use(ctx context.Context, clientID, keyID, nonce string, created time.Time) error {
	sum := sha256.Sum256([]byte(clientID + "\x00" + keyID + "\x00" + nonce))
	key, mine := hex.EncodeToString(sum[:]), []byte(rand.Text())
	var err error
	for range 2 { // the second time with a store that was opened anew
		if err = n.openAgain(ctx); err != nil {
			return err
		}
		kv, since, before := n.opened()
		if kv == nil {
			continue
		}
		if !created.After(since) {
			return errForgotten
		}
		var revision uint64
		revision, err = create(ctx, kv, key, mine)
		if err == nil {
			return n.answered(revision, before)
		}
		if errors.Is(err, errUsed) {
			return err
		}
		n.reopen(kv)
	}
	return err
}

func (n *nonces) openAgain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reopenWithin)
	defer cancel()
	return n.open(ctx)
}

// create takes the key. A try whose answer was lost may have taken it for us: mine says so.
func create(ctx context.Context, kv jetstream.KeyValue, key string, mine []byte) (uint64, error) {
	revision, err := retry.Once(ctx, func(ctx context.Context) (uint64, error) { return kv.Create(ctx, key, mine) })
	if !bucket.Conflict(err) {
		return revision, err
	}
	stored, err := retry.Once(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return kv.Get(ctx, key) })
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound): // it was there, and its time is up
		return 0, errUsed
	case err != nil:
		return 0, err
	case !bytes.Equal(stored.Value(), mine):
		return 0, errUsed
	}
	return stored.Revision(), nil
}
