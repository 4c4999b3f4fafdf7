package auth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"closure/eventstore/embedded/embeddedtest"
	"closure/handlers/auth"
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

// ring is a small ring of keys.
type ring struct {
	mu      sync.Mutex
	current string
	keys    map[string]ed25519.PrivateKey
}

func newRing(t testing.TB) *ring {
	r := &ring{keys: map[string]ed25519.PrivateKey{}}
	r.rotate(t)
	return r
}

// rotate puts a new key in front; those before go on to verify.
func (r *ring) rotate(t testing.TB) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = rand.Text()
	r.keys[r.current] = private
}

// forget drops all keys.
func (r *ring) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current, r.keys = "", map[string]ed25519.PrivateKey{}
}

func (r *ring) Signer() (string, ed25519.PrivateKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == "" {
		return "", nil, errors.New("the ring is empty")
	}
	return r.current, r.keys[r.current], nil
}

func (r *ring) Verifier(kid string) (ed25519.PublicKey, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	private, ok := r.keys[kid]
	if !ok {
		return nil, false
	}
	return private.Public().(ed25519.PublicKey), true
}

// clock is the wall clock, moved by a test.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// journal is a log that a test waits on.
type journal chan string

func newJournal() journal { return make(journal, 10_000) }

func (j journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (j journal) Write(line []byte) (int, error) {
	j <- string(line)
	return len(line), nil
}

// await waits for a line that has all the texts.
func (j journal) await(t testing.TB, texts ...string) {
	t.Helper()
	for tooLate := time.After(patience); ; {
		select {
		case line := <-j:
			missing := false
			for _, text := range texts {
				missing = missing || !strings.Contains(line, text)
			}
			if !missing {
				return
			}
		case <-tooLate:
			t.Fatalf("nothing was logged with %q in it", texts)
		}
	}
}

// rig is a NATS server for some engine processes, which share a ring of keys and a clock.
type rig struct {
	t     testing.TB
	url   string
	ring  *ring
	clock *clock
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return &rig{t: t, url: embeddedtest.Server(t).ClientURL(), ring: newRing(t), clock: &clock{}}
}

// instance is one engine process.
type instance struct {
	*auth.Authenticator
	log  journal
	conn *nats.Conn
}

// make makes one more engine process, with a connection of its own.
func (r *rig) make(change ...func(*auth.Config)) *instance {
	r.t.Helper()
	i := &instance{log: newJournal(), conn: embeddedtest.ConnectURL(r.t, r.url, nats.ReconnectWait(50*time.Millisecond))}
	cfg := auth.Config{Conn: i.conn, Keys: r.ring, Now: r.clock.now, Logger: i.log.logger()}
	for _, f := range change {
		f(&cfg)
	}
	i.Authenticator = auth.New(cfg)
	r.t.Cleanup(func() { require.NoError(r.t, i.Stop(testContext(r.t))) })
	return i
}

func (r *rig) start(change ...func(*auth.Config)) *instance {
	r.t.Helper()
	i := r.make(change...)
	require.NoError(r.t, i.Start(testContext(r.t)))
	return i
}

// registered adds a client with scopes.
func registered(t testing.TB, i *instance, scopes ...auth.Scope) (auth.Client, string) {
	t.Helper()
	if len(scopes) == 0 {
		scopes = auth.Scopes()
	}
	c, secret, err := i.Clients().Add(testContext(t), auth.NewClient{Name: "Broker", Scopes: auth.NewSet(scopes...)})
	require.NoError(t, err)
	return c, secret
}

// tokenFor gets a token with all scopes.
func tokenFor(t testing.TB, i *instance, id, secret string) string {
	t.Helper()
	token, err := i.Token(testContext(t), id, secret, "")
	require.NoError(t, err)
	return token.AccessToken
}

// refused is the refusal of a kind that has a text in its reason.
func refused(t testing.TB, err error, kind auth.Kind, reason string) {
	t.Helper()
	var refusal *auth.Error
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, kind, refusal.Kind, refusal.Reason)
	require.Contains(t, refusal.Reason, reason)
	require.Equal(t, refusal.Reason, err.Error(), "nothing else may come out")
}

var otherID = uuid.NewString()
