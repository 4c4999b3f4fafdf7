package readmodel

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

var (
	// errUnusable: the file is not what this version reads, or not of this log. The text says why. It is built anew.
	errUnusable = errors.New("the file cannot be used")
	// errMissing is the one reason of errUnusable that is nothing special: a first start.
	errMissing = fmt.Errorf("%w: it is missing", errUnusable)
	// errOpenElsewhere: somebody else has the file open, so it cannot be moved now.
	errOpenElsewhere = errors.New("the file is open elsewhere, by a SQLite shell perhaps")
)

const (
	// readers is how many lists are read at a time.
	readers = 4
	// busyTimeout, in milliseconds, is for the moments when SQLite locks the file as a whole: the recovery after a crash,
	// and the last close. Readers and the writer do not wait for each other otherwise.
	busyTimeout = "5000"
	// cache is how many KiB of pages the writer keeps, as far as there are so many, and checkpoints after how many pages the
	// write-ahead log (32 MiB) is folded into the file. With SQLite's own 2 MiB and 4 MiB a rebuild takes twice as long: ids are
	// random, so that each row is on another page.
	cache       = "cache_size(-65536)"
	checkpoints = "wal_autocheckpoint(8192)"
)

// checkpoint is how far the log is in the file.
type checkpoint struct {
	position uint64
	hash     string // of the commit at the position; "" at 0
}

// database is an open file. One connection writes, others read what is committed.
type database struct {
	write, read *sql.DB
	stamp       stamp
	// former: it is of a version before this one, whose rows this one reads.
	former bool
	// writable: it takes the rows of this version. A former file that does not stands still.
	writable bool

	// at is what the last store wrote, or what the file had when it was opened. It is for the writing goroutine.
	at checkpoint

	// On the writing connection.
	readCheckpoint, moveCheckpoint, putUser *sql.Stmt
	put                                     map[listing]*sql.Stmt
	putClosure, dropBlockers, putBlocker    *sql.Stmt
	putOrder                                *sql.Stmt
}

// openDatabase opens a file that was created before; errUnusable says what is wrong with it. It looks at little of it, so
// that a start takes as long whatever its size; sound looks at the rest.
func openDatabase(ctx context.Context, path string, of shape) (*database, error) {
	if info, err := os.Stat(path); errors.Is(err, os.ErrNotExist) || (err == nil && info.Size() == 0) {
		return nil, errMissing
	}
	db, err := connect(path)
	if err != nil {
		return nil, err
	}
	if err = db.inspect(ctx, of); err == nil {
		err = db.prepare(ctx)
		db.writable = err == nil
		if db.former && lacks(err) {
			err = nil // a table or a column of this version
		}
	}
	if err != nil {
		return nil, errors.Join(unusable(err), db.close())
	}
	return db, nil
}

