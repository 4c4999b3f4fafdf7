package embedded

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const clusterReadyWithin = 60 * time.Second

// Cluster is a number of servers in this process, joined by real routes over
// loopback. It is for tests: servers in one process share its fate.
type Cluster struct {
	mu      sync.Mutex
	members []*member
}

type member struct {
	cfg    Config
	route  string   // host:port that it listens on for the others
	routes []string // where it reaches all members
	// advertise is the address at which the others tell each other to reach it. Defaults to route.
	advertise string
	name      string
	server    *Server // nil while it is stopped
}

// StartCluster starts n servers with folders of their own in dir, and returns when
// they have elected a leader and are up to date with it. They sync always.
func StartCluster(n int, dir string) (*Cluster, error) { return StartClusterVia(n, dir, nil) }

// StartClusterWith is StartCluster with what the members have in common: the rest of a configuration but Addr and Dir.
func StartClusterWith(n int, dir string, common Config) (*Cluster, error) {
	return startAnywhere(n, dir, common, nil)
}

// Via gives the address at which member from connects to member to, both from 0, which listens on addr for the others. So a
// test can put something between each two of them, and take it away.
type Via func(from, to int, addr string) (string, error)

// nowhere is an address that nobody listens on.
const nowhere = "127.0.0.1:1"

// StartClusterVia is StartCluster where the members reach each other by via only. A nil via leaves them to themselves.
func StartClusterVia(n int, dir string, via Via) (*Cluster, error) {
	return startAnywhere(n, dir, Config{}, via)
}

// startAnywhere finds addresses for the members.
func startAnywhere(n int, dir string, common Config, via Via) (*Cluster, error) {
	for left := 2; ; left-- {
		c, err := startCluster(n, dir, common, via)
		// An address that was free is in use: somebody else took it, or a process that was just forked has not yet let go
		// of what this one had open. Then others are as good; via is asked again.
		if left == 0 || !errors.Is(err, ErrAddrInUse) {
			return c, err
		}
	}
}

func startCluster(n int, dir string, common Config, via Via) (*Cluster, error) {
	c, err := newCluster(n, dir, common, via)
	if err != nil {
		return nil, err
	}
	for i := range c.members {
		if err := c.startMember(i); err != nil {
			c.Shutdown()
			return nil, err
		}
	}
	if err := c.WaitReady(clusterReadyWithin); err != nil {
		c.Shutdown()
		return nil, err
	}
	return c, nil
}

func newCluster(n int, dir string, common Config, via Via) (*Cluster, error) {
	if n < 1 {
		return nil, fmt.Errorf("embedded cluster: %d servers", n)
	}
	clients, routes, err := freeAddrs(n)
	if err != nil {
		return nil, err
	}
	c := &Cluster{}
	for i := range n {
		name := fmt.Sprintf("s%d", i+1)
		cfg := common
		// A member comes back on the address it had: clients know it.
		cfg.Addr, cfg.Dir = clients[i], filepath.Join(dir, name)
		m := &member{
			cfg:    cfg,
			route:  routes[i],
			routes: routes,
			name:   name,
		}
		if via != nil {
			if err := m.reachBy(via, i, routes); err != nil {
				return nil, err
			}
		}
		c.members = append(c.members, m)
	}
	return c, nil
}

// reachBy makes the member connect to the others by via. Members also tell each other of members, and connect to those by
// themselves: past via, if it were not for an address that leads nowhere.
func (m *member) reachBy(via Via, self int, routes []string) error {
	m.advertise, m.routes = nowhere, nil
	for to, addr := range routes {
		if to == self {
			continue
		}
		between, err := via(self, to, addr)
		if err != nil {
			return fmt.Errorf("embedded cluster: from member %d to %d: %w", self, to, err)
		}
		m.routes = append(m.routes, between)
	}
	return nil
}

