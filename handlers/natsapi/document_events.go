package natsapi

import (
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/tracing"
	"closure/handlers/natsapi/asyncapi"
)

const mediaJSON = "application/json"

// Headers of events beside those of CloudEvents.
const headerIndex = "closure-index"

// publishedEvent is one type of event: what it says, and a body as an example, whose Go type makes the schema.
type publishedEvent struct {
	name    string
	summary string
	body    any
}

// publishedEvents lists every type that the engine publishes. A test holds it against the types of the domain.
func publishedEvents() []publishedEvent {
	conflict := "conflict"
	return []publishedEvent{
		{domain.PublishedAccountCreated, "An account was opened.", accountIn(domain.StatusPendingApproval)},
		{domain.PublishedAccountActivated, "An account became ACTIVE.", accountIn(domain.StatusActive)},
		{domain.PublishedAccountUpdated, "An account was renamed.", accountIn(domain.StatusActive)},
		{domain.PublishedAccountLocked, "A lock was laid over an account.", accountIn(domain.StatusLocked)},
		{domain.PublishedAccountUnlocked, "The lock over an account was taken away.", accountIn(domain.StatusActive)},
		{domain.PublishedAccountClosingInitiated, "Closing an account was asked for.", accountIn(domain.StatusClosing)},
		{domain.PublishedAccountClosed, "An account is closed, for good.", accountIn(domain.StatusClosed)},

		{domain.PublishedGroupCreated, "An account group was opened.", groupIn(domain.StatusPendingApproval)},
		{domain.PublishedGroupActivated, "An account group became ACTIVE.", groupIn(domain.StatusActive)},
		{domain.PublishedGroupLocked, "A lock was laid over an account group.", groupIn(domain.StatusLocked)},
		{domain.PublishedGroupUnlocked, "The lock over an account group was taken away.", groupIn(domain.StatusActive)},
		{domain.PublishedGroupUpdated, "The domicile of an account group changed.", groupIn(domain.StatusActive)},
		{domain.PublishedGroupClosureAnnounced, "The closing of an account group was announced, and not started.", groupIn(domain.StatusActive)},
		{domain.PublishedGroupClosingInitiated, "Closing an account group was asked for.", groupIn(domain.StatusClosing)},
		{domain.PublishedGroupClosed, "An account group is closed, for good.", groupIn(domain.StatusClosed)},

		{domain.PublishedOrderNew, "An order was taken: the order service is to place it.", orderIn(domain.OrderNew)},
		{domain.PublishedOrderProcessing, "An order is on its way.", orderIn(domain.OrderProcessing)},
		{domain.PublishedOrderFilled, "An order was filled.", orderIn(domain.OrderFilled)},
		{domain.PublishedOrderCancelled, "An order was cancelled.", orderIn(domain.OrderCancelled)},
		{domain.PublishedOrderCancellationRequested, "The order service is to cancel an order.", orderIn(domain.OrderNew)},

		{domain.PublishedLiquidationNew, "Selling all that an account holds was asked for.", liquidationIn(domain.LiquidationNew)},
		{domain.PublishedLiquidationProcessing, "The first order of a liquidation is on its way.", liquidationIn(domain.LiquidationInProcess)},
		{domain.PublishedLiquidationFilled, "All orders of a liquidation are filled.", liquidationIn(domain.LiquidationAllFilled)},
		{domain.PublishedLiquidationSettled, "Nothing is left of what a liquidation sold, and nothing waits for settlement.", liquidationIn(domain.LiquidationAllSettled)},
		{domain.PublishedLiquidationCancelled, "A liquidation was taken back.", liquidationIn(domain.LiquidationTakenBack)},

		{domain.PublishedUserOffboardingInitiated, "Offboarding a user was asked for.", userIn(domain.UserOffboarding)},
		{domain.PublishedUserOffboarded, "The relation with a user has ended.", userIn(domain.UserOffboarded)},
		{domain.PublishedReportCreated, "A report was made, and can be read over HTTP.", exampleReport()},

		{domain.PublishedClosureStalled, "For operators: a closing is in progress for very long.", domain.StallNotice{
			Aggregate: domain.KindAccount, ID: exampleAccount, Number: 1, Closure: exampleClosure(domain.StatusClosing),
		}},
		{domain.PublishedReconciliationRequired, "For operators: a fact came after CLOSED that would have blocked it.", exampleReconciliation()},
		{domain.PublishedCommandRejected, "A command of the durable inbox was refused.", Rejection{
			ID: exampleEvent, Subject: eventstore.CommandSubject(string(domain.KindAccount), exampleAccount, "rename"), CommandID: ptr(exampleCommand),
			Error: &Problem{Type: "https://docs.upvest.co/errors/" + conflict, Status: 409, Title: "The present state does not allow it",
				Detail: "the account is CLOSED", Blockers: []domain.Blocker{}},
		}},

		{domain.PublishedWebhookFailing, "For operators: an endpoint has failed for an hour, a day, five days.", exampleNotice(domain.FailingForAnHour, "")},
		{domain.PublishedWebhookRecovered, "For operators: an endpoint of which that was said takes events again.", exampleNotice(domain.FailingForADay, "")},
		{domain.PublishedWebhookDisabled, "For operators: a subscription was disabled, since its endpoint wants no more.", exampleNotice("", "the endpoint answered 410 Gone")},
	}
}

