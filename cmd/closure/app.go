package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/access"
	"closure/eventstore/embedded"
	"closure/eventstore/retry"
	"closure/handlers"
	"closure/handlers/auth"
	"closure/handlers/httpapi"
	"closure/handlers/idempotency"
	"closure/handlers/natsapi"
	"closure/handlers/process"
	"closure/projections/publisher"
	"closure/projections/readmodel"
	"closure/projections/reports"
	"closure/projections/webhooks"
	sending "closure/projections/webhooks/endpoint"
	"closure/projections/webhooks/signing"
)

// settings of one engine process.
type settings struct {
	HTTPAddr      string        // where HTTP listens; port 0 takes a free one
	OpsAddr       string        // where metrics and probes are for operators; "" for nowhere
	NATSAddr      string        // where the embedded server listens; not used with NATSURL
	NATSURL       string        // a cluster instead of the embedded server
	Data          string        // the folder of the read model, and of the embedded server
	Replicas      int           // of the streams
	EarlyFactWait time.Duration // how long a fact waits for its resource
	// StallAfter is how long a closure may be in progress before it is reported. TaxStatementDay is when the German annual
	// tax statements are made. Zero: the defaults of process.Config.
	StallAfter      time.Duration
	TaxStatementDay domain.MonthDay
	// Sandbox lets the clock be moved.
	Sandbox bool
	// noSync has the embedded server leave its writes to the operating system: for tests that fill a log.
	noSync bool
	// NATSAuth is who the engine is on NATS, with NATSURL.
	NATSAuth natsAuth
	// TLSCert and TLSKey are files (PEM) by which HTTP is HTTPS. BehindProxy says that somebody else does that.
	TLSCert, TLSKey string
	BehindProxy     bool
	// ClientsFile has clients; Issuer gives tokens in the engine's place. Both may be missing.
	ClientsFile string
	Issuer      auth.Issuer
	// Rate is for clients without one of their own, InFlight for all requests together; zero: the defaults of httpapi.Config.
	Rate     httpapi.Rate
	InFlight int
	// InsecureWebhooks lets webhooks go to http and to any address, loopback and private ones as well.
	InsecureWebhooks bool
	// Backoff between the attempts of a webhook. nil: the one of the contract.
	Backoff func(attempt int) time.Duration
	Logger  *slog.Logger
}

// component is a part of the engine with the one lifecycle contract: Start returns when ready or failed; Stop is
// complete, repeatable, and safe before Start.
type component interface {
	Start(context.Context) error
	Stop(context.Context) error
}

// app is one running engine: everything that serve and demo start.
type app struct {
	HTTPURL string
	NATSURL string
	OpsURL  string // "" for none

	id      string    // of this run of the engine, for operators
	since   time.Time // when it was started
	clock   clock
	auth    *auth.Authenticator
	sandbox *sandbox // nil for none
	log     *eventstore.Log
	lists   *readmodel.Model
	metrics *metrics
	tracers *tracers
	vitals  *vitals
	started []component // in the order of their starts
}

// Securities account numbers have 7 to 12 digits. A block is one write for so many groups.
const (
	firstSecuritiesAccountNumber = 1_000_000
	securitiesAccountNumberBlock = 100
)

// startApp starts an engine, and returns when it answers. On an error everything that was started is stopped.
func startApp(ctx context.Context, s settings) (*app, error) {
	a := &app{id: uuid.NewString(), since: time.Now(), metrics: newMetrics(), tracers: &tracers{logger: s.Logger}}
	if err := a.start(ctx, s); err != nil {
		return nil, errors.Join(err, a.Stop(ctx))
	}
	return a, nil
}

