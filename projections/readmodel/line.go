package readmodel

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"closure/eventstore"
	"closure/eventstore/replay"
)

// line is a file, and what follows the log into it.
type line struct {
	db       *database
	states   *replay.Tracker      // for the follower's handler only
	follower *eventstore.Follower // nil: nothing is written
	shown    *progress            // where to tell the position
	broken   chan error           // one error, which is errUnusable: the file was found damaged
	many     bool                 // states are more than usual
	lean     atomic.Bool          // they need not be any more

	checking sync.WaitGroup     // whoever checks the file
	uncheck  context.CancelFunc // nil: nobody has begun
}

// newLine takes an open file. Nothing is written to it before follow. states is how many aggregates are kept in memory, 0 for
// the tracker's default.
func (m *Model) newLine(db *database, shown *progress, states int) *line {
	shown.move(db.at.position)
	return &line{db: db, states: replay.NewTracker(m.cfg.Log, states), shown: shown, broken: make(chan error, 1), many: states > 0}
}

// follow begins to write what the log has behind the file's position.
func (m *Model) follow(ctx context.Context, l *line) error {
	if !l.db.writable || l.follower != nil {
		return nil
	}
	if err := l.db.adopt(ctx, m.shape); err != nil {
		return err
	}
	from := l.db.at.position + 1
	follower := eventstore.NewFollower(m.cfg.Log, eventstore.FollowerConfig{
		From: from, MaxBatch: maxBatch, Logger: m.cfg.Logger,
		Handle: func(ctx context.Context, commits []eventstore.Recorded) error { return m.take(ctx, l, commits) },
	})
	if err := follower.Start(ctx); err != nil {
		return err
	}
	l.follower = follower
	m.cfg.Logger.Info("the read model follows the log", "from", from)
	return nil
}

// take brings a run of commits into a file. One that cannot be read is never skipped: what stands before it is written, and
// its error returned, so that the follower comes again with it.
func (m *Model) take(ctx context.Context, l *line, commits []eventstore.Recorded) error {
	point := pointServing
	if l.shown != m.shown {
		point = pointBuilding
	}
	if err := m.at.tell(ctx, point, l.db.at.position); err != nil {
		return err
	}
	if l.lean.Swap(false) {
		l.states = replay.NewTracker(m.cfg.Log, 0)
	}
	err := l.take(ctx, commits)
	l.shown.move(l.db.at.position)
	if damaged(err) {
		l.breaks(fmt.Errorf("%w: %w", errUnusable, err))
	}
	return err
}

// breaks says that the file was found damaged.
func (l *line) breaks(err error) {
	select {
	case l.broken <- err:
	default: // it was said before
	}
}

// failed is what whoever reads the file is told of an error. A reader that meets damage has it healed.
func (l *line) failed(what string, err error) error {
	switch {
	case l.db.former && lacks(err):
		err = fmt.Errorf("%w: %w", errNotBuilt, err)
	case damaged(err):
		l.breaks(fmt.Errorf("%w: %w", errUnusable, err))
		err = fmt.Errorf("%w: %w", errNoFile, err)
	}
	return fmt.Errorf("read model: %s: %w", what, err)
}

// guard does what the line is for, and ends it when the file is found damaged, which then is the error.
func (l *line) guard(ctx context.Context, do func(context.Context) error) error {
	ctx, found := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case err := <-l.broken:
			found(err)
		case <-ctx.Done():
		}
	})
	err := do(ctx)
	cause := context.Cause(ctx)
	found(nil)
	watch.Wait()
	if err != nil && errors.Is(cause, errUnusable) {
		return cause
	}
	return err
}

// check begins to look at all of the file, once.
func (l *line) check() {
	if l.uncheck != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.uncheck = cancel
	l.checking.Go(func() {
		if err := l.db.sound(ctx); errors.Is(err, errUnusable) {
			l.breaks(err)
		}
	})
}

// endCheck sees to it that nobody reads the file for that any more.
func (l *line) endCheck() {
	if l.uncheck != nil {
		l.uncheck()
		l.checking.Wait()
	}
}

// stop ends the writing; a line that is nil, or not written, has nothing to end.
func (l *line) stop(ctx context.Context) error {
	if l == nil || l.follower == nil {
		return nil
	}
	err := l.follower.Stop(ctx)
	l.follower = nil
	return err
}

// close the file of a line that was stopped.
func (l *line) close() error {
	if l == nil {
		return nil
	}
	l.endCheck()
	return l.db.close()
}

// settle closes the file of a line that was stopped, so that it may be moved.
func (l *line) settle(ctx context.Context) error {
	l.endCheck()
	return l.db.settle(ctx)
}

// drop ends a line, and deletes nothing.
func (l *line) drop(ctx context.Context) error { return errors.Join(l.stop(ctx), l.close()) }

// reading gives the line that the lists are read from. Its file stays until release is called.
func (m *Model) reading() (l *line, release func(), err error) {
	m.gate.RLock()
	switch {
	case !m.running:
		err = errNotRunning
	case m.serves == nil:
		err = errNoFile
	}
	if err != nil {
		m.gate.RUnlock()
		return nil, nil, fmt.Errorf("read model: %w", err)
	}
	return m.serves, m.gate.RUnlock, nil
}
