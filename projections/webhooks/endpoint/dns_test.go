package endpoint_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// zone is a DNS server with the names of a test. What it does not know does not exist.
type zone struct {
	mu      sync.Mutex
	answers map[string][][]netip.Addr // by name: what the 1st, 2nd, … resolution gives; the last one stays
	asked   map[string]int            // A questions, of which each resolution asks one
	broken  map[string]bool           // gives SERVFAIL
	addr    string
}

func newZone(t testing.TB) *zone {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	z := &zone{
		answers: map[string][][]netip.Addr{}, asked: map[string]int{}, broken: map[string]bool{},
		addr: conn.LocalAddr().String(),
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := z.reply(buf[:n]); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	})
	t.Cleanup(func() { _ = conn.Close(); wg.Wait() })
	return z
}

// resolver asks this server, whichever one the machine has.
func (z *zone) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", z.addr)
	}}
}

// set says what the resolutions of a name give, one list of addresses for each.
func (z *zone) set(name string, resolutions ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, list := range resolutions {
		var addrs []netip.Addr
		for _, a := range strings.Fields(list) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		z.answers[name] = append(z.answers[name], addrs)
	}
}

// reply to a message; nil for none.
func (z *zone) reply(query []byte) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	addrs, code := z.lookUp(strings.TrimSuffix(strings.ToLower(q.Name.String()), "."), q.Type)
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: head.ID, Response: true, RecursionAvailable: true, RCode: code})
	_ = b.StartQuestions()
	_ = b.Question(q)
	_ = b.StartAnswers()
	for _, a := range addrs {
		h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		if q.Type == dnsmessage.TypeA {
			_ = b.AResource(h, dnsmessage.AResource{A: a.As4()})
		} else {
			_ = b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	out, err := b.Finish()
	if err != nil {
		return nil
	}
	return out
}

// lookUp gives the addresses of the kind that is asked for. A mapped address is an IPv6 one.
func (z *zone) lookUp(name string, kind dnsmessage.Type) ([]netip.Addr, dnsmessage.RCode) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.broken[name] {
		return nil, dnsmessage.RCodeServerFailure
	}
	lists := z.answers[name]
	if len(lists) == 0 {
		return nil, dnsmessage.RCodeNameError
	}
	if kind == dnsmessage.TypeA {
		z.asked[name]++
	}
	var out []netip.Addr
	for _, a := range lists[min(max(z.asked[name], 1), len(lists))-1] {
		if a.Is4() && kind == dnsmessage.TypeA || a.Is6() && kind == dnsmessage.TypeAAAA {
			out = append(out, a)
		}
	}
	return out, dnsmessage.RCodeSuccess
}
