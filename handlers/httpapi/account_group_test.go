package httpapi

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
)

func TestOpenAccountGroup(t *testing.T) {
	s := start(t)
	a := s.do("POST", "/account_groups", `{"user_id": "`+strings.ToUpper(zoe)+`", "type": "PERSONAL", "domicile": "DE", "tax_residencies": ["DE", "FR"],
		"client_reference": "x", "securities_account_number": "12345678"}`)
	group := decode[domain.AccountGroupResource](t, a, http.StatusCreated)
	require.Equal(t, "/account_groups/"+group.ID, a.header.Get("Location"))
	require.Equal(t, domain.AccountGroupResource{
		ID: group.ID, CreatedAt: group.CreatedAt, UpdatedAt: group.CreatedAt, Users: []domain.Party{{ID: zoe, Type: domain.Owner}},
		Status: domain.StatusActive, Type: "PERSONAL", SecuritiesAccountNumber: group.SecuritiesAccountNumber,
	}, group)
	require.Regexp(t, `^[0-9]{7,12}$`, group.SecuritiesAccountNumber)
	require.NotEqual(t, "12345678", group.SecuritiesAccountNumber)
	require.Equal(t, group, decode[domain.AccountGroupResource](t, s.do("GET", a.header.Get("Location"), ""), http.StatusOK))

	guardian := uuid.NewString()
	a = s.do("POST", "/account_groups", `{"users": [{"id": "`+strings.ToUpper(zoe)+`", "type": "CHILD"}, {"id": "`+guardian+`", "type": "GUARDIAN"}], "type": "CHILD"}`)
	child := decode[domain.AccountGroupResource](t, a, http.StatusCreated)
	require.Equal(t, []domain.Party{{ID: zoe, Type: domain.Child}, {ID: guardian, Type: domain.Guardian}}, child.Users)
	require.NotEqual(t, group.SecuritiesAccountNumber, child.SecuritiesAccountNumber)
}

func TestOpenAccountGroupRefused(t *testing.T) {
	s := start(t)
	party := func(id, kind string) string { return `{"id": "` + id + `", "type": "` + kind + `"}` }
	for name, tt := range map[string]struct {
		body  string
		texts []string
	}{
		"both":               {`{"user_id": "` + zoe + `", "users": [` + party(zoe, "OWNER") + `], "type": "JOINT"}`, []string{"user_id: give either user_id"}},
		"neither":            {`{"type": "JOINT"}`, []string{"user_id: give either user_id"}},
		"neither, with null": {`{"user_id": null, "users": null, "type": "JOINT"}`, []string{"user_id: give either user_id"}},
		"no type":            {`{"user_id": "` + zoe + `"}`, []string{"type: is missing; it must be one of PERSONAL, JOINT"}},
		"user is no uuid":    {`{"user_id": "zoe", "type": "PERSONAL"}`, []string{`user_id: must be a uuid such as`, `got "zoe"`}},
		"user in braces":     {`{"user_id": "{` + zoe + `}", "type": "PERSONAL"}`, []string{`user_id: must be a uuid such as`}},
		"no users":           {`{"users": [], "type": "JOINT"}`, []string{"users: must be an array of 1 to 10 items, got an array of 0"}},
		"eleven users":       {`{"users": [` + strings.Repeat(party(zoe, "OWNER")+",", 10) + party(zoe, "OWNER") + `], "type": "JOINT"}`, []string{"users: must be an array of 1 to 10 items"}},
		"twice the same":     {`{"users": [` + party(zoe, "OWNER") + "," + party(strings.ToUpper(zoe), "OWNER") + `], "type": "JOINT"}`, []string{"users[1].id: is in the list twice"}},
		"no owner":           {`{"users": [` + party(zoe, "GUARDIAN") + `], "type": "CHILD"}`, []string{"users: must have one OWNER or CHILD"}},
		"unknown party":      {`{"users": [` + party(zoe, "OWNER") + "," + party(zoe, "FRIEND") + `], "type": "CHILD"}`, []string{`users[1].type: must be one of OWNER, CHILD, GUARDIAN, got "FRIEND"`}},
		"party without id":   {`{"users": [{"type": "OWNER"}], "type": "CHILD"}`, []string{"users[0].id: is missing; it must be a uuid"}},
		"member of a party":  {`{"users": [{"id": "` + zoe + `", "type": "OWNER", "share": 1}], "type": "CHILD"}`, []string{"users[0].share: is not a member here; there are id, type"}},
		"party is a string":  {`{"users": ["` + zoe + `"], "type": "CHILD"}`, []string{"users[0]: must be an object, got "}},
		"unknown country":    {`{"user_id": "` + zoe + `", "type": "PERSONAL", "domicile": "Germany"}`, []string{"domicile: must be a country code", `"Germany"`}},
		"country twice":      {`{"user_id": "` + zoe + `", "type": "PERSONAL", "tax_residencies": ["DE", "DE"]}`, []string{"tax_residencies[1]: is in the list twice"}},
		"status from HTTP":   {`{"user_id": "` + zoe + `", "type": "PERSONAL", "status": "PENDING_APPROVAL"}`, []string{"status: is not a member here"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.in(t).refused(call{method: "POST", path: "/account_groups", body: tt.body}, invalidRequest, tt.texts...)
		})
	}
}

