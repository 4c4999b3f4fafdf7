package auth_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"closure/handlers/auth"
)

func TestTheScopesAreThoseOfTheContract(t *testing.T) {
	require.Equal(t, []auth.Scope{
		"account_liquidations:admin", "account_liquidations:read", "accounts:admin", "accounts:read", "orders:admin", "orders:read",
		"reports:read", "tests:admin", "users:admin", "users:read", "webhooks:admin", "webhooks:read",
	}, auth.Scopes())
	auth.Scopes()[0] = "changed"
	require.Equal(t, auth.LiquidationsAdmin, auth.Scopes()[0])
}

// TestWhatASetHas goes through all pairs of scopes.
func TestWhatASetHas(t *testing.T) {
	admin := map[auth.Scope]auth.Scope{
		auth.AccountsRead: auth.AccountsAdmin, auth.LiquidationsRead: auth.LiquidationsAdmin, auth.OrdersRead: auth.OrdersAdmin,
		auth.UsersRead: auth.UsersAdmin, auth.WebhooksRead: auth.WebhooksAdmin,
	}
	for _, held := range auth.Scopes() {
		for _, asked := range auth.Scopes() {
			require.Equal(t, held == asked || admin[asked] == held, auth.NewSet(held).Has(asked), "%s has %s", held, asked)
		}
		require.False(t, auth.NewSet(held).Has("tests:read:admin"))
		require.False(t, auth.Set{}.Has(held))
	}
	require.True(t, auth.NewSet("nonsense").Empty())
}

func TestParseSet(t *testing.T) {
	for text, want := range map[string]string{"": "", " \t": "", "orders:read  accounts:read": "accounts:read orders:read", "users:read users:read": "users:read"} {
		s, err := auth.ParseSet(text)
		require.NoError(t, err)
		require.Equal(t, want, s.String())
	}
	_, err := auth.ParseSet("accounts:read accounts:Read nonsense")
	require.EqualError(t, err, `there is no scope "accounts:Read"`)
	var s auth.Set
	require.EqualError(t, json.Unmarshal([]byte(`["accounts:read","x"]`), &s), `there is no scope "x"`)
	require.Error(t, json.Unmarshal([]byte(`"accounts:read"`), &s))
	require.True(t, s.Empty())
}

func TestASetIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOf(rapid.SampledFrom(auth.Scopes())).Draw(t, "scopes")
		s := auth.NewSet(list...)
		parsed, err := auth.ParseSet(s.String())
		require.NoError(t, err)
		require.Equal(t, s, parsed)
		raw, err := json.Marshal(s)
		require.NoError(t, err)
		var read auth.Set
		require.NoError(t, json.Unmarshal(raw, &read))
		require.Equal(t, s, read)
		require.True(t, slices.IsSorted(s.List()))
		for _, one := range list {
			require.True(t, s.Has(one))
		}
	})
}
