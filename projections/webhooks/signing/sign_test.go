package signing_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/yaronf/httpsign"

	"closure/projections/webhooks/signing"
)

// TestAReceiverVerifiesARequest sends requests over HTTP, to URLs of all shapes. The receiver has its secret, and the public
// keys.
func TestAReceiverVerifiesARequest(t *testing.T) {
	k := newRig(t).start(signing.Config{})
	secrets := signing.Secrets{}.Rotate(time.Now(), time.Hour)
	got := make(chan *http.Request, 1)
	bodies := make(chan []byte, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r
		bodies <- body
	}))
	defer receiver.Close()
	defer receiver.Client().CloseIdleConnections()
	for _, path := range []string{
		"", "/", "/hook", "/hook/", "/hook?", "/hook?a=1&b=2&a=3", "/a%2Fb/c%20d", "/ä ö", "/a;b/(c)?q=%C3%A4+x&empty=", "?only=query", "/h?json={\"a\"}",
		"/h?redirect=https://other.example/x?y#fragment",
	} {
		r := post(t, receiver.URL+path, payload)
		require.NoError(t, k.Sign(r, payload, messageID, secrets, time.Now()), path)
		answer, err := receiver.Client().Do(r)
		require.NoError(t, err, path)
		require.NoError(t, answer.Body.Close())
		verifyAll(t, <-got, <-bodies, jwks(t, k), secrets.Current)
	}
}

func TestWhatStandsInTheHeaders(t *testing.T) {
	k := newRig(t).start(signing.Config{})
	secrets := signing.Secrets{}.Rotate(time.Now(), time.Hour)
	at := time.Unix(1_700_000_000, 999_999_999)
	kid := keyIDs(t, k)[0]
	for url, query := range map[string]string{"https://example.com/hook": "", "https://example.com/hook?a=b": `"@query" `} {
		r := post(t, url, payload)
		require.NoError(t, k.Sign(r, payload, messageID, secrets, at))
		require.Equal(t, messageID, r.Header.Get("webhook-id"))
		require.Equal(t, "1700000000", r.Header.Get("webhook-timestamp"))
		require.Equal(t, "15", r.Header.Get("upvest-signature-version"))
		require.Regexp(t, `^v1,[A-Za-z0-9+/]{43}= v1a,[A-Za-z0-9+/]{86}==$`, r.Header.Get("webhook-signature"))
		require.Regexp(t, `^sha-512=:[A-Za-z0-9+/]{86}==:$`, r.Header.Get("content-digest"))
		require.Regexp(t, `^sig1=:[A-Za-z0-9+/]{86}==:$`, r.Header.Get("signature"))
		require.Regexp(t, `^sig1=\("@method" "@path" `+query+`"content-digest" "content-type" "webhook-id" "webhook-timestamp" "webhook-signature"\)`+
			`;keyid="`+regexp.QuoteMeta(kid)+`";created=1700000000;nonce="[A-Z2-7]{26,}";expires=1700000010$`, r.Header.Get("signature-input"))
	}
}

// TestAQueryThatIsNoForm: such a query cannot be parsed, but it is sent and signed as it is. httpsign refuses it, so the base
// of the signature is written out here.
func TestAQueryThatIsNoForm(t *testing.T) {
	k := newRig(t).start(signing.Config{})
	secrets := signing.Secrets{}.Rotate(time.Now(), time.Hour)
	for _, query := range []string{"a=1;b=2", "share=100%", "x=%zz"} {
		r := post(t, "https://example.com/hook?"+query, payload)
		require.NoError(t, k.Sign(r, payload, messageID, secrets, time.Now()))
		params := strings.TrimPrefix(r.Header.Get("signature-input"), "sig1=")
		base := `"@method": POST` + "\n" + `"@path": /hook` + "\n" + `"@query": ?` + query + "\n" +
			`"content-digest": ` + r.Header.Get("content-digest") + "\n" + `"content-type": application/json` + "\n" +
			`"webhook-id": ` + messageID + "\n" + `"webhook-timestamp": ` + r.Header.Get("webhook-timestamp") + "\n" +
			`"webhook-signature": ` + r.Header.Get("webhook-signature") + "\n" + `"@signature-params": ` + params
		public, err := publicKey(jwks(t, k), keyIDs(t, k)[0])
		require.NoError(t, err)
		signature, err := base64.StdEncoding.DecodeString(strings.Trim(strings.TrimPrefix(r.Header.Get("signature"), "sig1="), ":"))
		require.NoError(t, err)
		require.True(t, ed25519.Verify(public, []byte(base), signature), base)
	}
}

