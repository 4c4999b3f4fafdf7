package endpoint_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/projections/webhooks/endpoint"
)

// hangUp reads what comes first, so that the end is one of order and not a reset, and closes.
func hangUp(conn net.Conn, _ <-chan struct{}) { _, _ = conn.Read(make([]byte, 4096)) }

func TestBodyOfAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	target := r.serve(t, "hooks.example.com", func(w http.ResponseWriter, req *http.Request) {
		n := map[string]int{"/none": 0, "/kept": 4 << 10, "/longer": 4<<10 + 1, "/read": 64 << 10, "/beyond": 64<<10 + 1}[req.URL.Path]
		if n == 0 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("x", n))
	}, nil)
	s := r.sender(t, within(nil))
	for _, c := range []struct {
		path        string
		kept        int
		truncated   bool
		connections int64 // that were made in all, when the next request has been answered
	}{{"/none", 0, false, 1}, {"/kept", 4096, false, 1}, {"/longer", 4096, true, 1}, {"/read", 4096, true, 1}, {"/beyond", 4096, true, 2}} {
		out := s.Post(testContext(t), endpoint.Request{URL: target.at(c.path)})
		require.Empty(t, out.Failure, out.Err)
		require.Len(t, out.Body, c.kept, c.path)
		require.Equal(t, c.truncated, out.Truncated, c.path)
		require.Empty(t, s.Post(testContext(t), endpoint.Request{URL: target.at("/none")}).Failure)
		require.Equal(t, c.connections, target.connections.Load(), c.path)
	}
}

// TestLongAnswer: 100 MB. The status counts, and most of the rest never leaves the endpoint.
func TestLongAnswer(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, protocol int, change func(*httptest.Server)) {
		const whole = 100 << 20
		r := newRig(t)
		var sent atomic.Int64
		ended := make(chan struct{}, 10)
		target := r.serve(t, "hooks.example.com", func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Short") != "" {
				return
			}
			w.WriteHeader(map[bool]int{true: 500, false: 200}[req.Header.Get("Fail") != ""])
			part := make([]byte, 1<<20)
			for range whole / len(part) {
				n, err := w.Write(part)
				sent.Add(int64(n))
				if err != nil {
					break
				}
			}
			ended <- struct{}{}
		}, change)
		s := r.sender(t, within(nil))
		out := s.Post(testContext(t), endpoint.Request{URL: target.url, Body: []byte("{}")})
		require.Empty(t, out.Failure, out.Err)
		require.Len(t, out.Body, 4<<10)
		require.True(t, out.Truncated)
		<-ended
		require.Less(t, sent.Load(), int64(whole/2))
		out = s.Post(testContext(t), endpoint.Request{URL: target.url, Header: http.Header{"Fail": {"1"}}})
		require.Equal(t, endpoint.Status, out.Failure)
		<-ended
		require.Less(t, sent.Load(), int64(whole/2))

		require.Empty(t, s.Post(testContext(t), endpoint.Request{URL: target.url, Header: http.Header{"Short": {"1"}}}).Failure)
		connections := map[int]int64{1: 3, 2: 1} // with HTTP/2 it is the stream that is ended
		require.Equal(t, connections[protocol], target.connections.Load())
	})
}

// TestSlowAnswer: a byte now and then, without end. It takes as long as an attempt may, and the status counts.
func TestSlowAnswer(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, _ int, change func(*httptest.Server)) {
		r := newRig(t)
		target := r.serve(t, "hooks.example.com", func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			if req.Header.Get("Fail") != "" {
				w.WriteHeader(http.StatusBadGateway)
			}
			for tick := time.NewTicker(50 * time.Millisecond); ; {
				_, _ = io.WriteString(w, ".")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-tick.C:
				case <-req.Context().Done():
					// A handler that returns ends the answer in order, which the sender may just see while it hangs up.
					panic(http.ErrAbortHandler)
				}
			}
		}, change)
		s := r.sender(t, within(func(w *endpoint.Timeouts) { w.Whole = 2 * time.Second }))
		out := s.Post(testContext(t), endpoint.Request{URL: target.url})
		require.Empty(t, out.Failure, out.Err)
		require.Equal(t, http.StatusOK, out.Status)
		require.True(t, out.Truncated)
		require.Contains(t, string(out.Body), ".")
		out = s.Post(testContext(t), endpoint.Request{URL: target.url, Header: http.Header{"Fail": {"1"}}})
		require.Equal(t, endpoint.Status, out.Failure)
		require.Equal(t, http.StatusBadGateway, out.Status)
	})
}

