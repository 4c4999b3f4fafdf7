package readmodel_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/replay"
	"closure/projections/readmodel"
)

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

// Instruments that are held and traded.
const (
	isin1 = "IE00B4L5Y983"
	isin2 = "DE000BASF111"
)

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// world is a log that is written as the engine writes it, and what was written.
type world struct {
	t      testing.TB
	url    string
	log    *eventstore.Log
	client string
	now    time.Time // of the next command; each one moves it on by a second

	groupsOpened     int
	accounts, groups map[string]string // id -> client
	reports          map[string]string // id -> group
}

func newWorld(t testing.TB) *world {
	t.Helper()
	server := embeddedtest.Server(t)
	w := &world{
		t: t, url: server.ClientURL(), client: uuid.NewString(), now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC),
		accounts: map[string]string{}, groups: map[string]string{}, reports: map[string]string{},
	}
	log, err := eventstore.Open(testContext(t), embeddedtest.Connect(t, server), eventstore.Config{})
	require.NoError(t, err, "open the log")
	w.log = log
	return w
}

// do decides a command on what the log has of its target, and appends what was decided: it has to be accepted. It returns
// the sequence of the commit.
func (w *world) do(kind domain.Kind, id string, p domain.Payload) uint64 {
	w.t.Helper()
	c := domain.Command{
		Target: domain.Ref{Kind: kind, ID: id}, ID: uuid.NewString(), ClientID: w.client, Actor: "test", Time: w.now.UTC(), Payload: p,
	}
	require.NoError(w.t, c.Validate())
	state, head, err := replay.Latest(testContext(w.t), w.log, c.Target)
	require.NoError(w.t, err)
	events, err := state.Decide(c)
	require.NoError(w.t, err, "%s %s %s", p.CommandName(), kind, id)
	require.NotEmpty(w.t, events, "%s %s %s is unchanged", p.CommandName(), kind, id)
	raw, err := replay.Encode(kind, events)
	require.NoError(w.t, err)
	recorded, err := w.log.Append(testContext(w.t), eventstore.Commit{
		ID: uuid.NewString(), Aggregate: string(kind), AggregateID: id, ClientID: c.ClientID, Command: p.CommandName(), CommandID: c.ID,
		Actor: c.Actor, Time: c.Time, Events: raw,
	}, head)
	require.NoError(w.t, err)
	w.now = w.now.Add(time.Second)
	return recorded.Sequence
}

func (w *world) state(kind domain.Kind, id string) domain.Aggregate {
	w.t.Helper()
	state, _, err := replay.Latest(testContext(w.t), w.log, domain.Ref{Kind: kind, ID: id})
	require.NoError(w.t, err)
	return state
}

// openGroup opens a group that its users were told of before, as far as they are not another client's: the model does not
// rely on that.
func (w *world) openGroup(users ...domain.Party) string {
	w.t.Helper()
	id := uuid.NewString()
	w.openGroupAs(id, users...)
	return id
}

func (w *world) openGroupAs(id string, users ...domain.Party) {
	w.t.Helper()
	w.groupsOpened++
	open := domain.OpenAccountGroup{
		Users: users, Type: "PERSONAL", SecuritiesAccountNumber: strconv.Itoa(1_000_000 + w.groupsOpened),
	}
	at := w.now
	for _, user := range users {
		if client := w.state(domain.KindUser, user.ID).Client(); client == "" || client == w.client {
			w.do(domain.KindUser, user.ID, &domain.LinkGroup{AccountGroupID: id, Open: open})
		}
	}
	w.now = at
	w.do(domain.KindAccountGroup, id, &open)
	w.groups[id] = w.client
}

func (w *world) openAccount(group, name string) string {
	w.t.Helper()
	id := uuid.NewString()
	w.openAccountAs(id, group, name)
	return id
}

func (w *world) openAccountAs(id, group, name string) {
	w.t.Helper()
	at := w.now
	w.do(domain.KindAccountGroup, group, &domain.LinkAccount{AccountID: id, Type: domain.Trading, Name: name})
	w.now = at
	link, _ := w.group(group).Link(id)
	w.do(domain.KindAccount, id, &domain.OpenAccount{AccountGroupID: group, Type: domain.Trading, Name: name, Link: &link})
	w.accounts[id] = w.client
}

func (w *world) rename(account, name string) uint64 {
	w.t.Helper()
	return w.do(domain.KindAccount, account, &domain.RenameAccount{Name: name})
}

