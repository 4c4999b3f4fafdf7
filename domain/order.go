package domain

import (
	"maps"
	"slices"
	"time"
)

// Events

type (
	// OrderPlaced asked the order service for an order. It has either a quantity, or a cash amount with its currency.
	OrderPlaced struct {
		OrderID       string    `json:"order_id"`
		UserID        string    `json:"user_id"`
		Side          OrderSide `json:"side"`
		ISIN          string    `json:"isin"`
		Quantity      Decimal   `json:"quantity,omitempty"`
		CashAmount    Decimal   `json:"cash_amount,omitempty"`
		Currency      string    `json:"currency,omitempty"`
		LiquidationID string    `json:"liquidation_id,omitempty"`
	}
	// OrderRecorded states how far an order is, and how far it was. FilledQuantity is how much of the instrument was bought or
	// sold up to then; absent when that is not known. What is CANCELLED has it always.
	OrderRecorded struct {
		OrderID        string      `json:"order_id"`
		Status         OrderStatus `json:"status"`
		PreviousStatus OrderStatus `json:"previous_status"`
		FilledQuantity Decimal     `json:"filled_quantity,omitempty"`
		Revision       int64       `json:"revision"`
	}
	// OrderCancellationRequested asked the order service to cancel an open order. It comes once for an order.
	OrderCancellationRequested struct {
		OrderID string `json:"order_id"`
	}
)

func (OrderPlaced) eventName() string                { return "order_placed" }
func (OrderRecorded) eventName() string              { return "order_recorded" }
func (OrderCancellationRequested) eventName() string { return "order_cancellation_requested" }

func (e OrderPlaced) order() string                { return e.OrderID }
func (e OrderRecorded) order() string              { return e.OrderID }
func (e OrderCancellationRequested) order() string { return e.OrderID }

// State

type (
	// OrderSide is what an order does.
	OrderSide string
	// OrderStatus is how far an order is.
	OrderStatus string
	// InitiationFlow is where an order comes from.
	InitiationFlow string
)

// The sides of an order.
const (
	Buy  OrderSide = "BUY"
	Sell OrderSide = "SELL"
)

// The statuses of an order. NEW and PROCESSING block.
const (
	OrderNew        OrderStatus = "NEW"
	OrderProcessing OrderStatus = "PROCESSING"
	OrderFilled     OrderStatus = "FILLED"
	OrderCancelled  OrderStatus = "CANCELLED"
)

// Where an order comes from.
const (
	FlowAPI         InitiationFlow = "API"
	FlowLiquidation InitiationFlow = "ACCOUNT_LIQUIDATION"
)

// Order is an order of an account, as last recorded.
type Order struct {
	ID, UserID, ISIN     string
	Side                 OrderSide
	Quantity, CashAmount Decimal
	Currency             string
	LiquidationID        string
	Status               OrderStatus
	// FilledQuantity is how much of the instrument was bought or sold; "" when that is not known.
	FilledQuantity       Decimal
	Revision             int64
	CreatedAt, UpdatedAt time.Time
	// positionRevision is that of the instrument's position when the order was placed.
	positionRevision int64
	// CancellationRequested: the order service was asked to cancel it.
	CancellationRequested bool
}

func (o Order) open() bool { return orderOpen(o.Status) }

func orderOpen(s OrderStatus) bool { return s == OrderNew || s == OrderProcessing }

// executed tells whether anything was bought or sold, as far as it is known.
func (o Order) executed() bool {
	return o.Status == OrderFilled || o.FilledQuantity != "" && !o.FilledQuantity.IsZero()
}

// flow is where the order comes from.
func (o Order) flow() InitiationFlow {
	if o.LiquidationID != "" {
		return FlowLiquidation
	}
	return FlowAPI
}

// item shows the quantity that counts: what was asked for, or what came of it.
func (o Order) item(id string) Item {
	quantity := o.Quantity
	if !o.open() && o.FilledQuantity != "" {
		quantity = o.FilledQuantity
	}
	return Item{ID: id, ISIN: o.ISIN, Status: string(o.Status), Quantity: quantity, Amount: o.CashAmount, Currency: o.Currency}
}

// Order finds an order of the account.
func (a *Account) Order(id string) (Order, bool) {
	o, ok := a.orders[id]
	return o, ok
}

// openOrders lists what blocks, by id.
func (a *Account) openOrders() []Order {
	var open []Order
	for _, id := range slices.Sorted(maps.Keys(a.orders)) {
		if o := a.orders[id]; o.open() {
			open = append(open, o)
		}
	}
	return open
}

// waitsFor tells whether closing waits for an order: while it is open, and while what a BUY bought is not known yet, since that
// is one more thing to sell.
func (a *Account) waitsFor(o Order) bool { return o.open() || o.Side == Buy && a.unreported(o) }

// unreported tells of an order that has ended, in full or in part executed, before its instrument's position was recorded again:
// what is held is not known yet. The two facts come from two sources, in any order, and nothing links them: any later revision of
// the position counts as the one that shows the order.
func (a *Account) unreported(o Order) bool {
	return !o.open() && o.executed() && a.positions[o.ISIN].Revision <= o.positionRevision
}

// sells is how much of its instrument a SELL order is about to sell, or has sold without it showing yet; "" when nobody knows.
func (a *Account) sells(o Order) Decimal {
	switch {
	case o.Side != Sell, !o.open() && !a.unreported(o):
		return "0"
	case !o.open() && o.FilledQuantity != "":
		return o.FilledQuantity
	}
	return o.Quantity // none of one by cash amount
}

