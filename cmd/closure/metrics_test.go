package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// Metrics tell of what was done, in Prometheus' own format and by its rules, and name no client and no resource.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), "--ops-addr", "127.0.0.1:0")
	closeEndToEnd(t, s)
	c := s.caller(t, uuid.NewString())
	status, _, _ := caller{t: t, base: c.base, client: c.client, token: "wrong"}.do(http.MethodGet, "/accounts", "", nil)
	require.Equal(t, http.StatusUnauthorized, status)
	status, _, _ = c.do(http.MethodDelete, "/accounts/"+uuid.NewString(), "", nil)
	require.Equal(t, http.StatusNotFound, status)
	other := serve(t, t.TempDir()) // another engine in this process

	// What costs a question is kept for a while, so it shows a little later.
	var families map[string]*dto.MetricFamily
	var text string
	require.Eventually(t, func() bool {
		families, text = scrape(t, s.Ops)
		return value(t, families, "closure_closings", "status", "CLOSED") == 3 &&
			value(t, families, "closure_webhook_subscriptions") == 1 &&
			value(t, families, "closure_projection_lag_commits") == 0
	}, within, 100*time.Millisecond)
	require.Empty(t, lint(t, text))
	require.NotRegexp(t, `[0-9a-f]{8}-[0-9a-f]{4}-`, text, "no ids")
	require.NotContains(t, text, "127.0.0.1", "no addresses")
	for name, at := range map[string][]string{
		"closure_commands_total":                   {"aggregate", "account", "command", "request_closure", "outcome", "accepted", "reason", ""},
		"closure_command_duration_seconds":         {"aggregate", "account_group"},
		"closure_append_duration_seconds":          nil,
		"closure_appends_total":                    {"outcome", "stored"},
		"closure_log_commits_total":                nil,
		"closure_log_last_sequence":                nil,
		"closure_cache_lookups_total":              {"result", "hit"},
		"closure_cache_entries":                    nil,
		"closure_projection_position":              {"projection", "publisher"},
		"closure_webhook_attempts_total":           {"outcome", "succeeded"},
		"closure_webhook_attempt_duration_seconds": nil,
		"closure_timers_set_total":                 nil,
		"closure_http_requests_total":              {"operation", "closeAccount", "status", "2xx"},
		"closure_http_request_duration_seconds":    {"operation", "createWebhook"},
		"closure_ready":                            nil,
		"closure_nats_connected":                   nil,
		"closure_build_info":                       {"version", version()},
		"go_goroutines":                            nil,
		"process_start_time_seconds":               nil,
	} {
		require.Positive(t, value(t, families, name, at...), "%s %v", name, at)
	}
	require.EqualValues(t, 1, value(t, families, "closure_commands_total", "command", "request_closure", "outcome", "refused", "reason", "not_found"))
	require.EqualValues(t, 1, value(t, families, "closure_http_denied_total", "gate", "token"))
	require.Zero(t, value(t, families, "closure_blocked_closings"))
	require.Zero(t, value(t, families, "closure_commands_total", "outcome", "failed"))

	// On the loopback address of the API they are, too; and an engine counts for itself.
	families, _ = scrape(t, s.HTTP)
	require.Positive(t, value(t, families, "closure_commands_total"))
	families, _ = scrape(t, other.HTTP)
	require.Empty(t, families["closure_commands_total"].GetMetric())
}

// The metrics are of all clients together, so an address that others can reach does not have them.
func TestMetricsAreForOperators(t *testing.T) {
	m := newMetrics()
	for _, addr := range []string{"0.0.0.0:8080", ":8080", "10.1.2.3:80", "[::]:8080", "engine.example.com:443"} {
		require.Nil(t, m.onAPI(settings{HTTPAddr: addr}.reachable()), addr)
	}
	for _, addr := range []string{"127.0.0.1:8080", "[::1]:0", "localhost:80"} {
		require.NotNil(t, m.onAPI(settings{HTTPAddr: addr}.reachable()), addr)
		require.Nil(t, m.onAPI(settings{HTTPAddr: addr, BehindProxy: true}.reachable()), addr)
	}
}

// Of the API, the operators' address has the probes alone.
func TestOpsAddress(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), "--ops-addr", "127.0.0.1:0")
	for path, want := range map[string]int{
		"/healthz": http.StatusOK, "/readyz": http.StatusOK, "/metrics": http.StatusOK,
		"/accounts": http.StatusNotFound, "/openapi.json": http.StatusNotFound, "/auth/token": http.StatusNotFound, "/": http.StatusNotFound,
	} {
		status, _, _ := fetch(t, s.Ops+path)
		require.Equal(t, want, status, path)
	}
	code, _, stderr := once(t, "", "serve", "--ops-addr", "nowhere", "--data", t.TempDir())
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "--ops-addr: must be host:port")
	code, _, stderr = once(t, "", "serve", "--http-addr", "127.0.0.1:0", "--nats-addr", "127.0.0.1:0", "--data", t.TempDir(),
		"--ops-addr", strings.TrimPrefix(s.Ops, "http://"))
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "choose another with --ops-addr")
}

