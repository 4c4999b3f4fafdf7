package auth_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"github.com/yaronf/httpsign"

	"closure/eventstore/embedded"
	"closure/handlers/auth"
)

func get(t testing.TB, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(testContext(t), http.MethodGet, url, nil)
	require.NoError(t, err)
	return r
}

// privateKeys are keys of all algorithms.
func privateKeys(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	out := map[string]crypto.Signer{auth.AlgorithmEd25519: edwards}
	for algorithm, curve := range map[string]elliptic.Curve{
		auth.AlgorithmP256: elliptic.P256(), auth.AlgorithmP384: elliptic.P384(), auth.AlgorithmP521: elliptic.P521(),
	} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		out[algorithm] = key
	}
	return out
}

func publicPEM(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	raw, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: raw}))
}

// signing is a client with a key.
type signing struct {
	auth.Client
	key auth.RequestKey
}

func registeredKey(t testing.TB, i *instance, keyID string, private crypto.Signer) signing {
	t.Helper()
	c, _ := registered(t, i)
	c, err := i.Clients().AddKey(testContext(t), c.ID, auth.Key{KeyID: keyID, PEM: publicPEM(t, private.Public())})
	require.NoError(t, err)
	return signing{c, auth.RequestKey{ID: keyID, Private: private}}
}

