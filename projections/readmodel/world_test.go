package readmodel_test

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
	"closure/handlers"
	"closure/projections/readmodel"
)

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// world is a log with an engine that writes it, and what was written.
type world struct {
	t      testing.TB
	url    string
	log    *eventstore.Log
	engine *handlers.Engine
	client string
	now    time.Time // of the next command; each one moves it on by a second

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
	if err != nil {
		t.Fatalf("open the log: %v", err)
	}
	w.log = log
	numbers, err := eventstore.NewCounter(testContext(t), log.JetStream(), eventstore.CounterConfig{Name: "numbers", First: 1_000_000, Block: 1000})
	if err != nil {
		t.Fatalf("open the counter: %v", err)
	}
	w.engine = handlers.New(handlers.Config{Log: log, SecuritiesAccountNumbers: numbers})
	return w
}

// do executes a command that has to be accepted, and returns the sequence of its commit.
func (w *world) do(kind domain.Kind, id string, p domain.Payload) uint64 {
	w.t.Helper()
	outcome, err := w.engine.Do(testContext(w.t), domain.Command{
		Target: domain.Ref{Kind: kind, ID: id}, ID: uuid.NewString(), ClientID: w.client, Actor: "test", Time: w.now, Payload: p,
	})
	if err != nil || outcome.Result != handlers.Accepted {
		w.t.Fatalf("%s %s %s: %v %v", p.CommandName(), kind, id, outcome, err)
	}
	w.now = w.now.Add(time.Second)
	return outcome.Sequence
}

func (w *world) openGroup(users ...domain.Party) string {
	w.t.Helper()
	id := uuid.NewString()
	w.do(domain.KindAccountGroup, id, &domain.OpenAccountGroup{Users: users, Type: "PERSONAL"})
	w.groups[id] = w.client
	return id
}

func (w *world) openAccount(group, name string) string {
	w.t.Helper()
	id := uuid.NewString()
	w.do(domain.KindAccount, id, &domain.OpenAccount{AccountGroupID: group, Type: domain.Trading, Name: name})
	w.accounts[id] = w.client
	return id
}

func (w *world) rename(account, name string) uint64 {
	w.t.Helper()
	return w.do(domain.KindAccount, account, &domain.RenameAccount{Name: name})
}

// closeAccount closes an account that nothing blocks, and tells its group.
func (w *world) closeAccount(group, account string) {
	w.t.Helper()
	at := w.now
	w.do(domain.KindAccount, account, &domain.RequestAccountClosure{})
	w.do(domain.KindAccountGroup, group, &domain.RecordAccountClosure{AccountID: account, ClosedAt: at})
}

// closeGroup closes a group without open accounts, and records the reports of its owners.
func (w *world) closeGroup(group string) {
	w.t.Helper()
	w.do(domain.KindAccountGroup, group, &domain.RequestAccountGroupClosure{ClosureReason: "user_initiated"})
	g := w.group(group)
	for _, user := range g.Users {
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
	a, err := w.engine.Account(testContext(w.t), w.accounts[id], id)
	if err != nil {
		w.t.Fatalf("account %s: %v", id, err)
	}
	return a
}

func (w *world) group(id string) *domain.AccountGroup {
	w.t.Helper()
	g, err := w.engine.AccountGroup(testContext(w.t), w.groups[id], id)
	if err != nil {
		w.t.Fatalf("account group %s: %v", id, err)
	}
	return g
}

// The lists as they have to be, unsorted, from the engine's own reads of single resources.

func (w *world) wantAccounts(client, user string) []domain.AccountResource {
	want := []domain.AccountResource{}
	for id, of := range w.accounts {
		if r := w.account(id).Resource(); of == client && (user == "" || has(r.Users, user)) {
			want = append(want, r)
		}
	}
	return want
}

func (w *world) wantGroups(client, user string) []domain.AccountGroupResource {
	want := []domain.AccountGroupResource{}
	for id, of := range w.groups {
		if r := w.group(id).Resource(); of == client && (user == "" || has(r.Users, user)) {
			want = append(want, r)
		}
	}
	return want
}

func (w *world) wantReports(client, user string) []domain.ReportResource {
	want := []domain.ReportResource{}
	for id, group := range w.reports {
		g := w.group(group)
		report, ok := g.Report(id)
		if !ok {
			w.t.Fatalf("the group %s has no report %s", group, id)
		}
		if r := g.ReportResource(report); w.groups[group] == client && (user == "" || r.UserID == user) {
			want = append(want, r)
		}
	}
	return want
}

func has(parties []domain.Party, user string) bool {
	return slices.ContainsFunc(parties, func(p domain.Party) bool { return p.ID == user })
}

// keys are the members by which lists are sorted.
type keys struct {
	id               string
	created, updated time.Time
}

func accountKeys(r domain.AccountResource) keys    { return keys{r.ID, r.CreatedAt, r.UpdatedAt} }
func groupKeys(r domain.AccountGroupResource) keys { return keys{r.ID, r.CreatedAt, r.UpdatedAt} }
func reportKeys(r domain.ReportResource) keys      { return keys{r.ID, r.CreatedAt, r.CreatedAt} }

// compare is the order of the contract: the member, then the id; DESC turns both round.
func compare(p domain.Page, a, b keys) int {
	c := 0
	switch p.Sort {
	case domain.SortCreatedAt:
		c = a.created.Compare(b.created)
	case domain.SortUpdatedAt:
		c = a.updated.Compare(b.updated)
	}
	c = cmp.Or(c, cmp.Compare(a.id, b.id))
	if p.Order == domain.Descending {
		return -c
	}
	return c
}

// started gives a running model on a file in a folder of the test; it stops with the test.
func started(t testing.TB, log *eventstore.Log, path string) (*readmodel.Model, *logs) {
	t.Helper()
	logged := newLogs()
	m := readmodel.New(readmodel.Config{Path: path, Log: log, Logger: slog.New(slog.NewTextHandler(logged, nil))})
	if err := m.Start(testContext(t)); err != nil {
		t.Fatalf("start the read model: %v", err)
	}
	t.Cleanup(func() { stop(t, m) })
	return m, logged
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
