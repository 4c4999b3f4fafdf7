package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
)

func (s *service) newLiquidation(accountID string) domain.LiquidationResource {
	s.t.Helper()
	return decode[domain.LiquidationResource](s.t, s.do("POST", "/accounts/"+accountID+"/liquidations", `{"user_id": "`+zoe+`"}`), http.StatusAccepted)
}

// holding is an account that holds some of each instrument.
func (s *service) holding(isins ...string) domain.AccountResource {
	s.t.Helper()
	account := s.newAccount(s.newGroup().ID)
	for _, isin := range isins {
		s.tell(domain.KindAccount, account.ID, &domain.RecordPosition{ISIN: isin, Quantity: "12.5", Revision: 1})
	}
	return account
}

func TestLiquidation(t *testing.T) {
	s := start(t)
	account := s.holding(exampleISIN, "DE0005140008")
	path := "/accounts/" + account.ID + "/liquidations"
	a := s.do("POST", "/accounts/"+strings.ToUpper(account.ID)+"/liquidations", `{"user_id": "`+strings.ToUpper(zoe)+`"}`)
	liquidation := decode[domain.LiquidationResource](t, a, http.StatusAccepted)
	at := a.header.Get("Location")
	require.Equal(t, path+"/"+liquidation.ID, at)
	require.Len(t, liquidation.Orders, 2)
	require.Equal(t, domain.LiquidationResource{
		ID: liquidation.ID, CreatedAt: liquidation.CreatedAt, UpdatedAt: liquidation.CreatedAt, UserID: zoe, AccountID: account.ID,
		Status: domain.LiquidationNew, Orders: liquidation.Orders,
	}, liquidation)
	require.Equal(t, liquidation, decode[domain.LiquidationResource](t, s.do("GET", at, ""), http.StatusOK))

	// Each order is an order like any other, with the liquidation on it.
	for _, o := range liquidation.Orders {
		order := decode[domain.OrderResource](t, s.do("GET", "/orders/"+o.ID, ""), http.StatusOK)
		require.Equal(t, domain.Sell, order.Side)
		require.Equal(t, domain.FlowLiquidation, order.InitiationFlow)
		require.Equal(t, liquidation.ID, *order.LiquidationID)
		require.Equal(t, domain.Decimal("12.5"), *order.Quantity)
	}
	s.refused(call{method: "POST", path: path, body: `{"user_id": "` + zoe + `"}`}, conflict, "one active liquidation at most", liquidation.ID)

	s.tell(domain.KindAccount, account.ID, &domain.RecordOrder{OrderID: liquidation.Orders[0].ID, Status: domain.OrderProcessing, Revision: 1})
	processing := decode[domain.LiquidationResource](t, s.do("GET", at, ""), http.StatusOK)
	require.Equal(t, domain.LiquidationInProcess, processing.Status)
	require.True(t, processing.UpdatedAt.After(processing.CreatedAt))
	s.refused(call{method: "DELETE", path: at}, conflict, "the liquidation is PROCESSING; it can be cancelled while it is NEW")
}

func TestCancelLiquidation(t *testing.T) {
	s := start(t)
	account := s.holding(exampleISIN)
	path := "/accounts/" + account.ID + "/liquidations/" + s.newLiquidation(account.ID).ID
	for range 2 { // a retry after a lost answer is safe
		a := s.do("DELETE", path, "")
		require.Equal(t, http.StatusNoContent, a.status)
		require.Empty(t, a.body)
		require.Equal(t, domain.LiquidationTakenBack, decode[domain.LiquidationResource](t, s.do("GET", path, ""), http.StatusOK).Status)
	}
}

func TestLiquidationRefused(t *testing.T) {
	s := start(t)
	account := s.holding(exampleISIN)
	path := "/accounts/" + account.ID + "/liquidations"
	for body, texts := range map[string][]string{
		`{}`:                         {"user_id: is missing; it must be a uuid"},
		`{"user_id": null}`:          {"user_id: must be a uuid such as", "got null"},
		`{"user_id": "zoe"}`:         {"user_id: must be a uuid such as", `got "zoe"`},
		`{"user_id": "` + bob + `"}`: {"user_id: must be a user of the account, and " + bob + " is none"},
		`{"user_id": "` + zoe + `", "liquidation_id": "` + zoe + `"}`: {"liquidation_id: is not a member here; there are user_id"},
	} {
		s.refused(call{method: "POST", path: path, body: body}, invalidRequest, texts...)
	}
	body := `{"user_id": "` + zoe + `"}`
	s.refused(call{method: "POST", path: "/accounts/" + bob + "/liquidations", body: body}, notFound, "there is no account with the id "+bob)
	empty := s.newAccount(account.AccountGroupID)
	s.refused(call{method: "POST", path: "/accounts/" + empty.ID + "/liquidations", body: body}, conflict, "there is nothing to sell")
	s.tell(domain.KindAccount, account.ID, &domain.Lock{})
	s.refused(call{method: "POST", path: path, body: body}, conflict, "LOCKED")
	require.Contains(t, string(s.do("GET", path, "").body), `"data":[]`)
}

