package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// liquidationOf is a liquidation of the stage, which has to be there.
func liquidationOf(t rapid.TB, s *stage, id string) Liquidation {
	t.Helper()
	l, ok := accountOf(s).Liquidation(id)
	require.True(t, ok, "there is no liquidation %s", id)
	return l
}

// liquidating holds these positions, and has a liquidation NEW.
func liquidating(t rapid.TB, positions ...*RecordPosition) *stage {
	t.Helper()
	s, want := activeAccount(t), "liquidation_requested"
	for _, p := range positions {
		s.does(t, p, "position_recorded")
		want += ", order_placed"
	}
	s.does(t, liquidate(someLiquidation), want)
	return s
}

// TestLiquidationSellsEverything has one SELL order for each open position, with the liquidation's id on it.
func TestLiquidationSellsEverything(t *testing.T) {
	s := activeAccount(t)
	s.does(t, holds(apple, "3.000001", 1), "position_recorded")
	s.does(t, holds(basf, "10", 1), "position_recorded")
	s.does(t, holds(world, "0", 1), "position_recorded")
	s.does(t, &RecordPosition{ISIN: "US5949181045", Quantity: "0", PendingSettlement: "4", Revision: 1}, "position_recorded")
	s.does(t, holds("GB0002634946", "-2", 1), "position_recorded")
	requested := s.clock.now.Add(minute)
	events := s.does(t, liquidate(someLiquidation), "liquidation_requested, order_placed, order_placed")
	sale := func(isin string, quantity Decimal) OrderPlaced {
		return OrderPlaced{OrderID: saleOf(someLiquidation, isin), UserID: owner, Side: Sell, ISIN: isin, Quantity: quantity, LiquidationID: someLiquidation}
	}
	require.Equal(t, []Event{LiquidationRequested{someLiquidation, owner}, sale(basf, "10"), sale(apple, "3.000001")}, events,
		"what waits for settlement was sold already, and what is owed cannot be sold")
	require.Equal(t, Liquidation{ID: someLiquidation, UserID: owner, Status: LiquidationNew, OrderIDs: []string{saleOf(someLiquidation, basf), saleOf(someLiquidation, apple)},
		CreatedAt: requested, UpdatedAt: requested}, liquidationOf(t, s, someLiquidation))
	shown := accountOf(s).OrderResource(orderOf(t, s, saleOf(someLiquidation, basf)))
	require.Equal(t, FlowLiquidation, shown.InitiationFlow)
	require.Equal(t, someLiquidation, *shown.LiquidationID)
	require.Equal(t, StatusActive, s.status(), "it does not close the account, and does not need CLOSING")
}

// TestLiquidationStatuses follows its orders and its positions to the end.
func TestLiquidationStatuses(t *testing.T) {
	s := liquidating(t, holds(apple, "3", 1), holds(basf, "10", 1))
	first, second := saleOf(someLiquidation, basf), saleOf(someLiquidation, apple)
	status := func() LiquidationStatus { return liquidationOf(t, s, someLiquidation).Status }
	s.does(t, orderIs(first, OrderProcessing, 1), "order_recorded, liquidation_processing")
	s.does(t, orderIs(second, OrderProcessing, 1), "order_recorded")
	s.does(t, orderIs(first, OrderFilled, 2), "order_recorded")
	require.Equal(t, LiquidationInProcess, status(), "one of two is filled")
	s.does(t, orderIs(second, OrderFilled, 2), "order_recorded, liquidation_filled")
	s.does(t, holds(apple, "0", 2), "position_recorded")
	s.does(t, &RecordPosition{ISIN: basf, Quantity: "0", PendingSettlement: "-10", Revision: 2}, "position_recorded")
	require.Equal(t, LiquidationAllFilled, status(), "something waits for settlement")
	settled := s.clock.now.Add(minute)
	s.does(t, holds(basf, "0.00", 3), "position_recorded, liquidation_settled")
	require.Equal(t, settled, liquidationOf(t, s, someLiquidation).UpdatedAt)
	s.does(t, holds(basf, "1", 4), "position_recorded")
	require.Equal(t, LiquidationAllSettled, status(), "SETTLED is the end: what comes later is for another one")
	s.does(t, liquidate(nextLiquidation), "liquidation_requested, order_placed")
}

