package process

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
)

// ledger is what the events of an account or of a group say, read by the rules of DOMAIN once more. It asks the code for no
// rule, so that it does not repeat the mistake that it is to find.
type ledger struct {
	t testing.TB
	// of names the aggregate in messages.
	of                                string
	opened, locked, requested, closed bool
	requestedAt                       time.Time
	domicile                          string
	// said is what was last said of an ISIN, a currency, an account, and of whatever else has an id.
	said      map[string]domain.Event
	revisions map[string]int64
	orders    map[string]placed
	// raised is what is to be reconciled.
	raised map[string]bool
}

// placed is an order, with the revision that its instrument's position had when it was placed.
type placed struct {
	domain.OrderPlaced
	position  int64
	cancelled bool // it was asked to be
}

func newLedger(t testing.TB, ref domain.Ref) *ledger {
	return &ledger{
		t: t, of: fmt.Sprintf("%s %s", ref.Kind, ref.ID), said: map[string]domain.Event{}, revisions: map[string]int64{},
		orders: map[string]placed{}, raised: map[string]bool{},
	}
}

// key is what an event speaks of, and the revision of a fact; "" for an event that says nothing of what may block.
func key(e domain.Event) (string, int64) {
	switch e := e.(type) {
	case domain.PositionRecorded:
		return e.ISIN, e.Revision
	case domain.CorporateActionRecorded:
		return e.CorporateActionID, e.Revision
	case domain.OrderRecorded:
		return e.OrderID, e.Revision
	case domain.OrderPlaced:
		return e.OrderID, 0
	case domain.CashBalanceRecorded:
		return e.Currency, e.Revision
	case domain.FeeCollectionRecorded:
		return e.FeeCollectionID, e.Revision
	case domain.WithdrawalRecorded:
		return e.WithdrawalID, e.Revision
	case domain.AccountLinked:
		return e.AccountID, 0
	case domain.AccountClosureRecorded:
		return e.AccountID, 0
	}
	return "", 0
}

// blocks is what an event that was said last stands against closing as; "" for nothing.
func (l *ledger) blocks(e domain.Event) domain.BlockerCode {
	code, stands := domain.BlockerCode(""), false
	switch e := e.(type) {
	case domain.PositionRecorded:
		code, stands = domain.OpenPositions, e.Quantity != "0" || e.PendingSettlement != "0"
	case domain.CorporateActionRecorded:
		code, stands = domain.ExpectedCorporateActions, e.Status == "EXPECTED"
	case domain.OrderPlaced:
		code, stands = domain.OpenOrders, true
	case domain.OrderRecorded:
		o := l.orders[e.OrderID]
		executed := e.Status == "FILLED" || e.Status == "CANCELLED" && e.FilledQuantity != "0"
		bought := executed && o.Side == "BUY" && l.revisions[o.ISIN] == o.position
		code, stands = domain.OpenOrders, e.Status == "PROCESSING" || bought
	case domain.CashBalanceRecorded:
		code, stands = domain.CashBalance, e.Balance != "0" || e.PendingSettlement != "0"
	case domain.FeeCollectionRecorded:
		code, stands = domain.OutstandingFees, e.Status == "PROCESSING"
	case domain.WithdrawalRecorded:
		code, stands = domain.OutstandingWithdrawals, e.Status == "NEW" || e.Status == "PROCESSING"
	case domain.AccountLinked:
		code, stands = domain.OpenAccounts, true
	}
	if !stands {
		return ""
	}
	return code
}

// codes are what stands against closing at a time, each once, sorted.
func (l *ledger) codes(now time.Time) []domain.BlockerCode {
	stands := map[domain.BlockerCode]bool{domain.Locked: l.locked, domain.TaxYearEndBlocker: l.waits(now)}
	for _, e := range l.said {
		stands[l.blocks(e)] = true
	}
	delete(stands, "")
	maps.DeleteFunc(stands, func(_ domain.BlockerCode, yes bool) bool { return !yes || l.closed })
	return slices.Sorted(maps.Keys(stands))
}

// waits tells of the UK: the tax year of the request is not over. In April it is summer in London.
func (l *ledger) waits(now time.Time) bool {
	if !l.requested || l.domicile != "GB" {
		return false
	}
	end := time.Date(l.requestedAt.Year(), time.April, 5, 23, 0, 0, 0, time.UTC)
	if !end.After(l.requestedAt) {
		end = end.AddDate(1, 0, 0)
	}
	return now.Before(end)
}

