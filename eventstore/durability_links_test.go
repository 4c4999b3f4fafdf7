package eventstore_test

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
)

// link is a cable to an address. While it is down, connections stay open and new ones are taken, but nothing passes, and
// nobody is told.
type link struct {
	target   string
	listener net.Listener
	down     atomic.Bool
	lost     atomic.Int64 // bytes

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

func newLink(t testing.TB, target string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &link{target: target, listener: listener, conns: map[net.Conn]struct{}{}}
	l.wg.Go(l.accept)
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		l.hangUp()
		l.wg.Wait()
	})
	return l
}

func (l *link) addr() string { return l.listener.Addr().String() }

func (l *link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.target)
		if err != nil {
			near.Close()
			continue
		}
		l.mu.Lock()
		l.conns[near], l.conns[far] = struct{}{}, struct{}{}
		l.mu.Unlock()
		l.wg.Go(func() { l.carry(far, near) })
		l.wg.Go(func() { l.carry(near, far) })
	}
}

// carry copies what is said. A connection that has lost something carries nothing any more: a stream has no holes.
func (l *link) carry(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for torn := false; ; {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if torn = torn || l.down.Load(); torn {
			l.lost.Add(int64(n))
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// hangUp ends all connections; new ones are taken.
func (l *link) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
		delete(l.conns, c)
	}
}

// heal lets new connections pass, and ends those of before.
func (l *link) heal() {
	l.down.Store(false)
	l.hangUp()
}

// network is a cluster of three whose members reach each other, and are reached by clients, over links.
type network struct {
	*embedded.Cluster
	t       testing.TB
	dir     string
	between map[[2]int]*link // from one to another
	clients []*link
}

func newNetwork(t testing.TB) *network {
	t.Helper()
	n := &network{t: t, dir: t.TempDir(), between: map[[2]int]*link{}}
	c, err := embedded.StartClusterVia(3, n.dir, func(from, to int, addr string) (string, error) {
		l := newLink(t, addr)
		n.between[[2]int{from, to}] = l
		return l.addr(), nil
	})
	require.NoError(t, err)
	t.Cleanup(c.Shutdown)
	n.Cluster = c
	for i := range 3 {
		n.clients = append(n.clients, newLink(t, strings.TrimPrefix(c.MemberURL(i), "nats://")))
	}
	return n
}

// around gives all links of one member.
func (n *network) around(member int) []*link {
	links := []*link{n.clients[member]}
	for ends, l := range n.between {
		if ends[0] == member || ends[1] == member {
			links = append(links, l)
		}
	}
	return links
}

// cut one member off from the others and from the clients. It notices nothing but silence.
func (n *network) cut(member int) {
	for _, l := range n.around(member) {
		l.down.Store(true)
	}
}

// heal what was cut, and tell how much got lost.
func (n *network) heal(member int) (bytes int64) {
	for _, l := range n.around(member) {
		l.heal()
		bytes += l.lost.Load()
	}
	return bytes
}

// openLog opens the log by way of the links. The client begins at one member, and goes to the others when that is silent.
func (n *network) openLog(member int, timeout time.Duration) *eventstore.Log {
	n.t.Helper()
	var urls []string
	for i := range n.clients {
		urls = append(urls, n.clients[(member+i)%len(n.clients)].addr())
	}
	nc := embeddedtest.ConnectURL(n.t, strings.Join(urls, ","), nats.DontRandomize(), nats.IgnoreDiscoveredServers(),
		nats.Timeout(500*time.Millisecond), nats.PingInterval(500*time.Millisecond), nats.MaxPingsOutstanding(2),
		nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0), quiet)
	return openLogOn(n.t, nc, eventstore.Config{Replicas: 3, AppendTimeout: timeout})
}
