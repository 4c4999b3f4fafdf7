package auth_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/handlers/auth"
)

func TestATokenIsAsRFC9068HasIt(t *testing.T) {
	r := newRig(t)
	i := r.start()
	c, secret := registered(t, i, auth.AccountsAdmin, auth.OrdersRead)
	token, err := i.Token(testContext(t), c.ID, secret, "")
	require.NoError(t, err)
	require.Equal(t, 3600, token.ExpiresIn)
	require.Equal(t, "accounts:admin orders:read", token.Scope.String())

	parsed, err := jwt.ParseSigned(token.AccessToken, []jose.SignatureAlgorithm{jose.EdDSA})
	require.NoError(t, err)
	require.Len(t, parsed.Headers, 1)
	require.Equal(t, r.ring.current, parsed.Headers[0].KeyID)
	require.Equal(t, "at+jwt", parsed.Headers[0].ExtraHeaders[jose.HeaderType])
	public, _ := r.ring.Verifier(r.ring.current)
	var claims map[string]any
	require.NoError(t, parsed.Claims(public, &claims))
	for _, claim := range []string{"iat", "nbf", "exp"} {
		require.IsType(t, float64(0), claims[claim], claim)
	}
	require.InDelta(t, 3600, claims["exp"].(float64)-claims["iat"].(float64), 0)
	require.NoError(t, uuid.Validate(claims["jti"].(string)))
	for claim, want := range map[string]any{
		"iss": "closure", "aud": "closure", "sub": c.ID, "client_id": c.ID, "scope": "accounts:admin orders:read",
	} {
		require.Equal(t, want, claims[claim], claim)
	}

	p, err := i.Authenticate(testContext(t), "Bearer "+token.AccessToken, c.ID)
	require.NoError(t, err)
	require.Equal(t, auth.Principal{ClientID: c.ID, Scopes: token.Scope}, p)
	_, err = i.Authenticate(testContext(t), "bearer  "+token.AccessToken+" ", c.ID)
	require.NoError(t, err, "the scheme is in any case (RFC 9110, 11.1)")
}

func TestTheScopesOfAToken(t *testing.T) {
	i := newRig(t).start()
	c, secret := registered(t, i, auth.AccountsAdmin, auth.OrdersRead)
	for requested, want := range map[string]string{
		"": "accounts:admin orders:read", "   ": "accounts:admin orders:read", "orders:read": "orders:read",
		"accounts:read": "accounts:read", "orders:read accounts:admin": "accounts:admin orders:read",
	} {
		token, err := i.Token(testContext(t), c.ID, secret, requested)
		require.NoError(t, err, requested)
		require.Equal(t, want, token.Scope.String(), requested)
		p, err := i.Authenticate(testContext(t), "Bearer "+token.AccessToken, c.ID)
		require.NoError(t, err)
		require.Equal(t, token.Scope, p.Scopes)
	}
	for requested, reason := range map[string]string{
		"orders:admin":               "scope: the client does not have orders:admin",
		"accounts:read users:read":   "scope: the client does not have users:read",
		"accounts:write":             `scope: there is no scope "accounts:write"`,
		"accounts:admin,orders:read": "scope: there is no scope",
	} {
		_, err := i.Token(testContext(t), c.ID, secret, requested)
		refused(t, err, auth.Invalid, reason)
		require.Equal(t, auth.CodeInvalidScope, err.(*auth.Error).Code)
	}
}

// Who has no right to a token gets one and the same answer.
func TestNoTokenWithoutTheSecret(t *testing.T) {
	r := newRig(t)
	i := r.start()
	c, secret := registered(t, i)
	other, otherSecret := registered(t, i)
	disabled, disabledSecret := registered(t, i)
	_, err := i.Clients().SetDisabled(testContext(t), disabled.ID, true)
	require.NoError(t, err)
	require.NoError(t, second(i.Token(testContext(t), other.ID, otherSecret, "")))
	for name, given := range map[string][2]string{
		"wrong": {c.ID, secret[:len(secret)-1] + "_"}, "empty": {c.ID, ""}, "its hash": {c.ID, c.Secrets[0].Hash},
		"another client's": {c.ID, otherSecret}, "unknown client": {uuid.NewString(), secret}, "no client": {"", ""}, "disabled": {disabled.ID, disabledSecret},
		"longer": {c.ID, secret + "A"},
	} {
		_, err := i.Token(testContext(t), given[0], given[1], "nonsense")
		refused(t, err, auth.Invalid, "client_id or client_secret is wrong, or the client is disabled")
		require.Equal(t, auth.CodeInvalidClient, err.(*auth.Error).Code, name)
	}
	r.ring.forget()
	_, err = i.Token(testContext(t), c.ID, secret, "")
	refused(t, err, auth.Unavailable, "try again")
}

