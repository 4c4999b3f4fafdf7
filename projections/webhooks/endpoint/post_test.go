package endpoint_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/projections/webhooks/endpoint"
)

// bothProtocols runs a test with a receiver of HTTP/1.1 and one of HTTP/2.
func bothProtocols(t *testing.T, run func(t *testing.T, protocol int, change func(*httptest.Server))) {
	t.Run("HTTP1", func(t *testing.T) { t.Parallel(); run(t, 1, nil) })
	t.Run("HTTP2", func(t *testing.T) { t.Parallel(); run(t, 2, withHTTP2) })
}

func TestRequestAsItArrives(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, protocol int, change func(*httptest.Server)) {
		r := newRig(t)
		type arrived struct {
			method, uri, host string
			protocol          int
			length            int64
			header            http.Header
			body              []byte
		}
		got := make(chan arrived, 1)
		target := r.serve(t, "hooks.example.com", func(w http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body)
			got <- arrived{req.Method, req.URL.RequestURI(), req.Host, req.ProtoMajor, req.ContentLength, req.Header, body}
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, "not unpacked")
		}, change)
		body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
		header := http.Header{"webhook-id": {"msg_1"}, "X-Two": {"a", "b"}}
		out := r.sender(t, within(nil)).Post(testContext(t), endpoint.Request{URL: target.url, Body: body, Header: header,
			Sign: func(req *http.Request) error {
				read, err := io.ReadAll(req.Body)
				require.NoError(t, err)
				require.Equal(t, body, read)
				require.Equal(t, "msg_1", req.Header.Get("Webhook-Id"))
				req.Header.Set("Webhook-Signature", "v1,x "+req.Header.Get("User-Agent")+" "+req.Header.Get("Content-Type"))
				return nil
			}})
		require.Empty(t, out.Failure, out.Err)
		require.Equal(t, http.StatusAccepted, out.Status)
		require.Equal(t, "not unpacked", string(out.Body))
		require.False(t, out.Truncated)
		require.Equal(t, target.address, out.Remote)
		require.Positive(t, out.Duration)
		require.Empty(t, out.Detail)
		require.NoError(t, out.Err)

		a := <-got
		require.Equal(t, []any{"POST", "/hook?token=s3cret", "hooks.example.com:" + portOf(target.address), protocol, int64(len(body))},
			[]any{a.method, a.uri, a.host, a.protocol, a.length})
		require.True(t, bytes.Equal(body, a.body))
		require.Equal(t, "v1,x closure application/json", a.header.Get("Webhook-Signature"), "signed last")
		require.Equal(t, []string{"a", "b"}, a.header["X-Two"])
		require.NotContains(t, a.header, "Accept-Encoding")
		require.Len(t, header, 2, "the caller's header is its own")
	})
}

func portOf(address string) string { return address[strings.LastIndex(address, ":")+1:] }

func TestStatus(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, _ int, change func(*httptest.Server)) {
		r := newRig(t)
		other := r.serve(t, "other.example.com", ok, nil)
		target := r.serve(t, "hooks.example.com", func(w http.ResponseWriter, req *http.Request) {
			code, _ := strconv.Atoi(req.Header.Get("Answer"))
			w.Header().Set("Location", other.url)
			w.Header().Set("Set-Cookie", "session=secret")
			w.WriteHeader(code)
		}, change)
		s := r.sender(t, within(nil))
		for status, want := range map[int]endpoint.Failure{
			200: "", 201: "", 202: "", 204: "", 206: "", 299: "",
			300: endpoint.Redirect, 301: endpoint.Redirect, 302: endpoint.Redirect, 303: endpoint.Redirect, 304: endpoint.Redirect,
			307: endpoint.Redirect, 308: endpoint.Redirect, 399: endpoint.Redirect,
			400: endpoint.Status, 401: endpoint.Status, 404: endpoint.Status, 410: endpoint.Status, 429: endpoint.Status,
			500: endpoint.Status, 503: endpoint.Status, 599: endpoint.Status, 600: endpoint.Status, 999: endpoint.Status,
		} {
			before := target.requests.Load()
			out := s.Post(testContext(t), endpoint.Request{URL: target.url, Header: http.Header{"Answer": {strconv.Itoa(status)}}})
			require.Equal(t, want, out.Failure, status)
			require.Equal(t, status, out.Status)
			require.Equal(t, status == 410, out.Gone, status)
			require.Equal(t, other.url, out.Header.Get("Location"))
			require.NotContains(t, out.Header, "Set-Cookie")
			require.EqualValues(t, 1, target.requests.Load()-before, "one attempt is one request")
			if want != "" {
				requireSafe(t, out, other.url)
				require.Contains(t, out.Detail, strconv.Itoa(status))
			}
		}
		require.Zero(t, other.connections.Load(), "a redirect was followed")
	})
}

func TestRetryAfterOfAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	target := r.serve(t, "hooks.example.com", func(w http.ResponseWriter, req *http.Request) {
		code, _ := strconv.Atoi(req.Header.Get("Answer"))
		w.Header().Set("Retry-After", req.Header.Get("After"))
		w.WriteHeader(code)
	}, nil)
	s := r.sender(t, within(nil))
	post := func(status, after string) time.Duration {
		out := s.Post(testContext(t), endpoint.Request{URL: target.url, Header: http.Header{"Answer": {status}, "After": {after}}})
		require.Equal(t, status, strconv.Itoa(out.Status))
		return out.RetryAfter
	}
	require.Equal(t, 7*time.Second, post("429", "7"))
	require.Equal(t, 7*time.Second, post("503", "7"))
	require.Equal(t, 7*time.Second, post("301", "7"))
	require.Zero(t, post("204", "7"), "a success asks for nothing")
	at := time.Now().Add(30 * time.Minute)
	require.InDelta(t, 30*time.Minute, post("429", at.UTC().Format(http.TimeFormat)), float64(2*patience))
}

// TestHang: the request arrives, and no answer comes; or one that never gets beyond its header.
func TestHang(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, _ int, change func(*httptest.Server)) {
		r := newRig(t)
		gone := make(chan struct{})
		target := r.serve(t, "hooks.example.com", func(_ http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			<-req.Context().Done()
			close(gone)
		}, change)
		s := r.sender(t, within(func(w *endpoint.Timeouts) { w.Header = 200 * time.Millisecond }))
		out := s.Post(testContext(t), endpoint.Request{URL: target.url, Body: []byte("{}")})
		require.Equal(t, endpoint.TimeoutHeader, out.Failure, out.Err)
		requireSafe(t, out)
		<-gone // the endpoint is told
	})
	t.Run("a header without end", func(t *testing.T) {
		t.Parallel()
		address := listen(t, func(conn net.Conn, done <-chan struct{}) {
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			for tick := time.NewTicker(20 * time.Millisecond); ; {
				select {
				case <-tick.C:
				case <-done:
					return
				}
				if _, err := io.WriteString(conn, "X: y\r\n"); err != nil {
					return
				}
			}
		})
		s := insecure(t, within(func(w *endpoint.Timeouts) { w.Header = 200 * time.Millisecond }))
		out := s.Post(testContext(t), endpoint.Request{URL: "http://" + address})
		require.Equal(t, endpoint.TimeoutHeader, out.Failure, out.Err)
	})
	t.Run("a request that is not read", func(t *testing.T) {
		t.Parallel()
		address := listen(t, func(_ net.Conn, done <-chan struct{}) { <-done })
		s := insecure(t, within(func(w *endpoint.Timeouts) { w.Whole = 500 * time.Millisecond }))
		out := s.Post(testContext(t), endpoint.Request{URL: "http://" + address, Body: make([]byte, 32<<20)})
		require.Equal(t, endpoint.Timeout, out.Failure, out.Err)
		requireSafe(t, out)
	})
}

func insecure(t testing.TB, timeouts endpoint.Timeouts) *endpoint.Sender {
	t.Helper()
	s := endpoint.New(endpoint.Config{AllowInsecure: true, Timeouts: timeouts})
	t.Cleanup(s.Close)
	return s
}

