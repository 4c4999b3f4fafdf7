package webhooks

import (
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"closure/projections/webhooks/endpoint"
)

const (
	// parallel is how many packages of one subscription are under way at a time, by resource.
	parallel = 4
	// parallelAgain is how many of them may be tried again, so that those that hang leave room for the others.
	parallelAgain = parallel / 2
	// downAfter is how many resources have to fail, without a success in between, for the endpoint to count as down. From
	// then on it is tried with one package at a time, after a back-off for all: not with one for each resource that waits.
	downAfter = parallel
)

var inProgress = []byte("+WPI")

// lane is a resource with a package under way, or one that failed.
type lane struct {
	busy     bool
	failed   []*item   // of the package that failed, in their order
	attempts int       // that have failed
	since    time.Time // the first of them
	next     time.Time // when the next one may be made
}

// result is how a package went.
type result struct {
	p   *parcel
	out endpoint.Outcome
}

// byResource is a session that keeps the order of each resource's events, and lets the others pass a failure.
type byResource struct {
	*session
	lanes   map[string]*lane
	queue   []*item // that wait, in the order of the stream
	results chan result
	flight  map[*parcel]bool // under way; true: tried again
	down    map[string]bool  // resources that failed since the last success; of each package, the first one
	probes  int              // failures since the endpoint counts as down
	hold    time.Time        // nothing is sent before
	turn    bool             // what waits goes before what is tried again
	stuck   uint64           // the event that another session found failing, until it is settled here; 0 for none
	touched time.Time        // when the server was last told that what waits is still in hand
	full    bool             // there is no memory for more
}

func (x *session) byResource() error {
	b := &byResource{
		session: x, lanes: map[string]*lane{}, flight: map[*parcel]bool{}, down: map[string]bool{}, results: make(chan result, parallel), touched: time.Now(),
	}
	if x.state.failing() && x.state.holds(x.sub) {
		b.stuck = x.state.LastSequence
	}
	err := b.loop()
	// What is under way is finished as it was begun.
	for len(b.flight) > 0 {
		if e := b.take(<-b.results); e != nil {
			err = errors.Join(err, e)
		}
	}
	return err
}

func (b *byResource) loop() error {
	for {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		wake, err := b.start()
		if err != nil {
			return err
		}
		at, err := b.want()
		if err != nil {
			return err
		}
		wake = earlier(earlier(wake, at), b.keep())
		timer := time.NewTimer(max(time.Until(wake), 0))
		select {
		case msg := <-b.feed.ch:
			if msg, err = b.feed.take(msg); err == nil && msg != nil {
				err = b.enqueue(msg)
			}
		case r := <-b.results:
			err = b.take(r)
		case <-timer.C:
			if !b.feed.idle() && !time.Now().Before(b.feed.silentAt()) {
				err = errSilent
			}
		case <-b.ctx.Done():
		}
		timer.Stop()
		if err != nil {
			return err
		}
	}
}

// earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// inHand is how many events this session has, and how many bytes of them in memory: of those that wait and are not held by
// a failure, and of those under way.
func (b *byResource) inHand() (events, bytes int) {
	for _, it := range b.queue {
		bytes += len(it.body)
	}
	events = len(b.queue)
	for p := range b.flight {
		bytes += p.size
		events += len(p.items)
	}
	for _, l := range b.lanes {
		if !l.busy {
			events += len(l.failed)
		}
	}
	return events, bytes
}

// want asks for more events, while there is room for them, and says when to look again.
func (b *byResource) want() (wake time.Time, err error) {
	if !b.feed.idle() {
		return b.feed.silentAt(), nil
	}
	events, bytes := b.inHand()
	b.release(bytes)
	b.full = events >= window || bytes > 0 && !b.allow(bytes)
	if !b.full {
		err := b.ask(window-events, chunk)
		return b.feed.silentAt(), err
	}
	// Something will be done with these first; meanwhile the pin has to be kept.
	if time.Since(b.feed.asked) >= b.pullFor() {
		err = b.feed.touch()
	}
	return b.feed.asked.Add(b.pullFor()), err
}

// enqueue takes an event in.
func (b *byResource) enqueue(msg *nats.Msg) error {
	it, again, err := b.accept(msg)
	if err != nil || it == nil {
		return err
	}
	if again {
		if !b.has(it.seq) {
			b.acknowledge(it.reply) // it was delivered
		}
		return nil
	}
	if l := b.lanes[it.resource]; l != nil && len(l.failed) > 0 {
		it.body = nil // it may have to wait for long
	}
	b.queue = append(b.queue, it)
	return nil
}

// has tells whether an event is in hand.
func (b *byResource) has(seq uint64) bool {
	is := func(it *item) bool { return it.seq == seq }
	for p := range b.flight {
		if slices.ContainsFunc(p.items, is) {
			return true
		}
	}
	for _, l := range b.lanes {
		if slices.ContainsFunc(l.failed, is) {
			return true
		}
	}
	return slices.ContainsFunc(b.queue, is)
}

// start sends what may be sent, and says when there may be more.
func (b *byResource) start() (wake time.Time, err error) {
	for {
		limit := parallel
		if b.isDown() {
			limit = 1
		}
		if len(b.flight) >= limit {
			return time.Time{}, nil // a result will come
		}
		now := time.Now()
		if now.Before(b.hold) {
			return b.hold, nil
		}
		p, wake, err := b.pick(now)
		if p == nil || err != nil {
			return wake, err
		}
		b.send(p)
	}
}

func (b *byResource) isDown() bool { return len(b.down) >= downAfter }

// pick takes in turn from what is tried again and from what waits, so that neither starves the other.
func (b *byResource) pick(now time.Time) (p *parcel, wake time.Time, err error) {
	b.turn = !b.turn
	for range 2 {
		var at time.Time
		if b.turn {
			p, at, err = b.form(now)
		} else {
			p, at, err = b.due(now)
		}
		if p != nil || err != nil {
			return p, at, err
		}
		wake = earlier(wake, at)
		b.turn = !b.turn
	}
	return nil, wake, nil
}

// keep tells the server in time that what waits is still in hand, and says when to do so again.
func (b *byResource) keep() (wake time.Time) {
	every := b.s.ackWait(b.sub) / 2
	if time.Since(b.touched) < every {
		return b.touched.Add(every)
	}
	b.touched = time.Now()
	nc := b.s.cfg.Log.Conn()
	for _, it := range b.queue {
		_ = nc.Publish(it.reply, inProgress) // when it gets lost the event comes again, and is known
	}
	for _, l := range b.lanes {
		for _, it := range l.failed {
			_ = nc.Publish(it.reply, inProgress)
		}
	}
	return b.touched.Add(every)
}