func (a *app) start(ctx context.Context, s settings) error {
	if err := errors.Join(s.problems()...); err != nil {
		return usageError{err}
	}
	if err := a.add(ctx, a.tracers); err != nil {
		return err
	}
	if err := a.add(ctx, &folder{path: s.Data}); err != nil {
		return err
	}
	if err := openSandbox(s.Data, s.Sandbox, &a.clock); err != nil {
		return err
	}
	bus := &bus{settings: s}
	if err := a.add(ctx, bus); err != nil {
		return err
	}
	a.NATSURL = bus.url
	log, err := eventstore.Open(ctx, bus.conn, eventstore.Config{Replicas: s.Replicas, Appended: a.metrics.appended, Logger: s.Logger})
	if err != nil {
		return err
	}
	a.log = log
	numbers, err := eventstore.NewCounter(ctx, log.JetStream(), eventstore.CounterConfig{
		Name: "securities_account_number", First: firstSecuritiesAccountNumber, Block: securitiesAccountNumberBlock, Replicas: s.Replicas,
	})
	if err != nil {
		return err
	}
	engine := handlers.New(handlers.Config{
		Log: log, SecuritiesAccountNumbers: numbers, Now: a.clock.Now, Observe: a.metrics.command, Tracer: a.tracers.tracer(), Logger: s.Logger,
	})
	return a.startParts(ctx, s, bus, engine)
}

// startParts starts the ways out before the ways in, so that nothing that is accepted has to wait for a reader.
func (a *app) startParts(ctx context.Context, s settings, bus *bus, engine *handlers.Engine) error {
	do := func(ctx context.Context, c domain.Command) error {
		_, err := engine.Do(ctx, c)
		return err
	}
	if err := a.startAuth(ctx, s); err != nil {
		return err
	}
	answers := idempotency.New(idempotency.Config{Log: a.log, Replicas: s.Replicas, Logger: s.Logger})
	lists := readmodel.New(readmodel.Config{Path: filepath.Join(s.Data, "readmodel.db"), Log: a.log, Logger: s.Logger})
	a.lists, a.vitals = lists, newVitals(a.log, lists)
	keys := signing.New(signing.Config{Log: a.log, Replicas: s.Replicas, Logger: s.Logger})
	hooks := webhooks.New(webhooks.Config{
		Log: a.log, Replicas: s.Replicas, Backoff: s.Backoff, Signer: keys,
		Attempted: a.metrics.attempt, Tracer: a.tracers.tracer(), Logger: s.Logger,
		Sender: sending.New(sending.Config{AllowInsecure: s.InsecureWebhooks, UserAgent: webhooks.UserAgent()}),
	})
	pdfs := reports.New(reports.Config{Log: a.log, Do: do, Replicas: s.Replicas, Logger: s.Logger})
	events := publisher.New(publisher.Config{Log: a.log, Replicas: s.Replicas, Tracer: a.tracers.tracer(), Logger: s.Logger})
	managers := process.New(process.Config{
		Engine: engine, Log: a.log, Replicas: s.Replicas, StallAfter: s.StallAfter, TaxStatementDay: s.TaxStatementDay,
		Now: a.clock.Now, Logger: s.Logger,
	})
	service := natsapi.New(natsapi.Config{
		Engine: engine, Log: a.log, Lists: lists, Replicas: s.Replicas, EarlyFactWait: s.EarlyFactWait, Version: version(), Now: a.clock.Now,
		Status: a.status, Rejected: a.metrics.reject, Tracer: a.tracers.tracer(), Logger: s.Logger,
	})
	a.vitals.follow(hooks, managers.Timers(), service, projection{"publisher", events.Position}, projection{ownProjection, lists.Position},
		projection{"process", managers.Position}, projection{"reports", pdfs.Position})
	parts := []component{answers, events, lists, keys, hooks, pdfs, managers, service}
	for _, part := range parts {
		if err := a.add(ctx, part); err != nil {
			return err
		}
	}
	asyncAPI, err := natsapi.AsyncAPI(version(), a.NATSURL)
	if err != nil {
		return err
	}
	cfg := httpapi.Config{
		Auth: a.auth, Idempotency: answers, Rate: s.Rate, InFlight: s.InFlight, VerifyKeys: keys.JWKSet, AsyncAPI: asyncAPI,
		Engine: engine, Lists: lists, Webhooks: subscriptions{hooks}, Reports: pdfs, Now: a.clock.Now, Version: version(), Logger: s.Logger,
		Ready: a.Ready, Observe: a.metrics.request, Denied: a.metrics.deny, Metrics: a.metrics.onAPI(s.reachable()), Tracer: a.tracers.tracer(),
	}
	a.metrics.registry.MustRegister(gathered{vitals: a.vitals, engine: engine, timers: managers.Timers()})
	if s.Sandbox {
		a.sandbox = &sandbox{
			path: filepath.Join(s.Data, sandboxFile), clock: &a.clock, log: a.log, timers: managers.Timers(),
			followers: []follower{managers, pdfs, events, lists},
		}
		cfg.Sandbox = a.sandbox
	}
	api, err := httpapi.New(cfg)
	if err != nil {
		return err
	}
	if s.OpsAddr != "" { // before the API, so that it stops after it
		ops := &web{addr: s.OpsAddr, flag: "--ops-addr", handler: opsHandler(api, a.metrics), logger: s.Logger}
		if err := a.add(ctx, ops); err != nil {
			return err
		}
		a.OpsURL = ops.url()
	}
	web := &web{addr: s.HTTPAddr, flag: "--http-addr", certificate: s.TLSCert, key: s.TLSKey, handler: api, logger: s.Logger}
	if err := a.add(ctx, web); err != nil {
		return err
	}
	a.HTTPURL = web.url()
	return nil
}

