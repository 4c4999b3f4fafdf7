package webhooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore/retry"
	"closure/projections/webhooks/endpoint"
)

const (
	// maxParcel is the most events of one package, and of what one subscription has in hand in strict order.
	maxParcel = 1000
	// window is what a subscription has in hand by resource: so many events may wait behind failures before the rest do.
	window = 256
	// unsettled is how many packages that were delivered may wait until their attempts are kept, while the next one goes. The more
	// there are, the more attempts share an fsync; and the more packages come again after a kill.
	unsettled = 64
	// handBackWithin bounds what makes a takeover quick: without it, the pin lapses by itself.
	handBackWithin = 5 * time.Second
)

var (
	// errAgain: a delivery failed, and the session is over. The state says when the next one may begin.
	errAgain = errors.New("a delivery has failed")
	// errOutOfStep: what came is not what has to come next. Somebody has put the consumer back, or something got lost.
	errOutOfStep = errors.New("an event came out of step")
)

// session is the time from when the server pins this process for a subscription, until the subscription changes, a delivery
// fails, the pin is lost, or the service stops.
//
// It begins by putting the consumer back to behind its floor, and counts what comes: so the order does not rest on
// redelivery, and neither on who had what in hand before.
type session struct {
	s    *Service
	sub  subscription
	ctx  context.Context // ended: nothing new is begun
	log  *slog.Logger
	feed *feed
	pin  string

	state deliveryState
	step  uint64    // the consumer's number of the message that came last
	seq   uint64    // the stream's number of it
	came  bool      // anything came
	sent  time.Time // when the last package was sent
	held  int64     // of the budget
	lost  bool      // another process is pinned
	moved bool      // the consumer was put back: it takes no acknowledgement for what it will deliver again

	slots    chan struct{}  // of packages that are delivered and not settled
	settling sync.WaitGroup // for those
	lastAck  string         // the reply of the event that was settled last
}

// newSession begins a session under a pin.
func (s *Service) newSession(ctx context.Context, sub subscription, pin string, state deliveryState) (*session, error) {
	x := &session{
		s: s, sub: sub, ctx: ctx, pin: pin, state: state, slots: make(chan struct{}, unsettled),
		log: s.cfg.Logger.With("webhook", sub.ID),
	}
	res, err := retry.Once(ctx, func(ctx context.Context) (*jetstream.ConsumerResetResponse, error) {
		return s.events.ResetConsumer(ctx, consumerName(sub.ID)) // to behind its floor
	})
	if err != nil {
		return nil, fmt.Errorf("put the consumer back: %w", err)
	}
	if !pinned(res.ConsumerInfo, pin) {
		return nil, errPinLost
	}
	// An inbox of its own: what came to another one is none of its events.
	if x.feed, err = s.openFeed(sub.ID, pin); err != nil {
		return nil, err
	}
	return x, nil
}

// pinned tells whether the server delivers to who has this pin.
func pinned(info *jetstream.ConsumerInfo, pin string) bool {
	if info == nil {
		return false
	}
	for _, g := range info.PriorityGroups {
		if g.Group == pinGroup && g.PinnedClientID == pin {
			return true
		}
	}
	return false
}

// run delivers until the session is over.
func (x *session) run() error {
	if x.sub.Config.Ordering() == domain.WebhookByResource {
		return x.byResource()
	}
	return x.strict()
}

// pullFor is how long a request stands. Each one renews the pin.
func (x *session) pullFor() time.Duration { return max(x.s.pinTTL()/3, 50*time.Millisecond) }

// ask for more, when no request stands.
func (x *session) ask(batch, bytes int) error {
	if !x.feed.idle() || batch <= 0 {
		return nil
	}
	return x.feed.ask(batch, bytes, x.pullFor(), 0)
}

// accept takes in an event. nil: it is not to be delivered. again: it is one of this session that the server has delivered
// before, since it waited too long or its acknowledgement was lost.
func (x *session) accept(msg *nats.Msg) (it *item, again bool, err error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, false, fmt.Errorf("a message without the consumer's data: %w", err)
	}
	if msg.Header.Get(headerPin) != x.pin {
		return nil, false, errPinLost
	}
	if x.step++; meta.Sequence.Consumer != x.step {
		return nil, false, errOutOfStep
	}
	x.came = true
	seq := meta.Sequence.Stream
	again = seq <= x.seq
	x.seq = max(x.seq, seq)
	it, err = readItem(msg.Subject, msg.Header, msg.Data, seq, x.sub.ID)
	if err != nil {
		// It would fail for ever and hold up what is behind it. The stream keeps it.
		if !again {
			x.log.Error("webhooks: passing over a message that no engine has written", "sequence", seq, "subject", msg.Subject, "error", err)
		}
		x.acknowledge(msg.Reply)
		return nil, again, nil
	}
	it.reply = msg.Reply
	if aboutItself(it, x.sub) {
		x.acknowledge(msg.Reply)
		return nil, again, nil
	}
	return it, again, nil
}

