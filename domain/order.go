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
	// OrderRecorded states how far an order is, and how far it was.
	OrderRecorded struct {
		OrderID        string      `json:"order_id"`
		Status         OrderStatus `json:"status"`
		PreviousStatus OrderStatus `json:"previous_status"`
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
	Revision             int64
	CreatedAt, UpdatedAt time.Time
	// positionRevision is that of the instrument's position when the order was placed.
	positionRevision int64
	// CancellationRequested: the order service was asked to cancel it.
	CancellationRequested bool
}

func (o Order) open() bool { return orderOpen(o.Status) }

func orderOpen(s OrderStatus) bool { return s == OrderNew || s == OrderProcessing }

// flow is where the order comes from.
func (o Order) flow() InitiationFlow {
	if o.LiquidationID != "" {
		return FlowLiquidation
	}
	return FlowAPI
}

func (o Order) item() Item {
	return Item{ID: o.ID, ISIN: o.ISIN, Status: string(o.Status), Quantity: o.Quantity, Amount: o.CashAmount, Currency: o.Currency}
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

// unreported tells of an order that is filled before its instrument's position was recorded again: what is held is not known
// yet. The two facts come from two sources, in any order, and nothing links them: any later revision of the position counts as
// the one that shows the order. And what is CANCELLED counts as having bought and sold nothing.
func (a *Account) unreported(o Order) bool {
	return o.Status == OrderFilled && a.positions[o.ISIN].Revision <= o.positionRevision
}

// inSale is the quantity of an instrument that SELL orders are about to sell, or have sold without it showing yet.
func (a *Account) inSale(isin string) Decimal {
	sum := Decimal("0")
	for _, o := range a.orders {
		if o.ISIN == isin && o.Side == Sell && o.Quantity != "" && (o.open() || a.unreported(o)) {
			sum = sum.Add(o.Quantity)
		}
	}
	return sum
}

// inCashSale is a SELL order by cash amount that is about to sell an instrument: how much of it nobody knows.
func (a *Account) inCashSale(isin string) (o Order, ok bool) {
	for _, id := range slices.Sorted(maps.Keys(a.orders)) {
		o := a.orders[id]
		if o.ISIN == isin && o.Side == Sell && o.CashAmount != "" && (o.open() || a.unreported(o)) {
			return o, true
		}
	}
	return Order{}, false
}

// Evolve

func (a *Account) orderPlaced(m Meta, e OrderPlaced) {
	a.orders[e.OrderID] = Order{
		ID: e.OrderID, UserID: e.UserID, ISIN: e.ISIN, Side: e.Side, Quantity: e.Quantity, CashAmount: e.CashAmount, Currency: e.Currency,
		LiquidationID: e.LiquidationID, Status: OrderNew, CreatedAt: m.Time, UpdatedAt: m.Time,
		positionRevision: a.positions[e.ISIN].Revision,
	}
	if l, ok := a.liquidations[e.LiquidationID]; ok {
		l.OrderIDs = append(slices.Clone(l.OrderIDs), e.OrderID)
		a.liquidations[e.LiquidationID] = l
	}
}

func (a *Account) orderRecorded(m Meta, e OrderRecorded) {
	o := a.orders[e.OrderID]
	if o.Status != e.Status {
		o.UpdatedAt = m.Time
	}
	o.Status, o.Revision = e.Status, e.Revision
	a.orders[e.OrderID] = o
}

func (a *Account) cancellationRequested(e OrderCancellationRequested) {
	o := a.orders[e.OrderID]
	o.CancellationRequested = true
	a.orders[e.OrderID] = o
}

// Decide

type (
	// PlaceOrder asks for an order. Give either Quantity, or CashAmount with Currency; the public API has a currency with a
	// quantity, too. UserID is whose order it is, one of the
	// account's users; "" is the first that owns the account.
	PlaceOrder struct {
		OrderID    string    `json:"order_id"`
		UserID     string    `json:"user_id"`
		Side       OrderSide `json:"side"`
		ISIN       string    `json:"isin"`
		Quantity   Decimal   `json:"quantity"`
		CashAmount Decimal   `json:"cash_amount"`
		Currency   string    `json:"currency"`
	}
	// RecordOrder states how far an order is.
	RecordOrder struct {
		OrderID  string      `json:"order_id"`
		Status   OrderStatus `json:"status"`
		Revision int64       `json:"revision"`
	}
)

func (PlaceOrder) CommandName() string  { return "place_order" }
func (RecordOrder) CommandName() string { return "record_order" }

func (*RecordOrder) fact() {}

// Validate refuses what is wrong whatever the state is.
func (p PlaceOrder) Validate() error {
	if err := checks(checkID("order_id", p.OrderID), oneOf("side", p.Side, Buy, Sell), checkISIN("isin", p.ISIN)); err != nil {
		return err
	}
	if p.UserID != "" {
		if err := checkID("user_id", p.UserID); err != nil {
			return err
		}
	}
	if (p.Quantity == "") == (p.CashAmount == "") {
		return invalid("quantity", "give either quantity, or cash_amount with currency, not both and not neither")
	}
	if p.Quantity != "" && p.Currency == "" {
		return checkPositive("quantity", p.Quantity)
	}
	if p.Quantity != "" {
		return checks(checkPositive("quantity", p.Quantity), checkCurrency("currency", p.Currency))
	}
	return checks(checkPositive("cash_amount", p.CashAmount), checkCurrency("currency", p.Currency))
}

func checkPositive(field string, d Decimal) error {
	if err := checkDecimal(field, d); err != nil {
		return err
	}
	if d.IsZero() || d.IsNegative() {
		return invalid(field, "must be above zero, got %s", d)
	}
	return nil
}

// Validate refuses what is wrong whatever the state is.
func (p RecordOrder) Validate() error {
	return checks(
		checkID("order_id", p.OrderID),
		oneOf("status", p.Status, OrderProcessing, OrderFilled, OrderCancelled),
		checkRevision(p.Revision),
	)
}

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
	e := OrderRecorded{OrderID: p.OrderID, Status: p.Status, PreviousStatus: o.Status, Revision: p.Revision}
	o.Status = p.Status
	return a.reconcile([]Event{e}, a.ID, OpenOrders, a.waitsFor(o), o.item(), p.Revision), nil
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
