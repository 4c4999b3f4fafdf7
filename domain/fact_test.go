package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// factKind is one kind of fact with what its values mean: Blocks(true) blocks, Blocks(false) does not.
type factKind struct {
	name    string
	kind    Kind
	code    BlockerCode
	make    func(blocks bool, revision int64) Payload
	event   string
	another func(revision int64) Payload // blocks, too, under another key
}

// pick is a before b when blocks.
func pick[T any](blocks bool, a, b T) T {
	if blocks {
		return a
	}
	return b
}

func factKinds() []factKind {
	return []factKind{
		{"position", KindAccount, OpenPositions, func(b bool, r int64) Payload { return holds(basf, pick[Decimal](b, "7", "0"), r) },
			"position_recorded", func(r int64) Payload { return holds(apple, "1", r) }},
		{"corporate action", KindAccount, ExpectedCorporateActions, func(b bool, r int64) Payload {
			return action(pick(b, CorporateActionExpected, CorporateActionSettled), r)
		},
			"corporate_action_recorded", func(r int64) Payload {
				return &RecordCorporateAction{CorporateActionID: someFee, ISIN: basf, Status: CorporateActionExpected, Revision: r}
			}},
		{"cash", KindAccountGroup, CashBalance, func(b bool, r int64) Payload { return cash("EUR", pick[Decimal](b, "7", "0"), r) },
			"cash_balance_recorded", func(r int64) Payload { return cash("USD", "-1", r) }},
		{"fee collection", KindAccountGroup, OutstandingFees, func(b bool, r int64) Payload { return fee(pick(b, FeeProcessing, FeeFinalised), r) },
			"fee_collection_recorded", func(r int64) Payload {
				return &RecordFeeCollection{FeeCollectionID: someAction, Status: FeeProcessing, Amount: "0", Currency: "EUR", Revision: r}
			}},
		{"withdrawal", KindAccountGroup, OutstandingWithdrawals, func(b bool, r int64) Payload {
			return withdrawal(someWithdrawal, pick(b, WithdrawalProcessing, WithdrawalConfirmed), r)
		},
			"withdrawal_recorded", func(r int64) Payload { return withdrawal(nextWithdrawal, WithdrawalNew, r) }},
	}
}

func (k factKind) active(t *testing.T) *stage {
	t.Helper()
	if k.kind == KindAccount {
		return activeAccount(t)
	}
	return activeGroup(t)
}

func (k factKind) closed(t *testing.T) *stage {
	t.Helper()
	if k.kind == KindAccount {
		return closedAccount(t)
	}
	return closedGroup(t)
}

// TestRevisions sends facts twice, late and out of order.
func TestRevisions(t *testing.T) {
	for _, k := range factKinds() {
		t.Run(k.name, func(t *testing.T) {
			require.True(t, IsFact(k.make(true, 1)))
			s := k.active(t)
			standing := func() string { return codes(s.closure().Blockers) }
			s.does(t, k.make(false, 5), k.event)
			s.does(t, k.make(true, 4), "")
			require.Equal(t, "", standing(), "a late revision changes nothing")
			s.does(t, k.make(true, 5), "")
			require.Equal(t, "", standing(), "the same revision changes nothing, whatever it says")
			s.does(t, k.make(false, 6), k.event)
			s.does(t, k.make(true, 8), k.event)
			require.Equal(t, string(k.code), standing(), "a revision may be left out")
			s.does(t, k.make(false, 7), "")
			require.Equal(t, string(k.code), standing())
			s.does(t, k.another(1), k.event)
			s.does(t, k.make(false, 9), k.event)
			require.Equal(t, string(k.code), standing(), "each key has revisions of its own")
			require.Len(t, s.closure().Blockers[0].Items, 1)
			s.does(t, k.make(true, 1<<62), k.event)
			s.does(t, k.make(true, 1<<62-1), "")
		})
	}
}

