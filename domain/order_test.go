package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func accountOf(s *stage) *Account { return s.agg.(*Account) }

// orderOf is an order of the stage, which has to be there.
func orderOf(t rapid.TB, s *stage, id string) Order {
	t.Helper()
	o, ok := accountOf(s).Order(id)
	require.True(t, ok, "there is no order %s", id)
	return o
}

// TestOrdersByStatus: an ACTIVE account takes BUY and SELL, a CLOSING one only SELL, and the others none.
func TestOrdersByStatus(t *testing.T) {
	for _, c := range []struct {
		begin     func(rapid.TB) *stage
		buy, sell string // the refusal; "" for accepted
	}{
		{activeAccount, "", ""},
		{closingAccount, "the account is CLOSING: it takes SELL orders only, got BUY", ""},
		{closedAccount, "the account is CLOSED", "the account is CLOSED"},
		{after(activeAccount, &Lock{}), "the account is LOCKED", "the account is LOCKED"},
		{after(closingAccount, &Lock{}), "the account is LOCKED", "the account is LOCKED"},
		{after(unopened(KindAccount, firstAccount), openAccount(StatusPendingApproval)), "the account is PENDING_APPROVAL", "the account is PENDING_APPROVAL"},
	} {
		for side, want := range map[OrderSide]string{Buy: c.buy, Sell: c.sell} {
			s := c.begin(t)
			if want == "" {
				s.does(t, order(someOrder, side, basf, "1"), "order_placed")
				continue
			}
			refusal := s.refuses(t, order(someOrder, side, basf, "1"), Unprocessable)
			require.Contains(t, refusal.Detail, want, side)
			_, ok := accountOf(s).Order(someOrder)
			require.False(t, ok)
		}
	}
}

// TestPlacedOrder has what is recorded and shown, by quantity and by cash amount.
func TestPlacedOrder(t *testing.T) {
	s := activeAccount(t)
	placed := s.clock.now.Add(minute)
	events := s.does(t, order(someOrder, Sell, basf, "1.50"), "order_placed")
	require.Equal(t, OrderPlaced{OrderID: someOrder, UserID: owner, Side: Sell, ISIN: basf, Quantity: "1.50"}, events[0], "without a user it is the owner's")
	byCash := &PlaceOrder{OrderID: nextOrder, UserID: owner, Side: Buy, ISIN: apple, CashAmount: "99.90", Currency: "USD"}
	s.does(t, byCash, "order_placed")
	quantity, currency, amount := Decimal("1.50"), "USD", Decimal("99.90")
	show := accountOf(s).OrderResource(orderOf(t, s, someOrder))
	require.Equal(t, OrderResource{ID: someOrder, CreatedAt: placed, UpdatedAt: placed, AccountID: firstAccount, UserID: owner, Side: Sell, InstrumentID: basf,
		InstrumentIDType: "ISIN", OrderType: "MARKET", Quantity: &quantity, Status: OrderNew, InitiationFlow: FlowAPI}, show)
	show = accountOf(s).OrderResource(orderOf(t, s, nextOrder))
	require.Equal(t, []any{(*Decimal)(nil), &amount, &currency}, []any{show.Quantity, show.CashAmount, show.Currency})

	stranger := order(thirdAccount, Buy, basf, "1")
	stranger.UserID = guardian
	require.Contains(t, s.refuses(t, stranger, Unprocessable).Detail, "user_id: must be a user of the account")
	_, ok := accountOf(s).Order(thirdAccount)
	require.False(t, ok)
}

// TestOrderOfAFamily is the child's, since a guardian owns nothing.
func TestOrderOfAFamily(t *testing.T) {
	s, open := newStage(KindAccount, firstAccount), openAccount(StatusActive)
	open.Link.Users = []Party{{guardian, Guardian}, {child, Child}}
	s.does(t, open, "opened, activated")
	require.Equal(t, child, s.does(t, order(someOrder, Buy, basf, "1"), "order_placed")[0].(OrderPlaced).UserID)
	asked := order(nextOrder, Buy, basf, "1")
	asked.UserID = guardian
	require.Equal(t, guardian, s.does(t, asked, "order_placed")[0].(OrderPlaced).UserID)
}

