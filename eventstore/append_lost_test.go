package eventstore_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
)

// lossy is a log behind a proxy, and the same log without it.
type lossy struct {
	proxy  *proxy
	log    *eventstore.Log // behind the proxy
	direct *eventstore.Log
}

// servers that a test can run on.
type servers struct {
	url      string
	replicas int
}

// onBoth runs a test on one server, and on the cluster.
func onBoth(t *testing.T, test func(*testing.T, servers)) {
	t.Parallel()
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		test(t, servers{url: embeddedtest.Server(t).ClientURL(), replicas: 1})
	})
	t.Run("a cluster", func(t *testing.T) {
		t.Parallel()
		test(t, servers{url: shared.get(t).MemberURL(0), replicas: 3})
	})
}

// open the log, with nothing in between.
func (s servers) open(t testing.TB) *eventstore.Log {
	t.Helper()
	return openLogOn(t, embeddedtest.ConnectURL(t, s.url), eventstore.Config{Replicas: s.replicas, AppendTimeout: patience})
}

func newLossy(t testing.TB, s servers, direct *eventstore.Log, cfg eventstore.Config) lossy {
	t.Helper()
	p := newProxy(t, s.url)
	cfg.Replicas = s.replicas
	// Past the proxy the client would lose nothing.
	nc := embeddedtest.ConnectURL(t, p.url(), nats.IgnoreDiscoveredServers(),
		nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	return lossy{proxy: p, log: openLogOn(t, nc, cfg), direct: direct}
}

// seen gets a signal when a commit of the account reaches the server.
func (l lossy) seen(t testing.TB, id string) <-chan *nats.Msg {
	t.Helper()
	c := make(chan *nats.Msg, 1000)
	_, err := l.direct.Conn().ChanSubscribe(eventstore.LogSubject("account", id), c)
	require.NoError(t, err)
	require.NoError(t, l.direct.Conn().Flush())
	return c
}

// The connection does not come back in time: the outcome is unknown, and says so.
// The same append later finds out, and stores nothing twice.
func TestAppendThatIsUnknownCanBeRepeated(t *testing.T) {
	onBoth(t, func(t *testing.T, servers servers) {
		l := newLossy(t, servers, servers.open(t), eventstore.Config{AppendTimeout: 500 * time.Millisecond})
		id := uuid.NewString()
		seen := l.seen(t, id)
		c := commitOf("account", id)
		l.proxy.loseAnswers.Store(true)
		begin := time.Now()
		_, err := l.log.Append(testContext(t), c, eventstore.Head{})
		require.ErrorIs(t, err, eventstore.ErrUnavailable)
		require.Less(t, time.Since(begin), 2*time.Second, "the bound of the append is 500ms")
		receive(t, seen, "commit at the server")
		l.proxy.heal()
		rec, err := l.log.Append(testContext(t), c, eventstore.Head{})
		require.NoError(t, err)
		stored, err := l.direct.LoadFromLeader(testContext(t), "account", id, 0)
		require.NoError(t, err)
		require.Equal(t, []eventstore.Recorded{rec}, stored)
	})
}

// While the connection is cut and loses answers again and again, every append that
// is repeated until it is known has its commit in the log exactly once.
func TestAppendIsExactlyOnceOverABadConnection(t *testing.T) {
	onBoth(t, badConnection)
}

func badConnection(t *testing.T, servers servers) {
	l := newLossy(t, servers, servers.open(t), eventstore.Config{AppendTimeout: 250 * time.Millisecond})
	over := make(chan struct{})
	go l.proxy.trouble(45, over)

	const writers = 8
	var unknown atomic.Int32
	var all sync.WaitGroup
	ids, commits := make([]string, writers), make([][]eventstore.Commit, writers)
	for w := range writers {
		ids[w] = uuid.NewString()
		all.Go(func() {
			for head := (eventstore.Head{}); !isClosed(over); {
				c := commitOf("account", ids[w])
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
		stored, err := l.direct.LoadFromLeader(testContext(t), "account", ids[w], 0)
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
