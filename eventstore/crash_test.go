package eventstore_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
)

// crashDir in the environment makes TestCrashingEngine the program that is killed.
const crashDir = "CLOSURE_TEST_CRASH_DIR"

// TestCrashingEngine is run by TestProgressAfterAKill in a process of its own. There
// it appends and follows, and says on its output what it has done, until it is
// killed. Among the other tests it has nothing to do.
func TestCrashingEngine(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		return
	}
	go func() {
		// The other process is gone: nobody is left to kill this one.
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	s, err := embedded.Start(embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	l := openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{})
	startFollower(t, l, eventstore.FollowerConfig{Name: "crash", MaxBatch: 5, Handle: func(ctx context.Context, commits []eventstore.Recorded) error {
		if commits[len(commits)-1].Sequence > 60 {
			<-ctx.Done() // has these in hand when the end comes
			return ctx.Err()
		}
		fmt.Println("handled", commits[len(commits)-1].Sequence)
		return nil
	}})
	w := newWriter(t, l)
	var stored time.Time
	for ready := false; ; {
		rec := w.append("account", fmt.Sprintf("a%d", len(w.all)%10))
		fmt.Println("appended", rec.Sequence)
		c, err := l.JetStream().Consumer(context.Background(), eventstore.StreamLog, "crash")
		if err != nil {
			t.Fatal(err)
		}
		// The server writes the state of a consumer every 100 ms.
		if floor := c.CachedInfo().AckFloor.Stream; floor >= 50 && stored.IsZero() {
			stored = time.Now()
		}
		if !ready && !stored.IsZero() && time.Since(stored) > 300*time.Millisecond {
			ready = true
			fmt.Println("ready", rec.Sequence)
		}
	}
}

// After SIGKILL, a restart on the same folder has every commit that was
// acknowledged, and the follower goes on within seconds, from about where it was,
// and leaves nothing out.
func TestProgressAfterAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	said := runUntilReady(t, dir)
	begin := time.Now()
	s, err := embedded.Start(embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	l := openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{})
	got := &collector{}
	f := startFollower(t, l, eventstore.FollowerConfig{Name: "crash", Handle: got.handle})
	waitFor(t, f, said["appended"])
	took := time.Since(begin)
	seqs := got.sequences()
	t.Logf("handled up to %d of %d before the kill; after it began at %d, done after %s",
		said["handled"], said["appended"], seqs[0], took)
	// One batch may have been handled without a word.
	if seqs[0] < 51 || seqs[0] > said["handled"]+6 {
		t.Fatalf("began at %d; at least 50 was stored, and %d the last one handled", seqs[0], said["handled"])
	}
	mustRun(t, seqs[:said["appended"]-seqs[0]+1], seqs[0], said["appended"])
	if took > 8*time.Second {
		t.Fatalf("it took %s, want a few seconds", took)
	}
}

// runUntilReady runs TestCrashingEngine, kills it, and returns the last number of each
// thing that it said.
func runUntilReady(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashingEngine$")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // closed when this process ends
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := map[string]uint64{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		what, number, _ := strings.Cut(lines.Text(), " ")
		var n uint64
		if _, err := fmt.Sscan(number, &n); err != nil {
			continue // the kill cut the line, or it is not ours
		}
		said[what] = max(said[what], n)
		if what == "ready" {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || said["ready"] == 0 {
		t.Fatalf("the process ended by itself: %v, %v", said, err)
	}
	return said
}
