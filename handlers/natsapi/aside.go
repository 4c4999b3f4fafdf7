package natsapi

import (
	"errors"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/retry"
)

// Headers of a command that was set aside: where and when it was first stored.
const (
	headerFirstSequence = "Closure-Command-Sequence"
	headerFirstTime     = "Closure-Command-Time"
)

const (
	// A command that waits is tried again after firstRetry, then after twice as long each time, up to lastRetry.
	firstRetry = 250 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// setAside copies a command to where it waits, so that those behind it go on. Setting aside twice makes one copy, or two
// that do the same.
func (s *Service) setAside(d delivery) error {
	msg := nats.NewMsg(eventstore.AsideSubject(d.aggregate, d.id, d.command))
	// Without white space: a body of the largest size would else have no room left for the headers.
	body := jsontext.Value(append([]byte(nil), d.body...))
	if err := body.Compact(); err != nil {
		return s.reject(d, domain.Command{}, err)
	}
	msg.Data = body
	msg.Header.Set(headerFirstSequence, strconv.FormatUint(d.sequence, 10))
	msg.Header.Set(headerFirstTime, d.stored.UTC().Format(time.RFC3339Nano))
	d.trace.Put(msg.Header)
	id := domain.DeriveID("set_aside", eventstore.StreamCommands, strconv.FormatUint(d.sequence, 10))
	s.log.Debug("set a command aside", "subject", d.subject, "sequence", d.sequence)
	return s.store(msg, eventstore.StreamCommands, id)
}

// recall reads where and when a command that was set aside was first stored. What cannot be right is left out: anybody
// could publish there.
func (d *delivery) recall(h nats.Header) {
	sequence, err := strconv.ParseUint(h.Get(headerFirstSequence), 10, 64)
	if err != nil || sequence == 0 || sequence >= d.sequence {
		return
	}
	at, err := time.Parse(time.RFC3339Nano, h.Get(headerFirstTime))
	if err != nil || at.After(d.stored) {
		return
	}
	d.sequence, d.stored = sequence, at
}

// handleAside tries a command that waits. What it waits for may have come; else it waits on, until its time is up.
func (s *Service) handleAside(d delivery) {
	c, err := s.settle(d)
	if err == nil || errors.Is(err, errAbandoned) {
		s.conclude(d, err)
		return
	}
	// The time is the one that goes by, whatever the engine's clock says.
	if left := time.Until(d.stored.Add(s.cfg.EarlyFactWait)); early(c, err) && left > 0 {
		if err := d.msg.NakWithDelay(min(retryAfter(d.count), left)); err != nil {
			s.log.Warn("a command that waits could not be put back", "subject", d.subject, "sequence", d.sequence, "error", err)
		}
		return
	}
	s.conclude(d, s.reject(d, c, err))
}

// retryAfter is how long a command waits that has been tried so many times.
func retryAfter(count uint64) time.Duration {
	doublings := min(max(count, 1)-1, 10)
	return min(firstRetry<<doublings, lastRetry)
}

// store publishes a message until it is acknowledged. It gives up, with errAbandoned, only when the service stops.
func (s *Service) store(msg *nats.Msg, stream, id string) error {
	for wait := retry.NewBackoff(50*time.Millisecond, 5*time.Second); ; {
		ctx, cancel := s.forRequest()
		_, err := s.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithExpectStream(stream))
		cancel()
		if err == nil {
			return nil
		}
		s.log.Warn("a message could not be stored, trying again", "subject", msg.Subject, "stream", stream, "error", err)
		if !s.pause(wait.Step()) {
			return errAbandoned
		}
	}
}
