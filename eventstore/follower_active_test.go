package eventstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
)

// Of several instances one is active; when it stops, another goes on at once, and
// nothing is handled twice.
func TestFollowerHasOneActiveInstance(t *testing.T) {
	t.Parallel()
	s := embeddedtest.Server(t)
	l := openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{})
	var mu sync.Mutex
	var order []uint64
	by := map[uint64]int{}
	followers := map[int]*eventstore.Follower{}
	for i := range 3 {
		own := openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{})
		followers[i] = startFollower(t, own, eventstore.FollowerConfig{Name: "one", Handle: func(_ context.Context, commits []eventstore.Recorded) error {
			mu.Lock()
			defer mu.Unlock()
			for _, c := range commits {
				order = append(order, c.Sequence)
				by[c.Sequence] = i
			}
			return nil
		}})
	}
	w := newWriter(t, l)
	last := uint64(0)
	for len(followers) > 0 {
		w.spread(60, 5)
		begin := time.Now()
		last += 60
		// Those that stand by report the progress of the active one.
		for _, f := range followers {
			waitFor(t, f, last)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Fatalf("it took %s, as if the pin had to run out", took)
		}
		mu.Lock()
		active := by[last]
		for seq := last - 59; seq <= last; seq++ {
			if by[seq] != active {
				t.Errorf("sequence %d was handled by %d, and %d by %d", seq, by[seq], last, active)
			}
		}
		mu.Unlock()
		if err := followers[active].Stop(testContext(t)); err != nil {
			t.Fatal(err)
		}
		delete(followers, active)
	}
	mustRun(t, order, 1, 180)
}

// An instance that was cut off, as a paused process is, loses its place to another
// one. When it is back it stands by, and takes over again when it has to.
func TestFollowerThatWasCutOffStandsBy(t *testing.T) {
	t.Parallel()
	s := embeddedtest.Server(t)
	l := openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{})
	w := newWriter(t, l)
	p := newProxy(t, s.ClientURL())
	cutOff := openLogOn(t, embeddedtest.ConnectURL(t, p.url(), nats.ReconnectWait(20*time.Millisecond)), eventstore.Config{})
	first, second := &collector{}, &collector{}
	f1 := startFollower(t, cutOff, eventstore.FollowerConfig{Name: "cut-off", Handle: first.handle})
	w.spread(20, 3)
	waitFor(t, f1, 20)
	f2 := startFollower(t, l, eventstore.FollowerConfig{Name: "cut-off", Handle: second.handle})

	p.loseRequests.Store(true)
	p.loseAnswers.Store(true)
	w.spread(20, 3)
	waitFor(t, f2, 40)
	p.heal()
	w.spread(20, 3)
	waitFor(t, f2, 60)
	waitFor(t, f1, 60) // by what the active one has stored
	mustRun(t, first.sequences(), 1, 20)
	got := second.sequences()
	mustRun(t, got, got[0], 60)
	if got[0] > 21 {
		t.Fatalf("the second began at %d, the first had handled up to 20", got[0])
	}

	if err := f2.Stop(testContext(t)); err != nil {
		t.Fatal(err)
	}
	w.spread(20, 3)
	waitFor(t, f1, 80)
	mustRun(t, first.sequences()[20:], 61, 80)
}

// The server goes away and comes back on its folder: both kinds go on by
// themselves. What was handled just before may come again, nothing is left out.
func TestFollowerSurvivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := embedded.Start(embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	addr := s.Addr()
	t.Cleanup(func() { s.Shutdown() }) // whichever it is then
	nc := embeddedtest.ConnectURL(t, s.ClientURL(), nats.ReconnectWait(50*time.Millisecond))
	l := openLogOn(t, nc, eventstore.Config{})
	w := newWriter(t, l)
	w.spread(100, 5)
	got := map[string]*collector{"": {}, "restart": {}}
	followers := map[string]*eventstore.Follower{}
	for name, c := range got {
		followers[name] = startFollower(t, l, eventstore.FollowerConfig{Name: name, Handle: c.handle})
		waitFor(t, followers[name], 100)
	}
	s.Shutdown()
	if s, err = embedded.Start(embedded.Config{Dir: dir, Addr: addr}); err != nil {
		t.Fatal(err)
	}
	w.spread(100, 5)
	for name, f := range followers {
		begin := time.Now()
		waitFor(t, f, 200)
		t.Logf("%q went on after %s", name, time.Since(begin))
		mustRun(t, got[name].sequences(), 1, 200)
	}
}

