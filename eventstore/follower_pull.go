package eventstore

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/retry"
)

const (
	// pinGroup is the priority group of a durable follower's consumer: the server
	// delivers to one member of the group, the pinned one.
	pinGroup = "active"

	// pinTTL is how long the server keeps the pin for an instance that does not
	// ask any more, and redeliverAfter when it offers its commits to another one.
	// Together they are the time of a takeover after a crash.
	pinTTL         = 4 * time.Second
	redeliverAfter = 4 * time.Second

	// pullFor is how long one request waits for commits. Each request renews the
	// pin, so it has to be well below pinTTL.
	pullFor = time.Second

	// pullBatch is the most commits of one request: a quarter of what may wait, so that
	// there is something to handle while more is on its way.
	pullBatch        = feedLimit / 4
	pullBatchDurable = feedLimitDurable / 4

	// ackEvery bounds how often progress is stored; more often would cost the
	// server a write of the consumer's state each time.
	ackEvery = 100 * time.Millisecond

	// finishWithin bounds each request of a clean stop.
	finishWithin = 2 * time.Second

	headerPin = "Nats-Pin-Id"
)

// consumerConfig of the follower's consumer. It has no filter: the log has no
// deletions, so what it delivers is every sequence, and a gap shows.
func (f *Follower) consumerConfig(next uint64) jetstream.ConsumerConfig {
	if f.cfg.Name == "" {
		return jetstream.ConsumerConfig{
			DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
			OptStartSeq:       next,
			AckPolicy:         jetstream.AckNonePolicy,
			MemoryStorage:     true,
			Replicas:          1,
			InactiveThreshold: 30 * time.Second,
		}
	}
	return jetstream.ConsumerConfig{
		Durable:        f.cfg.Name,
		DeliverPolicy:  jetstream.DeliverAllPolicy,
		AckPolicy:      jetstream.AckAllPolicy,
		AckWait:        redeliverAfter,
		MaxAckPending:  2*window + feedLimitDurable,
		PriorityPolicy: jetstream.PriorityPolicyPinned,
		PriorityGroups: []string{pinGroup},
		PinnedTTL:      pinTTL,
	}
}

// puller asks the consumer for messages and feeds the term with them.
//
// What the consumer delivers is only a hint that the log has grown, and that this
// instance is the active one. Messages may come twice, late, out of order or not
// at all; the term takes them when they are what is next, and reads the log itself
// when they are not. So no order and no completeness rests on redelivery.
type puller struct {
	f        *Follower
	consumer jetstream.Consumer
	term     *term  // nil while standing by
	pin      string // of the term
	backoff  *retry.Backoff
}

func newPuller(f *Follower, consumer jetstream.Consumer) *puller {
	return &puller{f: f, consumer: consumer, backoff: retry.NewBackoff(retryFirst, 2*time.Second)}
}

// run pulls until the follower stops, and then finishes what is in hand.
func (p *puller) run() {
	if !p.durable() {
		p.term = newTerm(p.f, nil, false)
	}
	for p.f.stopping.Err() == nil {
		got, err := p.pull()
		switch {
		case errors.Is(err, jetstream.ErrPinIDMismatch):
			p.endTerm("another instance may be active")
		case err != nil:
			p.recover(err)
		default:
			p.backoff.Reset()
			if !got {
				p.idle()
			}
		}
	}
	p.finish()
}

func (p *puller) durable() bool { return p.f.cfg.Name != "" }

// pull makes one request and feeds what comes. It reports whether anything came.
func (p *puller) pull() (bool, error) {
	most := pullBatch
	if p.durable() {
		most = pullBatchDurable
	}
	room := most
	if p.term != nil {
		room = p.term.feed.waitRoom(p.f.stopping, pullFor)
	}
	if room == 0 && !p.durable() {
		return true, nil
	}
	// Even without room the pin has to be renewed. The one message that may come is
	// not kept, and is read from the log later.
	room = max(1, min(room, most))
	ctx, cancel := context.WithTimeout(p.f.stopping, pullFor)
	defer cancel()
	opts := []jetstream.FetchOpt{jetstream.FetchContext(ctx)}
	if p.durable() {
		opts = append(opts, jetstream.FetchPriorityGroup(pinGroup))
	}
	batch, err := p.consumer.Fetch(room, opts...)
	if err != nil {
		return false, err
	}
	got := false
	for msg := range batch.Messages() {
		got = true
		p.deliver(msg)
	}
	err = batch.Error()
	// That nothing more came within the time is the normal end of a request.
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = nil
	}
	return got, err
}

