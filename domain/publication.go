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
	PublishedGroupClosureAnnounced = "ACCOUNT_GROUP.CLOSURE_ANNOUNCED"
	PublishedGroupClosingInitiated = "ACCOUNT_GROUP.CLOSING_INITIATED"
	PublishedGroupClosed           = "ACCOUNT_GROUP.CLOSED"

	PublishedReportCreated          = "REPORT.CREATED"
	PublishedReconciliationRequired = "CLOSURE.RECONCILIATION_REQUIRED"
	PublishedCommandRejected        = "COMMAND.REJECTED"
)

// published is the type under which an event is published; an event that is not here is the engine's own business.
var published = map[string]string{
	EventAccountOpened:                 PublishedAccountCreated,
	EventAccountActivated:              PublishedAccountActivated,
	EventAccountLocked:                 PublishedAccountLocked,
	EventAccountUnlocked:               PublishedAccountUnlocked,
	EventAccountRenamed:                PublishedAccountUpdated,
	EventAccountClosingInitiated:       PublishedAccountClosingInitiated,
	EventAccountClosed:                 PublishedAccountClosed,
	EventAccountReconciliationRequired: PublishedReconciliationRequired,

	EventGroupOpened:                 PublishedGroupCreated,
	EventGroupActivated:              PublishedGroupActivated,
	EventGroupLocked:                 PublishedGroupLocked,
	EventGroupUnlocked:               PublishedGroupUnlocked,
	EventGroupClosureAnnounced:       PublishedGroupClosureAnnounced,
	EventGroupClosingInitiated:       PublishedGroupClosingInitiated,
	EventGroupClosed:                 PublishedGroupClosed,
	EventGroupReconciliationRequired: PublishedReconciliationRequired,
	EventGroupReportCreated:          PublishedReportCreated,
}

// PublishedType is the type under which an event is published; ok is false when it is not.
func PublishedType(event string) (name string, ok bool) {
	name, ok = published[event]
	return name, ok
}

// Publish gives what a commit tells the world, in the order of its events. after is the aggregate right after it.
func Publish(after Aggregate, events []Event) []Publication {
	var out []Publication
	for i, e := range events {
		name, ok := PublishedType(EventType(after.Kind(), e))
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
	if r, ok := e.(ReconciliationRequired); ok {
		return after.AggregateID(), notice(after, r)
	}
	switch a := after.(type) {
	case *Account:
		return a.ID, a.Resource()
	case *AccountGroup:
		if created, ok := e.(ReportCreated); ok {
			report, _ := a.Report(created.ReportID)
			return report.ID, a.ReportResource(report)
		}
		return a.ID, a.Resource()
	}
	return after.AggregateID(), nil
}

func notice(after Aggregate, e ReconciliationRequired) ReconciliationNotice {
	closure := after.Closure(nil)
	n := ReconciliationNotice{Aggregate: after.Kind(), ID: after.AggregateID(), Closure: closure}
	for _, r := range closure.Reconciliation {
		if r.ID == e.ReconciliationID {
			n.Reconciliation = r
		}
	}
	return n
}
