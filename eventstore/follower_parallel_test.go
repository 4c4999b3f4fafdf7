package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"closure/eventstore"
)

// lanesProbe is a handler that checks what a parallel follower promises.
type lanesProbe struct {
	t testing.TB

	mu       sync.Mutex
	inHand   map[string]bool       // aggregates within a call
	versions map[string]int        // last version handled, by aggregate
	handled  map[uint64]int        // how often, by sequence
	most     int                   // calls at once
	enter    func(id string) error // called within, without the lock
}

func newLanesProbe(t testing.TB, enter func(id string) error) *lanesProbe {
	return &lanesProbe{t: t, inHand: map[string]bool{}, versions: map[string]int{}, handled: map[uint64]int{}, enter: enter}
}

func (p *lanesProbe) handle(_ context.Context, commits []eventstore.Recorded) error {
	id := commits[0].AggregateID
	p.mu.Lock()
	if p.inHand[id] {
		p.t.Errorf("%s is in two calls at once", id)
	}
	p.inHand[id] = true
	p.most = max(p.most, len(p.inHand))
	p.mu.Unlock()

	err := p.enter(id)

	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.inHand, id)
	if err != nil {
		return err
	}
	for _, c := range commits {
		if c.AggregateID != id {
			p.t.Errorf("a call with commits of %s and %s", id, c.AggregateID)
		}
		if c.Version != p.versions[id]+1 {
			p.t.Errorf("%s: version %d after %d", id, c.Version, p.versions[id])
		}
		p.versions[id] = c.Version
		p.handled[c.Sequence]++
	}
	return nil
}

func (p *lanesProbe) mustHaveAllOnce(last uint64) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for seq := uint64(1); seq <= last; seq++ {
		if p.handled[seq] != 1 {
			p.t.Fatalf("sequence %d was handled %d times", seq, p.handled[seq])
		}
	}
}

func TestFollowerInParallel(t *testing.T) {
	for _, name := range []string{"", "parallel"} {
		t.Run("name="+name, func(t *testing.T) {
			t.Parallel()
			l := openLog(t)
			w := newWriter(t, l)
			w.spread(400, 25)
			// Nobody passes until as many as may are within at the same time.
			const parallel = 4
			full := make(chan struct{})
			var within atomic.Int32
			p := newLanesProbe(t, func(string) error {
				if within.Add(1) == parallel {
					close(full)
				}
				receive(t, full, fmt.Sprintf("%d calls at once", parallel))
				return nil
			})
			f := startFollower(t, l, eventstore.FollowerConfig{Name: name, Parallel: parallel, MaxBatch: 3, Handle: p.handle})
			w.spread(100, 25)
			waitFor(t, f, 500)
			p.mustHaveAllOnce(500)
			if p.most != parallel {
				t.Fatalf("%d calls at once, want %d", p.most, parallel)
			}
		})
	}
}

// One aggregate that fails and one that is slow hold up themselves only; the
// position waits for them.
func TestFollowerInParallelIsNotHeldUp(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	w := newWriter(t, l)
	w.spread(10, 10)
	slow, failing := make(chan struct{}), atomic.Bool{}
	failing.Store(true)
	rest := make(chan uint64, 1000)
	p := newLanesProbe(t, func(id string) error {
		switch {
		case id == "a3":
			<-slow
		case id == "a5" && failing.Load():
			return errors.New("not now")
		}
		return nil
	})
	f := startFollower(t, l, eventstore.FollowerConfig{Name: "held-up", Parallel: 2, Handle: func(ctx context.Context, commits []eventstore.Recorded) error {
		err := p.handle(ctx, commits)
		for _, c := range commits {
			if err == nil {
				rest <- c.Sequence
			}
		}
		return err
	}})
	w.spread(190, 10)
	for range 160 {
		receive(t, rest, "commit of another aggregate")
	}
	if got := f.Position(); got != 3 {
		t.Fatalf("position %d, want 3: what follows is not handled", got)
	}
	failing.Store(false)
	close(slow)
	waitFor(t, f, 200)
	p.mustHaveAllOnce(200)
}

// Behind a commit that is not handled a parallel follower goes on for a while only,
// and never past the window.
func TestFollowerInParallelIsBounded(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	w := newWriter(t, l)
	first := w.append("account", "stuck")
	w.spread(6000, 100)
	stuck, passed := make(chan struct{}), make(chan uint64, 6001)
	f := startFollower(t, l, eventstore.FollowerConfig{Parallel: 8, Handle: func(_ context.Context, commits []eventstore.Recorded) error {
		if commits[0].AggregateID == "stuck" {
			<-stuck
		}
		for _, c := range commits {
			passed <- c.Sequence
		}
		return nil
	}})
	const window = 4096
	for range window - 1 { // without the stuck one
		receive(t, passed, "commit within the window")
	}
	if len(passed) != 0 {
		t.Fatalf("went on past the window, to %d", <-passed)
	}
	if f.Position() >= first.Sequence {
		t.Fatalf("position %d before %d is handled", f.Position(), first.Sequence)
	}
	close(stuck)
	waitFor(t, f, 6001)
}
