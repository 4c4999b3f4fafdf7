package webhooks

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/retry"
)

// runner delivers to one subscription.
type runner struct {
	s  *Service
	id string

	mu        sync.Mutex
	sub       subscription // the newest that is known
	ended     bool         // the subscription was deleted
	interrupt context.CancelFunc
	exists    context.Context // ended: the subscription was deleted, and nothing is left to hand back
	vanish    context.CancelFunc

	state deliveryState // as this process knows it; of the goroutine that runs
}

func newRunner(s *Service, sub subscription) *runner {
	r := &runner{s: s, id: sub.ID, sub: sub, interrupt: func() {}}
	r.exists, r.vanish = context.WithCancel(context.Background())
	return r
}

// current is the newest subscription that is known.
func (r *runner) current() subscription {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sub
}

// set takes over a newer subscription. A request that is under way is finished as it was begun.
func (r *runner) set(sub subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if sub.revision > r.sub.revision {
		r.sub = sub
		r.interrupt()
	}
}

// again has the runner look at its consumer again, and ask anew.
func (r *runner) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.interrupt()
}

// end: the subscription was deleted.
func (r *runner) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.vanish()
	r.interrupt()
}

// begin begins with a subscription: the context lasts until the next change of it.
func (r *runner) begin() (sub subscription, unchanged context.Context, ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.interrupt() // lets go of the one before
	unchanged, r.interrupt = context.WithCancel(r.s.taking)
	return r.sub, unchanged, r.ended
}

// run delivers until the subscription is deleted or the service stops.
func (r *runner) run() {
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.interrupt()
		r.vanish()
	}()
	for p := newPause(); ; {
		sub, unchanged, ended := r.begin()
		if ended {
			r.clean()
			return
		}
		if r.s.taking.Err() != nil {
			return
		}
		delivered, err := r.serve(unchanged, sub)
		if errors.Is(err, errGone) {
			r.s.drop(r.id) // and clean, should another process have made the consumer anew
			continue
		}
		if delivered || err == nil {
			p.Reset()
		}
		if err != nil {
			// The first time is no news: the consumer was just made, or has moved.
			level := slog.LevelDebug
			if !p.Untouched() {
				level = slog.LevelWarn
			}
			r.s.cfg.Logger.Log(unchanged, level, "webhooks: cannot get events from the server, trying again", "webhook", r.id, "error", err)
			_ = p.Wait(unchanged)
		}
	}
}

// serve delivers until the subscription changes. It reports whether it got any event. That the context has ended is no error.
func (r *runner) serve(ctx context.Context, sub subscription) (delivered bool, err error) {
	defer func() {
		if ctx.Err() != nil {
			err = nil
		}
	}()
	if err := r.s.ensureConsumer(ctx, sub); err != nil {
		return false, err
	}
	if sub, err = r.s.ensureSecret(ctx, sub); err != nil {
		return false, err
	}
	if !sub.Enabled {
		<-ctx.Done() // the consumer holds the events
		return false, nil
	}
	for ctx.Err() == nil {
		came, err := r.attend(ctx, sub)
		delivered = delivered || came
		if err != nil && !errors.Is(err, errAgain) && !errors.Is(err, errPinLost) {
			return delivered, err
		}
	}
	return delivered, nil
}

// attend is one session, with the wait for it. It reports whether any event came.
func (r *runner) attend(ctx context.Context, sub subscription) (came bool, err error) {
	// Whoever waits does not ask, so that another process is not pinned in vain either.
	if err := retry.Pause(ctx, r.state.due(sub, r.s.now())); err != nil {
		return false, err
	}
	pin, err := r.pinned(ctx)
	if err != nil {
		return false, err
	}
	// Another process may have delivered since.
	state, err := r.s.readState(ctx, sub)
	if err == nil {
		r.state = state
	}
	if wait := state.due(sub, r.s.now()); err != nil || wait > 0 {
		r.s.cfg.Logger.Debug("webhooks: the next attempt is not due yet", "webhook", r.id, "in", wait, "error", err)
		r.s.handBack(r.exists, r.id, pin)
		return false, err
	}
	x, err := r.s.newSession(ctx, sub, pin, r.state)
	if err != nil {
		if !errors.Is(err, errPinLost) {
			r.s.handBack(r.exists, r.id, pin)
		}
		return false, err
	}
	err = x.run()
	x.lost = errors.Is(err, errPinLost)
	x.moved = errors.Is(err, errOutOfStep) || r.current().Replay != sub.Replay
	x.finish(r.exists)
	r.state = x.state
	return x.came, err
}

// pinned waits until the server delivers to this process, and gives the pin. The event that came with it is not kept: the
// session begins before it.
func (r *runner) pinned(ctx context.Context) (pin string, err error) {
	f, err := r.s.openFeed(r.id, "")
	if err != nil {
		return "", err
	}
	msg, err := f.first(ctx, r.s.pinTTL()+time.Second, func() error { return r.s.rouse(ctx, r.id) })
	if err != nil {
		if late := f.drain(); late != "" {
			r.s.handBack(r.exists, r.id, late)
		}
		return "", err
	}
	f.drain()
	if pin = msg.Header.Get(headerPin); pin == "" {
		// An engine of a former version has changed the consumer back.
		_ = msg.Nak()
		return "", errors.New("the consumer pins nobody")
	}
	return pin, nil
}

// clean removes the consumer of the deleted subscription. When it cannot, the next start of an engine does.
func (r *runner) clean() {
	for p := newPause(); ; {
		err := r.s.removeConsumer(r.s.taking, r.id)
		if err == nil || r.s.taking.Err() != nil {
			return
		}
		r.s.cfg.Logger.Warn("webhooks: cannot remove the consumer of a deleted webhook, trying again", "webhook", r.id, "error", err)
		_ = p.Wait(r.s.taking)
	}
}

// longestPin bounds how long the events of a process that died wait for another one.
const longestPin = 10 * time.Second

// pinTTL is how long the server keeps the pin for a process that does not ask any more.
func (s *Service) pinTTL() time.Duration { return min(2*s.cfg.RequestTimeout, longestPin) }

// rouse has the server deliver again what a process that died had in hand, when nobody is pinned. Else what it had in hand
// would come no sooner than its acknowledgement is missed, if there is nothing newer to deliver.
func (s *Service) rouse(ctx context.Context, id string) error {
	consumer, err := retry.Once(ctx, func(ctx context.Context) (jetstream.Consumer, error) { return s.events.Consumer(ctx, consumerName(id)) })
	if err != nil {
		return err
	}
	info := consumer.CachedInfo()
	if info.NumAckPending == 0 || !pinned(info, "") {
		return nil
	}
	_, err = retry.Once(ctx, func(ctx context.Context) (*jetstream.ConsumerResetResponse, error) {
		return s.events.ResetConsumer(ctx, consumerName(id))
	})
	return err
}
