package natsapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
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
	"closure/handlers"
	"closure/handlers/natsapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// rig is a server with an event log, and a client that is nobody of ours.
type rig struct {
	t   testing.TB
	url string
	ctx context.Context
	nc  *nats.Conn
	js  jetstream.JetStream
	log *eventstore.Log
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return newRigAt(t, embeddedtest.Server(t).ClientURL(), 1)
}

func newRigAt(t testing.TB, url string, replicas int) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	t.Cleanup(cancel)
	r := &rig{t: t, url: url, ctx: ctx, nc: embeddedtest.ConnectURL(t, url)}
	var err error
	r.js, err = jetstream.New(r.nc)
	require.NoError(t, err)
	r.log, err = eventstore.Open(ctx, r.nc, eventstore.Config{Replicas: replicas})
	require.NoError(t, err)
	return r
}

// keepEvents creates the stream that rejections go to.
func (r *rig) keepEvents(replicas int) {
	r.t.Helper()
	_, err := r.js.CreateStream(r.ctx, jetstream.StreamConfig{
		Name: eventstore.StreamEvents, Subjects: []string{eventstore.EventSubjects}, Storage: jetstream.FileStorage, Replicas: replicas,
	})
	require.NoError(r.t, err)
}

// config of a service with an engine and a connection of its own.
func (r *rig) config() natsapi.Config {
	r.t.Helper()
	nc := embeddedtest.ConnectURL(r.t, r.url)
	log, err := eventstore.Open(r.ctx, nc, eventstore.Config{})
	require.NoError(r.t, err)
	numbers, err := eventstore.NewCounter(r.ctx, log.JetStream(), eventstore.CounterConfig{Name: "securities_account_number", First: 1_000_000})
	require.NoError(r.t, err)
	return natsapi.Config{
		Log: log, Engine: handlers.New(handlers.Config{Log: log, SecuritiesAccountNumbers: numbers}), Version: "1.2.3",
	}
}

// start starts a service, which ends with the test.
func (r *rig) start(cfg natsapi.Config) *natsapi.Service {
	r.t.Helper()
	s := natsapi.New(cfg)
	require.NoError(r.t, s.Start(r.ctx))
	r.t.Cleanup(func() { require.NoError(r.t, s.Stop(context.Background())) })
	return s
}

// serve is a whole service as it runs in production, and where its rejections go.
func serve(t testing.TB) *rig {
	t.Helper()
	r := newRig(t)
	r.keepEvents(1)
	r.start(r.config())
	return r
}

type fields map[string]any

// body writes a command: an envelope with a new command id, and the fields over it.
func body(t testing.TB, f fields) []byte {
	t.Helper()
	whole := fields{"command_id": uuid.NewString(), "client_id": clientID, "actor": "upstream"}
	maps.Copy(whole, f)
	return encode(t, whole)
}

func personal() fields {
	return fields{"users": []fields{{"id": otherID, "type": "OWNER"}}, "type": "PERSONAL"}
}

func trading(groupID string) fields {
	return fields{"account_group_id": groupID, "type": "TRADING", "name": "Mein Depot"}
}

func position(revision int) fields {
	return fields{"isin": "US0378331005", "quantity": "1", "revision": revision}
}

// ask requests a command and gives the answer.
func (r *rig) ask(aggregate, id, command string, f fields) natsapi.Answer {
	r.t.Helper()
	return r.request(eventstore.RPCSubject(aggregate, id, command), body(r.t, f))
}

func (r *rig) request(subject string, body []byte) natsapi.Answer {
	r.t.Helper()
	msg, err := r.nc.Request(subject, body, patience)
	require.NoError(r.t, err)
	return answer(r.t, msg)
}

func answer(t testing.TB, msg *nats.Msg) natsapi.Answer {
	t.Helper()
	var a natsapi.Answer
	require.NoError(t, json.Unmarshal(msg.Data, &a))
	return a
}

// send leaves a command in the inbox, and gives its place there.
func (r *rig) send(aggregate, id, command string, f fields) uint64 {
	r.t.Helper()
	return r.publish(eventstore.CommandSubject(aggregate, id, command), body(r.t, f))
}

func (r *rig) publish(subject string, body []byte) uint64 {
	r.t.Helper()
	ack, err := r.js.Publish(r.ctx, subject, body)
	require.NoError(r.t, err)
	return ack.Sequence
}

// openGroup and openAccount open a new one by request.
func (r *rig) openGroup() (id string) {
	r.t.Helper()
	id = uuid.NewString()
	require.Equal(r.t, handlers.Accepted, r.ask("account_group", id, "open", personal()).Result)
	return id
}

func (r *rig) openAccount(groupID string) (id string) {
	r.t.Helper()
	id = uuid.NewString()
	require.Equal(r.t, handlers.Accepted, r.ask("account", id, "open", trading(groupID)).Result)
	return id
}