// TestOrderIDs: an id that is taken is unchanged with the same content, in whatever status, and a conflict with other content.
func TestOrderIDs(t *testing.T) {
	s := activeAccount(t)
	s.does(t, holds(basf, "10", 1), "position_recorded")
	s.does(t, order(someOrder, Buy, basf, "1"), "order_placed")
	s.does(t, liquidate(someLiquidation), "liquidation_requested, order_placed")
	change := func(f func(*PlaceOrder)) *PlaceOrder { p := order(someOrder, Buy, basf, "1"); f(p); return p }
	for what, other := range map[string]*PlaceOrder{
		"side":                      change(func(p *PlaceOrder) { p.Side = Sell }),
		"isin":                      change(func(p *PlaceOrder) { p.ISIN = apple }),
		"quantity":                  change(func(p *PlaceOrder) { p.Quantity = "1.0" }),
		"by cash":                   {OrderID: someOrder, Side: Buy, ISIN: basf, CashAmount: "1", Currency: "EUR"},
		"user":                      change(func(p *PlaceOrder) { p.UserID = guardian }),
		"an order of a liquidation": order(saleOf(someLiquidation, basf), Sell, basf, "10"),
	} {
		require.Contains(t, s.refuses(t, other, Conflict).Detail, "is taken by an order with other content", what)
	}
	s.does(t, &RequestAccountClosure{}, "closing_initiated, order_cancellation_requested")
	s.does(t, order(someOrder, Buy, basf, "1"), "")
	named := order(someOrder, Buy, basf, "1")
	named.UserID = owner
	s.does(t, named, "")
}

// TestOpenOrdersBlock: NEW and PROCESSING do, and the one that ends last closes the account in its own commit.
func TestOpenOrdersBlock(t *testing.T) {
	request := &RequestAccountClosure{}
	tell(t, []story{
		{"filled and cancelled", activeAccount, []step{
			{order(someOrder, Sell, basf, "1"), "order_placed", StatusActive, "OPEN_ORDERS"},
			{request, "closing_initiated", StatusClosing, "OPEN_ORDERS"},
			{order(nextOrder, Sell, basf, "1"), "order_placed", StatusClosing, "OPEN_ORDERS"},
			{orderIs(someOrder, OrderProcessing, 1), "order_recorded", StatusClosing, "OPEN_ORDERS"},
			{orderIs(someOrder, OrderCancelled, 2), "order_recorded", StatusClosing, "OPEN_ORDERS"},
			{orderIs(nextOrder, OrderFilled, 1), "order_recorded, closed", StatusClosed, ""},
		}},
		{"ended before the request", activeAccount, []step{
			{order(someOrder, Buy, basf, "1"), "order_placed", StatusActive, "OPEN_ORDERS"},
			{orderIs(someOrder, OrderCancelled, 1), "order_recorded", StatusActive, ""},
			{request, "closing_initiated, closed", StatusClosed, ""},
		}},
		{"under a lock", closingAccount, []step{
			{order(someOrder, Sell, basf, "10"), "order_placed", StatusClosing, "OPEN_POSITIONS, OPEN_ORDERS"},
			{&Lock{}, "locked", StatusLocked, "OPEN_POSITIONS, OPEN_ORDERS, LOCKED"},
			{orderIs(someOrder, OrderFilled, 1), "order_recorded", StatusLocked, "OPEN_POSITIONS, LOCKED"},
			{holds(basf, "0", 2), "position_recorded", StatusLocked, "LOCKED"},
			{&Unlock{}, "unlocked, closed", StatusClosed, ""},
		}},
		{"a BUY that is filled all the same: its position is one more to sell", activeAccount, []step{
			{order(someOrder, Buy, basf, "5"), "order_placed", StatusActive, "OPEN_ORDERS"},
			{request, "closing_initiated, order_cancellation_requested", StatusClosing, "OPEN_ORDERS"},
			{holds(basf, "5", 1), "position_recorded", StatusClosing, "OPEN_POSITIONS, OPEN_ORDERS"},
			{orderIs(someOrder, OrderFilled, 1), "order_recorded", StatusClosing, "OPEN_POSITIONS"},
			{order(nextOrder, Sell, basf, "5"), "order_placed", StatusClosing, "OPEN_POSITIONS, OPEN_ORDERS"},
			{holds(basf, "0", 2), "position_recorded", StatusClosing, "OPEN_ORDERS"},
			{orderIs(nextOrder, OrderFilled, 1), "order_recorded, closed", StatusClosed, ""},
		}},
	})
	s := after(activeAccount, &PlaceOrder{OrderID: nextOrder, Side: Buy, ISIN: apple, CashAmount: "5", Currency: "USD"}, order(someOrder, Sell, basf, "2"))(t)
	require.Equal(t, []Item{{ID: someOrder, ISIN: basf, Status: "NEW", Quantity: "2"}, {ID: nextOrder, ISIN: apple, Status: "NEW", Amount: "5", Currency: "USD"}},
		find(s.closure().Blockers, OpenOrders).Items)
}

