package domain

import (
	"fmt"
	"strings"

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

// namespace is the root of all derived ids. Changing it would let a retry across versions write twice.
var namespace = uuid.MustParse("5f0c7d0e-3a53-5c1b-9d5e-0c6f6c0b7a11")

// DeriveID makes a stable uuid (version 5, RFC 9562) from a purpose and its parts. What is derived from the
// same cause has the same id, so doing a thing twice does nothing the second time.
func DeriveID(purpose string, parts ...string) string {
	return uuid.NewSHA1(namespace, []byte(purpose+"\x00"+strings.Join(parts, "\x00"))).String()
}
