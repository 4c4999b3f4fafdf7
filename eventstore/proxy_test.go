package eventstore_test

import (
	"bufio"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a client and a server, and can lose what is said.
type proxy struct {
	target       string
	listener     net.Listener
	loseRequests atomic.Bool // whatever the client says to the server
	loseAnswers  atomic.Bool // whatever the server says to the client
	requests     losses
	answers      losses

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// losses of single messages in one direction.
type losses struct {
	mu     sync.Mutex
	way    way
	at     []int  // which messages, from 1
	onLoss func() // called at the first one, before anything else passes in this direction
	passed int    // messages that came by
	lost   int
}

// way in which a message gets lost.
type way string

const (
	dropped way = "dropped" // the connection goes on without it
	cut     way = "cut"     // the connection ends before it
	torn    way = "torn"    // the connection ends in the middle of it
	late    way = "late"    // it comes behind the message that follows on it, if ever
)

// ways are all of them; with -short, under the race detector, those two that differ most.
func ways() []way {
	if testing.Short() {
		return []way{dropped, torn}
	}
	return []way{dropped, cut, torn, late}
}

// plan to lose messages; the counts begin anew.
func (l *losses) plan(w way, onLoss func(), at ...int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.way, l.at, l.onLoss, l.passed, l.lost = w, at, onLoss, 0, 0
}

func (l *losses) counts() (passed, lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passed, l.lost
}

// next message: which way it gets lost, or "".
func (l *losses) next() way {
	l.mu.Lock()
	l.passed++
	if !slices.Contains(l.at, l.passed) {
		l.mu.Unlock()
		return ""
	}
	l.lost++
	w, onLoss := l.way, l.onLoss
	l.onLoss = nil
	l.mu.Unlock()
	if onLoss != nil {
		onLoss()
	}
	return w
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: strings.TrimPrefix(target, "nats://"), listener: l, conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the proxy: %v", err)
		}
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() { pipe(server, client, &p.loseRequests, &p.requests) })
		p.wg.Go(func() { pipe(client, server, &p.loseAnswers, &p.answers) })
	}
}

// pipe copies what is said, or loses it.
func pipe(to, from net.Conn, loseAll *atomic.Bool, some *losses) {
	defer to.Close()
	defer from.Close()
	var held []byte // comes behind the next message
	for in := bufio.NewReaderSize(from, 64<<10); ; {
		said, message, err := readOp(in)
		if err != nil {
			return
		}
		if loseAll.Load() {
			continue
		}
		var w way
		if message {
			w = some.next()
		}
		switch {
		case w == dropped:
			continue
		case w == late:
			held = append(held, said...)
			continue
		case w == cut:
			return
		case w == torn:
			_, _ = to.Write(said[:len(said)/2]) // the connection ends either way
			return
		case message:
			said, held = append(said, held...), nil
		}
		if _, err := to.Write(said); err != nil {
			return
		}
	}
}

// readOp reads one operation of the NATS protocol with what belongs to it, and tells
// whether it is a message. One that ends early is an error.
func readOp(in *bufio.Reader) (said []byte, message bool, err error) {
	said, err = in.ReadBytes('\n')
	if err != nil {
		return nil, false, err
	}
	words := strings.Fields(string(said))
	if len(words) == 0 || !slices.Contains([]string{"PUB", "HPUB", "MSG", "HMSG"}, words[0]) {
		return said, false, nil
	}
	size, err := strconv.Atoi(words[len(words)-1])
	if err != nil {
		return nil, false, err
	}
	body := make([]byte, size+len("\r\n"))
	_, err = io.ReadFull(in, body)
	return append(said, body...), true, err
}

// cut all connections; new ones are taken.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
		delete(p.conns, c)
	}
}

// heal lets everything pass again. Connections that have lost bytes are of no use
// any more, and are cut.
func (p *proxy) heal() {
	p.loseRequests.Store(false)
	p.loseAnswers.Store(false)
	p.cut()
}
