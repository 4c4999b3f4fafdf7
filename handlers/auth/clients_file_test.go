package auth_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/handlers/auth"
)

const fileID = "8f4ea31c-cc22-4d8c-a6ea-3a5a3e2c3b0a"

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func clientsFile(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "clients.yaml")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func indented(text string) string {
	return "          " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n          ")
}

func TestClientsOfAFile(t *testing.T) {
	key := publicPEM(t, privateKeys(t)[auth.AlgorithmP521].Public())
	name := clientsFile(t, `
clients:
  - id: `+fileID+`
    name: Broker
    scopes: [accounts:admin, orders:read]
    secrets:
      - sha256: `+hashOf("new")+`
      - {sha256: `+hashOf("old")+`, created_at: 2026-01-01T00:00:00Z, valid_until: 2026-02-01T00:00:00Z}
    keys:
      - keyid: k1
        pem: |
`+indented(key)+`
    rate: {per_second: 0.5, burst: 3}
  - id: 00000000-0000-4000-8000-000000000001
    name: Gone
    disabled: true
`)
	r := newRig(t)
	i := r.start(func(cfg *auth.Config) { cfg.ClientsFile = name })
	c, ok := i.Clients().Get(fileID)
	require.True(t, ok)
	until := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	require.Equal(t, auth.Client{
		ID: fileID, Name: "Broker", Scopes: auth.NewSet(auth.AccountsAdmin, auth.OrdersRead),
		Secrets: []auth.Secret{{Hash: hashOf("new")}, {Hash: hashOf("old"), CreatedAt: until.AddDate(0, -1, 0), ValidUntil: &until}},
		Keys:    []auth.Key{{KeyID: "k1", Algorithm: auth.AlgorithmP521, PEM: key}}, Rate: auth.Rate{PerSecond: 0.5, Burst: 3},
	}, c)
	require.Len(t, i.Clients().List(), 2)
	token := tokenFor(t, i, fileID, "new")
	p, err := i.Authenticate(testContext(t), "Bearer "+token, fileID)
	require.NoError(t, err)
	require.Equal(t, auth.Principal{ClientID: fileID, Scopes: c.Scopes, MustSign: true}, p)
	refused(t, second(i.Token(testContext(t), fileID, "old", "")), auth.Invalid, "is wrong")

	// Commands do not change it, and an entry of the bucket does not hide it.
	_, _, err = i.Clients().Rotate(testContext(t), fileID, 0)
	require.ErrorIs(t, err, auth.ErrFromFile)
	_, err = i.Clients().SetDisabled(testContext(t), fileID, true)
	require.ErrorIs(t, err, auth.ErrFromFile)
	_, _, err = i.Clients().Add(testContext(t), auth.NewClient{ID: fileID, Name: "Again"})
	require.ErrorIs(t, err, auth.ErrClientExists)
	without := r.start()
	_, there := without.Clients().Get(fileID)
	require.False(t, there)
	_, _, err = without.Clients().Add(testContext(t), auth.NewClient{ID: fileID, Name: "Again"})
	require.NoError(t, err)
	i.log.await(t, "an entry", fileID)
	require.NoError(t, second(i.Authenticate(testContext(t), "Bearer "+token, fileID)))
}

// TestClientsFilesThatAreRefused: the error tells everything at once, and no start is made with a part.
func TestClientsFilesThatAreRefused(t *testing.T) {
	_, err := auth.ParseClientsFile([]byte(`
clients:
  - id: seven
    name: ""
    scope: [accounts:read]
    scopes: [accounts:everything, orders:read]
    secrets: [{sha256: abc}, {sha256: ` + strings.ToUpper(hashOf("a")) + `}]
    keys: [{keyid: k, pem: nonsense}]
    rate: {per_second: -1}
  - id: ` + fileID + `
    name: Broker
    disabled: perhaps
  - {id: ` + strings.ToUpper(fileID) + `, name: Twice}
more: 1
`))
	for _, text := range []string{
		"line 5: field scope not found", "line 12: cannot unmarshal", "field more not found",
		"clients[0]: scopes[0]: there is no scope \"accounts:everything\"", "id: must be a uuid", "name: must be 1 to 100", "secrets[0]: sha256:",
		"secrets[1]: sha256:", "keys[0]: the key \"k\": must be PEM", "rate: per_second:", "clients[2]: id: " + fileID + " is clients[1] already",
	} {
		require.ErrorContains(t, err, text)
	}
	for text, want := range map[string]string{
		"":                                "it is empty",
		"clients: [":                      "line 1",
		"- a":                             "cannot unmarshal",
		"clients: []\n---\nclients: []\n": "one YAML document",
		"clients: &a [*a]":                "",
		strings.Repeat(" ", 5<<20):        "at most",
	} {
		_, err := auth.ParseClientsFile([]byte(text))
		require.ErrorContains(t, err, want)
	}
	all, err := auth.ParseClientsFile([]byte("clients: []"))
	require.NoError(t, err)
	require.Empty(t, all)

	r := newRig(t)
	for _, name := range []string{clientsFile(t, "clients: [{}]"), filepath.Join(t.TempDir(), "none.yaml")} {
		i := r.make(func(cfg *auth.Config) { cfg.ClientsFile = name })
		require.ErrorContains(t, i.Start(testContext(t)), "clients file")
	}
}

func TestAnEntryForAFile(t *testing.T) {
	at := time.Date(2027, 4, 6, 12, 0, 0, 0, time.UTC)
	text, secret, err := auth.FileEntry(auth.NewClient{ID: fileID, Name: "a: #b", Scopes: auth.NewSet(auth.AccountsRead, auth.OrdersAdmin), Rate: auth.Rate{Burst: 5}}, at)
	require.NoError(t, err)
	require.NotContains(t, string(text), secret)
	all, err := auth.ParseClientsFile(text)
	require.NoError(t, err, string(text))
	require.Equal(t, []auth.Client{{
		ID: fileID, Name: "a: #b", Scopes: auth.NewSet(auth.AccountsRead, auth.OrdersAdmin), Rate: auth.Rate{Burst: 5},
		Secrets: []auth.Secret{{Hash: hashOf(secret), CreatedAt: at}},
	}}, all)
	_, secret, err = auth.FileEntry(auth.NewClient{Name: ""}, at)
	require.ErrorIs(t, err, auth.ErrInvalidClient)
	require.Empty(t, secret)
}
