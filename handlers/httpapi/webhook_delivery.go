package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"closure/domain"
	"closure/handlers/auth"
)

// AttemptOutcome says how an attempt went.
type AttemptOutcome string

// The outcomes.
const (
	AttemptSucceeded AttemptOutcome = "succeeded"
	AttemptFailed    AttemptOutcome = "failed"
)

// AttemptFilter selects attempts. The zero value selects all.
type AttemptFilter struct {
	Outcome AttemptOutcome // "": both
	EventID string         // "": of all events
}

// WebhookAttempt is one request that was made to an endpoint.
type WebhookAttempt struct {
	ID        string         `json:"id" format:"uuid" doc:"The attempt's id."`
	WebhookID string         `json:"webhook_id" format:"uuid" doc:"The subscription's id."`
	MessageID string         `json:"message_id" doc:"The header webhook-id of the request: the same for all attempts of one package."`
	Time      time.Time      `json:"time" doc:"When it began (UTC)."`
	Duration  int64          `json:"duration_ms" minimum:"0" doc:"How long it took, in milliseconds."`
	Number    int            `json:"number" minimum:"1" doc:"Which attempt of the package it was, from 1."`
	Outcome   AttemptOutcome `json:"outcome" enum:"succeeded,failed" doc:"succeeded: the answer was 2xx."`
	Status    int            `json:"status,omitzero" doc:"The status of the answer; absent when none came."`
	Failure   string         `json:"failure,omitzero" enum:"timeout_connect,timeout_header,timeout,refused,unreachable,reset,unknown_host,address_forbidden,url_forbidden,tls,redirect,status,answer_invalid,not_signed,cancelled,other" doc:"The class of the failure; absent for a success."`
	Detail    string         `json:"detail,omitzero" doc:"What the failure was, in words; absent for a success."`
	Answer    string         `json:"answer,omitzero" doc:"The beginning of the answer's body, 1 KiB at most; absent when there was none."`
	Bytes     int            `json:"bytes" minimum:"0" doc:"The size of the body that was sent."`
	Resent    bool           `json:"resent,omitzero" doc:"true: it was asked for by a call, outside of the order; else absent."`
	Events    []AttemptEvent `json:"events" doc:"The events in the request, in their order."`
}

// AttemptEvent is an event of an attempt.
type AttemptEvent struct {
	ID       string `json:"id" format:"uuid" doc:"The event's id, as in the payload."`
	Type     string `json:"type" doc:"The event's type." example:"ACCOUNT.CLOSED"`
	Sequence uint64 `json:"sequence" doc:"Where it stands among all published events."`
}

// WebhookAnswer is what came of a request that was made at once.
type WebhookAnswer struct {
	URL      string           `json:"url" format:"uri" doc:"Where it was posted."`
	Response *WebhookResponse `json:"response,omitzero" doc:"What the endpoint answered; absent when no answer came."`
	Failure  string           `json:"failure,omitzero" enum:"timeout_connect,timeout_header,timeout,refused,unreachable,reset,unknown_host,address_forbidden,url_forbidden,tls,redirect,status,answer_invalid,not_signed,cancelled,other" doc:"The class of the failure; absent for a success, which is a 2xx answer."`
	Detail   string           `json:"detail,omitzero" doc:"What the failure was, in words; absent for a success."`
	Duration int64            `json:"duration_ms" minimum:"0" doc:"How long it took, in milliseconds."`
}

// WebhookResponse is an answer of an endpoint.
type WebhookResponse struct {
	Status  int               `json:"status" doc:"The HTTP status."`
	Headers map[string]string `json:"headers" doc:"The headers, up to 4 KiB of them and without cookies; the values of one that came more than once are joined by commas."`
	Body    string            `json:"body" doc:"The beginning of the body, 4 KiB at most."`
}

