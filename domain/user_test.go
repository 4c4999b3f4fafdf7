package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func userOf(s *stage) *User { return s.agg.(*User) }

// TestUserBeginsWithTheFirstGroup has what is recorded of a group, so that an open that a crash cut short can be finished.
func TestUserBeginsWithTheFirstGroup(t *testing.T) {
	s := newStage(KindUser, owner)
	require.False(t, s.agg.Exists())
	begun := s.clock.now.Add(minute)
	events := s.does(t, linkGroup(someGroup), "account_group_linked")
	linked := GroupLinked{AccountGroupID: someGroup, Users: users(), Type: "PERSONAL", Domicile: "DE", TaxResidencies: []string{"DE"}, Status: StatusActive}
	require.Equal(t, linked, events[0])
	require.Empty(t, Publish(s.agg, events))
	require.Equal(t, UserResource{ID: owner, CreatedAt: begun, UpdatedAt: begun, Status: UserActive, Blockers: []Blocker{{OpenAccountGroups,
		"account groups of the user are not CLOSED: close each of them", begun, []Item{{ID: someGroup}}}}}, userOf(s).Resource())
	require.Equal(t, someClient, s.agg.Client())
	g, ok := userOf(s).Group(someGroup)
	require.True(t, ok)
	require.Equal(t, UserGroup{Opening: linked}, g)

	s.does(t, linkGroup(otherGroup), "account_group_linked")
	require.Equal(t, begun, userOf(s).CreatedAt)
	require.True(t, userOf(s).LinkedAs(otherGroup, openGroup()))
	require.False(t, userOf(s).LinkedAs(firstAccount, openGroup()))
}

// TestLinkGroupContent has a group that is linked already: the same content is unchanged, other content a conflict.
func TestLinkGroupContent(t *testing.T) {
	s := activeUser(t)
	alter := func(f func(*OpenAccountGroup)) *LinkGroup { p := linkGroup(someGroup); f(&p.Open); return p }
	s.does(t, alter(func(p *OpenAccountGroup) { p.Status = StatusActive }), "")
	s.does(t, alter(func(p *OpenAccountGroup) { p.SecuritiesAccountNumber = "1000009" }), "")
	for _, other := range []*LinkGroup{
		alter(func(p *OpenAccountGroup) { p.Type = "JOINT" }),
		alter(func(p *OpenAccountGroup) { p.Domicile = "GB" }),
		alter(func(p *OpenAccountGroup) { p.TaxResidencies = nil }),
		alter(func(p *OpenAccountGroup) { p.Status = StatusPendingApproval }),
		alter(func(p *OpenAccountGroup) { p.Users = append(users(), Party{ID: guardian, Type: Guardian}) }),
	} {
		require.Contains(t, s.refuses(t, other, Conflict).Detail, "the id "+someGroup+" is taken by an account group with other content")
		require.False(t, userOf(s).LinkedAs(someGroup, &other.Open))
	}
	s.does(t, &WithdrawGroupLink{AccountGroupID: someGroup}, "account_group_link_withdrawn")
	require.Empty(t, userOf(s).Blockers())
	s.does(t, alter(func(p *OpenAccountGroup) { p.Type = "JOINT" }), "account_group_linked")
}

// TestLinkGroupChecksTheGroup as its own open would, since the link comes first.
func TestLinkGroupChecksTheGroup(t *testing.T) {
	for _, f := range forms() {
		right, ok := f.right.(*OpenAccountGroup)
		if !ok {
			continue
		}
		require.NoError(t, LinkGroup{AccountGroupID: someGroup, Open: *right}.Validate())
		wrong := *right
		wrong.Type = "PRIVATE"
		require.Equal(t, wrong.Validate(), LinkGroup{AccountGroupID: someGroup, Open: wrong}.Validate())
		require.Error(t, wrong.Validate())
		return
	}
	t.Fatal("there is no form of a group")
}

