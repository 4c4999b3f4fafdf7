// Package httpapi is the HTTP contract: accounts and account groups, users, orders and liquidations, closings, webhook
// subscriptions, reports, the OpenAPI document and the probes. It turns requests into commands of the engine and reads of its resources, and every error into
// problem+json. The OpenAPI document is made from the Go types that serve the calls, so the two cannot part.
package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.opentelemetry.io/otel/trace"

	"closure/domain"
	"closure/eventstore/tracing"
	"closure/handlers"
)

// Lists reads the lists of a client. userID "" means all of the client's; an unknown user has empty lists. The number is
// how many there are in all, whatever the page. A list MAY lag behind what was just accepted.
type Lists interface {
	Accounts(ctx context.Context, clientID, userID string, page domain.Page) ([]domain.AccountResource, int, error)
	AccountGroups(ctx context.Context, clientID, userID string, page domain.Page) ([]domain.AccountGroupResource, int, error)
	Reports(ctx context.Context, clientID, userID string, page domain.Page) ([]domain.ReportResource, int, error)
	// Closures lists what was asked to close, the oldest request first.
	Closures(ctx context.Context, q domain.ClosureQuery) ([]domain.ClosureItem, int, error)
	// OrderAccount finds the account of an order of the client. It serves GET /orders/{id}, which shows what was just
	// accepted: so an order that was in the log when this was called MUST be found, unlike in a list.
	OrderAccount(ctx context.Context, clientID, orderID string) (accountID string, ok bool, err error)
}

// Webhooks keeps the webhook subscriptions, and tells of their deliveries. What a client does not have is a *domain.Refusal
// of kind NotFound, whether it does not exist or is another client's.
type Webhooks interface {
	// Create assigns the id, the times and the secret, and MUST give them back. It is the only time that this secret is shown.
	Create(ctx context.Context, clientID string, w domain.Webhook) (made domain.Webhook, secret string, err error)
	Get(ctx context.Context, clientID, id string) (domain.Webhook, error)
	List(ctx context.Context, clientID string, page domain.Page) ([]domain.Webhook, int, error)
	// Update MUST apply change to the present subscription, again when that was changed meanwhile. An error of change is
	// returned as it is, and nothing is written.
	Update(ctx context.Context, clientID, id string, change func(domain.Webhook) (domain.Webhook, error)) (domain.Webhook, error)
	Delete(ctx context.Context, clientID, id string) error
	// Delivery tells how the deliveries of a subscription go, at a cost that does not depend on how much waits.
	Delivery(ctx context.Context, clientID, id string) (WebhookDelivery, error)
	// RotateSecret gives a new secret, this once. The one before it MUST sign as well until previousUntil, which is the
	// overlap from now; with an overlap of 0 it ends at once.
	RotateSecret(ctx context.Context, clientID, id string, overlap time.Duration) (secret string, previousUntil time.Time, err error)
	// Attempts lists the attempts, the newest first: the page has an offset and a limit only.
	Attempts(ctx context.Context, clientID, id string, filter AttemptFilter, page domain.Page) ([]WebhookAttempt, int, error)
	// Test posts an event that is of this request alone. That the endpoint fails MUST be part of the answer, and no error.
	Test(ctx context.Context, clientID, id string) (WebhookAnswer, error)
	// Resend posts one event once more, as Test does. A *domain.Refusal of the event's id MUST name it as event.
	Resend(ctx context.Context, clientID, id, eventID string) (WebhookAnswer, error)
	// Replay has the events come again from a time or an event on. A *domain.Refusal of the event's id MUST name it as event.
	Replay(ctx context.Context, clientID, id string, from ReplayFrom) error
}

// Reports reads one report, as a resource and as a PDF. What a client does not have is a *domain.Refusal of kind NotFound.
type Reports interface {
	Report(ctx context.Context, clientID, id string) (domain.ReportResource, error)
	PDF(ctx context.Context, clientID, id string) (domain.ReportResource, []byte, error)
}

// Sandbox moves the clock of an engine that is not for real accounts.
type Sandbox interface {
	// Advance moves the clock forwards to a time, and gives the time that it is then. All that is due by then MUST have been
	// done when it returns. A time in the past is a *domain.Refusal of kind Invalid, whose detail names the member now.
	Advance(ctx context.Context, to time.Time) (now time.Time, err error)
}

