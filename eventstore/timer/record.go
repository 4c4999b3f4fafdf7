package timer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/retry"
)

const (
	// callWithin bounds one call of this package with all its retries, whatever the caller's context allows.
	callWithin = 20 * time.Second
	// longestWait is how far ahead a schedule is set at most. What is due later is woken then, and set again.
	longestWait = 10 * 365 * 24 * time.Hour
	// longestToken bounds the subjects: the server cuts off a client whose subject is longer than its line.
	longestToken = 255
)

// Timer is due at a time. There is one of a purpose for an aggregate at most.
type Timer struct {
	Aggregate, ID, Purpose string // each a token of a subject, up to 255 bytes
	Due                    time.Time
}

// validate names the field that cannot be.
func (t Timer) validate() error {
	for _, field := range []struct{ name, token string }{{"aggregate", t.Aggregate}, {"id", t.ID}, {"purpose", t.Purpose}} {
		if !eventstore.ValidToken(field.token) || !utf8.ValidString(field.token) || len(field.token) > longestToken {
			return fmt.Errorf("timers: %w: %s %.300q: must be one token of a subject, of 1 to %d bytes "+
				"without white space, '.', '*' and '>'", ErrInvalid, field.name, field.token, longestToken)
		}
	}
	return nil
}

func (t Timer) subject() string { return eventstore.TimerSubject(t.Aggregate, t.ID, t.Purpose) }

// record is a timer as it stands in the stream. Its sequence tells it from the one that it has replaced, and from the one
// that will replace it, even if all are due at the same time.
type record struct {
	Timer
	sequence uint64
}

// content is the body of a record: the exact time, to the nanosecond.
type content struct {
	Due time.Time `json:"due"`
}

func recordOf(msg *jetstream.RawStreamMsg) (record, error) {
	r := record{sequence: msg.Sequence}
	var ok bool
	if r.Aggregate, r.ID, r.Purpose, ok = eventstore.ParseTimerSubject(msg.Subject); !ok {
		return r, fmt.Errorf("%s is not the subject of a timer", msg.Subject)
	}
	var c content
	if err := json.Unmarshal(msg.Data, &c); err != nil {
		return r, fmt.Errorf("the timer on %s, sequence %d: %w", msg.Subject, msg.Sequence, err)
	}
	if c.Due.IsZero() {
		return r, fmt.Errorf("the timer on %s, sequence %d: it has no due time", msg.Subject, msg.Sequence)
	}
	r.Due = c.Due.UTC()
	return r, nil
}

