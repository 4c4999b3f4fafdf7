package signing

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// The headers that Sign sets.
const (
	HeaderID             = "webhook-id"
	HeaderTimestamp      = "webhook-timestamp"
	HeaderSignature      = "webhook-signature"
	HeaderContentDigest  = "content-digest"
	HeaderSignatureInput = "signature-input"
	HeaderMessage        = "signature"
	HeaderVersion        = "upvest-signature-version"
)

const (
	// label and draft of the HTTP message signatures (CONTRACT: HTTP).
	label = "sig1"
	draft = "15"
)

// ErrNoSecret: the subscription has no secret that is valid. The caller gives it one with Secrets.Rotate.
var ErrNoSecret = errors.New("the subscription has no webhook secret")

// Sign sets the headers by which the receiver can verify the request: those of Standard Webhooks and those of an HTTP message
// signature. It replaces what an earlier attempt has left there. The request MUST have its method, URL and content-type, and
// send exactly this body. messageID is the same for all attempts of the same package; it is visible ASCII without a ".",
// which separates the parts of what is signed. at is the time of the attempt, by the wall clock: receivers compare it with
// theirs.
//
// Errors: eventstore.ErrUnavailable before Start and after Stop, ErrNoSecret, else what is wrong with the request.
func (k *Keys) Sign(r *http.Request, body []byte, messageID string, secrets Secrets, at time.Time) error {
	set, err := k.snapshot()
	if err != nil {
		return err
	}
	return set.sign(r, body, messageID, secrets, at, k.cfg.Expires)
}

func (s keySet) sign(r *http.Request, body []byte, messageID string, secrets Secrets, at time.Time, expires time.Duration) error {
	if err := checkMessageID(messageID); err != nil {
		return err
	}
	if len(r.Header.Values("content-type")) == 0 {
		return errors.New("sign a webhook: the request has no content-type; it has to be set before")
	}
	valid := secrets.Valid(at)
	if len(valid) == 0 {
		return ErrNoSecret
	}
	timestamp := strconv.FormatInt(at.Unix(), 10)
	r.Header.Set(HeaderID, messageID)
	r.Header.Set(HeaderTimestamp, timestamp)
	r.Header.Set(HeaderSignature, standardSignatures(messageID, timestamp, body, valid, s.valid(at)))
	r.Header.Set(HeaderContentDigest, contentDigest(body))
	r.Header.Set(HeaderVersion, draft)

	current := s.keys[0]
	params := httpsfv.NewParams()
	params.Add("keyid", current.id)
	params.Add("created", at.Unix())
	params.Add("nonce", rand.Text())
	params.Add("expires", at.Add(expires).Unix())
	input, signature, err := signMessage(current.private, label, covered(r), params)
	if err != nil {
		return fmt.Errorf("sign a webhook: %w", err)
	}
	r.Header.Set(HeaderSignatureInput, input)
	r.Header.Set(HeaderMessage, signature)
	return nil
}

func checkMessageID(id string) error {
	wrong := func(c rune) bool { return c <= ' ' || c > '~' || c == '.' }
	if id == "" || strings.ContainsFunc(id, wrong) {
		return fmt.Errorf("sign a webhook: the message id %q has to be visible ASCII without a full stop", id)
	}
	return nil
}

// standardSignatures is the value of webhook-signature: "v1" of each secret, then "v1a" of each key.
func standardSignatures(id, timestamp string, body []byte, secrets []Secret, keys []key) string {
	content := bytes.Join([][]byte{[]byte(id), []byte(timestamp), body}, []byte("."))
	var all []string
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret.bytes())
		mac.Write(content)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	for _, key := range keys {
		all = append(all, "v1a,"+base64.StdEncoding.EncodeToString(ed25519.Sign(key.private, content)))
	}
	return strings.Join(all, " ")
}

// contentDigest is the header of RFC 9530.
func contentDigest(body []byte) string {
	sum := sha512.Sum512(body)
	return "sha-512=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// covered are the components that are signed (CONTRACT: HTTP message signatures), as they will stand in the request.
func covered(r *http.Request) []component {
	all := []component{
		{"@method", cmp.Or(r.Method, http.MethodGet)},
		{"@path", cmp.Or(r.URL.EscapedPath(), "/")}, // an empty path is sent as "/"
	}
	if r.URL.RawQuery != "" {
		all = append(all, component{"@query", "?" + r.URL.RawQuery})
	}
	for _, name := range []string{HeaderContentDigest, "content-type", HeaderID, HeaderTimestamp, HeaderSignature} {
		values := r.Header.Values(name)
		trimmed := make([]string, len(values))
		for i, v := range values {
			trimmed[i] = strings.TrimSpace(v)
		}
		all = append(all, component{name, strings.Join(trimmed, ", ")})
	}
	return all
}