func second[T any](_ T, err error) error { return err }

// forger makes tokens as the engine does, but for what a test changes.
type forger struct {
	algorithm jose.SignatureAlgorithm
	key       any
	kid       string
	typ       string
	claims    map[string]any
}

func (f forger) token(t testing.TB) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithHeader("kid", f.kid)
	if f.typ != "" {
		options = options.WithType(jose.ContentType(f.typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: f.algorithm, Key: f.key}, options)
	require.NoError(t, err)
	text, err := jwt.Signed(signer).Claims(f.claims).Serialize()
	require.NoError(t, err)
	return text
}

// unsigned puts a token together by hand.
func unsigned(t testing.TB, header, claims map[string]any, signature string) string {
	t.Helper()
	var parts []string
	for _, part := range []any{header, claims} {
		raw, err := json.Marshal(part)
		require.NoError(t, err)
		parts = append(parts, base64.RawURLEncoding.EncodeToString(raw))
	}
	return strings.Join(append(parts, signature), ".")
}

// TestTokensThatAreRefused forges tokens in every way.
func TestTokensThatAreRefused(t *testing.T) {
	r := newRig(t)
	i := r.start()
	c, secret := registered(t, i)
	other, _ := registered(t, i)
	unknown := uuid.NewString()
	kid, private, err := r.ring.Signer()
	require.NoError(t, err)
	public := private.Public().(ed25519.PublicKey)
	spki, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	inPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	_, foreign, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)

	now := time.Now()
	good := func() forger {
		return forger{jose.EdDSA, private, kid, "at+jwt", map[string]any{
			"iss": "closure", "aud": []string{"another", "closure"}, "sub": c.ID, "client_id": c.ID, "scope": "accounts:admin", "jti": "1",
			"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(), "secret_id": c.Secrets[0].Hash[:16],
		}}
	}
	claim := func(name string, value any) func(*forger) {
		return func(f *forger) {
			if f.claims[name] = value; value == nil {
				delete(f.claims, name)
			}
		}
	}
	p, err := i.Authenticate(testContext(t), "Bearer "+good().token(t), c.ID)
	require.NoError(t, err, "what is changed below is good")
	require.Equal(t, "accounts:admin", p.Scopes.String())

	for name, test := range map[string]struct {
		change func(*forger)
		reason string // "" for a token that is good
	}{
		"another key":                {func(f *forger) { f.key = foreign }, "the signature of the access token is wrong"},
		"unknown kid":                {func(f *forger) { f.kid = "unknown" }, "a key that is not known"},
		"no kid":                     {func(f *forger) { f.kid = "" }, "a key that is not known"},
		"HS256 with the public key":  {func(f *forger) { f.algorithm, f.key = jose.HS256, append([]byte{}, public...) }, `algorithm "HS256", which is not accepted`},
		"HS256 with the key as PEM":  {func(f *forger) { f.algorithm, f.key = jose.HS256, inPEM }, `algorithm "HS256", which is not accepted`},
		"HS512 with the key as SPKI": {func(f *forger) { f.algorithm, f.key = jose.HS512, append(spki, spki...) }, `algorithm "HS512", which is not accepted`},
		"an ID token":                {func(f *forger) { f.typ = "JWT" }, "its typ must be at+jwt"},
		"no typ":                     {func(f *forger) { f.typ = "" }, "its typ must be at+jwt"},
		"typ in full":                {func(f *forger) { f.typ = "application/AT+JWT" }, ""},
		"another issuer":             {claim("iss", "https://issuer.example"), "of another issuer"},
		"no issuer":                  {claim("iss", nil), "of another issuer"},
		"another audience":           {claim("aud", "another"), "for another audience"},
		"no audience":                {claim("aud", nil), "for another audience"},
		"expired":                    {claim("exp", now.Add(-31*time.Second).Unix()), "has expired"},
		"expired within the leeway":  {claim("exp", now.Add(-20*time.Second).Unix()), ""},
		"without an end":             {claim("exp", nil), "does not expire"},
		"not valid yet":              {claim("nbf", now.Add(40*time.Second).Unix()), "is not valid yet"},
		"valid in a moment":          {claim("nbf", now.Add(20*time.Second).Unix()), ""},
		"issued in the future":       {claim("iat", now.Add(40*time.Second).Unix()), "is not valid yet"},
		"exp is text":                {claim("exp", "tomorrow"), "claims of the access token cannot be read"},
		"another client":             {func(f *forger) { f.claims["client_id"], f.claims["sub"] = other.ID, other.ID }, "not of the client that upvest-client-id names"},
		"another subject":            {claim("sub", other.ID), "does not say whose it is"},
		"no client":                  {func(f *forger) { delete(f.claims, "client_id"); delete(f.claims, "sub") }, "does not say whose it is"},
		"another secret":             {claim("secret_id", other.Secrets[0].Hash[:16]), "with a secret that has been replaced"},
		"no secret":                  {claim("secret_id", nil), "with a secret that has been replaced"},
		"scopes that there are not":  {claim("scope", "accounts:admin everything"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := good()
			test.change(&f)
			_, err := i.Authenticate(testContext(t), "Bearer "+f.token(t), c.ID)
			if test.reason == "" {
				require.NoError(t, err)
				return
			}
			refused(t, err, auth.Unauthenticated, test.reason)
		})
	}

	f := good()
	f.claims["client_id"], f.claims["sub"] = unknown, unknown
	_, err = i.Authenticate(testContext(t), "Bearer "+f.token(t), unknown)
	refused(t, err, auth.Unauthenticated, "not registered any more")

	token := tokenFor(t, i, c.ID, secret)
	parts := strings.Split(token, ".")
	none := map[string]any{"alg": "none", "typ": "at+jwt", "kid": kid}
	embedded := map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kid, "jwk": jose.JSONWebKey{Key: foreign.Public(), KeyID: kid}}
	embeddedText := unsigned(t, embedded, good().claims, "")
	embeddedText += base64.RawURLEncoding.EncodeToString(ed25519.Sign(foreign, []byte(strings.TrimSuffix(embeddedText, "."))))
	critical := unsigned(t, map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kid, "crit": []string{"x"}, "x": 1}, good().claims, "")
	critical += base64.RawURLEncoding.EncodeToString(ed25519.Sign(private, []byte(strings.TrimSuffix(critical, "."))))
	for name, test := range map[string]struct{ header, reason string }{
		"alg none":                  {"Bearer " + unsigned(t, none, good().claims, ""), `algorithm "none", which is not accepted`},
		"alg none with a signature": {"Bearer " + unsigned(t, none, good().claims, parts[2]), `algorithm "none", which is not accepted`},
		"no signature":              {"Bearer " + parts[0] + "." + parts[1] + ".", "is wrong"},
		"another's signature":       {"Bearer " + parts[0] + "." + parts[1] + "." + strings.Split(good().token(t), ".")[2], "is wrong"},
		"a key in the header":       {"Bearer " + embeddedText, "is wrong"},
		"a critical extension":      {"Bearer " + critical, "the access token"},
		"two parts":                 {"Bearer " + parts[0] + "." + parts[1], "must be a signed JWT"},
		"five parts":                {"Bearer " + token + ".a.b", "must be a signed JWT"},
		"garbage":                   {"Bearer garbage", "must be a signed JWT"},
		"not UTF-8":                 {"Bearer \xff\xfe.a.b", "must be a signed JWT"},
		"JSON":                      {`Bearer {"payload":"e30"}`, "must be a signed JWT"},
		"two tokens":                {"Bearer " + token + " " + token, "must hold one access token"},
		"two headers":               {"Bearer " + token + ", Bearer " + token, "must hold one access token"},
		"long":                      {"Bearer " + strings.Repeat("a", 9000), "is too long"},
		"no token":                  {"Bearer", "must be Bearer and an access token"},
		"empty token":               {"Bearer ", "must be Bearer and an access token"},
		"empty":                     {"", "must be Bearer and an access token"},
		"no scheme":                 {token, "must be Bearer and an access token"},
		"basic":                     {"Basic " + base64.StdEncoding.EncodeToString([]byte(c.ID+":"+secret)), "must be Bearer and an access token"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := i.Authenticate(testContext(t), test.header, c.ID)
			refused(t, err, auth.Unauthenticated, test.reason)
			require.NotContains(t, err.Error(), secret)
		})
	}
	for _, named := range []string{other.ID, unknown, "", strings.ToUpper(c.ID)} {
		_, err := i.Authenticate(testContext(t), "Bearer "+token, named)
		refused(t, err, auth.Unauthenticated, "not of the client that upvest-client-id names")
	}
}