func (w *world) position(account, isin string, quantity domain.Decimal, revision int64) {
	w.t.Helper()
	w.do(domain.KindAccount, account, &domain.RecordPosition{ISIN: isin, Quantity: quantity, Revision: revision})
}

// placeOrder places an order of the account's first user, and returns its id.
func (w *world) placeOrder(account string, side domain.OrderSide) string {
	w.t.Helper()
	id := uuid.NewString()
	w.do(domain.KindAccount, account, &domain.PlaceOrder{OrderID: id, Side: side, ISIN: isin1, Quantity: "1"})
	return id
}

func (w *world) closeAccount(account string) {
	w.t.Helper()
	w.do(domain.KindAccount, account, &domain.RequestAccountClosure{})
}

// tellClosed tells a group that its account is CLOSED.
func (w *world) tellClosed(group, account string) {
	w.t.Helper()
	at := w.account(account).ClosedAt()
	require.NotNil(w.t, at, "the account is not CLOSED")
	w.do(domain.KindAccountGroup, group, &domain.RecordAccountClosure{AccountID: account, ClosedAt: *at})
}

// closeGroup closes a group without open accounts, records the reports of its owners, and tells its users.
func (w *world) closeGroup(group string) {
	w.t.Helper()
	w.do(domain.KindAccountGroup, group, &domain.RequestAccountGroupClosure{ClosureReason: "user_initiated"})
	g := w.group(group)
	for _, user := range g.Users {
		if w.state(domain.KindUser, user.ID).Client() == w.client {
			w.do(domain.KindUser, user.ID, &domain.RecordGroupClosure{AccountGroupID: group, ClosedAt: *g.ClosedAt()})
		}
		if !user.Owns() {
			continue
		}
		id := g.ReportID(user.ID, domain.ReportAccountClosing)
		w.do(domain.KindAccountGroup, group, &domain.RecordReport{
			ReportID: id, UserID: user.ID, Type: domain.ReportAccountClosing, SHA256: eventstore.HashOf([]byte(id)), Size: 100,
		})
		w.reports[id] = group
	}
}

func (w *world) account(id string) *domain.Account {
	w.t.Helper()
	return w.state(domain.KindAccount, id).(*domain.Account)
}

func (w *world) group(id string) *domain.AccountGroup {
	w.t.Helper()
	return w.state(domain.KindAccountGroup, id).(*domain.AccountGroup)
}

// started gives a running model on a file in a folder of the test; it stops with the test.
func started(t testing.TB, log *eventstore.Log, path string) (*readmodel.Model, *logs) {
	t.Helper()
	m, logged := made(log, path)
	return start(t, m), logged
}

// made gives a model that is not started, and what it logs.
func made(log *eventstore.Log, path string) (*readmodel.Model, *logs) {
	logged := newLogs()
	return readmodel.New(readmodel.Config{Path: path, Log: log, Logger: slog.New(slog.NewTextHandler(logged, nil))}), logged
}

// start starts a model, which stops with the test.
func start(t testing.TB, m *readmodel.Model) *readmodel.Model {
	t.Helper()
	if err := m.Start(testContext(t)); err != nil {
		t.Fatalf("start the read model: %v", err)
	}
	t.Cleanup(func() { stop(t, m) })
	return m
}

func stop(t testing.TB, m *readmodel.Model) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := m.Stop(ctx); err != nil {
		t.Errorf("stop the read model: %v", err)
	}
}

// caughtUp waits until the model shows the whole log.
func caughtUp(t testing.TB, log *eventstore.Log, m *readmodel.Model) uint64 {
	t.Helper()
	last, err := log.LastSequence(testContext(t))
	if err != nil {
		t.Fatalf("last sequence: %v", err)
	}
	if err := m.WaitFor(testContext(t), last); err != nil {
		t.Fatalf("catch up: %v", err)
	}
	return last
}

func file(t testing.TB) string { return filepath.Join(t.TempDir(), "readmodel.db") }

// logs keeps what is logged, and tells who waits for a text.
type logs struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{}
}

func newLogs() *logs { return &logs{grown: make(chan struct{}, 1)} }

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.grown <- struct{}{}:
	default: // a token is there
	}
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.text.Bytes(), []byte(text))
}

func (l *logs) has(text string) bool { return l.count(text) > 0 }

// waitFor waits until the text was logged a number of times.
func (l *logs) waitFor(t testing.TB, text string, times int) {
	t.Helper()
	for ctx := testContext(t); l.count(text) < times; {
		select {
		case <-l.grown:
		case <-ctx.Done():
			t.Fatalf("%q was logged %d times, not %d", text, l.count(text), times)
		}
	}
}
