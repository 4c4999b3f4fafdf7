package domain

import (
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// put is try without its repetitions: a property sends thousands of commands, and repeats them by itself.
func (s *stage) put(t rapid.TB, c Command) []Event {
	t.Helper()
	events, _ := s.decide(t, c)
	if len(events) > 0 {
		next := s.next.Copy()
		s.store(t, c, events)
		s.committed[c.ID] = true
		s.agg.Apply(c.Meta(), events)
		require.Equal(t, s.agg, next, "%s: it leads to another state than its events", c.Payload.CommandName())
	}
	return events
}

// estate is a group with up to four accounts, what the model says of each, and the state after each commit.
type estate struct {
	clock  *clock
	stages []*stage // the group first
	models []*model
	states [][]Aggregate
	sent   []sent
}

type sent struct {
	to      int
	command Command
}

func newEstate(t *rapid.T) *estate {
	e := &estate{clock: newClock()}
	add := func(kind Kind, id string) {
		s := newStage(kind, id)
		s.clock = e.clock
		e.stages = append(e.stages, s)
		e.models = append(e.models, newModel())
		e.states = append(e.states, nil)
	}
	add(KindAccountGroup, someGroup)
	for _, id := range []string{firstAccount, secondAccount, thirdAccount, otherGroup}[:rapid.IntRange(1, 4).Draw(t, "accounts")] {
		add(KindAccount, id)
	}
	open := openGroup()
	open.Domicile = of(t, "domicile", "", "DE", "GB")
	e.send(t, 0, open)
	// Most accounts are there from the beginning; the others are linked and opened by the actions, or never.
	for i := range e.stages[1:] {
		if rapid.IntRange(0, 3).Draw(t, "from the beginning") > 0 {
			e.send(t, 0, link(e.stages[i+1].ref.ID))
			e.open(t, i+1)
		}
	}
	return e
}

func (e *estate) group() *AccountGroup { return groupOf(e.stages[0]) }

func (e *estate) send(t *rapid.T, to int, p Payload) {
	c := e.stages[to].command(p)
	e.sent = append(e.sent, sent{to, c})
	e.deliver(t, to, c)
}

// deliver gives a command to its aggregate and to the model.
func (e *estate) deliver(t *rapid.T, to int, c Command) {
	s, m := e.stages[to], e.models[to]
	c.Time = e.clock.tick()
	repeated := s.committed[c.ID]
	events := s.put(t, c)
	if len(events) > 0 {
		require.False(t, repeated, "%s did something again when it came again with its id", c.Payload.CommandName())
		e.states[to] = append(e.states[to], s.agg.Copy())
	}
	if !repeated {
		m.predict(t, c, events, e.models[0].outstanding())
	}
	m.observe(t, events)
	if _, review := c.Payload.(*ReviewClosure); review || len(events) > 0 {
		m.settle(c.Time)
	}
}

// wake plays the timers: what only waited for a date that has come is reviewed.
func (e *estate) wake(t *rapid.T) {
	for again := true; again; {
		again = false
		for i, m := range e.models {
			if m.due(e.clock.now) {
				e.send(t, i, &ReviewClosure{})
				again = true
			}
		}
	}
}

// pass moves the clock on: by days, to just before the tax year of London ends, or to its very end.
func (e *estate) pass(t *rapid.T) {
	switch end := TaxYearEnd(e.clock.now); of(t, "until", "a day", "40 days", "just before", "the end") {
	case "a day":
		e.clock.now = e.clock.now.AddDate(0, 0, 1)
	case "40 days":
		e.clock.now = e.clock.now.AddDate(0, 0, 40)
	case "just before":
		e.clock.now = end.Add(-rapid.SampledFrom([]time.Duration{1, time.Second, 2 * minute}).Draw(t, "before"))
	case "the end":
		e.clock.now = end
	}
}

func of[T any](t *rapid.T, label string, values ...T) T {
	return rapid.SampledFrom(values).Draw(t, label)
}

func anyDecimal(t *rapid.T) Decimal {
	return of[Decimal](t, "decimal", "0", "0.00", "-0", "1", "-3.5", "0.000000000000000000000000001")
}

func anyPending(t *rapid.T) Decimal { return of[Decimal](t, "pending", "", "0", "0", "2") }

// accountFact and groupFact draw one of the facts about one of two keys.
func accountFact(t *rapid.T, revision int64) Payload {
	if rapid.Bool().Draw(t, "position") {
		return &RecordPosition{ISIN: of(t, "isin", basf, apple), Quantity: anyDecimal(t), PendingSettlement: anyPending(t), Revision: revision}
	}
	return &RecordCorporateAction{CorporateActionID: of(t, "action", someAction, someFee), ISIN: basf,
		Status: of(t, "status", CorporateActionExpected, CorporateActionSettled, CorporateActionCancelled), Revision: revision}
}

func groupFact(t *rapid.T, revision int64) Payload {
	switch of(t, "fact", "cash", "fee", "withdrawal") {
	case "cash":
		return &RecordCashBalance{Currency: of(t, "currency", "EUR", "USD"), Balance: anyDecimal(t), PendingSettlement: anyPending(t), Revision: revision}
	case "fee":
		return &RecordFeeCollection{FeeCollectionID: of(t, "fee", someFee, someAction),
			Status: of(t, "status", FeeProcessing, FeeFinalised, FeeCancelled), Amount: "1", Currency: "EUR", Revision: revision}
	}
	return &RecordWithdrawal{WithdrawalID: of(t, "withdrawal", someWithdrawal, nextWithdrawal),
		Status: of(t, "status", WithdrawalNew, WithdrawalProcessing, WithdrawalConfirmed, WithdrawalCancelled), Amount: "1", Currency: "EUR", Revision: revision}
}
