package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
	"closure/handlers"
	"closure/handlers/auth"
	"closure/handlers/httpapi"
	"closure/handlers/idempotency"
	"closure/projections/publisher"
	"closure/projections/readmodel"
	"closure/projections/reports"
	"closure/projections/webhooks"
	sending "closure/projections/webhooks/endpoint"
	"closure/projections/webhooks/signing"
)

// hooked is an engine over real HTTP and a real NATS server, as far as webhooks need one: events of commands are published,
// signed and posted. A failed delivery is tried again at once.
type hooked struct {
	caller
	nats string // the URL of its server
	logs *buffer
}

func newHooked(t *testing.T) *hooked {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	t.Cleanup(cancel)
	h := &hooked{caller: caller{t: t, client: uuid.NewString()}, logs: &buffer{}}
	logger := slog.New(slog.NewTextHandler(h.logs, nil))
	server := embeddedtest.Server(t)
	h.nats = server.ClientURL()
	log, err := eventstore.Open(ctx, embeddedtest.Connect(t, server), eventstore.Config{})
	require.NoError(t, err)
	numbers, err := eventstore.NewCounter(ctx, log.JetStream(), eventstore.CounterConfig{Name: "securities_account_number", First: 1_000_000})
	require.NoError(t, err)
	keys := signing.New(signing.Config{Log: log, Logger: logger})
	hooks := webhooks.New(webhooks.Config{Log: log, Sender: sending.New(sending.Config{AllowInsecure: true}), Signer: keys, Backoff: func(int) time.Duration { return 0 }, Logger: logger})
	lists := readmodel.New(readmodel.Config{Path: filepath.Join(t.TempDir(), "readmodel.db"), Log: log})
	tokens := signing.New(signing.Config{Log: log, Entry: signing.ForTokens})
	who := auth.New(auth.Config{Conn: log.Conn(), Keys: tokens})
	answers := idempotency.New(idempotency.Config{Log: log})
	for _, part := range []component{tokens, who, answers, publisher.New(publisher.Config{Log: log}), keys, hooks, lists} {
		require.NoError(t, part.Start(ctx))
		t.Cleanup(func() { require.NoError(t, part.Stop(context.WithoutCancel(ctx))) })
	}
	api, err := httpapi.New(httpapi.Config{
		Auth: who, Idempotency: answers,
		Engine: handlers.New(handlers.Config{Log: log, SecuritiesAccountNumbers: numbers}), Lists: lists,
		Webhooks: subscriptions{hooks}, VerifyKeys: keys.JWKSet, Reports: reports.New(reports.Config{Log: log}), Logger: logger,
	})
	require.NoError(t, err)
	web := httptest.NewServer(api)
	t.Cleanup(web.Close)
	h.caller = addresses{HTTP: web.URL, NATS: h.nats}.caller(t, h.client)
	return h
}

// posted is a request that an endpoint got.
type posted struct {
	header http.Header
	body   []byte
	events []delivery
}

func (p posted) types() []string {
	var types []string
	for _, e := range p.events {
		types = append(types, e.Type)
	}
	return types
}

// witness is an endpoint that keeps what it gets, and answers with a status.
type witness struct {
	*httptest.Server
	t      *testing.T
	mu     sync.Mutex
	status int
	got    chan posted
}

func newWitness(t *testing.T) *witness {
	w := &witness{t: t, status: http.StatusOK, got: make(chan posted, 1000)}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		p := posted{header: r.Header}
		p.body, _ = io.ReadAll(r.Body)
		var body struct {
			Payload []delivery `json:"payload"`
		}
		if json.Unmarshal(p.body, &body) == nil {
			p.events = body.Payload
		}
		rw.Header()["X-Twice"] = []string{"a", "b"}
		rw.Header().Set("Content-Type", "text/plain")
		w.mu.Lock()
		rw.WriteHeader(w.status)
		w.mu.Unlock()
		_, _ = rw.Write([]byte("seen\x1b[2J\n"))
		w.got <- p
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *witness) answerWith(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = status
}

