package webhooks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/tracing"
	"closure/projections/webhooks"
	"closure/projections/webhooks/endpoint"
)

func TestMain(m *testing.M) {
	if os.Getenv(victimDir) != "" {
		os.Exit(beVictim())
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what has to come.
const patience = 60 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// rig is a NATS server with the streams that webhooks need, and a client that subscribes.
type rig struct {
	t      testing.TB
	url    string
	log    *eventstore.Log
	client string          // the client's id
	trace  tracing.Context // that events are published in
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return newRigOn(t, embeddedtest.Server(t).ClientURL(), 1)
}

func newRigOn(t testing.TB, url string, replicas int) *rig {
	t.Helper()
	r := &rig{t: t, url: url, client: uuid.NewString()}
	r.log = r.openLog(r.connect())
	// As the publisher makes it.
	_, err := r.log.JetStream().CreateOrUpdateStream(testContext(t), jetstream.StreamConfig{
		Name: eventstore.StreamEvents, Subjects: []string{eventstore.EventSubjects}, Storage: jetstream.FileStorage,
		Retention: jetstream.LimitsPolicy, Replicas: replicas, AllowDirect: true, AllowAtomicPublish: true,
	})
	require.NoError(t, err)
	return r
}

// connect gives a connection that comes back soon after it was lost.
func (r *rig) connect() *nats.Conn {
	r.t.Helper()
	return embeddedtest.ConnectURL(r.t, r.url, nats.ReconnectWait(50*time.Millisecond))
}

func (r *rig) openLog(nc *nats.Conn) *eventstore.Log {
	r.t.Helper()
	log, err := eventstore.Open(testContext(r.t), nc, eventstore.Config{})
	require.NoError(r.t, err)
	return log
}

// start starts a service that is stopped with the test. Its back-off is none, unless the configuration has one.
func (r *rig) start(cfg webhooks.Config) *webhooks.Service {
	r.t.Helper()
	if cfg.Log == nil {
		cfg.Log = r.log
	}
	if cfg.Backoff == nil {
		cfg.Backoff = func(int) time.Duration { return 0 }
	}
	s := newLocal(cfg)
	require.NoError(r.t, s.Start(testContext(r.t)))
	r.t.Cleanup(func() { r.stop(s) })
	return s
}

// newLocal makes a service that may post to the endpoints of tests.
func newLocal(cfg webhooks.Config) *webhooks.Service {
	if cfg.Sender == nil {
		cfg.Sender = endpoint.New(endpoint.Config{
			AllowInsecure: true, UserAgent: webhooks.UserAgent(), Timeouts: endpoint.Timeouts{Whole: cfg.RequestTimeout},
		})
	}
	return webhooks.New(cfg)
}

func (r *rig) stop(s *webhooks.Service) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(r.t, s.Stop(ctx))
}

// subscribe makes a subscription of the client.
func (r *rig) subscribe(s *webhooks.Service, url string, types ...domain.WebhookFamily) domain.Webhook {
	r.t.Helper()
	w, err := s.Create(testContext(r.t), r.client, hook(url, types...))
	require.NoError(r.t, err)
	return w
}

func (r *rig) update(s *webhooks.Service, id string, change func(*domain.Webhook)) domain.Webhook {
	r.t.Helper()
	w, err := s.Update(testContext(r.t), r.client, id, func(w domain.Webhook) (domain.Webhook, error) {
		change(&w)
		return w, nil
	})
	require.NoError(r.t, err)
	return w
}

// hook is a valid subscription.
func hook(url string, types ...domain.WebhookFamily) domain.Webhook {
	return domain.Webhook{Title: "a test", URL: url, Enabled: true, Type: types}
}

// publish publishes an event of the client, as the publisher does, and gives its id.
func (r *rig) publish(eventType string) string {
	r.t.Helper()
	return r.publishFor(r.client, eventType, `{"id":"`+uuid.NewString()+`"}`)
}

func (r *rig) publishFor(client, eventType, object string) string {
	r.t.Helper()
	id := uuid.NewString()
	msg := nats.NewMsg(eventstore.EventSubject(client, eventType, uuid.NewString()))
	msg.Data = []byte(object)
	for name, value := range map[string]string{
		"ce-specversion": "1.0", "ce-id": id, "ce-source": "/closure", "ce-type": eventType,
		"ce-time": eventTime, "ce-clientid": client, "content-type": "application/json",
	} {
		msg.Header.Set(name, value)
	}
	msg.Header.Set(jetstream.MsgIDHeader, id)
	r.trace.Put(msg.Header)
	// A server that is just coming up may need a second try; the id keeps that from being a second event.
	eventually(r.t, "acknowledgement of the event", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := r.log.JetStream().PublishMsg(ctx, msg)
		return err == nil
	})
	return id
}

// eventTime is when all events of the tests have happened.
const eventTime = "2026-03-14T15:09:26.535897932Z"

func (r *rig) publishMany(n int) []string {
	r.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = r.publish(domain.PublishedAccountClosed)
	}
	return ids
}

// consumer gives what the server says of a subscription's consumer.
func (r *rig) consumer(id string) (*jetstream.ConsumerInfo, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := r.log.JetStream().Consumer(ctx, eventstore.StreamEvents, "webhook-"+id)
	if err != nil {
		return nil, err
	}
	return c.CachedInfo(), nil
}

// awaitSettled waits until nothing of the subscription is left to deliver or to acknowledge. The server counts what was
// published a moment ago a moment later: the last event has to have come before.
func (r *rig) awaitSettled(id string) {
	r.t.Helper()
	eventually(r.t, "end of all deliveries", func() bool {
		info, err := r.consumer(id)
		require.NoError(r.t, err)
		return info.NumPending == 0 && info.NumAckPending == 0
	})
}

