package domain

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNewPayload has the names that come from outside: the engine's own commands are not among them.
func TestNewPayload(t *testing.T) {
	for _, kind := range Kinds() {
		for _, name := range CommandNames(kind) {
			p, ok := NewPayload(kind, name)
			require.True(t, ok)
			require.Equal(t, name, p.CommandName())
			again, _ := NewPayload(kind, name)
			if reflect.TypeOf(p).Elem().Size() > 0 {
				require.NotSame(t, p, again, "a payload is decoded into, so each call gives its own")
			}
		}
		for _, name := range []string{"link_account", "withdraw_account_link", "record_account_closure", "record_report", "record_domicile",
			"review_closure", "report_stall", "request_tax_statement", "link_account_group", "withdraw_account_group_link",
			"record_account_group_closure", "record_tax_statement", "", "OPEN", "close"} {
			_, ok := NewPayload(kind, name)
			require.False(t, ok, "%s %s is not for the outside", kind, name)
		}
	}
	_, ok := NewPayload(KindUser, "open")
	require.False(t, ok, "a user begins with the first account group")
	require.Equal(t, []string{"request_offboarding"}, CommandNames(KindUser))
	_, ok = NewPayload("portfolio", "open")
	require.False(t, ok)
	require.Empty(t, CommandNames("portfolio"))
}

// TestParseID has the one form in which ids are stored.
func TestParseID(t *testing.T) {
	id, err := ParseID("9B2D1F34-6C0E-4E0A-8A57-3F1D5C7E9A10")
	require.NoError(t, err)
	require.Equal(t, "9b2d1f34-6c0e-4e0a-8a57-3f1d5c7e9a10", id)
	for _, b := range badIDs {
		if b.right == "must be a uuid" {
			_, err := ParseID(b.value.(string))
			require.ErrorContains(t, err, b.right)
		}
	}
	// Derived ids are part of the log: another value would let a retry across versions write twice.
	require.Equal(t, "021cc6e6-3001-52ff-937f-edacad5b63f0", DeriveID("report", someGroup, owner, "ACCOUNT_CLOSING"))
	require.NotEqual(t, DeriveID("a", "b", "c"), DeriveID("a", "bc"))
	require.NotEqual(t, DeriveID("a", "b"), DeriveID("b", "a"))
}

// TestQuote has how a value of a client is shown to it: cut, and with nothing that could upset a terminal.
func TestQuote(t *testing.T) {
	forty := strings.Repeat("ä", 40)
	require.Equal(t, `"`+forty+`"`, Quote(forty))
	require.Equal(t, `"`+forty+`"…`, Quote(forty+"x"))
	require.Equal(t, `"a\x1b[31m\u202e\xff"`, Quote("a\x1b[31m\u202e\xff"))
}