// TestABuyThatFillsAllTheSame: what it bought is one more thing to sell, also when the order service says so before custody does.
func TestABuyThatFillsAllTheSame(t *testing.T) {
	s := activeAccount(t)
	s.does(t, holds(basf, "1", 4), "position_recorded")
	s.does(t, order(someOrder, Buy, basf, "2"), "order_placed")
	s.does(t, order(nextOrder, Buy, apple, "2"), "order_placed")
	s.does(t, &RequestAccountClosure{}, "closing_initiated, order_cancellation_requested, order_cancellation_requested")
	// Custody is first for one, the order service for the other.
	s.does(t, holds(basf, "3", 5), "position_recorded")
	s.does(t, orderIs(someOrder, OrderFilled, 1), "order_recorded")
	s.does(t, holds(basf, "0", 6), "position_recorded")
	s.does(t, orderIs(nextOrder, OrderFilled, 1), "order_recorded")
	require.Equal(t, "OPEN_ORDERS", codes(s.closure().Blockers), "filled, and what it bought is not recorded yet")
	require.Equal(t, "FILLED", s.closure().Blockers[0].Items[0].Status)
	s.does(t, holds(apple, "2", 1), "position_recorded")
	require.Equal(t, "OPEN_POSITIONS", codes(s.closure().Blockers))
	s.does(t, holds(apple, "0", 2), "position_recorded, closed")
}

// TestCancellationIsRequestedOnce: of each BUY that is open when closing is asked for, and of no other.
func TestCancellationIsRequestedOnce(t *testing.T) {
	s := activeAccount(t)
	processing, done, sale := DeriveID("a"), DeriveID("b"), DeriveID("c")
	for _, id := range []string{someOrder, processing, done} {
		s.does(t, order(id, Buy, basf, "1"), "order_placed")
	}
	s.does(t, order(sale, Sell, basf, "1"), "order_placed")
	s.does(t, orderIs(processing, OrderProcessing, 1), "order_recorded")
	s.does(t, orderIs(done, OrderFilled, 1), "order_recorded")
	events := s.does(t, &RequestAccountClosure{}, "closing_initiated, order_cancellation_requested, order_cancellation_requested")
	require.ElementsMatch(t, []Event{OrderCancellationRequested{someOrder}, OrderCancellationRequested{processing}}, events[1:])
	for id, asked := range map[string]bool{someOrder: true, processing: true, done: false, sale: false} {
		require.Equal(t, asked, orderOf(t, s, id).CancellationRequested, id)
	}
	s.does(t, &RequestAccountClosure{}, "")
	require.Equal(t, OrderNew, orderOf(t, s, someOrder).Status, "it is asked for, and the order service says what becomes of it")
}