func TestCloseAccountGroup(t *testing.T) {
	s := start(t)
	group := s.newGroup()
	path := "/account_groups/" + group.ID
	s.tell(domain.KindAccountGroup, group.ID, &domain.RecordCashBalance{Currency: "EUR", Balance: "1.00", Revision: 1})

	a := s.do("DELETE", path+"?notification_only=true&closure_reason=user_initiated", "")
	require.Equal(t, http.StatusAccepted, a.status)
	require.Empty(t, a.body)
	closure := decode[domain.Closure](t, s.do("GET", path+"/closure", ""), http.StatusOK)
	require.Equal(t, domain.StatusActive, closure.Status)
	require.NotNil(t, closure.AnnouncedAt)
	require.Nil(t, closure.RequestedAt)

	require.Equal(t, http.StatusAccepted, s.do("DELETE", path+"?closure_reason=risk_based&notification_only=false", "").status)
	closure = decode[domain.Closure](t, s.do("GET", path+"/closure", ""), http.StatusOK)
	require.Equal(t, domain.StatusClosing, closure.Status)
	require.Equal(t, domain.ClosureReason("risk_based"), *closure.Reason)
	require.Equal(t, domain.CashBalance, closure.Blockers[0].Code)

	// Again, with another reason: accepted, and the first one stays.
	require.Equal(t, http.StatusAccepted, s.do("DELETE", path+"?closure_reason=aml", "").status)
	require.Equal(t, domain.ClosureReason("risk_based"), *decode[domain.Closure](t, s.do("GET", path+"/closure", ""), http.StatusOK).Reason)

	s.tell(domain.KindAccountGroup, group.ID, &domain.RecordCashBalance{Currency: "EUR", Balance: "0.00", Revision: 2})
	require.Equal(t, domain.StatusClosed, decode[domain.AccountGroupResource](t, s.do("GET", path, ""), http.StatusOK).Status)
	s.refused(call{method: "DELETE", path: path}, conflict, "CLOSED")
}

func TestCloseAccountGroupRefused(t *testing.T) {
	s := start(t)
	group := s.newGroup()
	for query, text := range map[string]string{
		"closure_reason=whim":                           `closure_reason: must be one of dunning, power_of_attorney, loss_of_legal_capacity, aml, risk_based, contract_breach, user_initiated, got "whim"`,
		"closure_reason=":                               "closure_reason: must be one of dunning, ",
		"closure_reason=aml&closure_reason=dunning":     "closure_reason: must be given once, got it 2 times",
		"notification_only=yes":                         `notification_only: must be true or false or left out, got "yes"`,
		"notification_only=1":                           "notification_only: must be true or false",
		"notification_only=TRUE":                        "notification_only: must be true or false",
		"notification_only":                             "notification_only: must be true or false",
		"reason=aml":                                    "reason: is not a query parameter of this call; it has closure_reason, notification_only",
		"notification_only=%zz":                         "query: must be name=value pairs",
		"a=1;b=2":                                       "query: must be name=value pairs",
		"closure_reason=" + strings.Repeat("x", 10_000): "closure_reason: must be one of",
		strings.Repeat("n", 10_000) + "=1":              "is not a query parameter of this call",
	} {
		s.refused(call{method: "DELETE", path: "/account_groups/" + group.ID + "?" + query}, invalidRequest, text)
	}
	// A reason in a body would be lost, so it is refused; in chunks, too.
	for _, chunked := range []bool{false, true} {
		s.refused(call{method: "DELETE", path: "/account_groups/" + group.ID, body: `{"closure_reason": "aml"}`, chunked: chunked}, invalidRequest, "body: must be empty")
	}
	commits, err := s.log.Load(context.Background(), "account_group", group.ID, 0)
	require.NoError(t, err)
	require.Len(t, commits, 1, "nothing but the opening")

	s.tell(domain.KindAccountGroup, group.ID, &domain.RecordWithdrawal{
		WithdrawalID: uuid.NewString(), Status: domain.WithdrawalProcessing, Amount: "10", Currency: "EUR", Revision: 1})
	for _, query := range []string{"", "?notification_only=true"} {
		p := s.refused(call{method: "DELETE", path: "/account_groups/" + group.ID + query}, conflict, "OUTSTANDING_WITHDRAWALS").problem(t)
		require.Len(t, p.Blockers, 1)
	}
}

// An account that is still open does not refuse the group's closing; it keeps it CLOSING.
func TestCloseAccountGroupWithAccounts(t *testing.T) {
	s := start(t)
	group := s.newGroup()
	account := s.newAccount(group.ID)
	require.Equal(t, http.StatusAccepted, s.do("DELETE", "/account_groups/"+group.ID, "").status)
	closure := decode[domain.Closure](t, s.do("GET", "/account_groups/"+group.ID+"/closure", ""), http.StatusOK)
	require.Equal(t, domain.OpenAccounts, closure.Blockers[0].Code)
	require.Equal(t, account.ID, closure.Blockers[0].Items[0].ID)
	require.Equal(t, domain.StatusActive, decode[domain.AccountResource](t, s.do("GET", "/accounts/"+account.ID, ""), http.StatusOK).Status)
}
