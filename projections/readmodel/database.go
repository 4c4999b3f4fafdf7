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

// errUnusable: the file is not what this version reads, or not of this log. The text says why. It is built anew.
var errUnusable = errors.New("the file cannot be used")

// errMissing is the one reason of errUnusable that is nothing special: a first start.
var errMissing = fmt.Errorf("%w: it is missing", errUnusable)

const (
	// readers is how many lists are read at a time.
	readers = 4
	// busyTimeout, in milliseconds, is for the moments when SQLite locks the file as a whole: the recovery after a crash,
	// and the last close. Readers and the writer do not wait for each other otherwise.
	busyTimeout = "5000"
)

// checkpoint is how far the log is in the file.
type checkpoint struct {
	position uint64
	hash     string // of the commit at the position; "" at 0
}

// database is an open file. One connection writes, others read what is committed.
type database struct {
	write, read *sql.DB

	// at is what the last store wrote, or what the file had when it was opened. It is for the writing goroutine.
	at checkpoint

	// On the writing connection.
	readCheckpoint, moveCheckpoint, putUser *sql.Stmt
	put                                     map[listing]*sql.Stmt
	putClosure, dropBlockers, putBlocker    *sql.Stmt
	putOrder                                *sql.Stmt
}

// openDatabase opens a file that was created before, and checks it; errUnusable says what is wrong with it.
func openDatabase(ctx context.Context, path string) (*database, error) {
	if info, err := os.Stat(path); errors.Is(err, os.ErrNotExist) || (err == nil && info.Size() == 0) {
		return nil, errMissing
	}
	db, err := connect(path)
	if err != nil {
		return nil, err
	}
	db.at, err = db.inspect(ctx)
	if err == nil {
		err = db.prepare(ctx)
	}
	if err != nil {
		return nil, errors.Join(unusable(err), db.close())
	}
	return db, nil
}

// createDatabase deletes what is at the path, and makes an empty file at position 0.
func createDatabase(ctx context.Context, path string) (*database, error) {
	// The database first: without it, SQLite takes no interest in what the others hold.
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
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
	err = db.create(ctx)
	if err == nil {
		err = db.prepare(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, db.close())
	}
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
	write, err := pool(1, url.Values{"_journal_mode": {"WAL"}, "_synchronous": {"NORMAL"}, "_txlock": {"immediate"}})
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

// create writes the schema, in one transaction with its version: a file that was cut short has no version.
func (d *database) create(ctx context.Context) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	for _, statement := range schema() {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// inspect reads the version and the checkpoint, and checks the structure of every page.
func (d *database) inspect(ctx context.Context) (checkpoint, error) {
	var version int
	if err := d.write.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return checkpoint{}, err
	}
	if version != schemaVersion {
		return checkpoint{}, fmt.Errorf("%w: its version is %d, not %d", errUnusable, version, schemaVersion)
	}
	var found string
	if err := d.write.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&found); err != nil {
		return checkpoint{}, err
	}
	if found != "ok" {
		return checkpoint{}, fmt.Errorf("%w: it is damaged: %s", errUnusable, found)
	}
	return scanCheckpoint(d.write.QueryRowContext(ctx, readCheckpointSQL))
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

// unusable tells what is wrong with the content of the file, which a new one heals, from what is wrong around it (no
// right to read it, a full disk), which it does not.
func unusable(err error) error {
	var failed *sqlite.Error
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	if !errors.As(err, &failed) {
		return err
	}
	switch failed.Code() & 0xff { // the upper bits say more than is needed
	case sqlite3.SQLITE_ERROR, // a table or a column is missing
		sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT:
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	return err
}
