package webhooks

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/retry"
	"closure/projections/webhooks/endpoint"
)

// longestWait bounds the wait for the next attempt, also when the endpoint asks for more.
const longestWait = time.Hour

// reasonGone is why a subscription whose endpoint answered 410 is disabled.
const reasonGone = "the endpoint answered 410 Gone"

// levels of a failing period, in their order.
var levels = []domain.WebhookLevel{domain.FailingForAnHour, domain.FailingForADay, domain.FailingForFiveDays}

// waitAfter is how long to wait after a failure: the back-off, or what the endpoint asks for when that is longer.
func (s *Service) waitAfter(attempt int, out endpoint.Outcome) time.Duration {
	return min(max(s.cfg.Backoff(attempt), out.RetryAfter), longestWait)
}

// failed tells the operator of a failure when that is due, and stores the state.
func (s *Service) failed(sub subscription, st *deliveryState, out endpoint.Outcome) {
	now := s.now()
	st.Revision = max(st.Revision, sub.revision)
	st.LastFailure = classOf(out)
	for i, level := range slices.Backward(levels) {
		if now.Sub(st.FailingSince) < s.cfg.FailingAfter[i] {
			continue
		}
		// Of several that are due at once the last one says it all.
		if slices.Index(levels, st.Noticed) < i && s.notify(sub, *st, domain.PublishedWebhookFailing, level) {
			st.Noticed = level
		}
		break
	}
	s.writeState(sub, *st)
}

// recovered ends a failing period.
func (s *Service) recovered(sub subscription, st *deliveryState) {
	if st.Noticed != "" {
		s.notify(sub, *st, domain.PublishedWebhookRecovered, st.Noticed)
	}
	*st = deliveryState{Revision: sub.revision, LastSuccess: s.now(), LastFailure: st.LastFailure}
	s.writeState(sub, *st)
}

// gone disables a subscription whose endpoint wants no more. Its events are held.
func (s *Service) gone(sub subscription, st deliveryState) {
	ctx, cancel := context.WithTimeout(context.Background(), callWithin)
	defer cancel()
	_, err := s.change(ctx, sub.clientID, sub.ID, func(now *subscription) error {
		if now.URL == sub.URL { // else it was given another endpoint meanwhile
			now.Enabled, now.DisabledReason = false, reasonGone
		}
		return nil
	})
	if err != nil {
		// It is tried again like any other failure, and then disabled.
		s.cfg.Logger.Warn("webhooks: cannot disable a webhook whose endpoint is gone", "webhook", sub.ID, "error", err)
		return
	}
	s.cfg.Logger.Info("webhooks: disabled a webhook, since its endpoint is gone", "webhook", sub.ID)
	sub.Enabled, sub.DisabledReason = false, reasonGone
	s.notify(sub, st, domain.PublishedWebhookDisabled, "")
}

// notify publishes an event about a subscription, as CloudEvents 1.0 in the NATS binding, binary mode. It tells whether it
// is stored; else the next failure tries again.
func (s *Service) notify(sub subscription, st deliveryState, eventType string, level domain.WebhookLevel) bool {
	id := domain.DeriveID("webhook_notice", eventType, sub.ID, st.FailingSince.UTC().Format(time.RFC3339Nano), string(level))
	notice := domain.WebhookNotice{ID: id, Webhook: sub.Webhook, Level: level, Attempts: st.Attempts, LastFailure: st.LastFailure}
	if st.failing() {
		notice.FailingSince = &st.FailingSince
	}
	body, err := json.Marshal(notice)
	if err == nil {
		msg := nats.NewMsg(eventstore.EventSubject(sub.clientID, eventType, sub.ID))
		msg.Data = body
		for _, h := range [][2]string{
			{"ce-specversion", "1.0"}, {"ce-id", id}, {"ce-source", "/closure"}, {"ce-type", eventType}, {"ce-subject", sub.ID},
			{"ce-time", s.now().Format(time.RFC3339Nano)}, {"ce-clientid", sub.clientID},
			{"ce-datacontenttype", "application/json"}, {"content-type", "application/json"}, // the binding looks there, and the SDK here
			{jetstream.MsgIDHeader, id},
		} {
			msg.Header.Set(h[0], h[1])
		}
		ctx, cancel := context.WithTimeout(context.Background(), finishWithin)
		defer cancel()
		_, err = retry.Once(ctx, func(ctx context.Context) (*jetstream.PubAck, error) { return s.js.PublishMsg(ctx, msg) })
	}
	if err != nil {
		s.cfg.Logger.Warn("webhooks: cannot publish an event about a webhook", "webhook", sub.ID, "type", eventType, "error", err)
	}
	return err == nil
}

// aboutItself tells an event about the subscription that it would be delivered to. It is not: a failing endpoint would make
// events for itself without end.
func aboutItself(it *item, sub subscription) bool {
	return it.resource == sub.ID && slices.Contains(
		[]string{domain.PublishedWebhookFailing, domain.PublishedWebhookRecovered, domain.PublishedWebhookDisabled}, it.Type)
}

// classOf names a failure, for the log and the state: its class, and the status if there was one.
func classOf(out endpoint.Outcome) string {
	if out.Status != 0 {
		return fmt.Sprintf("%s %d", out.Failure, out.Status)
	}
	return string(out.Failure)
}