// TestTokensAreGoodInAllProcesses has tokens of one process shown to another one, over a rotation of the key.
func TestTokensAreGoodInAllProcesses(t *testing.T) {
	r := newRig(t)
	here, there := r.start(), r.start()
	c, secret := registered(t, here)
	there.log.await(t, "an entry", c.ID)
	token := tokenFor(t, here, c.ID, secret)
	r.ring.rotate(t)
	for _, text := range []string{token, tokenFor(t, there, c.ID, secret)} {
		for _, i := range []*instance{here, there} {
			_, err := i.Authenticate(testContext(t), "Bearer "+text, c.ID)
			require.NoError(t, err)
		}
	}
	r.clock.forward(time.Hour + 31*time.Second)
	_, err := there.Authenticate(testContext(t), "Bearer "+token, c.ID)
	refused(t, err, auth.Unauthenticated, "has expired")
}

func TestADisabledClientIsRefusedEverywhere(t *testing.T) {
	r := newRig(t)
	here, there := r.start(), r.start()
	c, secret := registered(t, here)
	there.log.await(t, "an entry", c.ID)
	token := tokenFor(t, there, c.ID, secret)
	_, err := here.Clients().SetDisabled(testContext(t), c.ID, true)
	require.NoError(t, err)
	there.log.await(t, "an entry", c.ID)
	for _, i := range []*instance{here, there} {
		_, err := i.Authenticate(testContext(t), "Bearer "+token, c.ID)
		refused(t, err, auth.Unauthenticated, "the client is disabled")
		_, err = i.Token(testContext(t), c.ID, secret, "")
		refused(t, err, auth.Invalid, "client_id or client_secret is wrong, or the client is disabled")
	}
	_, err = there.Clients().SetDisabled(testContext(t), c.ID, false)
	require.NoError(t, err)
	here.log.await(t, "an entry", c.ID, "revision=4") // 1 is that of the nonces, 2 and 3 are of this client
	_, err = here.Authenticate(testContext(t), "Bearer "+token, c.ID)
	require.NoError(t, err)
}