// Config of the HTTP contract. Engine, Lists, Webhooks and Reports are required.
type Config struct {
	Engine   *handlers.Engine
	Lists    Lists
	Webhooks Webhooks
	Reports  Reports
	// Auth tells who makes a request. Required.
	Auth Authenticator
	// Idempotency remembers answers under idempotency keys. Required.
	Idempotency Idempotency
	// Rate bounds the requests of a client that has no rate of its own, in each instance; more are 429. Defaults to 500 a second
	// and 1,000 at once.
	Rate Rate
	// InFlight bounds the requests that are carried out at the same time; more are 503. Defaults to 1,024.
	InFlight int
	// VerifyKeys gives the JWK set of the keys that webhook requests are signed with (GET /auth/verify_keys). Defaults to
	// none: then there is no such call.
	VerifyKeys func() ([]byte, error)
	// AsyncAPI is the document of what goes over NATS (GET /asyncapi.json). Defaults to none: then there is no such call.
	AsyncAPI []byte
	// Ready tells /readyz whether requests can be served: nil, or a reason that clients may read. Defaults to always.
	Ready func(context.Context) error
	// Sandbox lets clients move the clock (POST /sandbox/clock). Defaults to none: then there is no such call.
	Sandbox Sandbox
	// Now is the clock of the engine; /readyz shows it in a sandbox. Defaults to time.Now.
	Now func() time.Time
	// Version stands in the OpenAPI document. Defaults to "0".
	Version string
	// Observe is told of every call that was answered: its operation id ("" when there is no such call), its status, and how
	// long it took. Defaults to nobody.
	Observe func(operation string, status int, took time.Duration)
	// Denied is told of every request that was kept out before it was carried out, by what. Defaults to nobody.
	Denied func(Gate)
	// Metrics gives what /metrics shows, in the text format of Prometheus. Defaults to none: then there is no such call.
	Metrics func() ([]byte, error)
	// Tracer makes a span of every call that needs a client. Defaults to none: a trace context that comes is handed on.
	Tracer trace.Tracer
	// Timeout bounds the work on one request, the arrival of its body included. Defaults to 10 s.
	Timeout time.Duration
	// Logger gets the causes of the answers from 500 up, with their request ids. Defaults to none.
	Logger *slog.Logger
}

const defaultTimeout = 10 * time.Second

