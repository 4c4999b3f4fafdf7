package domain

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// put is try without its repetitions: a property sends thousands of commands, and repeats them by itself.
func (s *stage) put(t rapid.TB, c Command) {
	t.Helper()
	if events, _ := s.decide(t, c); len(events) > 0 {
		s.store(t, c, events)
		s.committed[c.ID] = true
		s.agg.Apply(c.Meta(), events)
	}
}

// model says what an aggregate must be, from the commands alone: the rules of DOMAIN once more, in another form.
type model struct {
	opened, locked, requested, closed bool
	revisions                         map[string]int64
	blocking                          map[string]BlockerCode
}

func (m *model) fact(key string, revision int64, code BlockerCode, blocks bool) {
	if !m.opened || revision <= m.revisions[key] {
		return
	}
	m.revisions[key] = revision
	delete(m.blocking, key)
	if blocks {
		m.blocking[key] = code
	}
}

func (m *model) outstanding() bool {
	return slices.Contains(slices.Collect(maps.Values(m.blocking)), OutstandingWithdrawals)
}

// settle is the exit: CLOSED is reached exactly when the last blocker goes.
func (m *model) settle() {
	m.closed = m.closed || m.requested && !m.locked && len(m.blocking) == 0
}

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

func (m *model) codes() map[BlockerCode]bool {
	out := map[BlockerCode]bool{}
	if m.closed || !m.opened {
		return out
	}
	for _, code := range m.blocking {
		out[code] = true
	}
	if m.locked {
		out[Locked] = true
	}
	return out
}

// estate is a group with up to four accounts, what the model says of each, and the state after each commit.
type estate struct {
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
	e := &estate{}
	add := func(kind Kind, id string) {
		e.stages = append(e.stages, newStage(kind, id))
		e.models = append(e.models, &model{revisions: map[string]int64{}, blocking: map[string]BlockerCode{}})
		e.states = append(e.states, nil)
	}
	add(KindAccountGroup, someGroup)
	for _, id := range []string{firstAccount, secondAccount, thirdAccount, otherGroup}[:rapid.IntRange(1, 4).Draw(t, "accounts")] {
		add(KindAccount, id)
	}
	e.send(t, 0, openGroup())
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
	s := e.stages[to]
	c.Time = s.clock.tick()
	if !s.committed[c.ID] {
		e.predict(to, c.Payload)
	}
	commits := len(s.lines)
	s.put(t, c)
	if len(s.lines) > commits {
		e.states[to] = append(e.states[to], s.agg.Copy())
	}
}

