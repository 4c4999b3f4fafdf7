package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"closure/domain"
)

// stopWithin bounds how long a clean stop may take to finish what is in hand.
const stopWithin = 20 * time.Second

// serveCommand runs the engine until SIGINT or SIGTERM.
type serveCommand struct {
	HTTPAddr      string        `name:"http-addr" default:"127.0.0.1:8080" help:"Where HTTP listens, loopback only; port 0 takes a free one."`
	NATSAddr      string        `name:"nats-addr" default:"127.0.0.1:4222" help:"Where the embedded NATS server listens, loopback only; port 0 takes a free one."`
	NATSURL       string        `name:"nats-url" help:"NATS servers to use instead of the embedded one: nats://host:port, several with commas."`
	Data          string        `default:"./closure-data" help:"The data folder."`
	Replicas      int           `default:"1" help:"Replicas of each stream: 1, 3 or 5; more than 1 needs --nats-url."`
	EarlyFactWait time.Duration `name:"early-fact-wait" default:"10m" help:"How long a durable fact waits for a resource that does not exist yet."`
	StallAfter    time.Duration `name:"stall-after" default:"720h" help:"How long a closure may be in progress before it is reported as stalled, and between two reports."`
	StatementDay  monthDay      `name:"tax-statement-day" default:"03-15" help:"The day, MM-DD, on which the German annual tax statements of the year before are made."`
	Insecure      bool          `name:"allow-insecure-webhooks" help:"Let webhooks go to http, and to loopback and private addresses. For development only."`
	Sandbox       bool          `help:"Let the clock be moved forwards (POST /sandbox/clock). Never for real accounts: the log of a sandbox tells of times that have not come."`
	LogLevel      slog.Level    `name:"log-level" default:"info" help:"debug, info, warn or error."`
	JSON          bool          `name:"json" help:"Print the addresses as one JSON line when ready."`
}

// Validate is called by kong: a wrong flag is a wrong use.
func (c serveCommand) Validate() error {
	switch {
	case c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return fmt.Errorf("--replicas: must be 1, 3 or 5, got %d", c.Replicas)
	case c.Replicas > 1 && c.NATSURL == "":
		return errors.New("--replicas: more than 1 needs --nats-url, since the embedded server is a single one")
	case c.EarlyFactWait < 0:
		return fmt.Errorf("--early-fact-wait: must not be negative, got %s", c.EarlyFactWait)
	case c.StallAfter <= 0:
		return fmt.Errorf("--stall-after: must be above zero, got %s", c.StallAfter)
	case c.Sandbox && c.NATSURL != "":
		return errors.New("--sandbox: needs the embedded server, since a clock of its own is for one engine alone")
	}
	return checkServers(c.NATSURL)
}

// checkServers refuses what is no list of servers. It does not say what it got: there may be a password in it.
func checkServers(urls string) error {
	if urls == "" {
		return nil
	}
	for i, part := range strings.Split(urls, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return fmt.Errorf("--nats-url: must be nats://host:port, several with commas; the one at place %d is not", i+1)
		}
	}
	return nil
}

func (c serveCommand) Run(ctx context.Context, std streams) error {
	logger := newLogger(std.err, c.LogLevel)
	a, err := startApp(ctx, settings{
		HTTPAddr: c.HTTPAddr, NATSAddr: c.NATSAddr, NATSURL: c.NATSURL, Data: c.Data, Replicas: c.Replicas,
		EarlyFactWait: c.EarlyFactWait, StallAfter: c.StallAfter, TaxStatementDay: domain.MonthDay(c.StatementDay), Sandbox: c.Sandbox,
		InsecureWebhooks: c.Insecure, Logger: logger,
	})
	if err != nil {
		return err
	}
	if err := c.announce(std.out, a); err != nil {
		return errors.Join(err, c.stop(ctx, a))
	}
	<-ctx.Done()
	logger.Info("stopping: what is in hand is finished first")
	return c.stop(ctx, a)
}

// stop gives the engine time of its own: the context of the command has ended by then.
func (c serveCommand) stop(ctx context.Context, a *app) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	return a.Stop(ctx)
}

// announce prints where the engine listens, once it does.
func (c serveCommand) announce(w io.Writer, a *app) error {
	if c.JSON {
		return printJSON(w, map[string]any{
			"http": a.HTTPURL, "nats": redacted(a.NATSURL), "data": c.Data, "version": version(), "authenticates": false,
			"sandbox": c.Sandbox,
		})
	}
	if c.Sandbox {
		if _, err := fmt.Fprintf(w, "SANDBOX: the clock can be moved, and shows %s. Nothing here is real.\n", a.clock.Now().UTC().Format(time.RFC3339)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "closure %s is ready\n  HTTP  %s\n  NATS  %s\n  data  %s\nIt does not authenticate anybody: it listens on loopback only. Stop it with Ctrl-C.\n",
		version(), a.HTTPURL, redacted(a.NATSURL), c.Data)
	return err
}

// monthDay is a day of every year on the command line: MM-DD.
type monthDay domain.MonthDay

// UnmarshalText reads MM-DD.
func (d *monthDay) UnmarshalText(text []byte) error {
	at, err := time.Parse("01-02", string(text))
	if err != nil || domain.MonthDay.Validate(domain.MonthDay{Month: at.Month(), Day: at.Day()}) != nil {
		return fmt.Errorf("must be a day of every year such as 03-15, got %q", text)
	}
	*d = monthDay{Month: at.Month(), Day: at.Day()}
	return nil
}

func printJSON(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return err
}
