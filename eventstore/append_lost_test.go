package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
)

// lossy is a log behind a proxy, and the same log without it.
type lossy struct {
	proxy  *proxy
	log    *eventstore.Log // behind the proxy
	direct *eventstore.Log
}

func newLossy(t testing.TB, cfg eventstore.Config) lossy {
	t.Helper()
	s := embeddedtest.Server(t)
	p := newProxy(t, s.ClientURL())
	direct := openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{})
	nc := embeddedtest.ConnectURL(t, p.url(), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	return lossy{proxy: p, log: openLogOn(t, nc, cfg), direct: direct}
}

// seen gets a signal for each commit that reaches the server.
func (l lossy) seen(t testing.TB) <-chan *nats.Msg {
	t.Helper()
	c := make(chan *nats.Msg, 1000)
	if _, err := l.direct.Conn().ChanSubscribe(eventstore.LogSubjects, c); err != nil {
		t.Fatal(err)
	}
	if err := l.direct.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	return c
}

// count how often the commit is in the log.
func (l lossy) count(t testing.TB, c eventstore.Commit) int {
	t.Helper()
	all, err := l.direct.LoadFromLeader(testContext(t), c.Aggregate, c.AggregateID, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range all {
		if r.ID == c.ID {
			n++
		}
	}
	return n
}

type appended struct {
	rec eventstore.Recorded
	err error
}

func appendLater(ctx context.Context, l *eventstore.Log, c eventstore.Commit, head eventstore.Head) <-chan appended {
	done := make(chan appended, 1)
	go func() {
		rec, err := l.Append(ctx, c, head)
		done <- appended{rec, err}
	}()
	return done
}

// The commit is stored, its acknowledgement gets lost, the connection comes back:
// the append is a success, and the commit is there once.
func TestAppendSurvivesALostAcknowledgement(t *testing.T) {
	t.Parallel()
	l := newLossy(t, eventstore.Config{})
	first := newWriter(t, l.log).append("account", "a")
	seen := l.seen(t)
	c := commitOf("account", "a")

	l.proxy.loseAnswers.Store(true)
	done := appendLater(testContext(t), l.log, c, first.Head())
	receive(t, seen, "commit at the server")
	// Somebody else goes on from there, so the last commit is not ours any more.
	mine := loadUntil(t, l.direct, 2)[1]
	w := newWriter(t, l.direct)
	w.heads[eventstore.LogSubject("account", "a")] = mine.Head()
	w.append("account", "a")
	l.proxy.heal()

	got := receive(t, done, "end of the append")
	if got.err != nil {
		t.Fatalf("append: %v", got.err)
	}
	if got.rec.ID != c.ID || got.rec.Sequence != mine.Sequence || got.rec.Hash != mine.Hash || got.rec.Version != 2 {
		t.Fatalf("append returned %+v, in the log is %+v", got.rec, mine)
	}
	if n := l.count(t, c); n != 1 {
		t.Fatalf("the commit is in the log %d times", n)
	}
}

// loadUntil waits until the aggregate account/a has n commits.
func loadUntil(t testing.TB, l *eventstore.Log, n int) []eventstore.Recorded {
	t.Helper()
	var all []eventstore.Recorded
	eventually(t, fmt.Sprintf("%d commits", n), func() bool {
		var err error
		all, err = l.LoadFromLeader(testContext(t), "account", "a", 0)
		return err == nil && len(all) >= n
	})
	return all
}

// The commit itself gets lost: it is sent again, and stored once.
func TestAppendSurvivesALostRequest(t *testing.T) {
	t.Parallel()
	l := newLossy(t, eventstore.Config{})
	c := commitOf("account", "a")
	l.proxy.loseRequests.Store(true)
	done := appendLater(testContext(t), l.log, c, eventstore.Head{})
	// The first publish is lost once its bytes are read, which nothing shows; a
	// flush that gets no answer was sent after them.
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := l.log.Conn().FlushWithContext(ctx); err == nil {
		t.Fatal("the proxy lets requests pass")
	}
	l.proxy.heal()
	if got := receive(t, done, "end of the append"); got.err != nil {
		t.Fatalf("append: %v", got.err)
	}
	if n := l.count(t, c); n != 1 {
		t.Fatalf("the commit is in the log %d times", n)
	}
}

// The connection does not come back in time: the outcome is unknown, and says so.
// The same append later finds out, and stores nothing twice.
func TestAppendThatIsUnknownCanBeRepeated(t *testing.T) {
	t.Parallel()
	l := newLossy(t, eventstore.Config{AppendTimeout: 500 * time.Millisecond})
	seen := l.seen(t)
	c := commitOf("account", "a")
	l.proxy.loseAnswers.Store(true)
	begin := time.Now()
	_, err := l.log.Append(testContext(t), c, eventstore.Head{})
	mustBe(t, err, eventstore.ErrUnavailable)
	if took := time.Since(begin); took > 2*time.Second {
		t.Fatalf("the append gave up after %s, its bound is 500ms", took)
	}
	receive(t, seen, "commit at the server")
	l.proxy.heal()
	rec, err := l.log.Append(testContext(t), c, eventstore.Head{})
	if err != nil || rec.Sequence != 1 {
		t.Fatalf("repeated: %+v, %v; want sequence 1", rec, err)
	}
	if n := l.count(t, c); n != 1 {
		t.Fatalf("the commit is in the log %d times", n)
	}
}

// While the connection is cut and loses answers again and again, every append that
// is repeated until it is known has its commit in the log exactly once.
func TestAppendIsExactlyOnceOverABadConnection(t *testing.T) {
	t.Parallel()
	l := newLossy(t, eventstore.Config{AppendTimeout: 250 * time.Millisecond})
	over := make(chan struct{})
	go l.proxy.trouble(60, over)

	const writers = 8
	var unknown atomic.Int32
	var all sync.WaitGroup
	commits := make([][]eventstore.Commit, writers)
	for w := range writers {
		all.Go(func() {
			for head := (eventstore.Head{}); !isClosed(over); {
				c := commitOf("account", fmt.Sprintf("a%d", w))
				commits[w] = append(commits[w], c)
				rec, err := l.log.Append(testContext(t), c, head)
				for errors.Is(err, eventstore.ErrUnavailable) {
					unknown.Add(1)
					rec, err = l.log.Append(testContext(t), c, head)
				}
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				head = rec.Head()
			}
		})
	}
	all.Wait()
	if unknown.Load() == 0 {
		t.Error("the connection was too good: every append had its answer")
	}
	for w, cs := range commits {
		stored, err := l.direct.Load(testContext(t), "account", fmt.Sprintf("a%d", w), 0)
		if err != nil || len(stored) != len(cs) {
			t.Fatalf("writer %d: %d commits, %v; want %d", w, len(stored), err, len(cs))
		}
		for i, c := range cs {
			if stored[i].ID != c.ID {
				t.Fatalf("writer %d: commit %d is %s, want %s", w, i, stored[i].ID, c.ID)
			}
		}
	}
}

// trouble makes a bad connection for a number of moments, and a good one at the end.
func (p *proxy) trouble(moments int, over chan<- struct{}) {
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	for i := range moments {
		<-tick.C
		// Most of the time it is bad: longer than an append may take.
		switch i % 15 {
		case 0:
			p.loseAnswers.Store(true)
		case 7:
			p.loseRequests.Store(true)
		case 10:
			p.heal()
		}
	}
	p.heal()
	close(over)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