// One that is not there is not found: unknown, malformed, or of another account of the same client.
func TestUnknownLiquidation(t *testing.T) {
	s := start(t)
	account, other := s.holding(exampleISIN), s.holding(exampleISIN)
	theirs, unknown := s.newLiquidation(other.ID).ID, uuid.NewString()
	for _, method := range []string{"GET", "DELETE"} {
		for _, id := range []string{theirs, unknown} {
			s.refused(call{method: method, path: "/accounts/" + account.ID + "/liquidations/" + id}, notFound, "there is no liquidation with the id "+id)
		}
		for _, id := range []string{"1", "closure", strings.ReplaceAll(theirs, "-", ""), "%00", "a%2Fb"} {
			s.refused(call{method: method, path: "/accounts/" + other.ID + "/liquidations/" + id}, notFound, "there is no liquidation with the id ", "an id is a uuid")
		}
		s.refused(call{method: method, path: "/accounts/" + bob + "/liquidations/" + theirs}, notFound, "there is no account with the id "+bob)
		s.refused(call{method: method, path: "/accounts/a1/liquidations/" + theirs}, notFound, `there is no account with the id "a1"`)
	}
	require.Equal(t, domain.LiquidationNew, decode[domain.LiquidationResource](t, s.do("GET", "/accounts/"+other.ID+"/liquidations/"+theirs, ""), http.StatusOK).Status)
	s.refused(call{method: "GET", path: "/accounts/" + bob + "/liquidations"}, notFound, bob)
}

func TestListLiquidations(t *testing.T) {
	s := start(t)
	account := s.holding(exampleISIN)
	path := "/accounts/" + account.ID + "/liquidations"
	var all []domain.LiquidationResource
	for range 3 {
		l := s.newLiquidation(account.ID)
		require.Equal(t, http.StatusNoContent, s.do("DELETE", path+"/"+l.ID, "").status)
		all = append(all, decode[domain.LiquidationResource](t, s.do("GET", path+"/"+l.ID, ""), http.StatusOK))
		// Its order has to go before the next one finds something to sell.
		s.tell(domain.KindAccount, account.ID, &domain.RecordOrder{OrderID: l.Orders[0].ID, Status: domain.OrderCancelled, Revision: 1})
		all[len(all)-1].Orders[0].Status = domain.OrderCancelled
	}
	read := func(query string) list[domain.LiquidationResource] {
		t.Helper()
		return decode[list[domain.LiquidationResource]](t, s.do("GET", path+query, ""), http.StatusOK)
	}
	require.Equal(t, list[domain.LiquidationResource]{
		Meta: meta{Limit: 100, Count: 3, TotalCount: 3, Sort: "created_at", Order: "ASC"}, Data: all,
	}, read(""))
	require.Equal(t, list[domain.LiquidationResource]{
		Meta: meta{Offset: 1, Limit: 1, Count: 1, TotalCount: 3, Sort: "updated_at", Order: "DESC"}, Data: all[1:2],
	}, read("?offset=1&limit=1&sort=updated_at&order=DESC"))
	require.Equal(t, []domain.LiquidationResource{all[2], all[1], all[0]}, read("?order=DESC").Data)
	require.Empty(t, read("?offset=9223372036854775807&limit=1000").Data)
	ids := read("?sort=id").Data
	require.True(t, ids[0].ID < ids[1].ID && ids[1].ID < ids[2].ID)

	s.refused(call{method: "GET", path: path + "?sort=status"}, invalidRequest, `sort: must be one of created_at, updated_at, id, got "status"`)
	s.refused(call{method: "GET", path: path + "?limit=0"}, invalidRequest, "limit: must be an integer of 1 to 1000, got 0")
	s.refused(call{method: "GET", path: path + "?status=NEW"}, invalidRequest, "status: is not a query parameter of this call; it has ")
}

// What is equal goes by id, in the direction of the rest, so that pages do not overlap.
func TestCompareLiquidations(t *testing.T) {
	early := domain.LiquidationResource{ID: "b", CreatedAt: time.Unix(1, 0), UpdatedAt: time.Unix(9, 0)}
	late := domain.LiquidationResource{ID: "a", CreatedAt: time.Unix(2, 0), UpdatedAt: time.Unix(9, 0)}
	for _, tt := range []struct {
		sort  domain.Sort
		order domain.SortOrder
		want  int
	}{
		{domain.SortCreatedAt, domain.Ascending, -1}, {domain.SortCreatedAt, domain.Descending, 1},
		{domain.SortUpdatedAt, domain.Ascending, 1}, {domain.SortUpdatedAt, domain.Descending, -1},
		{domain.SortID, domain.Ascending, 1}, {domain.SortID, domain.Descending, -1},
	} {
		q := PageQuery{Sort: tt.sort, Order: tt.order}
		require.Equal(t, tt.want, compareLiquidations(early, late, q), "%s %s", tt.sort, tt.order)
		require.Equal(t, -tt.want, compareLiquidations(late, early, q), "%s %s", tt.sort, tt.order)
	}
}
