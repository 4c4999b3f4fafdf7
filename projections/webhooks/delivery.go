package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// event is a published event (CONTRACT: A published event) as a delivery shows it.
type event struct {
	ID        string `json:"id"`
	CreatedAt string `json:"created_at"`
	Type      string `json:"type"`

	object []byte // the resource, byte for byte as it was published
}

// readEvent reads a message of CLOSURE_EVENTS. An error means that it was not written by an engine.
func readEvent(msg *nats.Msg) (event, error) {
	e := event{object: msg.Data}
	for _, h := range []struct {
		name string
		into *string
	}{{"ce-id", &e.ID}, {"ce-time", &e.CreatedAt}, {"ce-type", &e.Type}} {
		if *h.into = msg.Header.Get(h.name); *h.into == "" {
			return e, fmt.Errorf("the header %s is missing", h.name)
		}
	}
	if !json.Valid(e.object) {
		return e, errors.New("the body is not JSON")
	}
	return e, nil
}

// payload is the body of a delivery: {"payload": [{id, created_at, type, object, webhook_id}]}, with this one event. The
// subscription's config allows more to a delivery, and demands it of none.
func payload(e event, webhookID string) ([]byte, error) {
	head, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", e.ID, err)
	}
	// The object is put in as it is: an encoder would write it in its own way.
	body := make([]byte, 0, len(head)+len(e.object)+len(webhookID)+64)
	body = append(body, `{"payload":[`...)
	body = append(body, head[:len(head)-1]...)
	body = append(body, `,"object":`...)
	body = append(body, e.object...)
	body = append(body, `,"webhook_id":"`...)
	body = append(body, webhookID...)
	return append(body, `"}]}`...), nil
}

// deliver makes one attempt, and tells the server how it went. The server counts the attempts, so that the count outlives
// this process.
func (s *Service) deliver(sub subscription, msg *nats.Msg) {
	log := s.cfg.Logger.With("webhook", sub.ID)
	meta, err := msg.Metadata()
	if err != nil {
		log.Error("webhooks: a message without the consumer's data", "error", err)
		return
	}
	log = log.With("sequence", meta.Sequence.Stream)
	e, err := readEvent(msg)
	var body []byte
	if err == nil {
		body, err = payload(e, sub.ID)
	}
	if err != nil {
		// It would fail for ever and hold up what is behind it. The stream keeps it.
		log.Error("webhooks: passing over a message that no engine has written", "subject", msg.Subject, "error", err)
		s.settle(log, msg.Term())
		return
	}
	failure := s.post(sub.URL, body)
	if failure == nil {
		ctx, cancel := context.WithTimeout(context.Background(), finishWithin)
		defer cancel()
		s.settle(log.With("event", e.ID), msg.AckSync(nats.Context(ctx)))
		return
	}
	s.retry(log.With("event", e.ID), msg, int(meta.NumDelivered), failure)
}

// retry has the server deliver the event again, when the back-off of this attempt is over.
func (s *Service) retry(log *slog.Logger, msg *nats.Msg, attempt int, failure error) {
	if s.working.Err() != nil {
		log.Info("webhooks: an attempt was cut short by the end of the engine", "attempt", attempt)
		s.settle(log, msg.Nak())
		return
	}
	wait := s.cfg.Backoff(attempt)
	log.Info("webhooks: an attempt has failed", "attempt", attempt, "failure", failure.Error(), "again_in", wait.Round(time.Millisecond))
	s.settle(log, msg.NakWithDelay(wait))
}

// settle logs that the server could not be told of an outcome.
func (s *Service) settle(log *slog.Logger, err error) {
	if err != nil {
		log.Warn("webhooks: cannot settle a delivery with the server; it may be made again", "error", err)
	}
}