// TestEachAttemptIsSignedAnew signs one request several times, as retries do.
func TestEachAttemptIsSignedAnew(t *testing.T) {
	k := newRig(t).start(signing.Config{})
	secrets := signing.Secrets{}.Rotate(time.Now(), time.Hour)
	nonce := regexp.MustCompile(`nonce="([^"]*)"`)
	r := post(t, "https://example.com/hook", payload)
	nonces, signatures := map[string]bool{}, map[string]bool{}
	start := time.Now()
	for i := range 3 {
		at := start.Add(time.Duration(i) * time.Second)
		require.NoError(t, k.Sign(r, payload, messageID, secrets, at))
		for name, values := range r.Header {
			require.Len(t, values, 1, "%s of the attempt before was replaced", name)
		}
		require.Equal(t, messageID, r.Header.Get("webhook-id"), "the id stays")
		require.Equal(t, strconv.FormatInt(at.Unix(), 10), r.Header.Get("webhook-timestamp"))
		nonces[nonce.FindStringSubmatch(r.Header.Get("signature-input"))[1]] = true
		signatures[r.Header.Get("signature")] = true
		signatures[r.Header.Get("webhook-signature")] = true
		verifyAll(t, r, payload, jwks(t, k), secrets.Current)
	}
	require.Len(t, nonces, 3)
	require.Len(t, signatures, 6)

	// Also two attempts within one second differ.
	require.NoError(t, k.Sign(r, payload, messageID, secrets, start))
	first := r.Header.Get("signature")
	require.NoError(t, k.Sign(r, payload, messageID, secrets, start))
	require.NotEqual(t, first, r.Header.Get("signature"))
}

// TestWhatIsTamperedWithDoesNotVerify changes one thing at a time. Not all signatures cover all of a request.
func TestWhatIsTamperedWithDoesNotVerify(t *testing.T) {
	k := newRig(t).start(signing.Config{})
	now := time.Now()
	secrets := signing.Secrets{}.Rotate(now, time.Hour)
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, c := range map[string]struct {
		change                 func(*http.Request)
		body                   []byte
		standard, message, v1a bool // still good
	}{
		"nothing":      {change: func(*http.Request) {}, standard: true, v1a: true, message: true},
		"body":         {change: func(*http.Request) {}, body: []byte(strings.Replace(string(payload), "CLOSED", "OPENED", 1))},
		"body longer":  {change: func(*http.Request) {}, body: append([]byte(" "), payload...)},
		"timestamp":    {change: set("webhook-timestamp", strconv.FormatInt(now.Unix()+1, 10))},
		"id":           {change: set("webhook-id", "5f0b9f0e-7a55-4a0a-9a8a-0f7f5c6a1d12")},
		"method":       {change: func(r *http.Request) { r.Method = http.MethodPut }, standard: true, v1a: true},
		"path":         {change: func(r *http.Request) { r.URL.Path = "/other" }, standard: true, v1a: true},
		"query":        {change: func(r *http.Request) { r.URL.RawQuery = "tenant=8" }, standard: true, v1a: true},
		"query gone":   {change: func(r *http.Request) { r.URL.RawQuery = "" }, standard: true, v1a: true},
		"content type": {change: set("content-type", "text/plain"), standard: true, v1a: true},
		"digest":       {change: set("content-digest", "sha-512=:"+strings.Repeat("A", 86)+"==:"), standard: true, v1a: true},
		"other header": {change: set("traceparent", "00-1-2-03"), standard: true, v1a: true, message: true},
		"created": {change: func(r *http.Request) {
			r.Header.Set("signature-input", strings.Replace(r.Header.Get("signature-input"), ";created=", ";created=1", 1))
		}, standard: true, v1a: true},
		"nonce": {change: func(r *http.Request) {
			r.Header.Set("signature-input", regexp.MustCompile(`nonce="[^"]*"`).ReplaceAllString(r.Header.Get("signature-input"), `nonce="x"`))
		}, standard: true, v1a: true},
		"fewer covered": {change: func(r *http.Request) {
			r.Header.Set("signature-input", strings.Replace(r.Header.Get("signature-input"), `"content-digest" `, "", 1))
		}, standard: true, v1a: true},
		"v1 gone": {change: func(r *http.Request) {
			r.Header.Set("webhook-signature", strings.Fields(r.Header.Get("webhook-signature"))[1])
		}, v1a: true},
	} {
		t.Run(name, func(t *testing.T) {
			r, body := signed(t, k, secrets, now), payload
			c.change(r)
			if c.body != nil {
				body = c.body
			}
			for what, one := range map[string]struct {
				good bool
				err  error
			}{
				"v1":      {c.standard, verifyV1(r.Header, body, secrets.Current)},
				"v1a":     {c.v1a, verifyV1a(r.Header, body, jwks(t, k), keyIDs(t, k)[0])},
				"message": {c.message, verifyMessage(r, body, jwks(t, k), nil)},
			} {
				require.Equal(t, one.good, one.err == nil, "%s: %v", what, one.err)
			}
		})
	}
}

