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
	"closure/handlers/auth"
	"closure/handlers/httpapi"
)

// stopWithin bounds how long a clean stop may take to finish what is in hand.
const stopWithin = 20 * time.Second

// serveCommand runs the engine until SIGINT or SIGTERM.
type serveCommand struct {
	Config      string  `type:"path" placeholder:"FILE" help:"Settings in YAML: the name of each flag, and its value. Flags count before the environment, that before the file."`
	HTTPAddr    string  `name:"http-addr" default:"127.0.0.1:8080" help:"Where HTTP listens; port 0 takes a free one. An address that others can reach needs clients, and TLS or --behind-proxy."`
	OpsAddr     string  `name:"ops-addr" placeholder:"HOST:PORT" help:"Where /metrics, /healthz and /readyz are for operators, in plain HTTP; nothing there tells of a client. Defaults to nowhere: /metrics is on a loopback --http-addr only."`
	TLSCert     string  `name:"tls-cert" type:"path" placeholder:"FILE" help:"The certificate (PEM) of HTTP. It is read again when it has changed."`
	TLSKey      string  `name:"tls-key" type:"path" placeholder:"FILE" help:"The key (PEM) of --tls-cert."`
	BehindProxy bool    `name:"behind-proxy" help:"HTTP is reached by a proxy only, which speaks TLS with the clients."`
	ClientsFile string  `name:"clients-file" type:"path" placeholder:"FILE" help:"Clients (YAML) beside those of 'closure clients'."`
	Issuer      string  `name:"auth-issuer" placeholder:"URL" help:"Take the access tokens of this issuer, and give out none."`
	JWKSURL     string  `name:"auth-jwks-url" placeholder:"URL" help:"Where the keys of --auth-issuer are (a JWK set)."`
	Audience    string  `name:"auth-audience" placeholder:"NAME" help:"The audience of the tokens of --auth-issuer."`
	ClientClaim string  `name:"auth-client-claim" default:"client_id" help:"The claim of the tokens of --auth-issuer that holds the client's id."`
	Rate        float64 `name:"client-rate" default:"500" help:"How many requests a second a client may make to this engine, unless it has a rate of its own."`
	Burst       int     `name:"client-burst" default:"1000" help:"How many requests a client may make at once."`
	InFlight    int     `name:"max-in-flight" default:"1024" help:"How many requests are carried out at the same time; more are answered 503."`
	NATSAddr    string  `name:"nats-addr" default:"127.0.0.1:4222" help:"Where the embedded NATS server listens, loopback only; port 0 takes a free one."`
	NATSURL     string  `name:"nats-url" help:"NATS servers to use instead of the embedded one: nats://host:port, several with commas."`
	Data        string  `default:"./closure-data" help:"The data folder."`
	natsAuth
	Replicas      int           `default:"1" help:"Replicas of each stream: 1, 3 or 5; more than 1 needs --nats-url."`
	EarlyFactWait time.Duration `name:"early-fact-wait" default:"10m" help:"How long a durable fact waits for a resource that does not exist yet."`
	StallAfter    time.Duration `name:"stall-after" default:"720h" help:"How long a closure may be in progress before it is reported as stalled, and between two reports."`
	StatementDay  monthDay      `name:"tax-statement-day" default:"03-15" help:"The day, MM-DD, on which the German annual tax statements of the year before are made."`
	Insecure      bool          `name:"allow-insecure-webhooks" help:"Let webhooks go to http, and to loopback and private addresses. For development only."`
	Sandbox       bool          `help:"Let the clock be moved forwards (POST /sandbox/clock). Never for real accounts: the log of a sandbox tells of times that have not come."`
	LogLevel      slog.Level    `name:"log-level" default:"info" help:"debug, info, warn or error."`
	LogFormat     string        `name:"log-format" default:"text" enum:"text,json" help:"text, or json: one object a line."`
	DrainDelay    time.Duration `name:"drain-delay" default:"0s" help:"How long the engine goes on after it was asked to stop, while /readyz says that it does: as long as a load balancer takes to notice, such as 5s."`
	JSON          bool          `name:"json" help:"Print the addresses as one JSON line when ready."`
}

