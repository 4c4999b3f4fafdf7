package readmodel_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"closure/domain"
	"closure/eventstore"
	"closure/projections/readmodel"
)

// shortContext is for what is expected not to come.
func shortContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestLifecycle(t *testing.T) {
	w := newWorld(t)
	group := w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner})

	never := readmodel.New(readmodel.Config{Path: file(t), Log: w.log})
	_, _, listErr := never.Accounts(testContext(t), w.client, "", domain.Page{})
	_, _, closuresErr := never.Closures(testContext(t), domain.ClosureQuery{})
	_, _, orderErr := never.OrderAccount(testContext(t), w.client, uuid.NewString())
	_, lagErr := never.Lag(testContext(t))
	if listErr == nil || closuresErr == nil || orderErr == nil || lagErr == nil || never.WaitFor(testContext(t), 1) == nil || never.Position() != 0 {
		t.Errorf("before the start: %v, %v, position %d", listErr, lagErr, never.Position())
	}
	stop(t, never)
	stop(t, never)
	if err := never.Start(testContext(t)); err == nil {
		t.Error("it starts after a stop")
	}

	m, _ := started(t, w.log, file(t))
	if err := m.Start(testContext(t)); err == nil {
		t.Error("it starts twice")
	}
	last := caughtUp(t, w.log, m)
	if lag, err := m.Lag(testContext(t)); lag != 0 || err != nil || m.Position() != last {
		t.Errorf("caught up: lag %d, %v, position %d of %d", lag, err, m.Position(), last)
	}
	if err := m.WaitFor(shortContext(t), last+1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for what is not there: %v", err)
	}
	stop(t, m)
	stop(t, m)
	w.do(domain.KindAccountGroup, group, &domain.Lock{})
	if lag, err := m.Lag(testContext(t)); lag != 1 || err != nil || m.Position() != last {
		t.Errorf("stopped: lag %d, %v, position %d of %d", lag, err, m.Position(), last)
	}
	_, _, listErr = m.Accounts(testContext(t), w.client, "", domain.Page{})
	_, _, closuresErr = m.Closures(testContext(t), domain.ClosureQuery{})
	_, _, orderErr = m.OrderAccount(testContext(t), w.client, uuid.NewString())
	if listErr == nil || closuresErr == nil || orderErr == nil {
		t.Errorf("it lists after a stop: %v, %v, %v", listErr, closuresErr, orderErr)
	}
}

// appendRaw appends a commit that no command makes.
func appendRaw(t *testing.T, w *world, kind domain.Kind, eventType, data string) uint64 {
	t.Helper()
	recorded, err := w.log.Append(testContext(t), eventstore.Commit{
		ID: uuid.NewString(), Aggregate: string(kind), AggregateID: uuid.NewString(), ClientID: w.client, Actor: "test",
		CommandID: uuid.NewString(), Command: "test", Time: w.now,
		Events: []eventstore.Event{{Type: eventType, Version: 1, Data: json.RawMessage(data)}},
	}, eventstore.Head{})
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return recorded.Sequence
}

// A commit of a version to come: what is before it shows, what is behind it does not, and it is never passed over.
func TestUnknownEventIsNotSkipped(t *testing.T) {
	w := newWorld(t)
	before := w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner})
	painted := appendRaw(t, w, domain.KindAccountGroup, "account_group.painted", `{"colour":"blue"}`)
	w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner})
	delete(w.groups, before)
	var hidden string
	for id := range w.groups {
		hidden = id
	}

	path := file(t)
	for round := range 2 { // also after a restart
		m, logged := started(t, w.log, path)
		// The second failure shows that it comes again.
		logged.waitFor(t, "unknown event: account_group.painted version 1", 2)
		items, total, err := m.AccountGroups(testContext(t), w.client, "", domain.Page{})
		if err != nil || total != 1 || len(items) != 1 || items[0].ID != before {
			t.Errorf("round %d: got %v, %d, %v; want the group %s and not %s", round, items, total, err, before, hidden)
		}
		if m.Position() >= painted {
			t.Errorf("round %d: the position is %d, behind the commit that was not read", round, m.Position())
		}
		stop(t, m)
	}
}

// A history that does not begin with an opening has no resource to list, and holds up nothing.
func TestNotOpenedIsNotListed(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	appendRaw(t, w, domain.KindAccount, domain.EventAccountPositionRecorded,
		`{"isin":"IE00B4L5Y983","quantity":"1","pending_settlement":"0","revision":1}`)
	caughtUp(t, w.log, m)
	for _, client := range []string{w.client, ""} {
		if items, total, err := m.Accounts(testContext(t), client, "", domain.Page{}); total != 0 || len(items) != 0 || err != nil {
			t.Errorf("client %q: got %v, %d, %v; want nothing", client, items, total, err)
		}
	}
}

// Two models on one log, each with its file, while the log is written: both come to show the same.
func TestTwoModels(t *testing.T) {
	w := newWorld(t)
	one, _ := started(t, w.log, file(t))
	ann, bob, kim := uuid.NewString(), uuid.NewString(), uuid.NewString()
	populate(w, ann, bob, kim)
	two, _ := started(t, w.log, file(t))
	populate(w, bob, kim, ann)
	for _, m := range []*readmodel.Model{one, two} {
		caughtUp(t, w.log, m)
		checkLists(t, w, m, w.client, ann, bob, kim)
	}
}

// Readers while the model writes: each page fits its total, and what was there once stays, in the lists of accounts and in
// that of closings.
func TestReadersWhileWriting(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	ann := uuid.NewString()
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	reads := make([]int, 6)
	read := []func() (n, total int, err error){
		func() (int, int, error) {
			items, total, err := m.Accounts(context.Background(), w.client, "", domain.Page{Limit: domain.MaxLimit})
			return len(items), total, err
		},
		func() (int, int, error) {
			items, total, err := m.Accounts(context.Background(), w.client, ann, domain.Page{Limit: domain.MaxLimit})
			return len(items), total, err
		},
		func() (int, int, error) {
			items, total, err := m.Closures(context.Background(), domain.ClosureQuery{Limit: domain.MaxLimit})
			return len(items), total, err
		},
	}
	for i := range reads {
		readers.Go(func() {
			// Each commit that arrives is an occasion to read.
			for seen := 0; m.WaitFor(ctx, m.Position()+1) == nil; reads[i]++ {
				n, total, err := read[i%len(read)]()
				if err != nil || n != total || total < seen {
					t.Errorf("reader %d: %d items, total %d after %d, %v", i, n, total, seen, err)
				}
				seen = total
			}
		})
	}
	group := w.openGroup(domain.Party{ID: ann, Type: domain.Owner})
	for i := range 100 {
		w.closeAccount(w.openAccount(group, fmt.Sprint(i)))
	}
	caughtUp(t, w.log, m)
	cancel()
	readers.Wait()
	if _, total, err := m.Accounts(testContext(t), w.client, ann, domain.Page{}); total != 100 || err != nil {
		t.Errorf("%d accounts, %v; want 100", total, err)
	}
	if _, total, err := m.Closures(testContext(t), domain.ClosureQuery{ClientID: w.client}); total != 100 || err != nil {
		t.Errorf("%d closings, %v; want 100", total, err)
	}
	if slices.Min(reads) == 0 {
		t.Errorf("the readers read %v times; each has to read at least once", reads)
	}
}
