package publisher

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/replay"
	"closure/eventstore/tracing"
)

// The cast of the tests.
const (
	someClient = "c0000000-0000-4000-8000-000000000001"
	owner      = "00000000-0000-4000-8000-000000000001"
	guardian   = "00000000-0000-4000-8000-000000000003"
	basf       = "DE000BASF111"
)

var (
	someGroup   = domain.Ref{Kind: domain.KindAccountGroup, ID: "90000000-0000-4000-8000-000000000001"}
	someAccount = domain.Ref{Kind: domain.KindAccount, ID: "ac000000-0000-4000-8000-000000000001"}
)

// patience is how long a test waits for what has to come.
const patience = 60 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// author writes commits by hand, so that every id, time and sequence in the log is the same in each run.
type author struct {
	t      testing.TB
	server *embedded.Server
	log    *eventstore.Log
	now    time.Time
	states map[domain.Ref]domain.Aggregate
	heads  map[domain.Ref]eventstore.Head
	all    []eventstore.Recorded
	trace  tracing.Context // in which it writes
}

func newAuthor(t testing.TB) *author {
	t.Helper()
	return authorOn(t, embeddedtest.Server(t))
}

func authorOn(t testing.TB, server *embedded.Server) *author {
	t.Helper()
	a := &author{
		t: t, server: server, now: time.Date(2026, 1, 2, 9, 0, 0, 123456789, time.UTC),
		states: map[domain.Ref]domain.Aggregate{}, heads: map[domain.Ref]eventstore.Head{},
	}
	a.log = a.connect()
	return a
}

// connect opens the log as another process does.
func (a *author) connect() *eventstore.Log {
	a.t.Helper()
	log, err := eventstore.Open(testContext(a.t), embeddedtest.Connect(a.t, a.server), eventstore.Config{})
	require.NoError(a.t, err)
	return log
}

// write decides a command and appends what it decides: one commit, a minute after the one before it.
func (a *author) write(ref domain.Ref, p domain.Payload) eventstore.Recorded {
	a.t.Helper()
	state, ok := a.states[ref]
	if !ok {
		state = domain.New(ref)
		a.states[ref] = state
	}
	c := a.command(ref, p)
	events, err := state.Decide(c)
	require.NoError(a.t, err, p.CommandName())
	require.NotEmpty(a.t, events, p.CommandName())
	raw, err := replay.Encode(ref.Kind, events)
	require.NoError(a.t, err)
	state.Apply(c.Meta(), events)
	return a.append(c, raw...)
}

func (a *author) command(ref domain.Ref, p domain.Payload) domain.Command {
	a.now = a.now.Add(time.Minute)
	id := fmt.Sprintf("c0dd0000-0000-4000-8000-%012d", len(a.all)+1)
	return domain.Command{Target: ref, ID: id, ClientID: someClient, Actor: "support@bank.example", Time: a.now, Payload: p}
}

func (a *author) append(c domain.Command, events ...eventstore.Event) eventstore.Recorded {
	a.t.Helper()
	recorded, err := a.log.Append(a.trace.In(testContext(a.t)), eventstore.Commit{
		ID:        fmt.Sprintf("c0330000-0000-4000-8000-%012d", len(a.all)+1),
		Aggregate: string(c.Target.Kind), AggregateID: c.Target.ID, ClientID: c.ClientID, Command: c.Payload.CommandName(),
		CommandID: c.ID, Actor: c.Actor, Time: c.Time, Events: events,
	}, a.heads[c.Target])
	require.NoError(a.t, err)
	a.heads[c.Target] = recorded.Head()
	a.all = append(a.all, recorded)
	return recorded
}

// teleport appends an event that only a later version of the engine knows.
func (a *author) teleport(ref domain.Ref) eventstore.Recorded {
	a.t.Helper()
	return a.append(a.command(ref, &domain.Lock{}), eventstore.Event{Type: string(ref.Kind) + ".teleported", Version: 1, Data: json.RawMessage(`{}`)})
}

// open opens the group and an account in it.
func (a *author) open() {
	a.t.Helper()
	a.write(someGroup, &domain.OpenAccountGroup{
		Users: []domain.Party{{ID: owner, Type: domain.Child}, {ID: guardian, Type: domain.Guardian}}, Type: "CHILD", Domicile: "DE",
		TaxResidencies: []string{"DE"}, SecuritiesAccountNumber: "1000000",
	})
	a.openAccount(someAccount)
}

func (a *author) openAccount(ref domain.Ref) {
	a.t.Helper()
	a.write(someGroup, &domain.LinkAccount{AccountID: ref.ID, Type: domain.Trading, Name: "Depot"})
	link, _ := a.states[someGroup].(*domain.AccountGroup).Link(ref.ID)
	a.write(ref, &domain.OpenAccount{AccountGroupID: someGroup.ID, Type: domain.Trading, Name: "Depot", Link: &link})
}

