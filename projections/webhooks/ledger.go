package webhooks

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

const (
	// ledgerQueue is how many attempts wait to be written at most. Whoever has one more waits: a slow disk makes the
	// deliveries lag, and fills no memory.
	ledgerQueue = 512
	// ledgerBatch is the most attempts that are written at once, and batchPays from how many on one atomic batch, with its
	// one fsync, is quicker than as many publishes.
	ledgerBatch = 500
	batchPays   = 16
	// ledgerTries and ledgerWithin bound the writing of an attempt. After that it is given up: events must not wait for ever
	// for what only tells of them.
	ledgerTries  = 3
	ledgerWithin = 5 * time.Second
)

var ackPayload = []byte("+ACK")

// settlement is what has to follow an attempt: that it is kept, and only then, that its events are acknowledged. So what was
// acknowledged has its attempt.
type settlement struct {
	attempt *nats.Msg // nil: only to acknowledge
	acks    []string
	settled func()
}

// ledger writes attempts, many at a time when many come. One goroutine does, so that the attempts of a subscription stand in
// their order.
type ledger struct {
	s     *Service
	queue chan settlement
	done  chan struct{}
}

func newLedger(s *Service) *ledger {
	l := &ledger{s: s, queue: make(chan settlement, ledgerQueue), done: make(chan struct{})}
	go l.run()
	return l
}

// add waits for a place in the queue. It MUST NOT be called after close.
func (l *ledger) add(e settlement) { l.queue <- e }

// close returns when all is written.
func (l *ledger) close() {
	close(l.queue)
	<-l.done
}

func (l *ledger) run() {
	defer close(l.done)
	for first := range l.queue {
		batch := []settlement{first}
	more:
		for len(batch) < ledgerBatch {
			select {
			case e, ok := <-l.queue:
				if !ok {
					break more
				}
				batch = append(batch, e)
			default:
				break more
			}
		}
		l.settle(batch)
	}
}

func (l *ledger) settle(batch []settlement) {
	var attempts []*nats.Msg
	for _, e := range batch {
		if e.attempt != nil {
			attempts = append(attempts, e.attempt)
		}
	}
	if err := l.write(attempts); err != nil {
		l.s.cfg.Logger.Error("webhooks: attempts were made and could not be kept", "attempts", len(attempts), "error", err)
	}
	nc := l.s.cfg.Log.Conn()
	for _, e := range batch {
		for _, reply := range e.acks {
			// When it gets lost the event is delivered again.
			_ = nc.Publish(reply, ackPayload)
		}
		if e.settled != nil {
			e.settled()
		}
	}
}

// write tries to keep the attempts. Each has an id, by which the server knows what it has already.
func (l *ledger) write(attempts []*nats.Msg) (err error) {
	if len(attempts) == 0 {
		return nil
	}
	p := newPause()
	for try := range ledgerTries {
		if l.s.cfg.Log.Conn().IsClosed() {
			return nats.ErrConnectionClosed
		}
		if try > 0 && p.Wait(l.s.working) != nil {
			return err
		}
		if len(attempts) >= batchPays && try == 0 {
			if err = l.writeBatch(attempts); err == nil {
				return nil
			}
		}
		if attempts, err = l.writeEach(attempts); len(attempts) == 0 {
			return nil
		}
	}
	return err
}

func (l *ledger) writeBatch(attempts []*nats.Msg) error {
	ctx, cancel := context.WithTimeout(context.Background(), ledgerWithin)
	defer cancel()
	copies := make([]*nats.Msg, len(attempts)) // the batch leaves headers of its own in them
	for i, msg := range attempts {
		copied := *msg
		copied.Header = nats.Header{jetstream.MsgIDHeader: msg.Header[jetstream.MsgIDHeader]}
		copies[i] = &copied
	}
	_, err := jetstreamext.PublishMsgBatch(ctx, l.s.js, copies, jetstreamext.BatchFlowControl{})
	return err
}

// writeEach publishes all before it waits for the answers, and gives back what may not be stored.
func (l *ledger) writeEach(attempts []*nats.Msg) (left []*nats.Msg, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), ledgerWithin)
	defer cancel()
	futures := make([]jetstream.PubAckFuture, len(attempts))
	for i, msg := range attempts {
		if futures[i], err = l.s.js.PublishMsgAsync(msg); err != nil {
			return attempts, err // those before it have their ids
		}
	}
	for i, f := range futures {
		if e := l.stored(ctx, f); e != nil {
			left, err = append(left, attempts[i]), e
		}
	}
	return left, err
}

// stored waits for the answer. The library says nothing when the connection is closed for good.
func (l *ledger) stored(ctx context.Context, f jetstream.PubAckFuture) error {
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-f.Ok():
			return nil
		case err := <-f.Err():
			return err
		case <-look.C:
			if l.s.cfg.Log.Conn().IsClosed() {
				return nats.ErrConnectionClosed
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
