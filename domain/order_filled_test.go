package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// How much of an order was executed, as far as its service says so.

// TestABuyThatIsCancelledInPart: what was bought before is one more thing to sell, whichever of the two sources is first. What was
// cancelled with nothing bought, or without a word of it, is not waited for.
func TestABuyThatIsCancelledInPart(t *testing.T) {
	buy, request, asked := order(someOrder, Buy, basf, "5"), &RequestAccountClosure{}, "closing_initiated, order_cancellation_requested"
	tell(t, []story{
		{"the order service is first", activeAccount, []step{
			{buy, "order_placed", StatusActive, "OPEN_ORDERS"},
			{request, asked, StatusClosing, "OPEN_ORDERS"},
			{orderDid(someOrder, OrderCancelled, "0.5", 1), "order_recorded", StatusClosing, "OPEN_ORDERS"},
			{holds(basf, "0.5", 1), "position_recorded", StatusClosing, "OPEN_POSITIONS"},
			{holds(basf, "0", 2), "position_recorded, closed", StatusClosed, ""},
		}},
		{"custody is first", activeAccount, []step{
			{buy, "order_placed", StatusActive, "OPEN_ORDERS"},
			{request, asked, StatusClosing, "OPEN_ORDERS"},
			{holds(basf, "0.5", 1), "position_recorded", StatusClosing, "OPEN_POSITIONS, OPEN_ORDERS"},
			{orderDid(someOrder, OrderCancelled, "0.5", 1), "order_recorded", StatusClosing, "OPEN_POSITIONS"},
			{holds(basf, "0", 2), "position_recorded, closed", StatusClosed, ""},
		}},
		{"sold before it is seen", activeAccount, []step{
			{buy, "order_placed", StatusActive, "OPEN_ORDERS"},
			{request, asked, StatusClosing, "OPEN_ORDERS"},
			{orderDid(someOrder, OrderCancelled, "0.5", 1), "order_recorded", StatusClosing, "OPEN_ORDERS"},
			{holds(basf, "0", 1), "position_recorded, closed", StatusClosed, ""},
		}},
		{"a correction: nothing was bought", activeAccount, []step{
			{buy, "order_placed", StatusActive, "OPEN_ORDERS"},
			{request, asked, StatusClosing, "OPEN_ORDERS"},
			{orderDid(someOrder, OrderCancelled, "0.5", 1), "order_recorded", StatusClosing, "OPEN_ORDERS"},
			{orderDid(someOrder, OrderCancelled, "0.00", 2), "order_recorded, closed", StatusClosed, ""},
		}},
		{"nothing was bought", activeAccount, []step{
			{buy, "order_placed", StatusActive, "OPEN_ORDERS"},
			{request, asked, StatusClosing, "OPEN_ORDERS"},
			{orderDid(someOrder, OrderProcessing, "0", 1), "order_recorded", StatusClosing, "OPEN_ORDERS"},
			{orderDid(someOrder, OrderCancelled, "0", 2), "order_recorded, closed", StatusClosed, ""},
		}},
		// A fact states the whole present value: what one before it said does not count any more.
		{"without a word of it", activeAccount, []step{
			{buy, "order_placed", StatusActive, "OPEN_ORDERS"},
			{request, asked, StatusClosing, "OPEN_ORDERS"},
			{orderDid(someOrder, OrderProcessing, "0.5", 1), "order_recorded", StatusClosing, "OPEN_ORDERS"},
			{orderIs(someOrder, OrderCancelled, 2), "order_recorded, closed", StatusClosed, ""},
		}},
		{"after the end", after(activeAccount, buy, request, orderIs(someOrder, OrderCancelled, 1)), []step{
			{orderDid(someOrder, OrderCancelled, "0", 2), "order_recorded", StatusClosed, ""},
			{orderDid(someOrder, OrderCancelled, "0.5", 3), "order_recorded, reconciliation_required", StatusClosed, ""},
		}},
	})
}

// TestFilledQuantity has what is recorded of it, and what is shown of an order that is waited for.
func TestFilledQuantity(t *testing.T) {
	for _, c := range []struct {
		status         OrderStatus
		said, recorded Decimal
		shown          Decimal // in the checklist of a BUY; "" when nothing is waited for
	}{
		{OrderProcessing, "", "", "5"}, {OrderProcessing, "0", "0", "5"}, {OrderProcessing, "1.50", "1.50", "5"},
		{OrderFilled, "", "", "5"}, {OrderFilled, "5.00", "5.00", "5.00"},
		{OrderCancelled, "", "0", ""}, {OrderCancelled, "0.00", "0.00", ""}, {OrderCancelled, "1.50", "1.50", "1.50"},
	} {
		s := after(activeAccount, order(someOrder, Buy, basf, "5"))(t)
		events := s.does(t, orderDid(someOrder, c.status, c.said, 1), "order_recorded")
		require.Equal(t, OrderRecorded{OrderID: someOrder, Status: c.status, PreviousStatus: OrderNew, FilledQuantity: c.recorded, Revision: 1}, events[0])
		require.Equal(t, c.recorded, orderOf(t, s, someOrder).FilledQuantity)
		var shown Decimal
		if b := find(s.closure().Blockers, OpenOrders); b != nil {
			shown = b.Items[0].Quantity
		}
		require.Equal(t, c.shown, shown, "%s %s", c.status, c.said)
	}
}
