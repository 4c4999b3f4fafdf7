package domain

import (
	"maps"
	"slices"
	"time"
)

// A liquidation sells everything that an account holds: one SELL order for each open position. It is no aggregate of its own:
// which positions there are, and what is left of them, is the account's to know.

// Events

type (
	// LiquidationRequested began a liquidation. Its orders follow in the same commit.
	LiquidationRequested struct {
		LiquidationID string `json:"liquidation_id"`
		UserID        string `json:"user_id"`
	}
	// LiquidationProcessing says that the first of its orders is being executed, or was in part before it was cancelled.
	LiquidationProcessing struct {
		LiquidationID string `json:"liquidation_id"`
	}
	// LiquidationFilled says that all of its orders are filled. One that was cancelled does not count once its position is sold.
	LiquidationFilled struct {
		LiquidationID string `json:"liquidation_id"`
	}
	// LiquidationSettled says that nothing is left of its positions, and nothing waits for settlement.
	LiquidationSettled struct {
		LiquidationID string `json:"liquidation_id"`
	}
	// LiquidationCancelled ended a liquidation before any of its orders was executed.
	LiquidationCancelled struct {
		LiquidationID string `json:"liquidation_id"`
	}
)

func (LiquidationRequested) eventName() string  { return "liquidation_requested" }
func (LiquidationProcessing) eventName() string { return "liquidation_processing" }
func (LiquidationFilled) eventName() string     { return "liquidation_filled" }
func (LiquidationSettled) eventName() string    { return "liquidation_settled" }
func (LiquidationCancelled) eventName() string  { return "liquidation_cancelled" }

func (e LiquidationRequested) liquidation() string  { return e.LiquidationID }
func (e LiquidationProcessing) liquidation() string { return e.LiquidationID }
func (e LiquidationFilled) liquidation() string     { return e.LiquidationID }
func (e LiquidationSettled) liquidation() string    { return e.LiquidationID }
func (e LiquidationCancelled) liquidation() string  { return e.LiquidationID }

// State

// LiquidationStatus is how far a liquidation is.
type LiquidationStatus string

// The statuses of a liquidation. NEW and PROCESSING are active: an account has one active liquidation at most.
const (
	LiquidationNew           LiquidationStatus = "NEW"
	LiquidationInProcess     LiquidationStatus = "PROCESSING"
	LiquidationAllFilled     LiquidationStatus = "FILLED"
	LiquidationAllSettled    LiquidationStatus = "SETTLED"
	LiquidationTakenBack     LiquidationStatus = "CANCELLED"
	liquidationOrderIDPrefix                   = "liquidation order"
)

// Liquidation is a liquidation of an account.
type Liquidation struct {
	ID, UserID           string
	Status               LiquidationStatus
	OrderIDs             []string // in the order in which they were placed
	CreatedAt, UpdatedAt time.Time
}

func (l Liquidation) active() bool {
	return l.Status == LiquidationNew || l.Status == LiquidationInProcess
}

// Liquidation finds a liquidation of the account.
func (a *Account) Liquidation(id string) (Liquidation, bool) {
	l, ok := a.liquidations[id]
	return l, ok
}

// Liquidations lists the liquidations, the oldest first.
func (a *Account) Liquidations() []Liquidation {
	return slices.SortedFunc(maps.Values(a.liquidations), func(x, y Liquidation) int {
		if c := x.CreatedAt.Compare(y.CreatedAt); c != 0 {
			return c
		}
		if x.ID < y.ID {
			return -1
		}
		return 1
	})
}

func (a *Account) activeLiquidation() (Liquidation, bool) {
	for _, l := range a.liquidations {
		if l.active() {
			return l, true
		}
	}
	return Liquidation{}, false
}

// orderOf tells whether the liquidation has an order for the instrument, whatever became of it.
func (a *Account) orderOf(l Liquidation, isin string) bool {
	return slices.ContainsFunc(l.OrderIDs, func(id string) bool { return a.orders[id].ISIN == isin })
}

// Evolve

func (a *Account) liquidationRequested(m Meta, e LiquidationRequested) {
	own(&a.liquidations, &a.borrowed.liquidations)[e.LiquidationID] = Liquidation{
		ID: e.LiquidationID, UserID: e.UserID, Status: LiquidationNew, CreatedAt: m.Time, UpdatedAt: m.Time,
	}
}

func (a *Account) liquidationMoved(m Meta, id string, status LiquidationStatus) {
	l := a.liquidations[id]
	l.Status, l.UpdatedAt = status, m.Time
	own(&a.liquidations, &a.borrowed.liquidations)[id] = l
}

// Decide

type (
	// RequestLiquidation asks to sell everything. UserID is one of the account's users.
	RequestLiquidation struct {
		LiquidationID string `json:"liquidation_id"`
		UserID        string `json:"user_id"`
	}
	// CancelLiquidation takes a liquidation back, as long as it is NEW.
	CancelLiquidation struct {
		LiquidationID string `json:"liquidation_id"`
	}
)

func (RequestLiquidation) CommandName() string { return "request_liquidation" }
func (CancelLiquidation) CommandName() string  { return "cancel_liquidation" }

// Validate refuses ids that are none.
func (p RequestLiquidation) Validate() error {
	return checks(checkID("liquidation_id", p.LiquidationID), checkID("user_id", p.UserID))
}

