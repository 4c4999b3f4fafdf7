package eventstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/eventstoretest"
)

// trialWithin bounds a trial: what takes longer hangs.
const trialWithin = 90 * time.Second

// trial is many writers that go on whatever happens to the servers.
type trial struct {
	*ledger
	ctx    context.Context
	cancel context.CancelFunc
	t      testing.TB
	stop   chan struct{}
	once   sync.Once
	all    sync.WaitGroup
	shared []string // aggregates that all of them write to
}

// place is where some of the writers write.
type place struct {
	log *eventstore.Log
	own bool // to aggregates of their own only: nobody is in their way
}

// startTrial starts the writers, spread over the places.
func startTrial(t testing.TB, writers int, places ...place) *trial {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), trialWithin)
	t.Cleanup(cancel)
	r := &trial{ledger: newLedger(), ctx: ctx, cancel: cancel, t: t, stop: make(chan struct{})}
	for range writers / 8 {
		r.shared = append(r.shared, uuid.NewString())
	}
	for n := range writers {
		w := &contender{trial: r, n: n, place: places[n%len(places)], id: uuid.NewString(), heads: map[string]eventstore.Head{}}
		r.all.Go(w.run)
	}
	t.Cleanup(r.finish)
	return r
}

// progress waits until the writers have got so many more acknowledgements.
func (r *trial) progress(acks int) (inFlight int) {
	r.t.Helper()
	inFlight, err := r.wait(r.ctx, func() int { return len(r.acked) }, acks)
	require.NoError(r.t, err, "wait for %d more acknowledgements", acks)
	return inFlight
}

// lost waits until so many more appends do not know what came of them.
func (r *trial) lost(appends int) {
	r.t.Helper()
	_, err := r.wait(r.ctx, func() int { return r.unknown }, appends)
	require.NoError(r.t, err, "wait for %d more appends of unknown outcome", appends)
}

// finish lets each writer end what it has in hand.
func (r *trial) finish() {
	r.once.Do(func() { close(r.stop) })
	r.all.Wait()
}

// contender is one of the writers. It writes to an aggregate of its own, and to those of all, in turn.
type contender struct {
	*trial
	place
	n     int
	id    string                     // of its own aggregate
	heads map[string]eventstore.Head // as far as it knows
	// commits is how many it has made; unknowns, how often it did not learn what came of one.
	commits, unknowns int
}

func (w *contender) run() {
	for turn := 0; !isClosed(w.stop); turn++ {
		id := w.id
		if turn%2 == 1 && !w.own {
			id = w.shared[(w.n+turn/2)%len(w.shared)]
		}
		if err := w.write(id); err != nil {
			assert.NoError(w.t, err, "writer %d", w.n)
			w.cancel() // the others have nothing more to show
			return
		}
	}
}

func (w *contender) commit(id string) eventstore.Commit {
	w.commits++
	c := eventstoretest.CommitOf("account", id)
	c.Events[0].Data = json.RawMessage(fmt.Sprintf(`{"writer":%d,"commit":%d}`, w.n, w.commits))
	return c
}

// write appends one commit, until its outcome is known.
func (w *contender) write(id string) error {
	c := w.commit(id)
	for {
		w.ask(c)
		rec, err := w.log.Append(w.ctx, c, w.heads[id])
		switch {
		case err == nil:
			w.heads[id] = rec.Head()
			w.answered(func(l *ledger) { l.acked[c.ID] = rec })
			return nil
		case errors.Is(err, eventstore.ErrUnavailable) && w.ctx.Err() == nil:
			w.unknowns++
			// Most ask again. Some give up, as who asked may have gone away, and decide anew on what they find.
			gaveUp := w.unknowns%4 == 0
			w.answered(func(l *ledger) {
				l.unknown++
				if gaveUp {
					l.abandoned[c.ID] = true
				}
			})
			if gaveUp {
				return w.reload(id)
			}
		case errors.Is(err, eventstore.ErrConflict):
			// Decided anew, it is the same commit to those who make its id of the command's, and another one to the rest.
			anew := w.n/8%2 == 0
			w.answered(func(l *ledger) {
				l.conflicts++
				if anew {
					l.refused[c.ID] = true
				}
			})
			if err := w.reload(id); err != nil {
				return err
			}
			if anew {
				c = w.commit(id)
			}
		default:
			w.answered(func(*ledger) {})
			return fmt.Errorf("append %s behind sequence %d: %w", c.ID, w.heads[id].Sequence, err)
		}
	}
}

// reload learns the head of an aggregate.
func (w *contender) reload(id string) error {
	for {
		newer, err := w.log.LoadCurrent(w.ctx, "account", id, w.heads[id].Sequence)
		switch {
		case err == nil && len(newer) > 0:
			w.heads[id] = newer[len(newer)-1].Head()
			return nil
		case err == nil:
			return nil
		case !errors.Is(err, eventstore.ErrUnavailable) || w.ctx.Err() != nil:
			return fmt.Errorf("load: %w", err)
		}
	}
}
