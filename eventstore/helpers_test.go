package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/eventstoretest"
)

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

// testContext ends with the test, or when patience does.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// openLog gives a log on a server of its own.
func openLog(t testing.TB) *eventstore.Log {
	t.Helper()
	return openLogOn(t, embeddedtest.Connect(t, embeddedtest.Server(t)), eventstore.Config{})
}

func openLogOn(t testing.TB, nc *nats.Conn, cfg eventstore.Config) *eventstore.Log {
	t.Helper()
	l, err := eventstore.Open(testContext(t), nc, cfg)
	if err != nil {
		t.Fatalf("open the log: %v", err)
	}
	return l
}

// commitOf makes a commit of one event.
func commitOf(aggregate, id string) eventstore.Commit {
	return eventstoretest.CommitOf(aggregate, id)
}

// writer appends to many aggregates, and knows their heads.
type writer struct {
	t     testing.TB
	log   *eventstore.Log
	heads map[string]eventstore.Head
	all   []eventstore.Recorded
}

func newWriter(t testing.TB, l *eventstore.Log) *writer {
	return &writer{t: t, log: l, heads: map[string]eventstore.Head{}}
}

func (w *writer) append(aggregate, id string) eventstore.Recorded {
	w.t.Helper()
	key := eventstore.LogSubject(aggregate, id)
	rec, err := w.log.Append(testContext(w.t), commitOf(aggregate, id), w.heads[key])
	if err != nil {
		w.t.Fatalf("append: %v", err)
	}
	w.heads[key] = rec.Head()
	w.all = append(w.all, rec)
	return rec
}

// spread appends n commits over some accounts, one after the other.
func (w *writer) spread(n, accounts int) {
	w.t.Helper()
	for i := range n {
		w.append("account", fmt.Sprintf("a%d", i%accounts))
	}
}

// publishRaw writes to the log past this package, as nobody should.
func publishRaw(t testing.TB, l *eventstore.Log, subject string, body []byte, hash string) uint64 {
	t.Helper()
	msg := &nats.Msg{Subject: subject, Data: body, Header: nats.Header{}}
	if hash != "" {
		msg.Header.Set(eventstore.HeaderHash, hash)
	}
	ack, err := l.JetStream().PublishMsg(testContext(t), msg)
	if err != nil {
		t.Fatalf("publish to %s: %v", subject, err)
	}
	return ack.Sequence
}

// collector is a handler that keeps what it gets.
type collector struct {
	mu      sync.Mutex
	commits []eventstore.Recorded
	batches []int
}

func (c *collector) handle(_ context.Context, commits []eventstore.Recorded) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commits = append(c.commits, commits...)
	c.batches = append(c.batches, len(commits))
	return nil
}

func (c *collector) sequences() []uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]uint64, len(c.commits))
	for i, r := range c.commits {
		out[i] = r.Sequence
	}
	return out
}

// mustRun checks that the sequences are from, from+1, … to.
func mustRun(t testing.TB, got []uint64, from, to uint64) {
	t.Helper()
	if len(got) != int(to-from+1) {
		t.Fatalf("handled %d commits, want %d to %d: %v", len(got), from, to, shorten(got))
	}
	for i, seq := range got {
		if seq != from+uint64(i) {
			t.Fatalf("handled %d at place %d, want %d: %v", seq, i, from+uint64(i), shorten(got))
		}
	}
}

func shorten(s []uint64) []uint64 { return s[:min(len(s), 50)] }

// startFollower starts a follower that is stopped with the test.
func startFollower(t testing.TB, l *eventstore.Log, cfg eventstore.FollowerConfig) *eventstore.Follower {
	t.Helper()
	f := eventstore.NewFollower(l, cfg)
	if err := f.Start(testContext(t)); err != nil {
		t.Fatalf("start the follower: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := f.Stop(ctx); err != nil {
			t.Errorf("stop the follower: %v", err)
		}
	})
	return f
}

func waitFor(t testing.TB, f *eventstore.Follower, seq uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f.WaitFor(ctx, seq); err != nil {
		t.Fatal(err)
	}
}

// receive waits for a value.
func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	var v T
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("no %s within %s", what, patience)
	}
	return v
}

// mustBe checks the error of a call.
func mustBe(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got the error %v, want %v", err, want)
	}
}

// eventually checks a condition that nothing signals, again and again.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("no %s within %s", what, patience)
		}
	}
}

// logLines collects what is logged.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
	return len(line), nil
}

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logLines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}