// ofCommits tells whether the events of a type come out of the log. The others are published by whoever meets the trouble.
func ofCommits(name string) bool {
	family, _, _ := strings.Cut(name, ".")
	return family != "COMMAND" && family != "WEBHOOK"
}

// addEvents describes what is published.
func (d *document) addEvents() {
	d.describeProblem()
	rejection := d.schemas.Component(reflect.TypeFor[Rejection]())
	describe(rejection, map[string]huma.Schema{
		"id":         {Description: "The event's own id, ce-id.", Format: "uuid"},
		"subject":    {Description: "What the command was sent to."},
		"command_id": {Description: "The command's own id; null when it had none that is a uuid.", Format: "uuid"},
	})
	ofLog := d.schemas.Put("EventHeaders", eventHeaders(headersOfEvents, headersOfCommits))
	others := d.schemas.Put("NoticeHeaders", eventHeaders(headersOfEvents))
	for _, e := range publishedEvents() {
		common := others
		if ofCommits(e.name) {
			common = ofLog
		}
		example := exampleEventOf(e)
		d.Add(e.name, asyncapi.Channel{
			Address: address(eventstore.EventSubject(sample("client_id"), e.name, sample("id"))), Title: e.name, Description: e.summary,
			Tags: tagged(tagEvents), Stream: eventstore.StreamEvents,
			Parameters: map[string]asyncapi.Parameter{
				"client_id": {Description: "The tenant; _ when nobody knows it.", Location: "$message.header#/ce-clientid"},
				"id":        {Description: "The resource that the event speaks of; _ for none.", Location: "$message.header#/ce-subject"},
			},
		}, asyncapi.Operation{Action: asyncapi.Send, Summary: e.summary, Tags: tagged(tagEvents)}, asyncapi.Message{
			Name: e.name, Title: e.name, Summary: e.summary, ContentType: mediaJSON, Tags: tagged(tagEvents),
			Headers: &huma.Schema{
				Type: huma.TypeObject, AllOf: []*huma.Schema{common},
				Properties: map[string]*huma.Schema{"ce-type": {Type: huma.TypeString, Enum: []any{e.name}}},
			},
			Payload: d.schemas.Of(reflect.TypeOf(e.body)), Examples: []asyncapi.MessageExample{example},
		})
	}
}

// header is one header of events.
type header struct {
	name     string
	required bool
	schema   huma.Schema
}

