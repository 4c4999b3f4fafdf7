package domain

import (
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// model says what an aggregate must be, from the commands alone: the rules of DOMAIN once more, in another form.
type model struct {
	opened, locked, requested, closed bool
	requestedAt                       time.Time
	domicile                          string
	revisions                         map[string]int64
	blocking                          map[string]BlockerCode
	held                              map[string]Decimal // quantities by ISIN
	orders                            map[string]modelOrder
	liquidations                      map[string]LiquidationStatus
	// late is how many things came after CLOSED that would have blocked it, and were not settled.
	late int
	// settled is how many liquidations came to their end, refused how many BUY orders came too late, and partly how many were waited
	// for that were cancelled after a part of them was filled.
	settled, refused, partly int
}

type modelOrder struct {
	side     OrderSide
	isin     string
	quantity Decimal
	sold     Decimal // of a SELL order that has ended
	open     bool
	filled   bool  // it has ended, and something was executed
	since    int64 // revision of the position when it was placed
}

func newModel() *model {
	return &model{
		revisions: map[string]int64{}, blocking: map[string]BlockerCode{}, held: map[string]Decimal{},
		orders: map[string]modelOrder{}, liquidations: map[string]LiquidationStatus{},
	}
}

// fact notes a fact; news tells that its revision is one.
func (m *model) fact(key string, revision int64, code BlockerCode, blocks bool) (news bool) {
	if !m.opened || revision <= m.revisions[key] {
		return false
	}
	m.revisions[key] = revision
	delete(m.blocking, key)
	if blocks {
		m.blocking[key] = code
	}
	if blocks && m.closed && code != OpenAccounts {
		m.late++
	}
	return true
}

func (m *model) outstanding() bool {
	return slices.Contains(slices.Collect(maps.Values(m.blocking)), OutstandingWithdrawals)
}

// waits tells of the UK rule: for whom closing was asked, and the tax year of the request is not over.
func (m *model) waits(now time.Time) bool {
	if !m.requested || m.domicile != "GB" {
		return false
	}
	end := time.Date(m.requestedAt.Year(), time.April, 5, 23, 0, 0, 0, time.UTC) // summer time has begun by then
	if !end.After(m.requestedAt) {
		end = end.AddDate(1, 0, 0)
	}
	return now.Before(end)
}

// due tells that nothing stands against closing. Only time can bring that about without a commit that closes.
func (m *model) due(now time.Time) bool {
	return m.requested && !m.closed && !m.locked && len(m.blocking) == 0 && !m.waits(now)
}

// settle is the exit: CLOSED is reached exactly when the last blocker goes.
func (m *model) settle(now time.Time) { m.closed = m.closed || m.due(now) }

func (m *model) status() Status {
	switch {
	case !m.opened:
		return ""
	case m.locked:
		return StatusLocked
	case m.closed:
		return StatusClosed
	case m.requested:
		return StatusClosing
	}
	return StatusActive
}

func (m *model) codes(now time.Time) map[BlockerCode]bool {
	out := map[BlockerCode]bool{}
	if m.closed || !m.opened {
		return out
	}
	for _, code := range m.blocking {
		out[code] = true
	}
	if m.waits(now) {
		out[TaxYearEndBlocker] = true
	}
	if m.locked {
		out[Locked] = true
	}
	return out
}

// predict is what the rules say of a command; withdrawals tells whether the group has any outstanding.
func (m *model) predict(t *rapid.T, c Command, events []Event, withdrawals bool) {
	enters := m.status() == StatusActive && !withdrawals
	switch p := c.Payload.(type) {
	case *OpenAccountGroup, *OpenAccount:
		m.opened = true
	case *Lock:
		m.locked = m.locked || m.opened && !m.closed
	case *Unlock:
		m.locked = false
	case *RequestAccountClosure:
		if enters {
			m.requested, m.requestedAt, m.domicile = true, c.Time, p.Domicile
		}
	case *RequestAccountGroupClosure:
		m.requested = m.requested || enters && !p.NotificationOnly
	case *LinkAccount:
		if m.status() == StatusActive {
			m.fact(p.AccountID, 1, OpenAccounts, true)
		}
	case *RecordAccountClosure:
		m.fact(p.AccountID, 2, OpenAccounts, false)
	case *RecordDomicile:
		if m.opened && !m.closed {
			m.domicile = p.Domicile
		}
	case *SettleReconciliation:
		m.late -= len(events)
	case *PlaceOrder:
		m.placeOrder(t, p, events)
	default:
		m.predictFact(p)
	}
}

func (m *model) predictFact(p Payload) {
	switch p := p.(type) {
	case *RecordPosition:
		if m.fact(p.ISIN, p.Revision, OpenPositions, !p.Quantity.IsZero() || !p.PendingSettlement.IsZero()) {
			m.held[p.ISIN] = p.Quantity
			for id, o := range m.orders {
				if o.isin == p.ISIN && o.filled {
					delete(m.blocking, id)
				}
			}
		}
	case *RecordCorporateAction:
		m.fact(p.CorporateActionID, p.Revision, ExpectedCorporateActions, p.Status == CorporateActionExpected)
	case *RecordOrder:
		o, ok := m.orders[p.OrderID]
		partly := p.FilledQuantity != "" && !p.FilledQuantity.IsZero()
		filled := p.Status == OrderFilled || p.Status == OrderCancelled && partly
		bought := filled && o.side == Buy && m.revisions[o.isin] <= o.since
		if ok && m.fact(p.OrderID, p.Revision, OpenOrders, p.Status == OrderProcessing || bought) {
			o.open, o.filled, o.sold = p.Status == OrderProcessing, filled, o.quantity
			if partly {
				o.sold = p.FilledQuantity
			}
			m.orders[p.OrderID] = o
			if bought && p.Status == OrderCancelled {
				m.partly++
			}
		}
	case *RecordCashBalance:
		m.fact(p.Currency, p.Revision, CashBalance, !p.Balance.IsZero() || !p.PendingSettlement.IsZero())
	case *RecordFeeCollection:
		m.fact(p.FeeCollectionID, p.Revision, OutstandingFees, p.Status == FeeProcessing)
	case *RecordWithdrawal:
		m.fact(p.WithdrawalID, p.Revision, OutstandingWithdrawals, p.Status == WithdrawalNew || p.Status == WithdrawalProcessing)
	}
}

// placeOrder: no BUY from CLOSING on, nothing from CLOSED on, and none under a lock.
func (m *model) placeOrder(t *rapid.T, p *PlaceOrder, events []Event) {
	_, taken := m.orders[p.OrderID]
	accepted := !taken && (m.status() == StatusActive || m.status() == StatusClosing && p.Side == Sell)
	require.Equal(t, accepted, len(events) > 0, "%s in %s", p.Side, m.status())
	if accepted {
		m.orders[p.OrderID] = modelOrder{side: p.Side, isin: p.ISIN, quantity: p.Quantity, open: true, since: m.revisions[p.ISIN]}
		m.blocking[p.OrderID] = OpenOrders
	} else if p.Side == Buy && m.requested {
		m.refused++
	}
}

// observe follows the liquidations: whatever makes their orders, nothing is sold that is not held, or twice.
func (m *model) observe(t *rapid.T, events []Event) {
	for _, e := range events {
		switch e := e.(type) {
		case LiquidationRequested:
			require.NotContains(t, slices.Collect(maps.Values(m.liquidations)), LiquidationNew)
			require.NotContains(t, slices.Collect(maps.Values(m.liquidations)), LiquidationInProcess)
			m.liquidations[e.LiquidationID] = LiquidationNew
		case LiquidationProcessing:
			m.moves(t, e.LiquidationID, LiquidationNew, LiquidationInProcess)
		case LiquidationFilled:
			m.moves(t, e.LiquidationID, LiquidationInProcess, LiquidationAllFilled)
		case LiquidationSettled:
			m.moves(t, e.LiquidationID, LiquidationAllFilled, LiquidationAllSettled)
			m.settled++
		case LiquidationCancelled:
			m.moves(t, e.LiquidationID, LiquidationNew, LiquidationTakenBack)
		case OrderPlaced:
			if e.LiquidationID != "" {
				m.sale(t, e)
			}
		}
	}
}

func (m *model) moves(t *rapid.T, id string, from, to LiquidationStatus) {
	require.Equal(t, from, m.liquidations[id], "%s goes to %s", id, to)
	m.liquidations[id] = to
}

func (m *model) sale(t *rapid.T, e OrderPlaced) {
	require.False(t, m.locked || m.closed, "an order for an account that takes none")
	require.Contains(t, []LiquidationStatus{LiquidationNew, LiquidationInProcess}, m.liquidations[e.LiquidationID])
	left := m.held[e.ISIN]
	for _, o := range m.orders {
		switch {
		case o.side != Sell || o.isin != e.ISIN:
		case o.open:
			left = left.Sub(o.quantity)
		case o.filled && m.revisions[o.isin] <= o.since:
			left = left.Sub(o.sold)
		}
	}
	require.Equal(t, left.Sub("0"), e.Quantity)
	require.False(t, left.IsZero() || left.IsNegative())
	m.orders[e.OrderID] = modelOrder{side: Sell, isin: e.ISIN, quantity: e.Quantity, open: true, since: m.revisions[e.ISIN]}
	m.blocking[e.OrderID] = OpenOrders
}
