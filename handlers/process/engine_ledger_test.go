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
	"closure/eventstore/replay"
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
	// counts is how often each event came.
	counts map[string]int
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
		orders: map[string]placed{}, raised: map[string]bool{}, counts: map[string]int{},
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
		bought := e.Status == "FILLED" && o.Side == "BUY" && l.revisions[o.ISIN] == o.position && !l.closed
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
	begun := false
	for i, e := range events {
		l.counts[c.Events[i].Type]++
		if k, revision := key(e); k != "" {
			require.True(l.t, revision == 0 || revision > l.revisions[k], "%s: revision %d of %s was recorded after %d", l.of, revision, k, l.revisions[k])
			l.said[k], l.revisions[k] = e, max(revision, l.revisions[k])
			if code := l.blocks(e); code != "" && l.closed {
				late = append(late, code)
			}
		}
		switch e := e.(type) {
		case domain.AccountOpened, domain.AccountGroupOpened:
			require.False(l.t, l.opened, "%s was opened twice", l.of)
			l.opened = true
		case domain.AccountLinkWithdrawn:
			delete(l.said, e.AccountID)
		case domain.DomicileRecorded:
			l.domicile = e.Domicile
		case domain.LockApplied, domain.Unlocked:
			_, l.locked = e.(domain.LockApplied)
		case domain.ReconciliationRequired:
			raised, l.raised[e.ReconciliationID] = append(raised, e.Blocker), true
		case domain.ReconciliationSettled:
			delete(l.raised, e.ReconciliationID)
		case domain.OrderPlaced:
			l.place(e)
		case domain.OrderCancellationRequested:
			o := l.orders[e.OrderID]
			require.False(l.t, o.cancelled, "%s: the order %s was asked to be cancelled twice", l.of, e.OrderID)
			o.cancelled = true
			l.orders[e.OrderID] = o
		case domain.ClosingInitiated:
			require.False(l.t, l.requested || l.locked, "%s: closing began when it could not", l.of)
			l.requested, l.requestedAt, begun = true, c.Time, true
		case domain.Closed:
			require.Equal(l.t, len(events)-1, i, "%s: CLOSED is not the end of its commit", l.of)
			require.True(l.t, l.requested && !l.closed, "%s is CLOSED, and was not CLOSING", l.of)
			require.Empty(l.t, l.codes(c.Time), "%s is CLOSED with a blocker, version %d", l.of, c.Version)
			l.closed = true
		}
	}
	require.Equal(l.t, late, raised, "%s: what came after CLOSED is to be reconciled, version %d", l.of, c.Version)
	if begun {
		l.asks()
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

// place holds the rule of orders: no BUY from CLOSING on, and none at all from CLOSED on or under a lock.
func (l *ledger) place(e domain.OrderPlaced) {
	require.False(l.t, e.Side == domain.Buy && l.requested, "%s took a BUY order after its closing had begun", l.of)
	require.False(l.t, l.closed || l.locked, "%s took an order that it could not take", l.of)
	l.orders[e.OrderID] = placed{OrderPlaced: e, position: l.revisions[e.ISIN]}
}

// history is one aggregate as the log has it.
type history struct {
	ref     domain.Ref
	commits []eventstore.Recorded
	events  [][]domain.Event
	states  []domain.Aggregate // after each commit
	ledger  *ledger            // nil for a user
}

// history folds the commits of an aggregate one by one, and compares each state with what the ledger says.
func (s *stage) history(ref domain.Ref) *history {
	s.t.Helper()
	h := &history{ref: ref, commits: s.commits(ref.Kind, ref.ID)}
	state := domain.New(ref)
	if ref.Kind != domain.KindUser {
		h.ledger = newLedger(s.t, ref)
	}
	for _, c := range h.commits {
		require.NoError(s.t, replay.Apply(state, []eventstore.Recorded{c}))
		events, err := replay.Events(c.Commit)
		require.NoError(s.t, err)
		h.events, h.states = append(h.events, events), append(h.states, state.Copy())
		if h.ledger == nil {
			continue
		}
		h.ledger.enter(c, events)
		stands := []domain.BlockerCode(nil)
		for _, b := range state.(domain.Closable).Closure(domain.Outlook{Now: c.Time}).Blockers {
			stands = append(stands, b.Code)
		}
		slices.Sort(stands)
		require.Equal(s.t, h.ledger.codes(c.Time), stands, "%s, version %d", h.ledger.of, c.Version)
	}
	return h
}

// when is the sequence of the first commit with an event of the type that the condition takes; 0 for none.
func (h *history) when(eventType string, takes func(domain.Event) bool) uint64 {
	for i, c := range h.commits {
		for j, e := range c.Events {
			if e.Type == eventType && (takes == nil || takes(h.events[i][j])) {
				return c.Sequence
			}
		}
	}
	return 0
}