// TestLiquidationJumps has several statuses in one commit: each is told.
func TestLiquidationJumps(t *testing.T) {
	s := liquidating(t, holds(basf, "10", 1))
	events := s.does(t, orderIs(saleOf(someLiquidation, basf), OrderFilled, 1), "order_recorded, liquidation_processing, liquidation_filled")
	var types []string
	for _, p := range Publish(s.agg, events) {
		types = append(types, p.Type)
	}
	require.Equal(t, []string{"ORDER.FILLED", "ACCOUNT_LIQUIDATION.PROCESSING", "ACCOUNT_LIQUIDATION.FILLED"}, types)

	sold := liquidating(t, holds(basf, "10", 1))
	sold.does(t, holds(basf, "0", 2), "position_recorded")
	require.Equal(t, LiquidationNew, liquidationOf(t, sold, someLiquidation).Status, "its order is open still")
	sold.does(t, orderIs(saleOf(someLiquidation, basf), OrderFilled, 1), "order_recorded, liquidation_processing, liquidation_filled, liquidation_settled")

	closing := liquidating(t, holds(basf, "10", 1))
	closing.does(t, &RequestAccountClosure{}, "closing_initiated")
	closing.does(t, orderIs(saleOf(someLiquidation, basf), OrderFilled, 1), "order_recorded, liquidation_processing, liquidation_filled")
	closing.does(t, holds(basf, "0", 2), "position_recorded, liquidation_settled, closed")
}

// TestCancelledOrderOfALiquidation does not count once its position is gone, however that came about.
func TestCancelledOrderOfALiquidation(t *testing.T) {
	s := liquidating(t, holds(apple, "3", 1), holds(basf, "10", 1))
	s.does(t, orderIs(saleOf(someLiquidation, basf), OrderCancelled, 1), "order_recorded")
	require.Equal(t, LiquidationNew, liquidationOf(t, s, someLiquidation).Status, "a cancelled order executes nothing")
	s.does(t, orderIs(saleOf(someLiquidation, apple), OrderFilled, 1), "order_recorded, liquidation_processing")
	s.does(t, holds(apple, "0", 2), "position_recorded")
	s.does(t, holds(basf, "4", 2), "position_recorded")
	require.Equal(t, LiquidationInProcess, liquidationOf(t, s, someLiquidation).Status, "the position of the cancelled order is held")
	s.does(t, &RecordPosition{ISIN: basf, Quantity: "0", PendingSettlement: "-4", Revision: 3}, "position_recorded, liquidation_filled")
	s.does(t, holds(basf, "0", 4), "position_recorded, liquidation_settled")
}

// TestPositionThatComesInto has what changes while a liquidation runs: a new instrument gets an order, and one that was sold gets no second.
func TestPositionThatComesInto(t *testing.T) {
	s := liquidating(t, holds(basf, "10", 1))
	s.does(t, &RequestAccountClosure{}, "closing_initiated")
	s.does(t, orderIs(saleOf(someLiquidation, basf), OrderFilled, 1), "order_recorded, liquidation_processing, liquidation_filled")
	s.does(t, holds(apple, "2", 1), "position_recorded")
	require.Len(t, liquidationOf(t, s, someLiquidation).OrderIDs, 1, "it is over, but for the settlement")

	s = liquidating(t, holds(basf, "10", 1))
	s.does(t, holds(basf, "15", 2), "position_recorded")
	events := s.does(t, holds(apple, "2", 1), "position_recorded, order_placed")
	require.Equal(t, OrderPlaced{OrderID: saleOf(someLiquidation, apple), UserID: owner, Side: Sell, ISIN: apple, Quantity: "2", LiquidationID: someLiquidation}, events[1])
	s.does(t, holds(apple, "5", 2), "position_recorded")
	s.does(t, holds(world, "-1", 1), "position_recorded")
	s.does(t, holds(world, "1", 2), "position_recorded, order_placed")
	s.does(t, orderIs(saleOf(someLiquidation, world), OrderProcessing, 1), "order_recorded, liquidation_processing")
	s.does(t, holds("US5949181045", "1", 1), "position_recorded, order_placed")
	s.does(t, &Lock{}, "locked")
	s.does(t, holds("GB0002634946", "1", 1), "position_recorded")
	s.does(t, &Unlock{}, "unlocked, order_placed")
	s.does(t, holds("GB0002634946", "1", 2), "position_recorded")
	require.Len(t, liquidationOf(t, s, someLiquidation).OrderIDs, 5)
}

