package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"closure/eventstore"
	"closure/eventstore/timer"
	"closure/handlers/natsapi"
	"closure/projections/readmodel"
	"closure/projections/webhooks"
)

const (
	// Each figure that costs a question is asked for when somebody looks, and kept so long: many may look, and often.
	keepLog      = time.Second
	keepClosings = 10 * time.Second
	keepWebhooks = 15 * time.Second
	keepQueues   = 5 * time.Second
	// askWithin bounds one question. It is less than what probes and scrapers wait by default.
	askWithin = 900 * time.Millisecond
	// closingsWithin is for a count over all closings, and webhooksWithin for all subscriptions.
	closingsWithin = 3 * time.Second
	webhooksWithin = 5 * time.Second
	// caughtUpWithin is how many commits the lists may be behind for the engine to get ready after its start.
	caughtUpWithin = 1000
)

// cached is a figure that costs a question. A failure is kept as well: a server that does not answer is not asked more often.
type cached[T any] struct {
	keep, within time.Duration
	ask          func(context.Context) (T, error)

	turn  chan struct{} // holds one: who asks
	at    time.Time
	value T
	err   error
}

func newCached[T any](keep, within time.Duration, ask func(context.Context) (T, error)) *cached[T] {
	return &cached[T]{keep: keep, within: within, ask: ask, turn: make(chan struct{}, 1)}
}

// get gives the figure, not older than it may be.
func (c *cached[T]) get(ctx context.Context) (T, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
	defer func() { <-c.turn }()
	if !c.at.IsZero() && time.Since(c.at) < c.keep {
		return c.value, c.err
	}
	// Not by the context of who asks first: when he gives up, the others still want to know.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.within)
	defer cancel()
	c.value, c.err = c.ask(ctx)
	c.at = time.Now()
	return c.value, c.err
}

// projection is a part of the engine that follows the log.
type projection struct {
	name     string
	position func() uint64
}

// ownProjection is the one that every engine has for itself: of the others, one engine of all is at work.
const ownProjection = "readmodel"

// queues is what waits for the engines.
type queues struct {
	Inbox     uint64 `json:"inbox"`      // durable commands that are not settled, but for those aside
	Aside     uint64 `json:"aside"`      // those that came before what they are about
	TimersDue uint64 `json:"timers_due"` // timers whose time has come
}

// vitals is how an engine is.
type vitals struct {
	log         *eventstore.Log
	lists       *readmodel.Model
	projections []projection

	stopping, caughtUp atomic.Bool

	last     *cached[uint64] // the log's last sequence, as its leader says
	closings *cached[readmodel.ClosureCounts]
	hooks    *cached[webhooks.Stats]
	waiting  *cached[queues]
}

func newVitals(log *eventstore.Log, lists *readmodel.Model) *vitals {
	return &vitals{
		log: log, lists: lists,
		last:     newCached(keepLog, askWithin, log.LastSequence),
		closings: newCached(keepClosings, closingsWithin, lists.ClosureCounts),
	}
}

// follow adds what is known once all parts are made.
func (v *vitals) follow(hooks *webhooks.Service, timers *timer.Service, inbox *natsapi.Service, projections ...projection) {
	v.projections = projections
	v.hooks = newCached(keepWebhooks, webhooksWithin, hooks.Stats)
	v.waiting = newCached(keepQueues, askWithin, func(ctx context.Context) (q queues, err error) {
		var timersErr, inboxErr error
		var asked sync.WaitGroup
		asked.Go(func() { q.TimersDue, timersErr = timers.Due(ctx) })
		asked.Go(func() { q.Inbox, q.Aside, inboxErr = inbox.Waiting(ctx) })
		asked.Wait()
		return q, errors.Join(timersErr, inboxErr)
	})
}

// The reasons why an engine is not ready. Everybody may read them, so they tell nothing else.
var (
	errStopping  = errors.New("the engine is stopping")
	errNoNATS    = errors.New("there is no connection to NATS")
	errNoLog     = errors.New("the event log does not answer, or has no leader")
	errListsDown = errors.New("the lists are being built")
	errListsLag  = errors.New("the lists are still behind the event log")
)

// ready tells whether the engine can answer: nil, or why not. It can when it is not stopping, NATS is there, the log has a leader
// that answers, and the lists can be asked. After the start they have to catch up with the log once; from then on their lag is
// for the metrics: all engines would turn away their clients at once, and none would be better off.
func (v *vitals) ready(ctx context.Context) error {
	switch {
	case v.stopping.Load():
		return errStopping
	case !v.log.Conn().IsConnected():
		return errNoNATS
	}
	last, err := v.last.get(ctx)
	switch {
	case err != nil:
		return errNoLog
	case v.lists.Ready() != nil:
		return errListsDown
	case v.caughtUp.Load():
		return nil
	case !v.lists.CaughtUp(last, caughtUpWithin):
		return errListsLag
	}
	v.caughtUp.Store(true)
	return nil
}
