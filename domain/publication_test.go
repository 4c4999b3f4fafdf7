package domain

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"
)

// unpublished are the events that are the engine's own business, or are seen on the closure resource.
var unpublished = []string{
	EventAccountPositionRecorded, EventAccountCorporateActionRecorded,
	EventGroupAccountLinked, EventGroupAccountLinkWithdrawn, EventGroupAccountClosureRecorded,
	EventGroupCashBalanceRecorded, EventGroupFeeCollectionRecorded, EventGroupWithdrawalRecorded,
	EventAccountDomicileRecorded, EventAccountReconciliationSettled, EventGroupReconciliationSettled,
	EventGroupTaxBookingRecorded, EventGroupTaxStatementRequested,
	EventUserGroupLinked, EventUserGroupLinkWithdrawn, EventUserGroupClosureRecorded, EventUserTaxStatementRecorded,
}

// family is what the published type of an event begins with. Orders and liquidations live in the account's log, and are
// published as resources of their own.
func family(event string) string {
	for part, family := range map[string]string{
		"account.order_": "ORDER", "account.liquidation_": "ACCOUNT_LIQUIDATION", ".closure_stalled": "CLOSURE",
		".reconciliation_required": "CLOSURE", ".report_created": "REPORT",
	} {
		if strings.Contains(event, part) {
			return family
		}
	}
	return strings.ToUpper(string(kindOf(event)))
}

// TestEveryEventIsPublishedOrNot: a new event has to say which.
func TestEveryEventIsPublishedOrNot(t *testing.T) {
	var types []string
	for _, event := range EventTypes() {
		name, ok := PublishedType(kindOf(event), samples()[event].full)
		require.NotEqual(t, ok, slices.Contains(unpublished, event), "%s has a published type, or is in the list of unpublished ones", event)
		if !ok {
			continue
		}
		types = append(types, name)
		require.True(t, strings.HasPrefix(name, family(event)+"."), "%s is published as %s", event, name)
	}
	// What account.order_recorded is published as depends on its status; every other event has one type.
	require.Len(t, published, len(EventTypes())-len(unpublished)-1, "an event is published that is none")
	for _, name := range publishedOrders {
		types = append(types, name)
	}
	slices.Sort(types)
	require.Equal(t, []string{
		"ACCOUNT.ACTIVATED", "ACCOUNT.CLOSED", "ACCOUNT.CLOSING_INITIATED", "ACCOUNT.CREATED", "ACCOUNT.LOCKED", "ACCOUNT.UNLOCKED", "ACCOUNT.UPDATED",
		"ACCOUNT_GROUP.ACTIVATED", "ACCOUNT_GROUP.CLOSED", "ACCOUNT_GROUP.CLOSING_INITIATED", "ACCOUNT_GROUP.CLOSURE_ANNOUNCED",
		"ACCOUNT_GROUP.CREATED", "ACCOUNT_GROUP.LOCKED", "ACCOUNT_GROUP.UNLOCKED", "ACCOUNT_GROUP.UPDATED",
		"ACCOUNT_LIQUIDATION.CANCELLED", "ACCOUNT_LIQUIDATION.FILLED", "ACCOUNT_LIQUIDATION.NEW", "ACCOUNT_LIQUIDATION.PROCESSING",
		"ACCOUNT_LIQUIDATION.SETTLED", "CLOSURE.RECONCILIATION_REQUIRED", "CLOSURE.STALLED",
		"ORDER.CANCELLATION_REQUESTED", "ORDER.CANCELLED", "ORDER.FILLED", "ORDER.NEW", "ORDER.PROCESSING",
		"REPORT.CREATED", "USER.OFFBOARDED", "USER.OFFBOARDING_INITIATED",
	}, slices.Compact(types))
}

