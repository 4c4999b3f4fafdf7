package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"closure/domain"
	"closure/handlers/auth"
)

// defaultOverlap is for how long the secret before signs as well after a rotation.
const defaultOverlap = 24 * time.Hour

// secretRotation is the body of POST /webhooks/{id}/rotate_secret.
type secretRotation struct {
	Overlap *string `json:"overlap,omitempty" minLength:"2" maxLength:"20" doc:"For how long the secret before signs as well: 0s to 168h. 0s ends it at once, for one that was given away. Defaults to 24h." example:"24h"`
}

// rotatedSecret is the answer to it.
type rotatedSecret struct {
	Secret             string     `json:"secret" doc:"The new secret: whsec_ and base64. It is shown this once." example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`
	PreviousValidUntil *time.Time `json:"previous_valid_until" doc:"Until when requests are signed with the secret before as well (UTC); null when it has ended."`
}

// jwkSet is a JWK set (RFC 7517) of Ed25519 keys (RFC 8037).
type jwkSet struct {
	Keys []jwk `json:"keys" doc:"The keys that are valid, the one that signs first."`
}

type jwk struct {
	KeyType   string `json:"kty" enum:"OKP" doc:"The type of the key."`
	Curve     string `json:"crv" enum:"Ed25519" doc:"The curve."`
	X         string `json:"x" doc:"The public key, in base64url."`
	KeyID     string `json:"kid" doc:"The key's id: keyid of HTTP message signatures."`
	Algorithm string `json:"alg" enum:"EdDSA" doc:"The algorithm of its signatures."`
	Use       string `json:"use" enum:"sig" doc:"What it is for: signatures."`
}

type rotateSecret struct {
	ByID
	Body secretRotation
}

func (a *api) registerSecrets() {
	register(a, route{
		id: "rotateWebhookSecret", scope: auth.WebhooksAdmin, method: http.MethodPost, path: "/webhooks/{id}/rotate_secret", tag: tagWebhooks, summary: "Get a new secret",
		text: "An addition of this engine. For the overlap requests carry a signature of each secret, so that the endpoint can take the new one at any moment. " +
			"One that still signed from a rotation before ends at once.",
		noun: nounWebhook, status: http.StatusOK, success: "The new secret, this once.", example: exampleRotation,
		request: secretRotation{new("24h")},
	}, a.rotateSecret)
	if a.keys == nil {
		return
	}
	register(a, route{
		id: "getVerifyKeys", method: http.MethodGet, path: "/auth/verify_keys", tag: tagWebhooks, summary: "Read the keys that verify webhooks", anonymous: true,
		text: "Of the HTTP message signatures, and of the `v1a` signatures of Standard Webhooks. After a rotation the key before stays for some days: " +
			"read it again when a request names a `keyid` that you do not know.",
		status: http.StatusOK, success: "A JWK set.", example: exampleKeys,
		content: []content{{mediaJSON, reflect.TypeFor[jwkSet]()}},
	}, a.verifyKeys)
}

func (a *api) rotateSecret(ctx context.Context, in *rotateSecret) (*found[rotatedSecret], error) {
	overlap := defaultOverlap
	if given := in.Body.Overlap; given != nil {
		var err error
		if overlap, err = time.ParseDuration(*given); err != nil {
			return nil, &domain.Refusal{Kind: domain.Invalid, Detail: "overlap: must be a duration such as 24h, got " + domain.Quote(*given)}
		}
	}
	secret, until, err := a.webhooks.RotateSecret(ctx, requestOf(ctx).client, in.ID, overlap)
	out := rotatedSecret{Secret: secret}
	if overlap > 0 && !until.IsZero() { // there may have been none before
		until = until.UTC()
		out.PreviousValidUntil = &until
	}
	return &found[rotatedSecret]{Body: out}, err
}

func (a *api) verifyKeys(context.Context, *struct{}) (*raw, error) {
	keys, err := a.keys()
	return &raw{ContentType: mediaJSON, Body: keys}, err
}