// guarded is an HTTP server that verifies the signature of each request of the client that the request names.
func guarded(t testing.TB, i *instance) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = i.VerifySignature(r.Context(), r, body, auth.Principal{ClientID: r.Header.Get("upvest-client-id")})
		}
		var refusal *auth.Error
		switch {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case !errors.As(err, &refusal):
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case refusal.Kind == auth.Unavailable:
			http.Error(w, refusal.Reason, http.StatusServiceUnavailable)
		default:
			http.Error(w, refusal.Reason, http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// order is a request with everything: a query, a body, headers.
func order(t testing.TB, url string, client string) (*http.Request, []byte) {
	t.Helper()
	body := []byte(`{"side":"SELL"}`)
	r, err := http.NewRequestWithContext(testContext(t), http.MethodPost, url+"/orders/a%2Fb?limit=10&note=%20x", nil)
	require.NoError(t, err)
	for name, value := range map[string]string{
		"upvest-client-id": client, "authorization": "Bearer token", "content-type": "application/json", "accept": "application/json",
		"idempotency-key": uuid.NewString(), "user-agent": "test", "x-request-id": "1", "cookie": "a=b", "sec-fetch-mode": "cors", "priority": "u=1",
	} {
		r.Header.Set(name, value)
	}
	r.Header.Add("accept", " application/problem+json ")
	return r, body
}

// do sends a request, and gives what the server says.
func do(t testing.TB, r *http.Request) (status int, text string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(body)
}

func TestSignaturesOfAllAlgorithms(t *testing.T) {
	i := newRig(t).start()
	url := guarded(t, i)
	for algorithm, private := range privateKeys(t) {
		t.Run(algorithm, func(t *testing.T) {
			c := registeredKey(t, i, `a"key"\1`, private)
			require.Equal(t, algorithm, c.Keys[0].Algorithm)
			require.True(t, i.MustSign(c.ID))
			with, body := order(t, url, c.ID)
			require.NoError(t, auth.SignRequest(with, body, c.key, time.Now()))
			status, text := do(t, with)
			require.Equal(t, http.StatusNoContent, status, text)

			for _, path := range []string{"", "/", "/accounts", "/accounts?", "/accounts?a;b", "/accounts?100%"} {
				without := get(t, url+path)
				without.Header.Set("upvest-client-id", c.ID)
				require.NoError(t, auth.SignRequest(without, nil, c.key, time.Now()))
				require.NotContains(t, without.Header, "Content-Digest")
				status, text = do(t, without)
				require.Equal(t, http.StatusNoContent, status, path+text)
			}
		})
	}
}

// TestAnEmptyPostIsSigned: the library sends a content-length of 0, which nobody has to sign.
func TestAnEmptyPostIsSigned(t *testing.T) {
	i := newRig(t).start()
	url := guarded(t, i)
	c := registeredKey(t, i, "k", privateKeys(t)[auth.AlgorithmEd25519])
	r, _ := order(t, url, c.ID)
	require.NoError(t, auth.SignRequest(r, nil, c.key, time.Now()))
	status, text := do(t, r)
	require.Equal(t, http.StatusNoContent, status, text)
}

// replaced changes a signature-input or a signature.
func replaced(header, old, new string) func(*http.Request) {
	return func(r *http.Request) {
		before := r.Header.Get(header)
		r.Header.Set(header, strings.Replace(before, old, new, 1))
		if r.Header.Get(header) == before {
			panic("nothing was replaced in " + before)
		}
	}
}

// TestSignaturesThatAreRefused changes a request after it was signed.
func TestSignaturesThatAreRefused(t *testing.T) {
	i := newRig(t).start()
	url := guarded(t, i)
	keys := privateKeys(t)
	c := registeredKey(t, i, "k", keys[auth.AlgorithmP256])
	registeredKey(t, i, "theirs", keys[auth.AlgorithmP521])
	keyless, _ := registered(t, i)
	changedBody := func(body string) func(*http.Request) {
		return func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		}
	}
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	del := func(name string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(name) } }
	const mismatch = "it is not of this request and this key"
	for name, test := range map[string]struct {
		change func(*http.Request)
		reason string // "" for what does not matter
	}{
		"nothing": {func(*http.Request) {}, ""},
		"ignored headers": {func(r *http.Request) {
			r.Header.Set("x-a", "b")
			r.Header.Set("cf-ray", "1")
			r.Header.Set("user-agent", "u")
		}, ""},
		"trace context": {set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ""},
		"another label": {func(r *http.Request) {
			r.Header.Add("signature-input", `other=("@method")`)
			r.Header.Add("signature", "other=:YQ==:")
		}, ""},
		"the method":             {func(r *http.Request) { r.Method = http.MethodPut }, mismatch},
		"the path":               {func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/orders/a/b", "" }, mismatch},
		"the query":              {func(r *http.Request) { r.URL.RawQuery = "limit=11&note=%20x" }, mismatch},
		"the order of the query": {func(r *http.Request) { r.URL.RawQuery = "note=%20x&limit=10" }, mismatch},
		"without the query":      {func(r *http.Request) { r.URL.RawQuery = "" }, mismatch},
		"the body":               {changedBody(`{"side":"BUY."}`), "content-digest: it is not the sha-512 of the body"},
		"a longer body":          {changedBody(`{"side":"SELL"}  `), "content-digest: it is not the sha-512 of the body"},
		"no body":                {changedBody(""), "content-digest: it is not the sha-512 of the body"},
		"body and digest": {func(r *http.Request) {
			changedBody(`{"side":"BUY."}`)(r)
			r.Header.Set("content-digest", digest(`{"side":"BUY."}`))
		}, mismatch},
		"without a digest":      {del("content-digest"), "which is not in the request"},
		"a digest of another":   {set("content-digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"), "content-digest: must be sha-512"},
		"a digest that is none": {set("content-digest", "nonsense!"), "content-digest: must be sha-512"},
		"a digest of text":      {set("content-digest", `sha-512="abc"`), "content-digest: it is not"},
		"a header":              {set("idempotency-key", uuid.NewString()), mismatch},
		"one value more":        {func(r *http.Request) { r.Header.Add("accept", "text/html") }, mismatch},
		"the token":             {set("authorization", "Bearer another"), mismatch},
		"without a header":      {del("idempotency-key"), `"idempotency-key", which is not in the request`},
		"a header more":         {set("if-match", "1"), `"if-match" must be covered by the signature`},
		"another client":        {set("upvest-client-id", keyless.ID), "no registered key"},
		"no client":             {set("upvest-client-id", ""), "no registered key"},
		"unsigned": {func(r *http.Request) {
			del("signature")(r)
			del("signature-input")(r)
			del("upvest-signature-version")(r)
		}, "must be signed, since the client has a registered key"},
		"no signature":          {del("signature"), "signature: is missing"},
		"no input":              {del("signature-input"), "signature-input: is missing"},
		"another version":       {set("upvest-signature-version", "6"), `upvest-signature-version: must be 15, got "6"`},
		"no version":            {del("upvest-signature-version"), `upvest-signature-version: must be 15, got ""`},
		"no label":              {replaced("signature-input", "sig1=", "sig2="), "signature-input: must have a member sig1"},
		"no label of signature": {replaced("signature", "sig1=", "sig2="), "signature: must have a member sig1"},
		"input is garbage":      {set("signature-input", "sig1=(("), "must be a dictionary of structured fields"},
		"signature is garbage":  {set("signature", "sig1=:!:"), "must be a dictionary of structured fields"},
		"input is no list":      {set("signature-input", "sig1=5"), "must be a list of components"},
		"signature is a list":   {set("signature", "sig1=(1)"), "must be bytes in Base64"},
		"signature is text":     {set("signature", `sig1="a"`), "must be bytes in Base64"},
		"signature is empty":    {set("signature", `sig1=::`), mismatch},
		"another key":           {replaced("signature-input", `keyid="k"`, `keyid="theirs"`), `no registered key with the keyid "theirs"`},
		"no keyid":              {replaced("signature-input", `keyid="k";`, ""), "keyid must be a string"},
		"keyid is a token":      {replaced("signature-input", `keyid="k"`, "keyid=k"), "keyid must be a string"},
		"another nonce":         {replaced("signature-input", `nonce="`, `nonce="a`), mismatch},
		"no nonce":              {replaced("signature-input", `;nonce="`, `;other="`), "nonce must be a string"},
		"empty nonce":           {replaced("signature-input", `;nonce="`, `;nonce="";other="`), "nonce must be a string"},
		"long nonce":            {replaced("signature-input", `;nonce="`, `;nonce="`+strings.Repeat("a", 300)), "at most 256"},
		"no created":            {replaced("signature-input", `;created=`, `;other=`), "created must be a time"},
		"created is text":       {replaced("signature-input", `;created=`, `;created="1";other=`), "created must be a time"},
		"no expires":            {replaced("signature-input", `;expires=`, `;other=`), "expires must be a time"},
		"expires is a decimal":  {replaced("signature-input", `;expires=`, `;expires=1.5;other=`), "expires must be a time"},
		"alg of another key":    {replaced("signature-input", `;nonce=`, `;alg="ed25519";nonce=`), "alg: must be ecdsa-p256-sha512"},
		"alg is no text":        {replaced("signature-input", `;nonce=`, `;alg;nonce=`), "alg must be a string"},
		"alg was not signed":    {replaced("signature-input", `;nonce=`, `;alg="ecdsa-p256-sha512";nonce=`), mismatch},
		"without the method":    {replaced("signature-input", `"@method" `, ""), `"@method" must be covered`},
		"without the path":      {replaced("signature-input", `"@path" `, ""), `"@path" must be covered`},
		"query not covered":     {replaced("signature-input", `"@query" `, ""), `"@query" must be covered`},
		"digest not covered":    {replaced("signature-input", `"content-digest" `, ""), `"content-digest" must be covered`},
		"length not covered":    {replaced("signature-input", `"content-length" `, ""), `"content-length" must be covered`},
		"token not covered":     {replaced("signature-input", `"authorization" `, ""), `"authorization" must be covered`},
		"twice":                 {replaced("signature-input", `"@path"`, `"@path" "@path"`), `"@path" is there twice`},
		"another derived one":   {replaced("signature-input", `"@path"`, `"@path" "@target-uri"`), `"@target-uri", which cannot be covered`},
		"upper case":            {replaced("signature-input", `"@path"`, `"@path" "X-A"`), `"X-A" must be in lower case`},
		"component parameters":  {replaced("signature-input", `"@path"`, `"@path" "accept";sf`), `must be without parameters`},
		"a component is number": {replaced("signature-input", `"@path"`, `"@path" 5`), "the components must be strings"},
	} {
		t.Run(name, func(t *testing.T) {
			r, body := order(t, url, c.ID)
			require.NoError(t, auth.SignRequest(r, body, c.key, time.Now()))
			test.change(r)
			status, text := do(t, r)
			if test.reason == "" {
				require.Equal(t, http.StatusNoContent, status, text)
				return
			}
			require.Equal(t, http.StatusUnauthorized, status, text)
			require.Contains(t, text, test.reason)
		})
	}

	// The same nonce and times as a good one, by the key of somebody else: signed with what the client has not registered.
	for name, key := range map[string]auth.RequestKey{
		"the right id":     {ID: "k", Private: keys[auth.AlgorithmP521]},
		"another's id":     {ID: "theirs", Private: keys[auth.AlgorithmP521]},
		"another of these": {ID: "k", Private: keys[auth.AlgorithmEd25519]},
	} {
		r, body := order(t, url, c.ID)
		require.NoError(t, auth.SignRequest(r, body, key, time.Now()))
		status, text := do(t, r)
		require.Equal(t, http.StatusUnauthorized, status, name+text)
	}
}

func digest(body string) string {
	read := io.NopCloser(strings.NewReader(body))
	header, err := httpsign.GenerateContentDigestHeader(&read, []string{httpsign.DigestSha512})
	if err != nil {
		panic(err)
	}
	return header
}

// TestTheTimesOfASignature moves the clock of the client.
func TestTheTimesOfASignature(t *testing.T) {
	r := newRig(t)
	i := r.start()
	c := registeredKey(t, i, "k", privateKeys(t)[auth.AlgorithmEd25519])
	url := guarded(t, i)
	for name, test := range map[string]struct {
		after   time.Duration
		expires string // by which the one of SignRequest is replaced, as seconds after created
		reason  string
	}{
		"now":           {0, "", ""},
		"late":          {-9 * time.Second, "", ""},
		"expired":       {-12 * time.Second, "", "the signature has expired"},
		"ahead":         {4 * time.Second, "", ""},
		"in the future": {7 * time.Second, "", "created is in the future"},
		"long ago":      {-time.Hour, "", "the signature has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			request, body := order(t, url, c.ID)
			require.NoError(t, auth.SignRequest(request, body, c.key, time.Now().Add(test.after)))
			status, text := do(t, request)
			if test.reason == "" {
				require.Equal(t, http.StatusNoContent, status, text)
				return
			}
			require.Equal(t, http.StatusUnauthorized, status, text)
			require.Contains(t, text, test.reason)
		})
	}
	for params, reason := range map[string]string{
		";created=100;expires=111":                 "at most 10 s after created",
		";created=100;expires=99":                  "not before it",
		";created=100;expires=110":                 "has expired",
		";created=999999999999999;expires=1":       "in the future",
		";created=-999999999999999;expires=1":      "created must be a time",
		";created=1;expires=999999999999999":       "at most 10 s",
		";created=9999999999999999;expires=1":      "dictionary of structured fields", // more digits than there may be
		";created=99;expires=100;created=1;nonce=": "dictionary of structured fields",
	} {
		request := get(t, url+"/accounts")
		request.Header.Set("upvest-client-id", c.ID)
		request.Header.Set("upvest-signature-version", "15")
		request.Header.Set("signature", "sig1=:YQ==:")
		request.Header.Set("signature-input", `sig1=("@method" "@path" "upvest-client-id");keyid="k";nonce="1"`+params)
		status, text := do(t, request)
		require.Equal(t, http.StatusUnauthorized, status, params)
		require.Contains(t, text, reason, params)
	}
}

