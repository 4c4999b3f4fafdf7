package readmodel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"closure/domain"
	"closure/eventstore"
	"closure/projections/readmodel"
)

// What a model logs of a new shape.
const (
	saysBeside = "building a new file of the read model beside the one that serves"
	saysMoved  = "the new file of the read model serves"
)

// next is the version of a program to come.
const next = readmodel.SchemaVersion + 1

// newer gives a model of the next version, that reads the files of this one.
func newer(log *eventstore.Log, path string) (*readmodel.Model, *logs) {
	m, logged := made(log, path)
	m.As(next, readmodel.SchemaVersion)
	return m, logged
}

// held holds a model at a point.
type held struct {
	reached chan uint64   // the position, each time it comes there
	let     chan struct{} // closed: it may go on
}

// hold holds a model, before its start, whenever it comes to a point with a position from some one on.
func hold(m *readmodel.Model, point string, from uint64) *held {
	h := &held{reached: make(chan uint64, 1), let: make(chan struct{})}
	m.At(func(ctx context.Context, at string, position uint64) error {
		if at != point || position < from {
			return nil
		}
		select {
		case h.reached <- position:
		default: // nobody asked about the one before
		}
		select {
		case <-h.let:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return h
}

func (h *held) await(t testing.TB) uint64 {
	t.Helper()
	select {
	case position := <-h.reached:
		return position
	case <-testContext(t).Done():
		t.Fatal("it did not come to the point")
		return 0
	}
}

// cutShort stops a model without waiting for what it has in hand.
func cutShort(m *readmodel.Model) {
	ended, end := context.WithDeadline(context.Background(), time.Now())
	defer end()
	_ = m.Stop(ended) // says that it did not wait; what it leaves counts
}

// files are the names in the folder of a file.
func files(t testing.TB, path string) (names []string) {
	t.Helper()
	found, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		names = append(names, f.Name())
	}
	return names
}

// checkOneFile: of a stopped model there is the file and nothing else, of the next version, and it says what the log says.
func checkOneFile(t testing.TB, w *world, path string) {
	t.Helper()
	if names := files(t, path); len(names) != 1 || names[0] != filepath.Base(path) {
		t.Errorf("in the folder are %q, want the one file", names)
	}
	checkVersion(t, path, next)
	readSnapshot(t, path).check(t, w.log)
}

func checkVersion(t testing.TB, path string, want int) {
	t.Helper()
	var version int
	db := openFile(t, path)
	defer func() { _ = db.Close() }() // it was only read
	if err := db.QueryRowContext(testContext(t), `PRAGMA user_version`).Scan(&version); err != nil || version != want {
		t.Errorf("the version is %d, %v; want %d", version, err, want)
	}
}

// A file of a former shape serves, and is kept up to date, while a new one is built. A stop on the way costs nothing of what
// was built; in the end there is one file.
func TestFormerFileServesWhileItIsRenewed(t *testing.T) {
	w := newWorld(t)
	fill(t, w, uuid.NewString(), 480, 4000)
	path, position := filled(t, w) // with two accounts more; their marks tell which file serves
	const enough = 1000

	m, logged := newer(w.log, path)
	building := hold(m, readmodel.PointBuilding, enough)
	start(t, m)
	if err := m.Ready(); err != nil || m.Position() < position {
		t.Errorf("at the start: %v, position %d, want %d", err, m.Position(), position)
	}
	built := building.await(t)
	group := w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner})
	w.openAccount(group, "three")
	last := caughtUp(t, w.log, m)
	checkMarks(t, w, m, 482, 483)
	if lag, err := m.Lag(testContext(t)); lag != 0 || err != nil || m.Position() != last || m.Ready() != nil {
		t.Errorf("while it is renewed: lag %d, %v, position %d of %d, %v", lag, err, m.Position(), last, m.Ready())
	}
	cutShort(m)
	if !logged.has(saysBeside) || !logged.has("kept_up_to_date=true") || logged.has(saysMoved) || built >= position {
		t.Errorf("it was not held at %d of %d:\n%s", built, position, logged)
	}

	checkVersion(t, path, next<<16|readmodel.SchemaVersion) // no program of the former version takes it for its own

	again, logged := newer(w.log, path)
	building = hold(again, readmodel.PointBuilding, 0)
	start(t, again)
	if went := building.await(t); went != built {
		t.Errorf("it goes on at %d, and was at %d", went, built)
	}
	checkMarks(t, w, again, 482, 483)
	close(building.let)
	logged.waitFor(t, saysMoved, 1)
	checkMarks(t, w, again, 0, 483)
	if again.Position() < last {
		t.Errorf("the position went back from %d to %d", last, again.Position())
	}
	w.openAccount(group, "four")
	caughtUp(t, w.log, again)
	checkMarks(t, w, again, 0, 484)
	stop(t, again)
	checkOneFile(t, w, path)

	usual, logged := newer(w.log, path)
	start(t, usual)
	checkMarks(t, w, usual, 0, 484)
	stop(t, usual)
	if logged.has(saysBeside) || logged.has("building the read model from the log") {
		t.Errorf("it is built once more:\n%s", logged)
	}
}

