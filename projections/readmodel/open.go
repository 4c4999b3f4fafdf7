package readmodel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"closure/eventstore"
)

const (
	// recogniseWithin bounds how long a start waits for the log to show the commit at the file's position.
	recogniseWithin = 10 * time.Second
	recogniseRetry  = 100 * time.Millisecond
)

// open gives the file as it is, or anew and empty when it cannot be used.
func (m *Model) open(ctx context.Context) (*database, error) {
	db, err := openDatabase(ctx, m.cfg.Path)
	if err == nil {
		if err = m.recognise(ctx, db.at); err == nil {
			return db, nil
		}
		err = errors.Join(err, db.close())
	}
	if !errors.Is(err, errUnusable) {
		return nil, err
	}
	level := slog.LevelWarn
	if errors.Is(err, errMissing) {
		level = slog.LevelInfo
	}
	m.cfg.Logger.Log(ctx, level, "building the read model from the log", "path", m.cfg.Path, "why", err)
	return createDatabase(ctx, m.cfg.Path)
}

// recognise checks that the file is of this log: the commit at its position is the one that it was written from. It waits
// for a replica that lags, and for a log that does not answer, for a while.
func (m *Model) recognise(ctx context.Context, at checkpoint) error {
	if at.position == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, recogniseWithin)
	defer cancel()
	for {
		err := m.compare(ctx, at)
		if !errors.Is(err, eventstore.ErrUnavailable) {
			return err
		}
		select {
		case <-time.After(recogniseRetry):
		case <-ctx.Done():
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
