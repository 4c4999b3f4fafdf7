package domain

import (
	"fmt"
	"maps"
	"slices"
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
	require.Equal(t, StatusActive, s.status(), "a lock that comes again after the unlock locks nothing")
	s.send(t, rename, "renamed")
	s.does(t, &RenameAccount{Name: "Savings"}, "renamed")
	s.send(t, rename, "")
	require.Equal(t, "Savings", s.agg.(*Account).Name)
	s.does(t, &Lock{}, "locked")
	s.send(t, unlock, "")
	require.Equal(t, StatusLocked, s.status())

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
	// put: the fold is compared once, at the end, and not after each of so many commits.
	for revision := range int64(3 * remembered) {
		s.put(t, s.command(holds(basf, "1", revision+1)))
	}
	s.send(t, lock, "")
	a := s.agg.(*Account)
	require.Len(t, a.recentFacts, remembered)

	for i := range remembered - 2 {
		s.put(t, s.command(&RenameAccount{Name: fmt.Sprintf("name %d", i)}))
	}
	require.Equal(t, fmt.Sprintf("name %d", remembered-3), a.Name)
	s.send(t, lock, "")
	s.does(t, &RenameAccount{Name: "one more"}, "renamed")
	require.Len(t, a.recent, remembered)
	s.send(t, lock, "locked")
	require.Equal(t, s.agg, s.replay(t, len(s.lines)))
}

// TestFactsAreRememberedApart: a fact takes no room from the other commands, also when it ends a closing or comes after it.
func TestFactsAreRememberedApart(t *testing.T) {
	for _, s := range []*stage{closingAccount(t), closingGroup(t)} {
		l := lifecycleOf(s.agg)
		count := func(p Payload, facts, others int) {
			t.Helper()
			f, o := len(l.recentFacts), len(l.recent)
			events, refusal := s.try(t, s.command(p))
			require.Nil(t, refusal)
			require.NotEmpty(t, events)
			require.Equal(t, []int{facts, others}, []int{len(l.recentFacts) - f, len(l.recent) - o}, names(events))
		}
		count(&Lock{}, 0, 1)
		count(&Unlock{}, 0, 1)
		revision := int64(100)
		for _, k := range factKinds() {
			if k.kind == s.ref.Kind {
				revision++
				count(k.make(true, revision), 1, 0)
				count(k.make(false, revision+100), 1, 0)
			}
		}
		if s.ref.Kind == KindAccountGroup {
			count(closureOf(firstAccount), 1, 0)
		}
		require.Equal(t, StatusClosed, s.status())
		for _, k := range factKinds() {
			if k.kind == s.ref.Kind {
				count(k.make(true, revision+1000), 1, 0)
			}
		}
	}
	for _, kind := range closableKinds() {
		pending := situations(kind)[1].make(t)
		require.Len(t, lifecycleOf(pending.agg).recent, 1, "its opening, PENDING_APPROVAL")
	}
	for _, s := range []*stage{activeAccount(t), activeGroup(t)} {
		require.Len(t, lifecycleOf(s.agg).recent, 1, "its opening")
		require.Empty(t, lifecycleOf(s.agg).recentFacts)
		// A request that ends at once is a command, though it ends with what only follows from it.
		s.does(t, commands(s.ref.Kind)["request_closure"](s), "closing_initiated, closed")
		require.Len(t, lifecycleOf(s.agg).recent, 2)
		require.Empty(t, lifecycleOf(s.agg).recentFacts)
	}
}

// TestCopiesDiverge: a state that is kept is decided upon by several at a time, so that no copy may write where another reads.
func TestCopiesDiverge(t *testing.T) {
	for _, s := range []*stage{closedAccount(t), closedGroup(t)} {
		k := factKinds()[0]
		if s.ref.Kind == KindAccountGroup {
			k = factKinds()[2]
		}
		// Three of each leave room behind the slices, where an append writes without moving them.
		for revision := range int64(3) {
			s.does(t, k.make(true, 10+revision), k.event+", reconciliation_required")
		}
		one, other := s.agg.Copy(), s.agg.Copy()
		apply := func(agg Aggregate, p Payload, id string) *Lifecycle {
			c := s.command(p)
			c.ID = id
			events, err := agg.Decide(c)
			require.NoError(t, err)
			agg.Apply(c.Meta(), events)
			return lifecycleOf(agg)
		}
		first := apply(one, k.make(true, 20), owner)
		kept := first.Reconciliations()[3]
		second := apply(other, k.make(true, 30), child)
		require.True(t, first.knows(owner))
		require.False(t, first.knows(child), "the one learned what the other did")
		require.True(t, second.knows(child))
		require.Equal(t, kept, first.Reconciliations()[3], "the other wrote into the one")
		require.Len(t, lifecycleOf(s.agg).Reconciliations(), 3)
	}
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

// TestDecidedStateIsWhatIsStored: the state that a decision leads to is the one that a reload of the log gives, for every event. The
// stages compare the two after each commit (commit); here is that every event has been through it.
func TestDecidedStateIsWhatIsStored(t *testing.T) {
	seen := map[string]bool{}
	look := func(s *stage) {
		for _, line := range s.lines {
			w, _ := readCommit(t, line)
			for _, e := range w.Events {
				seen[e.Type] = true
			}
		}
	}
	for _, kind := range Kinds() {
		for _, situation := range situations(kind) {
			for _, make := range commands(kind) {
				s := situation.make(t)
				s.try(t, s.command(make(s)))
				look(s)
			}
		}
	}
	look(after(activeAccount, holds(basf, "5", 1), liquidate(someLiquidation), orderIs(saleOf(someLiquidation, basf), OrderFilled, 1), holds(basf, "0", 2))(t))
	require.Equal(t, EventTypes(), slices.Sorted(maps.Keys(seen)))
}

// TestDecidedStatesDiverge: several decisions on one state may each be gone on from, also where their states share what neither has
// changed, and the state itself stays as it was.
func TestDecidedStatesDiverge(t *testing.T) {
	for _, kind := range Kinds() {
		for _, situation := range situations(kind) {
			s := situation.make(t)
			before, now := s.agg.Copy(), s.clock.tick()
			var states, alone []Aggregate
			for _, name := range slices.Sorted(maps.Keys(commands(kind))) {
				for i := range 2 { // from the state itself, and from a copy that shares nothing
					c := s.command(commands(kind)[name](s))
					c.ID, c.Time = DeriveID("test", name), now
					agg := s.agg
					if i == 1 {
						agg = before.Copy()
					}
					_, next, err := agg.DecideNext(c)
					if err != nil || next == nil {
						continue
					}
					// One more on top, in place: a borrowed part is copied first.
					c.ID = DeriveID("test", name, "again")
					if more, err := next.Decide(c); err == nil {
						next.Apply(c.Meta(), more)
					}
					if i == 0 {
						states = append(states, next)
					} else {
						alone = append(alone, next.Copy())
					}
				}
			}
			require.Equal(t, before, s.agg, "%s", situation.name)
			require.Len(t, states, len(alone))
			for i := range states {
				require.Equal(t, alone[i], states[i].Copy(), "%s", situation.name)
			}
		}
	}
}
