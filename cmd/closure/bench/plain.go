package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
)

// spot is one subject of the plain side, with what its guard expects.
type spot struct {
	subject  string
	sequence uint64
}

// publisher is the plain side of appends and commands: guarded publishes of the bytes and the headers that a commit has, as one
// would write them on nats.go. There are two good ways to keep n in flight, and which is the better one depends on n and on the
// machine, so both are tried before anything counts, and the faster one is taken:
//
//   - calls: n goroutines, each of which calls PublishMsg and waits. Independent writers, such as those of the engine, are like this.
//   - futures: one goroutine that calls PublishMsgAsync for one subject after the other, and waits for the oldest answer. It knows
//     all that is in flight, nobody has to be woken for an answer, and the client writes many messages with one system call. On
//     two cores it wins from a few in flight on, and has up to twice what calls have.
//
// The headers are set directly, which costs less than the options of PublishMsg, and no text is made but the numbers that differ.
type publisher struct {
	js       jetstream.JetStream
	ids      *idSource
	body     []byte
	hash     string
	inFlight int
	lanes    [][]*spot                          // for each in flight those that it takes in turn: a subject has one publish in flight at a time
	run      func(context.Context, *turn) error // the faster way
	way      string                             // which one it is, and how it did beside the other one
}

// newPublisher makes the plain side for what a commit has as its body.
func (b *bench) newPublisher(a *arena, body []byte, inFlight int) *publisher {
	p := &publisher{js: a.plainJS, ids: b.ids, body: body, hash: eventstore.HashOf(body), inFlight: inFlight, lanes: make([][]*spot, inFlight)}
	for i := range b.subjects(inFlight) {
		lane := &p.lanes[i%inFlight]
		*lane = append(*lane, &spot{subject: plainPrefix + "account." + b.ids.next()})
	}
	return p
}

// chooseWay tries both ways, twice in turn, and keeps the faster one.
func (p *publisher) chooseWay(ctx context.Context, trial time.Duration) error {
	calls, futures := p.calls, p.futures
	rounds, err := alternate(ctx, 2, patience, sides{
		engine:   func(ctx context.Context) (float64, error) { return measure(ctx, amount{lasting: trial}, calls) },
		baseline: func(ctx context.Context) (float64, error) { return measure(ctx, amount{lasting: trial}, futures) },
	})
	if err != nil {
		return err
	}
	byCalls, byFutures := (rounds[0].engine+rounds[1].engine)/2, (rounds[0].baseline+rounds[1].baseline)/2
	if byCalls < byFutures {
		p.run, p.way = futures, fmt.Sprintf("PublishMsgAsync; PublishMsg in goroutines has %.2f of that", byCalls/byFutures)
	} else {
		p.run, p.way = calls, fmt.Sprintf("PublishMsg in goroutines; PublishMsgAsync has %.2f of that", byFutures/byCalls)
	}
	return nil
}

func (p *publisher) message(at *spot) *nats.Msg {
	return &nats.Msg{Subject: at.subject, Data: p.body, Header: nats.Header{
		jetstream.MsgIDHeader:               {p.ids.next()},
		jetstream.ExpectedStreamHeader:      {plainStream},
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(at.sequence, 10)},
		eventstore.HeaderHash:               {p.hash},
	}}
}

func (p *publisher) calls(ctx context.Context, t *turn) error {
	return inFlight(p.inFlight, func(ctx context.Context, worker, i int) error {
		at := p.lanes[worker][i%len(p.lanes[worker])]
		ack, err := p.js.PublishMsg(ctx, p.message(at))
		if err == nil {
			at.sequence = ack.Sequence
		}
		return err
	})(ctx, t)
}

func (p *publisher) futures(ctx context.Context, t *turn) error {
	waiting := make([]jetstream.PubAckFuture, p.inFlight)
	spots := make([]*spot, p.inFlight)
	for i := 0; ; i++ {
		if !t.more() {
			break
		}
		lane := i % p.inFlight
		if err := settle(ctx, waiting[lane], spots[lane]); err != nil {
			return err
		}
		at := p.lanes[lane][i/p.inFlight%len(p.lanes[lane])]
		future, err := p.js.PublishMsgAsync(p.message(at))
		if err != nil {
			return err
		}
		waiting[lane], spots[lane] = future, at
	}
	for lane, future := range waiting {
		if err := settle(ctx, future, spots[lane]); err != nil {
			return err
		}
	}
	return nil
}

// settle waits for an answer, and keeps what the next guard expects.
func settle(ctx context.Context, future jetstream.PubAckFuture, at *spot) error {
	if future == nil {
		return nil
	}
	select {
	case ack := <-future.Ok():
		at.sequence = ack.Sequence
		return nil
	case err := <-future.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// rawLoad is the plain side of a cold load: one batched direct get of a literal subject, whose answers are only counted.
func rawLoad(ctx context.Context, nc *nats.Conn, subject string) (n int, err error) {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return 0, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection is gone: so is the subscription
	request := []byte(`{"seq":1,"next_by_subj":"` + subject + `","batch":512,"max_bytes":8388608}`)
	if err := nc.PublishRequest("$JS.API.DIRECT.GET."+eventstore.StreamLog, inbox, request); err != nil {
		return 0, err
	}
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return n, err
		}
		switch status := msg.Header.Get("Status"); status {
		case "":
			n++
		case "204":
			return n, nil
		default:
			return n, errors.New("direct get: " + status + " " + msg.Header.Get("Description"))
		}
	}
}

// rawRead is the plain side of a replay: the ordered consumer, which only counts what comes.
func rawRead(ctx context.Context, js jetstream.JetStream, upTo uint64) error {
	consumer, err := js.OrderedConsumer(ctx, eventstore.StreamLog, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return err
	}
	done, n := make(chan struct{}), uint64(0)
	consuming, err := consumer.Consume(func(jetstream.Msg) {
		if n++; n == upTo {
			close(done)
		}
	}, jetstream.PullMaxMessagesWithBytesLimit(4096, 32<<20))
	if err != nil {
		return err
	}
	defer consuming.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
