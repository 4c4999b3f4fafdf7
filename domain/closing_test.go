package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// step is a command of a story, what it must answer, and what the resource must be after it.
type step struct {
	send Payload
	// want is what is recorded, "unchanged", or a refusal and the code of what stands against it: "conflict, LOCKED".
	want   string
	status Status
	// blockers are the codes that stand after the step.
	blockers string
}

// story is a table of steps.
type story struct {
	name  string
	begin func(rapid.TB) *stage
	steps []step
}

func tell(t *testing.T, stories []story) {
	t.Helper()
	for _, story := range stories {
		t.Run(story.name, func(t *testing.T) {
			s := story.begin(t)
			for i, step := range story.steps {
				events, refusal := s.try(t, s.command(step.send))
				require.Equal(t, step.want, answer(events, refusal), "step %d: %s", i+1, step.send.CommandName())
				require.Equal(t, step.status, s.status(), "step %d: %s", i+1, step.send.CommandName())
				require.Equal(t, step.blockers, codes(s.closure().Blockers), "step %d: %s", i+1, step.send.CommandName())
			}
		})
	}
}

func answer(events []Event, refusal *Refusal) string {
	switch {
	case refusal != nil:
		return strings.Trim(string(refusal.Kind)+", "+codes(refusal.Blockers), ", ")
	case len(events) == 0:
		return "unchanged"
	}
	return names(events)
}

var outstanding = &Blocker{Code: OutstandingWithdrawals, Detail: "one is", Items: []Item{{ID: someWithdrawal}}}

// TestClosingEntry has each row of DOMAIN "Closing: entry", for the account and the group.
func TestClosingEntry(t *testing.T) {
	account, group := unopened(KindAccount, firstAccount), unopened(KindAccountGroup, someGroup)
	pending := openGroup()
	pending.Status = StatusPendingApproval
	request := &RequestAccountClosure{}
	tell(t, []story{
		{"unknown account", account, []step{{request, "not_found", "", ""}}},
		{"unknown group", group, []step{{closeGroup(""), "not_found", "", ""}, {announce(""), "not_found", "", ""}}},
		{"account, nothing against it: one commit", activeAccount, []step{{request, "closing_initiated, closed", StatusClosed, ""}}},
		{"group, nothing against it: one commit", activeGroup, []step{{closeGroup("aml"), "closing_initiated, closed", StatusClosed, ""}}},
		{"account, its group has a withdrawal", activeAccount, []step{
			{&RequestAccountClosure{Withdrawals: outstanding}, "conflict, OUTSTANDING_WITHDRAWALS", StatusActive, ""},
			{request, "closing_initiated, closed", StatusClosed, ""},
		}},
		{"group with a withdrawal, NEW and PROCESSING", activeGroup, []step{
			{withdrawal(someWithdrawal, WithdrawalNew, 1), "withdrawal_recorded", StatusActive, "OUTSTANDING_WITHDRAWALS"},
			{closeGroup(""), "conflict, OUTSTANDING_WITHDRAWALS", StatusActive, "OUTSTANDING_WITHDRAWALS"},
			{announce(""), "conflict, OUTSTANDING_WITHDRAWALS", StatusActive, "OUTSTANDING_WITHDRAWALS"},
			{withdrawal(someWithdrawal, WithdrawalProcessing, 2), "withdrawal_recorded", StatusActive, "OUTSTANDING_WITHDRAWALS"},
			{closeGroup(""), "conflict, OUTSTANDING_WITHDRAWALS", StatusActive, "OUTSTANDING_WITHDRAWALS"},
			{withdrawal(someWithdrawal, WithdrawalCancelled, 3), "withdrawal_recorded", StatusActive, ""},
			{closeGroup(""), "closing_initiated, closed", StatusClosed, ""},
		}},
		{"account, CLOSING already", closingAccount, []step{
			{request, "unchanged", StatusClosing, "OPEN_POSITIONS"},
			{&RequestAccountClosure{Withdrawals: outstanding}, "unchanged", StatusClosing, "OPEN_POSITIONS"},
		}},
		{"group, CLOSING already", closingGroup, []step{
			{closeGroup("aml"), "unchanged", StatusClosing, "OPEN_ACCOUNTS"},
			{announce("aml"), "unchanged", StatusClosing, "OPEN_ACCOUNTS"},
			{withdrawal(someWithdrawal, WithdrawalNew, 1), "withdrawal_recorded", StatusClosing, "OPEN_ACCOUNTS, OUTSTANDING_WITHDRAWALS"},
			{closeGroup(""), "unchanged", StatusClosing, "OPEN_ACCOUNTS, OUTSTANDING_WITHDRAWALS"},
		}},
		{"account, CLOSED", closedAccount, []step{{request, "conflict", StatusClosed, ""}}},
		{"group, CLOSED", closedGroup, []step{{closeGroup(""), "conflict", StatusClosed, ""}, {announce(""), "conflict", StatusClosed, ""}}},
		{"account, LOCKED, and with a closure in progress", after(activeAccount, &Lock{}), []step{{request, "conflict, LOCKED", StatusLocked, "LOCKED"}}},
		{"account, LOCKED with a closure in progress", after(closingAccount, &Lock{}), []step{
			{request, "conflict, LOCKED", StatusLocked, "OPEN_POSITIONS, LOCKED"},
			{&RequestAccountClosure{Withdrawals: outstanding}, "conflict, LOCKED", StatusLocked, "OPEN_POSITIONS, LOCKED"},
		}},
		{"group, LOCKED with a closure in progress", after(closingGroup, &Lock{}), []step{
			{closeGroup(""), "conflict, LOCKED", StatusLocked, "OPEN_ACCOUNTS, LOCKED"},
			{announce(""), "conflict, LOCKED", StatusLocked, "OPEN_ACCOUNTS, LOCKED"},
		}},
		{"account, PENDING_APPROVAL", after(account, openAccount(StatusPendingApproval)), []step{{request, "conflict", StatusPendingApproval, ""}}},
		{"group, PENDING_APPROVAL", after(group, pending), []step{
			{closeGroup(""), "conflict", StatusPendingApproval, ""}, {announce(""), "conflict", StatusPendingApproval, ""},
		}},
		{"group with open accounts", activeGroup, []step{
			{link(firstAccount), "account_linked", StatusActive, "OPEN_ACCOUNTS"},
			{closeGroup(""), "closing_initiated", StatusClosing, "OPEN_ACCOUNTS"},
		}},
		{"group, notification only", activeGroup, []step{
			{link(firstAccount), "account_linked", StatusActive, "OPEN_ACCOUNTS"},
			{announce("risk_based"), "closure_announced", StatusActive, "OPEN_ACCOUNTS"},
			{announce("aml"), "unchanged", StatusActive, "OPEN_ACCOUNTS"},
			{closeGroup(""), "closing_initiated", StatusClosing, "OPEN_ACCOUNTS"},
		}},
	})
}