// deliver one message to the term. The first message under a new pin begins one.
func (p *puller) deliver(msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		p.f.logger.Warn("message without the consumer's data", "error", err)
		return
	}
	if pin := msg.Headers().Get(headerPin); p.durable() && (p.term == nil || pin != p.pin) {
		p.endTerm("pinned anew")
		p.pin = pin
		p.term = newTerm(p.f, p.consumer, meta.NumDelivered > 1)
		p.f.logger.Info("active", "at", meta.Sequence.Stream, "takeover", p.term.takeover)
	}
	if p.durable() {
		p.term.receipts.add(meta.Sequence.Stream, msg.Reply())
	}
	p.term.feed.offer(delivered{
		seq: meta.Sequence.Stream, subject: msg.Subject(), header: msg.Headers(), body: msg.Data(),
	})
}

// endTerm ends the activeness of this instance: its handlers are told to end.
func (p *puller) endTerm(why string) {
	if p.term == nil {
		return
	}
	p.f.logger.Info("standing by", "why", why, "position", p.f.Position())
	p.term.cancel()
	p.term.close()
	p.term, p.pin = nil, ""
}

// idle: nothing came. Messages can get lost on the way, so an active instance
// looks whether the log has grown; one that stands by looks how far the active
// one is.
func (p *puller) idle() {
	ctx, cancel := context.WithTimeout(p.f.stopping, p.f.log.cfg.ReadTimeout)
	defer cancel()
	if p.term != nil {
		if last, err := p.f.log.LastSequence(ctx); err == nil {
			p.term.feed.announce(last)
		}
		return
	}
	if info, err := p.consumer.Info(ctx); err == nil {
		p.f.advance(info.AckFloor.Stream)
	}
}

// recover from a failed request: the connection is down, the server restarts, or
// the consumer is gone, which a new one replaces.
func (p *puller) recover(err error) {
	if p.backoff.Wait(p.f.stopping) != nil {
		return
	}
	p.f.logger.Warn("cannot read the log, trying again", "error", err)
	ctx, cancel := context.WithTimeout(p.f.stopping, p.f.log.cfg.ReadTimeout)
	defer cancel()
	consumer, openErr := p.f.log.js.CreateOrUpdateConsumer(ctx, StreamLog, p.f.consumerConfig(p.f.Position()+1))
	if openErr != nil {
		p.f.logger.Warn("cannot open the consumer, trying again", "error", openErr)
		return
	}
	// A new handle has no pin: the server decides anew who is active.
	p.consumer = consumer
}

// finish a stop: what is in hand is handled, the progress stored, and another
// instance may begin at once instead of after pinTTL.
func (p *puller) finish() {
	if p.term != nil {
		p.term.close()
	}
	if !p.f.log.nc.IsConnected() {
		return // nobody is there to be told; the server finds out by itself
	}
	ctx, cancel := context.WithTimeout(context.Background(), finishWithin)
	defer cancel()
	if !p.durable() {
		// It would go away by itself after a while.
		_ = p.f.log.js.DeleteConsumer(ctx, StreamLog, p.consumer.CachedInfo().Name)
		return
	}
	if p.term == nil {
		return
	}
	p.term.receipts.returnRest(p.f.log.nc)
	p.unpin(ctx)
}

// unpin only what is our own pin: another instance may have it by now.
func (p *puller) unpin(ctx context.Context) {
	info, err := p.consumer.Info(ctx)
	if err != nil {
		return
	}
	for _, g := range info.PriorityGroups {
		if g.Group != pinGroup || g.PinnedClientID != p.pin {
			continue
		}
		stream, err := p.f.log.js.Stream(ctx, StreamLog)
		if err == nil {
			err = stream.UnpinConsumer(ctx, p.f.cfg.Name, pinGroup)
		}
		if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			p.f.logger.Warn("cannot hand over at once", "error", err)
		}
	}
}
