package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/retry"
	"closure/projections/webhooks/endpoint"
)

// StreamAttempts keeps every attempt of a delivery, under closure.attempt.<client>.<webhook>.<succeeded or failed>.
const StreamAttempts = "CLOSURE_ATTEMPTS"

const (
	prefixAttempt = "closure.attempt."
	// maxAttempts is how many attempts are kept of a subscription and an outcome.
	maxAttempts = 10_000
	// keepAnswer is how much of an answer is kept, in bytes.
	keepAnswer = 1 << 10
	// leastAttemptBytes is what the stream is to have at least; a server that has less storage than that cannot serve.
	leastAttemptBytes = 16 << 20
	// codeStorageExceeded: the server, or the account, has not so much storage left. nats.go does not name it.
	codeStorageExceeded jetstream.ErrorCode = 10047
	// readAttemptsWithin bounds the reading of a subscription's attempts.
	readAttemptsWithin = 30 * time.Second
)

// AttemptOutcome says how an attempt went.
type AttemptOutcome string

// The outcomes.
const (
	AttemptSucceeded AttemptOutcome = "succeeded"
	AttemptFailed    AttemptOutcome = "failed"
)

// Attempt is one request that was made.
type Attempt struct {
	ID        string         `json:"id" format:"uuid" doc:"The attempt's id."`
	WebhookID string         `json:"webhook_id" format:"uuid" doc:"The subscription's id."`
	MessageID string         `json:"message_id" doc:"The header webhook-id: the same for all attempts of the same package."`
	Time      time.Time      `json:"time" doc:"When it began (UTC)."`
	Duration  int64          `json:"duration_ms" doc:"How long it took, in milliseconds."`
	Number    int            `json:"number" doc:"Which attempt of the package it was, from 1."`
	Outcome   AttemptOutcome `json:"outcome" enum:"succeeded,failed" doc:"succeeded: a 2xx answer came."`
	Status    int            `json:"status,omitempty" doc:"The status of the answer; absent when there was none."`
	Failure   string         `json:"failure,omitempty" doc:"The class of the failure; absent for a success."`
	Detail    string         `json:"detail,omitempty" doc:"What the failure was, in a sentence."`
	Answer    string         `json:"answer,omitempty" doc:"The first 1024 bytes of the answer."`
	Bytes     int            `json:"bytes" doc:"The size of the body that was sent."`
	Resent    bool           `json:"resent,omitempty" doc:"It was asked for by a call, outside of the order."`
	Events    []AttemptEvent `json:"events" doc:"The events of the package, in their order."`
}

// AttemptEvent is an event of an attempt.
type AttemptEvent struct {
	ID       string `json:"id" format:"uuid" doc:"The event's id."`
	Type     string `json:"type" doc:"The event's type."`
	Sequence uint64 `json:"sequence" doc:"Where it stands in CLOSURE_EVENTS."`
}

// newAttempt describes an attempt that was made.
func (s *Service) newAttempt(sub subscription, p *parcel, out endpoint.Outcome, number int) Attempt {
	a := Attempt{
		ID: uuid.NewString(), WebhookID: sub.ID, MessageID: p.id(sub.ID), Time: s.now().Add(-out.Duration), Duration: out.Duration.Milliseconds(),
		Number: number, Outcome: AttemptSucceeded, Status: out.Status, Failure: string(out.Failure), Detail: out.Detail, Bytes: p.size,
		Answer: text(out.Body[:min(len(out.Body), keepAnswer)]),
	}
	if out.Failure != "" {
		a.Outcome = AttemptFailed
	}
	for _, it := range p.items {
		a.Events = append(a.Events, AttemptEvent{it.ID, it.Type, it.seq})
	}
	return a
}

// message is how an attempt is kept.
func (a Attempt) message(clientID string) (*nats.Msg, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("attempt of the webhook %s: %w", a.WebhookID, err)
	}
	msg := nats.NewMsg(attemptSubject(clientID, a.WebhookID, a.Outcome))
	msg.Data = body
	msg.Header.Set(jetstream.MsgIDHeader, a.ID)
	return msg, nil
}

// attemptSubject is where the attempts of a subscription with an outcome stand; "" is for both.
func attemptSubject(clientID, id string, outcome AttemptOutcome) string {
	if outcome == "" {
		outcome = "*"
	}
	return prefixAttempt + clientID + "." + id + "." + string(outcome)
}

// attemptStream has limits of its own: attempts are for looking into what went wrong, and the events are kept elsewhere. Each
// limit holds by itself, and the oldest go first: an age, a number for each subscription and outcome, and bytes in all, so that
// many subscriptions cannot fill the disk that the log is on.
func attemptStream(cfg Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               StreamAttempts,
		Description:        "closure: attempts of webhook deliveries",
		Subjects:           []string{prefixAttempt + ">"},
		Storage:            jetstream.FileStorage,
		Replicas:           cfg.Replicas,
		MaxAge:             cfg.KeepAttempts,
		MaxBytes:           cfg.AttemptBytes,
		MaxMsgsPerSubject:  maxAttempts,
		Discard:            jetstream.DiscardOld,
		Compression:        jetstream.S2Compression,
		AllowDirect:        true,
		AllowAtomicPublish: true,
	}
}