// enter takes one commit, and holds every event of it against what was before.
func (l *ledger) enter(c eventstore.Recorded, events []domain.Event) {
	var late, raised []domain.BlockerCode
	begins := false
	for i, e := range events {
		require.False(l.t, l.closed && belongsBefore(e), "%s: %T after CLOSED", l.of, e)
		if code := l.say(e); code != "" && l.closed {
			late = append(late, code)
		}
		switch e := e.(type) {
		case domain.ReconciliationRequired:
			raised, l.raised[e.ReconciliationID] = append(raised, e.Blocker), true
		case domain.ClosingInitiated:
			require.False(l.t, l.requested || l.locked, "%s: its closing began when it could not", l.of)
			l.requested, l.requestedAt, begins = true, c.Time, true
		case domain.Closed:
			require.Equal(l.t, len(events)-1, i, "%s: CLOSED is not the end of its commit", l.of)
			require.True(l.t, l.requested, "%s is CLOSED, and was not CLOSING", l.of)
			require.Empty(l.t, l.codes(c.Time), "%s is CLOSED with a blocker, version %d", l.of, c.Version)
			l.closed = true
		default:
			l.change(e)
		}
	}
	require.Equal(l.t, late, raised, "%s: what came after CLOSED is to be reconciled, version %d", l.of, c.Version)
	if begins {
		l.asks()
	}
}

// belongsBefore tells of what cannot come after CLOSED.
func belongsBefore(e domain.Event) bool {
	switch e.(type) {
	case domain.ClosingInitiated, domain.Closed, domain.LockApplied, domain.Unlocked, domain.OrderPlaced, domain.AccountLinked,
		domain.DomicileChanged, domain.DomicileRecorded, domain.ClosureStalled, domain.AccountRenamed:
		return true
	}
	return false
}

// say takes what an event says of a thing, and gives what it stands against closing as.
func (l *ledger) say(e domain.Event) domain.BlockerCode {
	k, revision := key(e)
	if k == "" {
		return ""
	}
	require.True(l.t, revision == 0 || revision > l.revisions[k], "%s: revision %d of %s was recorded after %d", l.of, revision, k, l.revisions[k])
	l.said[k], l.revisions[k] = e, max(revision, l.revisions[k])
	return l.blocks(e)
}

// change takes what else counts.
func (l *ledger) change(e domain.Event) {
	switch e := e.(type) {
	case domain.AccountOpened, domain.AccountGroupOpened:
		require.False(l.t, l.opened, "%s was opened twice", l.of)
		l.opened = true
	case domain.AccountLinkWithdrawn:
		delete(l.said, e.AccountID)
	case domain.DomicileRecorded:
		l.domicile = e.Domicile
	case domain.LockApplied:
		l.locked = true
	case domain.Unlocked:
		l.locked = false
	case domain.ReconciliationSettled:
		delete(l.raised, e.ReconciliationID)
	case domain.OrderPlaced:
		// No BUY from CLOSING on, and none at all under a lock.
		require.False(l.t, e.Side == "BUY" && l.requested, "%s took a BUY order after its closing had begun", l.of)
		require.False(l.t, l.locked, "%s took an order under a lock", l.of)
		l.orders[e.OrderID] = placed{OrderPlaced: e, position: l.revisions[e.ISIN]}
	case domain.OrderCancellationRequested:
		o := l.orders[e.OrderID]
		require.False(l.t, o.cancelled, "%s: the order %s was asked to be cancelled twice", l.of, e.OrderID)
		o.cancelled = true
		l.orders[e.OrderID] = o
	}
}

// asks holds what a closing asks for when it begins: that the BUY orders that are open are cancelled.
func (l *ledger) asks() {
	for id, o := range l.orders {
		recorded, ok := l.said[id].(domain.OrderRecorded)
		open := !ok || recorded.Status == "NEW" || recorded.Status == "PROCESSING"
		require.False(l.t, open && o.Side == "BUY" && !o.cancelled, "%s closes, and nobody was asked to cancel the BUY order %s", l.of, id)
	}
}
