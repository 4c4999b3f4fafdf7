package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// An issuer elsewhere: its tokens count, for the client and the scopes that they name, and the engine gives out none.
func TestTokensOfAnotherIssuer(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	}))
	t.Cleanup(keys.Close)
	const issuer, audience = "https://issuer.example", "closure-test"
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: "k"}}, nil)
	require.NoError(t, err)
	client := uuid.NewString()
	token := func(audience, scope string) string {
		now := time.Now()
		text, err := jwt.Signed(signer).Claims(map[string]any{
			"iss": issuer, "aud": audience, "sub": "somebody", "azp": client, "scope": scope,
			"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		}).Serialize()
		require.NoError(t, err)
		return text
	}
	s := serve(t, t.TempDir(), "--auth-issuer", issuer, "--auth-jwks-url", keys.URL, "--auth-audience", audience, "--auth-client-claim", "azp")
	require.Nil(t, s.Development)
	c := caller{t, s.HTTP, client, token(audience, "openid accounts:read")}
	get[list[struct{}]](c, "/accounts")
	for want, bad := range map[int]caller{
		http.StatusForbidden:    {t, s.HTTP, client, token(audience, "openid orders:read")},
		http.StatusUnauthorized: {t, s.HTTP, client, token("another", "accounts:read")},
	} {
		status, _, body := bad.do(http.MethodGet, "/accounts", "", nil)
		require.Equal(t, want, status, string(body))
	}
	status, _, body := caller{t, s.HTTP, uuid.NewString(), c.token}.do(http.MethodGet, "/accounts", "", nil)
	require.Equal(t, http.StatusUnauthorized, status, string(body))
	res, err := http.PostForm(s.HTTP+"/auth/token", map[string][]string{"client_id": {client}, "client_secret": {"x"}, "grant_type": {"client_credentials"}})
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusNotFound, res.StatusCode)
}