// TestNoConnectionInTime: each step hangs for ever, so that an attempt that ends before Whole was ended by Connect.
func TestNoConnectionInTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.zone.set("mute.example.com", "127.0.0.1")
	address := listen(t, func(_ net.Conn, done <-chan struct{}) { <-done }) // takes connections, and does not speak TLS
	r.setPublic(address, true)
	request := endpoint.Request{URL: "https://mute.example.com:" + portOf(address)}
	connect := within(func(w *endpoint.Timeouts) { w.Connect = 200 * time.Millisecond })

	out := r.sender(t, connect).Post(testContext(t), request)
	require.Equal(t, endpoint.TimeoutConnect, out.Failure, out.Err)
	require.Less(t, out.Duration, patience)
	requireSafe(t, out)

	s := endpoint.NewWith(endpoint.Config{Timeouts: connect, Resolver: deafResolver(t)}, r.permit)
	out = s.Post(testContext(t), request)
	require.Equal(t, endpoint.TimeoutConnect, out.Failure, out.Err)
	require.Less(t, out.Duration, patience)
	require.Contains(t, out.Detail, "not resolved in time")
	requireSafe(t, out)

	// Whole holds before there is a connection, as well.
	s = r.sender(t, within(func(w *endpoint.Timeouts) { w.Whole = 200 * time.Millisecond }))
	out = s.Post(testContext(t), request)
	require.Equal(t, endpoint.TimeoutConnect, out.Failure, out.Err)
	require.Less(t, out.Duration, patience)
}

// deafResolver asks a server that never answers, and keeps to no time-out of its own.
func deafResolver(t testing.TB) *net.Resolver {
	t.Helper()
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer func() { _ = theirs.Close() }()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			<-done
		}()
		return deafConn{ours}, nil
	}}
}

type deafConn struct{ net.Conn }

func (deafConn) SetDeadline(time.Time) error { return nil }

func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hijack := func(then func(conn net.Conn)) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			then(conn)
			_ = conn.Close()
		}
	}
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	cases := map[string]struct {
		handler http.HandlerFunc
		change  func(*httptest.Server)
		want    endpoint.Failure
	}{
		"reset": {hijack(func(conn net.Conn) {
			_ = conn.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn).SetLinger(0)
			_ = conn.(interface{ NetConn() net.Conn }).NetConn().Close()
		}), nil, endpoint.Reset},
		"closed":               {hijack(func(net.Conn) {}), nil, endpoint.Reset},
		"closed in the header": {hijack(func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nA: b") }), nil, endpoint.Reset},
		"stream reset":         {abort, withHTTP2, endpoint.Reset},
		"not HTTP":             {hijack(func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n") }), nil, endpoint.AnswerInvalid},
		"header too long":      {longHeader, nil, endpoint.AnswerInvalid},
		"header too long, h2":  {longHeader, withHTTP2, endpoint.Reset},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := r.serve(t, strings.NewReplacer(" ", "-", ",", "").Replace(strings.ToLower(name))+".example.com", c.handler, c.change)
			out := r.sender(t, within(nil)).Post(testContext(t), endpoint.Request{URL: target.url, Body: []byte("{}")})
			require.Equal(t, c.want, out.Failure, out.Err)
			require.Zero(t, out.Status)
			requireSafe(t, out)
			require.EqualValues(t, 1, target.requests.Load(), "one attempt is one request")
		})
	}
}

func longHeader(w http.ResponseWriter, _ *http.Request) {
	for i := range 100 {
		w.Header().Set("X-Long-"+strconv.Itoa(i), strings.Repeat("x", 1000))
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	target := r.serve(t, "down.example.com", ok, nil)
	target.Close()
	out := r.sender(t, within(nil)).Post(testContext(t), endpoint.Request{URL: target.url})
	require.Equal(t, endpoint.Refused, out.Failure, out.Err)
	require.Equal(t, target.address, out.Remote)
	requireSafe(t, out)
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, _ int, change func(*httptest.Server)) {
		r := newRig(t)
		ctx, cancel := context.WithCancel(testContext(t))
		target := r.serve(t, "hooks.example.com", func(_ http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			cancel()
			<-req.Context().Done()
		}, change)
		out := r.sender(t, within(nil)).Post(ctx, endpoint.Request{URL: target.url})
		require.Equal(t, endpoint.Cancelled, out.Failure, out.Err)
		requireSafe(t, out)
	})
	// A deadline of the caller is one more time-out.
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	address := listen(t, func(_ net.Conn, done <-chan struct{}) { <-done })
	require.Equal(t, endpoint.Timeout, insecure(t, within(nil)).Post(ctx, endpoint.Request{URL: "http://" + address}).Failure)
}

func TestNotSigned(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	target := r.serve(t, "hooks.example.com", ok, nil)
	out := r.sender(t, within(nil)).Post(testContext(t), endpoint.Request{URL: target.url,
		Sign: func(*http.Request) error { return errors.New("no key at 127.0.0.1") }})
	require.Equal(t, endpoint.NotSigned, out.Failure)
	requireSafe(t, out)
	require.ErrorContains(t, out.Err, "no key")
	require.Zero(t, target.connections.Load())
}