// openAttempts creates the stream, or brings it to its settings; it never takes replicas away. The server sets aside the bytes
// of a stream that has a bound: one with less storage is asked for half, and so on, for what only tells of deliveries must not
// keep them from being made.
func (s *Service) openAttempts(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	var err error
	if want.Replicas, err = replicasOf(ctx, s.js, StreamAttempts, want.Replicas); err != nil {
		return nil, err
	}
	for {
		stream, err := s.js.CreateOrUpdateStream(ctx, want)
		var api *jetstream.APIError
		if !errors.As(err, &api) || api.ErrorCode != codeStorageExceeded || want.MaxBytes < 2*leastAttemptBytes {
			return stream, err
		}
		want.MaxBytes /= 2
		s.cfg.Logger.Warn("webhooks: there is less storage than the attempts may take; keeping fewer", "stream", StreamAttempts, "bytes", want.MaxBytes)
	}
}

// AttemptFilter selects attempts. The zero value selects all.
type AttemptFilter struct {
	Outcome AttemptOutcome // "": both
	EventID string         // "": of all events
}

// Attempts gives a page of a subscription's attempts, the newest first whatever the page says of sorting, and how many there
// are in all. All attempts of the subscription are read for it, up to 10,000 of each outcome. An attempt shows a moment after
// it was made. Errors: *domain.Refusal (NotFound, Invalid), eventstore.ErrUnavailable.
func (s *Service) Attempts(ctx context.Context, clientID, id string, filter AttemptFilter, page domain.Page) ([]Attempt, int, error) {
	if !slices.Contains([]AttemptOutcome{"", AttemptSucceeded, AttemptFailed}, filter.Outcome) {
		return nil, 0, invalid("outcome", "must be succeeded or failed, got %s", domain.Quote(string(filter.Outcome)))
	}
	id, err := checkID(clientID, id)
	if err != nil {
		return nil, 0, err
	}
	if _, err := s.read(ctx, clientID, id); err != nil {
		return nil, 0, err
	}
	page = page.WithDefaults()
	ctx, cancel := context.WithTimeout(ctx, readAttemptsWithin)
	defer cancel()
	// The newest come last: of what was read, so many of the last ones are kept.
	keep := max(page.Offset, 0) + page.Limit
	if keep < 0 || keep > 2*maxAttempts {
		keep = 2 * maxAttempts
	}
	var last []Attempt
	total := 0
	err = s.eachMessage(ctx, StreamAttempts, attemptSubject(clientID, id, filter.Outcome), false, func(msg jetstream.Msg, _ uint64) bool {
		var a Attempt
		if err := json.Unmarshal(msg.Data(), &a); err != nil || !a.has(filter.EventID) {
			return true // no engine has written it
		}
		total++
		if last = append(last, a); len(last) >= 2*keep {
			last = slices.Clone(last[len(last)-keep:])
		}
		return true
	})
	if err != nil {
		return nil, 0, eventstore.Unavailable("read the attempts of a webhook", err)
	}
	slices.Reverse(last)
	from := min(max(page.Offset, 0), len(last))
	out := append([]Attempt{}, last[from:min(from+page.Limit, len(last))]...)
	return out, total, nil
}

func (a Attempt) has(eventID string) bool {
	return eventID == "" || slices.ContainsFunc(a.Events, func(e AttemptEvent) bool { return e.ID == eventID })
}

// eachMessage reads the messages of a stream with a subject in their order, up to what is the last one now, until see
// returns false.
func (s *Service) eachMessage(ctx context.Context, stream, subject string, headersOnly bool, see func(msg jetstream.Msg, seq uint64) bool) error {
	consumer, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return s.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}, HeadersOnly: headersOnly})
	})
	if err != nil {
		return err
	}
	info := consumer.CachedInfo()
	defer func() {
		// It would go away by itself after a while.
		ctx, cancel := context.WithTimeout(context.Background(), finishWithin)
		defer cancel()
		_ = s.js.DeleteConsumer(ctx, stream, consumer.CachedInfo().Name)
	}()
	left := info.NumPending
	if left == 0 {
		return nil
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for ; left > 0; left-- {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if !see(msg, meta.Sequence.Stream) || meta.NumPending == 0 {
			return nil
		}
	}
	return nil
}

// text shows what an endpoint has answered, which may be anything.
func text(body []byte) string { return strings.ToValidUTF8(string(body), "\uFFFD") }
