package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"closure/eventstore"
	"closure/eventstore/bucket"
	"closure/eventstore/retry"
)

const (
	// Bucket is the key-value bucket of the registry.
	Bucket = "CLOSURE_CLIENTS"
	// clientKey begins the keys of the clients' entries.
	clientKey = "client."
)

// openRegistry opens the bucket of the registry.
func openRegistry(ctx context.Context, js jetstream.JetStream, replicas int) (jetstream.KeyValue, error) {
	return bucket.Open(ctx, js, bucket.Config{
		Name: Bucket, Description: "closure: the clients, their scopes, hashes of their secrets, their public keys", Replicas: replicas,
	})
}

// ClientsConfig is the configuration of Clients. Conn is required.
type ClientsConfig struct {
	// Conn is the connection to NATS.
	Conn *nats.Conn
	// Replicas of the bucket. One that has more keeps them. Defaults to 1.
	Replicas int
	// File is a YAML file of clients, read at the start. Defaults to none.
	File string
	// Now is the wall clock. Defaults to time.Now.
	Now func() time.Time
	// Logger is told of entries that cannot be used. Defaults to none.
	Logger *slog.Logger
}

// Clients is the registry: what stands in the bucket, which all engine processes share, and in the clients file of this one.
// It follows the bucket, so that what one process changes the others know at once. It may be used from many goroutines.
type Clients struct {
	cfg ClientsConfig

	taking context.Context // ended: the bucket is not followed any more
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.RWMutex
	state state
	kv    jetstream.KeyValue
	all   map[string]*entry // by id
	looks *rate.Limiter     // of lookAgain
}

type state int

const (
	fresh state = iota
	running
	stopped
)

// NewClients makes the registry. Start opens it.
func NewClients(cfg ClientsConfig) *Clients {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Clients{cfg: cfg, all: map[string]*entry{}, looks: rate.NewLimiter(looksPerSecond, looksPerSecond)}
	c.taking, c.stop = context.WithCancel(context.Background())
	return c
}

// Start reads the file and the bucket, and begins to follow the bucket. When it returns, the clients are there.
func (c *Clients) Start(ctx context.Context) error {
	c.mu.Lock()
	if c.state != fresh {
		c.mu.Unlock()
		return errors.New("clients: start: started before")
	}
	c.state = running
	c.mu.Unlock()
	if err := c.open(ctx); err != nil {
		return errors.Join(fmt.Errorf("clients: start: %w", err), c.Stop(ctx))
	}
	return nil
}

func (c *Clients) open(ctx context.Context) error {
	if c.cfg.File != "" {
		listed, err := readClientsFile(c.cfg.File)
		if err != nil {
			return err
		}
		for _, e := range listed {
			c.all[e.ID] = e // nothing else runs yet
		}
	}
	js, err := jetstream.New(c.cfg.Conn)
	if err != nil {
		return err
	}
	kv, err := openRegistry(ctx, js, c.cfg.Replicas)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.kv = kv
	c.mu.Unlock()
	first, err := c.openWatch(ctx)
	if err != nil {
		return fmt.Errorf("bucket %s: %w", Bucket, err)
	}
	c.wg.Go(func() { c.follow(first) })
	return nil
}

// Stop ends the following of the bucket, and returns when nothing runs any more. Nothing of it takes time that the context
// would have to bound.
func (c *Clients) Stop(context.Context) error {
	c.mu.Lock()
	if c.state == fresh {
		c.mu.Unlock()
		return nil
	}
	c.state = stopped
	c.mu.Unlock()
	c.stop()
	c.wg.Wait()
	return nil
}

// errNotRunning: Start has not been called, or Stop has.
var errNotRunning = fmt.Errorf("the registry of clients is not open: %w", eventstore.ErrUnavailable)

// opened is the bucket of a registry that runs.
func (c *Clients) opened() (jetstream.KeyValue, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.state != running || c.kv == nil {
		return nil, errNotRunning
	}
	return c.kv, nil
}

// find gives a client, also one that is disabled; else an empty one, whose secrets nobody knows.
func (c *Clients) find(id string) (*entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e := c.all[id]
	if e == nil || e.gone {
		return &entry{secrets: nobody}, false
	}
	return e, true
}

// Get gives a client, also one that is disabled.
func (c *Clients) Get(id string) (Client, bool) {
	e, ok := c.find(id)
	return e.copy(), ok
}

// List gives all clients, the oldest first; those of the file come before.
func (c *Clients) List() []Client {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := []Client{}
	for _, e := range c.all {
		if !e.gone {
			out = append(out, e.copy())
		}
	}
	slices.SortFunc(out, func(a, b Client) int {
		if n := a.CreatedAt.Compare(b.CreatedAt); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// copy is the client for somebody who may change it.
func (e *entry) copy() Client {
	c := e.Client
	c.Secrets, c.Keys = slices.Clone(c.Secrets), slices.Clone(c.Keys)
	return c
}

// take takes in an entry of the bucket; id is "" for one that is not of a client.
func (c *Clients) take(stored jetstream.KeyValueEntry) (id string) {
	id, ok := strings.CutPrefix(stored.Key(), clientKey)
	if !ok {
		return ""
	}
	defer c.cfg.Logger.Debug("clients: an entry", "client_id", id, "revision", stored.Revision(), "operation", stored.Operation())
	if stored.Operation() != jetstream.KeyValuePut {
		c.apply(&entry{Client: Client{ID: id}, revision: stored.Revision(), gone: true})
		return id
	}
	e, err := decodeClient(stored.Value(), stored.Revision())
	if err == nil && e.ID != id {
		err = errors.New("it holds another id than its key")
	}
	if err != nil {
		// Whoever cannot be read may do nothing: that it was allowed before does not mean that it still is.
		c.cfg.Logger.Error("clients: an entry cannot be used, and its client is refused", "bucket", Bucket, "client_id", id, "error", err)
		e = &entry{Client: Client{ID: id, Name: "(its entry cannot be read)", Disabled: true}, secrets: nobody, revision: stored.Revision()}
	}
	c.apply(e)
	return id
}

// looksPerSecond bounds lookAgain, for all clients together.
const looksPerSecond = 50

// lookAgain takes in a client as it is in the bucket now: the watch may be a moment behind a change that another process has
// answered already. That it fails changes nothing. It is not done more often than looksPerSecond: anybody can ask for it.
func (c *Clients) lookAgain(ctx context.Context, id string) {
	kv, err := c.opened()
	if err != nil || !c.looks.Allow() {
		return
	}
	stored, err := retry.Once(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return kv.Get(ctx, clientKey+id) })
	switch {
	case err == nil:
		c.take(stored)
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		c.cfg.Logger.Warn("clients: a client could not be looked at again", "client_id", id, "error", err)
	}
}

// apply makes an entry take effect, unless there is a newer one, or one of the file.
func (c *Clients) apply(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.all[e.ID]
	if old == nil || !old.file && e.revision > old.revision {
		c.all[e.ID] = e
	}
}

// keepOnly drops the clients that the bucket did not hold when a watch began: somebody has purged their entries. What is
// newer than all that was seen came in the meantime.
func (c *Clients) keepOnly(seen map[string]bool, last uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, e := range c.all {
		if !e.file && !seen[id] && e.revision <= last {
			delete(c.all, id)
		}
	}
}