// TestASignatureIsGoodOnce shows the same request to two engine processes.
func TestASignatureIsGoodOnce(t *testing.T) {
	r := newRig(t)
	here, there := r.start(), r.start()
	private := privateKeys(t)[auth.AlgorithmEd25519]
	c := registeredKey(t, here, "k", private)
	there.log.await(t, "an entry", c.ID, "revision=3")
	urls := []string{guarded(t, here), guarded(t, there)}
	for n := range urls {
		request, body := order(t, urls[n], c.ID)
		require.NoError(t, auth.SignRequest(request, body, c.key, time.Now()))
		status, text := do(t, request)
		require.Equal(t, http.StatusNoContent, status, text)
		for _, url := range append(urls, urls...) {
			again, _ := order(t, url, c.ID)
			again.Header = request.Header.Clone()
			again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			status, text := do(t, again)
			require.Equal(t, http.StatusUnauthorized, status)
			require.Contains(t, text, "nonce: it was used before")
		}
	}
	// A nonce is of a key of a client: another one may have the same.
	other := registeredKey(t, here, "k", private)
	request, body := order(t, urls[0], c.ID)
	require.NoError(t, auth.SignRequest(request, body, c.key, time.Now()))
	params := request.Header.Get("signature-input")
	require.NoError(t, here.VerifySignature(testContext(t), request, body, auth.Principal{ClientID: c.ID}))
	require.NoError(t, here.VerifySignature(testContext(t), request, body, auth.Principal{ClientID: other.ID}), params)
	refused(t, here.VerifySignature(testContext(t), request, body, auth.Principal{ClientID: other.ID}), auth.Unauthenticated, "used before")
}

