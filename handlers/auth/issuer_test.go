package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/handlers/auth"
)

// elsewhere is another issuer of tokens: an HTTP server with a JWK set.
type elsewhere struct {
	*httptest.Server
	mu      sync.Mutex
	keys    []any // jose.JSONWebKey, or what somebody else may have in a set
	down    bool
	fetches int
}

func newElsewhere(t testing.TB) *elsewhere {
	e := &elsewhere{}
	e.Server = httptest.NewServer(http.HandlerFunc(e.serve))
	t.Cleanup(e.Close)
	return e
}

func (e *elsewhere) serve(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fetches++
	switch {
	case e.down:
		http.Error(w, "down", http.StatusBadGateway)
	case r.URL.Path == "/moved":
		http.Redirect(w, r, "/keys", http.StatusFound)
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": e.keys})
	}
}

func (e *elsewhere) set(down bool, keys ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down, e.keys = down, keys
}

func (e *elsewhere) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fetches
}

const (
	issuerURL = "https://issuer.example/"
	audience  = "https://closure.example"
)

func (e *elsewhere) config(change ...func(*auth.Issuer)) func(*auth.Config) {
	return func(cfg *auth.Config) {
		cfg.Keys = nil
		cfg.Issuer = auth.Issuer{URL: issuerURL, JWKSURL: e.URL + "/keys", Audience: audience}
		for _, f := range change {
			f(&cfg.Issuer)
		}
	}
}

// foreign makes tokens as another issuer does.
func foreign(algorithm jose.SignatureAlgorithm, key crypto.Signer, kid, client string, at time.Time) forger {
	return forger{algorithm, key, kid, "JWT", map[string]any{
		"iss": issuerURL, "aud": audience, "sub": "x", "client_id": client, "scope": "accounts:read openid", "exp": at.Add(time.Hour).Unix(), "iat": at.Unix(),
	}}
}

func publicJWK(key crypto.Signer, kid string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key.Public(), KeyID: kid, Use: "sig"}
}

func bearer(t testing.TB, f forger) string { return "Bearer " + f.token(t) }

