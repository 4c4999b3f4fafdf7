package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats.go"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/handlers"
	"closure/handlers/httpapi"
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

	clock   clock
	sandbox *sandbox // nil for none
	log     *eventstore.Log
	lists   *readmodel.Model
	started []component // in the order of their starts
}

// Securities account numbers have 7 to 12 digits. A block is one write for so many groups.
const (
	firstSecuritiesAccountNumber = 1_000_000
	securitiesAccountNumberBlock = 100
)

// startApp starts an engine, and returns when it answers. On an error everything that was started is stopped.
func startApp(ctx context.Context, s settings) (*app, error) {
	a := &app{}
	if err := a.start(ctx, s); err != nil {
		return nil, errors.Join(err, a.Stop(ctx))
	}
	return a, nil
}

func (a *app) start(ctx context.Context, s settings) error {
	for _, addr := range []struct{ flag, value string }{{"--http-addr", s.HTTPAddr}, {"--nats-addr", s.NATSAddr}} {
		if err := loopbackOnly(addr.flag, addr.value); err != nil {
			return err
		}
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
	log, err := eventstore.Open(ctx, bus.conn, eventstore.Config{Replicas: s.Replicas, Logger: s.Logger})
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
	engine := handlers.New(handlers.Config{Log: log, SecuritiesAccountNumbers: numbers, Now: a.clock.Now, Logger: s.Logger})
	return a.startParts(ctx, s, bus, engine)
}

// startParts starts the ways out before the ways in, so that nothing that is accepted has to wait for a reader.
func (a *app) startParts(ctx context.Context, s settings, bus *bus, engine *handlers.Engine) error {
	do := func(ctx context.Context, c domain.Command) error {
		_, err := engine.Do(ctx, c)
		return err
	}
	lists := readmodel.New(readmodel.Config{Path: filepath.Join(s.Data, "readmodel.db"), Log: a.log, Logger: s.Logger})
	a.lists = lists
	keys := signing.New(signing.Config{Log: a.log, Replicas: s.Replicas, Logger: s.Logger})
	hooks := webhooks.New(webhooks.Config{
		Log: a.log, Replicas: s.Replicas, Backoff: s.Backoff, Signer: keys, Logger: s.Logger,
		Sender: sending.New(sending.Config{AllowInsecure: s.InsecureWebhooks, UserAgent: webhooks.UserAgent()}),
	})
	pdfs := reports.New(reports.Config{Log: a.log, Do: do, Replicas: s.Replicas, Logger: s.Logger})
	events := publisher.New(publisher.Config{Log: a.log, Replicas: s.Replicas, Logger: s.Logger})
	managers := process.New(process.Config{
		Engine: engine, Log: a.log, Replicas: s.Replicas, StallAfter: s.StallAfter, TaxStatementDay: s.TaxStatementDay,
		Now: a.clock.Now, Logger: s.Logger,
	})
	parts := []component{
		events,
		lists,
		keys,
		hooks,
		pdfs,
		managers,
		natsapi.New(natsapi.Config{
			Engine: engine, Log: a.log, Lists: lists, Replicas: s.Replicas, EarlyFactWait: s.EarlyFactWait, Version: version(), Now: a.clock.Now, Logger: s.Logger,
		}),
	}
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
		VerifyKeys: keys.JWKSet, AsyncAPI: asyncAPI,
		Engine: engine, Lists: lists, Webhooks: subscriptions{hooks}, Reports: pdfs, Now: a.clock.Now, Version: version(), Logger: s.Logger,
		Ready: func(context.Context) error { return a.Ready() },
	}
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
	web := &web{addr: s.HTTPAddr, handler: api, logger: s.Logger}
	if err := a.add(ctx, web); err != nil {
		return err
	}
	a.HTTPURL = "http://" + web.listener.Addr().String()
	return nil
}

// Ready tells whether the engine can answer: nil, or why not. It can when it has NATS, and its lists can be asked.
func (a *app) Ready() error {
	if !a.log.Conn().IsConnected() {
		return errors.New("no connection to NATS")
	}
	return a.lists.Ready()
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

// loopbackOnly refuses an address that others could reach: this version does not authenticate.
func loopbackOnly(flag, addr string) error {
	if addr == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return usageError{fmt.Errorf("%s: must be host:port such as 127.0.0.1:0, got %q", flag, addr)}
	}
	if ip := net.ParseIP(host); host == "localhost" || (ip != nil && ip.IsLoopback()) {
		return nil
	}
	return usageError{fmt.Errorf("%s: must be a loopback address such as 127.0.0.1, since this version does not authenticate; got %q", flag, addr)}
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
		server, err := embedded.Start(embedded.Config{Addr: s.NATSAddr, Dir: filepath.Join(s.Data, natsFolder), NoSync: s.noSync, Logger: s.Logger})
		if err != nil {
			return err
		}
		b.server, b.url = server, server.ClientURL()
	}
	conn, err := nats.Connect(b.url, nats.Name("closure"), nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				s.Logger.Warn("lost the connection to NATS", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { s.Logger.Info("connected to NATS again", "server", c.ConnectedServerName()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { s.Logger.Warn("NATS", "error", err) }),
	)
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

// web is the HTTP server.
type web struct {
	addr     string
	handler  http.Handler
	logger   *slog.Logger
	listener net.Listener
	server   *http.Server
	served   chan error
}

func (w *web) Start(ctx context.Context) error {
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", w.addr)
	if err != nil {
		return fmt.Errorf("HTTP cannot listen on %s (choose another with --http-addr): %w", w.addr, err)
	}
	w.listener, w.server, w.served = listener, httpapi.NewServer(w.handler), make(chan error, 1)
	w.server.ErrorLog = slog.NewLogLogger(w.logger.Handler(), slog.LevelDebug)
	go func() { w.served <- w.server.Serve(listener) }()
	return nil
}

func (w *web) Stop(ctx context.Context) error {
	if w.server == nil {
		return nil
	}
	err := w.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, w.server.Close())
	}
	<-w.served
	w.server = nil
	return err
}