// TestARequestAtTheSameMomentIsTakenOnce lets many try the same signature.
func TestARequestAtTheSameMomentIsTakenOnce(t *testing.T) {
	r := newRig(t)
	instances := []*instance{r.start(), r.start()}
	c := registeredKey(t, instances[0], "k", privateKeys(t)[auth.AlgorithmEd25519])
	instances[1].log.await(t, "an entry", c.ID, "revision=3")
	request, body := order(t, "http://127.0.0.1", c.ID)
	require.NoError(t, auth.SignRequest(request, body, c.key, time.Now()))
	const n = 16
	errs := make(chan error, n)
	for k := range n {
		go func() {
			errs <- instances[k%2].VerifySignature(testContext(t), request, body, auth.Principal{ClientID: c.ID})
		}()
	}
	good := 0
	for range n {
		if err := <-errs; err == nil {
			good++
		} else {
			refused(t, err, auth.Unauthenticated, "used before")
		}
	}
	require.Equal(t, 1, good)
}

// TestAfterTheNoncesWereLost restarts the server: a signature that was used before is not good again.
func TestAfterTheNoncesWereLost(t *testing.T) {
	dir := t.TempDir()
	server, err := embedded.Start(embedded.Config{Dir: dir, NoSync: true})
	require.NoError(t, err)
	r := &rig{t: t, url: server.ClientURL(), ring: newRing(t), clock: &clock{}}
	i := r.start()
	c := registeredKey(t, i, "k", privateKeys(t)[auth.AlgorithmP521])
	verify := func(request *http.Request, body []byte) error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return i.VerifySignature(ctx, request, body, auth.Principal{ClientID: c.ID})
	}
	used, body := order(t, "http://127.0.0.1", c.ID)
	require.NoError(t, auth.SignRequest(used, body, c.key, r.clock.now()))
	require.NoError(t, verify(used, body), "the first store of all has lost nothing")
	refused(t, verify(used, body), auth.Unauthenticated, "used before")

	connected := i.conn.StatusChanged(nats.CONNECTED)
	addr := strings.TrimPrefix(server.ClientURL(), "nats://")
	server.Shutdown()
	server, err = embedded.Start(embedded.Config{Addr: addr, Dir: dir, NoSync: true})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	select {
	case <-connected:
	case <-testContext(t).Done():
		t.Fatal("the engine has not come back to NATS")
	}
	refused(t, verify(used, body), auth.Unavailable, "have been lost in a restart")
	refused(t, verify(used, body), auth.Unavailable, "have been lost in a restart")
	r.clock.forward(10 * time.Second)
	again, body := order(t, "http://127.0.0.1", c.ID)
	require.NoError(t, auth.SignRequest(again, body, c.key, r.clock.now()))
	require.NoError(t, verify(again, body))

	late := r.start()
	require.NoError(t, late.Stop(testContext(t)), "an engine that starts now finds the second store")
}

