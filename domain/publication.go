package domain

// Publication is what the world is told of one event: a type such as ACCOUNT.CLOSED and the resource in full as it
// was right after the commit.
type Publication struct {
	// Index is the place of the event in its commit, from 0; with the commit's id it makes the stable id.
	Index int
	Type  string
	// ResourceID is the id of the resource that the type speaks of.
	ResourceID string
	Body       any
}

// The types of published events (DOMAIN: Published events).
const (
	PublishedAccountCreated          = "ACCOUNT.CREATED"
	PublishedAccountActivated        = "ACCOUNT.ACTIVATED"
	PublishedAccountUpdated          = "ACCOUNT.UPDATED"
	PublishedAccountLocked           = "ACCOUNT.LOCKED"
	PublishedAccountUnlocked         = "ACCOUNT.UNLOCKED"
	PublishedAccountClosingInitiated = "ACCOUNT.CLOSING_INITIATED"
	PublishedAccountClosed           = "ACCOUNT.CLOSED"

	PublishedGroupCreated          = "ACCOUNT_GROUP.CREATED"
	PublishedGroupActivated        = "ACCOUNT_GROUP.ACTIVATED"
	PublishedGroupLocked           = "ACCOUNT_GROUP.LOCKED"
	PublishedGroupUnlocked         = "ACCOUNT_GROUP.UNLOCKED"
	PublishedGroupUpdated          = "ACCOUNT_GROUP.UPDATED"
	PublishedGroupClosureAnnounced = "ACCOUNT_GROUP.CLOSURE_ANNOUNCED"
	PublishedGroupClosingInitiated = "ACCOUNT_GROUP.CLOSING_INITIATED"
	PublishedGroupClosed           = "ACCOUNT_GROUP.CLOSED"

	PublishedOrderNew                   = "ORDER.NEW"
	PublishedOrderProcessing            = "ORDER.PROCESSING"
	PublishedOrderFilled                = "ORDER.FILLED"
	PublishedOrderCancelled             = "ORDER.CANCELLED"
	PublishedOrderCancellationRequested = "ORDER.CANCELLATION_REQUESTED"

	PublishedLiquidationNew        = "ACCOUNT_LIQUIDATION.NEW"
	PublishedLiquidationProcessing = "ACCOUNT_LIQUIDATION.PROCESSING"
	PublishedLiquidationFilled     = "ACCOUNT_LIQUIDATION.FILLED"
	PublishedLiquidationSettled    = "ACCOUNT_LIQUIDATION.SETTLED"
	PublishedLiquidationCancelled  = "ACCOUNT_LIQUIDATION.CANCELLED"

	PublishedUserOffboardingInitiated = "USER.OFFBOARDING_INITIATED"
	PublishedUserOffboarded           = "USER.OFFBOARDED"

	PublishedReportCreated          = "REPORT.CREATED"
	PublishedClosureStalled         = "CLOSURE.STALLED"
	PublishedReconciliationRequired = "CLOSURE.RECONCILIATION_REQUIRED"
	PublishedCommandRejected        = "COMMAND.REJECTED"
)

