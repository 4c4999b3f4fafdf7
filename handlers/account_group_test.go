package handlers

import (
	"regexp"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
)

func TestSecuritiesAccountNumbers(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	other, _ := s.another()
	seen := map[string]bool{}
	for i := range 20 {
		c := command(group(uuid.NewString()), openGroup())
		engine := s.engine
		if i%2 == 1 {
			engine = other
		}
		_, err := engine.Do(testContext(t), c)
		require.NoError(t, err)
		got, err := s.engine.AccountGroup(testContext(t), someClient, c.Target.ID)
		require.NoError(t, err)
		number := got.SecuritiesAccountNumber
		require.Regexp(t, regexp.MustCompile(`^[0-9]{7,12}$`), number)
		require.False(t, seen[number], "%s was given twice", number)
		seen[number] = true
	}
}

// A group that is there takes no number, and keeps its own.
func TestOpenAccountGroupTwice(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.someGroup()
	first, err := s.engine.AccountGroup(testContext(t), someClient, id)
	require.NoError(t, err)

	s.unchanged(command(group(id), openGroup()))
	other := openGroup()
	other.Domicile = "GB"
	s.refused(command(group(id), other), domain.Conflict)
	theirs := command(group(id), openGroup())
	theirs.ClientID = otherClient
	s.refused(theirs, domain.Conflict)

	next, err := s.engine.AccountGroup(testContext(t), someClient, s.someGroup())
	require.NoError(t, err)
	require.Equal(t, []string{"1000000", "1000001"}, []string{first.SecuritiesAccountNumber, next.SecuritiesAccountNumber})
}

// Many open one group at once: it has one number, and everybody is answered.
func TestOpenAccountGroupAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	other, _ := s.another()
	engines := []*Engine{s.engine, other}
	id := uuid.NewString()
	answers := atOnce(t, func(i int) (Outcome, error) {
		return engines[i%2].Do(testContext(t), command(group(id), openGroup()))
	}, 20)
	accepted := 0
	for _, a := range answers {
		require.NoError(t, a.err)
		if a.Result == Accepted {
			accepted++
		}
	}
	require.Equal(t, 1, accepted)
	require.Len(t, s.commits(group(id)), 1)
}

// Reads know one answer for what is not there and for what is another client's.
func TestReadsKeepClientsApart(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	groupID := s.someGroup()
	id := s.someAccount(groupID)
	reads := map[string]struct {
		ref  domain.Ref
		read func(clientID, id string) error
	}{
		"account": {account(id), func(client, id string) error {
			_, err := s.engine.Account(testContext(t), client, id)
			return err
		}},
		"closure of an account": {account(id), func(client, id string) error {
			_, err := s.engine.AccountClosure(testContext(t), client, id)
			return err
		}},
		"history of an account": {account(id), func(client, id string) error {
			_, err := s.engine.History(testContext(t), client, account(id), nil)
			return err
		}},
		"group": {group(groupID), func(client, id string) error {
			_, err := s.engine.AccountGroup(testContext(t), client, id)
			return err
		}},
		"closure of a group": {group(groupID), func(client, id string) error {
			_, err := s.engine.AccountGroupClosure(testContext(t), client, id)
			return err
		}},
		"history of a group": {group(groupID), func(client, id string) error {
			_, err := s.engine.History(testContext(t), client, group(id), nil)
			return err
		}},
	}
	for name, r := range reads {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, r.read(someClient, r.ref.ID))
			require.Equal(t, domain.Missing(r.ref.Kind, r.ref.ID), r.read(otherClient, r.ref.ID))
			unknown := uuid.NewString()
			require.Equal(t, domain.Missing(r.ref.Kind, unknown), r.read(someClient, unknown))
		})
	}
}

func TestAccountGroupClosure(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	groupID := s.someGroup()
	id := s.someAccount(groupID)
	s.accepted(command(group(groupID), &domain.RequestAccountGroupClosure{ClosureReason: "user_initiated"}))
	closure, err := s.engine.AccountGroupClosure(testContext(t), someClient, groupID)
	require.NoError(t, err)
	require.Equal(t, domain.StatusClosing, closure.Status)
	require.Equal(t, domain.ClosureReason("user_initiated"), *closure.Reason)
	require.Equal(t, actor, *closure.RequestedBy)
	require.Len(t, closure.Blockers, 1)
	require.Equal(t, domain.OpenAccounts, closure.Blockers[0].Code)
	require.Equal(t, []domain.Item{{ID: id}}, closure.Blockers[0].Items)
}
