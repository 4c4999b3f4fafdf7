package domain

import "testing"

// thirdGoldenLog tells of orders in the time when nothing was said of how much of one was executed: in it account.order_recorded
// has version 1. An engine of that time wrote it.
const thirdGoldenLog = "testdata/golden_log_3.jsonl"

const (
	thirdOrder  = "0de40000-0000-4000-8000-000000000003"
	fourthOrder = "0de40000-0000-4000-8000-000000000004"
)

// TestThirdGoldenLogIsWhatIsDecided tells the story again: what is decided now is what was decided then.
func TestThirdGoldenLogIsWhatIsDecided(t *testing.T) {
	saysTheSame(t, thirdGoldenLog, thirdLog(t))
}

func thirdLog(t *testing.T) [][]byte {
	t.Helper()
	c := newCompany()
	c.threeAccounts(t)
	c.boughtAndCancelled(t)
	c.soldTwice(t)
	return c.log
}

// threeAccounts opens a group with three accounts, and gives two of them something to sell.
func (c *company) threeAccounts(t *testing.T) {
	t.Helper()
	c.group.does(t, openGroup(), "opened, activated")
	openIn(t, c.group, c.savings, &LinkAccount{AccountID: firstAccount, Type: Trading, Name: "Savings"}, "opened, activated")
	openIn(t, c.group, c.holidays, &LinkAccount{AccountID: secondAccount, Type: Portfolio, Name: "Holidays"}, "opened, activated")
	openIn(t, c.group, c.youth, &LinkAccount{AccountID: thirdAccount, Type: Trading, Name: "Youth"}, "opened, activated")
	c.savings.does(t, holds(basf, "10", 1), "position_recorded")
	c.holidays.does(t, holds(world, "120", 1), "position_recorded")
}

// boughtAndCancelled closes an account with BUY orders: what is FILLED has to show in custody first, and what is CANCELLED
// bought nothing.
func (c *company) boughtAndCancelled(t *testing.T) {
	t.Helper()
	c.savings.does(t, order(someOrder, Buy, basf, "5"), "order_placed")
	c.savings.does(t, order(nextOrder, Buy, apple, "2"), "order_placed")
	c.savings.does(t, orderIs(someOrder, OrderProcessing, 1), "order_recorded")
	c.savings.does(t, &RequestAccountClosure{}, "closing_initiated, order_cancellation_requested, order_cancellation_requested")
	c.savings.does(t, orderIs(someOrder, OrderCancelled, 2), "order_recorded")
	c.savings.does(t, holds(basf, "0", 2), "position_recorded")
	c.savings.does(t, orderIs(nextOrder, OrderFilled, 1), "order_recorded")
	c.savings.does(t, holds(apple, "2", 1), "position_recorded")
	c.savings.does(t, order(thirdOrder, Sell, apple, "2"), "order_placed")
	c.savings.does(t, orderIs(thirdOrder, OrderFilled, 1), "order_recorded")
	c.savings.does(t, holds(apple, "0", 2), "position_recorded, closed")
	c.savings.does(t, orderIs(someOrder, OrderCancelled, 3), "order_recorded")

	c.youth.does(t, order(someOrder, Buy, basf, "5"), "order_placed")
	c.youth.does(t, &RequestAccountClosure{}, "closing_initiated, order_cancellation_requested")
	c.youth.does(t, orderIs(someOrder, OrderCancelled, 1), "order_recorded, closed")
	c.youth.does(t, orderIs(someOrder, OrderFilled, 2), "order_recorded, reconciliation_required")
}

// soldTwice has SELL orders beside a liquidation, which sells what is left. One is FILLED, and custody does not show it yet; one
// was CANCELLED, and so sold nothing; one is by cash amount.
func (c *company) soldTwice(t *testing.T) {
	t.Helper()
	c.holidays.does(t, order(someOrder, Sell, world, "20"), "order_placed")
	c.holidays.does(t, order(nextOrder, Sell, world, "30"), "order_placed")
	c.holidays.does(t, &PlaceOrder{OrderID: thirdOrder, Side: Sell, ISIN: world, CashAmount: "500.00", Currency: "EUR"}, "order_placed")
	c.holidays.does(t, orderIs(nextOrder, OrderProcessing, 1), "order_recorded")
	c.holidays.does(t, orderIs(nextOrder, OrderCancelled, 2), "order_recorded")
	c.holidays.does(t, orderIs(someOrder, OrderFilled, 1), "order_recorded")
	c.holidays.refuses(t, liquidate(someLiquidation), Conflict)
	c.holidays.does(t, orderIs(thirdOrder, OrderFilled, 1), "order_recorded")
	c.holidays.refuses(t, liquidate(someLiquidation), Conflict)
	c.holidays.does(t, holds(world, "95", 2), "position_recorded")
	c.holidays.does(t, order(fourthOrder, Sell, world, "5"), "order_placed")
	c.holidays.does(t, orderIs(fourthOrder, OrderFilled, 1), "order_recorded")
	c.holidays.does(t, liquidate(someLiquidation), "liquidation_requested, order_placed")
	c.holidays.does(t, orderIs(saleOf(someLiquidation, world), OrderCancelled, 1), "order_recorded")
	c.holidays.does(t, takeBack(someLiquidation), "liquidation_cancelled")
	c.holidays.does(t, liquidate(nextLiquidation), "liquidation_requested, order_placed")
	c.holidays.does(t, orderIs(saleOf(nextLiquidation, world), OrderFilled, 1), "order_recorded, liquidation_processing, liquidation_filled")
}
