package readmodel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"closure/eventstore"
	"closure/eventstore/retry"
)

const (
	// recogniseWithin bounds how long a start waits for the log to answer, and to show the commit at the file's position.
	recogniseWithin = 10 * time.Second
	recogniseRetry  = 100 * time.Millisecond

	// buildStates is how many aggregates are kept in memory while a file that is muchBehind is built: those that are not are
	// loaded again for each commit. It takes some 100 MB.
	buildStates = 50_000
	muchBehind  = 10 * near
)

// besideName is where a file of this version is built while one of a former version serves.
func (m *Model) besideName() string { return m.cfg.Path + ".new" }

// open gives the file to serve from: as it is, or anew and empty when it cannot be used. condemned is why it cannot be, when
// that is known already.
func (m *Model) open(ctx context.Context, condemned error) (*line, error) {
	last, err := m.lastSequence(ctx)
	if err != nil {
		return nil, err
	}
	db, err := m.openServing(ctx, condemned)
	if err != nil {
		return nil, err
	}
	m.whole.Store(max(last, db.at.position))
	states := 0
	if last > db.at.position+muchBehind {
		states = buildStates
	}
	return m.newLine(db, m.shown, states), nil
}

func (m *Model) openServing(ctx context.Context, why error) (*database, error) {
	if why == nil {
		db, err := m.openKnown(ctx, m.cfg.Path)
		if err == nil {
			return db, m.tidy(db)
		}
		if !errors.Is(err, errUnusable) {
			return nil, err
		}
		why = err
	}
	level := slog.LevelWarn
	if errors.Is(why, errMissing) {
		level = slog.LevelInfo
	}
	m.cfg.Logger.Log(ctx, level, "building the read model from the log", "path", m.cfg.Path, "why", why)
	return m.startAnew(ctx)
}

// tidy removes what another version may have left beside a file of this one, where nothing is to be built.
func (m *Model) tidy(db *database) error {
	if db.former {
		return nil
	}
	if err := removeDatabase(m.besideName()); err != nil {
		return errors.Join(err, db.close())
	}
	return nil
}

// startAnew gives a file of this version in the place of one that cannot be used: the one that was being built beside it,
// which is nearer to the end, or else an empty one.
func (m *Model) startAnew(ctx context.Context) (*database, error) {
	beside, err := m.openBeside(ctx)
	if errors.Is(err, errUnusable) {
		return createDatabase(ctx, m.cfg.Path, m.shape)
	}
	if err == nil {
		err = beside.settle(ctx)
	}
	if err == nil {
		err = m.replace()
	}
	if err != nil {
		return nil, err
	}
	return openDatabase(ctx, m.cfg.Path, m.shape)
}

// openBeside opens the file that is being built, which is of this version.
func (m *Model) openBeside(ctx context.Context) (*database, error) {
	db, err := m.openKnown(ctx, m.besideName())
	if err == nil && db.former {
		err = errors.Join(fmt.Errorf("%w: its version is %s, not %d", errUnusable, db.stamp, m.shape.version), db.close())
	}
	if err != nil {
		return nil, err
	}
	return db, nil
}

// replace puts the file that was built beside in the place of the one that serves, in one step. Nobody has either open.
// Should the system lose that step with its power, the former file is still there, and the step is done again.
func (m *Model) replace() error {
	// What others have left of the former file would be taken for a part of the new one.
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if err := os.Remove(m.cfg.Path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return os.Rename(m.besideName(), m.cfg.Path)
}

// openKnown opens a file of this log.
func (m *Model) openKnown(ctx context.Context, path string) (*database, error) {
	db, err := openDatabase(ctx, path, m.shape)
	if err != nil {
		return nil, err
	}
	if err := m.recognise(ctx, db.at); err != nil {
		return nil, errors.Join(err, db.close())
	}
	return db, nil
}

// recognise checks that the file is of this log: the commit at its position is the one that it was written from.
func (m *Model) recognise(ctx context.Context, at checkpoint) error {
	if at.position == 0 {
		return nil
	}
	return patiently(ctx, func() error { return m.compare(ctx, at) })
}

// lastSequence is where the log ends.
func (m *Model) lastSequence(ctx context.Context) (last uint64, err error) {
	err = patiently(ctx, func() (err error) {
		last, err = m.cfg.Log.LastSequence(ctx)
		return err
	})
	return last, err
}

// patiently asks the log again, for a while: it may not answer, and a replica may lag.
func patiently(ctx context.Context, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, recogniseWithin)
	defer cancel()
	for {
		err := ask()
		if !errors.Is(err, eventstore.ErrUnavailable) || retry.Pause(ctx, recogniseRetry) != nil {
			return err
		}
	}
}

func (m *Model) compare(ctx context.Context, at checkpoint) error {
	last, err := m.cfg.Log.LastSequence(ctx)
	if err != nil {
		return err
	}
	if last < at.position {
		return fmt.Errorf("%w: it is at sequence %d, and the log ends at %d", errUnusable, at.position, last)
	}
	commits, err := m.cfg.Log.Read(ctx, at.position, 1)
	if err != nil {
		return err
	}
	if len(commits) == 0 {
		return fmt.Errorf("%w: sequence %d is not there yet", eventstore.ErrUnavailable, at.position)
	}
	if commits[0].Hash != at.hash {
		return fmt.Errorf("%w: it is of another log: the commit at sequence %d differs", errUnusable, at.position)
	}
	return nil
}
