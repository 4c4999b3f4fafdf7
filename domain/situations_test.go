package domain

import (
	"maps"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The situations and the commands of the table of transitions.

// situation is a state in which a command may find a resource, and how it gets there.
type situation struct {
	name string
	make func(t rapid.TB) *stage
}

// after continues a stage with commands that have to be accepted.
func after(begin func(rapid.TB) *stage, payloads ...Payload) func(rapid.TB) *stage {
	return func(t rapid.TB) *stage {
		s := begin(t)
		for _, p := range payloads {
			events, refusal := s.try(t, s.command(p))
			require.Nil(t, refusal)
			require.NotEmpty(t, events)
		}
		return s
	}
}

// on continues a stage at a later time.
func on(at time.Time, begin func(rapid.TB) *stage, payloads ...Payload) func(rapid.TB) *stage {
	return func(t rapid.TB) *stage {
		return after(func(t rapid.TB) *stage { s := begin(t); s.clock.now = at; return s }, payloads...)(t)
	}
}

func unopened(kind Kind, id string) func(rapid.TB) *stage {
	return func(rapid.TB) *stage { return newStage(kind, id) }
}

func situations(kind Kind) []situation {
	switch kind {
	case KindAccount:
		return accountSituations()
	case KindAccountGroup:
		return groupSituations()
	}
	return userSituations()
}

func accountSituations() []situation {
	none, request, british := unopened(KindAccount, firstAccount), &RequestAccountClosure{}, &RequestAccountClosure{Domicile: "GB"}
	liquidating := after(activeAccount, holds(basf, "10", 1), liquidate(someLiquidation))
	ordering := after(activeAccount, order(someOrder, Buy, basf, "5"))
	return []situation{
		{"not existing", none},
		{"PENDING_APPROVAL", after(none, openAccount(StatusPendingApproval))},
		{"ACTIVE", activeAccount},
		{"ACTIVE, a position is held", after(activeAccount, holds(basf, "10", 1))},
		{"ACTIVE, a BUY order is open", ordering},
		{"ACTIVE, a liquidation is NEW", liquidating},
		{"CLOSING, a position is held", closingAccount},
		{"CLOSING, a BUY order is open", after(ordering, request)},
		{"CLOSING, what a BUY order bought is not recorded yet", after(ordering, request, orderDid(someOrder, OrderCancelled, "2", 1))},
		{"CLOSING, a liquidation is NEW", after(liquidating, request)},
		{"CLOSING, a liquidation is PROCESSING", after(liquidating, request, orderIs(saleOf(someLiquidation, basf), OrderProcessing, 1))},
		{"CLOSING, it waits for the UK tax year only", after(activeAccount, british)},
		{"CLOSING, the UK tax year has ended since", on(time.Date(2026, 4, 6, 0, 0, 0, 0, time.UTC), after(activeAccount, british))},
		{"CLOSED", closedAccount},
		{"CLOSED, something is to be reconciled", after(ordering, request, orderIs(someOrder, OrderCancelled, 1), holds(basf, "7", 3))},
		{"LOCKED", after(activeAccount, &Lock{})},
		{"LOCKED, a liquidation is NEW", after(liquidating, &Lock{})},
		{"LOCKED, a closure in progress", after(closingAccount, &Lock{})},
		{"LOCKED, a closure in progress with nothing else against it", after(closingAccount, &Lock{}, holds(basf, "0", 2))},
		{"LOCKED, not yet approved", after(none, openAccount(StatusPendingApproval), &Lock{})},
	}
}

func groupSituations() []situation {
	none, pending := unopened(KindAccountGroup, someGroup), openGroup()
	pending.Status = StatusPendingApproval
	return []situation{
		{"not existing", none},
		{"PENDING_APPROVAL", after(none, pending, link(firstAccount))},
		{"ACTIVE", after(activeGroup, link(firstAccount), closureOf(firstAccount))},
		{"ACTIVE, an account is open", after(activeGroup, link(firstAccount))},
		{"ACTIVE, a withdrawal is outstanding", after(activeGroup, link(firstAccount), closureOf(firstAccount), withdrawal(someWithdrawal, WithdrawalNew, 1))},
		{"CLOSING, an account is open", closingGroup},
		{"CLOSED", closedGroup},
		{"CLOSED, something is to be reconciled", after(closedGroup, cash("GBP", "1", 1))},
		{"CLOSED, its tax statement was asked for", on(time.Date(2027, 3, 15, 0, 0, 0, 0, time.UTC), closedGroup, statement())},
		{"LOCKED", after(activeGroup, link(firstAccount), &Lock{})},
		{"LOCKED, a closure in progress", after(closingGroup, &Lock{})},
		{"LOCKED, a closure in progress with nothing else against it", after(closingGroup, &Lock{}, closureOf(firstAccount))},
		{"LOCKED, not yet approved", after(none, pending, link(firstAccount), &Lock{})},
	}
}

func userSituations() []situation {
	pending := after(activeUser, groupIsClosed(someGroup, 2026))
	return []situation{
		{"not existing", unopened(KindUser, owner)},
		{"ACTIVE, an account group is open", activeUser},
		{"ACTIVE, every account group is closed", after(activeUser, groupIsClosed(someGroup, 0))},
		{"ACTIVE, a tax statement is pending", pending},
		{"ACTIVE, the one account group was withdrawn", after(activeUser, &WithdrawGroupLink{AccountGroupID: someGroup})},
		{"OFFBOARDING, a tax statement is pending", after(pending, &RequestOffboarding{})},
		{"OFFBOARDED", after(activeUser, groupIsClosed(someGroup, 0), &RequestOffboarding{})},
	}
}

// making gives the payload of a heading, for the aggregate as it is.
type making = func(*stage) Payload

func send(p Payload) making { return func(*stage) Payload { return p } }

// later is sent so much later than the other commands.
func later(d time.Duration, p Payload) making {
	return func(s *stage) Payload { s.clock.now = s.clock.now.Add(d); return p }
}

// commands are the payloads behind the headings of the table.
func commands(kind Kind) map[string]making {
	switch kind {
	case KindAccount:
		return both(accountCommands(), orderCommands(), closableCommands())
	case KindAccountGroup:
		return both(groupCommands(), closableCommands())
	}
	return userCommands()
}

func both(of ...map[string]making) map[string]making {
	out := map[string]making{}
	for _, m := range of {
		maps.Copy(out, m)
	}
	return out
}

func closableCommands() map[string]making {
	return map[string]making{
		"activate": send(&Activate{}), "lock": send(&Lock{}), "unlock": send(&Unlock{}),
		"settle_reconciliation: of what came":          func(s *stage) Payload { return settles(firstReconciliation(s)) },
		"settle_reconciliation: of what it never knew": send(settles(thirdAccount)),
		"report_stall: when it is due":                 later(month, stall(1)),
		"report_stall: before it is due":               send(stall(100)),
		"review_closure":                               send(&ReviewClosure{}),
	}
}

// firstReconciliation is the id of what came after CLOSED; one that nothing has when nothing came.
func firstReconciliation(s *stage) string {
	if c, ok := s.agg.(Closable); ok && s.agg.Exists() {
		for _, r := range c.Closure(Outlook{}).Reconciliation {
			return r.ID
		}
	}
	return secondAccount
}

func accountCommands() map[string]making {
	renamed := openAccount(StatusActive)
	renamed.Name, renamed.Link.Name = "Holidays", "Holidays"
	out := &Blocker{Code: OutstandingWithdrawals, Detail: "one is", Items: []Item{{ID: someWithdrawal}}}
	return map[string]making{
		"open: the same again":                                          asOpened(openAccount(StatusActive)),
		"open: with another name":                                       send(renamed),
		"rename":                                                        send(&RenameAccount{Name: "Holidays"}),
		"record_position: everything is sold":                           send(holds(basf, "0", 9)),
		"record_position: more is held":                                 send(holds(basf, "25", 9)),
		"record_position: another instrument is held":                   send(holds(apple, "2", 9)),
		"record_corporate_action: one is expected":                      send(action(CorporateActionExpected, 9)),
		"record_corporate_action: one is settled":                       send(action(CorporateActionSettled, 9)),
		"record_domicile: GB":                                           send(&RecordDomicile{AccountGroupID: someGroup, Domicile: "GB"}),
		"record_domicile: DE":                                           send(&RecordDomicile{AccountGroupID: someGroup, Domicile: "DE"}),
		"request_closure":                                               send(&RequestAccountClosure{}),
		"request_closure: the domicile of its group is GB":              send(&RequestAccountClosure{Domicile: "GB"}),
		"request_closure: while its group has a withdrawal outstanding": send(&RequestAccountClosure{Withdrawals: out}),
	}
}

func orderCommands() map[string]making {
	stranger := order(nextOrder, Sell, basf, "1")
	stranger.UserID = guardian
	did := func(status OrderStatus, filled Decimal) making {
		return func(s *stage) Payload { return orderDid(someOrderOf(s), status, filled, 9) }
	}
	is := func(status OrderStatus) making { return did(status, "") }
	return map[string]making{
		"place_order: a BUY":                                   send(order(nextOrder, Buy, basf, "1")),
		"place_order: a SELL":                                  send(order(nextOrder, Sell, basf, "1")),
		"place_order: for somebody who is no user of it":       send(stranger),
		"place_order: a BUY with an id that may be taken":      send(order(someOrder, Buy, basf, "5")),
		"place_order: a SELL with an id that may be taken":     send(order(someOrder, Sell, basf, "5")),
		"record_order: its order is PROCESSING":                is(OrderProcessing),
		"record_order: its order is FILLED":                    is(OrderFilled),
		"record_order: its order is CANCELLED":                 is(OrderCancelled),
		"record_order: its order is CANCELLED, in part filled": did(OrderCancelled, "2"),
		"record_order: one that it does not know":              send(orderIs(thirdAccount, OrderFilled, 1)),
		"request_liquidation":                                  send(liquidate(nextLiquidation)),
		"request_liquidation: by somebody who is no user":      send(&RequestLiquidation{LiquidationID: nextLiquidation, UserID: guardian}),
		"cancel_liquidation: of its liquidation":               send(takeBack(someLiquidation)),
		"cancel_liquidation: of one that it does not know":     send(takeBack(thirdLiquidation)),
	}
}

// someOrderOf is the first open order; one that is no longer open, or not there, when there is none.
func someOrderOf(s *stage) string {
	if a, ok := s.agg.(*Account); ok {
		for _, o := range a.openOrders() {
			return o.ID
		}
	}
	return someOrder
}

func groupCommands() map[string]making {
	joint, renamed, annual := openGroup(), link(firstAccount), report(owner)
	joint.Type, renamed.Name = "JOINT", "Holidays"
	annual.Type, annual.ReportID = ReportAnnualTaxStatement, NewAccountGroup(someGroup).ReportID(owner, ReportAnnualTaxStatement)
	return map[string]making{
		"open: the same again":                                        asOpened(openGroup()),
		"open: of another type":                                       send(joint),
		"link_account: a new account":                                 send(link(secondAccount)),
		"link_account: its own account again":                         send(link(firstAccount)),
		"link_account: its own account with another name":             send(renamed),
		"withdraw_account_link: of its account":                       send(&WithdrawAccountLink{AccountID: firstAccount}),
		"record_account_closure: of its account":                      send(closureOf(firstAccount)),
		"record_account_closure: of an account that it does not know": send(closureOf(thirdAccount)),
		"change_domicile: to GB":                                      send(&ChangeDomicile{Domicile: "GB", TaxResidencies: []string{"GB"}}),
		"change_domicile: to what it is":                              send(&ChangeDomicile{Domicile: "DE", TaxResidencies: []string{"DE"}}),
		"record_cash_balance: cash is left":                           send(cash("EUR", "250.00", 9)),
		"record_cash_balance: nothing is left":                        send(cash("EUR", "0.00", 9)),
		"record_fee_collection: one is in progress":                   send(fee(FeeProcessing, 9)),
		"record_withdrawal: a new one":                                send(withdrawal(nextWithdrawal, WithdrawalNew, 9)),
		"record_withdrawal: the outstanding one is confirmed":         send(withdrawal(someWithdrawal, WithdrawalConfirmed, 9)),
		"record_tax_booking":                                          send(booking(2026, "-1.50", 9)),
		"request_tax_statement: when it is due":                       later(2*365*24*time.Hour, statement()),
		"request_tax_statement: before it is due":                     send(statement()),
		"request_closure":                                             send(closeGroup("")),
		"request_closure: notification only":                          send(announce("")),
		"record_report":                                               send(report(owner)),
		"record_report: the annual tax statement":                     send(annual),
	}
}

func userCommands() map[string]making {
	joint := linkGroup(someGroup)
	joint.Open.Type = "JOINT"
	return map[string]making{
		"link_account_group: a new one":                                    send(linkGroup(otherGroup)),
		"link_account_group: the same again":                               send(linkGroup(someGroup)),
		"link_account_group: the same of another type":                     send(joint),
		"withdraw_account_group_link: of the user's account group":         send(&WithdrawGroupLink{AccountGroupID: someGroup}),
		"withdraw_account_group_link: of one that the user does not know":  send(&WithdrawGroupLink{AccountGroupID: otherGroup}),
		"record_account_group_closure: of the user's account group":        send(groupIsClosed(someGroup, 0)),
		"record_account_group_closure: and a tax statement is to come":     send(groupIsClosed(someGroup, 2026)),
		"record_account_group_closure: of one that the user does not know": send(groupIsClosed(otherGroup, 0)),
		"record_tax_statement: of the user's account group":                send(&RecordTaxStatement{AccountGroupID: someGroup}),
		"record_tax_statement: of one that the user does not know":         send(&RecordTaxStatement{AccountGroupID: otherGroup}),
		"request_offboarding":                                              send(&RequestOffboarding{}),
	}
}

// asOpened repeats how the resource was opened, whatever its situation is.
func asOpened(first Payload) making {
	return func(s *stage) Payload {
		if s.opening != nil {
			return s.opening
		}
		return first
	}
}