func checkMarks(t testing.TB, w *world, m *readmodel.Model, marks, accounts int) {
	t.Helper()
	items, total, err := m.Accounts(testContext(t), w.client, "", domain.Page{Limit: domain.MaxLimit})
	if err != nil || total != accounts || len(items) != accounts {
		t.Errorf("%d accounts in a list of %d, %v; want %d", total, len(items), err, accounts)
	}
	n := 0
	for _, item := range items {
		if item.Name == mark {
			n++
		}
	}
	if n != marks {
		t.Errorf("%d of %d accounts have the mark of the former file, want %d", n, total, marks)
	}
}

// A former file that this version cannot write to stands still and serves, and says so; one without a list serves the others.
func TestFormerFileThatStandsStill(t *testing.T) {
	w := newWorld(t)
	path, position := filled(t, w)
	change(t, path, `DROP TABLE closure`)
	change(t, path, `ALTER TABLE order_account RENAME COLUMN account_id TO account`)

	w.rename(firstAccount(w), "news before the start") // so that it is behind from the start on
	m, logged := newer(w.log, path)
	building := hold(m, readmodel.PointBuilding, 0)
	start(t, m)
	building.await(t)
	last := w.rename(firstAccount(w), "news")
	checkMarks(t, w, m, 2, 2)
	for what, err := range map[string]error{
		"closings": third(m.Closures(testContext(t), domain.ClosureQuery{})),
		"orders":   third(m.OrderAccount(testContext(t), w.client, uuid.NewString())),
	} {
		if !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("the list of %s: %v, want ErrUnavailable", what, err)
		}
	}
	lag, err := m.Lag(testContext(t))
	if lag != last-position || err != nil || m.Position() != position || m.Ready() != nil {
		t.Errorf("lag %d, %v, position %d, %v; want %d, at %d, ready", lag, err, m.Position(), m.Ready(), last-position, position)
	}
	if err := m.WaitFor(shortContext(t), last); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for what is not shown: %v", err)
	}
	close(building.let)
	if err := m.WaitFor(testContext(t), last); err != nil {
		t.Fatal(err)
	}
	checkLists(t, w, m, w.client)
	stop(t, m)
	if !logged.has("kept_up_to_date=false") || logged.count(saysMoved) != 1 {
		t.Errorf("the log says:\n%s", logged)
	}
	checkOneFile(t, w, path)
}

// What was shown once stays, and what was waited for shows, also over the exchange while the log is written.
func TestListsDoNotGoBackInTheExchange(t *testing.T) {
	w := newWorld(t)
	fill(t, w, uuid.NewString(), 480, 4000)
	path, _ := filled(t, w)
	m, logged := newer(w.log, path)
	built := hold(m, readmodel.PointBuilt, 0)
	start(t, m)
	built.await(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		close(built.let)
		logged.waitFor(t, saysMoved, 1)
	}()
	account, moved := firstAccount(w), false
	for n := 0; !moved || n < 20; n++ {
		select {
		case <-done:
			moved = true
		default:
		}
		name := fmt.Sprint("name ", n)
		if err := m.WaitFor(testContext(t), w.rename(account, name)); err != nil {
			t.Fatal(err)
		}
		shows := ""
		items, total, err := m.Accounts(testContext(t), w.client, "", domain.Page{Limit: domain.MaxLimit})
		for _, item := range items {
			if item.ID == account {
				shows = item.Name
			}
		}
		if err != nil || total != 482 || shows != name {
			t.Fatalf("moved %v: %d accounts, %v, the name is %q; want 482, %q", moved, total, err, shows, name)
		}
	}
	stop(t, m)
	checkOneFile(t, w, path)
}

