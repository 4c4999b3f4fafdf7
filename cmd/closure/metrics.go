package main

import (
	"bytes"
	"errors"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"

	"closure/eventstore"
	"closure/handlers"
	"closure/handlers/httpapi"
	sending "closure/projections/webhooks/endpoint"
)

// metrics are what an engine measures of itself: a registry of its own, since more than one engine may live in a process. Labels
// have no ids in them: what there is of them is known beforehand, and says nothing of any client.
type metrics struct {
	registry *prometheus.Registry

	commands    *prometheus.CounterVec
	commandTook *prometheus.HistogramVec
	appendTook  prometheus.Observer
	appends     *prometheus.CounterVec
	requests    *prometheus.CounterVec
	requestTook *prometheus.HistogramVec
	denied      *prometheus.CounterVec
	attempts    *prometheus.CounterVec
	attemptTook prometheus.Observer
	rejected    *prometheus.CounterVec
}

// Buckets, in seconds. An fsync takes from 0.1 ms to 10 ms, a request to an endpoint up to 15 s.
var (
	quickBuckets = []float64{.0002, .0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	slowBuckets  = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15}
)

// noOperation stands for requests that no call is for.
const noOperation = "none"

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.measureCommands()
	m.measureHTTP()
	m.measureDeliveries()
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.begin()
	return m
}

func (m *metrics) measureCommands() {
	m.commands = m.counter("closure_commands_total", "Commands by outcome: accepted, unchanged, refused (by the domain) or failed; "+
		"the reason is the kind of problem.", "aggregate", "command", "outcome", "reason")
	m.commandTook = m.histogram("closure_command_duration_seconds", "How long commands took, the waiting for their turn included.",
		quickBuckets, "aggregate")
	m.appends = m.counter("closure_appends_total", "Appends by outcome: stored, conflict (the aggregate had moved on), "+
		"unavailable (the outcome is unknown) or failed.", "outcome")
	m.appendTook = m.histogram("closure_append_duration_seconds", "How long it took to append a commit, with all tries.", quickBuckets).
		WithLabelValues()
	m.rejected = m.counter("closure_inbox_rejected_total", "Commands of the durable inbox that were refused, by the kind of problem.", "reason")
}

func (m *metrics) measureHTTP() {
	m.requests = m.counter("closure_http_requests_total", "HTTP requests by operation and class of status; 000: the connection was cut.",
		"operation", "status")
	m.requestTook = m.histogram("closure_http_request_duration_seconds", "How long HTTP requests took.", quickBuckets, "operation")
	m.denied = m.counter("closure_http_denied_total", "HTTP requests that were kept out before they were carried out, by what kept them out.",
		"gate")
}

func (m *metrics) measureDeliveries() {
	m.attempts = m.counter("closure_webhook_attempts_total", "Requests to endpoints of webhooks: succeeded, or the class of the failure.",
		"outcome")
	m.attemptTook = m.histogram("closure_webhook_attempt_duration_seconds", "How long requests to endpoints of webhooks took.", slowBuckets).
		WithLabelValues()
}

func (m *metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(h)
	return h
}

// begin has the series that are alerted on at 0 from the start: a rate of what is not there is no rate.
func (m *metrics) begin() {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "closure_build_info", Help: "Always 1; the labels are what runs."},
		[]string{"version", "go_version"})
	m.registry.MustRegister(info)
	info.WithLabelValues(version(), runtime.Version()).Set(1)
	for _, gate := range httpapi.Gates() {
		m.denied.WithLabelValues(string(gate))
	}
	for _, outcome := range []string{"stored", "conflict", "unavailable", "failed"} {
		m.appends.WithLabelValues(outcome)
	}
	m.attempts.WithLabelValues(attemptSucceeded)
	for _, failure := range sending.Failures() {
		m.attempts.WithLabelValues(string(failure))
	}
	for _, slug := range []handlers.Slug{
		handlers.InvalidRequest, handlers.NotFound, handlers.Conflict, handlers.UnprocessableEntity, handlers.InternalError,
	} {
		m.rejected.WithLabelValues(string(slug))
	}
}

func (m *metrics) command(o handlers.Observation) {
	outcome := string(o.Result)
	switch {
	case o.Refused:
		outcome = "refused"
	case o.Problem != "":
		outcome = "failed"
	}
	m.commands.WithLabelValues(string(o.Aggregate), o.Command, outcome, string(o.Problem)).Inc()
	m.commandTook.WithLabelValues(string(o.Aggregate)).Observe(o.Took.Seconds())
}

func (m *metrics) appended(took time.Duration, err error) {
	outcome := "failed"
	switch {
	case err == nil:
		outcome = "stored"
	case errors.Is(err, eventstore.ErrConflict):
		outcome = "conflict"
	case errors.Is(err, eventstore.ErrUnavailable):
		outcome = "unavailable"
	}
	m.appends.WithLabelValues(outcome).Inc()
	m.appendTook.Observe(took.Seconds())
}

func (m *metrics) request(operation string, status int, took time.Duration) {
	if operation == "" {
		operation = noOperation
	}
	class := "000"
	if status > 0 {
		class = strconv.Itoa(status/100) + "xx"
	}
	m.requests.WithLabelValues(operation, class).Inc()
	m.requestTook.WithLabelValues(operation).Observe(took.Seconds())
}

func (m *metrics) deny(by httpapi.Gate) { m.denied.WithLabelValues(string(by)).Inc() }

func (m *metrics) reject(reason handlers.Slug) { m.rejected.WithLabelValues(string(reason)).Inc() }

// attemptSucceeded is the outcome of a request with a 2xx answer.
const attemptSucceeded = "succeeded"

func (m *metrics) attempt(out sending.Outcome) {
	outcome := attemptSucceeded
	if out.Failure != "" {
		outcome = string(out.Failure)
	}
	m.attempts.WithLabelValues(outcome).Inc()
	m.attemptTook.Observe(out.Duration.Seconds())
}

// onAPI is /metrics on the address of the API: none where others can reach that, since the metrics are of all clients together.
func (m *metrics) onAPI(reachable bool) func() ([]byte, error) {
	if reachable {
		return nil
	}
	return m.text
}

// text is what /metrics shows on the address of the API.
func (m *metrics) text() ([]byte, error) {
	families, err := m.registry.Gather()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	encoder := expfmt.NewEncoder(&text, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return nil, err
		}
	}
	return text.Bytes(), nil
}

// handler is /metrics on an address of its own.
func (m *metrics) handler() http.Handler {
	return promhttp.InstrumentMetricHandler(m.registry, promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry}))
}

// opsHandler is what there is for operators on an address of its own: metrics, and the probes of the API.
func opsHandler(api http.Handler, m *metrics) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.handler())
	mux.Handle("GET /healthz", api)
	mux.Handle("GET /readyz", api)
	return mux
}