// A handler that takes longer than the server waits for an acknowledgement gets
// nothing twice, and its progress is stored all the same.
func TestFollowerWithASlowHandler(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	newWriter(t, l).spread(500, 5)
	got, release := &collector{}, make(chan struct{})
	f := startFollower(t, l, eventstore.FollowerConfig{Name: "slow", MaxBatch: 10, Handle: func(ctx context.Context, commits []eventstore.Recorded) error {
		<-release
		return got.handle(ctx, commits)
	}})
	info := func() (redelivered int, floor uint64, pinned string) {
		c, err := l.JetStream().Consumer(testContext(t), eventstore.StreamLog, "slow")
		if err != nil {
			t.Fatal(err)
		}
		i := c.CachedInfo()
		return i.NumRedelivered, i.AckFloor.Stream, i.PriorityGroups[0].PinnedClientID
	}
	_, _, pinned := info()
	eventually(t, "redelivery", func() bool { n, _, _ := info(); return n > 0 })
	close(release)
	waitFor(t, f, 500)
	mustRun(t, got.sequences(), 1, 500)
	eventually(t, "stored progress", func() bool { _, floor, _ := info(); return floor == 500 })
	if _, _, now := info(); now != pinned && pinned != "" {
		t.Fatalf("the pin went from %s to %s while the handler was busy", pinned, now)
	}
}

// Stop waits for the handler; when it may not wait any longer it ends the
// handler's context, and says so.
func TestFollowerStop(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	newWriter(t, l).spread(3, 1)
	unstarted := eventstore.NewFollower(l, eventstore.FollowerConfig{Name: "stop", Handle: (&collector{}).handle})
	for range 2 {
		if err := unstarted.Stop(testContext(t)); err != nil {
			t.Fatalf("stop before the start: %v", err)
		}
	}
	if err := unstarted.Start(testContext(t)); err == nil {
		t.Fatal("start after a stop: no error")
	}

	busy, ended := make(chan struct{}), make(chan error, 1)
	f := startFollower(t, l, eventstore.FollowerConfig{Name: "stop", Handle: func(ctx context.Context, _ []eventstore.Recorded) error {
		close(busy)
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}})
	if err := f.Start(testContext(t)); err == nil {
		t.Fatal("a second start: no error")
	}
	receive(t, busy, "call of the handler")
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	mustBe(t, f.Stop(short), context.DeadlineExceeded)
	receive(t, ended, "end of the handler's context")
	if err := f.Stop(testContext(t)); err != nil {
		t.Fatalf("stop again: %v", err)
	}
	if f.Position() != 0 {
		t.Fatalf("position %d, and nothing was handled", f.Position())
	}
	if err := f.WaitFor(testContext(t), 3); err == nil {
		t.Fatal("wait for what a stopped follower does not handle: no error")
	}
	// What was not handled comes to the next one.
	got := &collector{}
	begin := time.Now()
	next := startFollower(t, l, eventstore.FollowerConfig{Name: "stop", Handle: got.handle})
	waitFor(t, next, 3)
	if took := time.Since(begin); took > 2*time.Second {
		t.Fatalf("it took %s, as if nothing had been given back", took)
	}
	mustRun(t, got.sequences(), 1, 3)
}

func TestFollowerNeedsAHandler(t *testing.T) {
	t.Parallel()
	if err := eventstore.NewFollower(openLog(t), eventstore.FollowerConfig{}).Start(testContext(t)); err == nil {
		t.Fatal("no error")
	}
}

// A commit that does not decode is never passed over: the follower says which one
// it is, and handles what is before it and nothing behind it.
func TestFollowerStaysBeforeABrokenCommit(t *testing.T) {
	for _, cfg := range []eventstore.FollowerConfig{{}, {Parallel: 4}, {Name: "broken"}, {Name: "broken", Parallel: 4}} {
		t.Run(fmt.Sprintf("name=%s,parallel=%d", cfg.Name, cfg.Parallel), func(t *testing.T) {
			t.Parallel()
			l := openLog(t)
			w := newWriter(t, l)
			w.spread(7, 3)
			publishRaw(t, l, "closure.log.account.bad", []byte(`{"id":1}`), "")
			w.spread(5, 3)
			got := &collector{}
			var seen logLines
			cfg.Handle, cfg.Logger = got.handle, seen.logger()
			f := startFollower(t, l, cfg)
			waitFor(t, f, 7)
			// Twice: it tries again, and stays.
			eventually(t, "log lines", func() bool { return seen.count("closure.log.account.bad at sequence 8") >= 2 })
			if f.Position() != 7 || len(got.sequences()) != 7 {
				t.Fatalf("position %d, handled %v; want to stay at 7", f.Position(), got.sequences())
			}
		})
	}
}
