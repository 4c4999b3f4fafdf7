package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"time"
)

const (
	// secretPrefix lets scanners of code and logs find a secret that was leaked.
	secretPrefix = "cls_"
	secretBytes  = 32
	// secretSlots is how many secrets are compared at least: with the one before a rotation and with a client that there is
	// not, it takes the same time.
	secretSlots = 2
)

// Secret is what is kept of a client's secret: its hash.
//
// The hash is plain SHA-256, and not a slow one for passwords: a secret is 32 random bytes, which nobody finds by trying,
// however fast the hash is; and a slow hash would let anybody keep the engine busy with wrong secrets.
type Secret struct {
	// Hash is the SHA-256 of the secret as the client sends it, in hex of lower case.
	Hash string `json:"sha256" yaml:"sha256"`
	// CreatedAt is when it was made.
	CreatedAt time.Time `json:"created_at" yaml:"created_at"`
	// ValidUntil is when it ends; nil for one that does not.
	ValidUntil *time.Time `json:"valid_until,omitempty" yaml:"valid_until,omitempty"`
}

func (s Secret) validAt(now time.Time) bool { return s.ValidUntil == nil || now.Before(*s.ValidUntil) }

// id is by which a token names the secret that it was got with. It tells nothing of the secret: these are some bits of a hash
// of 32 random bytes.
func (s Secret) id() string { return s.Hash[:16] }

var errSecretHash = errors.New("sha256: must be the SHA-256 of a secret in hex: 64 digits of lower case")

func (s Secret) hash() (sum [sha256.Size]byte, err error) {
	read, err := hex.DecodeString(s.Hash)
	if err != nil || len(read) != len(sum) || hex.EncodeToString(read) != s.Hash {
		return sum, errSecretHash
	}
	return [sha256.Size]byte(read), nil
}

// newSecret makes a secret. It is shown once; only its hash is kept.
func newSecret(now time.Time) (Secret, string) {
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random) // it never fails
	text := secretPrefix + base64.RawURLEncoding.EncodeToString(random)
	sum := sha256.Sum256([]byte(text))
	return Secret{Hash: hex.EncodeToString(sum[:]), CreatedAt: now}, text
}

// rotated has the new secret in front, and the one before it until the overlap ends. One that was older ends now: so does the
// one before with an overlap of 0, for when it was stolen.
func rotated(old []Secret, next Secret, now time.Time, overlap time.Duration) []Secret {
	out := []Secret{next}
	if overlap <= 0 {
		return out
	}
	valid := slices.DeleteFunc(slices.Clone(old), func(s Secret) bool { return !s.validAt(now) })
	if len(valid) == 0 {
		return out
	}
	before, until := valid[0], now.Add(overlap)
	if before.ValidUntil == nil || until.Before(*before.ValidUntil) {
		before.ValidUntil = &until
	}
	return append(out, before)
}

// known are the secrets of a client, ready to be compared.
type known struct {
	secret Secret
	hash   [sha256.Size]byte
}

// nobody are the secrets of a client that there is not: nothing has these hashes.
var nobody = padded(nil)

// padded fills the secrets up with some that nobody knows.
func padded(all []known) []known {
	for len(all) < secretSlots {
		var none known
		_, _ = rand.Read(none.hash[:])
		past := time.Time{}
		none.secret = Secret{Hash: hex.EncodeToString(none.hash[:]), ValidUntil: &past}
		all = append(all, none)
	}
	return all
}

// match finds the secret that was given among the ones that are valid. It looks at all of them, in constant time.
func match(all []known, given string, now time.Time) (Secret, bool) {
	sum := sha256.Sum256([]byte(given))
	found := -1
	for i, one := range all {
		same := subtle.ConstantTimeCompare(sum[:], one.hash[:])
		if same == 1 && one.secret.validAt(now) {
			found = i
		}
	}
	if found < 0 {
		return Secret{}, false
	}
	return all[found].secret, true
}