// TestPublicationOfEachEvent has which type each event of the golden log is published under.
func TestPublicationOfEachEvent(t *testing.T) {
	want := map[string]string{
		EventAccountOpened: "ACCOUNT.CREATED", EventAccountActivated: "ACCOUNT.ACTIVATED", EventAccountRenamed: "ACCOUNT.UPDATED",
		EventAccountLocked: "ACCOUNT.LOCKED", EventAccountUnlocked: "ACCOUNT.UNLOCKED",
		EventAccountClosingInitiated: "ACCOUNT.CLOSING_INITIATED", EventAccountClosed: "ACCOUNT.CLOSED",
		EventAccountReconciliationRequired: "CLOSURE.RECONCILIATION_REQUIRED",
		EventGroupOpened:                   "ACCOUNT_GROUP.CREATED", EventGroupActivated: "ACCOUNT_GROUP.ACTIVATED",
		EventGroupLocked: "ACCOUNT_GROUP.LOCKED", EventGroupUnlocked: "ACCOUNT_GROUP.UNLOCKED",
		EventGroupClosureAnnounced: "ACCOUNT_GROUP.CLOSURE_ANNOUNCED", EventGroupClosingInitiated: "ACCOUNT_GROUP.CLOSING_INITIATED",
		EventGroupClosed: "ACCOUNT_GROUP.CLOSED", EventGroupReconciliationRequired: "CLOSURE.RECONCILIATION_REQUIRED",
		EventGroupReportCreated: "REPORT.CREATED",
		EventOrderPlaced:        "ORDER.NEW", EventOrderCancellationRequested: "ORDER.CANCELLATION_REQUESTED",
		EventLiquidationRequested: "ACCOUNT_LIQUIDATION.NEW", EventLiquidationProcessing: "ACCOUNT_LIQUIDATION.PROCESSING",
		EventLiquidationFilled: "ACCOUNT_LIQUIDATION.FILLED", EventLiquidationSettled: "ACCOUNT_LIQUIDATION.SETTLED",
		EventLiquidationCancelled:  "ACCOUNT_LIQUIDATION.CANCELLED",
		EventAccountClosureStalled: "CLOSURE.STALLED", EventGroupClosureStalled: "CLOSURE.STALLED",
		EventGroupDomicileChanged:     "ACCOUNT_GROUP.UPDATED",
		EventUserOffboardingInitiated: "USER.OFFBOARDING_INITIATED", EventUserOffboarded: "USER.OFFBOARDED",
	}
	// An order is published by the status that it has got to.
	typeOf := func(stored wireEvent, e Event) string {
		if o, ok := e.(OrderRecorded); ok {
			return "ORDER." + string(o.Status)
		}
		return want[stored.Type]
	}
	for _, path := range []string{goldenLog, secondGoldenLog} {
		checkPublications(t, readLog(t, path), typeOf)
	}
}

func checkPublications(t *testing.T, lines [][]byte, typeOf func(wireEvent, Event) string) {
	t.Helper()
	all := map[Ref]Aggregate{}
	for _, line := range lines {
		w, events := readCommit(t, line)
		ref := Ref{w.Aggregate, w.AggregateID}
		if all[ref] == nil {
			all[ref] = New(ref)
		}
		all[ref].Apply(w.meta(), events)
		var got []string
		for _, p := range Publish(all[ref], events) {
			require.Equal(t, typeOf(w.Events[p.Index], events[p.Index]), p.Type)
			require.NotEmpty(t, p.ResourceID)
			body, err := json.Marshal(p.Body)
			require.NoError(t, err)
			require.Contains(t, string(body), p.ResourceID, "the body is the resource that the type speaks of")
			got = append(got, w.Events[p.Index].Type)
		}
		var expected []string
		for i, e := range w.Events {
			if typeOf(e, events[i]) != "" {
				expected = append(expected, e.Type)
			}
		}
		require.Equal(t, expected, got, "in the order of the commit")
	}
}

