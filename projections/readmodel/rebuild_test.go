package readmodel_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"modernc.org/sqlite"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
	"closure/projections/readmodel"
)

// openFile opens the file of a model with a connection of its own.
func openFile(t testing.TB, path string) *sql.DB {
	t.Helper()
	connector, err := sqlite.NewConnector((&url.URL{Scheme: "file", Path: path, RawQuery: "mode=rw&_busy_timeout=5000"}).String())
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// change runs a statement in the file while the model is stopped.
func change(t testing.TB, path, statement string) {
	t.Helper()
	db := openFile(t, path)
	if _, err := db.ExecContext(testContext(t), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	if err := db.Close(); err != nil {
		t.Fatalf("close %s: %v", path, err)
	}
}

// mark is the name that markAccounts gives.
const mark = "not from the log"

// markAccounts writes what the log does not say: a model that goes on from its checkpoint keeps it, and one that builds
// its file anew does not.
func markAccounts(t testing.TB, path string) {
	t.Helper()
	change(t, path, `UPDATE account SET body = json_set(body, '$.name', '`+mark+`')`)
}

func marked(t testing.TB, w *world, m *readmodel.Model) int {
	t.Helper()
	items, _, err := m.Accounts(testContext(t), w.client, "", domain.Page{})
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	n := 0
	for _, item := range items {
		if item.Name == mark {
			n++
		}
	}
	return n
}

// filled gives the file of a stopped model that shows two accounts in a populated log, with their marks.
func filled(t testing.TB, w *world) (path string, position uint64) {
	t.Helper()
	path = file(t)
	m, _ := started(t, w.log, path)
	group := w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner})
	w.openAccount(group, "one")
	w.openAccount(group, "two")
	position = caughtUp(t, w.log, m)
	stop(t, m)
	markAccounts(t, path)
	return path, position
}

// After a restart the model begins behind its checkpoint, and does not touch what came before.
func TestRestartContinues(t *testing.T) {
	w := newWorld(t)
	path, position := filled(t, w)
	m, logged := started(t, w.log, path)
	if m.Position() < position {
		t.Errorf("the position is %d after a restart at %d", m.Position(), position)
	}
	group := w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner})
	w.openAccount(group, "three")
	caughtUp(t, w.log, m)
	if n := marked(t, w, m); n != 2 {
		t.Errorf("%d marks are left, want 2: the file was built anew", n)
	}
	if _, total, err := m.Accounts(testContext(t), w.client, "", domain.Page{}); total != 3 || err != nil {
		t.Errorf("%d accounts, %v; want 3", total, err)
	}
	if logged.has("building the read model") {
		t.Error("it says that it builds the file anew")
	}
	// With nothing new in the log it begins at the end.
	stop(t, m)
	again, _ := started(t, w.log, path)
	if lag, err := again.Lag(testContext(t)); lag != 0 || err != nil {
		t.Errorf("the lag is %d, %v, right after a restart without news", lag, err)
	}
}

