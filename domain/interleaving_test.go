package domain

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// actions are what may happen, in any order. The test plays the process managers: it links first, and tells the group last.
func (e *estate) actions() map[string]func(*rapid.T) {
	revision := func(t *rapid.T) int64 { return rapid.Int64Range(1, 6).Draw(t, "revision") }
	account := func(t *rapid.T) int { return rapid.IntRange(1, len(e.stages)-1).Draw(t, "account") }
	anyOf := func(t *rapid.T) int { return rapid.IntRange(0, len(e.stages)-1).Draw(t, "aggregate") }
	all := map[string]func(*rapid.T){
		"fact of an account":  func(t *rapid.T) { e.send(t, account(t), accountFact(t, revision(t))) },
		"fact of the group":   func(t *rapid.T) { e.send(t, 0, groupFact(t, revision(t))) },
		"lock":                func(t *rapid.T) { e.send(t, anyOf(t), &Lock{}) },
		"unlock":              func(t *rapid.T) { e.send(t, anyOf(t), &Unlock{}) },
		"close the group":     func(t *rapid.T) { e.send(t, 0, closeGroup("")) },
		"announce":            func(t *rapid.T) { e.send(t, 0, announce("aml")) },
		"link":                func(t *rapid.T) { e.send(t, 0, link(e.stages[account(t)].ref.ID)) },
		"open what is linked": func(t *rapid.T) { e.open(t, account(t)) },
		"close an account":    func(t *rapid.T) { e.send(t, account(t), e.closing(&RequestAccountClosure{})) },
		"tell the group": func(t *rapid.T) {
			if s := e.stages[account(t)]; s.status() == StatusClosed {
				e.send(t, 0, &RecordAccountClosure{AccountID: s.ref.ID, ClosedAt: *s.agg.(*Account).ClosedAt()})
			}
		},
		"send something again": func(t *rapid.T) {
			recent := e.sent[max(0, len(e.sent)-20):]
			again := recent[rapid.IntRange(0, len(recent)-1).Draw(t, "which")]
			if request, ok := again.command.Payload.(*RequestAccountClosure); ok {
				e.closing(request)
			}
			e.deliver(t, again.to, again.command)
		},
		"clear what blocks": func(t *rapid.T) { e.clear(t, anyOf(t)) },
		"":                  e.check,
	}
	maps.Copy(all, e.trade(account))
	maps.Copy(all, e.dates(account, anyOf))
	return all
}

// closing fills in what the engine reads from the group before an account decides on its closing.
func (e *estate) closing(p *RequestAccountClosure) *RequestAccountClosure {
	p.Withdrawals, p.Domicile = e.group().OutstandingWithdrawals(), e.group().Domicile
	return p
}

// trade is what has to do with orders and liquidations.
func (e *estate) trade(account func(*rapid.T) int) map[string]func(*rapid.T) {
	liquidation := func(t *rapid.T) string {
		return of(t, "liquidation", someLiquidation, nextLiquidation, thirdLiquidation)
	}
	return map[string]func(*rapid.T){
		"place an order": func(t *rapid.T) {
			e.send(t, account(t), order(of(t, "order", someOrder, nextOrder), of(t, "side", Buy, Sell), of(t, "isin", basf, apple), of[Decimal](t, "quantity", "1", "2.5")))
		},
		"fact of an order": func(t *rapid.T) {
			to := account(t)
			ids := append(slices.Sorted(maps.Keys(e.models[to].orders)), thirdAccount) // the last one is no order
			e.send(t, to, anyOrderFact(t, of(t, "order", ids...), rapid.Int64Range(1, 4).Draw(t, "revision")))
		},
		"liquidate": func(t *rapid.T) { e.send(t, account(t), liquidate(liquidation(t))) },
		"take back": func(t *rapid.T) { e.send(t, account(t), takeBack(liquidation(t))) },
	}
}

// dates is what has to do with time, and with what comes after the end.
func (e *estate) dates(account, anyOf func(*rapid.T) int) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"time passes": func(t *rapid.T) { e.pass(t) },
		"a timer":     func(t *rapid.T) { e.send(t, anyOf(t), &ReviewClosure{}) },
		"move": func(t *rapid.T) {
			e.send(t, 0, &ChangeDomicile{Domicile: of(t, "country", "GB", "DE"), TaxResidencies: []string{"DE"}})
		},
		"tell an account of a move": func(t *rapid.T) {
			if domicile := e.group().Domicile; domicile != "" {
				e.send(t, account(t), &RecordDomicile{AccountGroupID: someGroup, Domicile: domicile})
			}
		},
		"settle": func(t *rapid.T) {
			to := anyOf(t)
			e.send(t, to, settles(firstReconciliation(e.stages[to])))
		},
		"report a stall": func(t *rapid.T) { e.send(t, anyOf(t), stall(rapid.IntRange(1, 3).Draw(t, "number"))) },
	}
}

