package domain

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// checkPlausible folds a log of one aggregate, asks of each commit, and gives how many there were. Each commit is also
// tried with an event less, with one more, and a second time: none of these could be.
func checkPlausible(t rapid.TB, ref Ref, lines [][]byte) int {
	t.Helper()
	a := New(ref)
	for n, line := range lines {
		w, events := readCommit(t, line)
		before := a.Copy()
		require.NoError(t, Plausible(a, w.meta(), events), "%v, commit %d", ref, n+1)
		require.Equal(t, before, a, "Plausible changed the aggregate")

		if !isOpening(events[0]) {
			require.Error(t, Plausible(a, w.meta(), events[:len(events)-1]), "%v, commit %d without %s", ref, n+1, names(events[len(events)-1:]))
		}
		for _, more := range []Event{Closed{}, Offboarded{}, LockApplied{}, events[len(events)-1]} {
			require.Error(t, Plausible(a, w.meta(), append(slices.Clone(events), more)), "%v, commit %d and %s", ref, n+1, names([]Event{more}))
		}
		a.Apply(w.meta(), events)
		require.Error(t, Plausible(a, w.meta(), events), "%v, commit %d for a second time", ref, n+1)
	}
	return len(lines)
}

// isOpening tells of an opening: with Activated and without it, both may be.
func isOpening(e Event) bool {
	switch e.(type) {
	case AccountOpened, AccountGroupOpened:
		return true
	}
	return false
}

// TestWhatIsDecidedIsPlausible: whatever the domain decides, in any interleaving, may stand where it stands.
func TestWhatIsDecidedIsPlausible(t *testing.T) {
	seen := 0
	rapid.Check(t, func(t *rapid.T) {
		e := newEstate(t)
		for range 2 {
			t.Repeat(e.actions())
		}
		for _, s := range e.stages {
			seen += checkPlausible(t, s.ref, s.lines)
		}
	})
	require.Greater(t, seen, 1000, "the property holds of nothing")
}

func TestWhatUsersDecideIsPlausible(t *testing.T) {
	seen := 0
	rapid.Check(t, func(t *rapid.T) {
		s := newStage(KindUser, owner)
		for range rapid.IntRange(1, 30).Draw(t, "commands") {
			s.put(t, s.command(userCommand(t)))
		}
		seen += checkPlausible(t, s.ref, s.lines)
	})
	require.Greater(t, seen, 100, "the property holds of nothing")
}

// TestGoldenLogsArePlausible: what engines of their time wrote stays plausible. It also has what the estate has not: reports,
// tax bookings, renames, cancelled liquidations.
func TestGoldenLogsArePlausible(t *testing.T) {
	types := map[string]bool{}
	for _, path := range []string{goldenLog, secondGoldenLog, thirdGoldenLog, fourthGoldenLog} {
		logs := map[Ref][][]byte{}
		for _, line := range readLog(t, path) {
			w, events := readCommit(t, line)
			ref := Ref{Kind: w.Aggregate, ID: w.AggregateID}
			logs[ref] = append(logs[ref], line)
			for _, e := range events {
				types[EventType(ref.Kind, e)] = true
			}
		}
		for ref, lines := range logs {
			checkPlausible(t, ref, lines)
		}
	}
	for _, name := range EventTypes() {
		require.True(t, types[name], "no golden log has %s, so nothing shows that it can be plausible", name)
	}
}