// inSale is the quantity of an instrument that SELL orders are about to sell, or have sold without it showing yet.
func (a *Account) inSale(isin string) Decimal {
	sum := Decimal("0")
	for _, o := range a.orders {
		if o.ISIN == isin {
			sum = sum.Add(a.sells(o))
		}
	}
	return sum
}

// inCashSale is a SELL order by cash amount that is about to sell an instrument: how much of it nobody knows.
func (a *Account) inCashSale(isin string) (o Order, ok bool) {
	for _, id := range slices.Sorted(maps.Keys(a.orders)) {
		if o := a.orders[id]; o.ISIN == isin && a.sells(o) == "" {
			return o, true
		}
	}
	return Order{}, false
}

// Evolve

func (a *Account) orderPlaced(m Meta, e OrderPlaced) {
	own(&a.orders, &a.borrowed.orders)[e.OrderID] = Order{
		ID: e.OrderID, UserID: e.UserID, ISIN: e.ISIN, Side: e.Side, Quantity: e.Quantity, CashAmount: e.CashAmount, Currency: e.Currency,
		LiquidationID: e.LiquidationID, Status: OrderNew, CreatedAt: m.Time, UpdatedAt: m.Time,
		positionRevision: a.positions[e.ISIN].Revision,
	}
	if l, ok := a.liquidations[e.LiquidationID]; ok {
		l.OrderIDs = append(slices.Clone(l.OrderIDs), e.OrderID)
		own(&a.liquidations, &a.borrowed.liquidations)[e.LiquidationID] = l
	}
}

func (a *Account) orderRecorded(m Meta, e OrderRecorded) {
	o := a.orders[e.OrderID]
	if o.Status != e.Status {
		o.UpdatedAt = m.Time
	}
	o.Status, o.FilledQuantity, o.Revision = e.Status, e.FilledQuantity, e.Revision
	own(&a.orders, &a.borrowed.orders)[e.OrderID] = o
}

func (a *Account) cancellationRequested(e OrderCancellationRequested) {
	o := a.orders[e.OrderID]
	o.CancellationRequested = true
	own(&a.orders, &a.borrowed.orders)[e.OrderID] = o
}

// Decide

// placeOrder takes a BUY while the account is ACTIVE, and a SELL also while it is CLOSING.
func (a *Account) placeOrder(p *PlaceOrder) ([]Event, error) {
	userID := p.UserID
	if userID == "" {
		userID = a.firstOwner()
	}
	e := OrderPlaced{
		OrderID: p.OrderID, UserID: userID, Side: p.Side, ISIN: p.ISIN, Quantity: p.Quantity, CashAmount: p.CashAmount, Currency: p.Currency,
	}
	if o, ok := a.orders[p.OrderID]; ok {
		if o.LiquidationID == "" && e == o.placed() {
			return nil, nil
		}
		return nil, conflict("the id %s is taken by an order with other content", p.OrderID)
	}
	if !a.has(userID) {
		return nil, unprocessable("user_id: must be a user of the account, and %s is none", userID)
	}
	switch status := a.Status(); {
	case status == StatusActive, status == StatusClosing && p.Side == Sell:
		return []Event{e}, nil
	case status == StatusClosing:
		return nil, unprocessable("the account is CLOSING: it takes SELL orders only, got %s", p.Side)
	default:
		return nil, unprocessable("the account is %s: it takes orders in ACTIVE, and SELL orders in CLOSING", status)
	}
}

// placed is the order as it was asked for.
func (o Order) placed() OrderPlaced {
	return OrderPlaced{
		OrderID: o.ID, UserID: o.UserID, Side: o.Side, ISIN: o.ISIN, Quantity: o.Quantity, CashAmount: o.CashAmount, Currency: o.Currency,
		LiquidationID: o.LiquidationID,
	}
}

func (a *Account) has(userID string) bool {
	return slices.ContainsFunc(a.Users, func(u Party) bool { return u.ID == userID })
}

// firstOwner is the first user who owns what is in the account; every group has one.
func (a *Account) firstOwner() string {
	for _, u := range a.Users {
		if u.Owns() {
			return u.ID
		}
	}
	return ""
}

func (a *Account) recordOrder(p *RecordOrder) ([]Event, error) {
	o, ok := a.orders[p.OrderID]
	if !ok {
		return nil, &Refusal{Kind: NotFound, Detail: "order_id: the account has no order with the id " + p.OrderID}
	}
	if !newer(p.Revision, o.Revision) {
		return nil, nil
	}
	e := OrderRecorded{OrderID: p.OrderID, Status: p.Status, PreviousStatus: o.Status, FilledQuantity: p.FilledQuantity, Revision: p.Revision}
	if e.Status == OrderCancelled {
		e.FilledQuantity = orZero(e.FilledQuantity)
	}
	o.Status, o.FilledQuantity = e.Status, e.FilledQuantity
	return a.reconcile([]Event{e}, a.ID, OpenOrders, a.waitsFor(o), o.item(o.ID), p.Revision), nil
}

// cancelOpen asks for the cancellation of open orders that it was not asked for yet.
func (a *Account) cancelOpen(which func(Order) bool) []Event {
	var events []Event
	for _, o := range a.openOrders() {
		if !o.CancellationRequested && which(o) {
			events = append(events, OrderCancellationRequested{OrderID: o.ID})
		}
	}
	return events
}