// TestNothingIsSoldTwice: what open SELL orders are about to sell is not sold once more.
func TestNothingIsSoldTwice(t *testing.T) {
	s := activeAccount(t)
	s.does(t, holds(basf, "10", 1), "position_recorded")
	s.does(t, holds(apple, "3", 1), "position_recorded")
	s.does(t, order(someOrder, Sell, basf, "2.5"), "order_placed")
	s.does(t, order(nextOrder, Sell, basf, "0.5"), "order_placed")
	s.does(t, order(DeriveID("all"), Sell, apple, "3"), "order_placed")
	s.does(t, order(DeriveID("buy"), Buy, basf, "100"), "order_placed")
	s.does(t, orderIs(nextOrder, OrderCancelled, 1), "order_recorded")
	events := s.does(t, liquidate(someLiquidation), "liquidation_requested, order_placed")
	require.Equal(t, Decimal("7.5"), events[1].(OrderPlaced).Quantity)
	s.does(t, takeBack(someLiquidation), "liquidation_cancelled, order_cancellation_requested")
	require.Contains(t, s.refuses(t, liquidate(nextLiquidation), Conflict).Detail, "that SELL orders do not sell already",
		"the orders of the one that was taken back are open until the order service says otherwise")
	s.does(t, orderIs(saleOf(someLiquidation, basf), OrderCancelled, 1), "order_recorded")
	events = s.does(t, liquidate(nextLiquidation), "liquidation_requested, order_placed")
	require.Equal(t, Decimal("7.5"), events[1].(OrderPlaced).Quantity)
	require.NotEqual(t, saleOf(someLiquidation, basf), events[1].(OrderPlaced).OrderID)
}

// TestWhatIsSoldAndNotYetRecorded is not sold by the next liquidation: an order is known to be filled before custody says so.
func TestWhatIsSoldAndNotYetRecorded(t *testing.T) {
	s := liquidating(t, holds(basf, "10", 1))
	s.does(t, orderIs(saleOf(someLiquidation, basf), OrderFilled, 1), "order_recorded, liquidation_processing, liquidation_filled")
	require.Contains(t, s.refuses(t, liquidate(nextLiquidation), Conflict).Detail, "nothing to sell")
	s.does(t, holds(basf, "4", 2), "position_recorded")
	events := s.does(t, liquidate(nextLiquidation), "liquidation_requested, order_placed")
	require.Equal(t, Decimal("4"), events[1].(OrderPlaced).Quantity)
}

