package domain

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// send sends a command as it is, with the id that it has.
func (s *stage) send(t *testing.T, c Command, want string) {
	t.Helper()
	c.Time = s.clock.tick()
	events, refusal := s.try(t, c)
	require.Nil(t, refusal)
	require.Equal(t, want, names(events))
}

// TestCommandMemory has the commands that are not idempotent by their content: each comes again after its opposite.
func TestCommandMemory(t *testing.T) {
	s := activeAccount(t)
	lock, unlock, rename := s.command(&Lock{}), s.command(&Unlock{}), s.command(&RenameAccount{Name: "Holidays"})
	s.send(t, lock, "locked")
	s.send(t, unlock, "unlocked")
	s.send(t, lock, "")
	require.Equal(t, StatusActive, s.agg.Status(), "a lock that comes again after the unlock locks nothing")
	s.send(t, rename, "renamed")
	s.does(t, &RenameAccount{Name: "Savings"}, "renamed")
	s.send(t, rename, "")
	require.Equal(t, "Savings", s.agg.(*Account).Name)
	s.does(t, &Lock{}, "locked")
	s.send(t, unlock, "")
	require.Equal(t, StatusLocked, s.agg.Status())

	g := activeGroup(t)
	linked, withdrawn := g.command(link(firstAccount)), g.command(&WithdrawAccountLink{AccountID: firstAccount})
	g.send(t, linked, "account_linked")
	g.send(t, withdrawn, "account_link_withdrawn")
	g.send(t, linked, "")
	require.Empty(t, groupOf(g).AccountIDs(), "a link that comes again after it was withdrawn links nothing")
}

// TestCommandMemoryIsBounded has the bound, and that a flood of facts does not use it up.
func TestCommandMemoryIsBounded(t *testing.T) {
	s := activeAccount(t)
	lock := s.command(&Lock{})
	s.send(t, lock, "locked")
	s.does(t, &Unlock{}, "unlocked")
	for revision := range int64(3 * remembered) {
		s.does(t, holds(basf, "1", revision+1), "position_recorded")
	}
	s.send(t, lock, "")
	a := s.agg.(*Account)
	require.Len(t, a.recentFacts, remembered)

	for i := range remembered - 2 {
		s.does(t, &RenameAccount{Name: fmt.Sprintf("name %d", i)}, "renamed")
	}
	s.send(t, lock, "")
	s.does(t, &RenameAccount{Name: "one more"}, "renamed")
	require.Len(t, a.recent, remembered)
	s.send(t, lock, "locked")
}

// TestRefusedCommandsAreNotRemembered: what was refused may be sent again, and then counts.
func TestRefusedCommandsAreNotRemembered(t *testing.T) {
	s := activeGroup(t)
	s.does(t, withdrawal(someWithdrawal, WithdrawalNew, 1), "withdrawal_recorded")
	request := s.command(closeGroup(""))
	_, refusal := s.try(t, request)
	require.NotNil(t, refusal)
	s.does(t, withdrawal(someWithdrawal, WithdrawalConfirmed, 2), "withdrawal_recorded")
	s.send(t, request, "closing_initiated, closed")
	s.send(t, request, "")
}

// TestApplyOfNothing: a commit has events; a fold of none changes nothing, and does not fall over.
func TestApplyOfNothing(t *testing.T) {
	for _, s := range []*stage{closingAccount(t), closingGroup(t), newStage(KindAccount, firstAccount), newStage(KindAccountGroup, someGroup)} {
		before := s.agg.Copy()
		s.agg.Apply(s.command(&Lock{}).Meta(), nil)
		require.Equal(t, before, s.agg)
	}
}