// published is the type under which an event is published; an event that is not here is the engine's own business. What an
// account.order_recorded is published as depends on its status.
var published = map[string]string{
	EventAccountOpened:                 PublishedAccountCreated,
	EventAccountActivated:              PublishedAccountActivated,
	EventAccountLocked:                 PublishedAccountLocked,
	EventAccountUnlocked:               PublishedAccountUnlocked,
	EventAccountRenamed:                PublishedAccountUpdated,
	EventAccountClosingInitiated:       PublishedAccountClosingInitiated,
	EventAccountClosed:                 PublishedAccountClosed,
	EventAccountReconciliationRequired: PublishedReconciliationRequired,
	EventAccountClosureStalled:         PublishedClosureStalled,

	EventOrderPlaced:                PublishedOrderNew,
	EventOrderCancellationRequested: PublishedOrderCancellationRequested,

	EventLiquidationRequested:  PublishedLiquidationNew,
	EventLiquidationProcessing: PublishedLiquidationProcessing,
	EventLiquidationFilled:     PublishedLiquidationFilled,
	EventLiquidationSettled:    PublishedLiquidationSettled,
	EventLiquidationCancelled:  PublishedLiquidationCancelled,

	EventGroupOpened:                 PublishedGroupCreated,
	EventGroupActivated:              PublishedGroupActivated,
	EventGroupLocked:                 PublishedGroupLocked,
	EventGroupUnlocked:               PublishedGroupUnlocked,
	EventGroupClosureAnnounced:       PublishedGroupClosureAnnounced,
	EventGroupClosingInitiated:       PublishedGroupClosingInitiated,
	EventGroupClosed:                 PublishedGroupClosed,
	EventGroupReconciliationRequired: PublishedReconciliationRequired,
	EventGroupReportCreated:          PublishedReportCreated,
	EventGroupClosureStalled:         PublishedClosureStalled,
	EventGroupDomicileChanged:        PublishedGroupUpdated,

	EventUserOffboardingInitiated: PublishedUserOffboardingInitiated,
	EventUserOffboarded:           PublishedUserOffboarded,
}

// publishedOrders is how an order is published that has got to a status.
var publishedOrders = map[OrderStatus]string{
	OrderProcessing: PublishedOrderProcessing,
	OrderFilled:     PublishedOrderFilled,
	OrderCancelled:  PublishedOrderCancelled,
}

// PublishedType is the type under which an event is published; ok is false when it is not.
func PublishedType(kind Kind, e Event) (name string, ok bool) {
	if order, isOrder := e.(OrderRecorded); isOrder {
		// A revision that says the same status again is no news.
		return publishedOrders[order.Status], order.Status != order.PreviousStatus
	}
	name, ok = published[EventType(kind, e)]
	return name, ok
}

// Publish gives what a commit tells the world, in the order of its events. after is the aggregate right after it.
func Publish(after Aggregate, events []Event) []Publication {
	var out []Publication
	for i, e := range events {
		name, ok := PublishedType(after.Kind(), e)
		if !ok {
			continue
		}
		id, body := publicBody(after, e)
		out = append(out, Publication{Index: i, Type: name, ResourceID: id, Body: body})
	}
	return out
}

// publicBody is the resource that a published event shows.
func publicBody(after Aggregate, e Event) (id string, body any) {
	switch a := after.(type) {
	case *Account:
		return accountBody(a, e)
	case *AccountGroup:
		if created, ok := e.(ReportCreated); ok {
			report, _ := a.Report(created.ReportID)
			return report.ID, a.ReportResource(report)
		}
		if notice := operatorNotice(a, e); notice != nil {
			return a.ID, notice
		}
		return a.ID, a.Resource()
	case *User:
		return a.ID, a.Resource()
	}
	return after.AggregateID(), nil
}

// ofOrder and ofLiquidation are events of an account that speak of one of its orders, or of one of its liquidations.
type (
	ofOrder       interface{ order() string }
	ofLiquidation interface{ liquidation() string }
)

func accountBody(a *Account, e Event) (id string, body any) {
	switch e := e.(type) {
	case ofOrder:
		o, _ := a.Order(e.order())
		return o.ID, a.OrderResource(o)
	case ofLiquidation:
		l, _ := a.Liquidation(e.liquidation())
		return l.ID, a.LiquidationResource(l)
	}
	if notice := operatorNotice(a, e); notice != nil {
		return a.ID, notice
	}
	return a.ID, a.Resource()
}

// operatorNotice is the body of what operators are told of a closing; nil for another event.
func operatorNotice(after Closable, e Event) any {
	closure := after.Closure(Outlook{Now: after.LastChange()})
	switch e := e.(type) {
	case ClosureStalled:
		return StallNotice{Aggregate: after.Kind(), ID: after.AggregateID(), Number: e.Number, Closure: closure}
	case ReconciliationRequired:
		n := ReconciliationNotice{Aggregate: after.Kind(), ID: after.AggregateID(), Closure: closure}
		for _, r := range closure.Reconciliation {
			if r.ID == e.ReconciliationID {
				n.Reconciliation = r
			}
		}
		return n
	}
	return nil
}