// headersOfEvents are those of every event, headersOfCommits those of events that come out of the log.
var (
	headersOfEvents = []header{
		{"ce-specversion", true, huma.Schema{Enum: []any{"1.0"}, Description: "The version of CloudEvents."}},
		{"ce-id", true, huma.Schema{Format: "uuid", Description: "The event: the same however often it comes."}},
		{"ce-source", true, huma.Schema{Enum: []any{"/closure"}, Description: "This engine."}},
		{"ce-type", true, huma.Schema{Description: "What happened."}},
		{"ce-subject", false, huma.Schema{Description: "The id of the resource that the event speaks of."}},
		{"ce-time", true, huma.Schema{Format: "date-time", Description: "When it happened (UTC)."}},
		{"ce-clientid", false, huma.Schema{Description: "The tenant."}},
		{"ce-datacontenttype", false, huma.Schema{Enum: []any{mediaJSON}, Description: "What the body is, as the NATS binding has it. Events of former versions are without it."}},
		{"content-type", true, huma.Schema{Enum: []any{mediaJSON}, Description: "What the body is, as CloudEvents SDKs look for it."}},
		{jetstream.MsgIDHeader, true, huma.Schema{Format: "uuid", Description: "The same as ce-id, for JetStream."}},
		{tracing.HeaderParent, false, huma.Schema{Description: "The W3C trace context in which it happened."}},
		{tracing.HeaderState, false, huma.Schema{Description: "Its trace state."}},
	}
	headersOfCommits = []header{
		{"ce-subject", true, huma.Schema{Description: "The id of the resource that the event speaks of."}},
		{"ce-clientid", true, huma.Schema{Description: "The tenant."}},
		{"ce-logsequence", true, huma.Schema{Pattern: "^[1-9][0-9]*$", Description: "The sequence in CLOSURE_LOG of the commit that the event comes from."}},
		{"ce-" + tracing.HeaderParent, false, huma.Schema{Description: "The same as traceparent: the Distributed Tracing extension of CloudEvents."}},
		{"ce-" + tracing.HeaderState, false, huma.Schema{Description: "The same as tracestate, written as the binding asks for."}},
		{headerIndex, true, huma.Schema{Pattern: "^(0|[1-9][0-9]*)$", Description: "The place of the event in that commit, from 0."}},
	}
)

// eventHeaders is the schema of lists of headers; of two with one name the later one counts.
func eventHeaders(lists ...[]header) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{}}
	required := map[string]bool{}
	for _, list := range lists {
		for _, h := range list {
			schema := h.schema
			schema.Type = huma.TypeString
			s.Properties[h.name] = &schema
			if h.required && !required[h.name] {
				required[h.name] = true
				s.Required = append(s.Required, h.name)
			}
		}
	}
	return s
}

// exampleEventOf shows an event with its headers.
func exampleEventOf(e publishedEvent) asyncapi.MessageExample {
	headers := map[string]any{
		"ce-specversion": "1.0", "ce-id": exampleEvent, "ce-source": "/closure", "ce-type": e.name, "ce-subject": subjectOf(e.body),
		"ce-time": exampleRequested.Format(time.RFC3339Nano), "ce-clientid": exampleClient,
		"ce-datacontenttype": mediaJSON, "content-type": mediaJSON, jetstream.MsgIDHeader: exampleEvent,
	}
	if ofCommits(e.name) {
		headers["ce-logsequence"], headers[headerIndex] = strconv.Itoa(4711), "0"
	}
	return asyncapi.MessageExample{Headers: headers, Payload: e.body}
}

// subjectOf is the id of the resource that a body shows.
func subjectOf(body any) string {
	switch body := body.(type) {
	case Rejection:
		return exampleAccount
	case domain.WebhookNotice:
		return body.Webhook.ID
	}
	return reflect.ValueOf(body).FieldByName("ID").String()
}
