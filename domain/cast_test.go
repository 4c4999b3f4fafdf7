package domain

import (
	"time"

	"pgregory.net/rapid"
)

// What the tests send, in the shortest form that says what matters.

func users() []Party { return []Party{{ID: owner, Type: Owner}} }

func openGroup() *OpenAccountGroup {
	return &OpenAccountGroup{
		Users: users(), Type: "PERSONAL", Domicile: "DE", TaxResidencies: []string{"DE"}, SecuritiesAccountNumber: "1000001",
	}
}

func openAccount(status Status) *OpenAccount {
	return &OpenAccount{
		AccountGroupID: someGroup, Type: Trading, Name: "Savings",
		Link: &AccountLink{Number: 1, Type: Trading, Name: "Savings", Status: status, Users: users()},
	}
}

func link(accountID string) *LinkAccount {
	return &LinkAccount{AccountID: accountID, Type: Trading, Name: "Savings"}
}

func closureOf(accountID string) *RecordAccountClosure {
	return &RecordAccountClosure{AccountID: accountID, ClosedAt: time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)}
}

func holds(isin string, quantity Decimal, revision int64) *RecordPosition {
	return &RecordPosition{ISIN: isin, Quantity: quantity, Revision: revision}
}

func action(status CorporateActionStatus, revision int64) *RecordCorporateAction {
	return &RecordCorporateAction{CorporateActionID: someAction, ISIN: basf, Status: status, Revision: revision}
}

func cash(currency string, balance Decimal, revision int64) *RecordCashBalance {
	return &RecordCashBalance{Currency: currency, Balance: balance, Revision: revision}
}

func fee(status FeeStatus, revision int64) *RecordFeeCollection {
	return &RecordFeeCollection{FeeCollectionID: someFee, Status: status, Amount: "4.90", Currency: "EUR", Revision: revision}
}

func withdrawal(id string, status WithdrawalStatus, revision int64) *RecordWithdrawal {
	return &RecordWithdrawal{WithdrawalID: id, Status: status, Amount: "1250.00", Currency: "EUR", Revision: revision}
}

func closeGroup(reason ClosureReason) *RequestAccountGroupClosure {
	return &RequestAccountGroupClosure{ClosureReason: reason}
}

func announce(reason ClosureReason) *RequestAccountGroupClosure {
	return &RequestAccountGroupClosure{ClosureReason: reason, NotificationOnly: true}
}

func report(user string) *RecordReport {
	return &RecordReport{
		ReportID: NewAccountGroup(someGroup).ReportID(user, ReportAccountClosing), UserID: user, Type: ReportAccountClosing,
		SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Size: 48211,
	}
}

// activeAccount is an account that holds nothing.
func activeAccount(t rapid.TB) *stage {
	t.Helper()
	s := newStage(KindAccount, firstAccount)
	s.does(t, openAccount(StatusActive), "opened, activated")
	return s
}

// closingAccount waits for its last position.
func closingAccount(t rapid.TB) *stage {
	t.Helper()
	s := activeAccount(t)
	s.does(t, holds(basf, "10", 1), "position_recorded")
	s.does(t, &RequestAccountClosure{}, "closing_initiated")
	return s
}

// closedAccount held a position, and sold it.
func closedAccount(t rapid.TB) *stage {
	t.Helper()
	s := closingAccount(t)
	s.does(t, holds(basf, "0", 2), "position_recorded, closed")
	return s
}

// activeGroup has no account.
func activeGroup(t rapid.TB) *stage {
	t.Helper()
	s := newStage(KindAccountGroup, someGroup)
	s.does(t, openGroup(), "opened, activated")
	return s
}

// closingGroup waits for its one account.
func closingGroup(t rapid.TB) *stage {
	t.Helper()
	s := activeGroup(t)
	s.does(t, link(firstAccount), "account_linked")
	s.does(t, closeGroup(""), "closing_initiated")
	return s
}

// closedGroup had one account.
func closedGroup(t rapid.TB) *stage {
	t.Helper()
	s := closingGroup(t)
	s.does(t, closureOf(firstAccount), "account_closure_recorded, closed")
	return s
}

func order(id string, side OrderSide, isin string, quantity Decimal) *PlaceOrder {
	return &PlaceOrder{OrderID: id, Side: side, ISIN: isin, Quantity: quantity}
}

func orderIs(id string, status OrderStatus, revision int64) *RecordOrder {
	return &RecordOrder{OrderID: id, Status: status, Revision: revision}
}

// orderDid is orderIs of an order service that says how much was executed.
func orderDid(id string, status OrderStatus, filled Decimal, revision int64) *RecordOrder {
	return &RecordOrder{OrderID: id, Status: status, FilledQuantity: filled, Revision: revision}
}

func liquidate(id string) *RequestLiquidation {
	return &RequestLiquidation{LiquidationID: id, UserID: owner}
}

func takeBack(id string) *CancelLiquidation { return &CancelLiquidation{LiquidationID: id} }

// saleOf is the id of the order by which a liquidation sells an instrument.
func saleOf(liquidation, isin string) string {
	return DeriveID(liquidationOrderIDPrefix, liquidation, isin)
}

func booking(year int, amount Decimal, revision int64) *RecordTaxBooking {
	return &RecordTaxBooking{TaxBookingID: someBooking, Year: year, Kind: "DIVIDEND", Amount: amount, Currency: "EUR", Revision: revision}
}

func settles(id string) *SettleReconciliation {
	return &SettleReconciliation{ReconciliationID: id, Note: "returned to the sender"}
}

// month is the period of stalls in the tests.
const month = 30 * 24 * time.Hour

func stall(n int) *ReportStall { return &ReportStall{Number: n, Period: month} }

func statement() *RequestTaxStatement { return &RequestTaxStatement{Day: DefaultTaxStatementDay} }

func linkGroup(id string) *LinkGroup { return &LinkGroup{AccountGroupID: id, Open: *openGroup()} }

// groupIsClosed tells the user of a closed group; a statement is to come of a year, or of none when it is 0.
func groupIsClosed(id string, taxYear int) *RecordGroupClosure {
	return &RecordGroupClosure{AccountGroupID: id, ClosedAt: time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC), TaxStatementYear: taxYear}
}

// activeUser is in one group, which is open.
func activeUser(t rapid.TB) *stage {
	t.Helper()
	s := newStage(KindUser, owner)
	s.does(t, linkGroup(someGroup), "account_group_linked")
	return s
}
