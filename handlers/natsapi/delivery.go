package natsapi

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/retry"
	"closure/eventstore/tracing"
	"closure/handlers"
)

const (
	// internalAttempts is how often a command that fails for an internal reason is tried before it is rejected.
	internalAttempts = 5
	// groupPatience is how long the open of an account waits in its place for the open of its group.
	groupPatience = 300 * time.Millisecond
)

// delivery is a command of the inbox in the hands of a worker.
type delivery struct {
	request
	sequence uint64    // in CLOSURE_COMMANDS, as first stored
	stored   time.Time // when it was first stored
	count    uint64    // how often the message was handed out, with this one
	msg      jetstream.Msg
}

// deliveryOf reads a message of CLOSURE_COMMANDS.
func deliveryOf(msg jetstream.Msg) (delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return delivery{}, fmt.Errorf("a message that JetStream did not send: %w", err)
	}
	subject, aside := eventstore.CommandOf(msg.Subject())
	d := delivery{
		request:  request{subject: subject, body: msg.Data(), way: "inbox", trace: tracing.From(msg.Headers())},
		sequence: meta.Sequence.Stream, stored: meta.Timestamp, count: meta.NumDelivered, msg: msg,
	}
	if aside {
		d.recall(msg.Headers())
	}
	var ok bool
	if d.aggregate, d.id, d.command, ok = eventstore.ParseCommandSubject(d.subject); !ok {
		d.refusal = malformedSubject(d.subject, eventstore.CommandForm)
	}
	return d, nil
}

// handleInbox settles one command of a partition, or one with a malformed subject. It returns when the command has left
// its place in the order, so that the next one may come.
func (s *Service) handleInbox(d delivery) {
	c, err := s.settle(d)
	if open, ok := c.Payload.(*domain.OpenAccount); ok && notFound(err) {
		err = s.awaitGroup(d, open.AccountGroupID)
	}
	switch {
	case err == nil || errors.Is(err, errAbandoned):
	case early(c, err):
		err = s.setAside(d)
	default:
		err = s.reject(d, c, err)
	}
	s.conclude(d, err)
}

// conclude tells the server that the command is settled, or with an error that somebody else should have it.
func (s *Service) conclude(d delivery, err error) {
	switch {
	case err == nil:
		err = d.msg.Ack()
	case s.stopping.Err() != nil:
		err = d.msg.Nak() // at once, to whoever else works on the inbox
	default:
		err = d.msg.NakWithDelay(lastRetry)
	}
	if err != nil {
		// It will be handed out again, and change nothing then.
		s.log.Warn("a command could not be acknowledged", "subject", d.subject, "sequence", d.sequence, "error", err)
	}
}

// settle executes a command until it is clear what becomes of it, however long that takes: what is unavailable is waited
// for, with the command in its place. The error is final, or errAbandoned.
func (s *Service) settle(d delivery) (domain.Command, error) {
	failures, waiting := 0, false
	for wait := retry.NewBackoff(50*time.Millisecond, 5*time.Second); ; {
		c, _, err := s.execute(d.request)
		switch {
		case err == nil:
			return c, nil
		case transient(err):
			// Once at the beginning, and then only as often as the longest pause.
			if !waiting || wait.Longest() {
				s.log.WarnContext(d.trace.In(s.working), "a command of the inbox has to wait", "subject", d.subject, "command_id", c.ID,
					"request_id", c.RequestID, "correlation_id", c.CorrelationID, "error", err)
			}
			waiting = true
		case slugOf(err) != handlers.InternalError:
			return c, err
		default:
			if failures++; failures == internalAttempts {
				s.logFailure(d.request, c, err)
				return c, err
			}
		}
		if !s.pause(wait.Step()) {
			return c, errAbandoned
		}
	}
}

// early tells whether a command was refused only because it came before what it is about.
func early(c domain.Command, err error) bool {
	if !notFound(err) {
		return false
	}
	_, isOpen := c.Payload.(*domain.OpenAccount)
	return isOpen || domain.IsFact(c.Payload)
}

// awaitGroup waits for the group of an account that is to be opened, with the command in its place: as long as the
// group's open stands before it in the inbox (in another partition), and for a moment in any case.
//
// Only what was stored before is waited for, so that two partitions never wait for each other.
func (s *Service) awaitGroup(d delivery, groupID string) error {
	begin := time.Now()
	for wait := retry.NewBackoff(10*time.Millisecond, 100*time.Millisecond); ; {
		if !s.pause(wait.Step()) {
			return errAbandoned
		}
		// Looked up before the try: when the open is gone by now, the try sees what it did.
		coming := s.stands(eventstore.InboxSubject(string(domain.KindAccountGroup), groupID, "open"), d.sequence)
		if _, err := s.settle(d); !notFound(err) {
			return err
		} else if waited := time.Since(begin); waited >= groupPatience && (!coming || waited >= s.cfg.EarlyFactWait) {
			return err
		}
	}
}

// stands tells whether a message stands on the subject before a sequence.
func (s *Service) stands(subject string, before uint64) bool {
	ctx, cancel := s.forRequest()
	defer cancel()
	msg, err := s.stream.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subject))
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		s.log.Warn("the inbox could not be looked into", "subject", subject, "error", err)
	}
	return err == nil && msg.Sequence < before
}