// loseDatabase deletes a file and leaves its write-ahead log, with what the log does not say.
func loseDatabase(t *testing.T, path string) {
	t.Helper()
	db := openFile(t, path)
	if _, err := db.ExecContext(testContext(t), `UPDATE account SET updated_at = '9999'`); err != nil {
		t.Fatal(err)
	}
	wal, err := os.ReadFile(path + "-wal")
	if err != nil || len(wal) == 0 {
		t.Fatalf("no write-ahead log: %v", err)
	}
	if err := errors.Join(db.Close(), os.Remove(path), os.WriteFile(path+"-wal", wal, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// Whatever is wrong with the file, the model builds it anew, says so, and shows what the log says.
func TestRebuild(t *testing.T) {
	overwrite := func(t *testing.T, path string, from, n int64) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		garbage := make([]byte, n)
		for i := range garbage {
			garbage[i] = byte(i*7 + 3)
		}
		if _, err := f.WriteAt(garbage, from); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	size := func(t *testing.T, path string) int64 {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	truncate := func(t *testing.T, path string, to int64) {
		t.Helper()
		if err := os.Truncate(path, to); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		damage func(t *testing.T, path string)
		says   string
	}{
		"deleted": {func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, "level=INFO msg=\"building the read model from the log\""},
		"deleted, and its write-ahead log is not": {loseDatabase, "it is missing"},
		"empty":          {func(t *testing.T, path string) { truncate(t, path, 0) }, "it is missing"},
		"all garbage":    {func(t *testing.T, path string) { overwrite(t, path, 0, size(t, path)) }, "level=WARN"},
		"garbage inside": {func(t *testing.T, path string) { overwrite(t, path, 4096, size(t, path)-4096) }, "level=WARN"},
		"garbage in a table": {func(t *testing.T, path string) {
			db := openFile(t, path)
			var page, pageSize int64
			const query = `SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = 'report_updated_at'`
			if err := db.QueryRowContext(testContext(t), query).Scan(&page, &pageSize); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			overwrite(t, path, (page-1)*pageSize, pageSize)
		}, "it is damaged"},
		"cut in half": {func(t *testing.T, path string) { truncate(t, path, size(t, path)/2) }, "level=WARN"},
		"another version": {func(t *testing.T, path string) {
			change(t, path, `PRAGMA user_version = 4711`)
		}, "its version is 4711"},
		"continued by a newer version": {func(t *testing.T, path string) {
			change(t, path, fmt.Sprintf(`PRAGMA user_version = %d`, (readmodel.SchemaVersion+1)<<16|readmodel.SchemaVersion))
		}, fmt.Sprintf("its version is %d, continued by %d", readmodel.SchemaVersion, readmodel.SchemaVersion+1)},
		"another column": {func(t *testing.T, path string) {
			change(t, path, `ALTER TABLE report RENAME COLUMN body TO content`)
		}, "level=WARN"},
		"no table": {func(t *testing.T, path string) { change(t, path, `DROP TABLE account_group`) }, "level=WARN"},
		"no checkpoint": {func(t *testing.T, path string) {
			change(t, path, `DELETE FROM checkpoint`)
		}, "level=WARN"},
		"ahead of the log": {func(t *testing.T, path string) {
			change(t, path, `UPDATE checkpoint SET position = position + 1`)
		}, "and the log ends at"},
		"another commit at its position": {func(t *testing.T, path string) {
			change(t, path, `UPDATE checkpoint SET position = position - 1`)
		}, "it is of another log"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			path, _ := filled(t, w)
			tt.damage(t, path)
			m, logged := started(t, w.log, path)
			logged.waitFor(t, "building the read model from the log", 1) // all of a file is looked at after the start
			if !logged.has(tt.says) {
				t.Errorf("the log does not say %q:\n%s", tt.says, logged.String())
			}
			caughtUp(t, w.log, m)
			checkLists(t, w, m, w.client)
			stop(t, m)
			checkHealthy(t, w, path)
		})
	}
}

// checkHealthy: the file is used as it is from now on.
func checkHealthy(t *testing.T, w *world, path string) {
	t.Helper()
	markAccounts(t, path)
	m, _ := started(t, w.log, path)
	caughtUp(t, w.log, m)
	if n := marked(t, w, m); n != len(w.accounts) {
		t.Errorf("%d of %d marks are left: the file that was built anew was not used", n, len(w.accounts))
	}
}

// A data folder that is brought to another log, longer or shorter than the first one, shows nothing of the first.
func TestFileOfAnotherLog(t *testing.T) {
	for name, groups := range map[string]int{"shorter": 1, "longer": 30} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			path, _ := filled(t, w)
			other := newWorld(t)
			other.client = w.client
			for range groups {
				other.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner})
			}
			m, _ := started(t, other.log, path)
			caughtUp(t, other.log, m)
			checkLists(t, other, m, w.client)
		})
	}
}

// A log that does not answer is no reason to throw the file away.
func TestUnavailableLogKeepsTheFile(t *testing.T) {
	w := newWorld(t)
	path, position := filled(t, w)
	nc := embeddedtest.ConnectURL(t, w.url)
	gone, err := eventstore.Open(testContext(t), nc, eventstore.Config{ReadTimeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	m := readmodel.New(readmodel.Config{Path: path, Log: gone})
	if err := m.Start(shortContext(t)); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	stop(t, m)
	again, _ := started(t, w.log, path)
	if n := marked(t, w, again); n != 2 || again.Position() != position {
		t.Errorf("position %d with %d marks, want %d with 2", again.Position(), n, position)
	}
}

// What is not the file's fault is an error of the start, and nothing is deleted.
func TestPathThatIsAFolder(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "readmodel.db")
	if err := os.MkdirAll(filepath.Join(path, "kept"), 0o700); err != nil {
		t.Fatal(err)
	}
	m := readmodel.New(readmodel.Config{Path: path, Log: w.log})
	if err := m.Start(testContext(t)); err == nil {
		t.Error("it starts on a folder")
	}
	stop(t, m)
	if _, err := os.Stat(filepath.Join(path, "kept")); err != nil {
		t.Errorf("the folder is gone: %v", err)
	}
}

// Folders may have names that mean something in a URI, may be missing, and others cannot read what is in the file.
func TestPaths(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "not there", "a b?c#d%20e&mode=memory", "lists.db")
	m, _ := started(t, w.log, path)
	w.openAccount(w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner}), "one")
	caughtUp(t, w.log, m)
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Stat(path + suffix)
		if err != nil || info.Size() == 0 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", path+suffix, info, err)
		}
	}
	stop(t, m)
	checkHealthy(t, w, path)
}
