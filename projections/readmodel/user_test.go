package readmodel_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
)

// The whole life of a user is in the log, and in no list; what comes behind it is shown.
func TestUsersAreInNoList(t *testing.T) {
	w := newWorld(t)
	path := file(t)
	m, _ := started(t, w.log, path)
	user := uuid.NewString()
	group := w.openGroup(domain.Party{ID: user, Type: domain.Owner})
	do := func(p domain.Payload) { t.Helper(); w.do(domain.KindUser, user, p) }
	withdrawn := uuid.NewString()
	do(&domain.LinkGroup{AccountGroupID: withdrawn, Open: domain.OpenAccountGroup{
		Users: []domain.Party{{ID: user, Type: domain.Owner}}, Type: "PERSONAL",
	}})
	do(&domain.WithdrawGroupLink{AccountGroupID: withdrawn})
	w.do(domain.KindAccountGroup, group, &domain.RequestAccountGroupClosure{})
	do(&domain.RecordGroupClosure{AccountGroupID: group, ClosedAt: w.now, TaxStatementYear: 2026})
	do(&domain.RequestOffboarding{})
	do(&domain.RecordTaxStatement{AccountGroupID: group})
	require.Equal(t, domain.UserOffboarded, w.state(domain.KindUser, user).(*domain.User).Status())
	last := w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner})
	caughtUp(t, w.log, m)
	checkLists(t, w, m, w.client, user)
	checkClosures(t, m, domain.ClosureQuery{}, w.wantClosures())
	items, _, err := m.AccountGroups(testContext(t), w.client, "", domain.Page{})
	require.NoError(t, err)
	require.Equal(t, last, items[len(items)-1].ID)
	readSnapshot(t, path).check(t, w.log)
}