// Validate refuses an id that is none.
func (p CancelLiquidation) Validate() error { return checkID("liquidation_id", p.LiquidationID) }

func (a *Account) requestLiquidation(p *RequestLiquidation) ([]Event, error) {
	if l, ok := a.liquidations[p.LiquidationID]; ok {
		if l.UserID == p.UserID {
			return nil, nil
		}
		return nil, conflict("the id %s is taken by a liquidation with other content", p.LiquidationID)
	}
	if !a.has(p.UserID) {
		return nil, invalid("user_id", "must be a user of the account, and %s is none", p.UserID)
	}
	if s := a.Status(); s != StatusActive && s != StatusClosing {
		return nil, a.notIn("a liquidation", StatusActive, StatusClosing)
	}
	if l, ok := a.activeLiquidation(); ok {
		return nil, conflict("the liquidation %s is %s: an account has one active liquidation at most", l.ID, l.Status)
	}
	events := []Event{LiquidationRequested(*p)}
	for _, isin := range slices.Sorted(maps.Keys(a.positions)) {
		if o, ok := a.inCashSale(isin); ok && !a.positions[isin].Quantity.IsZero() {
			return nil, conflict("the SELL order %s sells %s by cash amount: how much is left to sell is known when it is filled or cancelled", o.ID, isin)
		}
		events = append(events, a.sellAll(p.LiquidationID, p.UserID, isin)...)
	}
	if len(events) == 1 {
		return nil, conflict("there is nothing to sell: the account holds no position that SELL orders do not sell already")
	}
	return events, nil
}

// sellAll is the order that sells what is held of an instrument, beyond what SELL orders are about to sell; none when that is
// nothing. What waits for settlement was sold already, and a short position cannot be sold.
func (a *Account) sellAll(liquidationID, userID, isin string) []Event {
	quantity := a.positions[isin].Quantity.Sub(a.inSale(isin))
	if _, ok := a.inCashSale(isin); ok || quantity.IsZero() || quantity.IsNegative() {
		return nil
	}
	return []Event{OrderPlaced{
		OrderID: DeriveID(liquidationOrderIDPrefix, liquidationID, isin), UserID: userID, Side: Sell, ISIN: isin, Quantity: quantity,
		LiquidationID: liquidationID,
	}}
}

// cancelLiquidation also asks for the cancellation of its orders: they may be with the order service already.
func (a *Account) cancelLiquidation(p *CancelLiquidation) ([]Event, error) {
	l, ok := a.liquidations[p.LiquidationID]
	switch {
	case !ok:
		return nil, &Refusal{Kind: NotFound, Detail: "there is no liquidation with the id " + p.LiquidationID}
	case l.Status == LiquidationTakenBack:
		return nil, nil
	case l.Status != LiquidationNew:
		return nil, conflict("the liquidation is %s; it can be cancelled while it is NEW", l.Status)
	}
	events := []Event{LiquidationCancelled(*p)}
	return append(events, a.cancelOpen(func(o Order) bool { return o.LiquidationID == l.ID })...), nil
}

// liquidate is what a commit means for the liquidations, on the state after its events: an order for a position that has come
// into an active liquidation, and how far each has got.
//
// Only a recorded position makes an order, or the end of a lock under which it was recorded, and only the first of its
// instrument: an order that is filled may be known before the position that it sold, and nobody shall sell that twice. What a
// growing position leaves behind is for another liquidation.
func (a *Account) liquidate(events []Event) []Event {
	if len(a.liquidations) == 0 {
		return nil
	}
	var more []Event
	if l, ok := a.activeLiquidation(); ok && (a.Status() == StatusActive || a.Status() == StatusClosing) {
		for _, isin := range a.comesInto(events) {
			if !a.orderOf(l, isin) {
				more = append(more, a.sellAll(l.ID, l.UserID, isin)...)
			}
		}
	}
	if len(more) > 0 {
		return more // its orders are NEW: nothing has got further
	}
	for _, l := range a.Liquidations() {
		more = append(more, a.progress(l)...)
	}
	return more
}

// comesInto are the instruments whose positions a commit may have brought into a liquidation.
func (a *Account) comesInto(events []Event) []string {
	var isins []string
	for _, e := range events {
		switch e := e.(type) {
		case PositionRecorded:
			isins = append(isins, e.ISIN)
		case Unlocked:
			return slices.Sorted(maps.Keys(a.positions))
		}
	}
	return isins
}

// progress is how far a liquidation has got since it was last told.
func (a *Account) progress(l Liquidation) []Event {
	begun, filled, sold := false, true, true
	for _, id := range l.OrderIDs {
		o := a.orders[id]
		position := a.positions[o.ISIN]
		begun = begun || o.Status == OrderProcessing || o.executed()
		filled = filled && (o.Status == OrderFilled || o.Status == OrderCancelled && position.Quantity.IsZero())
		sold = sold && !position.open()
	}
	var events []Event
	status := l.Status
	if status == LiquidationNew && (begun || filled) {
		events, status = append(events, LiquidationProcessing{LiquidationID: l.ID}), LiquidationInProcess
	}
	if status == LiquidationInProcess && filled {
		events, status = append(events, LiquidationFilled{LiquidationID: l.ID}), LiquidationAllFilled
	}
	if status == LiquidationAllFilled && sold {
		events = append(events, LiquidationSettled{LiquidationID: l.ID})
	}
	return events
}