func TestAnOldAttemptDoesNotVerify(t *testing.T) {
	k := newRig(t).start(signing.Config{})
	secrets := signing.Secrets{}.Rotate(time.Now(), time.Hour)
	// Every limit on its own: 5 minutes of Standard Webhooks, 10 seconds of `created` and of `expires`.
	old := signed(t, k, secrets, time.Now().Add(-6*time.Minute))
	require.ErrorContains(t, verifyV1(old.Header, payload, secrets.Current), "too old")
	late := signed(t, k, secrets, time.Now().Add(-12*time.Second))
	require.ErrorContains(t, verifyMessage(late, payload, jwks(t, k), nil), "too old")
	require.ErrorContains(t, verifyMessage(late, payload, jwks(t, k), httpsign.NewVerifyConfig().SetVerifyCreated(false)), "expired")
	require.NoError(t, verifyMessage(late, payload, jwks(t, k), httpsign.NewVerifyConfig().SetVerifyCreated(false).SetRejectExpired(false)), "it is only old")
	early := signed(t, k, secrets, time.Now().Add(6*time.Minute))
	require.ErrorContains(t, verifyV1(early.Header, payload, secrets.Current), "too new")
}

func TestAnotherSecretOrKeyDoesNotVerify(t *testing.T) {
	k, stranger := newRig(t).start(signing.Config{}), newRig(t).start(signing.Config{})
	secrets := signing.Secrets{}.Rotate(time.Now(), time.Hour)
	r := signed(t, k, secrets, time.Now())
	require.NoError(t, verifyV1(r.Header, payload, secrets.Current))
	require.ErrorContains(t, verifyV1(r.Header, payload, signing.NewSecret()), "no matching signature")
	require.ErrorContains(t, verifyV1a(r.Header, payload, jwks(t, stranger), keyIDs(t, stranger)[0]), "no v1a signature")
	require.ErrorContains(t, verifyMessage(r, payload, jwks(t, stranger), nil), "has no key")

	// Somebody signs with a key of his own, and claims that it is ours.
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	require.NoError(t, signing.SignWith(private, r, payload, messageID, secrets, time.Now()))
	r.Header.Set("signature-input", regexp.MustCompile(`keyid="[^"]*"`).ReplaceAllString(r.Header.Get("signature-input"), `keyid="`+keyIDs(t, k)[0]+`"`))
	require.ErrorContains(t, verifyMessage(r, payload, jwks(t, k), nil), "failed Ed25519 verification")
	require.Error(t, verifyV1a(r.Header, payload, jwks(t, k), keyIDs(t, k)[0]))
}

// TestWhileASecretRotatesBothSign has receivers with the old and the new secret.
func TestWhileASecretRotatesBothSign(t *testing.T) {
	k := newRig(t).start(signing.Config{})
	now := time.Now()
	first := signing.Secrets{}.Rotate(now, time.Hour)
	second := first.Rotate(now, time.Minute)

	during := signed(t, k, second, now)
	require.NoError(t, verifyV1(during.Header, payload, first.Current))
	verifyAll(t, during, payload, jwks(t, k), second.Current)

	// The library does not ask for a time within its tolerance of 5 minutes.
	after := signed(t, k, second, now.Add(time.Minute))
	require.ErrorContains(t, verifyV1(after.Header, payload, first.Current), "no matching signature")
	require.NoError(t, verifyV1(after.Header, payload, second.Current))
}

func TestWhatCannotBeSigned(t *testing.T) {
	k := newRig(t).start(signing.Config{})
	now := time.Now()
	secrets := signing.Secrets{}.Rotate(now, time.Hour)
	for _, id := range []string{"", "a.b", "a b", "a\nb", "ä", "a\x7f"} {
		require.ErrorContains(t, k.Sign(post(t, "https://example.com", payload), payload, id, secrets, now), "message id", "%q", id)
	}
	r := post(t, "https://example.com", payload)
	r.Header.Del("content-type")
	require.ErrorContains(t, k.Sign(r, payload, messageID, secrets, now), "no content-type")
	require.ErrorIs(t, k.Sign(post(t, "https://example.com", payload), payload, messageID, signing.Secrets{}, now), signing.ErrNoSecret)
	empty := post(t, "https://example.com/hook", nil)
	require.NoError(t, k.Sign(empty, nil, messageID, secrets, now))
	verifyAll(t, empty, nil, jwks(t, k), secrets.Current)
}