// Ports of a cluster are drawn from below those that the system gives to whoever asks for any: a port that was let go
// would else be taken by a connection before the server listens on it.
const (
	firstPort = 20_000
	endPort   = 32_000
)

// freeAddrs reserves addresses by listening on all of them at once, so that they
// differ, and lets them go.
func freeAddrs(n int) (clients, routes []string, err error) {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			err = errors.Join(err, l.Close())
		}
	}()
	for i := range 2 * n {
		l, err := listenAnywhere()
		if err != nil {
			return nil, nil, fmt.Errorf("embedded cluster: %w", err)
		}
		listeners = append(listeners, l)
		if i < n {
			clients = append(clients, l.Addr().String())
		} else {
			routes = append(routes, l.Addr().String())
		}
	}
	return clients, routes, nil
}

// listenAnywhere listens on a free port of the range.
func listenAnywhere() (l net.Listener, err error) {
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(endPort-firstPort)))
		if l, err = net.Listen("tcp", addr); err == nil {
			return l, nil
		}
	}
	return nil, err
}

func (c *Cluster) startMember(i int) error {
	m := c.members[i]
	opts, err := m.cfg.options()
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(m.route)
	if err != nil {
		return fmt.Errorf("embedded cluster: %w", err)
	}
	opts.ServerName = m.name
	opts.Cluster.Name = "closure"
	opts.Cluster.Host = host
	opts.Cluster.Advertise = m.advertise
	if _, err := fmt.Sscan(port, &opts.Cluster.Port); err != nil {
		return fmt.Errorf("embedded cluster: route port %q: %w", port, err)
	}
	urls := make([]string, len(m.routes))
	for k, r := range m.routes {
		urls[k] = "nats://" + r
	}
	opts.Routes = server.RoutesFromStr(strings.Join(urls, ","))
	s, err := start(m.cfg, opts)
	if err != nil {
		return err
	}
	m.server = s
	return nil
}

// ClientURL names all members, separated by commas, as nats.Connect takes it.
func (c *Cluster) ClientURL() string {
	urls := make([]string, len(c.members))
	for i, m := range c.members {
		urls[i] = "nats://" + m.cfg.Addr
	}
	return strings.Join(urls, ",")
}

// MemberURL is the URL of one member, from 0.
func (c *Cluster) MemberURL(i int) string { return "nats://" + c.members[i].cfg.Addr }

// MemberName is the server name of one member, as stream and consumer
// information shows it.
func (c *Cluster) MemberName(i int) string { return c.members[i].name }

// Stop one member, from 0. Stopping a stopped one does nothing.
func (c *Cluster) Stop(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.members[i].server; s != nil {
		c.members[i].server = nil
		s.Shutdown()
	}
}

// Restart a stopped member on its folder and its addresses.
func (c *Cluster) Restart(i int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.members[i].server != nil {
		return fmt.Errorf("embedded cluster: %s is running", c.members[i].name)
	}
	return c.startMember(i)
}

// WaitReady returns when all running members are up to date with their leader.
func (c *Cluster) WaitReady(within time.Duration) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if c.ready() {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("embedded cluster: not ready within %s", within)
		}
	}
}

func (c *Cluster) ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	leaders := 0
	for _, m := range c.members {
		if m.server == nil {
			continue
		}
		if !m.server.nats.JetStreamIsCurrent() {
			return false
		}
		if m.server.nats.JetStreamIsLeader() {
			leaders++
		}
	}
	return leaders == 1
}

// Shutdown stops all members. It may be called more than once.
func (c *Cluster) Shutdown() {
	// All at once: one after the other, each would try to hand over its streams
	// to members that are about to stop too.
	var all sync.WaitGroup
	for i := range c.members {
		all.Go(func() {
			c.mu.Lock()
			s := c.members[i].server
			c.members[i].server = nil
			c.mu.Unlock()
			if s != nil {
				s.Shutdown()
			}
		})
	}
	all.Wait()
}
