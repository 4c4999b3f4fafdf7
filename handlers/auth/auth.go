package auth

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// KeyRing holds the keys that sign access tokens.
type KeyRing interface {
	// Signer gives the key that signs now. An error means that there is none at the moment.
	Signer() (kid string, key ed25519.PrivateKey, err error)
	// Verifier gives the public half of a key that may have signed a token which has not expired yet.
	Verifier(kid string) (ed25519.PublicKey, bool)
}

// Config of an Authenticator. Conn is required, and Keys unless there is an Issuer.
type Config struct {
	// Conn is the connection to NATS.
	Conn *nats.Conn
	// Replicas of the buckets. Those that have more keep them. Defaults to 1.
	Replicas int
	// ClientsFile is a YAML file of clients, read at the start. Defaults to none.
	ClientsFile string
	// Keys sign the access tokens.
	Keys KeyRing
	// TokenIssuer is `iss` of the tokens. Defaults to "closure".
	TokenIssuer string
	// Audience is `aud` of the tokens. Defaults to "closure".
	Audience string
	// TokenLife is how long a token is valid. Defaults to 1 h.
	TokenLife time.Duration
	// Issuer is another issuer of tokens. Defaults to none: tokens are made here.
	Issuer Issuer
	// SignatureLife is how long an HTTP message signature may be valid. Defaults to 10 s (CONTRACT).
	SignatureLife time.Duration
	// Now is the wall clock. Defaults to time.Now.
	Now func() time.Time
	// Logger is told of what goes wrong behind a refusal. Defaults to none.
	Logger *slog.Logger
}

func (cfg Config) withDefaults() Config {
	cfg.Replicas = max(cfg.Replicas, 1)
	if cfg.TokenIssuer == "" {
		cfg.TokenIssuer = "closure"
	}
	if cfg.Audience == "" {
		cfg.Audience = "closure"
	}
	if cfg.TokenLife <= 0 {
		cfg.TokenLife = time.Hour
	}
	if cfg.SignatureLife <= 0 {
		cfg.SignatureLife = 10 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Authenticator finds out who makes a request. It may be used from many goroutines, and in many engine processes at once,
// which share the registry of clients and the nonces that were used.
type Authenticator struct {
	cfg     Config
	clients *Clients
	nonces  *nonces
	issuer  *issuer // nil: tokens are made here

	mu      sync.Mutex
	started bool
}

// New makes an authenticator. Start opens it.
func New(cfg Config) *Authenticator {
	cfg = cfg.withDefaults()
	a := &Authenticator{
		cfg: cfg,
		clients: NewClients(ClientsConfig{
			Conn: cfg.Conn, Replicas: cfg.Replicas, File: cfg.ClientsFile, Now: cfg.Now, Logger: cfg.Logger,
		}),
	}
	a.nonces = newNonces(a.clients, cfg)
	if cfg.Issuer != (Issuer{}) {
		a.issuer = newIssuer(cfg)
	}
	return a
}

// Clients is the registry.
func (a *Authenticator) Clients() *Clients { return a.clients }

// Start opens the registry of clients and the store of nonces. It does not wait for another issuer: its keys are fetched
// when they are needed.
func (a *Authenticator) Start(ctx context.Context) error {
	a.mu.Lock()
	again := a.started
	a.started = true
	a.mu.Unlock()
	if again {
		return errors.New("authentication: start: started before")
	}
	if err := a.open(ctx); err != nil {
		return errors.Join(fmt.Errorf("authentication: start: %w", err), a.Stop(ctx))
	}
	return nil
}

func (a *Authenticator) open(ctx context.Context) error {
	if a.issuer == nil && a.cfg.Keys == nil {
		return errors.New("there are neither keys for tokens nor another issuer")
	}
	if a.cfg.Issuer != (Issuer{}) {
		if err := a.cfg.Issuer.validate(); err != nil {
			return err
		}
	}
	if err := a.clients.Start(ctx); err != nil {
		return err
	}
	return a.nonces.open(ctx)
}

// Stop ends what runs. The Authenticator refuses everything from then on, or is Unavailable.
func (a *Authenticator) Stop(ctx context.Context) error {
	err := a.clients.Stop(ctx)
	if a.issuer != nil {
		a.issuer.stop()
	}
	return err
}

// Rate is how often the client may come; zero stands for the default of the engine.
func (a *Authenticator) Rate(clientID string) (perSecond float64, burst int) {
	c, _ := a.clients.find(clientID)
	return c.Rate.PerSecond, c.Rate.Burst
}

// MustSign tells whether the client has a registered key. It is for the token endpoint, where there is no Principal yet; to
// say nothing about clients to others, the secret has to be checked first.
func (a *Authenticator) MustSign(clientID string) bool {
	c, ok := a.clients.find(clientID)
	return ok && len(c.Keys) > 0
}

// Authenticate finds out who makes a request: authorization is the header of that name (all of them, joined with ", ", so
// that two are refused), clientID the header upvest-client-id, a uuid in its canonical form. Errors: *Error, Unauthenticated
// or Unavailable.
func (a *Authenticator) Authenticate(ctx context.Context, authorization, clientID string) (Principal, error) {
	return a.authenticate(ctx, authorization, clientID)
}

// Token gives a client that knows its secret an access token. requested are the scopes, separated by spaces; "" asks for all
// that the client has. Errors: *Error, Invalid, NoTokens or Unavailable.
func (a *Authenticator) Token(ctx context.Context, clientID, secret, requested string) (Token, error) {
	return a.token(ctx, clientID, secret, requested)
}

// VerifySignature checks the HTTP message signature of a request of the principal (doc.go says which rules), and uses up its
// nonce. body is the whole body, nil for none. Errors: *Error, Unauthenticated or Unavailable.
func (a *Authenticator) VerifySignature(ctx context.Context, r *http.Request, body []byte, p Principal) error {
	return a.verifySignature(ctx, r, body, p)
}
