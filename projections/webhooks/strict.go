package webhooks

import (
	"context"
	"sync"
	"time"
)

// restWithin is how long a package that is formed again waits for the next of its events.
const restWithin = 2 * time.Second

// strict delivers one package after the other; a failure ends the session, so that it holds everything behind it, and so that
// a thousand failing subscriptions have nothing in hand.
func (x *session) strict() error {
	g := &gatherer{session: x}
	if x.state.failing() && x.state.holds(x.sub) {
		g.again = x.state.LastSequence
	}
	for {
		p, err := g.gather()
		if err != nil {
			return err
		}
		if x.ctx.Err() != nil {
			return x.ctx.Err()
		}
		if err := x.deliver(p); err != nil {
			return err
		}
		x.release(0)
	}
}

// deliver makes one attempt with a package.
func (x *session) deliver(p *parcel) error {
	body := p.body()
	p.forget()
	x.sent = time.Now()
	release := x.keepPinned()
	out := x.s.post(x.sub, p, body)
	release()
	number := x.state.Attempts + 1
	if out.Failure == "" {
		x.delivered(p, out, number)
		if x.state.failing() {
			x.s.recovered(x.sub, &x.state)
		}
		return nil
	}
	if x.cut(out) {
		x.log.Info("webhooks: an attempt was cut short by the end of the engine", "attempt", number)
		return context.Canceled
	}
	wait := x.s.waitAfter(number, out)
	x.refused(p, out, number, wait)
	if !x.state.failing() {
		x.state.FailingSince = x.s.now()
	}
	x.state.Attempts = number
	x.state.NextAttempt = x.s.now().Add(wait)
	x.state.LastSequence = p.last().seq
	x.s.failed(x.sub, &x.state, out)
	if out.Gone {
		x.s.gone(x.sub, x.state)
	}
	return errAgain
}

// keepPinned renews the pin until release is called: a request may take longer than the pin lasts.
func (x *session) keepPinned() (release func()) {
	x.renew()
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(x.pullFor())
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = x.feed.sendTouch() // what comes of it shows with the next request
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		ended.Wait()
		x.feed.asked = later(x.feed.asked, time.Now().Add(-x.pullFor())) // it was renewed since then
	}
}

// gatherer forms the packages of a session in strict order.
//
// The first event goes at once when nothing was sent within the delay; else events wait until it has passed since the last
// package, and go together. So no event waits longer than the delay for company, there is no wait under a low load, and
// packages are full under a high one.
type gatherer struct {
	*session
	next  *item  // came, and did not fit into the package before
	again uint64 // the last event of a package that failed and is formed again; 0 for none
}

// gather waits for a package.
func (g *gatherer) gather() (*parcel, error) {
	p := &parcel{}
	if g.next != nil {
		p.add(g.next)
		g.next = nil
	}
	for !g.complete(p) {
		if g.feed.idle() {
			if !g.allow(p.size) && len(p.items) > 0 {
				break // no memory for more: it goes as it is
			}
			if err := g.ask(maxParcel-len(p.items), chunk); err != nil {
				return nil, err
			}
		}
		until := g.until(p)
		msg, err := g.feed.next(g.ctx, until)
		if err != nil {
			return nil, err
		}
		if msg == nil {
			if len(p.items) > 0 && !time.Now().Before(until) {
				break
			}
			continue
		}
		it, again, err := g.accept(msg)
		if err != nil {
			return nil, err
		}
		switch {
		case it == nil:
		case again:
			if len(p.items) == 0 || it.seq < p.first().seq {
				g.acknowledge(it.reply) // it was delivered
			}
		case !g.belongs(p, it):
			g.next = it
			g.again = 0
			return p, nil
		default:
			p.add(it)
		}
	}
	g.again = 0
	return p, nil
}

// complete tells whether a package goes without waiting for more.
func (g *gatherer) complete(p *parcel) bool {
	if len(p.items) == 0 {
		return false
	}
	return len(p.items) >= maxParcel || g.next != nil || p.last().seq == g.again || g.again == 0 && p.full(g.sub.Config.MaxPackageSize)
}

// belongs tells whether an event goes with the ones before it.
func (g *gatherer) belongs(p *parcel, it *item) bool {
	if !p.fits(it, g.sub.Config.MaxPackageSize) {
		return false
	}
	return g.again == 0 || len(p.items) == 0 || it.seq <= g.again
}

// until is how long a package waits for more; zero is without end.
func (g *gatherer) until(p *parcel) time.Time {
	switch {
	case len(p.items) == 0:
		return time.Time{}
	case g.again != 0 && p.last().seq < g.again:
		return g.feed.heard.Add(restWithin)
	case g.sent.IsZero():
		return time.Unix(0, 1) // long ago
	}
	return g.sent.Add(g.sub.Config.Wait())
}
