package domain

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// secondGoldenLog tells of a user with two accounts and a move to the UK: from the first group to OFFBOARDED. In it
// account.order_recorded has version 1.
const secondGoldenLog = "testdata/golden_log_2.jsonl"

func secondLog(t *testing.T) [][]byte {
	t.Helper()
	c := newCompany()
	c.arrival(t)
	c.trading(t)
	c.move(t)
	c.sale(t)
	c.taxYearEnd(t)
	c.lateArrivals(t)
	c.farewell(t)
	return c.log
}

// TestSecondGoldenLogIsWhatIsDecided tells the story again: what is decided now is what was decided then.
func TestSecondGoldenLogIsWhatIsDecided(t *testing.T) {
	saysTheSame(t, secondGoldenLog, secondLog(t))
}

// passTo moves the clock of the company on; the next command comes a minute later.
func (c *company) passTo(t *testing.T, at time.Time) {
	t.Helper()
	require.True(t, at.After(c.clock.now), "time goes on")
	c.clock.now = at
}

// arrival links the user first, then opens the group and its accounts. A second group turned out to be somebody else's.
func (c *company) arrival(t *testing.T) {
	t.Helper()
	c.user.does(t, linkGroup(someGroup), "account_group_linked")
	causes(c.user, c.group).does(t, openGroup(), "opened, activated")
	c.user.does(t, linkGroup(otherGroup), "account_group_linked")
	causes(c.user, c.user).does(t, &WithdrawGroupLink{AccountGroupID: otherGroup}, "account_group_link_withdrawn")
	openIn(t, c.group, c.savings, &LinkAccount{AccountID: firstAccount, Type: Trading, Name: "Savings"}, "opened, activated")
	openIn(t, c.group, c.holidays, &LinkAccount{AccountID: secondAccount, Type: Portfolio, Name: "Holidays"}, "opened, activated")
	c.savings.does(t, holds(basf, "10.5", 1), "position_recorded")
	c.savings.does(t, holds(apple, "3", 1), "position_recorded")
	c.holidays.does(t, holds(world, "120.000001", 1), "position_recorded")
	c.group.does(t, booking(2025, "12.50", 1), "tax_booking_recorded")
}

// trading has orders, and a liquidation that somebody thought better of.
func (c *company) trading(t *testing.T) {
	t.Helper()
	c.savings.does(t, order(someOrder, Sell, basf, "0.5"), "order_placed")
	c.savings.does(t, orderIs(someOrder, OrderProcessing, 1), "order_recorded")
	c.savings.does(t, orderIs(someOrder, OrderFilled, 2), "order_recorded")
	c.savings.does(t, orderIs(someOrder, OrderProcessing, 1), "")
	c.savings.does(t, holds(basf, "10", 2), "position_recorded")
	c.savings.does(t, liquidate(someLiquidation), "liquidation_requested, order_placed, order_placed")
	c.savings.refuses(t, liquidate(nextLiquidation), Conflict)
	c.savings.does(t, takeBack(someLiquidation), "liquidation_cancelled, order_cancellation_requested, order_cancellation_requested")
	c.savings.does(t, orderIs(saleOf(someLiquidation, basf), OrderCancelled, 1), "order_recorded")
	c.savings.does(t, orderIs(saleOf(someLiquidation, apple), OrderCancelled, 1), "order_recorded")
	c.savings.does(t, &PlaceOrder{OrderID: nextOrder, UserID: owner, Side: Buy, ISIN: apple, CashAmount: "500.00", Currency: "EUR"}, "order_placed")
}

// move has one account that was to be closed before its owner moved to the UK, and one after it.
func (c *company) move(t *testing.T) {
	t.Helper()
	c.holidays.does(t, &RequestAccountClosure{Domicile: "DE"}, "domicile_recorded, closing_initiated")
	c.group.does(t, &ChangeDomicile{Domicile: "GB", TaxResidencies: []string{"GB", "DE"}}, "domicile_changed")
	causes(c.group, c.holidays).does(t, &RecordDomicile{AccountGroupID: someGroup, Domicile: "GB"}, "domicile_recorded")
	asks(c.savings).does(t, &RequestAccountClosure{Domicile: "GB"}, "domicile_recorded, closing_initiated, order_cancellation_requested")
	c.savings.refuses(t, order(thirdAccount, Buy, basf, "1"), Unprocessable)
	c.savings.does(t, orderIs(nextOrder, OrderCancelled, 1), "order_recorded")
	asks(c.group).does(t, closeGroup("user_initiated"), "closing_initiated")
}