// removeDatabase deletes a file that nobody has open. The database goes first: without it, SQLite takes no interest in
// what the others hold.
func removeDatabase(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// createDatabase deletes what is at the path, and makes an empty file at position 0.
func createDatabase(ctx context.Context, path string, of shape) (*database, error) {
	if err := removeDatabase(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	// It holds names; SQLite gives its side files the same mode.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	db, err := connect(path)
	if err != nil {
		return nil, err
	}
	err = db.create(ctx, of)
	if err == nil {
		err = db.prepare(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, db.close())
	}
	db.stamp, db.writable = stamp{created: of.version}, true
	return db, nil
}

// connect makes the two pools; the first use opens the file.
func connect(path string) (*database, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	pool := func(connections int, options url.Values) (*sql.DB, error) {
		options.Set("mode", "rw") // creating is createDatabase's business
		options.Set("_busy_timeout", busyTimeout)
		connector, err := sqlite.NewConnector((&url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}).String())
		if err != nil {
			return nil, err
		}
		db := sql.OpenDB(connector)
		db.SetMaxOpenConns(connections)
		db.SetMaxIdleConns(connections)
		return db, nil
	}
	// NORMAL does not sync at each commit: a power failure may take the last transactions, rows and position together, and
	// they come again from the log.
	write, err := pool(1, url.Values{"_journal_mode": {"WAL"}, "_synchronous": {"NORMAL"}, "_txlock": {"immediate"}, "_pragma": {cache, checkpoints}})
	if err != nil {
		return nil, err
	}
	read, err := pool(readers, url.Values{"_query_only": {"1"}})
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return &database{write: write, read: read}, nil
}

// close the readers first: the last connection folds the write-ahead log into the file, and must be allowed to write.
func (d *database) close() error { return errors.Join(d.read.Close(), d.write.Close()) }

// settle closes a file and leaves all of it in the one file that is named, which may then be moved. It is for the one user
// of a file: with another one, who would write to and delete the side files of this name later, it is errOpenElsewhere. The
// database is closed in any case.
func (d *database) settle(ctx context.Context) error {
	err := d.read.Close()
	if err == nil {
		err = d.leaveWAL(ctx)
	}
	return errors.Join(err, d.write.Close())
}

func (d *database) leaveWAL(ctx context.Context) error {
	if _, err := d.write.ExecContext(ctx, `PRAGMA busy_timeout = 0`); err != nil {
		return err
	}
	var mode string
	err := d.write.QueryRowContext(ctx, `PRAGMA journal_mode = DELETE`).Scan(&mode)
	if code, ok := codeOf(err); ok && (code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED) || err == nil && mode != "delete" {
		return errOpenElsewhere
	}
	return err
}

// create writes the schema, in one transaction with its version: a file that was cut short has no version.
func (d *database) create(ctx context.Context, of shape) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	for _, statement := range append(schema(), setStampSQL(stamp{created: of.version})) {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// inspect reads the version and the checkpoint.
func (d *database) inspect(ctx context.Context, of shape) error {
	var version int
	if err := d.write.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	d.stamp = stampOf(version)
	switch {
	case d.stamp == stamp{created: of.version}:
	case of.reads(d.stamp):
		d.former = true
	default:
		return fmt.Errorf("%w: its version is %s, not %d", errUnusable, d.stamp, of.version)
	}
	var err error
	d.at, err = scanCheckpoint(d.write.QueryRowContext(ctx, readCheckpointSQL))
	return err
}

// sound checks the structure of every page: all of the file is read. errUnusable says what is damaged.
func (d *database) sound(ctx context.Context) error {
	var found string
	if err := d.read.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&found); err != nil {
		return unusable(err)
	}
	if found != "ok" {
		return fmt.Errorf("%w: it is damaged: %s", errUnusable, found)
	}
	return nil
}

// adopt notes in a former file that this version goes on with it.
func (d *database) adopt(ctx context.Context, of shape) error {
	mine := stamp{created: d.stamp.created, wrote: of.version}
	if !d.former || d.stamp == mine {
		return nil
	}
	if _, err := d.write.ExecContext(ctx, setStampSQL(mine)); err != nil {
		return fmt.Errorf("write the version: %w", err)
	}
	d.stamp = mine
	return nil
}

func scanCheckpoint(found *sql.Row) (at checkpoint, err error) {
	if err := found.Scan(&at.position, &at.hash); err != nil {
		return checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	return at, nil
}

// prepare the statements of the writer. It fails when a table or a column is not there.
func (d *database) prepare(ctx context.Context) error {
	d.put = map[listing]*sql.Stmt{}
	var failed error
	prepared := func(query string) *sql.Stmt {
		if failed != nil {
			return nil
		}
		statement, err := d.write.PrepareContext(ctx, query)
		failed = err
		return statement
	}
	d.readCheckpoint, d.moveCheckpoint, d.putUser = prepared(readCheckpointSQL), prepared(moveCheckpointSQL), prepared(putUserSQL)
	for _, of := range listings() {
		d.put[of] = prepared(putSQL(of))
	}
	d.putClosure, d.dropBlockers, d.putBlocker = prepared(putClosureSQL), prepared(dropBlockersSQL), prepared(putBlockerSQL)
	d.putOrder = prepared(putOrderSQL)
	return failed
}

// codeOf is SQLite's code of an error, without what its upper bits say more.
func codeOf(err error) (code int, ok bool) {
	var failed *sqlite.Error
	if !errors.As(err, &failed) {
		return 0, false
	}
	return failed.Code() & 0xff, true
}

// lacks tells whether a statement failed because a table or a column is not there.
func lacks(err error) bool {
	code, ok := codeOf(err)
	return ok && code == sqlite3.SQLITE_ERROR
}

// damaged tells whether the content of the file makes no sense.
func damaged(err error) bool {
	code, ok := codeOf(err)
	return ok && (code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB || code == sqlite3.SQLITE_FORMAT)
}

// unusable tells what is wrong with the content of a file that is opened, which a new one heals, from what is wrong around
// it (no right to read it, a full disk), which it does not.
func unusable(err error) error {
	if errors.Is(err, sql.ErrNoRows) || lacks(err) || damaged(err) {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	return err
}