// Set sets a timer, and replaces the one of the same aggregate and purpose. It is durable when Set returns. One that is due
// already is handled at once. After an error it may be set or not, and Set may be repeated.
func (s *Service) Set(ctx context.Context, t Timer) error {
	if err := t.validate(); err != nil {
		return err
	}
	t.Due = t.Due.UTC()
	if year := t.Due.Year(); t.Due.IsZero() || year < 1 || year > 9999 {
		return fmt.Errorf("timers: %w: due %s: must be a time in the years 1 to 9999", ErrInvalid, t.Due)
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	former, err := s.read(ctx, t.subject())
	if err != nil && !errors.Is(err, errUnreadable) {
		return err
	}
	body, err := json.Marshal(content{Due: t.Due})
	if err != nil {
		return fmt.Errorf("timers: %w", err)
	}
	// The timer first: if this is all that happens, it is found by the watch. In the other order, what the schedule fires
	// could come before there is a timer to handle.
	stands, err := s.publish(ctx, &nats.Msg{Subject: t.subject(), Data: body})
	if err != nil {
		return err
	}
	if err := s.wake(ctx, record{Timer: t, sequence: stands}); err != nil {
		return err
	}
	s.set.Add(1)
	if former.sequence != 0 {
		s.tidy(ctx, former)
	}
	return nil
}

// Cancel takes a timer away. One that is not there is no error; one that is being handled is not held up.
func (s *Service) Cancel(ctx context.Context, aggregate, id, purpose string) error {
	t := Timer{Aggregate: aggregate, ID: id, Purpose: purpose}
	if err := t.validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	r, err := s.read(ctx, t.subject())
	if err != nil && !errors.Is(err, errUnreadable) || r.sequence == 0 {
		return err
	}
	return s.remove(ctx, r)
}

// errUnreadable: something stands on the subject of a timer that is none. It may be replaced and removed.
var errUnreadable = errors.New("not written by this engine")

// read gives the timer on a subject; its sequence is 0 when none is set. The stream's leader answers, since direct gets are
// off: a replica that lags could say that a timer is gone that was just set.
func (s *Service) read(ctx context.Context, subject string) (record, error) {
	stream, err := s.stream()
	if err != nil {
		return record{}, fmt.Errorf("timers: %w", err)
	}
	msg, err := retry.Insist(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return stream.GetLastMsgForSubject(ctx, subject)
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return record{}, nil
	}
	if err != nil {
		return record{}, eventstore.Unavailable("timers: read "+subject, err)
	}
	r, err := recordOf(msg)
	if err != nil {
		return r, fmt.Errorf("timers: %w: %w", errUnreadable, err)
	}
	return r, nil
}

// remove takes a timer away, and its schedule. One that has replaced it stays, and so does that one's schedule.
func (s *Service) remove(ctx context.Context, r record) error {
	if err := s.purge(ctx, r.subject(), r.sequence+1); err != nil {
		return err
	}
	s.tidy(ctx, r)
	return nil
}

// tidy removes the schedule of a timer that is not set any more. One that stays behind fires once, and finds nothing.
func (s *Service) tidy(ctx context.Context, r record) {
	wake, _ := eventstore.TimerWakeSubject(r.Aggregate, r.ID, r.Purpose, r.sequence)
	if err := s.purge(ctx, wake, 0); err != nil {
		s.logger.Debug("a schedule stays that is not needed", "subject", wake, "error", err)
	}
}

// purge removes what stands on a subject before a sequence; 0 is all.
func (s *Service) purge(ctx context.Context, subject string, before uint64) error {
	stream, err := s.stream()
	if err != nil {
		return fmt.Errorf("timers: %w", err)
	}
	opts := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject(subject)}
	if before > 0 {
		opts = append(opts, jetstream.WithPurgeSequence(before))
	}
	_, err = retry.Insist(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, stream.Purge(ctx, opts...) })
	if err != nil {
		return eventstore.Unavailable("timers: remove "+subject, err)
	}
	return nil
}

// wake sets the schedule of a timer, in place of the one that it has. The server knows the machine's clock only, so what
// counts is how long it is until the timer is due by the clock of the service.
func (s *Service) wake(ctx context.Context, r record) error {
	wake, due := eventstore.TimerWakeSubject(r.Aggregate, r.ID, r.Purpose, r.sequence)
	left := min(max(r.Due.Sub(s.cfg.Now()), 0), longestWait)
	msg := nats.NewMsg(wake)
	// jetstream.WithScheduleAt would cut the time to whole seconds, and so fire early; the server takes fractions.
	msg.Header.Set(jetstream.ScheduleHeader, "@at "+time.Now().Add(left).UTC().Format(time.RFC3339Nano))
	msg.Header.Set(jetstream.ScheduleTargetHeader, due)
	_, err := s.publish(ctx, msg)
	return err
}

func (s *Service) publish(ctx context.Context, msg *nats.Msg) (sequence uint64, err error) {
	if _, err := s.stream(); err != nil {
		return 0, fmt.Errorf("timers: %w", err)
	}
	ack, err := retry.Insist(ctx, func(ctx context.Context) (*jetstream.PubAck, error) {
		return s.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(eventstore.StreamTimers))
	})
	if err != nil {
		return 0, eventstore.Unavailable("timers: store "+msg.Subject, err)
	}
	return ack.Sequence, nil
}
