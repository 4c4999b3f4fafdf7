package eventstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
)

// Both kinds read the whole log in its order, what was there before the start and
// what comes after it.
func TestFollowerReadsInOrder(t *testing.T) {
	for _, name := range []string{"", "in-order"} {
		t.Run("name="+name, func(t *testing.T) {
			t.Parallel()
			l := openLog(t)
			w := newWriter(t, l)
			w.spread(300, 20)
			got := &collector{}
			f := startFollower(t, l, eventstore.FollowerConfig{Name: name, MaxBatch: 64, Handle: got.handle})
			waitFor(t, f, 300)
			w.spread(300, 20)
			waitFor(t, f, 600)
			mustRun(t, got.sequences(), 1, 600)
			for _, n := range got.batches {
				if n < 1 || n > 64 {
					t.Fatalf("a batch of %d commits, want 1 to 64", n)
				}
			}
			for i, r := range got.commits {
				if want := w.all[i]; r.ID != want.ID || r.Hash != want.Hash || r.Size != want.Size {
					t.Fatalf("commit %d is %+v, want %+v", i, r, want)
				}
			}
			if lag, err := f.Lag(testContext(t)); err != nil || lag != 0 {
				t.Fatalf("lag %d, %v; want 0", lag, err)
			}
		})
	}
}

// A handler that fails gets the same commits again, and nothing after them before.
func TestFollowerRetries(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	newWriter(t, l).spread(10, 2)
	var got collector
	var tries [][]uint64
	f := startFollower(t, l, eventstore.FollowerConfig{Name: "retry", MaxBatch: 4, Handle: func(ctx context.Context, commits []eventstore.Recorded) error {
		if commits[0].Sequence <= 5 && commits[len(commits)-1].Sequence >= 5 && len(tries) < 3 {
			var seqs []uint64
			for _, c := range commits {
				seqs = append(seqs, c.Sequence)
			}
			tries = append(tries, seqs)
			return errors.New("not now")
		}
		return got.handle(ctx, commits)
	}})
	waitFor(t, f, 10)
	mustRun(t, got.sequences(), 1, 10)
	if len(tries) != 3 {
		t.Fatalf("failed %d times, want 3", len(tries))
	}
	for _, seqs := range tries {
		mustRun(t, seqs, tries[0][0], tries[0][len(tries[0])-1])
	}
}

// A new follower of the same name goes on where the stopped one ended, at once.
func TestFollowerKeepsItsProgress(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	w := newWriter(t, l)
	w.spread(100, 7)
	for round := range uint64(3) {
		got := &collector{}
		f := startFollower(t, l, eventstore.FollowerConfig{Name: "progress", Handle: got.handle})
		begin := time.Now()
		waitFor(t, f, 100*(round+1))
		mustRun(t, got.sequences(), 100*round+1, 100*(round+1))
		if took := time.Since(begin); took > 2*time.Second {
			t.Fatalf("round %d: the handover took %s, as if the pin had to run out", round, took)
		}
		if err := f.Stop(testContext(t)); err != nil {
			t.Fatal(err)
		}
		w.spread(100, 7)
	}
}

// When the connection of the active instance is gone without a word, another one
// takes over, and begins no later than where the first one had ended.
func TestFollowerTakesOverAfterACrash(t *testing.T) {
	t.Parallel()
	s := embeddedtest.Server(t)
	l := openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{})
	w := newWriter(t, l)
	w.spread(100, 7)

	doomed := embeddedtest.Connect(t, s)
	first := &collector{}
	f1 := startFollower(t, openLogOn(t, doomed, eventstore.Config{}), eventstore.FollowerConfig{Name: "crash", Handle: first.handle})
	waitFor(t, f1, 100)
	second := &collector{}
	f2 := startFollower(t, l, eventstore.FollowerConfig{Name: "crash", Handle: second.handle})
	w.spread(50, 7)
	waitFor(t, f1, 150)
	doomed.Close()
	begin := time.Now()
	w.spread(50, 7)
	waitFor(t, f2, 200)
	t.Logf("taken over after %s", time.Since(begin))
	if took := time.Since(begin); took > 8*time.Second {
		t.Fatalf("the takeover took %s, want a few seconds", took)
	}
	got := second.sequences()
	if got[0] > 151 {
		t.Fatalf("the second instance began at %d, the first had handled up to 150 only", got[0])
	}
	mustRun(t, got, got[0], 200)
}
