package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/eventstore/embedded/embeddedtest"
	"closure/handlers/auth"
)

// registry is a NATS server without an engine, and the clients commands at it.
type registry struct {
	t   *testing.T
	url string
}

func (r registry) cli(want int, args ...string) (stdout, stderr string) {
	r.t.Helper()
	code, stdout, stderr := once(r.t, "", append([]string{"clients"}, append(args, "--nats-url", r.url, "--data", r.t.TempDir())...)...)
	require.Equal(r.t, want, code, stdout+stderr)
	return stdout, stderr
}

// json runs a command that prints one client.
func (r registry) json(args ...string) clientView {
	r.t.Helper()
	out, stderr := r.cli(exitDone, append(args, "--json")...)
	require.Empty(r.t, stderr)
	var v clientView
	require.NoError(r.t, json.Unmarshal([]byte(out), &v))
	require.Len(r.t, lines(out), 1)
	return v
}

func newRegistry(t *testing.T) registry {
	return registry{t, embeddedtest.Server(t).ClientURL()}
}

// TestClientsCommands takes a client through its life, and looks at it as the engine does.
func TestClientsCommands(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	engine := auth.NewClients(auth.ClientsConfig{Conn: embeddedtest.ConnectURL(t, r.url)})
	require.NoError(t, engine.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, engine.Stop(t.Context())) })

	out, _ := r.cli(exitDone, "list")
	require.Equal(t, "0 clients\n", out)
	id := uuid.NewString()
	added := r.json("add", "--name", "Broker", "--id", strings.ToUpper(id), "--scope", "accounts:admin,orders:read", "--scope", "reports:read", "--rate", "2.5", "--burst", "9")
	require.Equal(t, id, added.ID)
	require.Equal(t, "accounts:admin orders:read reports:read", added.Scopes.String())
	require.Equal(t, auth.Rate{PerSecond: 2.5, Burst: 9}, added.Rate)
	require.Regexp(t, `^cls_\S{43}$`, added.Secret)
	require.Len(t, added.Secrets, 1)

	out, _ = r.cli(exitDone, "add", "--name", "Second")
	require.Regexp(t, `(?s)^client   \S{36}\nname     Second\nstate    enabled\nscopes   account_liquidations:admin .*\nsecret   cls_\S{43}   shown this once\n$`, out)
	require.NotContains(t, out, "tests:admin")

	rotated := r.json("rotate", id)
	require.NotEqual(t, added.Secret, rotated.Secret)
	require.Len(t, rotated.Secrets, 2)
	require.Equal(t, rotated.UpdatedAt.Add(24*time.Hour).Truncate(time.Minute), rotated.Secrets[1].ValidUntil.Truncate(time.Minute))
	out, _ = r.cli(exitDone, "rotate", id, "--overlap", "1h")
	require.Contains(t, out, "the one before ends ")
	require.Len(t, r.json("rotate", id, "--overlap", "0s").Secrets, 1)

	public, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	raw, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: raw})
	require.NoError(t, os.WriteFile(file, text, 0o600))
	require.Equal(t, []keyView{{"k1", "ed25519"}}, r.json("add-key", id, file, "--keyid", "k1").Keys)
	code, out, stderr := once(t, string(text), "clients", "add-key", id, "-", "--keyid", "k2", "--nats-url", r.url, "--data", t.TempDir())
	require.Equal(t, exitDone, code, stderr)
	require.Contains(t, out, "key      k2 (ed25519)\n")
	require.Equal(t, []keyView{{"k2", "ed25519"}}, r.json("remove-key", id, "k1").Keys)
	require.True(t, r.json("disable", id).Disabled)
	out, _ = r.cli(exitDone, "list")
	require.Regexp(t, `(?s)^ID .*`+id+`  Broker  disabled  1  .*2 clients\n$`, out)
	require.False(t, r.json("enable", id).Disabled)

	out, _ = r.cli(exitDone, "list", "--json")
	require.Len(t, lines(out), 2)
	for _, secret := range []string{added.Secret, rotated.Secret} {
		require.NotContains(t, out, secret)
	}
	require.NotContains(t, out, "sha256")

	// An engine that runs has been told of all of it.
	last := r.json("disable", id)
	require.Eventually(t, func() bool {
		c, ok := engine.Get(id)
		return ok && c.UpdatedAt.Equal(last.UpdatedAt)
	}, within, 10*time.Millisecond)
	c, _ := engine.Get(id)
	require.True(t, c.Disabled)
	require.Len(t, c.Keys, 1)
}

// TestAClientForAFile needs no NATS.
func TestAClientForAFile(t *testing.T) {
	t.Parallel()
	code, out, stderr := once(t, "", "clients", "add", "--name", "Broker", "--for-file", "--nats-url", "nats://127.0.0.1:1")
	require.Equal(t, exitDone, code, stderr)
	require.Regexp(t, `^clients:\n\s+- id: \S{36}\n\s+name: Broker\n`, out)
	require.NotContains(t, out, "cls_")
	require.Regexp(t, `^secret, shown this once: cls_\S{43}\n$`, stderr)
}

func TestClientsCommandsFail(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	id := uuid.NewString()
	for _, args := range [][]string{{"rotate", id}, {"disable", id}, {"enable", id}, {"remove-key", id, "k"}} {
		out, stderr := r.cli(exitFailed, args...)
		require.Empty(t, out)
		require.Contains(t, stderr, "there is no such client in the registry")
	}
	first := r.json("add", "--name", "Broker", "--id", id)
	_, stderr := r.cli(exitFailed, "add", "--name", "Broker", "--id", id)
	require.Contains(t, stderr, "there is a client with this id already")
	_, stderr = r.cli(exitFailed, "add-key", id, filepath.Join(t.TempDir(), "none.pem"), "--keyid", "k")
	require.Contains(t, stderr, "none.pem")
	noKey := filepath.Join(t.TempDir(), "no.pem")
	require.NoError(t, os.WriteFile(noKey, []byte("no key"), 0o600))
	for text, args := range map[string][]string{
		"there is no scope \"accounts:write\"": {"add", "--name", "a", "--scope", "accounts:write"},
		"missing flags: --name":                {"add"},
		"name: must be 1 to 100 characters":    {"add", "--name", ""},
		"must be a uuid":                       {"add", "--name", "a", "--id", "seven"},
		"--rate: must be more than 0":          {"add", "--name", "a", "--rate=-1"},
		"--burst: must be 1 or more":           {"add", "--name", "a", "--burst=-1"},
		"--overlap: must be 0s or more":        {"rotate", id, "--overlap=-1s"},
		"must be PEM":                          {"add-key", id, noKey, "--keyid", "k"},
		"missing flags: --keyid":               {"add-key", id, noKey},
		"it has no key with the id \"k\"":      {"remove-key", id, "k"},
	} {
		out, stderr := r.cli(exitUsage, args...)
		require.Empty(t, out, text)
		require.Contains(t, stderr, text)
	}
	require.Equal(t, "Broker", first.Name)
	code, _, stderr := once(t, "", "clients", "list", "--nats-url", "nats://127.0.0.1:1", "--data", t.TempDir())
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "connect to NATS at nats://127.0.0.1:1")

	// What is in the bucket never shows a secret.
	js, err := jetstream.New(embeddedtest.ConnectURL(t, r.url))
	require.NoError(t, err)
	kv, err := js.KeyValue(t.Context(), auth.Bucket)
	require.NoError(t, err)
	entry, err := kv.Get(t.Context(), "client."+id)
	require.NoError(t, err)
	require.NotContains(t, string(entry.Value()), first.Secret)
}