// TestOffboardingWaitsForTheGroups: refused with the open ones, which are named.
func TestOffboardingWaitsForTheGroups(t *testing.T) {
	s := activeUser(t)
	s.does(t, linkGroup(otherGroup), "account_group_linked")
	refusal := s.refuses(t, &RequestOffboarding{}, Conflict)
	require.Equal(t, "OPEN_ACCOUNT_GROUPS", codes(refusal.Blockers))
	require.Equal(t, []Item{{ID: someGroup}, {ID: otherGroup}}, refusal.Blockers[0].Items)
	s.does(t, groupIsClosed(otherGroup, 0), "account_group_closure_recorded")
	require.Equal(t, []Item{{ID: someGroup}}, s.refuses(t, &RequestOffboarding{}, Conflict).Blockers[0].Items)
	require.Equal(t, Status("ACTIVE"), s.status(), "what was refused has changed nothing")
	s.does(t, groupIsClosed(someGroup, 0), "account_group_closure_recorded")
	events := s.does(t, &RequestOffboarding{}, "offboarding_initiated, offboarded")
	resource := userOf(s).Resource()
	require.Equal(t, []Publication{{0, "USER.OFFBOARDING_INITIATED", owner, resource}, {1, "USER.OFFBOARDED", owner, resource}}, Publish(s.agg, events))
	require.Equal(t, UserOffboarded, resource.Status)
	require.NotNil(t, resource.Blockers, "[] in JSON")
}

// TestOffboardingWaitsForTaxStatements: OFFBOARDED comes in the commit that clears the last one.
func TestOffboardingWaitsForTaxStatements(t *testing.T) {
	s := activeUser(t)
	s.does(t, linkGroup(otherGroup), "account_group_linked")
	s.does(t, groupIsClosed(someGroup, 2026), "account_group_closure_recorded")
	s.does(t, groupIsClosed(otherGroup, 2027), "account_group_closure_recorded")
	require.Equal(t, "PENDING_TAX_STATEMENTS", codes(userOf(s).Blockers()))
	initiated := s.clock.now.Add(minute)
	s.does(t, &RequestOffboarding{}, "offboarding_initiated")
	require.Equal(t, initiated, userOf(s).UpdatedAt)
	require.Contains(t, s.refuses(t, linkGroup(firstAccount), Conflict).Detail, "is OFFBOARDING: no account group is opened for the user any more")
	s.does(t, &RecordTaxStatement{AccountGroupID: otherGroup}, "tax_statement_recorded")
	require.Equal(t, []Item{{ID: someGroup}}, userOf(s).Blockers()[0].Items)
	require.Equal(t, initiated, userOf(s).UpdatedAt)
	s.does(t, &RecordTaxStatement{AccountGroupID: someGroup}, "tax_statement_recorded, offboarded")
	s.does(t, &RequestOffboarding{}, "")
	s.does(t, &RecordTaxStatement{AccountGroupID: someGroup}, "")
	require.Contains(t, s.refuses(t, linkGroup(firstAccount), Conflict).Detail, "is OFFBOARDED")
	g, _ := userOf(s).Group(someGroup)
	require.Equal(t, []any{2026, true}, []any{g.TaxStatementYear, g.TaxStatementMade}, "the history stays readable")
}

// TestTaxStatementBeforeOffboarding: made already, it delays nothing.
func TestTaxStatementBeforeOffboarding(t *testing.T) {
	s := activeUser(t)
	s.does(t, &RecordTaxStatement{AccountGroupID: someGroup}, "")
	closed := groupIsClosed(someGroup, 2026)
	s.does(t, closed, "account_group_closure_recorded")
	again := groupIsClosed(someGroup, 0)
	again.ClosedAt = closed.ClosedAt.Add(minute)
	s.does(t, again, "")
	g, _ := userOf(s).Group(someGroup)
	require.Equal(t, closed.ClosedAt, *g.ClosedAt, "the first closing stays")
	s.does(t, &WithdrawGroupLink{AccountGroupID: someGroup}, "")
	s.does(t, &RecordTaxStatement{AccountGroupID: someGroup}, "tax_statement_recorded")
	s.does(t, &RequestOffboarding{}, "offboarding_initiated, offboarded")
	s.refuses(t, groupIsClosed(otherGroup, 0), Conflict)
}

// TestUserCopiesDiverge: no copy writes where another reads.
func TestUserCopiesDiverge(t *testing.T) {
	s := activeUser(t)
	kept := s.agg.Copy()
	before := kept.Copy()
	s.does(t, linkGroup(otherGroup), "account_group_linked")
	s.does(t, groupIsClosed(someGroup, 2026), "account_group_closure_recorded")
	s.does(t, &RecordTaxStatement{AccountGroupID: someGroup}, "tax_statement_recorded")
	require.Equal(t, before, kept)
	require.Equal(t, New(Ref{KindUser, owner}), NewUser(owner))
}
