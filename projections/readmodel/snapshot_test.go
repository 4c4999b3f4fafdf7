package readmodel_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
)

// snapshot is all that a file says at one moment: its position, and its rows as lines of text.
type snapshot struct {
	position uint64
	hash     string
	rows     map[string]string // what identifies the row -> the rest
}

// readSnapshot reads a file, whoever else has it open.
func readSnapshot(t testing.TB, path string) snapshot {
	t.Helper()
	db := openFile(t, path)
	defer func() { _ = db.Close() }() // it was only read
	return snapshotOf(t, db)
}

// snapshotOf reads all in one transaction.
func snapshotOf(t testing.TB, db *sql.DB) snapshot {
	t.Helper()
	tx, err := db.BeginTx(testContext(t), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatalf("read the file: %v", err)
	}
	defer func() { _ = tx.Rollback() }() // it was only read
	s := snapshot{rows: map[string]string{}}
	if err := tx.QueryRow(`SELECT position, hash FROM checkpoint`).Scan(&s.position, &s.hash); err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	for _, table := range []string{"account", "account_group", "report"} {
		s.read(t, tx, fmt.Sprintf(`SELECT '%s ' || id, client_id || ' ' || created_at || ' ' || updated_at || ' ' || body FROM %[1]s`, table))
	}
	s.read(t, tx, `SELECT 'closing of ' || kind || ' ' || id,
		client_id || ' ' || requested_at || ' ' || status || ' ' || reconciliation || ' ' || body FROM closure`)
	s.read(t, tx, `SELECT code || ' of ' || kind || ' ' || id,
		client_id || ' ' || requested_at || ' ' || status || ' ' || reconciliation FROM closure_blocker`)
	s.read(t, tx, `SELECT 'order ' || order_id || ' of ' || client_id, account_id FROM order_account`)
	s.read(t, tx, `SELECT list || ' ' || id || ' of ' || user_id, client_id || ' ' || created_at || ' ' || updated_at FROM resource_user`)
	return s
}

func (s snapshot) read(t testing.TB, tx *sql.Tx, query string) {
	t.Helper()
	found, err := tx.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = found.Close() }() // its error is that of Err below
	for found.Next() {
		var key, rest string
		if err := found.Scan(&key, &rest); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		s.rows[key] = rest
	}
	if err := found.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// check compares the snapshot with a fold of the log up to its position, commit by commit and without the model's code.
func (s snapshot) check(t testing.TB, log *eventstore.Log) {
	t.Helper()
	want := folded(t, log, s.position)
	if s.hash != want.hash {
		t.Errorf("at %d the hash is %q, want %q", s.position, s.hash, want.hash)
	}
	if !maps.Equal(s.rows, want.rows) {
		for _, key := range slices.Sorted(maps.Keys(want.rows)) {
			if s.rows[key] != want.rows[key] {
				t.Errorf("at %d, %s:\n got %s\nwant %s", s.position, key, s.rows[key], want.rows[key])
			}
		}
		t.Errorf("at %d the file has %d rows, and the log says %d", s.position, len(s.rows), len(want.rows))
	}
}

func folded(t testing.TB, log *eventstore.Log, position uint64) snapshot {
	t.Helper()
	s := snapshot{position: position, rows: map[string]string{}}
	states := map[domain.Ref]domain.Aggregate{}
	for at := uint64(0); at < position; {
		commits, err := log.Read(testContext(t), at+1, int(position-at))
		if err != nil || len(commits) == 0 {
			t.Fatalf("read the log from %d: %d commits, %v", at+1, len(commits), err)
		}
		for _, c := range commits {
			ref := domain.Ref{Kind: domain.Kind(c.Aggregate), ID: c.AggregateID}
			if states[ref] == nil {
				states[ref] = domain.New(ref)
			}
			if err := replay.Apply(states[ref], []eventstore.Recorded{c}); err != nil {
				t.Fatal(err)
			}
			s.put(t, states[ref], c)
			at, s.hash = c.Sequence, c.Hash
		}
	}
	return s
}

func (s snapshot) put(t testing.TB, state domain.Aggregate, c eventstore.Recorded) {
	t.Helper()
	add := func(table, id string, created, updated time.Time, resource any, users ...string) {
		body, err := json.Marshal(resource)
		if err != nil {
			t.Fatal(err)
		}
		const layout = "2006-01-02T15:04:05.000000000Z"
		times := c.ClientID + " " + created.Format(layout) + " " + updated.Format(layout)
		s.rows[table+" "+id] = times + " " + string(body)
		for _, user := range users {
			s.rows[table+" "+id+" of "+user] = times
		}
	}
	users := func(parties []domain.Party) (users []string) {
		for _, p := range parties {
			users = append(users, p.ID)
		}
		return users
	}
	switch a := state.(type) {
	case *domain.Account:
		add("account", a.ID, a.CreatedAt, a.UpdatedAt, a.Resource(), users(a.Users)...)
		s.putClosing(t, a, c)
		s.putOrders(t, c)
	case *domain.AccountGroup:
		add("account_group", a.ID, a.CreatedAt, a.UpdatedAt, a.Resource(), users(a.Users)...)
		for _, user := range a.Users {
			if report, ok := a.Report(a.ReportID(user.ID, domain.ReportAccountClosing)); ok {
				add("report", report.ID, report.CreatedAt, report.CreatedAt, a.ReportResource(report), user.ID)
			}
		}
		s.putClosing(t, a, c)
	}
}

func (s snapshot) putClosing(t testing.TB, a domain.Closable, c eventstore.Recorded) {
	t.Helper()
	of := c.Aggregate + " " + c.AggregateID
	maps.DeleteFunc(s.rows, func(key, _ string) bool {
		return strings.HasSuffix(key, " of "+of) && !strings.HasPrefix(key, "closing")
	})
	if a.RequestedAt() == nil {
		return
	}
	closure := a.Closure(domain.Outlook{Now: c.Time})
	body, err := json.Marshal(closure)
	require.NoError(t, err)
	filters := fmt.Sprintf("%s %s %s %d", c.ClientID, a.RequestedAt().Format("2006-01-02T15:04:05.000000000Z"), a.Status(),
		min(1, len(a.(interface {
			Reconciliations() []domain.Reconciliation
		}).Reconciliations())))
	s.rows["closing of "+of] = filters + " " + string(body)
	for _, b := range closure.Blockers {
		s.rows[string(b.Code)+" of "+of] = filters
	}
}

// putOrders adds the orders of a commit, unless the client had their ids before.
func (s snapshot) putOrders(t testing.TB, c eventstore.Recorded) {
	t.Helper()
	events, err := replay.Events(c.Commit)
	require.NoError(t, err)
	for _, e := range events {
		placed, ok := e.(domain.OrderPlaced)
		if key := "order " + placed.OrderID + " of " + c.ClientID; ok && s.rows[key] == "" {
			s.rows[key] = c.AggregateID
		}
	}
}

// busy writes to the log until the context ends: groups with several users, accounts that are renamed and closed, reports.
// It returns when it has written its last.
func busy(ctx context.Context, w *world) (finish func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			populate(w, ids[n%len(ids)], ids[(n+1)%len(ids)], ids[(n+2)%len(ids)])
		}
	}()
	return func() { <-done }
}

// ids of some users.
var ids = [...]string{
	"7a1d0f0e-0000-4000-8000-000000000001", "7a1d0f0e-0000-4000-8000-000000000002",
	"7a1d0f0e-0000-4000-8000-000000000003", "7a1d0f0e-0000-4000-8000-000000000004",
}
