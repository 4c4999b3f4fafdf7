package readmodel

import (
	"context"
	"errors"
	"time"

	"closure/eventstore/retry"
)

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second
	// reportEvery is how often a build that takes longer says how far it is.
	reportEvery = 10 * time.Second
	// near is how many commits a new file may be behind when it takes the place of the former one: the last ones of a log
	// that is being written would else be run after for ever.
	near = maxBatch
)

// keep looks after the files until the context ends: it has the former one replaced, and a damaged one built anew.
func (m *Model) keep(ctx context.Context) {
	for wait := retry.NewBackoff(firstPause, longestPause); ctx.Err() == nil; {
		err := m.care(ctx)
		switch {
		case err == nil:
			wait.Reset()
			continue
		case ctx.Err() != nil:
			return
		case errors.Is(err, errUnusable):
			err = m.heal(ctx, err)
		}
		if err != nil && ctx.Err() == nil {
			m.cfg.Logger.Warn("the read model has trouble with its files, trying again", "error", err)
			_ = wait.Wait(ctx) // its end ends the loop
		}
	}
}

// care does what the file that serves needs, which may be nothing until the context ends. nil: look again. An error that is
// errUnusable is about that file.
func (m *Model) care(ctx context.Context) error {
	if m.serves == nil { // only the keeper changes it
		return m.heal(ctx, nil)
	}
	l := m.serves
	if err := m.follow(ctx, l); err != nil {
		return err
	}
	l.check()
	return l.guard(ctx, func(ctx context.Context) error { return m.advance(ctx, l) })
}

// advance has a former file replaced, and says of a file that is being built how far it is.
func (m *Model) advance(ctx context.Context, l *line) error {
	if l.db.former {
		return m.renew(ctx, l)
	}
	if err := m.catchUp(ctx, l); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// heal has the lists served from another file than one that was found damaged; why is what was found, nil when none serves.
func (m *Model) heal(ctx context.Context, why error) error {
	if l := m.serves; l != nil {
		m.gate.Lock()
		m.serves = nil
		m.shown.move(0)
		m.gate.Unlock()
		if err := l.drop(ctx); err != nil {
			m.cfg.Logger.Warn("a damaged file of the read model did not end well", "error", err)
		}
	}
	if why != nil {
		// At once, so that nobody takes it up again should the log not answer now.
		if err := removeDatabase(m.cfg.Path); err != nil {
			return err
		}
	}
	l, err := m.open(ctx, why)
	if err != nil {
		return err
	}
	m.gate.Lock()
	defer m.gate.Unlock()
	m.serves = l
	return nil
}

// catchUp waits until a line is near the end of the log, and says now and then how far it is.
func (m *Model) catchUp(ctx context.Context, l *line) error {
	began, from, said := time.Now(), l.shown.position(), false
	for {
		last, err := m.lastSequence(ctx)
		if err != nil {
			return err
		}
		at := l.shown.position()
		rate := int(float64(at-from) / max(time.Since(began).Seconds(), 0.001))
		if last <= at+near {
			if said {
				m.cfg.Logger.Info("the read model has caught up", "at", at, "commits_per_second", rate)
			}
			l.lean.Store(l.many)
			return nil
		}
		if time.Since(began) >= m.reportEvery {
			said = true
			m.cfg.Logger.Info("the read model is being built", "at", at, "of", last, "commits_per_second", rate)
		}
		waiting, cancel := context.WithTimeout(ctx, m.reportEvery)
		err = l.shown.wait(waiting, m.ending, last)
		cancel()
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