// WebhookDelivery is how the deliveries of a subscription go.
type WebhookDelivery struct {
	Waiting         uint64     `json:"waiting" doc:"How many events were published and not taken by the endpoint yet; those under way count."`
	LastDeliveredAt *time.Time `json:"last_delivered_at" doc:"When a request was last answered with 2xx (UTC); null when there was none, or it is too long ago."`
	FailingSince    *time.Time `json:"failing_since" doc:"The first failure after the last success (UTC); null when the endpoint is not failing."`
	FailedAttempts  int        `json:"failed_attempts" minimum:"0" doc:"How many attempts have failed since."`
	LastFailure     string     `json:"last_failure,omitzero" doc:"The class of the last failure, with the status if there was one; absent when the endpoint is not failing." example:"status 503"`
	NextAttemptAt   *time.Time `json:"next_attempt_at" doc:"When the endpoint is tried again (UTC); null when it is not failing, and when no one time holds for all that waits."`
}

// delivery is how the deliveries go; nil when that cannot be told now, which is no reason not to show the subscription.
func (a *api) delivery(ctx context.Context, id string) *WebhookDelivery {
	d, err := a.webhooks.Delivery(ctx, requestOf(ctx).client, id)
	if err != nil {
		a.logger.WarnContext(ctx, "cannot tell how the deliveries of a webhook go", "webhook", id, "request_id", requestOf(ctx).id, "error", err)
		return nil
	}
	return &d
}

// ReplayFrom says where a replay begins: at a time or at an event, one of them.
type ReplayFrom struct {
	Time    time.Time // the first event that was published then or later
	EventID string    // that event
}

// webhookReplay is the body of POST /webhooks/{id}/replay.
type webhookReplay struct {
	From string `json:"from" minLength:"1" maxLength:"100" doc:"Where to begin: a time (RFC 3339), for the first event that was published then or later; or the id of an event. Not before the subscription began." example:"2027-04-06T00:00:00Z"`
}

// The inputs.
type (
	attemptsQuery struct {
		ByID
		Outcome AttemptOutcome `query:"outcome" enum:"succeeded,failed" doc:"Only attempts that went so."`
		Event   string         `query:"event" format:"uuid" doc:"Only attempts that had the event with this id in them."`
		Offset  int            `query:"offset" minimum:"0" default:"0" doc:"How many attempts to pass over."`
		Limit   int            `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many attempts to answer at most."`
	}
	replayWebhook struct {
		ByID
		Body webhookReplay
	}
	resendEvent struct {
		ByID
		EventID string `path:"event_id" format:"uuid" doc:"The event's id, as in the payload. One that is malformed, unknown, another client's or not for this subscription is 404."`
	}
)

func (a *api) registerDeliveries() {
	register(a, route{
		id: "listWebhookAttempts", scope: auth.WebhooksRead, method: http.MethodGet, path: "/webhooks/{id}/attempts", tag: tagWebhooks, summary: "List the attempts to deliver",
		text: "An addition of this engine. Every request that was made, the newest first, with what the endpoint answered. " +
			"They are kept for a time, up to 10000 of each outcome, and the oldest of all go first when there is no room; an attempt shows a moment after it was made.",
		noun: nounWebhook, status: http.StatusOK, success: "A page of the attempts.", example: exampleAttempts,
	}, a.listAttempts)
	register(a, route{
		id: "testWebhook", scope: auth.WebhooksAdmin, method: http.MethodPost, path: "/webhooks/{id}/test", tag: tagWebhooks, summary: "Try the endpoint",
		text: "Posts an event of the type `WEBHOOK.TEST`, once and signed, also while the subscription is disabled, and answers with what the endpoint did. " +
			"A failure of the endpoint is part of the answer.",
		noun: nounWebhook, status: http.StatusOK, success: "What came of it.", example: exampleAnswer,
	}, a.testWebhook)
	register(a, route{
		id: "replayWebhook", scope: auth.WebhooksAdmin, method: http.MethodPost, path: "/webhooks/{id}/replay", tag: tagWebhooks, summary: "Have events delivered again",
		text: "An addition of this engine. All events of the subscription come again, from a time or an event on, in their order and with the ids that they had. " +
			"An endpoint that was failing is tried at once.",
		noun: nounWebhook, status: http.StatusAccepted, success: "They are on their way.", request: webhookReplay{exampleTime},
	}, a.replayWebhook)
	register(a, route{
		id: "resendWebhookEvent", scope: auth.WebhooksAdmin, method: http.MethodPost, path: "/webhooks/{id}/events/{event_id}/resend", tag: tagWebhooks, summary: "Deliver one event again",
		text: "An addition of this engine. Posts the event alone, once and now, outside of the order, also while the subscription is disabled, and answers with what the endpoint did. " +
			"A failure of the endpoint is part of the answer, and the attempt is kept. An event that the subscription would not get by its families, or is older than it, is 404.",
		noun: nounWebhook, part: nounEvent, status: http.StatusOK, success: "What came of it.", example: exampleAnswer,
	}, a.resendEvent)
}

