package webhooks

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"closure/domain"
	"closure/projections/webhooks/endpoint"
)

// Answered is what came of a request that was made at once.
type Answered struct {
	URL      string         `json:"url" doc:"Where it was posted."`
	Response Response       `json:"response" doc:"What the endpoint answered."`
	Failure  string         `json:"failure,omitempty" doc:"The class of the failure; absent for a success, which is a 2xx answer."`
	Detail   string         `json:"detail,omitempty" doc:"What the failure was, in a sentence."`
	Duration time.Duration  `json:"-"`
	Events   []AttemptEvent `json:"-"`
}

// Response is an answer of an endpoint.
type Response struct {
	Status  int         `json:"status" doc:"The status; 0 when no answer came."`
	Headers http.Header `json:"headers" doc:"The headers, up to 4 KiB of them."`
	Body    string      `json:"body" doc:"The first 4 KiB of the body."`
}

func answered(url string, out endpoint.Outcome) Answered {
	headers := out.Header
	if headers == nil {
		headers = http.Header{}
	}
	return Answered{
		URL: url, Response: Response{Status: out.Status, Headers: headers, Body: text(out.Body)}, Failure: string(out.Failure),
		Detail: out.Detail, Duration: out.Duration,
	}
}

// Test posts an event of the type WEBHOOK.TEST to the endpoint, once and signed, whether the subscription is enabled or not,
// and gives what it answered. The event is of this request alone: it is not published, not tried again, and no attempt is
// kept of it. That the endpoint failed is part of the answer. Errors: *domain.Refusal (NotFound), eventstore.ErrUnavailable.
func (s *Service) Test(ctx context.Context, clientID, id string) (Answered, error) {
	sub, done, err := s.beginCall(ctx, clientID, id)
	if err != nil {
		return Answered{}, err
	}
	defer done()
	object, err := json.Marshal(sub.Webhook)
	if err != nil {
		return Answered{}, fmt.Errorf("webhook %s: %w", sub.ID, err)
	}
	it := &item{event: event{ID: uuid.NewString(), CreatedAt: s.now().Format(time.RFC3339Nano), Type: domain.PublishedWebhookTest}, resource: sub.ID}
	if it.body, err = entry(it.event, object, sub.ID); err != nil {
		return Answered{}, err
	}
	p := &parcel{}
	p.add(it)
	return answered(sub.URL, s.post(sub, p, p.body())), nil
}

// Resend posts one event of the client to the endpoint once more, in a package of its own, now, outside of the order, and
// gives what it answered. It has to be one that the subscription gets by its families and its beginning. The attempt is kept.
// A failure is part of the answer and is not tried again. For the cost see Replay. Errors: *domain.Refusal (NotFound, Invalid),
// eventstore.ErrUnavailable.
func (s *Service) Resend(ctx context.Context, clientID, id, eventID string) (Answered, error) {
	sub, done, err := s.beginCall(ctx, clientID, id)
	if err != nil {
		return Answered{}, err
	}
	defer done()
	it, err := s.find(ctx, sub, eventID)
	if err == nil {
		err = sub.mustGet(it)
	}
	if err != nil {
		return Answered{}, err
	}
	p := &parcel{}
	p.add(it)
	out := s.post(sub, p, p.body())
	a := s.newAttempt(sub, p, out, 1)
	a.Resent = true
	msg, err := a.message(clientID)
	if err != nil {
		return Answered{}, err
	}
	kept := make(chan struct{})
	s.ledger.add(settlement{attempt: msg, settled: func() { close(kept) }})
	<-kept
	res := answered(sub.URL, out)
	res.Events = a.Events
	return res, nil
}

// mustGet refuses an event of the client that would never be delivered to the subscription: whoever listens there has not
// asked for it, and may be somebody who is to see some families only.
func (s subscription) mustGet(it *item) error {
	family, _, _ := strings.Cut(it.Type, ".")
	switch {
	case !slices.Contains(s.Families(), domain.WebhookFamily(family)):
		return invalid("event", "the event %s is of the type %s, which the webhook does not get", it.ID, it.Type)
	case aboutItself(it, s):
		return invalid("event", "the event %s is about the webhook itself, and no webhook gets those", it.ID)
	case it.seq < s.FromSequence:
		return invalid("event", "the event %s is from before the webhook was created", it.ID)
	}
	return nil
}

// beginCall reads a subscription for a request that is made at once. The service does not end before done is called.
func (s *Service) beginCall(ctx context.Context, clientID, id string) (sub subscription, done func(), err error) {
	id, err = checkID(clientID, id)
	if err != nil {
		return sub, nil, err
	}
	s.mu.Lock()
	if s.state != running || s.ledger == nil {
		s.mu.Unlock()
		return sub, nil, errNotRunning
	}
	s.wg.Add(1)
	s.mu.Unlock()
	if sub, err = s.read(ctx, clientID, id); err == nil {
		sub, err = s.ensureSecret(ctx, sub)
	}
	if err != nil {
		s.wg.Done()
		return sub, nil, err
	}
	return sub, s.wg.Done, nil
}
