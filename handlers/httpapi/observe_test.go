package httpapi

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"closure/domain"
	"closure/eventstore/tracing"
	"closure/handlers/auth"
)

// seen is what was told of requests.
type seen struct {
	mu     sync.Mutex
	calls  []string
	gates  []Gate
	served *service
}

func observing(t *testing.T, change ...func(*Config)) *seen {
	t.Helper()
	o := &seen{}
	o.served = start(t, append(change, func(cfg *Config) {
		cfg.Observe = func(operation string, status int, took time.Duration) {
			o.mu.Lock()
			defer o.mu.Unlock()
			require.Positive(t, took)
			o.calls = append(o.calls, operation+" "+http.StatusText(status))
		}
		cfg.Denied = func(g Gate) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.gates = append(o.gates, g)
		}
	})...)
	return o
}

// told gives what was told since the last time. The answer may be with the client before that.
func (o *seen) told(t *testing.T, n int) (calls []string, gates []Gate) {
	t.Helper()
	require.Eventually(t, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.calls) >= n
	}, 30*time.Second, time.Millisecond)
	o.mu.Lock()
	defer o.mu.Unlock()
	calls, gates, o.calls, o.gates = o.calls, o.gates, nil, nil
	return calls, gates
}

// Every request is told of once, by its operation, whatever became of it; and so is the gate that kept one out.
func TestRequestsAreToldOf(t *testing.T) {
	t.Parallel()
	o := observing(t)
	s := o.served
	reader := "dddddddd-0000-4000-8000-000000000004"
	s.tokens[reader] = s.register(reader, auth.Scopes()[0])
	open := map[string]string{headerClientID: ""}
	for _, c := range []struct {
		call  call
		calls string
		gates []Gate
	}{
		{call{method: "GET", path: "/healthz", header: open}, "getHealth OK", nil},
		{call{method: "HEAD", path: "/healthz", header: open}, "getHealth OK", nil},
		{call{method: "GET", path: "/accounts"}, "listAccounts OK", nil},
		{call{method: "GET", path: "/accounts/" + uuid.NewString()}, "getAccount Not Found", nil},
		{call{method: "GET", path: "/nothing"}, " Not Found", nil},
		{call{method: "PUT", path: "/accounts"}, " Method Not Allowed", nil},
		{call{method: "GET", path: "/accounts", header: map[string]string{headerAuthorization: ""}}, "listAccounts Unauthorized", []Gate{GateToken}},
		{call{method: "GET", path: "/accounts", header: map[string]string{headerAuthorization: "Bearer x"}}, "listAccounts Unauthorized", []Gate{GateToken}},
		{call{method: "GET", path: "/webhooks", header: map[string]string{headerClientID: reader}}, "listWebhooks Forbidden", []Gate{GateScope}},
		{call{method: "GET", path: "/accounts", header: map[string]string{"signature": "x"}}, "listAccounts Unauthorized", []Gate{GateSignature}},
	} {
		s.send(c.call)
		calls, gates := o.told(t, 1)
		require.Equal(t, []string{c.calls}, calls, "%+v", c.call)
		require.Equal(t, c.gates, gates, "%+v", c.call)
	}
	form := "client_id=" + alice + "&client_secret=wrong&grant_type=client_credentials"
	answer, err := http.Post(s.url+"/auth/token", mediaForm, strings.NewReader(form))
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	calls, gates := o.told(t, 1)
	require.Equal(t, []string{"createToken Unauthorized"}, calls)
	require.Equal(t, []Gate{GateCredentials}, gates)
}

// Requests over the rate are told of as that.
func TestRateIsToldOf(t *testing.T) {
	t.Parallel()
	o := observing(t, func(cfg *Config) { cfg.Rate = Rate{PerSecond: 1e-6, Burst: 1} })
	require.Equal(t, http.StatusOK, o.served.send(call{method: "GET", path: "/accounts"}).status)
	require.Equal(t, http.StatusTooManyRequests, o.served.send(call{method: "GET", path: "/accounts"}).status)
	_, gates := o.told(t, 2)
	require.Equal(t, []Gate{GateRate}, gates)
}

// Metrics are there when the engine gives them, and there is no such call when it does not.
func TestMetricsCall(t *testing.T) {
	t.Parallel()
	s := start(t, func(cfg *Config) { cfg.Metrics = func() ([]byte, error) { return []byte("up 1\n"), nil } })
	for _, accept := range []string{"", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"} {
		r, err := http.NewRequest(http.MethodGet, s.url+"/metrics", nil)
		require.NoError(t, err)
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		answer, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusOK, answer.StatusCode, accept)
		require.Equal(t, mediaMetrics, answer.Header.Get("Content-Type"))
	}
	none := start(t)
	require.Equal(t, http.StatusNotFound, none.send(call{method: "GET", path: "/metrics", header: map[string]string{headerClientID: ""}}).status)
}

// A request is a span in the trace that it came with, by its operation; the commit is stored in that trace. Probes are none.
func TestSpansOfRequests(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	s := start(t, func(cfg *Config) {
		cfg.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
	})
	group := s.newGroup()
	account := s.newAccount(group.ID)
	from := map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "vendor=1"}
	s.send(call{method: "GET", path: "/healthz", header: map[string]string{headerClientID: "", "traceparent": from["traceparent"]}})
	a := s.send(call{method: "DELETE", path: "/accounts/" + account.ID, header: from})
	require.Equal(t, http.StatusAccepted, a.status)
	var span sdktrace.ReadOnlySpan
	require.Eventually(t, func() bool {
		for _, one := range spans.Ended() {
			require.NotEqual(t, "getHealth", one.Name())
			if one.SpanContext().TraceID().String() == "0af7651916cd43dd8448eb211c80319c" {
				span = one
			}
		}
		return span != nil
	}, 30*time.Second, time.Millisecond)
	require.Equal(t, "closeAccount", span.Name())
	require.Equal(t, "b7ad6b7169203331", span.Parent().SpanID().String())
	require.Contains(t, span.Attributes(), attribute.String("closure.request_id", a.header.Get(headerRequestID)))
	require.Contains(t, span.Attributes(), attribute.Int("http.response.status_code", http.StatusAccepted))
	commits, err := s.log.Load(t.Context(), string(domain.KindAccount), account.ID, 0)
	require.NoError(t, err)
	require.Equal(t, tracing.Context{
		Parent: "00-0af7651916cd43dd8448eb211c80319c-" + span.SpanContext().SpanID().String() + "-01", State: "vendor=1",
	}, commits[len(commits)-1].Trace)
}
