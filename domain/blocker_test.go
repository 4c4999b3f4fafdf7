package domain

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const minute = time.Minute

// TestBlockersInFull has code, detail and items of each blocker. The order is fixed, and so is that of the items.
func TestBlockersInFull(t *testing.T) {
	s := activeAccount(t)
	s.does(t, holds(apple, "3", 1), "position_recorded")
	s.does(t, &RecordPosition{ISIN: basf, Quantity: "0", PendingSettlement: "-2.5", Revision: 1}, "position_recorded")
	s.does(t, holds(world, "0", 1), "position_recorded")
	s.does(t, action(CorporateActionExpected, 1), "corporate_action_recorded")
	s.does(t, &Lock{}, "locked")
	require.Equal(t, []Blocker{
		{OpenPositions, "positions are held, or wait for settlement: sell them, or ask for a liquidation", at(3), []Item{
			{ISIN: basf, Quantity: "0", PendingSettlement: "-2.5"}, {ISIN: apple, Quantity: "3", PendingSettlement: "0"}}},
		{ExpectedCorporateActions, "corporate actions are expected: they have to be settled or cancelled", at(9), []Item{
			{ID: someAction, ISIN: basf, Status: "EXPECTED"}}},
		{Locked, "the resource is locked: it has to be unlocked", at(11), []Item{}},
	}, s.closure().Blockers)

	g := activeGroup(t)
	g.does(t, cash("USD", "-1.50", 1), "cash_balance_recorded")
	g.does(t, cash("EUR", "10", 1), "cash_balance_recorded")
	g.does(t, cash("CHF", "0", 1), "cash_balance_recorded")
	g.does(t, withdrawal(nextWithdrawal, WithdrawalProcessing, 1), "withdrawal_recorded")
	g.does(t, withdrawal(someWithdrawal, WithdrawalNew, 1), "withdrawal_recorded")
	g.does(t, fee(FeeProcessing, 1), "fee_collection_recorded")
	g.does(t, link(secondAccount), "account_linked")
	g.does(t, link(firstAccount), "account_linked")
	g.does(t, link(thirdAccount), "account_linked")
	g.does(t, closureOf(thirdAccount), "account_closure_recorded")
	g.does(t, &Lock{}, "locked")
	require.Equal(t, []Blocker{
		{OpenAccounts, "accounts of the group are not CLOSED: close each of them", at(15), []Item{{ID: secondAccount}, {ID: firstAccount}}},
		{OutstandingFees, "fee collections are in progress: they have to be finalised or cancelled", at(13), []Item{
			{ID: someFee, Status: "PROCESSING", Amount: "4.90", Currency: "EUR"}}},
		{OutstandingWithdrawals, "withdrawals are in progress: they have to be confirmed or cancelled", at(9), []Item{
			{ID: someWithdrawal, Status: "NEW", Amount: "1250.00", Currency: "EUR"},
			{ID: nextWithdrawal, Status: "PROCESSING", Amount: "1250.00", Currency: "EUR"}}},
		{CashBalance, "cash is left, owed, or waits for settlement: every balance has to be zero", at(3), []Item{
			{Currency: "EUR", Balance: "10", PendingSettlement: "0"}, {Currency: "USD", Balance: "-1.50", PendingSettlement: "0"}}},
		{Locked, "the resource is locked: it has to be unlocked", at(23), []Item{}},
	}, g.closure().Blockers)
	require.Equal(t, g.closure().Blockers[2], *g.agg.(*AccountGroup).OutstandingWithdrawals(), "the entry rule sees the same blocker")
}

// at is the n-th minute of a stage. A command takes two, since it is sent again a minute later.
func at(n int) time.Time { return newClock().now.Add(time.Duration(n) * minute) }

// TestSince has since when a blocker has stood: it survives while it stands, and starts anew when it went and came again.
func TestSince(t *testing.T) {
	s := activeAccount(t)
	since := func() time.Time {
		b := find(s.agg.(*Account).Blockers(s.clock.now), OpenPositions)
		require.NotNil(t, b)
		return b.Since
	}
	s.does(t, holds(basf, "10", 1), "position_recorded")
	first := since()
	s.does(t, holds(basf, "9", 2), "position_recorded")
	s.does(t, holds(apple, "1", 1), "position_recorded")
	s.does(t, holds(basf, "0", 3), "position_recorded")
	require.Equal(t, first, since(), "another position stands in its place: the condition never stopped")
	s.does(t, &RequestAccountClosure{}, "closing_initiated")
	s.does(t, &Lock{}, "locked")
	s.does(t, &Unlock{}, "unlocked")
	require.Equal(t, first, since(), "neither the request nor a lock restarts it")
	s.does(t, &Lock{}, "locked")
	s.does(t, holds(apple, "0", 2), "position_recorded")
	require.Nil(t, find(s.agg.(*Account).Blockers(s.clock.now), OpenPositions))
	again := s.clock.now.Add(minute)
	s.does(t, holds(apple, "1", 3), "position_recorded")
	require.Equal(t, again, since(), "it went, and came again")

	locked := find(s.agg.(*Account).Blockers(s.clock.now), Locked).Since
	s.does(t, &Unlock{}, "unlocked")
	s.does(t, &Lock{}, "locked")
	require.True(t, find(s.agg.(*Account).Blockers(s.clock.now), Locked).Since.After(locked))
}

// TestPreview has what an ACTIVE account shows: its own blockers, and before them what its group has outstanding.
func TestPreview(t *testing.T) {
	s := activeAccount(t)
	s.does(t, holds(basf, "10", 1), "position_recorded")
	require.Equal(t, "OUTSTANDING_WITHDRAWALS, OPEN_POSITIONS", codes(s.preview(Outlook{Withdrawals: outstanding}).Blockers))
	require.Equal(t, *outstanding, s.preview(Outlook{Withdrawals: outstanding}).Blockers[0])
	s.does(t, &RequestAccountClosure{}, "closing_initiated")
	require.Equal(t, "OPEN_POSITIONS", codes(s.preview(Outlook{Withdrawals: outstanding}).Blockers), "a withdrawal does not block the account's exit")
	s.does(t, holds(basf, "0", 2), "position_recorded, closed")
	require.Equal(t, "", codes(s.preview(Outlook{Withdrawals: outstanding}).Blockers))

	// What is absent is [] in JSON, so never nil.
	empty := activeAccount(t).closure()
	require.NotNil(t, empty.Blockers)
	require.NotNil(t, empty.Reconciliation)
	require.Equal(t, Closure{Status: StatusActive, Blockers: []Blocker{}, Reconciliation: []Reconciliation{}}, empty)
}

// TestClosureIsACopy hands a checklist out, and goes on.
func TestClosureIsACopy(t *testing.T) {
	s := closedGroup(t)
	s.does(t, cash("EUR", "1", 1), "cash_balance_recorded, reconciliation_required")
	out := s.closure()
	*out.RequestedBy = "changed by a reader"
	out.Reconciliation[0].ID = "changed by a reader"
	require.NotEqual(t, "changed by a reader", s.closure().Reconciliation[0].ID)
	require.Equal(t, s.replay(t, len(s.lines)), s.agg)
}