// Ready tells whether the engine can answer: nil, or why not, for everybody to read.
func (a *app) Ready(ctx context.Context) error { return a.vitals.ready(ctx) }

// drain has the engine say that it is not ready, and goes on for a while, so that whoever sends it requests hears of it first.
func (a *app) drain(ctx context.Context, wait time.Duration) {
	a.vitals.stopping.Store(true)
	_ = retry.Pause(ctx, wait) // the end of the context ends the wait
}

// add starts a component, and has Stop stop it.
func (a *app) add(ctx context.Context, c component) error {
	a.started = append(a.started, c)
	return c.Start(ctx)
}

// Stop stops everything in the reverse order, finishing what is in hand, within the context. It does not end at the
// first error.
func (a *app) Stop(ctx context.Context) error {
	var errs []error
	for _, c := range slices.Backward(a.started) {
		errs = append(errs, c.Stop(ctx))
	}
	a.started = nil
	return errors.Join(errs...)
}

// natsFolder is where the embedded server keeps its streams, in the data folder.
const natsFolder = "nats"

// folder is the data folder, held by one process at a time.
type folder struct {
	path string
	lock *flock.Flock
}

func (f *folder) Start(context.Context) error {
	if err := os.MkdirAll(f.path, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	lock := flock.New(filepath.Join(f.path, "closure.lock"))
	taken, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("data folder %s: %w", f.path, err)
	}
	if !taken {
		return fmt.Errorf("the data folder %s is in use by another closure server: stop it, or choose another with --data", f.path)
	}
	f.lock = lock
	return nil
}

func (f *folder) Stop(context.Context) error {
	if f.lock == nil {
		return nil
	}
	return f.lock.Unlock()
}

// bus is the connection to NATS, and the embedded server when there is no other.
type bus struct {
	settings settings
	server   *embedded.Server
	conn     *nats.Conn
	url      string
}

func (b *bus) Start(context.Context) error {
	s := b.settings
	b.url = s.NATSURL
	if b.url == "" {
		users, err := natsAccess(s.Data)
		if err != nil {
			return err
		}
		server, err := embedded.Start(embedded.Config{
			Addr: s.NATSAddr, Dir: filepath.Join(s.Data, natsFolder), NoSync: s.noSync, Access: users, Account: access.Account, Logger: s.Logger,
		})
		if err != nil {
			return err
		}
		b.server, b.url, s.NATSAuth = server, server.ClientURL(), natsAuth{NKey: credentialFile(s.Data, access.Engine)}
	}
	options, err := s.NATSAuth.options()
	if err != nil {
		return err
	}
	conn, err := nats.Connect(b.url, append(options, nats.Name("closure"), nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				s.Logger.Warn("lost the connection to NATS", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { s.Logger.Info("connected to NATS again", "server", c.ConnectedServerName()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { s.Logger.Warn("NATS", "error", err) }),
	)...)
	if err != nil {
		return fmt.Errorf("connect to NATS at %s: %w", redacted(b.url), err)
	}
	b.conn = conn
	return nil
}

func (b *bus) Stop(context.Context) error {
	if b.conn != nil {
		b.conn.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
	}
	return nil
}
