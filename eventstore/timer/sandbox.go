package timer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/retry"
)

// What a clock needs that is moved: the server's schedules follow the machine's clock, so timers that the moved clock makes
// due are handled by hand, and the others are woken at other times.

// Pending lists the timers that are set and not handled yet, by the times at which they are due, and then by aggregate, id
// and purpose. It asks the server once for each timer.
func (s *Service) Pending(ctx context.Context) ([]Timer, error) {
	all, err := s.records(ctx)
	if err != nil {
		return nil, err
	}
	pending := make([]Timer, len(all))
	for i, r := range all {
		pending[i] = r.Timer
	}
	return pending, nil
}

// records reads all timers, in the order of Pending. What is no timer is left out, and stays for an operator to look at.
func (s *Service) records(ctx context.Context) ([]record, error) {
	stream, err := s.stream()
	if err != nil {
		return nil, fmt.Errorf("timers: %w", err)
	}
	found := map[string]record{} // by subject: one that is replaced meanwhile is met twice
	for next := uint64(1); ; {
		msg, err := retry.Insist(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
			return stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(eventstore.TimerSetSubjects))
		})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, eventstore.Unavailable("timers: list them", err)
		}
		next = msg.Sequence + 1
		if r, err := recordOf(msg); err == nil {
			found[msg.Subject] = r
		} else {
			s.logger.Error("not a timer", "error", err)
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b record) int {
		return cmp.Or(a.Due.Compare(b.Due),
			cmp.Compare(a.Aggregate, b.Aggregate), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Purpose, b.Purpose))
	}), nil
}

// Expire handles a timer that the clock has made due, now and here, and takes it away. An error of the handler is returned,
// and the timer stays. One that was set anew by what followed from it stays as well. Before its time it is ErrNotDue.
func (s *Service) Expire(ctx context.Context, t Timer) error {
	if err := t.validate(); err != nil {
		return err
	}
	if now := s.cfg.Now(); t.Due.After(now) {
		return fmt.Errorf("timers: %w: %s: it is due at %s, and it is %s", ErrNotDue, t.subject(), t.Due.UTC(), now.UTC())
	}
	r, err := s.read(ctx, t.subject())
	if err != nil {
		return err
	}
	if err := s.cfg.Handle(ctx, t); err != nil {
		return err
	}
	if r.sequence == 0 || !r.Due.Equal(t.Due) {
		return nil // another service has handled it, or it was replaced before
	}
	return s.remove(ctx, r)
}

// Reschedule sets the schedules of all timers anew, by the clock as it is now. It is to be called after the clock was moved.
func (s *Service) Reschedule(ctx context.Context) error {
	all, err := s.records(ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		if err := s.wake(ctx, r); err != nil {
			return err
		}
	}
	return nil
}
