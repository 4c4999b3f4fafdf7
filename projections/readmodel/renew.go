package readmodel

import (
	"context"
	"errors"
	"fmt"
)

// Points at which tests may hold the model, or end it.
const (
	pointServing  = "serving"  // a batch is about to go into the file that serves
	pointBuilding = "building" // a batch is about to go into the file beside
	pointBuilt    = "built"    // the file beside has caught up
	pointSettled  = "settled"  // it is closed, and whole in one file
	pointVacated  = "vacated"  // so is the former one, and nothing serves
	pointReplaced = "replaced" // the new file has its place
)

// renew builds a file of this version beside the former one that serves, and has it take that one's place when it has caught
// up with the log. What is there when it fails, or when the model stops, stays: the next try goes on with it.
func (m *Model) renew(ctx context.Context, former *line) error {
	l, err := m.beside(ctx)
	if err != nil {
		return err
	}
	m.builds = l
	err = l.guard(ctx, func(ctx context.Context) error {
		if err := m.follow(ctx, l); err != nil {
			return err
		}
		if err := m.catchUp(ctx, l); err != nil {
			return err
		}
		return m.finish(ctx, former, l)
	})
	if m.keeping.Err() != nil {
		return err // Stop ends it, in the time that it has
	}
	if err == nil {
		err = m.moveIn(ctx, former, l)
		m.builds = nil
		return err
	}
	m.builds = nil
	if dropErr := l.drop(ctx); dropErr != nil {
		m.cfg.Logger.Warn("the new file of the read model did not end well", "error", dropErr)
	}
	if errors.Is(err, errUnusable) { // which is said of the file that serves, to those who call this
		err = errors.Join(fmt.Errorf("the new file, which is deleted: %v", err), removeDatabase(m.besideName()))
	}
	return err
}

// beside opens the file that is built beside, or creates it.
func (m *Model) beside(ctx context.Context) (*line, error) {
	db, err := m.openBeside(ctx)
	if errors.Is(err, errUnusable) {
		if !errors.Is(err, errMissing) {
			m.cfg.Logger.Warn("what was built of a new file of the read model is of no use", "path", m.besideName(), "why", err)
		}
		db, err = createDatabase(ctx, m.besideName(), m.shape)
	}
	if err != nil {
		return nil, err
	}
	m.cfg.Logger.Info("building a new file of the read model beside the one that serves", "path", m.besideName(),
		"version", m.shape.version, "serves", m.serves.db.stamp.String(), "kept_up_to_date", m.serves.db.writable, "from", db.at.position)
	return m.newLine(db, newProgress(), buildStates), nil
}

// finish ends the writing of both files, with the new one at least where the former one is: a list does not go back.
func (m *Model) finish(ctx context.Context, former, l *line) error {
	if err := m.at.tell(ctx, pointBuilt, l.shown.position()); err != nil {
		return err
	}
	if err := l.db.sound(ctx); err != nil {
		return err
	}
	if err := former.stop(ctx); err != nil {
		return err
	}
	if err := l.shown.wait(ctx, m.ending, m.Position()); err != nil {
		return err
	}
	return l.stop(ctx)
}

// moveIn gives the new file the place of the former one. Whoever reads waits for that moment; a process that ends in it
// leaves either file in the place, and whole.
func (m *Model) moveIn(ctx context.Context, former, l *line) error {
	at := l.shown.position()
	if err := l.settle(ctx); err != nil {
		return fmt.Errorf("the new file: %w", err)
	}
	if err := m.at.tell(ctx, pointSettled, at); err != nil {
		return err
	}
	m.gate.Lock()
	defer m.gate.Unlock()
	m.serves = nil
	err := former.settle(ctx)
	if err == nil {
		err = m.at.tell(ctx, pointVacated, at)
	}
	if err == nil {
		err = m.replace()
	}
	if err == nil {
		err = m.at.tell(ctx, pointReplaced, at)
	}
	// Whichever of them it is now.
	db, openErr := openDatabase(ctx, m.cfg.Path, m.shape)
	if openErr != nil {
		m.shown.move(0) // until it can be opened
		return errors.Join(err, openErr)
	}
	m.serves = m.newLine(db, m.shown, 0)
	if err == nil {
		m.whole.Store(min(m.whole.Load(), at)) // they were whole before, and are not less so now
		m.cfg.Logger.Info("the new file of the read model serves", "at", at)
	}
	return err
}
