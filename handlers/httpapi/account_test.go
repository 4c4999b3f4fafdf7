package httpapi

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/handlers"
)

func TestOpenAccount(t *testing.T) {
	s := start(t)
	group := s.newGroup()
	a := s.do("POST", "/accounts", `{"account_group_id": "`+strings.ToUpper(group.ID)+`", "type": "PORTFOLIO", "name": "Für Zoë",
		"user_id": "`+zoe+`", "client_reference": {"anything": [1, null]}}`)
	account := decode[domain.AccountResource](t, a, http.StatusCreated)
	require.Equal(t, "/accounts/"+account.ID, a.header.Get("Location"))
	require.Equal(t, domain.AccountResource{
		ID: account.ID, CreatedAt: account.CreatedAt, UpdatedAt: account.CreatedAt, AccountGroupID: group.ID, Type: domain.Portfolio,
		Users: []domain.Party{{ID: zoe, Type: domain.Owner}}, AccountNumber: 1, Name: "Für Zoë", Status: domain.StatusActive,
	}, account)
	require.Contains(t, string(a.body), "Für Zoë", "no escapes")

	// What was accepted is there at once, also under the id in capitals.
	for _, path := range []string{a.header.Get("Location"), "/accounts/" + strings.ToUpper(account.ID)} {
		require.Equal(t, account, decode[domain.AccountResource](t, s.do("GET", path, ""), http.StatusOK))
	}
	// The same body again is another account: the id is the engine's.
	second := s.newAccount(group.ID)
	require.NotEqual(t, account.ID, second.ID)
	require.Equal(t, 2, second.AccountNumber)

	// The command says who asked, and with which request.
	history := decode[list[map[string]any]](t, s.do("GET", "/accounts/"+account.ID+"/history", ""), http.StatusOK)
	require.Equal(t, "client:"+alice, history.Data[0]["actor"])
	require.Equal(t, a.id, history.Data[0]["request_id"])
	_, err := uuid.Parse(history.Data[0]["command_id"].(string))
	require.NoError(t, err)
	commits, err := s.log.Load(context.Background(), "account", account.ID, 0)
	require.NoError(t, err)
	require.Equal(t, a.id, commits[0].CorrelationID)
}

func TestOpenAccountRefused(t *testing.T) {
	s := start(t)
	group := s.newGroup()
	body := func(groupID, kind, name string) string {
		return `{"account_group_id": "` + groupID + `", "type": "` + kind + `", "name": "` + name + `"}`
	}
	for name, tt := range map[string]struct {
		body  string
		slug  handlers.Slug
		texts []string
	}{
		"unknown group":      {body(uuid.NewString(), "TRADING", "x"), notFound, []string{"account_group_id: ", "there is no account group"}},
		"group is no uuid":   {body("g1", "TRADING", "x"), invalidRequest, []string{`account_group_id: must be a uuid such as`, `"g1"`}},
		"group is a urn":     {body("urn:uuid:"+group.ID, "TRADING", "x"), invalidRequest, []string{"account_group_id: must be a uuid"}},
		"unknown type":       {body(group.ID, "SAVINGS", "x"), invalidRequest, []string{`type: must be one of TRADING, PORTFOLIO, got "SAVINGS"`}},
		"empty name":         {body(group.ID, "TRADING", ""), invalidRequest, []string{"name: must be a string of 1 to 100 characters"}},
		"name of 100 kB":     {body(group.ID, "TRADING", strings.Repeat("ä", 50_000)), invalidRequest, []string{"name: must be a string of 1 to 100 characters"}},
		"control characters": {body(group.ID, "TRADING", `a\u0000b`), invalidRequest, []string{"name: must have no control characters"}},
		"newline":            {body(group.ID, "TRADING", `a\nb`), invalidRequest, []string{"name: must have no control characters"}},
		"nothing given":      {`{}`, invalidRequest, []string{"account_group_id: is missing; it must be a uuid", "name: is missing", "type: is missing; it must be one of"}},
		"null":               {`{"account_group_id": null, "type": null, "name": null}`, invalidRequest, []string{"name: must be a string of 1 to 100 characters, got null"}},
		"wrong types":        {`{"account_group_id": 7, "type": ["TRADING"], "name": {}}`, invalidRequest, []string{"account_group_id: ", "got 7", "type: ", "got an array of 1", "name: ", "got an object"}},
		"unknown member":     {strings.Replace(body(group.ID, "TRADING", "x"), "{", `{"colour": "red", `, 1), invalidRequest, []string{"colour: is not a member here; there are account_group_id, "}},
		"other spelling":     {strings.Replace(body(group.ID, "TRADING", "x"), `"name"`, `"Name"`, 1), invalidRequest, []string{"Name: is not a member", "spelling"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.in(t).refused(call{method: "POST", path: "/accounts", body: tt.body}, tt.slug, tt.texts...)
		})
	}
	// A long name is not echoed.
	a := s.refused(call{method: "POST", path: "/accounts", body: body(group.ID, "TRADING", strings.Repeat("n", 100_000))}, invalidRequest)
	require.Less(t, len(a.body), 1000)
}