// TestFactsAfterClosed has what comes after CLOSED: it is recorded, somebody is told when it would have blocked, and CLOSED stays.
func TestFactsAfterClosed(t *testing.T) {
	for _, k := range factKinds() {
		t.Run(k.name, func(t *testing.T) {
			s := k.closed(t)
			s.does(t, k.make(false, 10), k.event)
			require.Empty(t, s.closure().Reconciliation, "it would not have blocked")

			came := s.clock.now.Add(minute)
			events := s.does(t, k.make(true, 11), k.event+", reconciliation_required")
			required := events[1].(ReconciliationRequired)
			require.Equal(t, k.code, required.Blocker)
			require.NoError(t, checkID("reconciliation_id", required.ReconciliationID))
			want := Reconciliation{ID: required.ReconciliationID, Code: k.code, Item: required.Item, ReceivedAt: came}
			require.Equal(t, []Reconciliation{want}, s.closure().Reconciliation)
			require.Equal(t, StatusClosed, s.status())
			require.Empty(t, s.closure().Blockers, "nothing blocks what is CLOSED")

			s.does(t, k.make(true, 11), "")
			s.does(t, k.make(true, 3), "")
			require.Len(t, s.closure().Reconciliation, 1, "twice and late change nothing")

			again, _ := k.closed(t).try(t, s.command(k.make(true, 11)))
			require.Equal(t, required.ReconciliationID, again[1].(ReconciliationRequired).ReconciliationID, "the same cause, the same id")
			next := s.does(t, k.make(true, 12), k.event+", reconciliation_required")[1].(ReconciliationRequired)
			other := s.does(t, k.another(11), k.event+", reconciliation_required")[1].(ReconciliationRequired)
			require.NotEqual(t, required.ReconciliationID, next.ReconciliationID, "another revision is another thing to settle")
			require.NotEqual(t, required.ReconciliationID, other.ReconciliationID, "another key is another thing to settle")

			s.does(t, k.make(false, 13), k.event)
			require.Len(t, s.closure().Reconciliation, 3, "it stands until somebody settles it")
		})
	}
}

// TestReconciliationItems has what came, as the operator sees it.
func TestReconciliationItems(t *testing.T) {
	account, group := closedAccount(t), closedGroup(t)
	item := func(s *stage, p Payload) Item {
		events, refusal := s.try(t, s.command(p))
		require.Nil(t, refusal)
		return events[1].(ReconciliationRequired).Item
	}
	require.Equal(t, Item{ISIN: basf, Quantity: "7", PendingSettlement: "0"}, item(account, holds(basf, "7", 9)))
	require.Equal(t, Item{ID: someAction, ISIN: basf, Status: "EXPECTED"}, item(account, action(CorporateActionExpected, 9)))
	require.Equal(t, Item{Currency: "EUR", Balance: "7", PendingSettlement: "0"}, item(group, cash("EUR", "7", 9)))
	require.Equal(t, Item{ID: someFee, Status: "PROCESSING", Amount: "4.90", Currency: "EUR"}, item(group, fee(FeeProcessing, 9)))
	require.Equal(t, Item{ID: someWithdrawal, Status: "NEW", Amount: "1250.00", Currency: "EUR"},
		item(group, withdrawal(someWithdrawal, WithdrawalNew, 9)))
	require.Equal(t, group.agg.(*AccountGroup).Reconciliations(), group.closure().Reconciliation)
}

// TestPendingSettlementDefault has the one default of a fact: it is stored as "0", so that the log says it in full.
func TestPendingSettlementDefault(t *testing.T) {
	events := activeAccount(t).does(t, holds(basf, "1", 1), "position_recorded")
	require.Equal(t, PositionRecorded{ISIN: basf, Quantity: "1", PendingSettlement: "0", Revision: 1}, events[0])
	events = activeGroup(t).does(t, cash("EUR", "-0.10", 1), "cash_balance_recorded")
	require.Equal(t, CashBalanceRecorded{Currency: "EUR", Balance: "-0.10", PendingSettlement: "0", Revision: 1}, events[0])
}
