package endpoint_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"closure/projections/webhooks/endpoint"
)

// TestConnectionsAreReused: many posts one after the other take one connection, whatever the statuses are.
func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, _ int, change func(*httptest.Server)) {
		r := newRig(t)
		n := 0
		target := r.serve(t, "hooks.example.com", func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			n++
			w.WriteHeader([]int{200, 204, 500, 404, 302}[n%5])
			if n%5 != 1 {
				_, _ = fmt.Fprintf(w, "answer %d", n)
			}
		}, change)
		s := r.sender(t, within(nil))
		for range 200 {
			require.NotZero(t, s.Post(testContext(t), endpoint.Request{URL: target.url, Body: []byte("{}")}).Status)
		}
		require.EqualValues(t, 200, target.requests.Load())
		require.EqualValues(t, 1, target.connections.Load())
		require.Len(t, r.permits, 1)
		// HTTP/2 tidies a stream up after its answer was read: until then its connection is not idle, and Close leaves it.
		for ctx := testContext(t); target.connections.Load() == 1; {
			s.Close()
			require.NotZero(t, s.Post(ctx, endpoint.Request{URL: target.url}).Status)
		}
	})
}

// TestHangingNeighbours: subscriptions may share a host. The requests to it that hang take nothing away from the others.
func TestHangingNeighbours(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, _ int, change func(*httptest.Server)) {
		const hanging = 120
		r := newRig(t)
		arrived := make(chan struct{}, hanging)
		target := r.serve(t, "hooks.example.com", func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			if req.URL.Path == "/hang" {
				arrived <- struct{}{}
				<-req.Context().Done()
			}
		}, func(s *httptest.Server) {
			if change != nil {
				change(s)
			}
			s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 25}
		})
		s := r.sender(t, within(nil))
		ctx, cancel := context.WithCancel(testContext(t))
		var wg sync.WaitGroup
		for range hanging {
			wg.Go(func() {
				out := s.Post(ctx, endpoint.Request{URL: target.at("/hang")})
				if out.Failure != endpoint.Cancelled {
					t.Errorf("%s: %v", out.Failure, out.Err)
				}
			})
		}
		for range hanging { // all of them are under way at once
			select {
			case <-arrived:
			case <-ctx.Done():
				t.Fatal("some of the requests have to wait for others")
			}
		}
		for range 20 {
			out := s.Post(testContext(t), endpoint.Request{URL: target.url})
			require.Empty(t, out.Failure, out.Err)
		}
		cancel()
		wg.Wait()
	})
}

// TestLimitsOfHTTP2: what the sender allows an endpoint to send before it is read, as its side of the protocol says it.
func TestLimitsOfHTTP2(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.zone.set("raw.example.com", "127.0.0.1")
	cert := r.ca.certificate(t, "raw.example.com")
	settings := make(chan map[http2.SettingID]uint32, 1)
	address := listen(t, func(conn net.Conn, _ <-chan struct{}) {
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
		if _, err := io.ReadFull(secure, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		frame, err := http2.NewFramer(secure, secure).ReadFrame()
		if err != nil {
			return
		}
		said := map[http2.SettingID]uint32{}
		_ = frame.(*http2.SettingsFrame).ForeachSetting(func(s http2.Setting) error {
			said[s.ID] = s.Val
			return nil
		})
		settings <- said
		_ = secure.Close()
	})
	r.setPublic(address, true)
	out := r.sender(t, within(nil)).Post(testContext(t), endpoint.Request{URL: "https://raw.example.com:" + portOf(address)})
	require.Equal(t, endpoint.Reset, out.Failure, out.Err)
	said := <-settings
	require.EqualValues(t, 64<<10, said[http2.SettingInitialWindowSize])
	require.InDelta(t, 64<<10, said[http2.SettingMaxHeaderListSize], 1<<10)
}

// TestDeadConnection: behind a shared connection of HTTP/2 the network goes silent. The requests after that time out, but
// not for long: a ping finds out, and the next request gets a new connection.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	target := r.serve(t, "hooks.example.com", ok, withHTTP2)
	cut := make(chan struct{})
	first := make(chan struct{}, 1)
	first <- struct{}{}
	address := listen(t, func(conn net.Conn, done <-chan struct{}) {
		var dead <-chan struct{} // only the first connection dies
		select {
		case <-first:
			dead = cut
		default:
		}
		relay(conn, target.address, dead, done)
	})
	r.setPublic(address, true)
	url := "https://hooks.example.com:" + portOf(address)
	s := r.sender(t, endpoint.Timeouts{Connect: 500 * time.Millisecond, Header: 500 * time.Millisecond, Whole: patience})
	require.Empty(t, s.Post(testContext(t), endpoint.Request{URL: url}).Failure)
	close(cut)
	for failed := 0; ; failed++ {
		out := s.Post(testContext(t), endpoint.Request{URL: url})
		if out.Failure == "" {
			require.Positive(t, failed, "the connection was dead")
			return
		}
		require.Less(t, failed, 20, "%s: %v", out.Failure, out.Err)
	}
}

// relay copies both ways until the end; once dead is closed it takes what comes, and passes nothing on.
func relay(conn net.Conn, to string, dead, done <-chan struct{}) {
	back, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	pass := func(into, from net.Conn) {
		buf := make([]byte, 4096)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-dead:
				continue
			default:
			}
			if _, err := into.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	ended := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{conn, back}, {back, conn}} {
		wg.Go(func() { pass(pair[0], pair[1]); ended <- struct{}{} })
	}
	select {
	case <-ended:
	case <-done:
	}
	_, _ = conn.Close(), back.Close()
	wg.Wait()
}