// wholeStory writes a closing from beginning to end in which each published event occurs once at least.
func (a *author) wholeStory() {
	a.t.Helper()
	a.write(someGroup, &domain.OpenAccountGroup{
		Users: []domain.Party{{ID: owner, Type: domain.Child}, {ID: guardian, Type: domain.Guardian}}, Type: "CHILD", Domicile: "DE",
		TaxResidencies: []string{"DE"}, Status: domain.StatusPendingApproval, SecuritiesAccountNumber: "1000000",
	})
	a.openAccount(someAccount)
	a.write(someGroup, &domain.Activate{})
	a.write(someAccount, &domain.Activate{})
	a.write(someAccount, &domain.RenameAccount{Name: "Zoë’s & <Ersparnisse>"})
	for _, ref := range []domain.Ref{someAccount, someGroup} {
		a.write(ref, &domain.Lock{})
		a.write(ref, &domain.Unlock{})
	}
	a.write(someAccount, &domain.RecordPosition{ISIN: basf, Quantity: "1.5", Revision: 1})
	a.write(someGroup, &domain.RecordCashBalance{Currency: "EUR", Balance: "12.34", Revision: 1})
	a.write(someGroup, &domain.RequestAccountGroupClosure{ClosureReason: "risk_based", NotificationOnly: true})
	a.write(someGroup, &domain.RequestAccountGroupClosure{})
	a.write(someAccount, &domain.RequestAccountClosure{})
	closed := a.write(someAccount, &domain.RecordPosition{ISIN: basf, Quantity: "0", Revision: 2})
	a.write(someGroup, &domain.RecordAccountClosure{AccountID: someAccount.ID, ClosedAt: closed.Time})
	a.write(someGroup, &domain.RecordCashBalance{Currency: "EUR", Balance: "0.00", Revision: 2})
	report := a.states[someGroup].(*domain.AccountGroup).ReportID(owner, domain.ReportAccountClosing)
	a.write(someGroup, &domain.RecordReport{ReportID: report, UserID: owner, Type: domain.ReportAccountClosing, SHA256: "00", Size: 1})
	a.write(someAccount, &domain.RecordPosition{ISIN: basf, Quantity: "0.5", Revision: 3})
	a.write(someGroup, &domain.RecordCashBalance{Currency: "USD", Balance: "-3.00", PendingSettlement: "1", Revision: 1})
}

// wanted lists the places of the events that the log has to be published as, in their order.
func (a *author) wanted() []place {
	a.t.Helper()
	var places []place
	for _, c := range a.all {
		for i, e := range c.Events {
			event, err := domain.DecodeEvent(e.Type, e.Version, e.Data)
			require.NoError(a.t, err)
			if _, ok := domain.PublishedType(domain.Kind(c.Aggregate), event); ok {
				places = append(places, place{c.Sequence, i})
			}
		}
	}
	return places
}

// publisher has a connection of its own, and its stream; it does not follow the log.
func (a *author) publisher() *Publisher {
	a.t.Helper()
	p := New(Config{Log: a.connect()})
	stream, err := EnsureStream(testContext(a.t), p.js, 1)
	require.NoError(a.t, err)
	p.stream = stream
	return p
}

// events lists what the log has to be published as.
func (a *author) events(p *Publisher) []event {
	a.t.Helper()
	var events []event
	for _, c := range a.all {
		more, err := p.eventsOf(testContext(a.t), c)
		require.NoError(a.t, err)
		events = append(events, more...)
	}
	return events
}

// start starts a publisher that is stopped with the test.
func (a *author) start(cfg Config) *Publisher {
	a.t.Helper()
	if cfg.Log == nil {
		cfg.Log = a.connect()
	}
	p := New(cfg)
	require.NoError(a.t, p.Start(testContext(a.t)))
	a.t.Cleanup(func() { stop(a.t, p) })
	return p
}

func stop(t testing.TB, p *Publisher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, p.Stop(ctx))
}

// caughtUp waits until all that was written is published.
func (a *author) caughtUp(p *Publisher) {
	a.t.Helper()
	require.NoError(a.t, p.WaitFor(testContext(a.t), uint64(len(a.all))))
}

// out lists all messages of CLOSURE_EVENTS in their order.
func (a *author) out() []*jetstream.RawStreamMsg {
	a.t.Helper()
	stream, err := a.log.JetStream().Stream(testContext(a.t), eventstore.StreamEvents)
	require.NoError(a.t, err)
	state := stream.CachedInfo().State
	var msgs []*jetstream.RawStreamMsg
	for seq := max(state.FirstSeq, 1); seq <= state.LastSeq; seq++ {
		msg, err := stream.GetMsg(testContext(a.t), seq)
		require.NoError(a.t, err)
		msgs = append(msgs, msg)
	}
	return msgs
}

// published lists the places of the events in the order in which they stand in CLOSURE_EVENTS; what others wrote is left out.
func (a *author) published() []place {
	a.t.Helper()
	var places []place
	for _, msg := range a.out() {
		if msg.Header.Get(headerType) == domain.PublishedCommandRejected {
			continue
		}
		sequence, err := strconv.ParseUint(msg.Header.Get(headerLogSequence), 10, 64)
		require.NoError(a.t, err)
		index, err := strconv.Atoi(msg.Header.Get(headerIndex))
		require.NoError(a.t, err)
		places = append(places, place{sequence, index})
	}
	return places
}

// reject publishes a COMMAND.REJECTED, as the way in does.
func (a *author) reject() {
	a.t.Helper()
	msg := nats.NewMsg(eventstore.EventSubject(someClient, domain.PublishedCommandRejected, someAccount.ID))
	msg.Header.Set(headerType, domain.PublishedCommandRejected)
	msg.Data = []byte(`{}`)
	_, err := a.log.JetStream().PublishMsg(testContext(a.t), msg)
	require.NoError(a.t, err)
}
