package readmodel_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/projections/readmodel"
)

// checkClosures reads a list in pages of several sizes, and compares it with what has to be there.
func checkClosures(t *testing.T, m *readmodel.Model, q domain.ClosureQuery, want []domain.ClosureItem) {
	t.Helper()
	for _, size := range []int{2, 0} {
		all := []domain.ClosureItem{}
		for {
			q.Limit, q.Offset = size, len(all)
			items, total, err := m.Closures(testContext(t), q)
			require.NoError(t, err)
			require.NotNil(t, items, "a page is a list, also when it is empty")
			require.Equal(t, len(want), total, "the total of %+v", q)
			if size > 0 {
				require.LessOrEqual(t, len(items), size)
			}
			if all = append(all, items...); len(items) == 0 {
				break
			}
		}
		require.Equal(t, want, all, "%+v", q)
	}
}

// checkAllClosures compares the lists of every combination of filters, and counts what each single filter found.
func checkAllClosures(t *testing.T, w *world, m *readmodel.Model, clients ...string) map[string]int {
	t.Helper()
	all, found := w.wantClosures(), map[string]int{}
	for _, client := range append(clients, "") {
		for _, status := range append(domain.Statuses(), "") {
			for _, code := range append(domain.BlockerCodes(), "") {
				for _, reconciliation := range []bool{false, true} {
					q := domain.ClosureQuery{ClientID: client, Status: status, Blocker: code, Reconciliation: reconciliation}
					want := filtered(all, q)
					checkClosures(t, m, q, want)
					found["client "+client] += len(want)
					found["status "+string(status)] += len(want)
					found["blocker "+string(code)] += len(want)
					if reconciliation {
						found["reconciliation"] += len(want)
					}
				}
			}
		}
	}
	return found
}

// closings gives a client closings of every status with every blocker: some were asked for at the same time, one is of an
// account and a group with the same id, and some resources are not closing at all.
func closings(w *world) {
	w.t.Helper()
	owner := domain.Party{ID: uuid.NewString(), Type: domain.Owner}
	group, same := w.openGroup(owner), uuid.NewString()
	w.openAccount(group, "stays open")
	var opened []string
	for _, name := range []string{"positions", "action", "order", "uk", "locked", "closed"} {
		opened = append(opened, w.openAccount(group, name))
	}
	w.openAccountAs(same, group, "has the id of a group")
	w.openGroupAs(same, owner)
	w.position(opened[0], isin1, "5", 1)
	w.do(domain.KindAccount, opened[1], &domain.RecordCorporateAction{
		CorporateActionID: uuid.NewString(), ISIN: isin1, Status: domain.CorporateActionExpected, Revision: 1,
	})
	w.placeOrder(opened[2], domain.Sell)
	w.position(opened[4], isin2, "1", 1)
	// The later ones are asked first, so that the order of the log is not that of the list.
	at := w.now
	for i, account := range slices.Backward(append(opened, same)) {
		domicile := ""
		if account == opened[3] {
			domicile = "GB"
		}
		w.do(domain.KindAccount, account, &domain.RequestAccountClosure{Domicile: domicile})
		if i%3 != 0 {
			w.now = at
		}
	}
	w.do(domain.KindAccount, opened[4], &domain.Lock{})
	w.position(opened[5], isin2, "3", 1) // after CLOSED
	closingGroups(w, owner, group, same)
}

func closingGroups(w *world, owner domain.Party, group, same string) {
	w.t.Helper()
	at := w.now
	w.do(domain.KindAccountGroup, group, &domain.RequestAccountGroupClosure{ClosureReason: "dunning"}) // accounts are open
	w.now = *w.account(same).RequestedAt()
	w.do(domain.KindAccountGroup, same, &domain.RequestAccountGroupClosure{})
	w.now = at
	cash, announced := w.openGroup(owner), w.openGroup(owner)
	w.do(domain.KindAccountGroup, announced, &domain.RequestAccountGroupClosure{NotificationOnly: true})
	w.do(domain.KindAccountGroup, cash, &domain.RecordCashBalance{Currency: "EUR", Balance: "-1", Revision: 1})
	w.do(domain.KindAccountGroup, cash, &domain.RequestAccountGroupClosure{ClosureReason: domain.ReasonAML})
	w.do(domain.KindAccountGroup, cash, &domain.RecordFeeCollection{
		FeeCollectionID: uuid.NewString(), Status: domain.FeeProcessing, Amount: "1", Currency: "EUR", Revision: 1,
	})
	w.do(domain.KindAccountGroup, cash, &domain.RecordWithdrawal{
		WithdrawalID: uuid.NewString(), Status: domain.WithdrawalNew, Amount: "1", Currency: "EUR", Revision: 1,
	})
}

