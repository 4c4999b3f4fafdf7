package domain

import (
	"crypto/sha1"
	"fmt"

	"github.com/google/uuid"
)

// Kind names a type of aggregate. It is a token of every subject and the prefix of every event name,
// so it is part of the storage format.
type Kind string

// The kinds of aggregate.
const (
	KindAccount      Kind = "account"
	KindAccountGroup Kind = "account_group"
	KindUser         Kind = "user"
)

// Kinds lists every kind of aggregate, in the order in which documents show them.
func Kinds() []Kind { return []Kind{KindAccount, KindAccountGroup, KindUser} }

// ParseID reads a uuid in its 36-character form and returns it in lower case, the one form that is
// stored: two spellings of one id must never become two aggregates.
func ParseID(s string) (string, error) {
	if len(s) != 36 {
		return "", fmt.Errorf("must be a uuid such as 9b2d1f34-6c0e-4e0a-8a57-3f1d5c7e9a10, got %d characters", len(s))
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return "", fmt.Errorf("must be a uuid such as 9b2d1f34-6c0e-4e0a-8a57-3f1d5c7e9a10")
	}
	return id.String(), nil
}

// parseStored reads a uuid in the form that is stored, and in no other.
func parseStored(s string) (id uuid.UUID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return uuid.UUID{}, false
	}
	at := 0
	for i := range id {
		if at == 8 || at == 13 || at == 18 || at == 23 {
			at++
		}
		high, low := digits[s[at]], digits[s[at+1]]
		if high|low > 0xf {
			return uuid.UUID{}, false
		}
		id[i] = high<<4 | low
		at += 2
	}
	return id, true
}

// digits are the values of the lower-case hexadecimal digits; 0xff for what is none.
var digits = func() (values [256]byte) {
	for i := range values {
		values[i] = 0xff
	}
	for value, digit := range []byte("0123456789abcdef") {
		values[digit] = byte(value)
	}
	return values
}()

// namespace is the root of all derived ids. Changing it would let a retry across versions write twice.
var namespace = uuid.MustParse("5f0c7d0e-3a53-5c1b-9d5e-0c6f6c0b7a11")

// DeriveID makes a stable uuid (version 5, RFC 9562) from a purpose and its parts. What is derived from the
// same cause has the same id, so doing a thing twice does nothing the second time.
func DeriveID(purpose string, parts ...string) string {
	var room [256]byte // enough for most: nothing is allocated but the id
	name := append(append(append(room[:0], namespace[:]...), purpose...), 0)
	for i, part := range parts {
		if i > 0 {
			name = append(name, 0)
		}
		name = append(name, part...)
	}
	sum := sha1.Sum(name)
	id := uuid.UUID(sum[:16])
	id[6] = id[6]&0x0f | 0x50 // version 5
	id[8] = id[8]&0x3f | 0x80 // variant RFC 9562
	return id.String()
}