// searchWithin bounds the calls that look through all events or attempts of a subscription, which may be millions. It lies
// below writeTimeout: the answer has to get out.
const searchWithin = 45 * time.Second

// patient gives a call more time than others have. It ends with the client, unless that goes away later than others would
// have been answered.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithTimeout(context.WithoutCancel(ctx), searchWithin)
	stop := context.AfterFunc(ctx, func() {
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			cancel()
		}
	})
	return longer, func() { stop(); cancel() }
}

func (a *api) listAttempts(ctx context.Context, in *attemptsQuery) (*found[list[WebhookAttempt]], error) {
	filter := AttemptFilter{Outcome: in.Outcome}
	if in.Event != "" {
		id, err := storedID("event", in.Event)
		if err != nil {
			return nil, err
		}
		filter.EventID = id
	}
	longer, done := patient(ctx)
	defer done()
	attempts, total, err := a.webhooks.Attempts(longer, requestOf(ctx).client, in.ID, filter, domain.Page{Offset: in.Offset, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	return &found[list[WebhookAttempt]]{Body: list[WebhookAttempt]{
		Meta: attemptsMeta(in.Offset, in.Limit, len(attempts), total), Data: attempts,
	}}, nil
}

// attemptsMeta: attempts have one order, the newest first.
func attemptsMeta(offset, limit, count, total int) meta {
	return meta{Offset: offset, Limit: limit, Count: count, TotalCount: total, Sort: "time", Order: string(domain.Descending)}
}

// testWebhook may take longer than other calls: the endpoint has its own time to answer.
func (a *api) testWebhook(ctx context.Context, in *ByID) (*found[WebhookAnswer], error) {
	answer, err := a.webhooks.Test(ctx, requestOf(ctx).client, in.ID)
	return &found[WebhookAnswer]{Body: answer}, err
}

func (a *api) resendEvent(ctx context.Context, in *resendEvent) (*found[WebhookAnswer], error) {
	longer, done := patient(ctx)
	defer done()
	answer, err := a.webhooks.Resend(longer, requestOf(ctx).client, in.ID, in.EventID)
	// The event is part of the path: what is wrong about it is that it is not there.
	return &found[WebhookAnswer]{Body: answer}, aboutEvent(err, domain.NotFound, "")
}

func (a *api) replayWebhook(ctx context.Context, in *replayWebhook) (*nothing, error) {
	from, err := in.Body.from()
	if err != nil {
		return nil, err
	}
	longer, done := patient(ctx)
	defer done()
	err = a.webhooks.Replay(longer, requestOf(ctx).client, in.ID, from)
	return &nothing{}, aboutEvent(err, domain.Invalid, "from: ")
}

// aboutEvent says in the words of a call what is wrong about an event.
func aboutEvent(err error, kind domain.RefusalKind, field string) error {
	var refusal *domain.Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	if text, ok := strings.CutPrefix(refusal.Detail, "event: "); ok {
		return &domain.Refusal{Kind: kind, Detail: field + text}
	}
	return err
}

// from reads where the replay begins.
func (b webhookReplay) from() (ReplayFrom, error) {
	if id, err := domain.ParseID(b.From); err == nil {
		return ReplayFrom{EventID: id}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, b.From)
	if err != nil {
		return ReplayFrom{}, &domain.Refusal{Kind: domain.Invalid, Detail: "from: must be a time in RFC 3339 such as " + exampleTime +
			", or the id of an event, got " + domain.Quote(b.From)}
	}
	// Before all events is before all events; but not every year can be counted.
	if epoch := time.Unix(0, 0); at.Before(epoch) {
		at = epoch
	}
	return ReplayFrom{Time: at.UTC()}, nil
}