// Validate is called by kong: a wrong flag is a wrong use. It says all that is wrong.
func (c serveCommand) Validate() error {
	found := append(c.natsAuth.problems(), c.settings(nil).problems()...)
	wrong := func(when bool, format string, args ...any) {
		if when {
			found = append(found, fmt.Errorf(format, args...))
		}
	}
	wrong(c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5, "--replicas: must be 1, 3 or 5, got %d", c.Replicas)
	wrong(c.Replicas > 1 && c.NATSURL == "", "--replicas: more than 1 needs --nats-url, since the embedded server is a single one")
	wrong(c.EarlyFactWait < 0, "--early-fact-wait: must not be negative, got %s", c.EarlyFactWait)
	wrong(c.DrainDelay < 0, "--drain-delay: must not be negative, got %s", c.DrainDelay)
	wrong(c.StallAfter <= 0, "--stall-after: must be above zero, got %s", c.StallAfter)
	wrong(c.Sandbox && c.NATSURL != "", "--sandbox: needs the embedded server, since a clock of its own is for one engine alone")
	wrong(c.natsAuth.given() && c.NATSURL == "", "--nats-nkey, --nats-creds, --nats-tls-cert: are for --nats-url; the embedded server has its own credentials")
	wrong((c.TLSCert == "") != (c.TLSKey == ""), "--tls-cert: goes together with --tls-key")
	wrong(c.Rate <= 0, "--client-rate: must be above zero, got %g", c.Rate)
	wrong(c.Burst < 1, "--client-burst: must be 1 or more, got %d", c.Burst)
	wrong(c.InFlight < 1, "--max-in-flight: must be 1 or more, got %d", c.InFlight)
	wrong((c.Issuer == "") != (c.JWKSURL == "") || (c.Issuer == "") != (c.Audience == ""),
		"--auth-issuer: goes together with --auth-jwks-url and --auth-audience")
	return errors.Join(append(found, checkServers(c.NATSURL))...)
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
	logger := newLoggerIn(c.LogFormat, std.err, c.LogLevel)
	set := c.settings(logger)
	a, err := startApp(ctx, set)
	if err != nil {
		return err
	}
	dev, err := a.develop(ctx, set)
	if err == nil {
		err = c.announce(std.out, a, dev)
	}
	if err != nil {
		return errors.Join(err, c.stop(ctx, a))
	}
	<-ctx.Done()
	logger.Info("stopping: what is in hand is finished first")
	a.drain(context.WithoutCancel(ctx), c.DrainDelay)
	return c.stop(ctx, a)
}

// settings are the flags as the engine takes them.
func (c serveCommand) settings(logger *slog.Logger) settings {
	s := settings{
		HTTPAddr: c.HTTPAddr, OpsAddr: c.OpsAddr, TLSCert: c.TLSCert, TLSKey: c.TLSKey, BehindProxy: c.BehindProxy,
		NATSAddr: c.NATSAddr, NATSURL: c.NATSURL, NATSAuth: c.natsAuth, Data: c.Data, Replicas: c.Replicas,
		ClientsFile: c.ClientsFile, Rate: httpapi.Rate{PerSecond: c.Rate, Burst: c.Burst}, InFlight: c.InFlight,
		EarlyFactWait: c.EarlyFactWait, StallAfter: c.StallAfter, TaxStatementDay: domain.MonthDay(c.StatementDay), Sandbox: c.Sandbox,
		InsecureWebhooks: c.Insecure, Logger: logger,
	}
	if c.Issuer != "" {
		s.Issuer = auth.Issuer{URL: c.Issuer, JWKSURL: c.JWKSURL, Audience: c.Audience, ClientClaim: c.ClientClaim}
	}
	return s
}

// stop gives the engine time of its own: the context of the command has ended by then.
func (c serveCommand) stop(ctx context.Context, a *app) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	return a.Stop(ctx)
}

// announce prints where the engine listens, once it does, and how to begin.
func (c serveCommand) announce(w io.Writer, a *app, dev *developer) error {
	if c.JSON {
		line := map[string]any{
			"http": a.HTTPURL, "nats": redacted(a.NATSURL), "data": c.Data, "version": version(), "sandbox": c.Sandbox,
		}
		if a.OpsURL != "" {
			line["ops"] = a.OpsURL
		}
		if dev != nil {
			line["development_client"] = dev
		}
		return printJSON(w, line)
	}
	var text strings.Builder
	if c.Sandbox {
		fmt.Fprintf(&text, "SANDBOX: the clock can be moved, and shows %s. Nothing here is real.\n", a.clock.Now().UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(&text, "closure %s is ready\n  HTTP  %s\n  NATS  %s\n  data  %s\n", version(), a.HTTPURL, redacted(a.NATSURL), c.Data)
	if a.OpsURL != "" {
		fmt.Fprintf(&text, "  ops   %s\n", a.OpsURL)
	}
	if dev != nil {
		fmt.Fprintf(&text, "A client for development was made (%s); this token of it is good for an hour:\n"+
			"  curl -H 'upvest-client-id: %s' -H 'authorization: Bearer %s' %s/accounts\n",
			developmentFile(c.Data), dev.ClientID, dev.Token, a.HTTPURL)
	}
	text.WriteString("Stop it with Ctrl-C.\n")
	_, err := io.WriteString(w, text.String())
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
