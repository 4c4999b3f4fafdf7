package signing

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

const (
	secretPrefix = "whsec_"
	// secretBytes is how long a new secret is. The standard allows 24 to 64 bytes.
	secretBytes    = 32
	minSecretBytes = 24
	maxSecretBytes = 64

	redacted = secretPrefix + "***"
)

// Secret is what a subscription and the engine share: the key of "v1" signatures. The zero Secret is none. It is safe to
// print and to log: only Reveal shows it, and so does the JSON of Secrets, which is for storage.
type Secret struct {
	// key is a pointer, and one to a string, because fmt prints fields that are not exported without asking their methods:
	// the address is all that it shows of such a one, with every verb.
	key *string
}

// NewSecret draws a secret.
func NewSecret() Secret {
	key := make([]byte, secretBytes)
	_, _ = rand.Read(key) // it never fails, says its documentation
	return secretOf(key)
}

// ParseSecret reads what Reveal shows. Its errors say nothing of the text.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	if !ok {
		return Secret{}, errors.New("a webhook secret has to begin with " + secretPrefix)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || base64.StdEncoding.EncodeToString(key) != encoded { // the decoder skips line breaks
		return Secret{}, fmt.Errorf("a webhook secret has to be %s and base64, with padding and without line breaks", secretPrefix)
	}
	if len(key) < minSecretBytes || len(key) > maxSecretBytes {
		return Secret{}, fmt.Errorf("a webhook secret has %d bytes, and has to have %d to %d", len(key), minSecretBytes, maxSecretBytes)
	}
	return secretOf(key), nil
}

func secretOf(bytes []byte) Secret {
	key := string(bytes)
	return Secret{&key}
}

// Reveal is the secret as the client needs it, to be shown once: whsec_ and base64. "" for none.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return secretPrefix + base64.StdEncoding.EncodeToString(s.bytes())
}

// IsZero tells whether there is no secret.
func (s Secret) IsZero() bool { return s.key == nil }

// bytes is the key of the HMAC.
func (s Secret) bytes() []byte { return []byte(*s.key) }

// String hides the secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return "signing.Secret(" + s.String() + ")" }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret from JSON and other encodings. What is written so cannot be read back, which is the point;
// Secrets is what can be stored.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Secrets are the secrets of one subscription. The zero value has none.
type Secrets struct {
	Current Secret
	// Previous signs as well until PreviousUntil, so that the receiver has time to take the new one.
	Previous      Secret
	PreviousUntil time.Time
}

// Rotate draws a new secret; the current one stays valid for the overlap, or ends now if that is 0 or less. One that was
// still valid from a rotation before ends now.
func (s Secrets) Rotate(now time.Time, overlap time.Duration) Secrets {
	next := Secrets{Current: NewSecret()}
	if !s.Current.IsZero() && overlap > 0 {
		next.Previous, next.PreviousUntil = s.Current, now.UTC().Round(0).Add(overlap)
	}
	return next
}

// Valid are the secrets to sign with, the current one first.
func (s Secrets) Valid(now time.Time) []Secret {
	var valid []Secret
	if !s.Current.IsZero() {
		valid = append(valid, s.Current)
	}
	if !s.Previous.IsZero() && now.Before(s.PreviousUntil) {
		valid = append(valid, s.Previous)
	}
	return valid
}

// storedSecrets is how secrets are stored.
type storedSecrets struct {
	Current       string    `json:"current,omitempty"`
	Previous      string    `json:"previous,omitempty"`
	PreviousUntil time.Time `json:"previous_until,omitzero"`
}

// MarshalJSON is for storage, and SHOWS the secrets. Whatever holds Secrets must neither be answered to a client as it is,
// nor logged as JSON.
func (s Secrets) MarshalJSON() ([]byte, error) {
	return json.Marshal(storedSecrets{s.Current.Reveal(), s.Previous.Reveal(), s.PreviousUntil})
}

// UnmarshalJSON reads what MarshalJSON has written.
func (s *Secrets) UnmarshalJSON(data []byte) error {
	var stored storedSecrets
	if err := json.Unmarshal(data, &stored); err != nil {
		// The error of the decoder may quote what it was given.
		return errors.New("the secrets of a webhook cannot be read: they have to be an object with current, previous and previous_until")
	}
	read := Secrets{PreviousUntil: stored.PreviousUntil}
	for _, field := range []struct {
		text string
		to   *Secret
	}{{stored.Current, &read.Current}, {stored.Previous, &read.Previous}} {
		if field.text == "" {
			continue
		}
		secret, err := ParseSecret(field.text)
		if err != nil {
			return err
		}
		*field.to = secret
	}
	*s = read
	return nil
}

// String hides the secrets.
func (s Secrets) String() string {
	return fmt.Sprintf("{Current:%s Previous:%s PreviousUntil:%s}", s.Current, s.Previous, s.PreviousUntil.Format(time.RFC3339))
}

// LogValue hides the secrets from slog, which would else write them as JSON.
func (s Secrets) LogValue() slog.Value { return slog.StringValue(s.String()) }