func (cfg Config) withDefaults() Config {
	if cfg.Ready == nil {
		cfg.Ready = func(context.Context) error { return nil }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Version == "" {
		cfg.Version = "0"
	}
	if cfg.Rate == (Rate{}) {
		cfg.Rate = defaultRate
	}
	if cfg.InFlight == 0 {
		cfg.InFlight = defaultInFlight
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, int, time.Duration) {}
	}
	if cfg.Denied == nil {
		cfg.Denied = func(Gate) {}
	}
	if cfg.Tracer == nil {
		cfg.Tracer = tracing.None()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// api is the handler of the whole contract.
type api struct {
	engine      *handlers.Engine
	lists       Lists
	webhooks    Webhooks
	reports     Reports
	auth        Authenticator
	idempotency Idempotency
	limiter     *limiter               // of clients
	tokens      *limiter               // of requests for tokens, by client
	places      chan struct{}          // of requests in flight
	keys        func() ([]byte, error) // nil for none
	asyncapi    []byte                 // /asyncapi.json; nil for none
	ready       func(context.Context) error
	sandbox     Sandbox // nil for none
	now         func() time.Time
	timeout     time.Duration
	observe     func(operation string, status int, took time.Duration)
	denied      func(Gate)
	metrics     func() ([]byte, error) // nil for none
	tracer      trace.Tracer
	logger      *slog.Logger

	routes   map[string]route // by the pattern of the router
	mux      *http.ServeMux
	huma     huma.API
	document []byte // /openapi.json
}

// New makes the handler. It may be used from many goroutines, and more than one may live in a process.
func New(cfg Config) (http.Handler, error) { return newAPI(cfg) }

func newAPI(cfg Config) (*api, error) {
	if cfg.Engine == nil || cfg.Lists == nil || cfg.Webhooks == nil || cfg.Reports == nil || cfg.Auth == nil || cfg.Idempotency == nil {
		return nil, errors.New("HTTP: an engine, lists, webhooks, reports, an authenticator and a store of idempotency keys are required")
	}
	if cfg.Timeout < 0 || cfg.InFlight < 0 || cfg.Rate.PerSecond < 0 || cfg.Rate.Burst < 0 {
		return nil, errors.New("HTTP: the time-out, the rate and the number of requests in flight cannot be negative")
	}
	cfg = cfg.withDefaults()
	a := &api{
		engine: cfg.Engine, lists: cfg.Lists, webhooks: cfg.Webhooks, reports: cfg.Reports, keys: cfg.VerifyKeys, asyncapi: cfg.AsyncAPI,
		ready: cfg.Ready, sandbox: cfg.Sandbox, now: cfg.Now, timeout: cfg.Timeout, logger: cfg.Logger, mux: http.NewServeMux(),
		auth: cfg.Auth, idempotency: cfg.Idempotency, places: make(chan struct{}, cfg.InFlight),
		observe: cfg.Observe, denied: cfg.Denied, metrics: cfg.Metrics, tracer: cfg.Tracer, routes: map[string]route{},
	}
	var err error
	if a.limiter, err = newLimiter(cfg.Rate, cfg.Auth.Rate); err != nil {
		return nil, err
	}
	if a.tokens, err = newLimiter(Rate{tokensPerSecond, tokensBurst}, func(string) (float64, int) { return 0, 0 }); err != nil {
		return nil, err
	}
	// Not huma's default configuration: that adds documentation pages that load scripts from elsewhere, and "$schema"
	// members to every answer.
	a.huma = humago.New(a.mux, huma.Config{
		OpenAPI: newDocument(cfg.Version),
		// A form was made the JSON object that it stands for (formObject) before huma reads it.
		Formats:       map[string]huma.Format{mediaJSON: jsonFormat, "json": jsonFormat, mediaForm: jsonFormat},
		DefaultFormat: mediaJSON,
		Transformers:  []huma.Transformer{a.transform},
	})
	a.huma.UseMiddleware(a.admit)
	a.registerTokens()
	a.registerAccounts()
	a.registerAccountGroups()
	a.registerHistory()
	a.registerLiquidations()
	a.registerOrders()
	a.registerUsers()
	a.registerClosures()
	a.registerWebhooks()
	a.registerDeliveries()
	a.registerSecrets()
	a.registerReports()
	a.registerSandbox()
	a.registerProbes()
	a.registerMetrics()
	a.registerAsyncAPI()
	a.document, err = finishDocument(a.huma.OpenAPI())
	return a, err
}

const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	// writeTimeout is longer than a request may take: what is left is for a client that reads slowly.
	writeTimeout   = time.Minute
	maxHeaderBytes = 64 << 10
)

// NewServer gives a server with limits on slow and large requests. The caller sets its ErrorLog, and serves and stops it.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
}

// command asks one aggregate for one thing, in the name of the client of the request.
func command(ctx context.Context, kind domain.Kind, id string, p domain.Payload) domain.Command {
	r := requestOf(ctx)
	return domain.Command{
		Target: domain.Ref{Kind: kind, ID: id}, ID: commandID(r), ClientID: r.client, Actor: "client:" + r.client,
		RequestID: r.id, CorrelationID: r.id, Payload: p,
	}
}

// ByID is the input of a call on one resource. The id is in its stored form: admit saw to it. It is exported only because
// huma passes over what is embedded and not.
type ByID struct {
	ID string `path:"id" format:"uuid" doc:"The resource's id. Upper case is accepted; one that is malformed, unknown or another client's is 404."`
}

type (
	// found is the answer with one resource.
	found[T any] struct {
		Body T
	}
	// created is the answer with a new resource.
	created[T any] struct {
		Location string `header:"Location" doc:"The path of the new resource."`
		Body     T
	}
	// raw is an answer in bytes that are ready.
	raw struct {
		ContentType string `header:"Content-Type" hidden:"true"`
		Vary        string `header:"Vary" hidden:"true"`
		Disposition string `header:"Content-Disposition" hidden:"true"`
		Body        any    // []byte as it is; anything else as JSON
	}
	// nothing is an empty answer.
	nothing struct{}
)
