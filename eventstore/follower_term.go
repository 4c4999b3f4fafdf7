package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/retry"
)

// term is one time of activeness: from when the server pins this instance until
// it pins another, or the follower stops. It takes the commits in the order of
// the log and gets them handled.
type term struct {
	f        *Follower
	consumer jetstream.Consumer // nil: no progress is stored
	takeover bool               // another instance had commits in hand
	feed     *feed
	receipts *receipts

	taking context.Context // ended: nothing new is begun
	stop   context.CancelFunc
	work   context.Context // ended: handlers are cut short
	cancel context.CancelFunc
	done   chan struct{}
}

// newTerm begins a term.
func newTerm(f *Follower, consumer jetstream.Consumer, takeover bool) *term {
	limit := feedLimit
	if consumer != nil {
		limit = feedLimitDurable
	}
	t := &term{
		f: f, consumer: consumer, takeover: takeover,
		feed: newFeed(limit), receipts: newReceipts(), done: make(chan struct{}),
	}
	t.taking, t.stop = context.WithCancel(f.stopping)
	t.work, t.cancel = context.WithCancel(f.working)
	go func() {
		defer close(t.done)
		t.run()
	}()
	return t
}

// close returns when nothing is in hand any more and the progress is stored.
func (t *term) close() {
	t.stop()
	<-t.done
	t.cancel()
}

func (t *term) run() {
	next, ok := t.begin()
	if !ok {
		return
	}
	acked := make(chan struct{})
	go func() {
		defer close(acked)
		t.storeProgress()
	}()
	if t.f.cfg.Parallel > 1 {
		t.runParallel(next)
	} else {
		t.runInOrder(next)
	}
	t.stop()
	<-acked
	t.storeLast()
}

// begin finds where to begin: after what the server has stored as handled, and
// after what this instance has handled itself. What another instance had in hand is
// delivered only bit by bit, so after a takeover the log is read to its end at
// once. Else the deliveries are enough, and each comes with its receipt.
func (t *term) begin() (next uint64, ok bool) {
	for wait := retry.NewBackoff(retryFirst, retryLimit); ; {
		last, err := t.look()
		if err == nil {
			if t.takeover {
				t.feed.announce(last)
			}
			return t.f.Position() + 1, true
		}
		t.f.logger.Warn("cannot find where to begin, trying again", "error", err)
		if wait.Wait(t.taking) != nil {
			return 0, false
		}
	}
}

func (t *term) look() (last uint64, err error) {
	ctx, cancel := context.WithTimeout(t.taking, t.f.log.cfg.ReadTimeout)
	defer cancel()
	if t.consumer != nil {
		info, err := t.consumer.Info(ctx)
		if err != nil {
			return 0, err
		}
		t.f.advance(info.AckFloor.Stream)
	}
	return t.f.log.LastSequence(ctx)
}

// runInOrder handles batches in the order of the log.
func (t *term) runInOrder(next uint64) {
	for {
		batch := t.take(next)
		if len(batch) == 0 || !t.handle(batch, nil) {
			return
		}
		next = batch[len(batch)-1].Sequence + 1
		t.f.advance(next - 1)
	}
}

// handle calls the handler until it takes the commits. slots, when given, bounds
// how many run at once; a pause after a failure does not hold a slot.
func (t *term) handle(commits []Recorded, slots chan struct{}) bool {
	for wait := retry.NewBackoff(retryFirst, retryLimit); ; {
		if slots != nil {
			select {
			case slots <- struct{}{}:
			case <-t.taking.Done():
				return false
			}
		}
		err := t.f.cfg.Handle(t.work, commits)
		if slots != nil {
			<-slots
		}
		if err == nil {
			return true
		}
		if t.taking.Err() != nil {
			return false
		}
		first, last := commits[0], commits[len(commits)-1]
		t.f.logger.Warn("handler failed, trying again", "error", err,
			"from", first.Sequence, "to", last.Sequence, "subject", LogSubject(first.Aggregate, first.AggregateID),
			"request_id", first.RequestID, "correlation_id", first.CorrelationID)
		if wait.Wait(t.taking) != nil {
			return false
		}
	}
}

// take waits for the commits from next on; none when the term ends.
func (t *term) take(next uint64) []Recorded {
	for wait := retry.NewBackoff(retryFirst, retryLimit); t.taking.Err() == nil; {
		run, known := t.feed.take(next, t.f.cfg.MaxBatch)
		if batch := decodeRun(run); len(batch) > 0 {
			return batch
		}
		if known < next {
			select {
			case <-t.feed.grown:
			case <-t.taking.Done():
			}
			continue
		}
		batch, err := t.readLog(next)
		if err == nil {
			return batch
		}
		// Among others this is a commit that does not decode. To go on behind it
		// would be to lose it, so this is where the follower stays.
		if t.taking.Err() == nil {
			t.f.logger.Error("cannot read the next commit, staying before it", "sequence", next, "error", err)
		}
		_ = wait.Wait(t.taking) // an end of the term ends the loop
	}
	return nil
}

// decodeRun decodes up to the first message that does not; the log is asked for
// that one again.
func decodeRun(run []delivered) []Recorded {
	batch := make([]Recorded, 0, len(run))
	for _, d := range run {
		rec, err := decodeStored(d.subject, d.seq, d.header, d.body)
		if err != nil {
			break
		}
		batch = append(batch, rec)
	}
	return batch
}

// readLog reads the gap that the deliveries have left. A replica that is behind may
// have nothing; then the leader is asked.
func (t *term) readLog(next uint64) ([]Recorded, error) {
	batch, err := t.f.log.Read(t.taking, next, t.f.cfg.MaxBatch)
	if err != nil || len(batch) > 0 {
		return batch, err
	}
	rec, err := t.f.log.leaderNext(t.taking, "", next)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return nil, fmt.Errorf("%w: sequence %d is missing in %s", ErrBrokenChain, next, StreamLog)
	}
	return []Recorded{*rec}, nil
}

// storeProgress acknowledges up to the position, now and then.
func (t *term) storeProgress() {
	if t.consumer == nil {
		return
	}
	tick := time.NewTicker(ackEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-t.taking.Done():
			return
		}
		if reply := t.receipts.upTo(t.f.Position()); reply != "" {
			// When it gets lost the server delivers again, and with that comes
			// another receipt.
			_ = t.f.log.nc.Publish(reply, ackAll)
		}
	}
}

var ackAll = []byte("+ACK")

// storeLast acknowledges and waits for the server's word.
func (t *term) storeLast() {
	reply := t.receipts.upTo(t.f.Position())
	if t.consumer == nil || reply == "" || !t.f.log.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), finishWithin)
	defer cancel()
	if _, err := t.f.log.nc.RequestWithContext(ctx, reply, ackAll); err != nil && !errors.Is(err, context.Canceled) {
		t.f.logger.Warn("cannot store the progress; some commits will come again", "position", t.f.Position(), "error", err)
	}
}
