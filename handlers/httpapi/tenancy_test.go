package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
)

// bodies are what a call takes, good for any resource.
var bodies = map[string]string{
	"POST /accounts":       `{"account_group_id": "ID", "type": "TRADING", "name": "x"}`,
	"PATCH /accounts/{id}": `{"name": "y"}`,
	"POST /account_groups": `{"user_id": "ID", "type": "PERSONAL"}`,
	"POST /webhooks":       hookBody,
	"PATCH /webhooks/{id}": `{"enabled": false}`,

	"POST /webhooks/{id}/replay":        `{"from": "2026-03-02T09:30:00Z"}`,
	"POST /webhooks/{id}/rotate_secret": `{}`,
	"POST /orders": `{"account_id": "ID", "user_id": "` + zoe + `", "side": "SELL", "instrument_id": "` + exampleISIN + `",
		"instrument_id_type": "ISIN", "order_type": "MARKET", "quantity": "1"}`,
	"POST /accounts/{id}/liquidations": `{"user_id": "` + zoe + `"}`,
}

// someLiquidation stands where a path has a second id. There is none with it.
const someLiquidation = "eeeeeeee-0000-4000-8000-000000000005"

// callTo is a good call of a route, for the resource or the user with the id.
func callTo(route, id string) call {
	method, path, _ := strings.Cut(route, " ")
	path = strings.NewReplacer("{id}", id, "{liquidation_id}", someLiquidation, "{event_id}", exampleEvent).Replace(path)
	return call{method: method, path: path, body: strings.ReplaceAll(bodies[route], `"ID"`, `"`+id+`"`)}
}

// resources makes one resource of each kind that a route may be about.
func (s *service) resources() map[string]string {
	s.t.Helper()
	group := s.newGroup()
	account := s.newAccount(group.ID)
	hook := decode[createdWebhook](s.t, s.do("POST", "/webhooks", hookBody), http.StatusCreated)
	report := exampleReport
	report.UserID = zoe
	s.reports.all = append(s.reports.all, owned[domain.ReportResource]{alice, report})
	s.lists.accounts = map[string][]domain.AccountResource{alice: {account}}
	s.lists.groups = map[string][]domain.AccountGroupResource{alice: {group}}
	s.lists.reports = map[string][]domain.ReportResource{alice: {report}}
	// A closing in progress, with a liquidation and its order.
	s.tell(domain.KindAccount, account.ID, &domain.RecordPosition{ISIN: exampleISIN, Quantity: "1", Revision: 1})
	closing := s.newAccount(group.ID)
	s.tell(domain.KindAccount, closing.ID, &domain.RecordPosition{ISIN: exampleISIN, Quantity: "1", Revision: 1})
	require.Equal(s.t, http.StatusAccepted, s.do("DELETE", "/accounts/"+closing.ID, "").status)
	liquidation := s.newLiquidation(account.ID)
	s.settled()
	return map[string]string{
		"accounts": account.ID, "account_groups": group.ID, "webhooks": hook.ID, "reports": report.ID, "users": zoe,
		"orders": liquidation.Orders[0].ID, "liquidations": liquidation.ID, "closures": closing.ID,
	}
}

func family(route string) string {
	_, path, _ := strings.Cut(route, " ")
	return strings.Split(path, "/")[1]
}

