package httpapi

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/handlers/auth"
)

// ring is one key for tokens.
type ring struct{ private ed25519.PrivateKey }

func (r ring) Signer() (string, ed25519.PrivateKey, error) { return "k1", r.private, nil }

func (r ring) Verifier(kid string) (ed25519.PublicKey, bool) {
	return r.private.Public().(ed25519.PublicKey), kid == "k1"
}

func newAuth(t testing.TB, log *eventstore.Log) *auth.Authenticator {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	a := auth.New(auth.Config{Conn: log.Conn(), Keys: ring{private}})
	require.NoError(t, a.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, a.Stop(context.Background())) })
	return a
}

// register registers a client, and gives it a token.
func (s *service) register(client string, scopes ...auth.Scope) (token string) {
	s.t.Helper()
	_, secret, err := s.auth.Clients().Add(s.t.Context(), auth.NewClient{ID: client, Name: "a client", Scopes: auth.NewSet(scopes...)})
	require.NoError(s.t, err)
	made, err := s.auth.Token(s.t.Context(), client, secret, "")
	require.NoError(s.t, err)
	return made.AccessToken
}
