package domain

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// keepOpen and release are a blocker of its own key, which keeps an aggregate from CLOSED until the last step.
func keepOpen(kind Kind) (keep, release Payload) {
	if kind == KindAccountGroup {
		return cash("CHF", "1", 1), cash("CHF", "0", 2)
	}
	expected := &RecordCorporateAction{CorporateActionID: otherGroup, ISIN: apple, Status: CorporateActionExpected, Revision: 1}
	settled := *expected
	settled.Status, settled.Revision = CorporateActionSettled, 2
	return expected, &settled
}

// key is what a fact states the value of.
func key(p Payload) string {
	switch p := p.(type) {
	case *RecordPosition:
		return p.ISIN
	case *RecordCorporateAction:
		return p.CorporateActionID
	case *RecordOrder:
		return p.OrderID
	case *RecordCashBalance:
		return p.Currency
	case *RecordFeeCollection:
		return "fee " + p.FeeCollectionID
	case *RecordWithdrawal:
		return "withdrawal " + p.WithdrawalID
	}
	return ""
}

// someFacts are facts of a source that keeps its promise: a revision of a key has one value.
func someFacts(t *rapid.T, kind Kind) (out []Payload) {
	type stated struct {
		key      string
		revision int64
	}
	seen := map[stated]bool{}
	for range rapid.IntRange(1, 14).Draw(t, "facts") {
		revision := rapid.Int64Range(1, 5).Draw(t, "revision")
		p := accountFact
		switch {
		case kind == KindAccountGroup:
			p = groupFact
		case rapid.IntRange(0, 2).Draw(t, "order") == 0:
			p = orderFact
		}
		fact := p(t, revision)
		if s := (stated{key(fact), revision}); !seen[s] {
			seen[s] = true
			out = append(out, fact)
		}
	}
	return out
}

// orderFact draws a fact of one of the orders that a history begins with.
func orderFact(t *rapid.T, revision int64) Payload {
	return anyOrderFact(t, of(t, "order", someOrder, nextOrder), revision)
}

// anyOrderFact draws how far an order is. Some order services say how much of it was executed, and some do not.
func anyOrderFact(t *rapid.T, id string, revision int64) *RecordOrder {
	status, filled := of(t, "status", OrderProcessing, OrderFilled, OrderCancelled), of[Decimal](t, "filled", "", "", "0", "0.00", "0.5")
	if status == OrderFilled && filled != "" {
		filled = "1" // all of it, or more
	}
	return orderDid(id, status, filled, revision)
}

// history is one way in which things came about: the aggregate, and a run of the same facts in some order.
func history(t *rapid.T, kind Kind, accounts int, facts []Payload) Aggregate {
	keep, release := keepOpen(kind)
	s, request, at := newStage(kind, firstAccount), Payload(&RequestAccountClosure{}), 0
	facts = slices.Concat(facts, rapid.SliceOfN(rapid.SampledFrom(append(facts, keep)), 0, 6).Draw(t, "again"))
	facts = rapid.Permutation(facts).Draw(t, "order")
	begin := []Payload{openAccount(StatusActive), keep}
	if kind == KindAccount {
		begin = append(begin, order(someOrder, Buy, basf, "1"), order(nextOrder, Sell, apple, "1"))
		at = rapid.IntRange(0, len(facts)).Draw(t, "request at")
	} else {
		// A withdrawal refuses the request of a group, so that here its place does matter: it comes first.
		s, request = newStage(kind, someGroup), closeGroup("aml")
		begin = []Payload{openGroup(), keep}
		for _, id := range []string{firstAccount, secondAccount, thirdAccount, otherGroup}[:accounts] {
			begin = append(begin, link(id))
		}
	}
	for _, p := range slices.Concat(begin, facts[:at], []Payload{request}, facts[at:], []Payload{release}) {
		require.NotEqual(t, StatusClosed, s.status(), "CLOSED before the end")
		s.put(t, s.command(p))
	}
	return s.agg
}

// TestOrderOfFactsDoesNotMatter: the same facts in two orders, some of them again, give the same state but for its times.
func TestOrderOfFactsDoesNotMatter(t *testing.T) {
	reached := map[Status]int{}
	rapid.Check(t, func(t *rapid.T) {
		kind := of(t, "kind", closableKinds()...)
		facts, accounts := someFacts(t, kind), rapid.IntRange(1, 4).Draw(t, "accounts")
		if kind == KindAccountGroup {
			for _, id := range []string{firstAccount, secondAccount, thirdAccount, otherGroup}[:accounts] {
				facts = append(facts, closureOf(id))
			}
		}
		one, other := history(t, kind, accounts, facts), history(t, kind, accounts, facts)
		require.Equal(t, timeless(one), timeless(other))
		reached[statusOf(one)]++
	})
	require.NotZero(t, reached[StatusClosed], "no run ended CLOSED: %v", reached)
	require.NotZero(t, reached[StatusClosing], "no run ended CLOSING: %v", reached)
}

// timeless is a copy without times and without the ids of commands. What is nil stays nil.
func timeless(agg Aggregate) Aggregate {
	agg = agg.Copy()
	l := lifecycleOf(agg)
	l.CreatedAt, l.UpdatedAt, l.changedAt = time.Time{}, time.Time{}, time.Time{}
	l.recent, l.recentFacts = nil, nil
	for _, at := range []**time.Time{&l.requestedAt, &l.announcedAt, &l.closedAt} {
		if *at != nil {
			*at = &time.Time{}
		}
	}
	for code := range l.standing {
		l.standing[code] = time.Time{}
	}
	if a, ok := agg.(*Account); ok {
		for id, o := range a.orders {
			// Whether it was still open when closing was asked for depends on when that was.
			o.CreatedAt, o.UpdatedAt, o.CancellationRequested = time.Time{}, time.Time{}, false
			a.orders[id] = o
		}
	}
	return agg
}

func lifecycleOf(agg Aggregate) *Lifecycle {
	if g, ok := agg.(*AccountGroup); ok {
		return &g.Lifecycle
	}
	return &agg.(*Account).Lifecycle
}
