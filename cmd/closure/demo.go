package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"closure/eventstore/access"
	"closure/handlers/auth"
)

// demoWithin bounds each scenario: it ends by itself.
const demoWithin = 60 * time.Second

// demoCommand plays scenarios, each on an engine of its own, as clients and upstream services would.
type demoCommand struct {
	Scenario string `default:"closing" enum:"closing,uk,de,liquidation,offboarding,late-cash,all" help:"What to play: closing, uk, de, liquidation, offboarding, late-cash, or all of them."`
	JSON     bool   `name:"json" help:"Print one JSON line a step."`
	Out      string `help:"The folder for the PDF reports. Defaults to a new folder among the temporary files." type:"path"`
	Verbose  bool   `help:"Show the engine's own log, too."`
}

// scenario is a story that the demo can tell.
type scenario struct {
	name, title string
	// sandbox: the story moves the clock.
	sandbox bool
	steps   func(*demo) []step
}

// scenarios are all stories, in the order of --scenario all.
func scenarios() []scenario {
	return []scenario{
		{"closing", "Two accounts and their group are closed", false, (*demo).closing},
		{"uk", "A closing in the UK waits for the end of the tax year", true, (*demo).unitedKingdom},
		{"de", "A German tax resident gets a tax statement in March", true, (*demo).germany},
		{"liquidation", "A liquidation sells everything, and the account closes", false, (*demo).liquidation},
		{"offboarding", "A user leaves when everything is closed", false, (*demo).offboarding},
		{"late-cash", "Cash comes back after the closing", false, (*demo).lateCash},
	}
}

func (c demoCommand) Run(ctx context.Context, std streams) error {
	if c.Out == "" {
		var err error
		if c.Out, err = os.MkdirTemp("", "closure-report-"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	show := newPresenter(std.out, c.JSON)
	began, steps := time.Now(), 0
	for _, s := range scenarios() {
		if c.Scenario != "all" && c.Scenario != s.name {
			continue
		}
		if c.Scenario == "all" {
			show.scenario(s.title)
		}
		n, err := c.play(ctx, s, show, c.logger(std.err))
		if err != nil {
			return fmt.Errorf("scenario %s: %w", s.name, err)
		}
		steps += n
	}
	show.end(steps, time.Since(began))
	return nil
}

// play tells one story in a temporary folder, and says how many steps it had.
func (c demoCommand) play(ctx context.Context, s scenario, show presenter, logger *slog.Logger) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, demoWithin)
	defer cancel()
	folder, err := os.MkdirTemp("", "closure-demo-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	d := &demo{out: c.Out, show: show}
	defer func() { err = errors.Join(err, d.stop(ctx)) }()
	if err := d.start(ctx, folder, s.sandbox, logger); err != nil {
		return 0, err
	}
	d.cast = newCast()
	if err := d.enroll(ctx); err != nil {
		return 0, err
	}
	steps := s.steps(d)
	for i, step := range steps {
		if err := d.run(ctx, s.name, i+1, step); err != nil {
			return i, fmt.Errorf("step %d, %s: %w", i+1, step.title, err)
		}
	}
	return len(steps), nil
}

func (c demoCommand) logger(w io.Writer) *slog.Logger {
	if c.Verbose {
		return newLogger(w, slog.LevelInfo)
	}
	return newLogger(w, slog.LevelError)
}

// demo is one run: an engine, a client of it over HTTP and NATS, and a receiver of its webhooks.
type demo struct {
	app      *app
	conn     *nats.Conn
	client   *http.Client
	receiver *receiver
	show     presenter
	out      string // the folder for the PDF
	cast     cast
	token    string // of the client
}

func (d *demo) start(ctx context.Context, folder string, sandbox bool, logger *slog.Logger) error {
	var err error
	if d.app, err = startApp(ctx, settings{
		HTTPAddr: "127.0.0.1:0", NATSAddr: "127.0.0.1:0", Data: filepath.Join(folder, "data"), Replicas: 1,
		EarlyFactWait: time.Minute, Sandbox: sandbox, InsecureWebhooks: true, Logger: logger,
	}); err != nil {
		return err
	}
	d.client = &http.Client{Timeout: 10 * time.Second}
	// It sends facts as an upstream service does, which may do that, and nothing else.
	upstream := natsAuth{NKey: credentialFile(filepath.Join(folder, "data"), access.Upstream), InboxPrefix: access.Inbox(access.Upstream)}
	options, err := upstream.options()
	if err != nil {
		return err
	}
	if d.conn, err = nats.Connect(d.app.NATSURL, append(options, nats.Name("closure demo"))...); err != nil {
		return err
	}
	d.receiver, err = startReceiver(ctx)
	return err
}

// enroll makes the client of the story one of the engine's, and gets it an access token.
func (d *demo) enroll(ctx context.Context) error {
	_, secret, err := d.app.auth.Clients().Add(ctx, auth.NewClient{ID: d.cast.client, Name: "demo", Scopes: auth.NewSet(auth.Scopes()...)})
	if err != nil {
		return err
	}
	token, err := d.app.auth.Token(ctx, d.cast.client, secret, "")
	d.token = token.AccessToken
	return err
}

// identify says in a request who makes it.
func (d *demo) identify(r *http.Request) {
	r.Header.Set("upvest-client-id", d.cast.client)
	r.Header.Set("authorization", "Bearer "+d.token)
	if r.Method == http.MethodPost {
		r.Header.Set("idempotency-key", uuid.NewString())
	}
}

// stop has time of its own: the demo may have ended because its context did.
func (d *demo) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	var err error
	if d.conn != nil {
		d.conn.Close()
	}
	if d.app != nil {
		err = d.app.Stop(ctx)
	}
	if d.receiver != nil {
		err = errors.Join(err, d.receiver.stop(ctx))
	}
	return err
}

// step is one thing that the demo does and checks.
type step struct {
	title string
	do    func(context.Context, *page) error
}

func (d *demo) run(ctx context.Context, scenario string, number int, s step) error {
	p := &page{Scenario: scenario, Step: number, Title: s.title}
	d.show.begin(p)
	err := s.do(ctx, p.on(d.show))
	p.OK = err == nil
	if err != nil {
		p.Error = err.Error()
	}
	d.show.finish(p)
	return err
}