// sale sells both accounts out, one of them by hand, and leaves nothing that has to be done but waiting.
func (c *company) sale(t *testing.T) {
	t.Helper()
	c.savings.does(t, liquidate(nextLiquidation), "liquidation_requested, order_placed, order_placed")
	c.savings.does(t, orderIs(saleOf(nextLiquidation, basf), OrderProcessing, 1), "order_recorded, liquidation_processing")
	c.savings.does(t, orderIs(saleOf(nextLiquidation, basf), OrderFilled, 2), "order_recorded")
	c.savings.does(t, orderIs(saleOf(nextLiquidation, apple), OrderFilled, 2), "order_recorded, liquidation_filled")
	c.savings.does(t, &RecordPosition{ISIN: basf, Quantity: "0", PendingSettlement: "-10", Revision: 3}, "position_recorded")
	c.savings.does(t, holds(apple, "0", 2), "position_recorded")
	c.savings.does(t, holds(basf, "0", 4), "position_recorded, liquidation_settled")
	asks(c.holidays).does(t, holds(world, "0", 2), "position_recorded")
	c.passTo(t, c.clock.now.Add(month))
	for _, s := range []*stage{c.savings, c.holidays, c.group} {
		causes(s, s).does(t, stall(1), "closure_stalled")
	}
	asks(c.group).does(t, booking(2026, "-3.75", 2), "tax_booking_recorded")
}

// taxYearEnd closes what waited for it: accounts first, then the group, and then the user is told.
func (c *company) taxYearEnd(t *testing.T) {
	t.Helper()
	c.passTo(t, time.Date(2026, time.April, 5, 22, 57, 0, 0, time.UTC))
	causes(c.savings, c.savings).does(t, &ReviewClosure{}, "") // at 22:58, and again at 22:59
	c.savings.does(t, &ReviewClosure{}, "closed")
	causes(c.holidays, c.holidays).does(t, &ReviewClosure{}, "closed")
	causes(c.savings, c.group).does(t, closureIs(c.savings), "account_closure_recorded")
	causes(c.holidays, c.group).does(t, closureIs(c.holidays), "account_closure_recorded, closed")
	causes(c.group, c.group).does(t, report(owner), "report_created")
	g := c.group.agg.(*AccountGroup)
	closed := &RecordGroupClosure{AccountGroupID: someGroup, ClosedAt: *g.ClosedAt(), TaxStatementYear: g.TaxStatementYear()}
	causes(c.group, c.user).does(t, closed, "account_group_closure_recorded")
}

// lateArrivals come after CLOSED; one of them is settled in each, and the other one stands.
func (c *company) lateArrivals(t *testing.T) {
	t.Helper()
	required := asks(c.savings).does(t, holds(apple, "-1", 3), "position_recorded, reconciliation_required")[1].(ReconciliationRequired)
	c.savings.does(t, settles(required.ReconciliationID), "reconciliation_settled")
	c.savings.does(t, orderIs(nextOrder, OrderProcessing, 2), "order_recorded, reconciliation_required")
	required = asks(c.group).does(t, cash("EUR", "0.37", 1), "cash_balance_recorded, reconciliation_required")[1].(ReconciliationRequired)
	c.group.does(t, cash("GBP", "-0.02", 1), "cash_balance_recorded, reconciliation_required")
	c.group.does(t, settles(required.ReconciliationID), "reconciliation_settled")
}

// farewell is the offboarding: it waits for the tax statement in March of the following year.
func (c *company) farewell(t *testing.T) {
	t.Helper()
	asks(c.user).does(t, &RequestOffboarding{}, "offboarding_initiated")
	c.group.does(t, booking(2026, "-3.70", 3), "tax_booking_recorded")
	c.passTo(t, time.Date(2027, time.March, 14, 23, 0, 0, 0, time.UTC)) // midnight in Berlin
	causes(c.group, c.group).does(t, statement(), "tax_statement_requested")
	annual := report(owner)
	annual.Type, annual.ReportID = ReportAnnualTaxStatement, groupOf(c.group).ReportID(owner, ReportAnnualTaxStatement)
	causes(c.group, c.group).does(t, annual, "report_created")
	causes(c.group, c.user).does(t, &RecordTaxStatement{AccountGroupID: someGroup}, "tax_statement_recorded, offboarded")
}