// next waits for a request that has an event of the type.
func (w *witness) next(eventType string) (posted, delivery) {
	w.t.Helper()
	for tooLate := time.After(within); ; {
		select {
		case p := <-w.got:
			for _, e := range p.events {
				if e.Type == eventType {
					return p, e
				}
			}
		case <-tooLate:
			w.t.Fatalf("no %s came\n", eventType)
		}
	}
}

// verified has the library of Standard Webhooks verify a request.
func verified(p posted, secret string) error {
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return err
	}
	return wh.Verify(p.body, p.header)
}

// publishedKeys are the keys that the engine publishes, by their ids; ids has the one that signs first.
func (h *hooked) publishedKeys() (ids []string, keys map[string]ed25519.PublicKey) {
	h.t.Helper()
	status, _, body := caller{t: h.t, base: h.base}.do(http.MethodGet, "/auth/verify_keys", "", nil)
	require.Equal(h.t, http.StatusOK, status, string(body))
	var set struct {
		Keys []struct{ X, Kid string }
	}
	require.NoError(h.t, json.Unmarshal(body, &set))
	keys = map[string]ed25519.PublicKey{}
	for _, k := range set.Keys {
		public, err := base64.RawURLEncoding.DecodeString(k.X)
		require.NoError(h.t, err)
		ids, keys[k.Kid] = append(ids, k.Kid), public
	}
	return ids, keys
}

// verifyWithKeys verifies a request with the keys that the engine publishes: it has one v1a signature of each, in their order.
func (h *hooked) verifyWithKeys(p posted) {
	h.t.Helper()
	ids, keys := h.publishedKeys()
	require.Contains(h.t, p.header.Get("signature-input"), `keyid="`+ids[0]+`"`)
	content := p.header.Get("webhook-id") + "." + p.header.Get("webhook-timestamp") + "." + string(p.body)
	n := 0
	for one := range strings.SplitSeq(p.header.Get("webhook-signature"), " ") {
		if encoded, ok := strings.CutPrefix(one, "v1a,"); ok {
			require.Less(h.t, n, len(ids), "a signature of a key that is not published")
			signature, err := base64.StdEncoding.DecodeString(encoded)
			require.NoError(h.t, err)
			require.True(h.t, ed25519.Verify(keys[ids[n]], []byte(content), signature))
			n++
		}
	}
	require.Len(h.t, ids, n, p.header.Get("webhook-signature"))
}

// createdHook is the answer to POST /webhooks.
type createdHook struct {
	domain.Webhook
	Secret string `json:"secret"`
}

func (h *hooked) subscribe(url string) createdHook {
	h.t.Helper()
	return call2[createdHook](h.caller, http.MethodPost, "/webhooks",
		map[string]any{"title": "hooks & more", "url": url, "type": []string{"ALL"}, "exclude_type": []string{"ORDER"}}, http.StatusCreated)
}

func (h *hooked) openGroup() domain.AccountGroupResource {
	h.t.Helper()
	return call2[domain.AccountGroupResource](h.caller, http.MethodPost, "/account_groups",
		map[string]any{"user_id": uuid.NewString(), "type": "PERSONAL"}, http.StatusCreated)
}

// openAccount opens an account, which publishes ACCOUNT.CREATED.
func (h *hooked) openAccount(group string) domain.AccountResource {
	h.t.Helper()
	return call2[domain.AccountResource](h.caller, http.MethodPost, "/accounts",
		map[string]any{"account_group_id": group, "type": "TRADING", "name": "Savings"}, http.StatusCreated)
}

// attempts waits until there are so many, which come a moment after the request.
func (h *hooked) attempts(id, query string, n int) (all list[httpapi.WebhookAttempt]) {
	h.t.Helper()
	require.Eventually(h.t, func() bool {
		all = get[list[httpapi.WebhookAttempt]](h.caller, "/webhooks/"+id+"/attempts"+query)
		return all.Meta.TotalCount >= n
	}, within, 10*time.Millisecond, "%d attempts with %q", n, query)
	return all
}