// TestSignaturesOfAnotherLibrary: what yaronf/httpsign signs is verified here, and it verifies what is signed here.
func TestSignaturesOfAnotherLibrary(t *testing.T) {
	i := newRig(t).start()
	private := privateKeys(t)[auth.AlgorithmEd25519].(ed25519.PrivateKey)
	c := registeredKey(t, i, "k", private)

	theirs, body := order(t, "http://127.0.0.1", c.ID)
	theirs.Header.Set("content-digest", digest(string(body)))
	theirs.Header.Set("upvest-signature-version", "15")
	fields := httpsign.Headers("@query", "@method", "content-digest", "@path", "accept", "authorization", "content-type", "idempotency-key", "upvest-client-id")
	config := httpsign.NewSignConfig().SignAlg(true).SetKeyID("k").SetNonce("n1").SetExpires(time.Now().Unix() + 9)
	signer, err := httpsign.NewEd25519Signer(private, config, fields)
	require.NoError(t, err)
	input, signature, err := httpsign.SignRequest("sig1", *signer, theirs)
	require.NoError(t, err)
	theirs.Header.Set("signature-input", input)
	theirs.Header.Set("signature", signature)
	require.NoError(t, i.VerifySignature(testContext(t), theirs, body, auth.Principal{ClientID: c.ID}))

	ours, body := order(t, "http://127.0.0.1", c.ID)
	require.NoError(t, auth.SignRequest(ours, body, c.key, time.Now()))
	verifier, err := httpsign.NewEd25519Verifier(private.Public().(ed25519.PublicKey), httpsign.NewVerifyConfig().SetKeyID("k"), fields)
	require.NoError(t, err)
	require.NoError(t, httpsign.VerifyRequest("sig1", *verifier, ours))
	require.NoError(t, httpsign.ValidateContentDigestHeader(ours.Header.Values("content-digest"), &ours.Body, []string{httpsign.DigestSha512}))
}
