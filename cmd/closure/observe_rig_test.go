package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// fetch reads a page that needs no client.
func fetch(t *testing.T, url string) (status int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, res.Header, string(text)
}

// scrape reads /metrics as Prometheus does.
func scrape(t *testing.T, base string) (families map[string]*dto.MetricFamily, text string) {
	t.Helper()
	status, header, text := fetch(t, base+"/metrics")
	require.Equal(t, http.StatusOK, status, text)
	require.Contains(t, header.Get("content-type"), "text/plain")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(t, err)
	return families, text
}

// lint gives what Prometheus' own linter has against our metrics; the others are of libraries.
func lint(t *testing.T, text string) (problems []promlint.Problem) {
	t.Helper()
	found, err := promlint.New(strings.NewReader(text)).Lint()
	require.NoError(t, err)
	for _, p := range found {
		if strings.HasPrefix(p.Metric, "closure_") {
			problems = append(problems, p)
		}
	}
	return problems
}

// value is the sum of the series of a metric that have all the labels, given as name, value, …; of a histogram, of their counts.
func value(t *testing.T, families map[string]*dto.MetricFamily, name string, labels ...string) (sum float64) {
	t.Helper()
	family := families[name]
	require.NotNil(t, family, name)
	for _, m := range family.Metric {
		have := map[string]string{}
		for _, l := range m.Label {
			have[l.GetName()] = l.GetValue()
		}
		fits := true
		for i := 0; i < len(labels); i += 2 {
			fits = fits && have[labels[i]] == labels[i+1]
		}
		if fits {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// collectorServer takes spans in, by OTLP over HTTP.
type collectorServer struct {
	*httptest.Server
	t     *testing.T
	mu    sync.Mutex
	spans []*tracepb.Span
}

func newCollectorServer(t *testing.T) *collectorServer {
	c := &collectorServer{t: t}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // cut short
		}
		var request collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &request); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s is no export of spans: %v", r.URL.Path, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
		answer, err := proto.Marshal(&collector.ExportTraceServiceResponse{})
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("content-type", "application/x-protobuf")
		_, _ = w.Write(answer)
	}))
	t.Cleanup(c.Close)
	return c
}

// byID are the spans so far, by their ids.
func (c *collectorServer) byID() map[string]*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]*tracepb.Span{}
	for _, span := range c.spans {
		out[string(span.SpanId)] = span
	}
	return out
}
