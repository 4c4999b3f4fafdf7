package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSettleReconciliation takes off the checklist what came after CLOSED, for each kind of fact; the history keeps it.
func TestSettleReconciliation(t *testing.T) {
	for _, k := range factKinds() {
		t.Run(k.name, func(t *testing.T) {
			s := k.closed(t)
			first := s.does(t, k.make(true, 11), k.event+", reconciliation_required")[1].(ReconciliationRequired).ReconciliationID
			second := s.does(t, k.another(11), k.event+", reconciliation_required")[1].(ReconciliationRequired).ReconciliationID
			updated := lifecycleOf(s.agg).UpdatedAt
			events := s.does(t, settles(first), "reconciliation_settled")
			require.Equal(t, ReconciliationSettled{ReconciliationID: first, Note: "returned to the sender"}, events[0])
			require.Empty(t, Publish(s.agg, events))
			require.Len(t, s.closure().Reconciliation, 1)
			require.Equal(t, second, s.closure().Reconciliation[0].ID, "the other one stands")
			require.Equal(t, StatusClosed, s.status())
			require.Equal(t, updated, lifecycleOf(s.agg).UpdatedAt)

			other := settles(first)
			other.Note = "somebody else was late, and says so"
			s.does(t, other, "")
			s.does(t, k.make(true, 11), "")
			require.Len(t, s.closure().Reconciliation, 1, "what comes again with its revision is settled already")
			again := s.does(t, k.make(true, 12), k.event+", reconciliation_required")[1].(ReconciliationRequired).ReconciliationID
			require.NotEqual(t, first, again, "a new revision is another thing to settle")
			s.does(t, settles(second), "reconciliation_settled")
			s.does(t, settles(again), "reconciliation_settled")
			require.Empty(t, s.closure().Reconciliation)
			require.NotNil(t, s.closure().Reconciliation)
		})
	}
}

// TestSettleNothing: what never came cannot be settled, nor what came elsewhere.
func TestSettleNothing(t *testing.T) {
	account, group := closedAccount(t), closedGroup(t)
	id := account.does(t, holds(basf, "1", 9), "position_recorded, reconciliation_required")[1].(ReconciliationRequired).ReconciliationID
	refusal := group.refuses(t, settles(id), NotFound)
	require.Contains(t, refusal.Detail, "reconciliation_id: there is nothing to settle with the id "+id)
	for _, s := range []*stage{activeAccount(t), closingAccount(t), activeGroup(t), closingGroup(t)} {
		s.refuses(t, settles(id), NotFound)
	}
	require.Len(t, account.closure().Reconciliation, 1)
}

// TestSettledCopiesDiverge: settling in one copy does not reach into another.
func TestSettledCopiesDiverge(t *testing.T) {
	s := closedGroup(t)
	var ids []string
	for revision := range int64(3) {
		ids = append(ids, s.does(t, cash("EUR", "1", 10+revision), "cash_balance_recorded, reconciliation_required")[1].(ReconciliationRequired).ReconciliationID)
	}
	kept := s.agg.Copy()
	before := kept.Copy()
	s.does(t, settles(ids[0]), "reconciliation_settled")
	s.does(t, settles(ids[1]), "reconciliation_settled")
	require.Equal(t, before, kept)
	require.Len(t, kept.(*AccountGroup).Reconciliations(), 3)
	require.Equal(t, ids[2], groupOf(s).Reconciliations()[0].ID)
}