// settled waits until the inbox is empty.
func (r *rig) settled() {
	r.t.Helper()
	r.until("the inbox is empty", func() bool { return r.waiting() == 0 })
}

// waiting is how many commands are in the inbox.
func (r *rig) waiting() uint64 {
	r.t.Helper()
	n, err := r.tryWaiting()
	require.NoError(r.t, err)
	return n
}

// tryWaiting is waiting while servers come and go.
func (r *rig) tryWaiting() (uint64, error) {
	ctx, cancel := context.WithTimeout(r.ctx, time.Second)
	defer cancel()
	stream, err := r.js.Stream(ctx, eventstore.StreamCommands)
	if err != nil {
		return 0, err
	}
	return stream.CachedInfo().State.Msgs, nil
}

// until waits for what has no signal of its own.
func (r *rig) until(what string, done func() bool) {
	r.t.Helper()
	deadline := time.NewTimer(2 * patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			r.t.Fatalf("waited %s in vain until %s", 2*patience, what)
		}
	}
}

// commits of one aggregate.
func (r *rig) commits(aggregate, id string) []eventstore.Recorded {
	r.t.Helper()
	commits, err := r.log.LoadFromLeader(r.ctx, aggregate, id, 0)
	require.NoError(r.t, err)
	return commits
}

// names that an account got by renames, in the order of the log.
func (r *rig) names(id string) []string {
	r.t.Helper()
	commits, err := r.log.Load(r.ctx, "account", id, 0)
	require.NoError(r.t, err)
	var names []string
	for _, c := range commits {
		for _, e := range c.Events {
			if e.Type != domain.EventAccountRenamed {
				continue
			}
			var renamed domain.AccountRenamed
			require.NoError(r.t, json.Unmarshal(e.Data, &renamed))
			names = append(names, renamed.Name)
		}
	}
	return names
}

// rejections is what is published of refused commands, one after the other.
type rejections struct {
	r  *rig
	it jetstream.MessagesContext
}

func (r *rig) rejections() *rejections {
	r.t.Helper()
	consumer, err := r.js.OrderedConsumer(r.ctx, eventstore.StreamEvents, jetstream.OrderedConsumerConfig{})
	require.NoError(r.t, err)
	it, err := consumer.Messages()
	require.NoError(r.t, err)
	r.t.Cleanup(it.Stop)
	return &rejections{r, it}
}

func (q *rejections) next() (jetstream.Msg, natsapi.Rejection) {
	q.r.t.Helper()
	msg, err := q.it.Next(jetstream.NextMaxWait(patience))
	require.NoError(q.r.t, err)
	var body natsapi.Rejection
	require.NoError(q.r.t, json.Unmarshal(msg.Data(), &body))
	return msg, body
}

// events is how many messages CLOSURE_EVENTS has.
func (r *rig) events() uint64 {
	r.t.Helper()
	stream, err := r.js.Stream(r.ctx, eventstore.StreamEvents)
	require.NoError(r.t, err)
	return stream.CachedInfo().State.Msgs
}

// throughGate is the real engine behind a function that may hold a command up, or fail in its place.
type throughGate struct {
	natsapi.Engine
	gate func(ctx context.Context, c domain.Command) error
}

func (g throughGate) Do(ctx context.Context, c domain.Command) (handlers.Outcome, error) {
	if err := g.gate(ctx, c); err != nil {
		return handlers.Outcome{}, err
	}
	return g.Engine.Do(ctx, c)
}

// holder holds commands up, tells which, and lets all of them go.
type holder struct {
	held    chan domain.Command
	release func()
	open    chan struct{}
}

func newHolder() *holder {
	h := &holder{held: make(chan domain.Command, 10_000), open: make(chan struct{})}
	h.release = sync.OnceFunc(func() { close(h.open) })
	return h
}

func (h *holder) hold(ctx context.Context, c domain.Command) error {
	h.held <- c
	select {
	case <-h.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait for the next command that is held.
func (h *holder) wait(t testing.TB) domain.Command {
	t.Helper()
	select {
	case c := <-h.held:
		return c
	case <-time.After(patience):
		t.Fatal("no command came")
		return domain.Command{}
	}
}

// logged keeps what is logged at warn and above.
type logged struct {
	slog.Handler
	lines chan string
}

func newLogged() logged {
	return logged{slog.DiscardHandler, make(chan string, 10_000)}
}

func (l logged) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (l logged) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l logged) Handle(_ context.Context, record slog.Record) error {
	line := record.Message
	record.Attrs(func(a slog.Attr) bool { line += fmt.Sprintf(" %s=%v", a.Key, a.Value); return true })
	l.lines <- line
	return nil
}

// wait for a line.
func (l logged) wait(t testing.TB) string {
	t.Helper()
	select {
	case line := <-l.lines:
		return line
	case <-time.After(patience):
		t.Fatal("nothing was logged")
		return ""
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