func TestOpenAccountInAGroupThatOpensNone(t *testing.T) {
	s := start(t)
	body := func(id string) string { return `{"account_group_id": "` + id + `", "type": "TRADING", "name": "x"}` }
	locked := s.newGroup()
	s.tell(domain.KindAccountGroup, locked.ID, &domain.Lock{})
	s.refused(call{method: "POST", path: "/accounts", body: body(locked.ID)}, conflict, "LOCKED")

	closing := s.newGroup()
	s.newAccount(closing.ID)
	require.Equal(t, http.StatusAccepted, s.do("DELETE", "/account_groups/"+closing.ID, "").status)
	s.refused(call{method: "POST", path: "/accounts", body: body(closing.ID)}, conflict, "CLOSING")

	closed := s.newGroup()
	require.Equal(t, http.StatusAccepted, s.do("DELETE", "/account_groups/"+closed.ID, "").status)
	s.refused(call{method: "POST", path: "/accounts", body: body(closed.ID)}, conflict, "CLOSED")
}

func TestRenameAccount(t *testing.T) {
	s := start(t)
	account := s.newAccount(s.newGroup().ID)
	path := "/accounts/" + account.ID
	renamed := decode[domain.AccountResource](t, s.do("PATCH", path, `{"name": "Rente"}`), http.StatusOK)
	require.Equal(t, "Rente", renamed.Name)
	require.True(t, renamed.UpdatedAt.After(account.UpdatedAt))
	// Again: unchanged, and answered all the same.
	require.Equal(t, renamed, decode[domain.AccountResource](t, s.do("PATCH", path, `{"name": "Rente"}`), http.StatusOK))

	s.refused(call{method: "PATCH", path: path, body: `{}`}, invalidRequest, "name: is missing")
	s.refused(call{method: "PATCH", path: path, body: `{"name": null}`}, invalidRequest, "name: must not be null")
	s.refused(call{method: "PATCH", path: path, body: `{"name": "\u0007"}`}, invalidRequest, "name: must have no control characters")
	s.refused(call{method: "PATCH", path: path, body: `{"name": "x", "status": "CLOSED"}`}, invalidRequest, "status: is not a member here; there are name")
	require.Equal(t, http.StatusAccepted, s.do("DELETE", path, "").status)
	s.refused(call{method: "PATCH", path: path, body: `{"name": "x"}`}, conflict, "CLOSED")
}