// TestWhatIsSoldInPart: of an order that was cancelled a part may be sold, and of one by cash amount it may be said how much was.
// Neither is sold again, and a liquidation of which a part is sold is not taken back.
func TestWhatIsSoldInPart(t *testing.T) {
	s := activeAccount(t)
	s.does(t, holds(basf, "10", 1), "position_recorded")
	s.does(t, order(someOrder, Sell, basf, "5"), "order_placed")
	s.does(t, &PlaceOrder{OrderID: nextOrder, Side: Sell, ISIN: basf, CashAmount: "500", Currency: "EUR"}, "order_placed")
	s.does(t, orderDid(someOrder, OrderCancelled, "2.5", 1), "order_recorded")
	s.does(t, orderDid(nextOrder, OrderProcessing, "1", 1), "order_recorded")
	require.Contains(t, s.refuses(t, liquidate(someLiquidation), Conflict).Detail, nextOrder, "it goes on")
	s.does(t, orderDid(nextOrder, OrderCancelled, "1.5", 2), "order_recorded")
	sale := s.does(t, liquidate(someLiquidation), "liquidation_requested, order_placed")[1].(OrderPlaced)
	require.Equal(t, Decimal("6"), sale.Quantity)
	s.does(t, orderDid(sale.OrderID, OrderCancelled, "4", 1), "order_recorded, liquidation_processing")
	require.Contains(t, s.refuses(t, takeBack(someLiquidation), Conflict).Detail, "the liquidation is PROCESSING")
	s.does(t, holds(basf, "2", 2), "position_recorded")
	s.does(t, order(thirdOrder, Sell, basf, "2"), "order_placed")
	s.does(t, orderDid(thirdOrder, OrderFilled, "2", 1), "order_recorded")
	s.does(t, holds(basf, "0", 3), "position_recorded, liquidation_filled, liquidation_settled")

	s = liquidating(t, holds(basf, "10", 1))
	s.does(t, orderDid(saleOf(someLiquidation, basf), OrderCancelled, "0", 1), "order_recorded")
	s.does(t, takeBack(someLiquidation), "liquidation_cancelled")
}

// TestASaleByCashAmount: how much of its instrument is left nobody knows, so that a liquidation waits for it.
func TestASaleByCashAmount(t *testing.T) {
	s := activeAccount(t)
	s.does(t, holds(basf, "10", 1), "position_recorded")
	s.does(t, &PlaceOrder{OrderID: someOrder, Side: Sell, ISIN: basf, CashAmount: "500", Currency: "EUR"}, "order_placed")
	require.Contains(t, s.refuses(t, liquidate(someLiquidation), Conflict).Detail, someOrder)
	s.does(t, orderIs(someOrder, OrderFilled, 1), "order_recorded")
	s.refuses(t, liquidate(someLiquidation), Conflict)
	s.does(t, holds(basf, "4", 2), "position_recorded")
	events := s.does(t, liquidate(someLiquidation), "liquidation_requested, order_placed")
	require.Equal(t, Decimal("4"), events[1].(OrderPlaced).Quantity)
	s.does(t, &PlaceOrder{OrderID: nextOrder, Side: Sell, ISIN: apple, CashAmount: "1", Currency: "EUR"}, "order_placed")
	s.does(t, holds(apple, "1", 1), "position_recorded")
}

// TestOneActiveLiquidation has what refuses a liquidation.
func TestOneActiveLiquidation(t *testing.T) {
	empty := activeAccount(t)
	require.Contains(t, empty.refuses(t, liquidate(someLiquidation), Conflict).Detail, "nothing to sell")
	empty.does(t, holds(basf, "-1", 1), "position_recorded")
	empty.refuses(t, liquidate(someLiquidation), Conflict)

	s := liquidating(t, holds(basf, "10", 1))
	for _, status := range []LiquidationStatus{LiquidationNew, LiquidationInProcess} {
		require.Equal(t, status, liquidationOf(t, s, someLiquidation).Status)
		refusal := s.refuses(t, liquidate(nextLiquidation), Conflict)
		require.Contains(t, refusal.Detail, "the liquidation "+someLiquidation+" is "+string(status))
		s.does(t, liquidate(someLiquidation), "")
		s.try(t, s.command(orderIs(saleOf(someLiquidation, basf), OrderProcessing, 1)))
	}
	require.Contains(t, s.refuses(t, &RequestLiquidation{LiquidationID: nextLiquidation, UserID: guardian}, Invalid).Detail, "user_id: must be a user of the account")
	require.Contains(t, s.refuses(t, &RequestLiquidation{LiquidationID: someLiquidation, UserID: child}, Conflict).Detail, "with other content")
}