// acknowledge what is not delivered, or was before. It goes the way of the others, so that it does not overtake them.
func (x *session) acknowledge(reply string) {
	x.lastAck = reply
	x.settling.Add(1)
	x.s.ledger.add(settlement{acks: []string{reply}, settled: x.settling.Done})
}

// renew the pin when it is old.
func (x *session) renew() {
	if time.Since(x.feed.asked) < x.pullFor() {
		return
	}
	if err := x.feed.touch(); err != nil {
		x.log.Debug("webhooks: cannot renew the pin", "error", err)
	}
}

// delivered settles a package whose delivery went well.
func (x *session) delivered(p *parcel, out endpoint.Outcome, number int) {
	acks := make([]string, len(p.items))
	for i, it := range p.items {
		acks[i] = it.reply
	}
	x.lastAck = acks[len(acks)-1]
	x.slots <- struct{}{}
	x.settling.Add(1)
	x.s.ledger.add(settlement{attempt: x.s.attemptMessage(x.sub, p, out, number), acks: acks, settled: func() {
		<-x.slots
		x.settling.Done()
	}})
}

// refused keeps the attempt of a package whose delivery failed, and logs it.
func (x *session) refused(p *parcel, out endpoint.Outcome, number int, wait time.Duration) {
	x.log.Info("webhooks: an attempt has failed", "attempt", number, "failure", classOf(out), "again_in", wait.Round(time.Millisecond),
		"event", p.first().ID, "events", len(p.items), "sequence", p.sequences(), "remote", out.Remote, "error", out.Err)
	x.settling.Add(1)
	x.s.ledger.add(settlement{attempt: x.s.attemptMessage(x.sub, p, out, number), settled: x.settling.Done})
}

// cut tells whether an attempt was cut short by the end of the engine, which is not the endpoint's failure.
func (x *session) cut(out endpoint.Outcome) bool {
	return out.Failure != "" && x.s.working.Err() != nil
}

// finish settles what is in hand, and hands the rest back to the server, for whoever is pinned next.
func (x *session) finish(exists context.Context) {
	x.feed.drain()
	x.settling.Wait()
	x.release(0)
	nc := x.s.cfg.Log.Conn()
	if !nc.IsConnected() {
		return // the server finds out by itself
	}
	if x.lastAck != "" && !x.lost && !x.moved {
		// The server takes acknowledgements in their order: when it answers this one, it has all.
		ctx, cancel := context.WithTimeout(exists, finishWithin)
		defer cancel()
		if _, err := nc.RequestWithContext(ctx, x.lastAck, ackPayload); err != nil {
			x.log.Debug("webhooks: the last acknowledgements may be lost; some events may be delivered again", "error", err)
		}
	}
	if !x.lost {
		x.s.handBack(exists, x.sub.ID, x.pin)
	}
}

// handBack makes the server deliver again what this process had in hand, and pin whoever asks next.
func (s *Service) handBack(exists context.Context, id, pin string) {
	ctx, cancel := context.WithTimeout(exists, handBackWithin)
	defer cancel()
	err := func() error {
		consumer, err := s.events.Consumer(ctx, consumerName(id))
		if err != nil || !pinned(consumer.CachedInfo(), pin) {
			return err // or it is somebody else's by now
		}
		if _, err := s.events.ResetConsumer(ctx, consumerName(id)); err != nil {
			return err
		}
		return s.events.UnpinConsumer(ctx, consumerName(id), pinGroup)
	}()
	// The server does not answer requests about a consumer that is no more.
	if err != nil && exists.Err() == nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		s.cfg.Logger.Info("webhooks: cannot hand a subscription back at once; it goes on when the pin has lapsed", "webhook", id, "error", err)
	}
}

// attemptMessage is nil when the attempt cannot be written down, which is logged.
func (s *Service) attemptMessage(sub subscription, p *parcel, out endpoint.Outcome, number int) *nats.Msg {
	msg, err := s.newAttempt(sub, p, out, number).message(sub.clientID)
	if err != nil {
		s.cfg.Logger.Error("webhooks: an attempt cannot be kept", "webhook", sub.ID, "error", err)
		return nil
	}
	return msg
}
