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

	"github.com/nats-io/nats.go"
)

// demoWithin bounds the whole demo: it ends by itself.
const demoWithin = 60 * time.Second

// demoCommand closes an account group with two accounts on an engine of its own, as clients and upstream services would.
type demoCommand struct {
	JSON    bool   `name:"json" help:"Print one JSON line a step."`
	Out     string `help:"The folder for the PDF report. Defaults to a new folder among the temporary files." type:"path"`
	Verbose bool   `help:"Show the engine's own log, too."`
}

func (c demoCommand) Run(ctx context.Context, std streams) (err error) {
	ctx, cancel := context.WithTimeout(ctx, demoWithin)
	defer cancel()
	folder, err := os.MkdirTemp("", "closure-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if c.Out == "" {
		if c.Out, err = os.MkdirTemp("", "closure-report-"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	d := &demo{out: c.Out, show: newPresenter(std.out, c.JSON)}
	defer func() { err = errors.Join(err, d.stop(ctx)) }()
	if err := d.start(ctx, folder, c.logger(std.err)); err != nil {
		return err
	}
	began := time.Now()
	steps := d.steps()
	for i, step := range steps {
		if err := d.run(ctx, i+1, step); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, step.title, err)
		}
	}
	d.show.end(len(steps), time.Since(began))
	return nil
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
	pdf      string // where the PDF was put
}

func (d *demo) start(ctx context.Context, folder string, logger *slog.Logger) error {
	var err error
	if d.app, err = startApp(ctx, settings{
		HTTPAddr: "127.0.0.1:0", NATSAddr: "127.0.0.1:0", Data: filepath.Join(folder, "data"), Replicas: 1,
		EarlyFactWait: time.Minute, Logger: logger,
	}); err != nil {
		return err
	}
	d.client = &http.Client{Timeout: 10 * time.Second}
	if d.conn, err = nats.Connect(d.app.NATSURL, nats.Name("closure demo")); err != nil {
		return err
	}
	d.receiver, err = startReceiver(ctx)
	return err
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

func (d *demo) run(ctx context.Context, number int, s step) error {
	p := &page{Step: number, Title: s.title}
	d.show.begin(p)
	err := s.do(ctx, p.on(d.show))
	p.OK = err == nil
	if err != nil {
		p.Error = err.Error()
	}
	d.show.finish(p)
	return err
}