// predict is what the rules say of a command.
func (e *estate) predict(to int, p Payload) {
	m := e.models[to]
	enters := m.status() == StatusActive
	switch p := p.(type) {
	case *OpenAccountGroup, *OpenAccount:
		m.opened = true
	case *Lock:
		m.locked = m.locked || m.opened && !m.closed
	case *Unlock:
		m.locked = false
	case *RequestAccountClosure:
		m.requested = m.requested || enters && !e.models[0].outstanding()
	case *RequestAccountGroupClosure:
		m.requested = m.requested || enters && !m.outstanding() && !p.NotificationOnly
	case *LinkAccount:
		if enters {
			m.fact(p.AccountID, 1, OpenAccounts, true)
		}
	case *RecordAccountClosure:
		m.fact(p.AccountID, 2, OpenAccounts, false)
	case *RecordPosition:
		m.fact(p.ISIN, p.Revision, OpenPositions, !p.Quantity.IsZero() || !p.PendingSettlement.IsZero())
	case *RecordCorporateAction:
		m.fact(p.CorporateActionID, p.Revision, ExpectedCorporateActions, p.Status == CorporateActionExpected)
	case *RecordCashBalance:
		m.fact(p.Currency, p.Revision, CashBalance, !p.Balance.IsZero() || !p.PendingSettlement.IsZero())
	case *RecordFeeCollection:
		m.fact(p.FeeCollectionID, p.Revision, OutstandingFees, p.Status == FeeProcessing)
	case *RecordWithdrawal:
		m.fact(p.WithdrawalID, p.Revision, OutstandingWithdrawals, p.Status == WithdrawalNew || p.Status == WithdrawalProcessing)
	}
	m.settle()
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

// actions are what may happen, in any order. The test plays the process managers: it links first, and tells the group last.
func (e *estate) actions() map[string]func(*rapid.T) {
	revision := func(t *rapid.T) int64 { return rapid.Int64Range(1, 6).Draw(t, "revision") }
	account := func(t *rapid.T) int { return rapid.IntRange(1, len(e.stages)-1).Draw(t, "account") }
	anyOf := func(t *rapid.T) int { return rapid.IntRange(0, len(e.stages)-1).Draw(t, "aggregate") }
	return map[string]func(*rapid.T){
		"fact of an account":  func(t *rapid.T) { e.send(t, account(t), accountFact(t, revision(t))) },
		"fact of the group":   func(t *rapid.T) { e.send(t, 0, groupFact(t, revision(t))) },
		"lock":                func(t *rapid.T) { e.send(t, anyOf(t), &Lock{}) },
		"unlock":              func(t *rapid.T) { e.send(t, anyOf(t), &Unlock{}) },
		"close the group":     func(t *rapid.T) { e.send(t, 0, closeGroup("")) },
		"announce":            func(t *rapid.T) { e.send(t, 0, announce("aml")) },
		"link":                func(t *rapid.T) { e.send(t, 0, link(e.stages[account(t)].ref.ID)) },
		"open what is linked": func(t *rapid.T) { e.open(t, account(t)) },
		"close an account": func(t *rapid.T) {
			e.send(t, account(t), &RequestAccountClosure{Withdrawals: e.group().OutstandingWithdrawals()})
		},
		"tell the group": func(t *rapid.T) {
			if s := e.stages[account(t)]; s.agg.Status() == StatusClosed {
				e.send(t, 0, &RecordAccountClosure{AccountID: s.ref.ID, ClosedAt: *s.agg.(*Account).ClosedAt()})
			}
		},
		"send something again": func(t *rapid.T) {
			recent := e.sent[max(0, len(e.sent)-20):]
			again := recent[rapid.IntRange(0, len(recent)-1).Draw(t, "which")]
			if request, ok := again.command.Payload.(*RequestAccountClosure); ok {
				request.Withdrawals = e.group().OutstandingWithdrawals()
			}
			e.deliver(t, again.to, again.command)
		},
		"": e.check,
	}
}

func (e *estate) open(t *rapid.T, i int) {
	given, linked := e.group().Link(e.stages[i].ref.ID)
	if linked && !e.models[i].opened {
		e.send(t, i, &OpenAccount{AccountGroupID: someGroup, Type: given.Type, Name: given.Name, Link: &given})
	}
}

// check holds after every step.
func (e *estate) check(t *rapid.T) {
	for i, s := range e.stages {
		m, closure := e.models[i], s.closure()
		require.Equal(t, m.status(), s.agg.Status(), "%v", s.ref)
		stands := map[BlockerCode]bool{}
		for _, b := range closure.Blockers {
			stands[b.Code] = true
			require.False(t, b.Since.IsZero(), "%s stands since never", b.Code)
		}
		require.Equal(t, m.codes(), stands, "%v", s.ref)
		require.Equal(t, m.closed, closure.ClosedAt != nil)
		require.False(t, s.agg.Status() == StatusClosing && len(stands) == 0, "CLOSING, and nothing stands against closing")
	}
	known := e.group().AccountIDs()
	for i, s := range e.stages[1:] {
		if e.models[i+1].opened {
			require.Contains(t, known, s.ref.ID, "an account that its group does not know")
		}
		if e.group().Status() == StatusClosed && slices.Contains(known, s.ref.ID) {
			require.Equal(t, StatusClosed, s.agg.Status(), "the group is CLOSED over an account that is not")
		}
	}
}

// TestAnyInterleaving: never CLOSED with a blocker, never over an open or unknown account, CLOSED exactly when the last
// blocker goes, and every prefix of the log folds to the state that was.
func TestAnyInterleaving(t *testing.T) {
	closed := map[Kind]int{}
	rapid.Check(t, func(t *rapid.T) {
		e := newEstate(t)
		t.Repeat(e.actions())
		for i, s := range e.stages {
			folded := New(s.ref)
			for n, line := range s.lines {
				w, events := readCommit(t, line)
				folded.Apply(w.meta(), events)
				require.Equal(t, e.states[i][n], folded, "%v after %d commits", s.ref, n+1)
			}
			if s.agg.Status() == StatusClosed {
				closed[s.ref.Kind]++
			}
		}
	})
	require.NotZero(t, closed[KindAccount], "no account was ever CLOSED: the property holds of nothing")
	require.NotZero(t, closed[KindAccountGroup], "no group was ever CLOSED: the property holds of nothing")
}