// Every combination of filters, in pages, for two clients and for operators: the same as the single resources say; and a file
// that is built from scratch shows it, too.
func TestClosures(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	first, second := w.client, uuid.NewString()
	closings(w)
	w.client, w.now = second, w.now.AddDate(0, 0, -1) // its requests are older, and were written later
	closings(w)
	caughtUp(t, w.log, m)
	found := checkAllClosures(t, w, m, first, second, uuid.NewString())
	fresh, _ := started(t, w.log, file(t))
	caughtUp(t, w.log, fresh)
	checkAllClosures(t, w, fresh, first)

	// The comparison above would hold for empty lists, too.
	for _, status := range []domain.Status{domain.StatusClosing, domain.StatusLocked, domain.StatusClosed} {
		require.NotZero(t, found["status "+string(status)], status)
	}
	for _, code := range domain.BlockerCodes() {
		require.NotZero(t, found["blocker "+string(code)], code)
	}
	require.NotZero(t, found["reconciliation"])
	require.Equal(t, found["client "+first], found["client "+second])
	for client, n := range map[string]int{first: 10, second: 10, "": 20} {
		_, total, err := m.Closures(testContext(t), domain.ClosureQuery{ClientID: client})
		require.NoError(t, err)
		require.Equal(t, n, total, "closings of client %q", client)
	}
}

// lookup gives the one closing in a list, or nil.
func lookup(t *testing.T, m *readmodel.Model, q domain.ClosureQuery) *domain.ClosureItem {
	t.Helper()
	items, total, err := m.Closures(testContext(t), q)
	require.NoError(t, err)
	require.Len(t, items, total)
	if total == 0 {
		return nil
	}
	require.Equal(t, 1, total)
	return &items[0]
}

// The list follows each step of a closing: CLOSING, LOCKED, CLOSED, something to reconcile, and settled. What no longer
// blocks is not found any more.
func TestClosuresFollowTheClosing(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	account := w.openAccount(w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner}), "one")
	w.position(account, isin1, "5", 1)
	look := func(status domain.Status, reconciliation bool, blockers ...domain.BlockerCode) {
		t.Helper()
		caughtUp(t, w.log, m)
		checkClosures(t, m, domain.ClosureQuery{}, w.wantClosures())
		if status == "" {
			require.Nil(t, lookup(t, m, domain.ClosureQuery{ClientID: w.client}))
			return
		}
		require.NotNil(t, lookup(t, m, domain.ClosureQuery{ClientID: w.client, Status: status}), status)
		for _, code := range domain.BlockerCodes() {
			item := lookup(t, m, domain.ClosureQuery{Status: status, Blocker: code})
			require.Equal(t, slices.Contains(blockers, code), item != nil, code)
		}
		require.Equal(t, reconciliation, lookup(t, m, domain.ClosureQuery{Reconciliation: true}) != nil)
	}
	look("", false)
	w.closeAccount(account)
	look(domain.StatusClosing, false, domain.OpenPositions)
	order := w.placeOrder(account, domain.Sell)
	look(domain.StatusClosing, false, domain.OpenPositions, domain.OpenOrders)
	w.do(domain.KindAccount, account, &domain.Lock{})
	look(domain.StatusLocked, false, domain.OpenPositions, domain.OpenOrders, domain.Locked)
	w.position(account, isin1, "0", 2)
	look(domain.StatusLocked, false, domain.OpenOrders, domain.Locked)
	w.do(domain.KindAccount, account, &domain.Unlock{})
	look(domain.StatusClosing, false, domain.OpenOrders)
	w.do(domain.KindAccount, account, &domain.RecordOrder{OrderID: order, Status: domain.OrderFilled, Revision: 1})
	look(domain.StatusClosed, false)
	w.position(account, isin1, "1", 3)
	w.position(account, isin2, "1", 1)
	look(domain.StatusClosed, true)
	for _, r := range w.account(account).Reconciliations() {
		look(domain.StatusClosed, true)
		w.do(domain.KindAccount, account, &domain.SettleReconciliation{ReconciliationID: r.ID, Note: "moved to another account"})
	}
	look(domain.StatusClosed, false)
}