// TestEntryRefusalsNameTheStatus checks the words that a client reads.
func TestEntryRefusalsNameTheStatus(t *testing.T) {
	for _, kind := range closableKinds() {
		for _, s := range situations(kind) {
			stage := s.make(t)
			_, refusal := stage.decide(t, stage.command(commands(kind)["request_closure"](stage)))
			if refusal == nil || refusal.Kind != Conflict || codes(refusal.Blockers) == string(OutstandingWithdrawals) {
				continue
			}
			require.Contains(t, refusal.Detail, "the status is "+string(stage.status()), "%s %s", kind, s.name)
			require.Contains(t, refusal.Detail, "possible in ACTIVE", "%s %s", kind, s.name)
		}
	}
	refusal := activeAccount(t).refuses(t, &RequestAccountClosure{Withdrawals: outstanding}, Conflict)
	require.Contains(t, refusal.Detail, "OUTSTANDING_WITHDRAWALS: ")
	require.Equal(t, []Blocker{*outstanding}, refusal.Blockers)
	require.Equal(t, "conflict: "+refusal.Detail, refusal.Error())
}

// TestClosingExit has each exit condition alone: closing waits for it, and ends in the commit that clears it.
func TestClosingExit(t *testing.T) {
	request := &RequestAccountClosure{}
	pendingSale := &RecordPosition{ISIN: basf, Quantity: "0", PendingSettlement: "3.5", Revision: 2}
	pendingCash := &RecordCashBalance{Currency: "EUR", Balance: "0", PendingSettlement: "-1", Revision: 2}
	tell(t, []story{
		{"positions: quantity, short, then settlement", activeAccount, []step{
			{holds(basf, "10", 1), "position_recorded", StatusActive, "OPEN_POSITIONS"},
			{request, "closing_initiated", StatusClosing, "OPEN_POSITIONS"},
			{pendingSale, "position_recorded", StatusClosing, "OPEN_POSITIONS"},
			{holds(basf, "-1", 3), "position_recorded", StatusClosing, "OPEN_POSITIONS"},
			{holds(basf, "-0.000", 4), "position_recorded, closed", StatusClosed, ""},
		}},
		{"positions: every one", activeAccount, []step{
			{holds(basf, "10", 1), "position_recorded", StatusActive, "OPEN_POSITIONS"},
			{request, "closing_initiated", StatusClosing, "OPEN_POSITIONS"},
			{holds(apple, "1", 1), "position_recorded", StatusClosing, "OPEN_POSITIONS"},
			{holds(basf, "0", 2), "position_recorded", StatusClosing, "OPEN_POSITIONS"},
			{holds(apple, "0", 2), "position_recorded, closed", StatusClosed, ""},
		}},
		{"corporate actions: settled or cancelled", activeAccount, []step{
			{action(CorporateActionExpected, 1), "corporate_action_recorded", StatusActive, "EXPECTED_CORPORATE_ACTIONS"},
			{request, "closing_initiated", StatusClosing, "EXPECTED_CORPORATE_ACTIONS"},
			{holds(basf, "1", 1), "position_recorded", StatusClosing, "OPEN_POSITIONS, EXPECTED_CORPORATE_ACTIONS"},
			{action(CorporateActionCancelled, 2), "corporate_action_recorded", StatusClosing, "OPEN_POSITIONS"},
			{action(CorporateActionExpected, 3), "corporate_action_recorded", StatusClosing, "OPEN_POSITIONS, EXPECTED_CORPORATE_ACTIONS"},
			{holds(basf, "0", 2), "position_recorded", StatusClosing, "EXPECTED_CORPORATE_ACTIONS"},
			{action(CorporateActionSettled, 4), "corporate_action_recorded, closed", StatusClosed, ""},
		}},
		{"accounts of the group: every one", activeGroup, []step{
			{link(firstAccount), "account_linked", StatusActive, "OPEN_ACCOUNTS"},
			{link(secondAccount), "account_linked", StatusActive, "OPEN_ACCOUNTS"},
			{closeGroup(""), "closing_initiated", StatusClosing, "OPEN_ACCOUNTS"},
			{closureOf(secondAccount), "account_closure_recorded", StatusClosing, "OPEN_ACCOUNTS"},
			{closureOf(firstAccount), "account_closure_recorded, closed", StatusClosed, ""},
		}},
		{"accounts of the group: a link is withdrawn", closingGroup, []step{
			{&WithdrawAccountLink{AccountID: firstAccount}, "account_link_withdrawn, closed", StatusClosed, ""},
		}},
		{"fees", activeGroup, []step{
			{fee(FeeProcessing, 1), "fee_collection_recorded", StatusActive, "OUTSTANDING_FEES"},
			{closeGroup(""), "closing_initiated", StatusClosing, "OUTSTANDING_FEES"},
			{fee(FeeProcessing, 2), "fee_collection_recorded", StatusClosing, "OUTSTANDING_FEES"},
			{fee(FeeFinalised, 3), "fee_collection_recorded, closed", StatusClosed, ""},
		}},
		{"withdrawals stay possible, and block", activeGroup, []step{
			{fee(FeeProcessing, 1), "fee_collection_recorded", StatusActive, "OUTSTANDING_FEES"},
			{closeGroup(""), "closing_initiated", StatusClosing, "OUTSTANDING_FEES"},
			{withdrawal(someWithdrawal, WithdrawalNew, 1), "withdrawal_recorded", StatusClosing, "OUTSTANDING_FEES, OUTSTANDING_WITHDRAWALS"},
			{fee(FeeCancelled, 2), "fee_collection_recorded", StatusClosing, "OUTSTANDING_WITHDRAWALS"},
			{withdrawal(someWithdrawal, WithdrawalProcessing, 2), "withdrawal_recorded", StatusClosing, "OUTSTANDING_WITHDRAWALS"},
			{withdrawal(someWithdrawal, WithdrawalConfirmed, 3), "withdrawal_recorded, closed", StatusClosed, ""},
		}},
		{"cash: each currency, owed too, and settlement", activeGroup, []step{
			{cash("EUR", "0.01", 1), "cash_balance_recorded", StatusActive, "CASH_BALANCE"},
			{closeGroup(""), "closing_initiated", StatusClosing, "CASH_BALANCE"},
			{cash("USD", "-5", 1), "cash_balance_recorded", StatusClosing, "CASH_BALANCE"},
			{pendingCash, "cash_balance_recorded", StatusClosing, "CASH_BALANCE"},
			{cash("USD", "0", 2), "cash_balance_recorded", StatusClosing, "CASH_BALANCE"},
			{cash("EUR", "0.00", 3), "cash_balance_recorded, closed", StatusClosed, ""},
		}},
	})
}

