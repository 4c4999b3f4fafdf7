package signing

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// key is one key of the engine.
type key struct {
	// id is the thumbprint of the public key (RFC 7638), so that it needs no storing, and fits no other key.
	id      string
	private ed25519.PrivateKey
	created time.Time
	// until is when the key ends; zero for the current one.
	until time.Time
}

func newKey(now time.Time) (key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return key{}, err
	}
	return keyOf(private, now, time.Time{})
}

func keyOf(private ed25519.PrivateKey, created, until time.Time) (key, error) {
	k := key{private: private, created: created, until: until}
	print, err := k.jwk().Thumbprint(crypto.SHA256)
	if err != nil {
		return key{}, err
	}
	k.id = base64.RawURLEncoding.EncodeToString(print)
	return k, nil
}

// jwk is the public half.
func (k key) jwk() *jose.JSONWebKey {
	return &jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: string(jose.EdDSA), Use: "sig"}
}

// String keeps the private key out of logs.
func (k key) String() string { return k.id }

// keySet is what the bucket holds: the current key, and one before it while their overlap lasts. It is never changed.
type keySet struct {
	keys     []key
	revision uint64 // of the entry: a higher one is newer
}

// valid are the keys that sign and verify at a time, the current one first.
func (s keySet) valid(at time.Time) []key {
	return slices.DeleteFunc(slices.Clone(s.keys), func(k key) bool { return !k.until.IsZero() && !at.Before(k.until) })
}

// rotated has the new key in front, and of the old ones only the one that was current.
func (s keySet) rotated(next key, now time.Time, overlap time.Duration) keySet {
	old := s.keys[0]
	old.until = now.Add(overlap)
	return keySet{keys: []key{next, old}}
}

// jwks is the JWK set (RFC 7517) of the keys that are valid.
func (s keySet) jwks(at time.Time) ([]byte, error) {
	var set jose.JSONWebKeySet
	for _, k := range s.valid(at) {
		set.Keys = append(set.Keys, *k.jwk())
	}
	return json.Marshal(set)
}

// storedKeys is the entry of the bucket.
type storedKeys struct {
	Keys []storedKey `json:"keys"`
}

type storedKey struct {
	KeyID     string    `json:"kid"` // for whoever reads the bucket
	PKCS8     []byte    `json:"pkcs8"`
	CreatedAt time.Time `json:"created_at"`
	Until     time.Time `json:"until,omitzero"`
}

func (s keySet) encode() ([]byte, error) {
	var stored storedKeys
	for _, k := range s.keys {
		private, err := x509.MarshalPKCS8PrivateKey(k.private)
		if err != nil {
			return nil, err
		}
		stored.Keys = append(stored.Keys, storedKey{k.id, private, k.created, k.until})
	}
	return json.Marshal(stored)
}

// decodeKeys reads an entry. Its errors show nothing of the keys.
func decodeKeys(value []byte, revision uint64) (keySet, error) {
	var stored storedKeys
	if err := json.Unmarshal(value, &stored); err != nil {
		return keySet{}, errors.New("it is not JSON of the form {\"keys\": [{pkcs8, created_at, until}]}")
	}
	set := keySet{revision: revision}
	for i, one := range stored.Keys {
		parsed, err := x509.ParsePKCS8PrivateKey(one.PKCS8)
		private, ok := parsed.(ed25519.PrivateKey)
		if err != nil || !ok {
			return keySet{}, fmt.Errorf("key %d is not an Ed25519 key in PKCS#8", i)
		}
		if one.Until.IsZero() != (i == 0) {
			return keySet{}, fmt.Errorf("key %d: the first key has to be without until, and all others with it", i)
		}
		k, err := keyOf(private, one.CreatedAt, one.Until)
		if err != nil {
			return keySet{}, fmt.Errorf("key %d: %w", i, err)
		}
		set.keys = append(set.keys, k)
	}
	if len(set.keys) == 0 {
		return keySet{}, errors.New("it has no key")
	}
	return set, nil
}
