package domain

import (
	"errors"
	"fmt"
	"reflect"
)

// Plausible tells whether a commit may stand behind a state: nil when the domain decides just these events, by the command
// that the commit names, on that state and at the commit's time. Else the error says which event could never have been
// decided, and why. It changes nothing, and reads no clock.
//
// The command itself is not in the log, but its first event says all of it that a decision depends on. Two things are not
// known, and taken to have been so: that the group of an account had no outstanding withdrawals when closing was asked for, and on
// which day the engine makes reports that are due.
//
// The events are compared as they are today, in whatever version they were stored (DecodeEvent), so that the shape of a former
// version is no difference. The rules are those of this version. When a rule changes that logs of a released version were written
// by, what that version decided has to stay plausible.
func Plausible(before Aggregate, m Meta, events []Event) error {
	if len(events) == 0 {
		return errors.New("there is no event in the commit")
	}
	p := cause(before, events)
	if p == nil {
		return fmt.Errorf("%s cannot be the first event of a commit of %s", eventAt(before, events, 0), before.Kind().WithArticle())
	}
	c := Command{
		Target: Ref{Kind: before.Kind(), ID: before.AggregateID()}, ID: m.CommandID, ClientID: m.ClientID, Actor: m.Actor, Time: m.Time, Payload: p,
	}
	if !namedBy(m.Command, p) {
		return fmt.Errorf("%s does not come from the command %s, but from %s", eventAt(before, events, 0), Quote(m.Command), p.CommandName())
	}
	if err := c.Validate(); err != nil {
		return fmt.Errorf("%s could not be decided: %w", eventAt(before, events, 0), err)
	}
	decided, err := before.Decide(c)
	if err != nil {
		return fmt.Errorf("%s could not be decided: %w", eventAt(before, events, 0), err)
	}
	return compare(before, events, decided)
}

// compare finds the first event that is not what was decided.
func compare(a Aggregate, events, decided []Event) error {
	if len(decided) == 0 {
		return fmt.Errorf("%s could not be decided: it was so already, or its command or its revision is an old one", eventAt(a, events, 0))
	}
	for i := range max(len(events), len(decided)) {
		switch {
		case i >= len(events):
			return fmt.Errorf("%s is missing at the end of the commit", EventType(a.Kind(), decided[i]))
		case i >= len(decided):
			return fmt.Errorf("%s could not be decided: nothing follows on %s", eventAt(a, events, i), eventAt(a, events, i-1))
		case !sameEvent(events[i], decided[i]):
			return fmt.Errorf("%s could not be decided: it had to be %s", eventAt(a, events, i), inFull(a.Kind(), decided[i]))
		}
	}
	return nil
}

// sameEvent compares what is stored: nil and an empty list are the same there.
func sameEvent(a, b Event) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	one, errOne := EncodeEvent(a)
	other, errOther := EncodeEvent(b)
	return errOne == nil && errOther == nil && a.eventName() == b.eventName() && string(one) == string(other)
}

// eventAt names an event by its place and its type.
func eventAt(a Aggregate, events []Event, i int) string {
	return fmt.Sprintf("event %d, %s,", i, EventType(a.Kind(), events[i]))
}

func inFull(kind Kind, e Event) string {
	data, err := EncodeEvent(e)
	if err != nil {
		return EventType(kind, e)
	}
	return EventType(kind, e) + " " + string(data)
}

// namedBy tells whether a commit that names the command may come from the payload.
func namedBy(command string, p Payload) bool {
	if _, review := p.(*ReviewClosure); review && command == (ReportStall{}).CommandName() {
		return true // the report of a stall closes what nothing stands against any more
	}
	return command == p.CommandName()
}

// cause is the command that makes an aggregate decide a commit that begins with such events; nil when there is none.
func cause(a Aggregate, events []Event) Payload {
	switch a := a.(type) {
	case *Account:
		return a.cause(events)
	case *AccountGroup:
		return a.cause(events)
	case *User:
		return causeOfUser(events[0])
	}
	return nil
}

// causeOfLifecycle has the events that accounts and account groups share.
func causeOfLifecycle(e Event) Payload {
	switch e := e.(type) {
	case Activated:
		return &Activate{}
	case LockApplied:
		return &Lock{}
	case Unlocked:
		return &Unlock{}
	case ReconciliationSettled:
		p := SettleReconciliation(e)
		return &p
	case ClosureStalled:
		// Whatever the period is, the report is later than the request by more than no time.
		return &ReportStall{Number: e.Number, Period: 1}
	case Closed:
		return &ReviewClosure{}
	}
	return nil
}

