package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded"
)

// plainStream is what the plain side writes to: a stream with the settings of the log, and subjects of the same length.
const (
	plainStream = "BENCH_PLAIN"
	plainPrefix = "bench.plain."
)

// patient is how long an append may take, so that a full queue in front of a slow disk is measured and not retried.
const patient = time.Minute

// cleanWithin bounds the requests of a clean end.
const cleanWithin = 30 * time.Second

// setting says which server a figure needs. Each has its own; on a given server (--nats-url) there is one at a time.
type setting struct {
	name string
	sync bool // each write is synced before it is acknowledged
}

// The servers of the figures.
var (
	syncing  = setting{"syncing", true}
	ordinary = setting{"ordinary", false}
	large    = setting{"large", false}
	small    = setting{"small", false}
)

// arena is a server with a log and a plain stream on it.
type arena struct {
	setting
	server *embedded.Server // nil when it is a given one
	dir    string           // of the server; "" on a given one
	// engine and plain are connections of the same kind, one for each side.
	engine, plain *nats.Conn
	log           *eventstore.Log
	plainJS       jetstream.JetStream
	// accounts that are in the log from the beginning: see fill.
	accounts []domain.Ref
}

func (b *bench) openArena(ctx context.Context, s setting) (_ *arena, err error) {
	a := &arena{setting: s}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	url := b.cfg.URL
	if !b.given() {
		a.dir = filepath.Join(b.dir, s.name)
		if a.server, err = embedded.Start(embedded.Config{Dir: a.dir, NoSync: !s.sync || b.cfg.Sizes.NoSync}); err != nil {
			return nil, err
		}
		url = a.server.ClientURL()
	}
	if a.engine, err = b.connect(url, b.cfg.Options...); err != nil {
		return nil, err
	}
	if a.plain, err = b.connect(url, b.cfg.Options...); err != nil {
		return nil, err
	}
	if b.given() {
		if err := mustBeFree(ctx, a.plain); err != nil {
			return nil, err
		}
	}
	return a, a.openStreams(ctx, b.cfg.Replicas)
}

func (b *bench) connect(url string, options ...nats.Option) (*nats.Conn, error) {
	conn, err := nats.Connect(url, append(options, nats.Name("closure bench"), nats.MaxReconnects(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.say("NATS: %v", err) }))...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return conn, nil
}

// openStreams makes the log, and the plain stream after its image.
func (a *arena) openStreams(ctx context.Context, replicas int) (err error) {
	if a.log, err = eventstore.Open(ctx, a.engine, eventstore.Config{Replicas: replicas, AppendTimeout: patient, ReadTimeout: patient}); err != nil {
		return err
	}
	if a.plainJS, err = jetstream.New(a.plain, jetstream.WithDefaultTimeout(patient)); err != nil {
		return err
	}
	log, err := a.plainJS.Stream(ctx, eventstore.StreamLog)
	if err != nil {
		return err
	}
	cfg := log.CachedInfo().Config
	cfg.Name, cfg.Subjects, cfg.Description = plainStream, []string{plainPrefix + ">"}, "closure bench: the plain side. It may be deleted."
	_, err = a.plainJS.CreateStream(ctx, cfg)
	return err
}

// close takes away all that was made. It may be called on what was opened in part.
func (a *arena) close() error {
	var err error
	if a.server == nil && a.plainJS != nil {
		err = takeAway(a.plainJS)
	}
	for _, conn := range []*nats.Conn{a.engine, a.plain} {
		if conn != nil {
			conn.Close()
		}
	}
	if a.server != nil {
		a.server.Shutdown()
	}
	if a.dir != "" {
		err = errors.Join(err, os.RemoveAll(a.dir))
	}
	return err
}

// arena gives the server of a setting, which is started when it is first asked for.
func (b *bench) arena(ctx context.Context, s setting) (*arena, error) {
	if a := b.arenas[s.name]; a != nil {
		return a, nil
	}
	if b.given() { // there is one log for all; it begins anew
		if err := b.closeArenas(); err != nil {
			return nil, err
		}
	}
	a, err := b.openArena(ctx, s)
	if err != nil {
		return nil, err
	}
	b.arenas[s.name] = a
	return a, nil
}

// filled gives the server of a setting with accounts in its log.
func (b *bench) filled(ctx context.Context, s setting, accounts int) (*arena, error) {
	a, err := b.arena(ctx, s)
	if err != nil || len(a.accounts) > 0 {
		return a, err
	}
	return a, b.fill(ctx, a, accounts)
}

// keepFor closes the servers that none of the figures needs: their memory would be in the way.
func (b *bench) keepFor(figures []Figure) error {
	var errs []error
	for name, a := range b.arenas {
		if slices.ContainsFunc(figures, func(f Figure) bool { return slices.Contains(f.on, a.setting) }) {
			continue
		}
		delete(b.arenas, name)
		errs = append(errs, a.close())
	}
	return errors.Join(errs...)
}

func (b *bench) closeArenas() error { return b.keepFor(nil) }