// In an expression: the name of a metric, what it is grouped by, and what makes a series of a histogram.
var (
	metricName  = regexp.MustCompile(`\b(closure|go|process)_[a-z0-9_]+\b`)
	grouping    = regexp.MustCompile(`by \(([a-z_, ]+)\)`)
	ofHistogram = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// Every metric that the dashboard and the alerts name is there once an engine has had something to do.
func TestDeployFilesNameRealMetrics(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), "--ops-addr", "127.0.0.1:0")
	closeEndToEnd(t, s)
	families, _ := scrape(t, s.Ops)
	labels := map[string]map[string]bool{}
	for name, family := range families {
		labels[name] = map[string]bool{}
		for _, m := range family.Metric {
			for _, l := range m.Label {
				labels[name][l.GetName()] = true
			}
		}
	}
	expressions := append(dashboard(t), alerts(t)...)
	require.Greater(t, len(expressions), 50)
	named := map[string]bool{}
	for _, e := range expressions {
		for _, name := range metricName.FindAllString(grouping.ReplaceAllString(e, ""), -1) {
			if families[name] == nil {
				name = ofHistogram.ReplaceAllString(name, "")
			}
			require.NotNil(t, families[name], "%s does not exist: %s", name, e)
			named[name] = true
		}
		for _, by := range grouping.FindAllStringSubmatch(e, -1) {
			name := ofHistogram.ReplaceAllString(metricName.FindString(grouping.ReplaceAllString(e, "")), "")
			for label := range strings.SplitSeq(by[1], ", ") {
				known := label == "le" || label == "instance" || label == "job" || labels[name][label]
				require.True(t, known, "%s has no label %s: %s", name, label, e)
			}
		}
	}
	for name := range families {
		if strings.HasPrefix(name, "closure_") {
			require.True(t, named[name], "the dashboard does not show %s", name)
		}
	}
}

// dashboard gives the expressions of the dashboard's panels.
func dashboard(t *testing.T) (expressions []string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("deploy", "grafana-dashboard.json"))
	require.NoError(t, err)
	var d struct {
		Panels []struct {
			ID      int    `json:"id"`
			Type    string `json:"type"`
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	require.NoError(t, json.Unmarshal(content, &d))
	ids := map[int]bool{}
	for _, p := range d.Panels {
		require.False(t, ids[p.ID], "two panels with the id %d", p.ID)
		ids[p.ID] = true
		require.NotEmpty(t, p.Title)
		require.Equal(t, p.Type == "row", len(p.Targets) == 0, p.Title)
		for _, target := range p.Targets {
			expressions = append(expressions, target.Expr)
		}
	}
	return expressions
}

// alerts gives the expressions of the alerts, of those files that prometheus.yml names.
func alerts(t *testing.T) (expressions []string) {
	t.Helper()
	var config struct {
		RuleFiles []string `yaml:"rule_files"`
		Scrapes   []struct {
			Job string `yaml:"job_name"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, "prometheus.yml", &config)
	require.Equal(t, "closure", config.Scrapes[0].Job)
	for _, name := range config.RuleFiles {
		var rules struct {
			Groups []struct {
				Rules []struct {
					Alert, Expr string
					Labels      struct{ Severity string }
					Annotations struct{ Summary string }
				}
			}
		}
		readYAML(t, name, &rules)
		for _, r := range rules.Groups[0].Rules {
			require.Contains(t, []string{"page", "ticket"}, r.Labels.Severity, r.Alert)
			require.NotEmpty(t, r.Annotations.Summary, r.Alert)
			expressions = append(expressions, r.Expr)
		}
	}
	return expressions
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("deploy", name))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(content, into))
}

// A question is asked once for all that look at the same time, and its answer is kept; who gives up does not spoil it for others.
func TestCachedFigures(t *testing.T) {
	asked, answer := 0, make(chan int, 1)
	c := newCached(time.Hour, time.Hour, func(ctx context.Context) (int, error) {
		asked++
		select {
		case n := <-answer:
			return n, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	})
	ctx, giveUp := context.WithCancel(t.Context())
	got := make(chan int, 3)
	begun := make(chan struct{})
	inner := c.ask
	c.ask = func(ctx context.Context) (int, error) { close(begun); return inner(ctx) }
	get := func(ctx context.Context) {
		n, err := c.get(ctx)
		if err != nil {
			t.Error(err)
		}
		got <- n
	}
	go get(ctx)
	<-begun
	giveUp()
	go get(t.Context())
	answer <- 7
	require.Equal(t, 7, <-got)
	require.Equal(t, 7, <-got)
	get(t.Context())
	require.Equal(t, 7, <-got)
	require.Equal(t, 1, asked)

	// Who waits for somebody else's question may give up.
	c.turn <- struct{}{}
	_, err := c.get(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