// opensAs is the status that an opening asked for: Activated follows when it is ACTIVE.
func opensAs(events []Event) Status {
	if len(events) > 1 && events[1] == Event(Activated{}) {
		return StatusActive
	}
	return StatusPendingApproval
}

func (a *Account) cause(events []Event) Payload {
	switch e := events[0].(type) {
	case AccountOpened:
		return &OpenAccount{
			AccountGroupID: e.AccountGroupID, Type: e.Type, Name: e.Name,
			Link: &AccountLink{Number: e.AccountNumber, Type: e.Type, Name: e.Name, Status: opensAs(events), Users: e.Users},
		}
	case AccountRenamed:
		return &RenameAccount{Name: e.Name}
	case PositionRecorded:
		p := RecordPosition(e)
		return &p
	case CorporateActionRecorded:
		p := RecordCorporateAction(e)
		return &p
	case DomicileRecorded:
		if len(events) > 1 && events[1] == Event(ClosingInitiated{}) {
			return &RequestAccountClosure{Domicile: e.Domicile}
		}
		return &RecordDomicile{AccountGroupID: a.GroupID, Domicile: e.Domicile} // another group it does not listen to
	case ClosingInitiated:
		return &RequestAccountClosure{Domicile: a.Domicile}
	case OrderPlaced:
		return &PlaceOrder{
			OrderID: e.OrderID, UserID: e.UserID, Side: e.Side, ISIN: e.ISIN, Quantity: e.Quantity, CashAmount: e.CashAmount, Currency: e.Currency,
		}
	case OrderRecorded:
		return &RecordOrder{OrderID: e.OrderID, Status: e.Status, FilledQuantity: e.FilledQuantity, Revision: e.Revision}
	case LiquidationRequested:
		p := RequestLiquidation(e)
		return &p
	case LiquidationCancelled:
		p := CancelLiquidation(e)
		return &p
	}
	return causeOfLifecycle(events[0])
}

func (g *AccountGroup) cause(events []Event) Payload {
	switch e := events[0].(type) {
	case AccountGroupOpened:
		return &OpenAccountGroup{
			Users: e.Users, Type: e.Type, Domicile: e.Domicile, TaxResidencies: e.TaxResidencies, Status: opensAs(events),
			SecuritiesAccountNumber: e.SecuritiesAccountNumber,
		}
	case AccountLinked:
		return &LinkAccount{AccountID: e.AccountID, Type: e.Type, Name: e.Name, Status: e.Status}
	case AccountLinkWithdrawn:
		p := WithdrawAccountLink(e)
		return &p
	case AccountClosureRecorded:
		p := RecordAccountClosure(e)
		return &p
	case CashBalanceRecorded:
		p := RecordCashBalance(e)
		return &p
	case FeeCollectionRecorded:
		p := RecordFeeCollection(e)
		return &p
	case WithdrawalRecorded:
		p := RecordWithdrawal(e)
		return &p
	case ClosureAnnounced:
		return &RequestAccountGroupClosure{ClosureReason: e.ClosureReason, NotificationOnly: true}
	case ClosingInitiated:
		return &RequestAccountGroupClosure{ClosureReason: e.ClosureReason}
	case ReportCreated:
		p := RecordReport(e)
		return &p
	case DomicileChanged:
		p := ChangeDomicile(e)
		return &p
	case TaxBookingRecorded:
		p := RecordTaxBooking(e)
		return &p
	case TaxStatementRequested:
		return &RequestTaxStatement{Day: MonthDay{Month: 1, Day: 1}} // the first day on which it may be due
	}
	return causeOfLifecycle(events[0])
}

func causeOfUser(e Event) Payload {
	switch e := e.(type) {
	case GroupLinked:
		return &LinkGroup{AccountGroupID: e.AccountGroupID, Open: OpenAccountGroup{
			Users: e.Users, Type: e.Type, Domicile: e.Domicile, TaxResidencies: e.TaxResidencies, Status: e.Status,
		}}
	case GroupLinkWithdrawn:
		p := WithdrawGroupLink(e)
		return &p
	case GroupClosureRecorded:
		p := RecordGroupClosure(e)
		return &p
	case TaxStatementRecorded:
		p := RecordTaxStatement(e)
		return &p
	case OffboardingInitiated:
		return &RequestOffboarding{}
	}
	return nil
}