// TestARotationAndTheTokens: a token ends with the secret that it was got with.
func TestARotationAndTheTokens(t *testing.T) {
	r := newRig(t)
	i := r.start(func(cfg *auth.Config) { cfg.TokenLife = 100 * time.Hour })
	c, old := registered(t, i)
	token := tokenFor(t, i, c.ID, old)
	show := func(token string) error { return second(i.Authenticate(testContext(t), "Bearer "+token, c.ID)) }

	_, next, err := i.Clients().Rotate(testContext(t), c.ID, 24*time.Hour)
	require.NoError(t, err)
	require.NotEqual(t, old, next)
	for _, secret := range []string{old, next} {
		require.NoError(t, show(tokenFor(t, i, c.ID, secret)))
	}
	require.NoError(t, show(token))
	r.clock.forward(24 * time.Hour)
	refused(t, show(token), auth.Unauthenticated, "with a secret that has been replaced")
	refused(t, second(i.Token(testContext(t), c.ID, old, "")), auth.Invalid, "client_secret is wrong")

	token = tokenFor(t, i, c.ID, next)
	_, last, err := i.Clients().Rotate(testContext(t), c.ID, 0)
	require.NoError(t, err)
	refused(t, show(token), auth.Unauthenticated, "with a secret that has been replaced")
	refused(t, second(i.Token(testContext(t), c.ID, next, "")), auth.Invalid, "client_secret is wrong")
	require.NoError(t, show(tokenFor(t, i, c.ID, last)))
}

func TestBeforeTheStartAndAfterTheStopNothingIsKnown(t *testing.T) {
	r := newRig(t)
	i := r.make()
	check := func() {
		_, err := i.Authenticate(testContext(t), "Bearer a.b.c", otherID)
		refused(t, err, auth.Unavailable, "try again")
		_, err = i.Token(testContext(t), otherID, "secret", "")
		refused(t, err, auth.Unavailable, "try again")
		request := get(t, "http://127.0.0.1/accounts")
		refused(t, i.VerifySignature(testContext(t), request, nil, auth.Principal{ClientID: otherID}), auth.Unavailable, "try again")
	}
	check()
	require.NoError(t, i.Start(testContext(t)))
	require.ErrorContains(t, i.Start(testContext(t)), "started before")
	require.NoError(t, i.Stop(testContext(t)))
	require.NoError(t, i.Stop(testContext(t)))
	check()
	require.ErrorContains(t, auth.New(auth.Config{Conn: i.conn}).Start(testContext(t)), "neither keys for tokens nor another issuer")
}
