package signing_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/nats-io/nats.go"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"github.com/yaronf/httpsign"
	"go.uber.org/goleak"

	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
	"closure/projections/webhooks/signing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to come.
const patience = 60 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// rig is a NATS server for some engine processes.
type rig struct {
	t   testing.TB
	url string
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return &rig{t, embeddedtest.Server(t).ClientURL()}
}

// process makes the keys of one more engine process, with a connection of its own.
func (r *rig) process(cfg signing.Config) (*signing.Keys, *nats.Conn) {
	r.t.Helper()
	nc := embeddedtest.ConnectURL(r.t, r.url, nats.ReconnectWait(50*time.Millisecond))
	log, err := eventstore.Open(testContext(r.t), nc, eventstore.Config{})
	require.NoError(r.t, err)
	cfg.Log = log
	k := signing.New(cfg)
	r.t.Cleanup(func() { require.NoError(r.t, k.Stop(testContext(r.t))) })
	return k, nc
}

// start starts the keys of one more engine process.
func (r *rig) start(cfg signing.Config) *signing.Keys {
	r.t.Helper()
	k, _ := r.process(cfg)
	require.NoError(r.t, k.Start(testContext(r.t)))
	return k
}

// clock is a time that a test sets.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// journal is a log that a test waits on.
type journal chan string

func newJournal() journal { return make(journal, 1000) }

func (j journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func (j journal) Write(line []byte) (int, error) {
	j <- string(line)
	return len(line), nil
}

// await waits for a line that has the text.
func (j journal) await(t testing.TB, text string) string {
	t.Helper()
	for tooLate := time.After(patience); ; {
		select {
		case line := <-j:
			if strings.Contains(line, text) {
				return line
			}
		case <-tooLate:
			t.Fatalf("nothing was logged with %q in it", text)
		}
	}
}

// keyIDs are the ids of the JWK set, the one that signs first.
func keyIDs(t testing.TB, k *signing.Keys) []string {
	t.Helper()
	set, err := jwk.Parse(jwks(t, k))
	require.NoError(t, err)
	var ids []string
	for i := range set.Len() {
		one, _ := set.Key(i)
		ids = append(ids, one.KeyID())
	}
	return ids
}

func jwks(t testing.TB, k *signing.Keys) []byte {
	t.Helper()
	set, err := k.JWKSet()
	require.NoError(t, err)
	return set
}

// post makes a request as the engine does.
func post(t testing.TB, url string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// signed makes a request of now, with a signature of the keys.
func signed(t testing.TB, k *signing.Keys, secrets signing.Secrets, at time.Time) *http.Request {
	t.Helper()
	r := post(t, "https://example.com/hook?tenant=7", payload)
	require.NoError(t, k.Sign(r, payload, messageID, secrets, at))
	return r
}

const messageID = "5f0b9f0e-7a55-4a0a-9a8a-0f7f5c6a1d11"

var payload = []byte(`{"payload":[{"id":"1","type":"ACCOUNT.CLOSED"}]}`)

// verifyV1 has the library of the standard verify.
func verifyV1(header http.Header, body []byte, secret signing.Secret) error {
	wh, err := standardwebhooks.NewWebhook(secret.Reveal())
	if err != nil {
		return err
	}
	return wh.Verify(body, header)
}

// verifyV1a verifies the asymmetric signatures with one key of the set; the library of the standard has nothing for them yet.
func verifyV1a(header http.Header, body, jwks []byte, keyID string) error {
	public, err := publicKey(jwks, keyID)
	if err != nil {
		return err
	}
	content := fmt.Sprintf("%s.%s.%s", header.Get("webhook-id"), header.Get("webhook-timestamp"), body)
	for one := range strings.SplitSeq(header.Get("webhook-signature"), " ") {
		if encoded, ok := strings.CutPrefix(one, "v1a,"); ok {
			signature, err := base64.StdEncoding.DecodeString(encoded)
			if err == nil && ed25519.Verify(public, []byte(content), signature) {
				return nil
			}
		}
	}
	return errors.New("no v1a signature fits the key")
}

// publicKey looks a key up, as a receiver does.
func publicKey(jwks []byte, keyID string) (ed25519.PublicKey, error) {
	set, err := jwk.Parse(jwks)
	if err != nil {
		return nil, err
	}
	one, ok := set.LookupKeyID(keyID)
	if !ok {
		return nil, fmt.Errorf("the JWK set has no key %s", keyID)
	}
	var public ed25519.PublicKey
	return public, one.Raw(&public)
}

// verifyMessage verifies the HTTP message signature with nothing but the JWK set. policy may be nil.
func verifyMessage(r *http.Request, body, jwks []byte, policy *httpsign.VerifyConfig) error {
	details, err := httpsign.RequestDetails("sig1", r)
	if err != nil {
		return err
	}
	public, err := publicKey(jwks, details.KeyID)
	if err != nil {
		return err
	}
	must := httpsign.Headers("@method", "@path", "content-digest", "content-type", "webhook-id", "webhook-timestamp", "webhook-signature")
	if r.URL.RawQuery != "" {
		must.AddHeader("@query")
	}
	verifier, err := httpsign.NewEd25519Verifier(public, policy, must)
	if err != nil {
		return err
	}
	sent := io.NopCloser(bytes.NewReader(body))
	return errors.Join(httpsign.VerifyRequest("sig1", *verifier, r),
		httpsign.ValidateContentDigestHeader(r.Header.Values("content-digest"), &sent, []string{httpsign.DigestSha512}))
}

// verifyAll verifies a request in all three ways.
func verifyAll(t testing.TB, r *http.Request, body, jwks []byte, secret signing.Secret) {
	t.Helper()
	require.NoError(t, verifyV1(r.Header, body, secret))
	details, err := httpsign.RequestDetails("sig1", r)
	require.NoError(t, err)
	require.NoError(t, verifyV1a(r.Header, body, jwks, details.KeyID))
	require.NoError(t, verifyMessage(r, body, jwks, nil))
}