// request is one request that a receiver got.
type request struct {
	method, path, remote string
	header               http.Header
	body                 []byte
	ids                  []string // of the events in it
	resources            []string // that they are about
	webhook              string
	messageID            string // of the package
	size                 int    // of the body
}

// receiver is an endpoint. It answers each request by its plan.
type receiver struct {
	*httptest.Server
	t    testing.TB
	mu   sync.Mutex
	got  []request
	more chan struct{}
	// events in all requests; one that came twice counts twice
	events int
	// forget what came, but for how much it was; slim keeps what each request was, without its header and its body
	forget, slim bool
	answered     int
	// keepBody lets the plan read the body again
	keepBody bool
	// check looks at each request before it is answered; an error fails the test. nil: nobody does.
	check func(q request) error
	// plan answers the request with the number, from 1; nil is 204 for all.
	plan func(n int, w http.ResponseWriter, q *http.Request)
}

func newReceiver(t testing.TB, plan func(n int, w http.ResponseWriter, q *http.Request)) *receiver {
	e := &receiver{t: t, more: make(chan struct{}), plan: plan}
	e.Server = httptest.NewServer(http.HandlerFunc(e.serve))
	t.Cleanup(func() {
		e.CloseClientConnections() // ends those that hang
		e.Close()
	})
	return e
}

func (e *receiver) serve(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return // cut short: as if it had not come
	}
	r := request{
		method: q.Method, path: q.URL.Path, remote: q.RemoteAddr, header: q.Header, body: body,
		messageID: q.Header.Get("webhook-id"), size: len(body),
	}
	var envelope struct {
		Payload []struct {
			ID        string `json:"id"`
			WebhookID string `json:"webhook_id"`
			Object    any    `json:"object"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil || len(envelope.Payload) == 0 {
		e.t.Errorf("a body that is not of the contract: %.200q", body)
	}
	for _, p := range envelope.Payload {
		r.ids, r.webhook = append(r.ids, p.ID), p.WebhookID
		if object, ok := p.Object.(map[string]any); ok {
			r.resources = append(r.resources, fmt.Sprint(object["id"]))
		}
	}
	if e.keepBody {
		q.Body = io.NopCloser(bytes.NewReader(body))
	}
	if e.check != nil {
		if err := e.check(r); err != nil {
			e.t.Errorf("a request that does not verify: %v: %v", err, q.Header)
		}
	}
	if e.slim {
		r.header, r.body, r.resources = nil, nil, nil
	}
	e.mu.Lock()
	e.answered++
	e.events += len(r.ids)
	n := e.answered
	if !e.forget {
		e.got = append(e.got, r)
	}
	close(e.more)
	e.more = make(chan struct{})
	e.mu.Unlock()
	if e.plan == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	e.plan(n, w, q)
}

// requests are those so far.
func (e *receiver) requests() []request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]request{}, e.got...)
}

// state is the number of requests and events so far, and a channel that closes with the next request.
func (e *receiver) state() (requests, events int, more <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.answered, e.events, e.more
}

// await waits for n requests.
func (e *receiver) await(n int) []request {
	e.t.Helper()
	return e.awaitUntil(fmt.Sprint(n, " requests"), func(requests, _ int) bool { return requests >= n })
}

// awaitEvents waits for n events, in however many requests.
func (e *receiver) awaitEvents(n int) []request {
	e.t.Helper()
	return e.awaitUntil(fmt.Sprint(n, " events"), func(_, events int) bool { return events >= n })
}

func (e *receiver) awaitUntil(what string, enough func(requests, events int) bool) []request {
	e.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		requests, events, more := e.state()
		if enough(requests, events) {
			return e.requests()
		}
		select {
		case <-more:
		case <-timeout.C:
			e.t.Fatalf("%d requests with %d events came within %s, want %s", requests, events, patience, what)
		}
	}
}

// events are the ids of the events in the requests, in their order.
func events(got []request) []string {
	ids := []string{}
	for _, r := range got {
		ids = append(ids, r.ids...)
	}
	return ids
}

// reset cuts the connection, so that the client sees it reset.
func reset(t testing.TB, w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Errorf("hijack: %v", err)
		return
	}
	if linger, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = linger.SetLinger(0)
	}
	_ = conn.Close()
}

// hang answers when the client has gone, or the receiver closes.
func hang(q *http.Request) { <-q.Context().Done() }

// eventually checks a condition that nothing signals, again and again.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("no %s within %s", what, patience)
		}
	}
}

// receive waits for a value.
func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	var v T
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("no %s within %s", what, patience)
	}
	return v
}

// attempts is a back-off of a millisecond that remembers the attempts that it was asked about.
type attempts struct {
	mu  sync.Mutex
	all []int
}

func (a *attempts) backoff(attempt int) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, attempt)
	return time.Millisecond
}

func (a *attempts) seen() []int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]int{}, a.all...)
}

// logged collects what is logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// lines are the logged records whose message holds the text.
func (l *logged) lines(t testing.TB, text string) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []map[string]any
	for line := range strings.Lines(l.buf.String()) {
		var record map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &record))
		if strings.Contains(fmt.Sprint(record["msg"]), text) {
			out = append(out, record)
		}
	}
	return out
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// firstOf are the ids, each where it came for the first time.
func firstOf(ids []string) []string {
	seen, out := map[string]bool{}, []string{}
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}