// TestCancelLiquidation is possible while it is NEW, and asks for the cancellation of its orders alone.
func TestCancelLiquidation(t *testing.T) {
	s := liquidating(t, holds(basf, "10", 1), holds(apple, "3", 1))
	s.does(t, order(someOrder, Sell, world, "1"), "order_placed")
	s.does(t, orderIs(saleOf(someLiquidation, apple), OrderCancelled, 1), "order_recorded")
	cancelled := s.clock.now.Add(minute)
	events := s.does(t, takeBack(someLiquidation), "liquidation_cancelled, order_cancellation_requested")
	require.Equal(t, OrderCancellationRequested{saleOf(someLiquidation, basf)}, events[1])
	require.Equal(t, LiquidationTakenBack, liquidationOf(t, s, someLiquidation).Status)
	require.Equal(t, cancelled, liquidationOf(t, s, someLiquidation).UpdatedAt)
	require.False(t, orderOf(t, s, someOrder).CancellationRequested)
	s.does(t, orderIs(saleOf(someLiquidation, basf), OrderFilled, 1), "order_recorded")
	require.Equal(t, LiquidationTakenBack, liquidationOf(t, s, someLiquidation).Status, "filled all the same: CANCELLED stays")
	s.does(t, liquidate(someLiquidation), "") // the id was used
	require.Contains(t, s.refuses(t, takeBack(nextLiquidation), NotFound).Detail, nextLiquidation)

	closing := liquidating(t, holds(basf, "10", 1))
	closing.does(t, takeBack(someLiquidation), "liquidation_cancelled, order_cancellation_requested")
	closing.does(t, &RequestAccountClosure{}, "closing_initiated")
	require.Len(t, accountOf(closing).Liquidations(), 1)

	started := liquidating(t, holds(basf, "10", 1))
	for revision, status := range map[int64]LiquidationStatus{1: LiquidationInProcess, 2: LiquidationAllFilled} {
		s := liquidating(t, holds(basf, "10", 1))
		s.try(t, s.command(orderIs(saleOf(someLiquidation, basf), pick(revision == 1, OrderProcessing, OrderFilled), revision)))
		require.Contains(t, s.refuses(t, takeBack(someLiquidation), Conflict).Detail, "the liquidation is "+string(status))
	}
	started.does(t, orderIs(saleOf(someLiquidation, basf), OrderFilled, 1), "order_recorded, liquidation_processing, liquidation_filled")
	started.does(t, holds(basf, "0", 2), "position_recorded, liquidation_settled")
	require.Contains(t, started.refuses(t, takeBack(someLiquidation), Conflict).Detail, "the liquidation is SETTLED")
}

// TestLiquidationResource is what clients see, and what is published of each status.
func TestLiquidationResource(t *testing.T) {
	s := activeAccount(t)
	s.does(t, holds(basf, "10", 1), "position_recorded")
	events := s.does(t, liquidate(nextLiquidation), "liquidation_requested, order_placed")
	published := Publish(s.agg, events)
	require.Equal(t, []string{"ACCOUNT_LIQUIDATION.NEW", "ORDER.NEW"}, []string{published[0].Type, published[1].Type})
	l := liquidationOf(t, s, nextLiquidation)
	require.Equal(t, LiquidationResource{ID: nextLiquidation, CreatedAt: l.CreatedAt, UpdatedAt: l.UpdatedAt, UserID: owner, AccountID: firstAccount,
		Status: LiquidationNew, Orders: []LiquidationOrder{{saleOf(nextLiquidation, basf), Sell, OrderNew}}}, published[0].Body,
		"with its orders, as it is after the commit")
	s.does(t, takeBack(nextLiquidation), "liquidation_cancelled, order_cancellation_requested")
	s.does(t, orderIs(saleOf(nextLiquidation, basf), OrderCancelled, 1), "order_recorded")
	s.does(t, liquidate(someLiquidation), "liquidation_requested, order_placed")
	all := accountOf(s).Liquidations()
	require.Equal(t, []string{nextLiquidation, someLiquidation}, []string{all[0].ID, all[1].ID}, "the oldest first")
}
