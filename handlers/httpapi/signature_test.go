package httpapi

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/handlers/auth"
)

// A client with a registered key signs every request; what was signed cannot be changed on the way, nor be sent twice.
func TestSignedRequests(t *testing.T) {
	s := start(t)
	other := startBeside(t, s)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	key := auth.Key{KeyID: "alice-1", PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
	_, err = s.auth.Clients().AddKey(t.Context(), alice, key)
	require.NoError(t, err)

	request := func(s *service, method, path, body string) *http.Request {
		r, err := http.NewRequest(method, s.url+path, bytes.NewReader([]byte(body)))
		require.NoError(t, err)
		r.Header.Set(headerClientID, alice)
		r.Header.Set(headerAuthorization, "Bearer "+s.tokens[alice])
		if body != "" {
			r.Header.Set("Content-Type", mediaJSON)
			r.Header.Set(headerIdempotencyKey, uuid.NewString())
		}
		return r
	}
	sign := func(r *http.Request, body string, at time.Time) {
		var signed []byte
		if body != "" {
			signed = []byte(body)
		}
		require.NoError(t, auth.SignRequest(r, signed, auth.RequestKey{ID: key.KeyID, Private: private}, at))
	}
	send := func(s *service, r *http.Request) answer {
		resp, err := s.http.Do(r)
		require.NoError(t, err)
		return s.check(r, resp)
	}
	const group = `{"user_id": "` + zoe + `", "type": "PERSONAL"}`

	a := send(s, request(s, "GET", "/accounts", ""))
	require.Equal(t, http.StatusUnauthorized, a.status, "it did not sign")
	good := request(s, "POST", "/account_groups", group)
	sign(good, group, time.Now())
	require.Equal(t, http.StatusCreated, send(s, good).status)
	get := request(s, "GET", "/accounts?limit=5", "")
	sign(get, "", time.Now())
	require.Equal(t, http.StatusOK, send(s, get).status)

	// The same once more, at another instance of the engine.
	again := get.Clone(t.Context())
	again.URL.Host = request(other, "GET", "/", "").URL.Host
	again.Host = ""
	a = send(other, again)
	require.Equal(t, http.StatusUnauthorized, a.status)
	require.Contains(t, a.problem(t).Detail, "nonce")

	for name, change := range map[string]func(*http.Request){
		"another path":       func(r *http.Request) { r.URL.Path = "/accounts" },
		"another query":      func(r *http.Request) { r.URL.RawQuery = "x=1" },
		"another method":     func(r *http.Request) { r.Method = http.MethodPatch },
		"another header":     func(r *http.Request) { r.Header.Set(headerIdempotencyKey, uuid.NewString()) },
		"one header more":    func(r *http.Request) { r.Header.Set("upvest-api-version", "1") },
		"another body":       func(r *http.Request) { r.Body = http.NoBody; r.ContentLength = 0 },
		"no signature":       func(r *http.Request) { r.Header.Del("signature") },
		"another key":        func(r *http.Request) { r.Header.Set("signature", "sig1=:AAAA:") },
		"of another version": func(r *http.Request) { r.Header.Set("upvest-signature-version", "6") },
	} {
		t.Run(name, func(t *testing.T) {
			r := request(s, "POST", "/account_groups", group)
			sign(r, group, time.Now())
			change(r)
			a := send(s.in(t), r)
			require.GreaterOrEqual(t, a.status, 400)
			require.Contains(t, []int{http.StatusUnauthorized, http.StatusBadRequest, http.StatusMethodNotAllowed}, a.status, "%s", a.body)
		})
	}
	late := request(s, "GET", "/accounts", "")
	sign(late, "", time.Now().Add(-time.Minute))
	require.Equal(t, http.StatusUnauthorized, send(s, late).status)

	// A token is asked for with a signature, too; without one, the right secret is not enough.
	_, secret, err := s.auth.Clients().Rotate(t.Context(), alice, time.Hour)
	require.NoError(t, err)
	form := url.Values{"client_id": {alice}, "client_secret": {secret}, "grant_type": {"client_credentials"}}.Encode()
	for _, signs := range []bool{false, true} {
		r, err := http.NewRequest("POST", s.url+"/auth/token", strings.NewReader(form))
		require.NoError(t, err)
		r.Header.Set("Content-Type", mediaForm)
		want := http.StatusUnauthorized
		if signs {
			sign(r, form, time.Now())
			want = http.StatusOK
		}
		a := send(s, r)
		require.Equal(t, want, a.status, "%s", a.body)
	}

	// Bob, who has no key, need not sign.
	require.Equal(t, http.StatusOK, s.send(call{method: "GET", path: "/accounts", header: map[string]string{headerClientID: bob}}).status)
}
