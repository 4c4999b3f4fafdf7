package handlers

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
)

func user(id string) domain.Ref { return domain.Ref{Kind: domain.KindUser, ID: id} }

// groupWith is the open of a group of these users.
func groupWith(users ...string) *domain.OpenAccountGroup {
	p := openGroup()
	p.Users = nil
	for _, id := range users {
		p.Users = append(p.Users, domain.Party{ID: id, Type: domain.Owner})
	}
	return p
}

// Link first: each user knows the group before it begins, and a group that is there links nobody again.
func TestUsersKnowAGroupBeforeItBegins(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	first, second, id := uuid.NewString(), uuid.NewString(), uuid.NewString()
	open := command(group(id), groupWith(first, second))
	out := s.accepted(open)
	for _, u := range []string{first, second} {
		commits := s.commits(user(u))
		require.Equal(t, []string{domain.EventUserGroupLinked}, eventTypes(commits...))
		require.Less(t, commits[0].Sequence, out.Sequence)
		require.Equal(t, open.ID, commits[0].CausationID)
		got, err := s.engine.User(testContext(t), someClient, u)
		require.NoError(t, err)
		require.Equal(t, domain.UserActive, got.Status())
		require.Equal(t, domain.OpenAccountGroups, got.Blockers()[0].Code)
		require.Equal(t, id, got.Blockers()[0].Items[0].ID)
	}
	s.unchanged(open)
	s.unchanged(command(group(id), groupWith(first, second)))
	s.refused(command(group(id), groupWith(first)), domain.Conflict)
}

// An open that a user refuses opens nothing, and leaves nothing behind with the users who were told before.
func TestAUserWhoIsOffboardedJoinsNoGroup(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	gone, here := uuid.NewString(), uuid.NewString()
	old := uuid.NewString()
	s.accepted(command(group(old), groupWith(gone)))
	s.refused(command(user(gone), &domain.RequestOffboarding{}), domain.Conflict)
	s.accepted(command(user(gone), &domain.RecordGroupClosure{AccountGroupID: old, ClosedAt: s.lastCommit(group(old)).Time}))
	s.accepted(command(user(gone), &domain.RequestOffboarding{}))

	id := uuid.NewString()
	_, err := s.engine.Do(testContext(t), command(group(id), groupWith(here, gone)))
	refusal := mustRefuse(t, err, domain.Conflict)
	require.Contains(t, refusal.Detail, gone)
	require.Empty(t, s.commits(group(id)))
	require.Equal(t, []string{domain.EventUserGroupLinked, domain.EventUserGroupLinkWithdrawn}, eventTypes(s.commits(user(here))...))
	// The id is free again, and so is the user.
	s.accepted(command(group(id), groupWith(here)))
}

// A user belongs to one client. For another one the user does not exist, and the id is taken.
func TestAUserOfAnotherClient(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	u := uuid.NewString()
	s.accepted(command(group(uuid.NewString()), groupWith(u)))
	_, err := s.engine.User(testContext(t), otherClient, u)
	require.Equal(t, domain.Missing(domain.KindUser, u), err)
	theirs := command(user(u), &domain.RequestOffboarding{})
	theirs.ClientID = otherClient
	s.refused(theirs, domain.NotFound)
	theirs = command(group(uuid.NewString()), groupWith(u))
	theirs.ClientID = otherClient
	s.refused(theirs, domain.Conflict)
}

// Two opens of one id with other content, at once: one of them wins, and the users of the other know no group.
func TestTwoOpensOfOneGroup(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	other, _ := s.another()
	engines := []*Engine{s.engine, other}
	for range 20 {
		id := uuid.NewString()
		users := []string{uuid.NewString(), uuid.NewString()}
		answers := atOnce(t, func(i int) (Outcome, error) {
			return engines[i].Do(testContext(t), command(group(id), groupWith(users[i])))
		}, 2)
		won := 0
		for i, a := range answers {
			state, err := s.engine.State(testContext(t), user(users[i]))
			require.NoError(t, err)
			_, knows := state.(*domain.User).Group(id)
			if a.err == nil {
				won++
				require.True(t, knows)
				continue
			}
			mustRefuse(t, a.err, domain.Conflict)
			require.False(t, knows, "the user of the open that lost still knows the group")
		}
		require.Equal(t, 1, won)
	}
}

// A crash between the link and the group: what the link carries is enough to finish the open.
func TestFinishOpenGroup(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	first, second, id := uuid.NewString(), uuid.NewString(), uuid.NewString()
	open := taken(command(group(id), groupWith(first, second)))
	link := open
	link.ID, link.CausationID = domain.DeriveID("link_account_group", first, id, open.ID), open.ID
	link.Target, link.Payload = user(first), &domain.LinkGroup{AccountGroupID: id, Open: *groupWith(first, second)}
	s.accepted(link)
	cause := s.lastCommit(user(first))
	linked := linkedBy(t, cause)
	for range 2 {
		require.NoError(t, s.engine.FinishOpenGroup(testContext(t), cause.Commit, linked))
	}
	require.Len(t, s.commits(user(second)), 1)
	opened := s.commits(group(id))
	require.Len(t, opened, 1)
	require.Equal(t, open.ID, opened[0].CommandID)
	s.unchanged(open)
}

func linkedBy(t *testing.T, c eventstore.Recorded) domain.GroupLinked {
	t.Helper()
	e, err := domain.DecodeEvent(c.Events[0].Type, c.Events[0].Version, c.Events[0].Data)
	require.NoError(t, err)
	return e.(domain.GroupLinked)
}

// An open that was cut short behind its link, of an id that is then opened with other users: the user of the first knows no
// group that is not theirs.
func TestACutShortOpenOfAnIDThatIsTaken(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	first, second, id := uuid.NewString(), uuid.NewString(), uuid.NewString()
	open := taken(command(group(id), groupWith(first)))
	link := open
	link.CausationID, link.Target, link.Payload = open.ID, user(first), &domain.LinkGroup{AccountGroupID: id, Open: *groupWith(first)}
	s.accepted(link)
	cause := s.lastCommit(user(first))
	s.accepted(command(group(id), groupWith(second)))
	for range 2 {
		require.NoError(t, s.engine.FinishOpenGroup(testContext(t), cause.Commit, linkedBy(t, cause)))
	}
	s.accepted(command(user(first), &domain.RequestOffboarding{}))
	u, err := s.engine.User(testContext(t), someClient, second)
	require.NoError(t, err)
	_, knows := u.Group(id)
	require.True(t, knows)
}