func TestCloseAccount(t *testing.T) {
	s := start(t)
	group := s.newGroup()
	account := s.newAccount(group.ID)
	path := "/accounts/" + account.ID
	s.tell(domain.KindAccount, account.ID, &domain.RecordPosition{ISIN: exampleISIN, Quantity: "12.5", Revision: 1})

	preview := decode[domain.Closure](t, s.do("GET", path+"/closure", ""), http.StatusOK)
	require.Equal(t, domain.StatusActive, preview.Status)
	require.Len(t, preview.Blockers, 1)

	// A withdrawal of the group refuses it, with the blocker in the answer.
	withdrawal := domain.RecordWithdrawal{WithdrawalID: uuid.NewString(), Status: domain.WithdrawalNew, Amount: "10", Currency: "EUR", Revision: 1}
	s.tell(domain.KindAccountGroup, group.ID, &withdrawal)
	p := s.refused(call{method: "DELETE", path: path}, conflict, "OUTSTANDING_WITHDRAWALS").problem(t)
	require.Len(t, p.Blockers, 1)
	require.Equal(t, domain.OutstandingWithdrawals, p.Blockers[0].Code)
	require.Equal(t, withdrawal.WithdrawalID, p.Blockers[0].Items[0].ID)
	withdrawal.Status, withdrawal.Revision = domain.WithdrawalConfirmed, 2
	s.tell(domain.KindAccountGroup, group.ID, &withdrawal)

	for range 2 { // a retry after a lost answer is safe
		a := s.do("DELETE", path, "")
		require.Equal(t, http.StatusAccepted, a.status)
		require.Empty(t, a.body)
		require.Equal(t, domain.StatusClosing, decode[domain.AccountResource](t, s.do("GET", path, ""), http.StatusOK).Status)
	}
	closure := decode[domain.Closure](t, s.do("GET", path+"/closure", ""), http.StatusOK)
	require.Equal(t, "client:"+alice, *closure.RequestedBy)
	require.Equal(t, domain.OpenPositions, closure.Blockers[0].Code)

	s.tell(domain.KindAccount, account.ID, &domain.RecordPosition{ISIN: exampleISIN, Quantity: "0", Revision: 2})
	require.Equal(t, domain.StatusClosed, decode[domain.AccountResource](t, s.do("GET", path, ""), http.StatusOK).Status)
	p = s.refused(call{method: "DELETE", path: path}, conflict, "CLOSED").problem(t)
	require.Empty(t, p.Blockers)
}

func TestCloseLockedAccount(t *testing.T) {
	s := start(t)
	account := s.newAccount(s.newGroup().ID)
	s.tell(domain.KindAccount, account.ID, &domain.Lock{})
	p := s.refused(call{method: "DELETE", path: "/accounts/" + account.ID}, conflict, "LOCKED").problem(t)
	require.Equal(t, domain.Locked, p.Blockers[0].Code)
}

// Closing at the same moment from 50 clients is one commit and 50 times 202.
func TestCloseAccountFiftyTimes(t *testing.T) {
	s := start(t)
	account := s.newAccount(s.newGroup().ID)
	// A position keeps it CLOSING: every request finds it either ACTIVE or CLOSING.
	s.tell(domain.KindAccount, account.ID, &domain.RecordPosition{ISIN: exampleISIN, Quantity: "1", Revision: 1})
	before, err := s.log.Load(context.Background(), "account", account.ID, 0)
	require.NoError(t, err)

	const clients = 50
	var ready, done sync.WaitGroup
	statuses := make(chan int, clients)
	goOn := make(chan struct{})
	for range clients {
		ready.Add(1)
		done.Go(func() {
			r, err := http.NewRequest("DELETE", s.url+"/accounts/"+account.ID, nil)
			if err != nil {
				statuses <- 0
				ready.Done()
				return
			}
			r.Header.Set(headerClientID, alice)
			r.Header.Set(headerAuthorization, "Bearer "+s.tokens[alice])
			ready.Done()
			<-goOn
			resp, err := s.http.Do(r)
			if err != nil {
				statuses <- 0
				return
			}
			statuses <- resp.StatusCode
			_ = resp.Body.Close()
		})
	}
	ready.Wait()
	close(goOn)
	done.Wait()
	for range clients {
		require.Equal(t, http.StatusAccepted, <-statuses)
	}
	after, err := s.log.Load(context.Background(), "account", account.ID, 0)
	require.NoError(t, err)
	require.Len(t, after, len(before)+1)
}