// A blocker that stays under its code and changes within is shown as it is.
func TestClosuresShowWhatChangesWithinABlocker(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	account := w.openAccount(w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner}), "one")
	w.position(account, isin1, "5", 1)
	w.closeAccount(account)
	for i, left := range []domain.Decimal{"4", "0.5"} {
		w.position(account, isin1, left, int64(i+2))
		caughtUp(t, w.log, m)
		item := lookup(t, m, domain.ClosureQuery{Blocker: domain.OpenPositions})
		require.NotNil(t, item)
		require.Equal(t, left, item.Closure.Blockers[0].Items[0].Quantity)
	}
}

// A closing is shown as of its last commit: the end of the tax year blocks no more in the first commit behind it, which shows
// the date all the same.
func TestClosuresAreAsOfTheLastCommit(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	account := w.openAccount(w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner}), "one")
	w.position(account, isin1, "5", 1)
	w.do(domain.KindAccount, account, &domain.RequestAccountClosure{Domicile: "GB"})
	end := domain.TaxYearEnd(w.now)
	look := func(blocked bool) {
		t.Helper()
		caughtUp(t, w.log, m)
		require.Equal(t, blocked, lookup(t, m, domain.ClosureQuery{Blocker: domain.TaxYearEndBlocker}) != nil)
		item := lookup(t, m, domain.ClosureQuery{Blocker: domain.OpenPositions})
		require.NotNil(t, item)
		require.Equal(t, &end, item.Closure.NextEligibleAt)
	}
	look(true)
	w.now = end.Add(-time.Second)
	w.position(account, isin1, "4", 2)
	look(true)
	w.position(account, isin1, "3", 3) // a second later
	look(false)
}

// A query that cannot be is refused in words for a client, and nothing of it reaches the SQL.
func TestBadClosureQueries(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	for detail, q := range map[string]domain.ClosureQuery{
		"offset: must be 0 or more, got -1":  {Offset: -1},
		"limit: must be 1 to 1000, got 1001": {Limit: domain.MaxLimit + 1},
		"limit: must be 1 to 1000, got -1":   {Limit: -1},
		`status: must be one of PENDING_APPROVAL, ACTIVE, CLOSING, CLOSED, LOCKED, got "closing"`: {Status: "closing"},
		`blocker: must be one of OPEN_POSITIONS, EXPECTED_CORPORATE_ACTIONS, OPEN_ORDERS, TAX_YEAR_END, OPEN_ACCOUNTS, ` +
			`OUTSTANDING_FEES, OUTSTANDING_WITHDRAWALS, CASH_BALANCE, LOCKED, got "' OR 1 = 1"`: {Blocker: "' OR 1 = 1"},
	} {
		items, total, err := m.Closures(testContext(t), q)
		var refusal *domain.Refusal
		require.True(t, errors.As(err, &refusal), "%v", err)
		require.Equal(t, domain.Refusal{Kind: domain.Invalid, Detail: detail}, *refusal)
		require.Nil(t, items)
		require.Zero(t, total)
	}
	// Codes that stand against offboarding a user are in no closing, and values of a client are values to SQL.
	_, _, err := m.Closures(testContext(t), domain.ClosureQuery{Blocker: domain.OpenAccountGroups})
	require.Error(t, err)
	items, _, err := m.Closures(testContext(t), domain.ClosureQuery{ClientID: "' OR 1 = 1 --"})
	require.NoError(t, err)
	require.Empty(t, items)
}