// TestLocks has what DOMAIN says of a lock: it does not lose a closure in progress, and nothing closes under it.
func TestLocks(t *testing.T) {
	tell(t, []story{
		{"account", closingAccount, []step{
			{&Lock{}, "locked", StatusLocked, "OPEN_POSITIONS, LOCKED"},
			{holds(basf, "0", 2), "position_recorded", StatusLocked, "LOCKED"},
			{holds(basf, "1", 3), "position_recorded", StatusLocked, "OPEN_POSITIONS, LOCKED"},
			{&Unlock{}, "unlocked", StatusClosing, "OPEN_POSITIONS"},
			{&Lock{}, "locked", StatusLocked, "OPEN_POSITIONS, LOCKED"},
			{holds(basf, "0", 4), "position_recorded", StatusLocked, "LOCKED"},
			{&Unlock{}, "unlocked, closed", StatusClosed, ""},
		}},
		{"group", closingGroup, []step{
			{&Lock{}, "locked", StatusLocked, "OPEN_ACCOUNTS, LOCKED"},
			{closureOf(firstAccount), "account_closure_recorded", StatusLocked, "LOCKED"},
			{&Unlock{}, "unlocked, closed", StatusClosed, ""},
		}},
		{"nothing was to be closed", activeAccount, []step{
			{&Lock{}, "locked", StatusLocked, "LOCKED"},
			{&Activate{}, "conflict", StatusLocked, "LOCKED"},
			{&Unlock{}, "unlocked", StatusActive, ""},
		}},
		{"not yet approved", after(unopened(KindAccount, firstAccount), openAccount(StatusPendingApproval)), []step{
			{&Lock{}, "locked", StatusLocked, "LOCKED"},
			{&Unlock{}, "unlocked", StatusPendingApproval, ""},
			{&Activate{}, "activated", StatusActive, ""},
		}},
	})
}