// clear sends a fact that takes away one thing that stands against closing. Few runs would come to an end without it.
func (e *estate) clear(t *rapid.T, to int) {
	m := e.models[to]
	keys := slices.Sorted(maps.Keys(m.blocking))
	if len(keys) == 0 {
		return
	}
	key := of(t, "key", keys...)
	revision := m.revisions[key] + 1
	switch m.blocking[key] {
	case OpenPositions:
		e.send(t, to, holds(key, "0", revision))
	case ExpectedCorporateActions:
		e.send(t, to, &RecordCorporateAction{CorporateActionID: key, ISIN: basf, Status: CorporateActionSettled, Revision: revision})
	case OpenOrders:
		if o := m.orders[key]; o.filled { // what it bought is to be recorded
			e.send(t, to, holds(o.isin, "0", m.revisions[o.isin]+1))
			return
		}
		e.send(t, to, of(t, "end", orderIs(key, OrderFilled, revision), orderIs(key, OrderCancelled, revision), orderDid(key, OrderCancelled, "0.5", revision)))
	case CashBalance:
		e.send(t, to, cash(key, "0", revision))
	case OutstandingFees:
		e.send(t, to, &RecordFeeCollection{FeeCollectionID: key, Status: FeeFinalised, Amount: "1", Currency: "EUR", Revision: revision})
	case OutstandingWithdrawals:
		e.send(t, to, withdrawal(key, WithdrawalConfirmed, revision))
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
	e.wake(t)
	for i, s := range e.stages {
		m, closure := e.models[i], s.closure()
		require.Equal(t, m.status(), s.status(), "%v", s.ref)
		stands := map[BlockerCode]bool{}
		for _, b := range closure.Blockers {
			stands[b.Code] = true
			require.False(t, b.Since.IsZero(), "%s stands since never", b.Code)
			require.False(t, b.Since.After(e.clock.now), "%s stands since the future", b.Code)
		}
		require.Equal(t, m.codes(e.clock.now), stands, "%v", s.ref)
		require.Equal(t, m.closed, closure.ClosedAt != nil)
		require.False(t, s.status() == StatusClosing && len(stands) == 0, "CLOSING, and nothing stands against closing")
		require.Len(t, closure.Reconciliation, m.late, "%v: what came after CLOSED is raised, and never lost", s.ref)
	}
	known := e.group().AccountIDs()
	for i, s := range e.stages[1:] {
		if e.models[i+1].opened {
			require.Contains(t, known, s.ref.ID, "an account that its group does not know")
		}
		if e.group().Status() == StatusClosed && slices.Contains(known, s.ref.ID) {
			require.Equal(t, StatusClosed, s.status(), "the group is CLOSED over an account that is not")
		}
		checkLiquidations(t, accountOf(s))
	}
}

// checkLiquidations: each is as far as its orders and its positions are, and one at most is active.
func checkLiquidations(t *rapid.T, a *Account) {
	active := 0
	for _, l := range a.Liquidations() {
		begun, done, sold := false, true, true
		for _, id := range l.OrderIDs {
			o, ok := a.Order(id)
			require.True(t, ok)
			require.Equal(t, l.ID, o.LiquidationID)
			partly := o.FilledQuantity != "" && !o.FilledQuantity.IsZero()
			begun = begun || o.Status == OrderProcessing || o.Status == OrderFilled || partly
			done = done && !o.open() && (o.Status == OrderFilled || a.positions[o.ISIN].Quantity.IsZero())
			sold = sold && !a.positions[o.ISIN].open()
		}
		require.NotEmpty(t, l.OrderIDs, "a liquidation that sells nothing")
		switch l.Status {
		case LiquidationNew:
			active++
			require.False(t, begun || done, "NEW, and it has begun")
		case LiquidationInProcess:
			active++
			require.False(t, done, "PROCESSING, and all is filled")
		case LiquidationAllFilled:
			require.False(t, sold, "FILLED, and nothing is left")
		}
	}
	require.LessOrEqual(t, active, 1)
}

// TestAnyInterleaving: never CLOSED with a blocker, never over an open or unknown account, CLOSED exactly when the last
// blocker goes, and every prefix of the log folds to the state that was.
func TestAnyInterleaving(t *testing.T) {
	closed := map[Kind]int{}
	waited, settled, refused, partly := 0, 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		e := newEstate(t)
		for range 3 { // a whole closing takes more steps than one run has
			t.Repeat(e.actions())
		}
		for i, s := range e.stages {
			folded := New(s.ref)
			for n, line := range s.lines {
				w, events := readCommit(t, line)
				folded.Apply(w.meta(), events)
				require.Equal(t, e.states[i][n], folded, "%v after %d commits", s.ref, n+1)
			}
			if s.status() == StatusClosed {
				closed[s.ref.Kind]++
				waited += len(pick(e.models[i].domicile == "GB", []int{1}, nil))
			}
			settled, refused, partly = settled+e.models[i].settled, refused+e.models[i].refused, partly+e.models[i].partly
		}
	})
	t.Logf("closed %v, %d of them in the UK; %d liquidations settled; %d BUY orders refused, %d cancelled when in part filled",
		closed, waited, settled, refused, partly)
	require.NotZero(t, closed[KindAccount], "no account was ever CLOSED: the property holds of nothing")
	require.NotZero(t, closed[KindAccountGroup], "no group was ever CLOSED: the property holds of nothing")
	require.NotZero(t, waited, "no account of the UK was ever CLOSED")
	require.NotZero(t, refused, "no BUY order ever came too late")
}
