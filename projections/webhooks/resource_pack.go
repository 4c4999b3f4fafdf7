package webhooks

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/retry"
)

// due gives the package of a resource whose next attempt is due, or says when one will be.
func (b *byResource) due(now time.Time) (p *parcel, wake time.Time, err error) {
	again := 0
	for _, retried := range b.flight {
		if retried {
			again++
		}
	}
	if again >= parallelAgain {
		return nil, wake, nil // a result will come
	}
	var first *lane
	for _, l := range b.lanes {
		if l.busy || len(l.failed) == 0 {
			continue
		}
		wake = earlier(wake, l.next)
		if !now.Before(l.next) && (first == nil || l.failed[0].seq < first.failed[0].seq) {
			first = l
		}
	}
	if first == nil {
		return nil, wake, nil
	}
	p = &parcel{}
	for _, it := range first.failed {
		if err := b.load(it); err != nil {
			return nil, wake, err
		}
		p.add(it)
	}
	b.flight[p] = true
	return p, wake, nil
}

// load reads an event again whose body was dropped.
func (b *byResource) load(it *item) error {
	if it.body != nil {
		return nil
	}
	msg, err := retry.Once(b.ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return b.s.events.GetMsg(ctx, it.seq) })
	if err != nil {
		return err
	}
	read, err := readItem(msg.Subject, msg.Header, msg.Data, it.seq, b.sub.ID)
	if err == nil {
		it.body = read.body
	}
	return err
}

// form packs events that wait for nothing but company: those of resources of which nothing is under way or failing. It says
// when there will be a package, if there is none yet.
func (b *byResource) form(now time.Time) (p *parcel, wake time.Time, err error) {
	p = &parcel{}
	full, rest := b.full, make([]*item, 0, len(b.queue))
	for i, it := range b.queue {
		if l := b.lanes[it.resource]; l != nil {
			rest = append(rest, it)
			continue
		}
		if err := b.load(it); err != nil {
			return nil, wake, err
		}
		if !p.fits(it, b.sub.Config.MaxPackageSize) {
			full = true
			rest = append(rest, b.queue[i:]...)
			break
		}
		p.add(it)
	}
	if len(p.items) == 0 {
		return nil, time.Time{}, nil
	}
	full = full || p.full(b.sub.Config.MaxPackageSize)
	if at := b.sent.Add(b.sub.Config.Wait()); !full && !b.sent.IsZero() && now.Before(at) {
		return nil, at, nil
	}
	b.queue, b.sent = rest, now
	b.flight[p] = false
	return p, time.Time{}, nil
}

// send a package.
func (b *byResource) send(p *parcel) {
	for _, resource := range p.resources() {
		l := b.lanes[resource]
		if l == nil {
			l = &lane{}
			b.lanes[resource] = l
		}
		l.busy = true
	}
	body := p.body()
	p.forget()
	b.full = false
	b.renew()
	go func() { b.results <- result{p, b.s.post(b.sub, p, body)} }()
}