// Somebody who has a file open, and would later delete what SQLite keeps beside it, holds up the exchange, and nothing else.
func TestExchangeWaitsForOthers(t *testing.T) {
	for name, of := range map[string]string{"the former file": "", "the new file": ".new"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			path, _ := filled(t, w)
			m, logged := newer(w.log, path)
			built := hold(m, readmodel.PointBuilt, 0)
			start(t, m)
			built.await(t)
			other := openFile(t, path+of)
			if err := other.PingContext(testContext(t)); err != nil {
				t.Fatal(err)
			}
			if _, err := other.ExecContext(testContext(t), `SELECT * FROM checkpoint`); err != nil {
				t.Fatal(err)
			}
			close(built.let)
			logged.waitFor(t, "open elsewhere", 2)
			checkMarks(t, w, m, 2, 2)
			caughtUp(t, w.log, m)
			if logged.has(saysMoved) {
				t.Error("it was moved")
			}
			if err := other.Close(); err != nil {
				t.Fatal(err)
			}
			logged.waitFor(t, saysMoved, 1)
			checkMarks(t, w, m, 0, 2)
			stop(t, m)
			checkOneFile(t, w, path)
		})
	}
}

// What is beside the file is used only when it is sound, of this log and of this version.
func TestWhatIsBesideTheFile(t *testing.T) {
	for name, tt := range map[string]struct {
		beside func(t *testing.T, w *world, path string)
		used   bool
	}{
		"garbage": {func(t *testing.T, _ *world, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("garbage "), 4096), 0o600); err != nil {
				t.Fatal(err)
			}
		}, false},
		"of another version": {func(t *testing.T, w *world, path string) {
			buildAs(t, w, path, readmodel.SchemaVersion)
		}, false},
		"of another log": {func(t *testing.T, _ *world, path string) {
			other := newWorld(t)
			other.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner})
			buildAs(t, other, path, next)
		}, false},
		"the right one": {func(t *testing.T, w *world, path string) { buildAs(t, w, path, next) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			path, position := filled(t, w)
			tt.beside(t, w, path+".new")
			m, logged := newer(w.log, path)
			start(t, m)
			logged.waitFor(t, saysMoved, 1)
			from := uint64(0)
			if tt.used {
				from = position
			}
			if !logged.has(fmt.Sprintf("kept_up_to_date=true from=%d\n", from)) {
				t.Errorf("it does not go on at %d:\n%s", from, logged)
			}
			checkMarks(t, w, m, 0, 2)
			stop(t, m)
			checkOneFile(t, w, path)
		})
	}
}

// buildAs builds the file of a world by a program of some version.
func buildAs(t *testing.T, w *world, path string, version int) {
	t.Helper()
	m, _ := made(w.log, path)
	m.As(version, version)
	start(t, m)
	caughtUp(t, w.log, m)
	stop(t, m)
}

// When the file that serves is lost, the one that was being built beside it takes its place at once, as far as it is.
func TestLostWhileItIsRenewed(t *testing.T) {
	w := newWorld(t)
	path, position := filled(t, w)
	buildAs(t, w, path+".new", next)
	loseDatabase(t, path)
	m, logged := newer(w.log, path)
	start(t, m)
	if m.Position() != position || logged.has(saysBeside) {
		t.Errorf("it begins at %d, not at %d:\n%s", m.Position(), position, logged)
	}
	checkMarks(t, w, m, 0, 2)
	stop(t, m)
	checkOneFile(t, w, path)
}

// Rows that this version would read wrongly are not shown: the file is built in its place, and is not ready until it has the
// log as it was.
func TestFormerFileThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	path, position := filled(t, w)
	m, logged := made(w.log, path)
	m.As(next, next)
	serving := hold(m, readmodel.PointServing, 0)
	start(t, m)
	serving.await(t)
	want := fmt.Sprintf("the lists are being built: 0 of %d commits", position)
	if err := m.Ready(); err == nil || err.Error() != want || m.Position() != 0 || !logged.has("its version is") {
		t.Errorf("got %v at %d, want %q:\n%s", err, m.Position(), want, logged)
	}
	checkMarks(t, w, m, 0, 0)
	close(serving.let)
	caughtUp(t, w.log, m)
	if err := m.Ready(); err != nil {
		t.Error(err)
	}
	checkMarks(t, w, m, 0, 2)
	stop(t, m)
	checkOneFile(t, w, path)
}

// A build that takes its time says how far it is, and when it is done.
func TestBuildSaysHowFarItIs(t *testing.T) {
	w := newWorld(t)
	fill(t, w, uuid.NewString(), 48, 1600)
	m, logged := made(w.log, file(t))
	m.ReportEvery(time.Millisecond)
	serving := hold(m, readmodel.PointServing, 0)
	start(t, m)
	serving.await(t)
	logged.waitFor(t, `msg="the read model is being built" projection=readmodel at=0 of=1600 `, 2)
	close(serving.let)
	logged.waitFor(t, `msg="the read model has caught up"`, 1)
}

func third[A, B any](_ A, _ B, err error) error { return err }

func firstAccount(w *world) string {
	for id := range w.accounts {
		return id
	}
	return ""
}
