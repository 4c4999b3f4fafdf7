package domain

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// fourthGoldenLog tells of orders of which it is said how much was executed: account.order_recorded has version 2.
const fourthGoldenLog = "testdata/golden_log_4.jsonl"

// TestFourthGoldenLogIsWhatIsWritten tells the story again: what is written now is what was written then.
func TestFourthGoldenLogIsWhatIsWritten(t *testing.T) {
	golden(t, fourthGoldenLog, append(bytes.Join(fourthLog(t), []byte("\n")), '\n'))
}

func fourthLog(t *testing.T) [][]byte {
	t.Helper()
	c := newCompany()
	c.threeAccounts(t)
	c.boughtInPart(t)
	c.soldInPart(t)
	return c.log
}

// boughtInPart closes an account with BUY orders that are cancelled: one after a part of it was filled, which has to show in
// custody and to be sold first, and one before anything was.
func (c *company) boughtInPart(t *testing.T) {
	t.Helper()
	c.savings.does(t, order(someOrder, Buy, apple, "5"), "order_placed")
	c.savings.does(t, order(nextOrder, Buy, world, "2"), "order_placed")
	c.savings.does(t, orderDid(someOrder, OrderProcessing, "1.5", 1), "order_recorded")
	c.savings.does(t, &RequestAccountClosure{}, "closing_initiated, order_cancellation_requested, order_cancellation_requested")
	c.savings.does(t, order(thirdOrder, Sell, basf, "10"), "order_placed")
	c.savings.does(t, orderDid(thirdOrder, OrderFilled, "10", 1), "order_recorded")
	c.savings.does(t, holds(basf, "0", 2), "position_recorded")
	c.savings.does(t, orderDid(nextOrder, OrderCancelled, "0", 1), "order_recorded")
	c.savings.does(t, orderDid(someOrder, OrderCancelled, "2.25", 2), "order_recorded")
	c.savings.does(t, holds(apple, "2.25", 1), "position_recorded")
	c.savings.does(t, order(fourthOrder, Sell, apple, "2.25"), "order_placed")
	c.savings.does(t, orderIs(fourthOrder, OrderFilled, 1), "order_recorded")
	c.savings.does(t, holds(apple, "0", 2), "position_recorded, closed")
	// A correction after the end: a part of it was bought all the same.
	c.savings.does(t, orderDid(nextOrder, OrderCancelled, "0.5", 2), "order_recorded, reconciliation_required")
	buy := orderOf(t, c.savings, nextOrder)
	require.Equal(t, []any{OrderCancelled, Decimal("0.5")}, []any{buy.Status, buy.FilledQuantity})
}

// soldInPart has SELL orders beside a liquidation, which sells what is left: of one that was cancelled a part is sold, and so it is
// of one by cash amount, and custody shows neither yet.
func (c *company) soldInPart(t *testing.T) {
	t.Helper()
	c.holidays.does(t, order(someOrder, Sell, world, "30"), "order_placed")
	c.holidays.does(t, &PlaceOrder{OrderID: nextOrder, Side: Sell, ISIN: world, CashAmount: "500.00", Currency: "EUR"}, "order_placed")
	c.holidays.does(t, orderDid(someOrder, OrderCancelled, "12.5", 3), "order_recorded")
	c.holidays.refuses(t, liquidate(someLiquidation), Conflict)
	c.holidays.does(t, orderDid(nextOrder, OrderFilled, "7.25", 1), "order_recorded")
	placed := c.holidays.does(t, liquidate(someLiquidation), "liquidation_requested, order_placed")[1].(OrderPlaced)
	require.Equal(t, Decimal("100.25"), placed.Quantity)
	c.holidays.does(t, orderDid(placed.OrderID, OrderCancelled, "0.25", 1), "order_recorded, liquidation_processing")
	c.holidays.refuses(t, takeBack(someLiquidation), Conflict)
	c.holidays.does(t, holds(world, "100", 2), "position_recorded")
	c.holidays.does(t, order(thirdOrder, Sell, world, "100"), "order_placed")
	c.holidays.does(t, orderDid(thirdOrder, OrderProcessing, "40", 1), "order_recorded")
	c.holidays.does(t, orderDid(thirdOrder, OrderFilled, "100", 2), "order_recorded")
	c.holidays.does(t, holds(world, "0", 3), "position_recorded, liquidation_filled, liquidation_settled")
}
