package webhooks

import (
	"context"
	"errors"
	"log/slog"
	"sync"
)

// runner delivers to one subscription, one event after the other.
type runner struct {
	s  *Service
	id string

	mu        sync.Mutex
	sub       subscription // the newest that is known
	ended     bool         // the subscription was deleted
	interrupt context.CancelFunc
}

func newRunner(s *Service, sub subscription) *runner {
	return &runner{s: s, id: sub.ID, sub: sub, interrupt: func() {}}
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
	r.interrupt()
}

// begin begins a session: the time from one change of the subscription to the next.
func (r *runner) begin() (sub subscription, session context.Context, ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.interrupt() // lets go of the session before
	session, r.interrupt = context.WithCancel(r.s.taking)
	return r.sub, session, r.ended
}

// run delivers until the subscription is deleted or the service stops.
func (r *runner) run() {
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.interrupt()
	}()
	for p := newPause(); ; {
		sub, session, ended := r.begin()
		if ended {
			r.clean()
			return
		}
		if r.s.taking.Err() != nil {
			return
		}
		delivered, err := r.serve(session, sub)
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
			r.s.cfg.Logger.Log(session, level, "webhooks: cannot get events from the server, trying again", "webhook", r.id, "error", err)
			_ = p.Wait(session)
		}
	}
}

// serve delivers for one session. It reports whether it got any event. The end of the session is no error.
func (r *runner) serve(session context.Context, sub subscription) (delivered bool, err error) {
	defer func() {
		if session.Err() != nil {
			err = nil
		}
	}()
	if err := r.s.ensureConsumer(session, sub); err != nil {
		return false, err
	}
	if !sub.Enabled {
		<-session.Done() // the consumer holds the events
		return false, nil
	}
	events, err := r.s.openFeed(r.id)
	if err != nil {
		return false, err
	}
	defer events.close()
	for {
		msg, err := events.next(session)
		if err != nil {
			return delivered, err
		}
		if session.Err() != nil {
			return delivered, msg.Nak()
		}
		delivered = true
		r.s.deliver(sub, msg)
	}
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