func TestTokensOfAnotherIssuer(t *testing.T) {
	e := newElsewhere(t)
	r := newRig(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	keys := privateKeys(t)
	for algorithm, key := range map[jose.SignatureAlgorithm]crypto.Signer{
		jose.RS256: rsaKey, jose.PS256: rsaKey, jose.EdDSA: keys[auth.AlgorithmEd25519],
		jose.ES256: keys[auth.AlgorithmP256], jose.ES384: keys[auth.AlgorithmP384], jose.ES512: keys[auth.AlgorithmP521],
	} {
		t.Run(string(algorithm), func(t *testing.T) {
			e.set(false, map[string]string{"kty": "XYZ", "kid": "strange"}, publicJWK(key, "k"))
			i := r.start(e.config())
			p, err := i.Authenticate(testContext(t), bearer(t, foreign(algorithm, key, "k", otherID, time.Now())), otherID)
			require.NoError(t, err)
			require.Equal(t, auth.Principal{ClientID: otherID, Scopes: auth.NewSet(auth.AccountsRead)}, p)
			_, err = i.Token(testContext(t), otherID, "secret", "")
			refused(t, err, auth.NoTokens, "another issuer")
		})
	}
}

func TestTokensOfAnotherIssuerThatAreRefused(t *testing.T) {
	e := newElsewhere(t)
	r := newRig(t)
	keys := privateKeys(t)
	ours, theirs := keys[auth.AlgorithmP256], keys[auth.AlgorithmP521]
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for_ := publicJWK(big, "pinned")
	for_.Algorithm = string(jose.PS256)
	enc := publicJWK(big, "enc")
	enc.Use = "enc"
	symmetric := jose.JSONWebKey{Key: []byte("0123456789abcdef0123456789abcdef"), KeyID: "secret"}
	e.set(false, publicJWK(ours, "k"), publicJWK(small, "small"), for_, enc, symmetric)
	i := r.start(e.config())
	now := time.Now()
	good := func() forger { return foreign(jose.ES256, ours, "k", otherID, now) }
	claim := func(name string, value any) func(*forger) {
		return func(f *forger) {
			if f.claims[name] = value; value == nil {
				delete(f.claims, name)
			}
		}
	}
	for name, test := range map[string]struct {
		change func(*forger)
		reason string // "" for a token that is good
		scopes string
	}{
		"good":                        {func(*forger) {}, "", "accounts:read"},
		"no kid":                      {func(f *forger) { f.kid = "" }, "", "accounts:read"},
		"an access token":             {func(f *forger) { f.typ = "at+jwt" }, "", "accounts:read"},
		"no typ":                      {func(f *forger) { f.typ = "" }, "", "accounts:read"},
		"scp as a list":               {func(f *forger) { delete(f.claims, "scope"); f.claims["scp"] = []any{"orders:admin", 5, "x"} }, "", "orders:admin"},
		"scp as a text":               {func(f *forger) { delete(f.claims, "scope"); f.claims["scp"] = "orders:read users:read" }, "", "orders:read users:read"},
		"no scope":                    {claim("scope", nil), "", ""},
		"scope of another kind":       {claim("scope", 5), "", ""},
		"a client in capitals":        {claim("client_id", strings.ToUpper(otherID)), "", "accounts:read"},
		"another typ":                 {func(f *forger) { f.typ = "logout+jwt" }, "its typ must be", ""},
		"another key":                 {func(f *forger) { f.algorithm, f.key = jose.ES512, theirs }, "is wrong", ""},
		"unknown kid":                 {func(f *forger) { f.kid = "unknown" }, "a key that is not known", ""},
		"a small key":                 {func(f *forger) { f.algorithm, f.key, f.kid = jose.RS256, small, "small" }, "a key that is not known", ""},
		"for another algorithm":       {func(f *forger) { f.algorithm, f.key, f.kid = jose.RS256, big, "pinned" }, "a key that is not known", ""},
		"a key for encryption":        {func(f *forger) { f.algorithm, f.key, f.kid = jose.RS256, big, "enc" }, "a key that is not known", ""},
		"an algorithm we do not take": {func(f *forger) { f.algorithm, f.key, f.kid = jose.RS512, big, "pinned" }, `algorithm "RS512", which is not accepted`, ""},
		"a symmetric key":             {func(f *forger) { f.algorithm, f.key, f.kid = jose.HS256, symmetric.Key, "secret" }, `algorithm "HS256"`, ""},
		"another issuer":              {claim("iss", "closure"), "of another issuer", ""},
		"another audience":            {claim("aud", []string{"closure"}), "for another audience", ""},
		"expired":                     {claim("exp", now.Add(-31*time.Second).Unix()), "has expired", ""},
		"without an end":              {claim("exp", nil), "does not expire", ""},
		"not valid yet":               {claim("nbf", now.Add(40*time.Second).Unix()), "is not valid yet", ""},
		"another client":              {claim("client_id", uuid.NewString()), "not of the client that upvest-client-id names", ""},
		"no client":                   {claim("client_id", nil), "client_id must be a uuid", ""},
		"the client is a number":      {claim("client_id", 5), "client_id must be a uuid", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := good()
			test.change(&f)
			p, err := i.Authenticate(testContext(t), bearer(t, f), otherID)
			if test.reason == "" {
				require.NoError(t, err)
				require.Equal(t, test.scopes, p.Scopes.String())
				return
			}
			refused(t, err, auth.Unauthenticated, test.reason)
		})
	}
	t.Run("a token of ours", func(t *testing.T) {
		here := r.start()
		c, secret := registered(t, here)
		_, err := i.Authenticate(testContext(t), "Bearer "+tokenFor(t, here, c.ID, secret), c.ID)
		refused(t, err, auth.Unauthenticated, "a key that is not known")
	})
	t.Run("another claim", func(t *testing.T) {
		i := r.start(e.config(func(cfg *auth.Issuer) { cfg.ClientClaim = "azp" }))
		f := good()
		f.claims["azp"], f.claims["client_id"] = otherID, "x"
		require.NoError(t, second(i.Authenticate(testContext(t), bearer(t, f), otherID)))
	})
}