// TestAnswersWithoutEnd: what follows the status is broken off, or is no answer.
func TestAnswersWithoutEnd(t *testing.T) {
	t.Parallel()
	kept := strings.Repeat("x", 4096)
	for answer, want := range map[string]endpoint.Outcome{
		"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf":                             {Status: 200, Body: []byte("half"), Truncated: true},
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n": {Status: 200, Body: []byte("half"), Truncated: true},
		"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + kept:                         {Status: 200, Body: []byte(kept), Truncated: true},
		"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n":  {Status: 204, Body: []byte{}},
		"HTTP/1.0 200 OK\r\n\r\nold":                                                     {Status: 200, Body: []byte("old")},
	} {
		address := listen(t, func(conn net.Conn, _ <-chan struct{}) {
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, answer)
		})
		out := insecure(t, within(nil)).Post(testContext(t), endpoint.Request{URL: "http://" + address})
		require.Empty(t, out.Failure, "%q: %v", answer, out.Err)
		require.Equal(t, want, endpoint.Outcome{Status: out.Status, Body: out.Body, Truncated: out.Truncated}, answer)
	}
	// The connection stays open: whoever read on would wait for ever.
	address := listen(t, func(conn net.Conn, _ <-chan struct{}) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
	})
	out := insecure(t, within(nil)).Post(testContext(t), endpoint.Request{URL: "http://" + address})
	require.Equal(t, endpoint.Status, out.Failure, out.Err)
	require.Equal(t, 101, out.Status)
	require.Less(t, out.Duration, patience, "it was not read on")
}

func TestHeaderOfAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	target := r.serve(t, "hooks.example.com", func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range map[string]string{"A": strings.Repeat("a", 3000), "B": strings.Repeat("b", 3000), "C": "c"} {
			w.Header().Set("X-"+name, value)
		}
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.Header().Set("Content-Type", "text/plain")
	}, nil)
	out := r.sender(t, within(nil)).Post(testContext(t), endpoint.Request{URL: target.url})
	require.Empty(t, out.Failure)
	require.Equal(t, "text/plain", out.Header.Get("Content-Type"))
	require.Len(t, out.Header.Get("X-A"), 3000)
	require.Empty(t, out.Header.Get("X-B"), "a value is there in full or not at all")
	require.Equal(t, "c", out.Header.Get("X-C"))
	require.Empty(t, out.Header.Values("Set-Cookie"))
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 5, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "1": time.Second, " 120 ": 2 * time.Minute, "007": 7 * time.Second,
		"3600": time.Hour, "3601": time.Hour, "999999999999999999999999": time.Hour, "9223372036854775807": time.Hour,
		"-1": 0, "+5": 0, "1.5": 0, "1e3": 0, "0x10": 0, "5s": 0, "5, 6": 0, "soon": 0, "٣": 0,
		"Thu, 01 May 2025 12:00:30 GMT":    30 * time.Second,
		"Thursday, 01-May-25 12:00:30 GMT": 30 * time.Second,
		"Thu May  1 12:00:30 2025":         30 * time.Second,
		"Thu, 01 May 2025 11:59:00 GMT":    0,
		"Fri, 02 May 2025 12:00:00 GMT":    time.Hour,
		"Fri, 31 Dec 9999 23:59:59 GMT":    time.Hour,
		"2025-05-01T12:00:30Z":             0,
	} {
		require.Equal(t, want, endpoint.RetryAfter(value, now), value)
	}
}
