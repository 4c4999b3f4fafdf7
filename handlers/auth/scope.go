package auth

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"closure/domain"
)

// Scope is a right that a client may have (CONTRACT: HTTP, the column scope). One that ends in :admin includes the :read of
// the same resource.
type Scope string

// The scopes of the contract.
const (
	AccountsRead      Scope = "accounts:read"
	AccountsAdmin     Scope = "accounts:admin"
	LiquidationsRead  Scope = "account_liquidations:read"
	LiquidationsAdmin Scope = "account_liquidations:admin"
	OrdersRead        Scope = "orders:read"
	OrdersAdmin       Scope = "orders:admin"
	ReportsRead       Scope = "reports:read"
	WebhooksRead      Scope = "webhooks:read"
	WebhooksAdmin     Scope = "webhooks:admin"
	UsersRead         Scope = "users:read"
	UsersAdmin        Scope = "users:admin"
	TestsAdmin        Scope = "tests:admin"
)

// allScopes is sorted; the place of a scope is its bit in a Set.
var allScopes = []Scope{
	LiquidationsAdmin, LiquidationsRead, AccountsAdmin, AccountsRead, OrdersAdmin, OrdersRead, ReportsRead, TestsAdmin, UsersAdmin, UsersRead,
	WebhooksAdmin, WebhooksRead,
}

// Scopes are all there are, sorted.
func Scopes() []Scope { return slices.Clone(allScopes) }

// Set is a set of scopes. Its zero value is empty. Sets are compared with ==.
type Set struct{ bits uint32 }

// NewSet makes a set. A scope that there is not, is not in it.
func NewSet(scopes ...Scope) Set {
	var s Set
	for _, one := range scopes {
		s.add(one)
	}
	return s
}

func (s *Set) add(one Scope) bool {
	i := slices.Index(allScopes, one)
	if i < 0 {
		return false
	}
	s.bits |= 1 << i
	return true
}

// ParseSet reads scopes that are separated by spaces, as OAuth does (RFC 6749, 3.3); "" is the empty set. The error names
// the first one that there is not.
func ParseSet(text string) (Set, error) {
	var s Set
	for _, one := range strings.Fields(text) {
		if !s.add(Scope(one)) {
			return Set{}, fmt.Errorf("there is no scope %s", domain.Quote(one))
		}
	}
	return s, nil
}

// knownScopes are those of a token of another issuer that are ours; others are for others.
func knownScopes(names []string) Set {
	var s Set
	for _, one := range names {
		s.add(Scope(one))
	}
	return s
}

// Has tells whether the set allows what the scope stands for: it has the scope, or the :admin of the same resource.
func (s Set) Has(scope Scope) bool {
	if s.holds(scope) {
		return true
	}
	resource, isRead := strings.CutSuffix(string(scope), ":read")
	return isRead && s.holds(Scope(resource+":admin"))
}

func (s Set) holds(scope Scope) bool {
	i := slices.Index(allScopes, scope)
	return i >= 0 && s.bits&(1<<i) != 0
}

// Empty tells whether it allows nothing.
func (s Set) Empty() bool { return s.bits == 0 }

// List are the scopes, sorted.
func (s Set) List() []Scope {
	out := []Scope{}
	for i, one := range allScopes {
		if s.bits&(1<<i) != 0 {
			out = append(out, one)
		}
	}
	return out
}

// String is what ParseSet reads: sorted, separated by spaces.
func (s Set) String() string {
	names := make([]string, 0, len(allScopes))
	for _, one := range s.List() {
		names = append(names, string(one))
	}
	return strings.Join(names, " ")
}

// and is what both sets allow: of accounts:admin and accounts:read it is accounts:read.
func (s Set) and(other Set) Set {
	both := Set{s.bits & other.bits}
	for i, one := range allScopes { // :admin comes before the :read of the same resource
		if (s.holds(one) || other.holds(one)) && s.Has(one) && other.Has(one) && !both.Has(one) {
			both.bits |= 1 << i
		}
	}
	return both
}

// without are the scopes that the other set does not allow.
func (s Set) without(other Set) []Scope {
	return slices.DeleteFunc(s.List(), other.Has)
}

// MarshalJSON writes a list of names.
func (s Set) MarshalJSON() ([]byte, error) { return json.Marshal(s.List()) }

// UnmarshalJSON reads a list of names; one that there is not, is an error.
func (s *Set) UnmarshalJSON(data []byte) error {
	var names []string
	if err := json.Unmarshal(data, &names); err != nil {
		return err
	}
	var read Set
	for _, one := range names {
		if !read.add(Scope(one)) {
			return fmt.Errorf("there is no scope %s", domain.Quote(one))
		}
	}
	*s = read
	return nil
}