// TestAClientOfAnotherIssuerInTheRegistry is disabled, limited and signs as it says there.
func TestAClientOfAnotherIssuerInTheRegistry(t *testing.T) {
	e := newElsewhere(t)
	r := newRig(t)
	key := privateKeys(t)[auth.AlgorithmP256]
	e.set(false, publicJWK(key, "k"))
	i := r.start(e.config())
	c, _ := registered(t, i, auth.OrdersAdmin)
	f := foreign(jose.ES256, key, "k", c.ID, time.Now())
	f.claims["scope"] = "accounts:admin orders:read"
	p, err := i.Authenticate(testContext(t), bearer(t, f), c.ID)
	require.NoError(t, err)
	require.Equal(t, auth.Principal{ClientID: c.ID, Scopes: auth.NewSet(auth.OrdersRead)}, p)
	_, err = i.Clients().AddKey(testContext(t), c.ID, auth.Key{KeyID: "k", PEM: publicPEM(t, key.Public())})
	require.NoError(t, err)
	p, err = i.Authenticate(testContext(t), bearer(t, f), c.ID)
	require.NoError(t, err)
	require.True(t, p.MustSign)
	_, err = i.Clients().SetDisabled(testContext(t), c.ID, true)
	require.NoError(t, err)
	_, err = i.Authenticate(testContext(t), bearer(t, f), c.ID)
	refused(t, err, auth.Unauthenticated, "the client is disabled")

	unlimited, _, err := i.Clients().Add(testContext(t), auth.NewClient{Name: "Without scopes"})
	require.NoError(t, err)
	f.claims["client_id"] = unlimited.ID
	p, err = i.Authenticate(testContext(t), bearer(t, f), unlimited.ID)
	require.NoError(t, err)
	require.Equal(t, "accounts:admin orders:read", p.Scopes.String())
}

