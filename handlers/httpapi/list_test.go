package httpapi

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/domain"
)

func TestLists(t *testing.T) {
	s := start(t)
	other := "dddddddd-0000-4000-8000-000000000004"
	for i := range 5 {
		account, group, report := exampleAccount, exampleGroup, exampleReport
		account.AccountNumber, report.UserID = i+1, zoe
		owner := []domain.Party{{ID: zoe, Type: domain.Owner}}
		if i == 4 {
			owner[0].ID, report.UserID = other, other
		}
		account.Users, group.Users = owner, owner
		s.lists.accounts = map[string][]domain.AccountResource{alice: append(s.lists.accounts[alice], account)}
		s.lists.groups = map[string][]domain.AccountGroupResource{alice: append(s.lists.groups[alice], group)}
		s.lists.reports = map[string][]domain.ReportResource{alice: append(s.lists.reports[alice], report)}
		_, _, err := s.webhooks.Create(context.Background(), alice, exampleWebhook)
		require.NoError(t, err)
	}
	asMeta := func(a answer) meta { return decode[list[map[string]any]](t, a, http.StatusOK).Meta }
	for _, path := range []string{"/accounts", "/account_groups", "/webhooks"} {
		require.Equal(t, meta{Limit: 100, Count: 5, TotalCount: 5, Sort: "created_at", Order: "ASC"}, asMeta(s.do("GET", path, "")), path)
		require.Equal(t, meta{Offset: 3, Limit: 1, Count: 1, TotalCount: 5, Sort: "updated_at", Order: "DESC"},
			asMeta(s.do("GET", path+"?offset=3&limit=1&sort=updated_at&order=DESC", "")), path)
	}
	for _, path := range []string{"/accounts", "/account_groups", "/reports"} {
		require.Equal(t, meta{Limit: 100, Count: 4, TotalCount: 4, Sort: "created_at", Order: "ASC"},
			asMeta(s.do("GET", "/users/"+strings.ToUpper(zoe)+path, "")), path)
		// An unknown user has an empty list: [], not null.
		a := s.do("GET", "/users/"+bob+path, "")
		require.Contains(t, string(a.body), `"data":[]`)
		require.Equal(t, meta{Limit: 100, Sort: "created_at", Order: "ASC"}, asMeta(a))
	}
	a := decode[list[domain.AccountResource]](t, s.do("GET", "/accounts?offset=1&limit=1", ""), http.StatusOK)
	require.Equal(t, 2, a.Data[0].AccountNumber)
}

// The whole page reaches the reader of lists as it was asked for.
func TestListsArePassedOn(t *testing.T) {
	s := start(t)
	var client, user string
	var page domain.Page
	s.lists.hook = func(_ context.Context, clientID, userID string, p domain.Page) error {
		client, user, page = clientID, userID, p
		return nil
	}
	require.Equal(t, http.StatusOK, s.do("GET", "/users/"+zoe+"/account_groups?offset=7&limit=1000&sort=id&order=DESC", "").status)
	require.Equal(t, []string{alice, zoe}, []string{client, user})
	require.Equal(t, domain.Page{Offset: 7, Limit: 1000, Sort: domain.SortID, Order: domain.Descending}, page)
	require.Equal(t, http.StatusOK, s.do("GET", "/account_groups", "").status)
	require.Equal(t, []string{alice, ""}, []string{client, user})
	require.Equal(t, domain.Page{}.WithDefaults(), page)
}

func TestListsRefused(t *testing.T) {
	s := start(t)
	for query, text := range map[string]string{
		"limit=0":                     "limit: must be an integer of 1 to 1000, got 0",
		"limit=1001":                  "limit: must be an integer of 1 to 1000, got 1001",
		"limit=ten":                   `limit: must be an integer of 1 to 1000, got "ten"`,
		"limit=1.5":                   "limit: must be an integer of 1 to 1000",
		"limit=":                      "limit: must be an integer of 1 to 1000 or left out",
		"limit=10&limit=20":           "limit: must be given once",
		"offset=-1":                   "offset: must be an integer of 0 at least, got -1",
		"offset=99999999999999999999": "offset: must be an integer of 0 at least",
		"sort=name":                   `sort: must be one of created_at, updated_at, id, got "name"`,
		"order=asc":                   `order: must be one of ASC, DESC, got "asc"`,
		"page=2":                      "page: is not a query parameter of this call; it has ",
		"limit=0&offset=-1":           "limit: must be an integer of 1 to 1000, got 0; offset: must be an integer of 0 at least, got -1",
	} {
		for _, path := range []string{"/accounts", "/users/" + zoe + "/accounts", "/account_groups", "/users/" + zoe + "/account_groups", "/users/" + zoe + "/reports", "/webhooks"} {
			s.refused(call{method: "GET", path: path + "?" + query}, invalidRequest, text)
		}
	}
}