// TestPublish has the bodies.
func TestPublish(t *testing.T) {
	s := newStage(KindAccount, firstAccount)
	events := s.does(t, openAccount(StatusActive), "opened, activated")
	account := s.agg.(*Account)
	resource := AccountResource{
		ID: firstAccount, CreatedAt: at(1), UpdatedAt: at(1), AccountGroupID: someGroup, Type: Trading, Users: users(),
		AccountNumber: 1, Name: "Savings", Status: StatusActive,
	}
	require.Equal(t, []Publication{
		{0, "ACCOUNT.CREATED", firstAccount, resource}, {1, "ACCOUNT.ACTIVATED", firstAccount, resource},
	}, Publish(account, events), "opening ACTIVE publishes both, with the resource as it was right after the commit")

	require.Empty(t, Publish(account, s.does(t, holds(basf, "1", 1), "position_recorded")))
	s.does(t, &RequestAccountClosure{}, "closing_initiated")
	events = s.does(t, holds(basf, "0", 2), "position_recorded, closed")
	resource.Status, resource.UpdatedAt = StatusClosed, account.UpdatedAt
	require.Equal(t, []Publication{{1, "ACCOUNT.CLOSED", firstAccount, resource}}, Publish(account, events),
		"the index is the event's place in its commit, counting those that are not published")

	events = s.does(t, holds(basf, "2", 3), "position_recorded, reconciliation_required")
	require.Equal(t, []Publication{{1, "CLOSURE.RECONCILIATION_REQUIRED", firstAccount, ReconciliationNotice{
		Aggregate: KindAccount, ID: firstAccount, Reconciliation: s.closure().Reconciliation[0], Closure: s.closure(),
	}}}, Publish(account, events))
}

func TestPublishOfAGroup(t *testing.T) {
	pending := openGroup()
	pending.Status = StatusPendingApproval
	s := newStage(KindAccountGroup, someGroup)
	events := s.does(t, pending, "opened")
	resource := AccountGroupResource{
		ID: someGroup, CreatedAt: at(1), UpdatedAt: at(1), Users: users(), Status: StatusPendingApproval, Type: "PERSONAL",
		SecuritiesAccountNumber: "1000001",
	}
	require.Equal(t, []Publication{{0, "ACCOUNT_GROUP.CREATED", someGroup, resource}}, Publish(s.agg, events))
	require.Empty(t, Publish(s.agg, s.does(t, link(firstAccount), "account_linked")))

	s = closedGroup(t)
	created := s.clock.now.Add(minute)
	id := groupOf(s).ReportID(owner, ReportAccountClosing)
	events = s.does(t, report(owner), "report_created")
	require.Equal(t, []Publication{{0, "REPORT.CREATED", id, ReportResource{
		ID: id, CreatedAt: created, UserID: owner, Type: ReportAccountClosing,
		Data: ReportData{References: []ReportReference{{ID: someGroup, Type: "ACCOUNT_GROUP_ID"}}},
	}}}, Publish(s.agg, events))

	// Two notices of one resource are told apart.
	s.does(t, cash("EUR", "1", 1), "cash_balance_recorded, reconciliation_required")
	events = s.does(t, cash("USD", "1", 1), "cash_balance_recorded, reconciliation_required")
	notice := Publish(s.agg, events)[0].Body.(ReconciliationNotice)
	require.Equal(t, s.closure().Reconciliation[1], notice.Reconciliation)
	require.Len(t, notice.Closure.Reconciliation, 2)
}

// TestUpdatedAt moves with the status and the name, and with nothing else.
func TestUpdatedAt(t *testing.T) {
	s := activeAccount(t)
	updated := func() int { return int(s.agg.(*Account).Resource().UpdatedAt.Sub(at(0)) / minute) }
	for _, step := range []struct {
		send  Payload
		moves bool
	}{
		{holds(basf, "1", 1), false}, {&RenameAccount{Name: "Holidays"}, true}, {&Lock{}, true}, {action(CorporateActionSettled, 1), false},
		{&Unlock{}, true}, {&RequestAccountClosure{}, true}, {holds(basf, "2", 2), false}, {holds(basf, "0", 3), true}, {holds(basf, "1", 4), false},
	} {
		before, now := updated(), int(s.clock.now.Add(minute).Sub(at(0))/minute)
		_, refusal := s.try(t, s.command(step.send))
		require.Nil(t, refusal)
		require.Equal(t, pick(step.moves, now, before), updated(), step.send.CommandName())
	}
	require.Equal(t, at(1), s.agg.(*Account).CreatedAt)

	g := activeGroup(t)
	g.does(t, announce("aml"), "closure_announced")
	require.Equal(t, at(1), groupOf(g).UpdatedAt)
}