// TestTheKeysOfAnotherIssuer are fetched when they are needed, seldom, and kept while it is down.
func TestTheKeysOfAnotherIssuer(t *testing.T) {
	e := newElsewhere(t)
	r := newRig(t)
	_, first, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	next, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	i := r.start(e.config())
	show := func(algorithm jose.SignatureAlgorithm, key crypto.Signer, kid string) error {
		return second(i.Authenticate(testContext(t), bearer(t, foreign(algorithm, key, kid, otherID, r.clock.now())), otherID))
	}
	require.Zero(t, e.count(), "nobody has asked yet")

	e.set(true)
	refused(t, show(jose.EdDSA, first, "1"), auth.Unavailable, "cannot be had at the moment")
	refused(t, show(jose.EdDSA, first, "1"), auth.Unavailable, "cannot be had at the moment")
	require.Equal(t, 1, e.count(), "not again at once")
	i.log.await(t, "those from before stay")
	r.clock.forward(time.Second)
	e.set(false) // no key: that is no set to work with
	refused(t, show(jose.EdDSA, first, "1"), auth.Unavailable, "cannot be had at the moment")
	i.log.await(t, "those from before stay")
	r.clock.forward(time.Second)
	e.set(false, publicJWK(first, "1"))
	require.NoError(t, show(jose.EdDSA, first, "1"))
	i.log.await(t, "were fetched")
	require.Equal(t, 3, e.count())

	// A key that is new, and ones that nobody has.
	e.set(false, publicJWK(first, "1"), publicJWK(next, "2"))
	refused(t, show(jose.ES256, next, "2"), auth.Unauthenticated, "a key that is not known")
	require.Equal(t, 3, e.count(), "it was fetched a moment ago")
	r.clock.forward(10 * time.Second)
	require.NoError(t, show(jose.ES256, next, "2"))
	i.log.await(t, "were fetched")
	for range 5 {
		refused(t, show(jose.ES256, next, "3"), auth.Unauthenticated, "a key that is not known")
	}
	require.Equal(t, 4, e.count())

	// The issuer is down: what is kept goes on, and nobody can say whether there is another one.
	e.set(true)
	r.clock.forward(time.Hour)
	require.NoError(t, show(jose.EdDSA, first, "1"))
	require.NoError(t, show(jose.ES256, next, "2"))
	i.log.await(t, "those from before stay")
	r.clock.forward(time.Second)
	refused(t, show(jose.ES256, next, "3"), auth.Unavailable, "cannot be had at the moment")
	refused(t, show(jose.ES256, next, "3"), auth.Unavailable, "cannot be had at the moment")
	require.Equal(t, 6, e.count())

	// It is there again: a key that it has withdrawn is not good any more.
	e.set(false, publicJWK(next, "2"))
	r.clock.forward(time.Second)
	require.NoError(t, show(jose.ES256, next, "2"), "this has it fetched")
	i.log.await(t, "were fetched")
	refused(t, show(jose.EdDSA, first, "1"), auth.Unauthenticated, "a key that is not known")
	require.NoError(t, show(jose.ES256, next, "2"))
	require.Equal(t, 7, e.count())
}

// TestManyTokensAtOnceAskOnce: those that come while the keys are fetched wait for them.
func TestManyTokensAtOnceAskOnce(t *testing.T) {
	e := newElsewhere(t)
	r := newRig(t)
	key := privateKeys(t)[auth.AlgorithmP256]
	e.set(false, publicJWK(key, "k"))
	i := r.start(e.config())
	token := bearer(t, foreign(jose.ES256, key, "k", otherID, time.Now()))
	e.mu.Lock() // the answer has to wait
	const n = 10
	errs := make(chan error, n)
	for range n {
		go func() { errs <- second(i.Authenticate(testContext(t), token, otherID)) }()
	}
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	refused(t, second(i.Authenticate(ctx, token, otherID)), auth.Unavailable, "cannot be had at the moment")
	e.mu.Unlock()
	for range n {
		require.NoError(t, <-errs)
	}
	require.Equal(t, 1, e.count())
}

func TestAnIssuerThatIsNotConfigured(t *testing.T) {
	e := newElsewhere(t)
	r := newRig(t)
	for text, change := range map[string]func(*auth.Issuer){
		"issuer: the URL is missing":      func(i *auth.Issuer) { i.URL = "" },
		"issuer: the audience is missing": func(i *auth.Issuer) { i.Audience = "" },
		"must be https":                   func(i *auth.Issuer) { i.JWKSURL = "" },
		"or http at a loopback address":   func(i *auth.Issuer) { i.JWKSURL = "http://me:secret@issuer.example/keys" },
	} {
		err := r.make(e.config(change)).Start(testContext(t))
		require.ErrorContains(t, err, text)
		require.NotContains(t, err.Error(), "secret")
	}
	e.set(false, publicJWK(privateKeys(t)[auth.AlgorithmP256], "k"))
	i := r.start(e.config(func(i *auth.Issuer) { i.JWKSURL = e.URL + "/moved" }))
	key := privateKeys(t)[auth.AlgorithmP256]
	_, err := i.Authenticate(testContext(t), bearer(t, foreign(jose.ES256, key, "k", otherID, time.Now())), otherID)
	refused(t, err, auth.Unavailable, "cannot be had at the moment")
	i.log.await(t, "it answers 302")
	require.Equal(t, 1, e.count())
}
