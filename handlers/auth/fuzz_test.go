package auth_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/handlers/auth"
)

// known refuses whatever an answer may not be: it is a refusal with a reason, of the right kind.
func known(t *testing.T, err error) {
	var refusal *auth.Error
	if !errors.As(err, &refusal) || refusal.Kind != auth.Unauthenticated || refusal.Reason == "" {
		t.Fatalf("the answer is %v", err)
	}
}

// FuzzAuthenticate shows the engine all kinds of authorization headers. Only the token that it has made is good.
func FuzzAuthenticate(f *testing.F) {
	r := newRig(f)
	i := r.start()
	c, secret := registered(f, i)
	token := tokenFor(f, i, c.ID, secret)
	_, private, err := r.ring.Signer()
	require.NoError(f, err)
	now := time.Now().Unix()
	for _, one := range []string{
		"Bearer " + token, "", "Bearer", "Bearer a.b.c", "Basic YTpi", "Bearer " + token + ", Bearer " + token, "Bearer " + token + ".",
		"Bearer eyJhbGciOiJub25lIn0.e30.", `Bearer {"payload":"e30","signatures":[]}`,
		bearer(f, forger{"EdDSA", private, r.ring.current, "at+jwt", map[string]any{"iss": "closure", "aud": "closure", "exp": now, "iat": now, "client_id": c.ID}}),
	} {
		f.Add(one, c.ID)
	}
	f.Fuzz(func(t *testing.T, header, client string) {
		p, err := i.Authenticate(testContext(t), header, client)
		if err != nil {
			known(t, err)
			return
		}
		if p.ClientID != c.ID || client != c.ID {
			t.Fatalf("%q is taken for %+v", header, p)
		}
	})
}

// FuzzSignatureHeaders shows the engine all kinds of headers of signatures, on a request that nobody has signed.
func FuzzSignatureHeaders(f *testing.F) {
	r := newRig(f)
	i := r.start()
	c := registeredKey(f, i, "k", privateKeys(f)[auth.AlgorithmP256])
	// A clock that stands still for the seeds: they are good but for the signature.
	signed, body := order(f, "http://127.0.0.1", c.ID)
	require.NoError(f, auth.SignRequest(signed, body, c.key, time.Now().Add(time.Hour)))
	r.clock.forward(time.Hour)
	input, signature, digest := signed.Header.Get("signature-input"), signed.Header.Get("signature"), signed.Header.Get("content-digest")
	good := signature
	f.Add(input, signature, digest, "limit=10", string(body), "x-a")
	f.Add(input, "sig1=:YQ==:", digest, "", "", "if-match")
	f.Add(`sig1=();keyid="k";nonce="n";created=1;expires=2`, "sig1=::", "sha-512=::", "?", "a", "@method")
	f.Add(`sig1=("@method";req "@path" "@query" "a";sf);keyid=k;alg=5, sig1=1, b=?1`, `sig1="a";x, sig2=(1)`, "a=1, b", "%", "", "")
	f.Fuzz(func(t *testing.T, input, signature, digest, query, body, header string) {
		request := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/orders", RawQuery: query}, Header: signed.Header.Clone()}
		request.Header["Signature-Input"], request.Header["Signature"] = []string{input}, []string{signature}
		request.Header["Content-Digest"] = []string{digest}
		request.Header[http.CanonicalHeaderKey(header)] = []string{"1"}
		err := i.VerifySignature(testContext(t), request, []byte(body), auth.Principal{ClientID: c.ID})
		if err == nil {
			t.Fatalf("the path was not signed, and this is taken: %q %q (signed: %q)", input, signature, good)
		}
		known(t, err)
	})
}

// FuzzClientsFile reads all kinds of clients files: what is taken is valid.
func FuzzClientsFile(f *testing.F) {
	key := publicPEM(f, privateKeys(f)[auth.AlgorithmEd25519].Public())
	f.Add([]byte("clients:\n  - id: " + fileID + "\n    name: a\n    scopes: [accounts:read]\n    secrets: [{sha256: " + hashOf("a") + "}]\n" +
		"    keys:\n      - keyid: k\n        pem: |\n" + indented(key) + "\n    rate: {per_second: .inf, burst: 1}\n"))
	f.Add([]byte("clients: [{id: " + fileID + ", name: a}, {id: " + fileID + ", name: b}]"))
	f.Add([]byte("clients: &a [*a]"))
	f.Add([]byte("? {a: b}\n: !!binary AA==\n--- x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := auth.ParseClientsFile(data)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, c := range all {
			if seen[c.ID] || len(c.ID) != 36 || c.Name == "" {
				t.Fatalf("this is no client: %+v", c)
			}
			seen[c.ID] = true
		}
	})
}