// TestImplausible has what could never be, one by one, with what the error says of it.
func TestImplausible(t *testing.T) {
	parties, at := users(), time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)
	accountOpened := AccountOpened{AccountGroupID: someGroup, Type: Trading, Name: "Savings", AccountNumber: 1, Users: parties}
	groupOpened := AccountGroupOpened{Users: parties, Type: "PERSONAL", TaxResidencies: []string{}, SecuritiesAccountNumber: "1000001"}
	holding := func(quantity Decimal, revision int64) PositionRecorded {
		return PositionRecorded{ISIN: basf, Quantity: quantity, PendingSettlement: "0", Revision: revision}
	}
	buy := OrderPlaced{OrderID: someOrder, UserID: owner, Side: Buy, ISIN: basf, Quantity: "1"}
	bought := after(activeAccount, order(someOrder, Buy, basf, "5"), &RequestAccountClosure{})
	cancelled := func(filled Decimal) OrderRecorded {
		return OrderRecorded{OrderID: someOrder, Status: OrderCancelled, PreviousStatus: OrderNew, FilledQuantity: filled, Revision: 1}
	}
	madeReport := ReportCreated(*report(owner))
	newAccount, newGroup, newUser := newStage(KindAccount, firstAccount), newStage(KindAccountGroup, someGroup), newStage(KindUser, owner)
	for name, c := range map[string]struct {
		stage   *stage
		command string
		events  []Event
		says    string
	}{
		"nothing":                     {newAccount, "lock", nil, "no event"},
		"a life without a beginning":  {newAccount, "lock", []Event{LockApplied{}}, "there is no account with the id"},
		"a group without a beginning": {newGroup, "record_cash_balance", []Event{CashBalanceRecorded{"EUR", "1", "0", 1}}, "there is no account group"},
		"a user without a group":      {newUser, "request_offboarding", []Event{OffboardingInitiated{}, Offboarded{}}, "there is no user"},
		"a second beginning":          {activeAccount(t), "open", []Event{accountOpened, Activated{}}, "it was so already"},
		"another beginning":           {activeGroup(t), "open", []Event{groupOpened, Activated{}}, "is taken by an account group with other content"},
		"closed at once":              {activeAccount(t), "review_closure", []Event{Closed{}}, "it was so already"},
		"closed over a position":      {closingAccount(t), "review_closure", []Event{Closed{}}, "it was so already"},
		"closed over what is left":    {closingAccount(t), "record_position", []Event{holding("1", 2), Closed{}}, "event 1, account.closed, could not be decided: nothing follows"},
		"not closed":                  {closingAccount(t), "record_position", []Event{holding("0", 2)}, "account.closed is missing"},
		"closed over an account":      {closingGroup(t), "record_cash_balance", []Event{CashBalanceRecorded{"EUR", "0", "0", 1}, Closed{}}, "nothing follows"},
		"an old revision":             {closingAccount(t), "record_position", []Event{holding("0", 1), Closed{}}, "its revision is an old one"},
		"closing for a second time":   {closingAccount(t), "request_closure", []Event{ClosingInitiated{}}, "it was so already"},
		"closing after the end":       {closedAccount(t), "request_closure", []Event{ClosingInitiated{}}, "the status is CLOSED"},
		"a BUY while CLOSING":         {closingAccount(t), "place_order", []Event{buy}, "it takes SELL orders only"},
		"unlocked without a lock":     {activeAccount(t), "unlock", []Event{Unlocked{}}, "it was so already"},
		"activated again":             {activeGroup(t), "activate", []Event{Activated{}}, "it was so already"},
		"a report before the end":     {closingGroup(t), "record_report", []Event{madeReport}, "a report of its closing is possible in CLOSED"},
		"late, and nobody is told":    {closedAccount(t), "record_position", []Event{holding("1", 3)}, "account.reconciliation_required is missing"},
		"told of what did not come":   {closedAccount(t), "settle_reconciliation", []Event{ReconciliationSettled{someFee, "done"}}, "nothing to settle"},
		"offboarded over a group":     {activeUser(t), "request_offboarding", []Event{OffboardingInitiated{}, Offboarded{}}, "OPEN_ACCOUNT_GROUPS"},
		"the end by itself":           {activeUser(t), "request_offboarding", []Event{Offboarded{}}, "user.offboarded, cannot be the first event"},
		"a stall of what is over":     {closedAccount(t), "report_stall", []Event{ClosureStalled{Number: 1}}, "it was so already"},
		"another account's number":    {activeGroup(t), "link_account", []Event{AccountLinked{firstAccount, 2, Trading, "Savings", StatusActive}}, `it had to be account_group.account_linked {"account_id"`},
		"a closing of a stranger":     {activeGroup(t), "record_account_closure", []Event{AccountClosureRecorded{firstAccount, at}}, "is not one of the account group"},
		"an ISIN that is none":        {activeAccount(t), "record_position", []Event{PositionRecorded{"DE000BASF112", "1", "0", 1}}, "check digit"},
		"another command":             {activeAccount(t), "unlock", []Event{LockApplied{}}, `does not come from the command "unlock", but from lock`},
		"closed over what was bought": {bought(t), "record_order", []Event{cancelled("0.5"), Closed{}}, "event 1, account.closed, could not be decided: nothing follows"},
		"not closed over nothing":     {bought(t), "record_order", []Event{cancelled("0")}, "account.closed is missing"},
		"cancelled, and half said":    {bought(t), "record_order", []Event{cancelled(""), Closed{}}, `it had to be account.order_recorded {"order_id":"` + someOrder},
		"filled with nothing": {bought(t), "record_order", []Event{OrderRecorded{OrderID: someOrder, Status: OrderFilled, PreviousStatus: OrderNew, FilledQuantity: "0", Revision: 1}},
			"filled_quantity: must be above zero"},
		"an event of another kind": {activeAccount(t), "record_cash_balance", []Event{CashBalanceRecorded{"EUR", "1", "0", 1}}, "cannot be the first event of a commit of an account"},
	} {
		t.Run(name, func(t *testing.T) {
			m := c.stage.command(&Lock{}).Meta()
			m.Command = c.command
			require.ErrorContains(t, Plausible(c.stage.agg, m, c.events), c.says)
		})
	}
}

// TestAnotherClientIsImplausible: an aggregate has one client from its first commit to its last.
func TestAnotherClientIsImplausible(t *testing.T) {
	s := activeAccount(t)
	m := s.command(&Lock{}).Meta()
	require.NoError(t, Plausible(s.agg, m, []Event{LockApplied{}}))
	m.ClientID = otherClient
	require.ErrorContains(t, Plausible(s.agg, m, []Event{LockApplied{}}), "there is no account")
}

// TestStallsAreReportedLater: a report of a stall before its closing was asked for is none.
func TestStallsAreReportedLater(t *testing.T) {
	s := closingAccount(t)
	m := s.command(stall(1)).Meta()
	require.NoError(t, Plausible(s.agg, m, []Event{ClosureStalled{Number: 1}}))
	m.Time = *accountOf(s).RequestedAt()
	require.Error(t, Plausible(s.agg, m, []Event{ClosureStalled{Number: 1}}))
}