// Another client's resource is answered on every route exactly as one that does not exist.
func TestTenancy(t *testing.T) {
	s := start(t)
	ids := s.resources()
	asBob := map[string]string{headerClientID: bob}
	for _, route := range calls {
		id := ids[family(route)]
		c := callTo(route, id)
		c.header = asBob
		switch {
		case strings.HasPrefix(route, "GET /users/{id}/") || slices.Contains([]string{"GET /accounts", "GET /account_groups", "GET /webhooks", "GET /closures"}, route):
			// Lists of another client show nothing of it.
			a := s.send(c)
			require.Zero(t, decode[list[map[string]any]](t, a, http.StatusOK).Meta.TotalCount, route)
			require.Contains(t, string(a.body), `"data":[]`, route)
			c.header = nil
			require.Equal(t, 1, decode[list[map[string]any]](t, s.send(c), http.StatusOK).Meta.TotalCount, route)
		case strings.Contains(route, "{id}"):
			c.path = strings.ReplaceAll(c.path, someLiquidation, ids["liquidations"])
			theirs := s.refused(c, notFound, id).problem(t)
			unknown := uuid.NewString()
			c = callTo(route, unknown)
			c.header = asBob
			none := s.refused(c, notFound, unknown).problem(t)
			require.Equal(t, none.Detail, strings.ReplaceAll(theirs.Detail, id, unknown), route)
			require.Equal(t, none.Title, theirs.Title)
		case route == "POST /accounts":
			c = callTo(route, ids["account_groups"])
			c.header = asBob
			s.refused(c, notFound, "account_group_id: ", ids["account_groups"])
		case route == "POST /orders":
			unknown := uuid.NewString()
			theirs, none := callTo(route, ids["accounts"]), callTo(route, unknown)
			theirs.header, none.header = asBob, asBob
			detail := s.refused(theirs, unprocessableEntity, "account_id: there is no account with the id "+ids["accounts"]).problem(t).Detail
			require.Equal(t, s.refused(none, unprocessableEntity).problem(t).Detail, strings.ReplaceAll(detail, ids["accounts"], unknown))
		}
	}
	// Nothing of all that changed anything of alice's.
	require.Equal(t, domain.StatusActive, decode[domain.AccountResource](t, s.do("GET", "/accounts/"+ids["accounts"], ""), http.StatusOK).Status)
	require.Equal(t, domain.StatusActive, decode[domain.AccountGroupResource](t, s.do("GET", "/account_groups/"+ids["account_groups"], ""), http.StatusOK).Status)
	require.True(t, decode[shownWebhook](t, s.do("GET", "/webhooks/"+ids["webhooks"], ""), http.StatusOK).Enabled)
	require.Empty(t, s.webhooks.replays)
	require.Empty(t, s.webhooks.rotated)
	require.Equal(t, domain.UserActive, decode[domain.UserResource](t, s.do("GET", "/users/"+zoe, ""), http.StatusOK).Status)
	liquidations := decode[list[domain.LiquidationResource]](t, s.do("GET", "/accounts/"+ids["accounts"]+"/liquidations", ""), http.StatusOK)
	require.Len(t, liquidations.Data, 1)
	require.Equal(t, domain.LiquidationNew, liquidations.Data[0].Status)
	require.Equal(t, ids["orders"], liquidations.Data[0].Orders[0].ID)
	require.Equal(t, domain.OrderNew, decode[domain.OrderResource](t, s.do("GET", "/orders/"+ids["orders"], ""), http.StatusOK).Status)
}

func TestClientID(t *testing.T) {
	s := start(t)
	id := s.newAccount(s.newGroup().ID).ID
	for _, route := range calls {
		open := slices.Contains([]string{"openapi.json", "healthz", "readyz", "auth"}, family(route))
		for _, value := range []string{"", "alice", "urn:uuid:" + alice, alice + " "} {
			c := callTo(route, id)
			c.header = map[string]string{headerClientID: value}
			if route == "POST /auth/token" {
				s.refused(c, invalidRequest, "client_id: is missing")
				continue
			}
			if open {
				require.Equal(t, http.StatusOK, s.send(c).status, route)
				continue
			}
			if value == alice+" " {
				continue // HTTP trims the blank
			}
			s.refused(c, missingClientID, headerClientID+": must be ")
		}
	}
	// In capitals it is the same client.
	a := s.send(call{method: "GET", path: "/accounts/" + id, header: map[string]string{headerClientID: strings.ToUpper(alice)}})
	require.Equal(t, http.StatusOK, a.status)

	// Two client ids: nobody could say which one counts.
	r, err := http.NewRequest("GET", s.url+"/accounts/"+id, nil)
	require.NoError(t, err)
	r.Header[http.CanonicalHeaderKey(headerClientID)] = []string{alice, bob}
	resp, err := s.http.Do(r)
	require.NoError(t, err)
	require.Contains(t, s.check(r, resp).problem(t).Detail, "once, got it 2 times")
}

func TestAPIVersion(t *testing.T) {
	s := start(t)
	for _, route := range calls {
		c := callTo(route, zoe)
		c.header = map[string]string{headerAPIVersion: "2"}
		s.refused(c, invalidRequest, `upvest-api-version: must be 1 or absent, got "2"`)
	}
	a := s.send(call{method: "GET", path: "/accounts", header: map[string]string{
		headerAPIVersion: "1", "Authorization": "Bearer whatever", headerIdempotencyKey: "not even a uuid"}})
	require.Equal(t, http.StatusOK, a.status)
}

// A malformed id is not found, on every route that has one.
func TestMalformedIDs(t *testing.T) {
	s := start(t)
	tried := 0
	for _, route := range calls {
		if !strings.Contains(route, "{id}") {
			continue
		}
		for _, id := range []string{"1", "nonsense", alice + "0", strings.ReplaceAll(alice, "-", ""), "%7B" + alice + "%7D", "%00", "%ff%fe", "a%2Fb", "closure", strings.Repeat("9", 5000)} {
			s.refused(callTo(route, id), notFound, "an id is a uuid")
			tried++
		}
	}
	require.Equal(t, 280, tried)
}
