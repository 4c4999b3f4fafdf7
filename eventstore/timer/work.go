package timer

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/retry"
)

const (
	// consumerName is the one consumer that all services share.
	consumerName = "timers"
	// ackWait is after what time without a sign of life a timer goes to another service: so long does a crash delay it.
	ackWait = 5 * time.Second
	// heartbeat is how often a service shows that it has a timer in hand.
	heartbeat = ackWait / 4
	// pullFor is how long one request waits for timers.
	pullFor = 2 * time.Second
	// A timer whose handling failed comes again after a pause between these.
	firstRetry = 100 * time.Millisecond
	lastRetry  = time.Minute
	// nearly is how early a timer may be that is put back in the server's hands; one that is earlier gets its schedule again.
	nearly = time.Minute

	// watchEvery is how often all timers are looked through for those that are overdue by overdueAfter and did not come.
	watchEvery   = 10 * time.Minute
	overdueAfter = time.Minute
)

func openConsumer(ctx context.Context, stream jetstream.Stream) (jetstream.Consumer, error) {
	consumer, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
			Durable:       consumerName,
			Description:   "closure: handles timers that are due",
			FilterSubject: eventstore.TimerDueSubjects,
			DeliverPolicy: jetstream.DeliverAllPolicy,
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       ackWait,
			MaxDeliver:    -1,
			MaxAckPending: -1, // those that wait for their moment are pending, and must not hold up the others
			// What is not settled stands in the stream; the rest of the state may go with the server, and costs no sync.
			MemoryStorage: true,
		})
	})
	if err != nil {
		return nil, eventstore.Unavailable("consumer "+consumerName, err)
	}
	return consumer, nil
}

// work handles what comes until Stop. Whatever happens to the consumer or its connection, it starts over.
func (s *Service) work(consumer jetstream.Consumer) {
	defer func() {
		// What is given back before the server has heard of the end of the last request would go to that request, and be
		// missed only after ackWait. A flush that fails means no more than that.
		_ = s.cfg.Log.Conn().FlushTimeout(time.Second)
		close(s.asked)
	}()
	slots := make(chan struct{}, s.cfg.Parallel)
	for wait := retry.NewBackoff(firstRetry, 5*time.Second); s.stopping.Err() == nil; {
		err := s.pull(consumer, slots)
		if err == nil {
			wait.Reset()
			continue
		}
		if s.stopping.Err() != nil {
			return
		}
		s.logger.Warn("timers cannot be read, trying again", "error", err)
		if wait.Wait(s.stopping) != nil {
			return
		}
		// Somebody may have deleted the consumer.
		if stream, err := s.stream(); err == nil {
			if again, err := openConsumer(s.stopping, stream); err == nil {
				consumer = again
			}
		}
	}
}

// pull asks for as many timers as there are free slots: what lies in a client's buffer nobody works on, and the server would
// give it to somebody else.
func (s *Service) pull(consumer jetstream.Consumer, slots chan struct{}) error {
	free := s.claim(slots)
	defer func() {
		for range free {
			<-slots
		}
	}()
	if free == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.stopping, pullFor)
	defer cancel()
	batch, err := consumer.Fetch(free, jetstream.FetchContext(ctx))
	if err != nil {
		return err
	}
	for msg := range batch.Messages() {
		free--
		s.hands.Go(func() {
			defer func() { <-slots }()
			s.alive(msg)
		})
	}
	// That nothing more came within the time is the normal end of a request.
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// claim waits for a slot, and takes all that are free; none when the service stops.
func (s *Service) claim(slots chan struct{}) (free int) {
	select {
	case slots <- struct{}{}:
	case <-s.stopping.Done():
		return 0
	}
	for free = 1; free < cap(slots); free++ {
		select {
		case slots <- struct{}{}:
		default:
			return free
		}
	}
	return free
}