// TestOrderFacts come twice, late and out of order.
func TestOrderFacts(t *testing.T) {
	s := activeAccount(t)
	require.True(t, IsFact(orderIs(someOrder, OrderFilled, 1)))
	require.Contains(t, s.refuses(t, orderIs(someOrder, OrderFilled, 1), NotFound).Detail, someOrder, "not of this account, or not yet")
	s.does(t, order(someOrder, Sell, basf, "1"), "order_placed")
	s.does(t, order(nextOrder, Sell, basf, "1"), "order_placed")
	moved := s.clock.now.Add(minute)
	events := s.does(t, orderIs(someOrder, OrderFilled, 5), "order_recorded")
	require.Equal(t, OrderRecorded{OrderID: someOrder, Status: OrderFilled, PreviousStatus: OrderNew, Revision: 5}, events[0])
	s.does(t, orderIs(someOrder, OrderProcessing, 4), "")
	s.does(t, orderIs(someOrder, OrderCancelled, 5), "")
	events = s.does(t, orderIs(someOrder, OrderFilled, 6), "order_recorded")
	require.Equal(t, OrderFilled, events[0].(OrderRecorded).PreviousStatus)
	require.Equal(t, moved, orderOf(t, s, someOrder).UpdatedAt, "the same status again is recorded, and is no change of it")
	require.Empty(t, Publish(s.agg, events), "nor is it told to anybody")
	s.does(t, orderIs(nextOrder, OrderProcessing, 1), "order_recorded")
	require.Equal(t, []int64{6, 1}, []int64{orderOf(t, s, someOrder).Revision, orderOf(t, s, nextOrder).Revision}, "each order has revisions of its own")
}

// TestOrderFactsAfterClosed: one that says that an order is being executed is to be reconciled, once for each revision.
func TestOrderFactsAfterClosed(t *testing.T) {
	s := activeAccount(t)
	s.does(t, order(someOrder, Buy, basf, "5"), "order_placed")
	s.does(t, &RequestAccountClosure{}, "closing_initiated, order_cancellation_requested")
	s.does(t, orderIs(someOrder, OrderCancelled, 2), "order_recorded, closed")
	s.does(t, orderIs(someOrder, OrderProcessing, 1), "")
	required := s.does(t, orderIs(someOrder, OrderProcessing, 3), "order_recorded, reconciliation_required")[1].(ReconciliationRequired)
	require.Equal(t, OpenOrders, required.Blocker)
	require.Equal(t, Item{ID: someOrder, ISIN: basf, Status: "PROCESSING", Quantity: "5"}, required.Item)
	s.does(t, orderIs(someOrder, OrderProcessing, 3), "")
	s.does(t, orderIs(someOrder, OrderFilled, 4), "order_recorded, reconciliation_required")
	s.does(t, holds(basf, "5", 1), "position_recorded, reconciliation_required")
	s.does(t, orderIs(someOrder, OrderFilled, 5), "order_recorded")
	require.Equal(t, StatusClosed, s.status())
	require.Len(t, s.closure().Reconciliation, 3)
	require.Empty(t, s.closure().Blockers)
}

// TestPublishedOrders has the type and the body that the order service sees.
func TestPublishedOrders(t *testing.T) {
	s := activeAccount(t)
	types := func(p Payload, want string) (out []string) {
		for _, publication := range Publish(s.agg, s.does(t, p, want)) {
			out = append(out, publication.Type)
			if o, ok := publication.Body.(OrderResource); ok {
				require.Equal(t, accountOf(s).OrderResource(orderOf(t, s, o.ID)), o)
				require.Equal(t, o.ID, publication.ResourceID)
			}
		}
		return out
	}
	require.Equal(t, []string{"ORDER.NEW"}, types(order(someOrder, Buy, basf, "5"), "order_placed"))
	require.Equal(t, []string{"ORDER.PROCESSING"}, types(orderIs(someOrder, OrderProcessing, 1), "order_recorded"))
	require.Equal(t, []string{"ACCOUNT.CLOSING_INITIATED", "ORDER.CANCELLATION_REQUESTED"}, types(&RequestAccountClosure{}, "closing_initiated, order_cancellation_requested"))
	require.Equal(t, []string{"ORDER.CANCELLED", "ACCOUNT.CLOSED"}, types(orderIs(someOrder, OrderCancelled, 2), "order_recorded, closed"))
	require.Equal(t, []string{"ORDER.FILLED", "CLOSURE.RECONCILIATION_REQUIRED"}, types(orderIs(someOrder, OrderFilled, 3), "order_recorded, reconciliation_required"))
}
