package bench

import (
	"context"
	"fmt"
	"time"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
)

// writer appends to accounts of its own, as the engine does behind a decision: Append makes the body, hashes it, and guards it.
type writer struct {
	log   *eventstore.Log
	ids   *idSource
	lanes [][]*written // for each in flight the accounts that it takes in turn
}

// written is an account with what its next commit says, and follows on.
type written struct {
	commit eventstore.Commit
	head   eventstore.Head
}

// newWriter makes accounts that are not in the log yet. The log does not look into the events: it is the same position each time.
func (b *bench) newWriter(a *arena, inFlight int) (*writer, error) {
	w := &writer{log: a.log, ids: b.ids, lanes: make([][]*written, inFlight)}
	raw, err := replay.Encode(domain.KindAccount, []domain.Event{domain.PositionRecorded(holding(1))})
	if err != nil {
		return nil, err
	}
	client := b.ids.next()
	for i := range b.subjects(inFlight) {
		lane := &w.lanes[i%inFlight]
		*lane = append(*lane, &written{commit: eventstore.Commit{
			Aggregate: string(domain.KindAccount), AggregateID: b.ids.next(), ClientID: client,
			Command: "record_position", Actor: actor, Events: raw,
		}})
	}
	return w, nil
}

// append one commit to the next account of a lane.
func (w *writer) append(ctx context.Context, worker, i int) error {
	at := w.lanes[worker][i%len(w.lanes[worker])]
	c := at.commit
	c.ID, c.CommandID, c.Time = w.ids.next(), w.ids.next(), time.Now()
	recorded, err := w.log.Append(ctx, c, at.head)
	if err == nil {
		at.head = recorded.Head()
	}
	return err
}

// body is what a commit of this writer looks like behind another: the plain side publishes the same bytes.
func (w *writer) body() ([]byte, error) {
	c := w.lanes[0][0].commit
	c.ID, c.CommandID, c.Time = w.ids.next(), w.ids.next(), time.Now()
	c.Version, c.PrevHash = 2, eventstore.HashOf(nil)
	return c.Encode()
}

// appendFigure: commits of distinct accounts, each write synced.
func (b *bench) appendFigure(n int, target func(Machine) float64) Figure {
	return b.judgedHere(Figure{
		ID: fmt.Sprintf("append_sync_%d", n), Name: fmt.Sprintf("append, %s, %d in flight", b.syncName("sync always"), n), Unit: "commits/s",
		Baseline: guarded, Target: target, on: []setting{syncing},
		prepare: func(ctx context.Context, b *bench) (sides, error) {
			a, err := b.arena(ctx, syncing)
			if err != nil {
				return sides{}, err
			}
			w, err := b.newWriter(a, n)
			if err != nil {
				return sides{}, err
			}
			body, err := w.body()
			if err != nil {
				return sides{}, err
			}
			return b.besidePublishes(ctx, a, inFlight(n, w.append), body, n)
		},
	})
}

// besidePublishes puts an engine's work beside guarded publishes of a body.
func (b *bench) besidePublishes(ctx context.Context, a *arena, work func(context.Context, *turn) error, body []byte, n int) (sides, error) {
	p := b.newPublisher(a, body, n)
	if err := p.chooseWay(ctx, b.cfg.Sizes.Slice/2); err != nil {
		return sides{}, err
	}
	s := sides{
		engine:   func(ctx context.Context) (float64, error) { return measure(ctx, b.slice(), work) },
		baseline: func(ctx context.Context) (float64, error) { return measure(ctx, b.slice(), p.run) },
		note:     func() string { return fmt.Sprintf("%d bytes a commit; plain side: %s", len(body), p.way) },
	}
	_, err := s.engine(ctx) // warms up
	return s, err
}

// growthInFlight is how many appends are in flight where the length of the log is what counts.
const growthInFlight = 64

// appendGrowth: the same appends on a long log and on a short one.
func appendGrowth(ctx context.Context, b *bench) (sides, error) {
	long, short, err := b.bothLengths(ctx)
	if err != nil {
		return sides{}, err
	}
	var s sides
	for _, one := range []struct {
		arena *arena
		side  *side
	}{{long, &s.engine}, {short, &s.baseline}} {
		w, err := b.newWriter(one.arena, growthInFlight)
		if err != nil {
			return sides{}, err
		}
		work := inFlight(growthInFlight, w.append)
		*one.side = func(ctx context.Context) (float64, error) {
			return measure(ctx, amount{most: b.cfg.Sizes.GrowthAppends}, work)
		}
		if _, err := (*one.side)(ctx); err != nil { // warms up
			return sides{}, err
		}
	}
	s.note = func() string {
		return fmt.Sprintf("default sync; %s appends a round, by which the short log grows, too", thousands(b.cfg.Sizes.GrowthAppends))
	}
	return s, nil
}

// bothLengths gives a long log and a short one at the same time.
func (b *bench) bothLengths(ctx context.Context) (long, short *arena, err error) {
	if b.given() {
		return nil, nil, notHere("it needs two logs at the same time, and an account has one")
	}
	if long, err = b.filled(ctx, large, b.cfg.Sizes.LargeAccounts); err != nil {
		return nil, nil, err
	}
	short, err = b.filled(ctx, small, b.cfg.Sizes.SmallAccounts)
	return long, short, err
}