// alive takes a message and shows the server that it is in hand.
func (s *Service) alive(msg jetstream.Msg) {
	done := make(chan struct{})
	s.hands.Go(func() {
		beat := time.NewTicker(heartbeat)
		defer beat.Stop()
		for {
			select {
			case <-done:
				return
			case <-beat.C:
				if err := msg.InProgress(); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
					s.logger.Debug("no sign of life could be given", "subject", msg.Subject(), "error", err)
				}
			}
		}
	})
	again, err := s.take(msg)
	close(done)
	switch {
	case err == nil && again == 0:
		err = msg.Ack()
	case err == nil:
		err = msg.NakWithDelay(again)
	case s.stopping.Err() != nil:
		<-s.asked
		err = msg.NakWithDelay(firstRetry) // to whoever else handles timers
	default:
		delay := pause(msg)
		s.logger.Warn("a timer could not be handled, it comes again", "subject", msg.Subject(), "in", delay, "error", err)
		err = msg.NakWithDelay(delay)
	}
	if err != nil {
		s.logger.Warn("a timer could not be settled, it comes again", "subject", msg.Subject(), "error", err)
	}
}

// pause is how long a timer rests after it has failed so many times.
func pause(msg jetstream.Msg) time.Duration {
	meta, err := msg.Metadata()
	if err != nil {
		return lastRetry
	}
	return min(firstRetry<<min(max(meta.NumDelivered, 1)-1, 10), lastRetry)
}

// errStopping: the timer is left to another service.
var errStopping = errors.New("the service stops")

// take handles the timer that a schedule has woken, when it is still set, and due. It comes again when again is not 0.
func (s *Service) take(msg jetstream.Msg) (again time.Duration, err error) {
	if s.stopping.Err() != nil {
		return 0, errStopping
	}
	aggregate, id, purpose, sequence, ok := eventstore.ParseTimerDueSubject(msg.Subject())
	if !ok {
		// Nobody but this package writes here. It stays, for an operator to look at.
		s.logger.Error("not a timer", "subject", msg.Subject())
		return lastRetry, nil
	}
	ctx, cancel := context.WithTimeout(s.working, callWithin)
	defer cancel()
	r, err := s.read(ctx, eventstore.TimerSubject(aggregate, id, purpose))
	if err != nil {
		return 0, err
	}
	if r.sequence != sequence {
		return 0, s.stale(ctx, msg, r, sequence)
	}
	switch early := r.Due.Sub(s.cfg.Now()); {
	case early > nearly:
		return 0, s.wake(ctx, r)
	case early > 0:
		return early, nil
	}
	if err := s.handle(r.Timer); err != nil {
		return 0, err
	}
	s.fired.Add(1)
	ctx, cancel = context.WithTimeout(s.working, callWithin)
	defer cancel()
	// Before the acknowledgement: in the other order, a crash in between would leave it as set, and it would come much later.
	return 0, s.purge(ctx, r.subject(), r.sequence+1)
}

func (s *Service) handle(t Timer) error {
	ctx, cancel := context.WithTimeout(s.working, s.cfg.HandleWithin)
	defer cancel()
	return s.cfg.Handle(ctx, t)
}

// stale is for what a schedule has fired whose timer is not the one that is set: it was handled, cancelled or replaced. An
// error means that this may not be so.
func (s *Service) stale(ctx context.Context, msg jetstream.Msg, stands record, woken uint64) error {
	if stands.sequence > woken {
		// The Set that has replaced it may have ended before its schedule was there.
		return s.wake(ctx, stands)
	}
	// A server that has just become the leader may not know the timer yet. If it knows what the schedule has fired, it does.
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	stream, err := s.stream()
	if err != nil {
		return err
	}
	info, err := retry.Insist(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) { return stream.Info(ctx) })
	if err != nil {
		return err
	}
	if info.State.LastSeq < meta.Sequence.Stream {
		return errors.New("the stream's leader is behind")
	}
	return nil
}

// watch finds the timers that should have come, and have not. A Set that was cut short leaves a timer without a schedule, and
// a server that cannot store what a schedule fires, as with a full disk, does not fire it again until it is restarted.
func (s *Service) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if err := s.wakeOverdue(s.stopping); err != nil && s.stopping.Err() == nil {
			s.logger.Warn("timers that are overdue could not be looked for", "error", err)
		}
		select {
		case <-tick.C:
		case <-s.stopping.Done():
			return
		}
	}
}

func (s *Service) wakeOverdue(ctx context.Context) error {
	all, err := s.records(ctx)
	if err != nil {
		return err
	}
	limit := s.cfg.Now().Add(-overdueAfter)
	for _, r := range all {
		if r.Due.After(limit) {
			return nil // they are in the order of their times
		}
		s.logger.Info("a timer is overdue, waking it again", "subject", r.subject(), "due", r.Due)
		if err := s.wake(ctx, r); err != nil {
			return err
		}
	}
	return nil
}
