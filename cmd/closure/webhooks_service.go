package main

import (
	"context"
	"net/http"
	"strings"
	"time"

	"closure/domain"
	"closure/handlers/httpapi"
	"closure/projections/webhooks"
)

// subscriptions is the service of webhooks as the HTTP API asks for it: neither knows the other.
type subscriptions struct{ *webhooks.Service }

func (s subscriptions) Create(ctx context.Context, clientID string, w domain.Webhook) (domain.Webhook, string, error) {
	made, err := s.CreateWithSecret(ctx, clientID, w)
	return made.Webhook, made.Secret.Reveal(), err
}

func (s subscriptions) RotateSecret(ctx context.Context, clientID, id string, overlap time.Duration) (string, time.Time, error) {
	secrets, err := s.Service.RotateSecret(ctx, clientID, id, overlap)
	return secrets.Current.Reveal(), secrets.PreviousUntil, err
}

func (s subscriptions) Delivery(ctx context.Context, clientID, id string) (httpapi.WebhookDelivery, error) {
	p, err := s.Progress(ctx, clientID, id)
	return httpapi.WebhookDelivery{
		Waiting: p.Waiting, LastDeliveredAt: known(p.LastDelivered), FailingSince: known(p.FailingSince),
		FailedAttempts: p.Attempts, LastFailure: p.LastFailure, NextAttemptAt: known(p.NextAttempt),
	}, err
}

// known is nil for a time that is not.
func known(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}

func (s subscriptions) Attempts(
	ctx context.Context, clientID, id string, filter httpapi.AttemptFilter, page domain.Page,
) ([]httpapi.WebhookAttempt, int, error) {
	attempts, total, err := s.Service.Attempts(ctx, clientID, id, webhooks.AttemptFilter{
		Outcome: webhooks.AttemptOutcome(filter.Outcome), EventID: filter.EventID,
	}, page)
	out := make([]httpapi.WebhookAttempt, len(attempts))
	for i, a := range attempts {
		out[i] = shownAttempt(a)
	}
	return out, total, err
}

func shownAttempt(a webhooks.Attempt) httpapi.WebhookAttempt {
	out := httpapi.WebhookAttempt{
		ID: a.ID, WebhookID: a.WebhookID, MessageID: a.MessageID, Time: a.Time, Duration: a.Duration, Number: a.Number,
		Outcome: httpapi.AttemptOutcome(a.Outcome), Status: a.Status, Failure: a.Failure, Detail: a.Detail, Answer: a.Answer,
		Bytes: a.Bytes, Resent: a.Resent, Events: make([]httpapi.AttemptEvent, len(a.Events)),
	}
	for i, e := range a.Events {
		out.Events[i] = httpapi.AttemptEvent(e)
	}
	return out
}

func (s subscriptions) Test(ctx context.Context, clientID, id string) (httpapi.WebhookAnswer, error) {
	answer, err := s.Service.Test(ctx, clientID, id)
	return shownAnswer(answer), err
}

func (s subscriptions) Resend(ctx context.Context, clientID, id, eventID string) (httpapi.WebhookAnswer, error) {
	answer, err := s.Service.Resend(ctx, clientID, id, eventID)
	return shownAnswer(answer), err
}

func shownAnswer(a webhooks.Answered) httpapi.WebhookAnswer {
	out := httpapi.WebhookAnswer{URL: a.URL, Failure: a.Failure, Detail: a.Detail, Duration: a.Duration.Milliseconds()}
	if a.Response.Status != 0 {
		out.Response = &httpapi.WebhookResponse{Status: a.Response.Status, Headers: joined(a.Response.Headers), Body: a.Response.Body}
	}
	return out
}

// joined has one value for each header (RFC 9110, 5.3).
func joined(header http.Header) map[string]string {
	out := make(map[string]string, len(header))
	for name, values := range header {
		out[name] = strings.Join(values, ", ")
	}
	return out
}

func (s subscriptions) Replay(ctx context.Context, clientID, id string, from httpapi.ReplayFrom) error {
	return s.Service.Replay(ctx, clientID, id, webhooks.ReplayFrom{Time: from.Time, EventID: from.EventID})
}