// TestReasons has which reason, time and actor a closure shows.
func TestReasons(t *testing.T) {
	reason := func(s *stage) ClosureReason { return *s.closure().Reason }
	s := activeGroup(t)
	s.does(t, link(firstAccount), "account_linked")
	require.Nil(t, s.closure().Reason)
	require.Nil(t, s.closure().AnnouncedAt)

	s.actor = "risk@bank.example"
	announced := s.clock.now.Add(minute)
	s.does(t, announce("risk_based"), "closure_announced")
	s.does(t, announce("aml"), "")
	require.Equal(t, ClosureReason("risk_based"), reason(s), "the first announcement stays")
	require.Equal(t, announced, *s.closure().AnnouncedAt)
	require.Nil(t, s.closure().RequestedAt, "an announcement is no request")
	require.Nil(t, s.closure().RequestedBy)

	s.actor = "support@bank.example"
	requested := s.clock.now.Add(minute)
	events := s.does(t, closeGroup(""), "closing_initiated")
	require.Equal(t, ClosingInitiated{ClosureReason: "risk_based"}, events[0], "a request without a reason has the announced one")
	s.actor = "somebody else"
	s.does(t, closeGroup("dunning"), "")
	require.Equal(t, ClosureReason("risk_based"), reason(s), "the first reason stays")
	require.Equal(t, requested, *s.closure().RequestedAt)
	require.Equal(t, "support@bank.example", *s.closure().RequestedBy)
	require.Nil(t, s.closure().ClosedAt)

	closed := s.clock.now.Add(minute)
	s.does(t, closureOf(firstAccount), "account_closure_recorded, closed")
	require.Equal(t, closed, *s.closure().ClosedAt)
	require.Equal(t, ClosureReason("risk_based"), reason(s))

	other := activeGroup(t)
	other.does(t, announce("risk_based"), "closure_announced")
	other.does(t, closeGroup("user_initiated"), "closing_initiated, closed")
	require.Equal(t, ClosureReason("user_initiated"), reason(other), "a reason of the request's own")
	require.NotNil(t, other.closure().AnnouncedAt)
	g := other.agg.(*AccountGroup)
	require.Equal(t, []any{other.closure().RequestedAt, other.closure().AnnouncedAt, other.closure().ClosedAt, "support@bank.example", ClosureReason("user_initiated")},
		[]any{g.RequestedAt(), g.AnnouncedAt(), g.ClosedAt(), g.RequestedBy(), g.Reason()})
}
