package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
)

func TestUser(t *testing.T) {
	s := start(t)
	s.refused(call{method: "GET", path: "/users/" + zoe}, notFound, "there is no user with the id "+zoe)
	first, second := s.newGroup(), s.newGroup()
	user := decode[domain.UserResource](t, s.do("GET", "/users/"+strings.ToUpper(zoe), ""), http.StatusOK)
	require.Equal(t, zoe, user.ID)
	require.Equal(t, domain.UserActive, user.Status)
	require.False(t, user.CreatedAt.IsZero())
	require.Equal(t, []domain.BlockerCode{domain.OpenAccountGroups}, codes(user.Blockers))
	require.ElementsMatch(t, []domain.Item{{ID: first.ID}, {ID: second.ID}}, user.Blockers[0].Items)
}

func TestOffboardUser(t *testing.T) {
	s := start(t)
	first, second := s.newGroup(), s.newGroup()
	path := "/users/" + zoe
	// closed closes a group, and tells the user as the process manager does.
	closed := func(group domain.AccountGroupResource, taxYear int) {
		t.Helper()
		require.Equal(t, http.StatusAccepted, s.do("DELETE", "/account_groups/"+group.ID, "").status)
		closure := decode[domain.Closure](t, s.do("GET", "/account_groups/"+group.ID+"/closure", ""), http.StatusOK)
		s.tell(domain.KindUser, zoe, &domain.RecordGroupClosure{AccountGroupID: group.ID, ClosedAt: *closure.ClosedAt, TaxStatementYear: taxYear})
	}
	closed(first, 2026)
	p := s.refused(call{method: "DELETE", path: path}, conflict, "OPEN_ACCOUNT_GROUPS: ").problem(t)
	require.Equal(t, []domain.BlockerCode{domain.OpenAccountGroups}, codes(p.Blockers))
	require.Equal(t, []domain.Item{{ID: second.ID}}, p.Blockers[0].Items)
	require.Equal(t, domain.UserActive, decode[domain.UserResource](t, s.do("GET", path, ""), http.StatusOK).Status)

	closed(second, 0)
	for range 2 { // a retry after a lost answer is safe
		a := s.do("DELETE", path, "")
		require.Equal(t, http.StatusAccepted, a.status, "%s", a.body)
		require.Empty(t, a.body)
		user := decode[domain.UserResource](t, s.do("GET", path, ""), http.StatusOK)
		require.Equal(t, domain.UserOffboarding, user.Status)
		require.Equal(t, []domain.BlockerCode{domain.PendingTaxStatements}, codes(user.Blockers))
	}
	s.refused(call{method: "POST", path: "/account_groups", body: `{"user_id": "` + zoe + `", "type": "PERSONAL"}`}, conflict, "OFFBOARDING")

	s.tell(domain.KindUser, zoe, &domain.RecordTaxStatement{AccountGroupID: first.ID})
	a := s.do("GET", path, "")
	require.Equal(t, domain.UserOffboarded, decode[domain.UserResource](t, a, http.StatusOK).Status)
	require.Contains(t, string(a.body), `"blockers":[]`)
	require.Equal(t, http.StatusAccepted, s.do("DELETE", path, "").status)
}

// A user who is not there is not found as a resource; the lists of such a user are empty.
func TestUnknownUser(t *testing.T) {
	s := start(t)
	id := uuid.NewString()
	for _, method := range []string{"GET", "DELETE"} {
		s.refused(call{method: method, path: "/users/" + id}, notFound, "there is no user with the id "+id)
		s.refused(call{method: method, path: "/users/u1"}, notFound, `there is no user with the id "u1": an id is a uuid`)
	}
	for _, path := range []string{"/accounts", "/account_groups", "/reports"} {
		require.Contains(t, string(s.do("GET", "/users/"+id+path, "").body), `"data":[]`)
	}
}

// A user id belongs to one client: another one cannot open a group for it, and does not learn whose it is.
func TestUserOfAnotherClient(t *testing.T) {
	s := start(t)
	s.newGroup()
	body := `{"user_id": "` + zoe + `", "type": "PERSONAL"}`
	a := s.refused(call{method: "POST", path: "/account_groups", body: body, header: map[string]string{headerClientID: bob}}, conflict, "the user id "+zoe+" is taken")
	require.NotContains(t, string(a.body), alice)
}
