package httpapi

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/domain"
)

func TestListClosures(t *testing.T) {
	s := start(t)
	read := func(query string) list[domain.ClosureItem] {
		t.Helper()
		s.settled()
		return decode[list[domain.ClosureItem]](t, s.do("GET", "/closures"+query, ""), http.StatusOK)
	}
	ids := func(l list[domain.ClosureItem]) []string {
		all := []string{}
		for _, item := range l.Data {
			all = append(all, item.ID)
		}
		return all
	}
	require.Equal(t, list[domain.ClosureItem]{Meta: meta{Limit: 100, Sort: "requested_at", Order: "ASC"}, Data: []domain.ClosureItem{}}, read(""))

	// A group waits for an account that waits for a position; another group is closed at once, and gets cash afterwards.
	account := s.holding(exampleISIN)
	s.newAccount(account.AccountGroupID) // its closing is not asked for
	done := s.newGroup()
	for _, path := range []string{"/account_groups/" + account.AccountGroupID, "/account_groups/" + done.ID, "/accounts/" + account.ID} {
		require.Equal(t, http.StatusAccepted, s.do("DELETE", path, "").status)
	}
	all := read("")
	require.Equal(t, meta{Limit: 100, Count: 3, TotalCount: 3, Sort: "requested_at", Order: "ASC"}, all.Meta)
	require.Equal(t, []string{account.AccountGroupID, done.ID, account.ID}, ids(all), "the oldest request first")
	require.Equal(t, domain.ClosureItem{
		Aggregate: domain.KindAccount, ID: account.ID,
		Closure: decode[domain.Closure](t, s.do("GET", "/accounts/"+account.ID+"/closure", ""), http.StatusOK),
	}, all.Data[2])

	for query, want := range map[string][]string{
		"?status=CLOSING":                        {account.AccountGroupID, account.ID},
		"?status=CLOSED":                         {done.ID},
		"?status=ACTIVE":                         {},
		"?blocker=OPEN_ACCOUNTS":                 {account.AccountGroupID},
		"?status=CLOSING&blocker=OPEN_POSITIONS": {account.ID},
		"?status=CLOSED&blocker=OPEN_POSITIONS":  {},
		"?reconciliation=true":                   {},
		"?reconciliation=false":                  {account.AccountGroupID, done.ID, account.ID},
		"?offset=1&limit=1":                      {done.ID},
		"?offset=3":                              {},
	} {
		require.Equal(t, want, ids(read(query)), query)
	}
	require.Equal(t, meta{Offset: 1, Limit: 1, Count: 1, TotalCount: 3, Sort: "requested_at", Order: "ASC"}, read("?offset=1&limit=1").Meta)

	s.tell(domain.KindAccountGroup, done.ID, &domain.RecordCashBalance{Currency: "EUR", Balance: "4.20", Revision: 1})
	late := read("?reconciliation=true")
	require.Equal(t, []string{done.ID}, ids(late))
	require.Equal(t, domain.CashBalance, late.Data[0].Closure.Reconciliation[0].Code)
	closure := decode[domain.Closure](t, s.do("GET", "/account_groups/"+done.ID+"/closure", ""), http.StatusOK)
	require.Equal(t, closure, late.Data[0].Closure)
	s.tell(domain.KindAccountGroup, done.ID, &domain.SettleReconciliation{ReconciliationID: closure.Reconciliation[0].ID, Note: "paid out by hand"})
	require.Empty(t, read("?reconciliation=true").Data)
}

func TestListClosuresRefused(t *testing.T) {
	s := start(t)
	for query, text := range map[string]string{
		"status=closing":              `status: must be one of PENDING_APPROVAL, ACTIVE, CLOSING, CLOSED, LOCKED, got "closing"`,
		"status=":                     "status: must be one of PENDING_APPROVAL, ",
		"blocker=MONEY":               `blocker: must be one of OPEN_POSITIONS, EXPECTED_CORPORATE_ACTIONS, `,
		"blocker=OPEN_ACCOUNT_GROUPS": "blocker: must be one of ", // stands against users only
		"reconciliation=yes":          `reconciliation: must be true or false or left out, got "yes"`,
		"limit=1001":                  "limit: must be an integer of 1 to 1000, got 1001",
		"offset=-1":                   "offset: must be an integer of 0 at least, got -1",
		"sort=id":                     "sort: is not a query parameter of this call; it has ",
		"status=CLOSED&status=ACTIVE": "status: must be given once, got it 2 times",
		"client_id=" + bob:            "client_id: is not a query parameter of this call",
	} {
		s.refused(call{method: "GET", path: "/closures?" + query}, invalidRequest, text)
	}
}

// The values that the query takes are those that the domain has.
func TestClosureQueryIsTheDomains(t *testing.T) {
	values := func(field string) []string {
		f, ok := reflect.TypeFor[closureQuery]().FieldByName(field)
		require.True(t, ok)
		return strings.Split(f.Tag.Get("enum"), ",")
	}
	var statuses, blockers []string
	for _, status := range domain.Statuses() {
		statuses = append(statuses, string(status))
	}
	for _, code := range domain.BlockerCodes() {
		blockers = append(blockers, string(code))
	}
	require.Equal(t, statuses, values("Status"))
	require.Equal(t, blockers, values("Blocker"))
}
