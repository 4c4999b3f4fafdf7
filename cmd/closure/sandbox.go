package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/timer"
)

// clock is the engine's clock: the machine's, or in a sandbox one that runs ahead of it. The zero clock is the machine's.
type clock struct {
	ahead atomic.Int64 // nanoseconds
}

// Now is the engine's time.
func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// forward moves the clock to a time, never back.
func (c *clock) forward(to time.Time) {
	if ahead := int64(time.Until(to)); ahead > c.ahead.Load() {
		c.ahead.Store(ahead)
	}
}

// sandboxFile marks a data folder as a sandbox, and keeps how far its clock runs ahead. The log of a sandbox says that things
// happened that did not: it must never be taken for a real one, nor a real one be served as a sandbox.
const sandboxFile = "sandbox.json"

// sandboxState is the content of the file.
type sandboxState struct {
	// AheadNanoseconds is how far the sandbox's clock runs ahead of the machine's.
	AheadNanoseconds int64 `json:"ahead_nanoseconds"`
}

// follower is what has to have done its work before the clock moves on.
type follower interface {
	WaitFor(ctx context.Context, seq uint64) error
}

// sandbox moves the clock of an engine, whose timers then fire as they would have.
type sandbox struct {
	path      string
	clock     *clock
	log       *eventstore.Log
	timers    *timer.Service
	followers []follower

	mu sync.Mutex // one move at a time
}

// openSandbox reads where the clock of the folder stands, and marks a new folder. It refuses to mix the two kinds.
func openSandbox(folder string, wanted bool, c *clock) error {
	path := filepath.Join(folder, sandboxFile)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !wanted:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Join(folder, natsFolder)); err == nil {
			return usageError{fmt.Errorf("--sandbox: the data folder %s holds a real log; choose another with --data", folder)}
		}
		return writeSandbox(path, c)
	case err != nil:
		return fmt.Errorf("sandbox: %w", err)
	case !wanted:
		return usageError{fmt.Errorf("the data folder %s is a sandbox, whose clock was moved: serve it with --sandbox, or choose another with --data", folder)}
	}
	var state sandboxState
	if err := json.Unmarshal(data, &state); err != nil {
		return fmt.Errorf("sandbox: %s: %w", path, err)
	}
	c.ahead.Store(state.AheadNanoseconds)
	return nil
}

// writeSandbox is done before anything happens at the new time: after a crash the clock must not run backwards.
func writeSandbox(path string, c *clock) error {
	data, err := json.Marshal(sandboxState{AheadNanoseconds: c.ahead.Load()})
	if err != nil {
		return err
	}
	beside := path + ".new"
	file, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	_, err = file.Write(data)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	return os.Rename(beside, path)
}

// mostYears is how far the clock may run ahead: longer than anybody has to wait, and not so long that times cannot be counted.
const mostYears = 50

// Advance moves the clock forwards to a time. All timers that are due by then fire in their order, each at its own time and
// with all that follows from it, also those that are set on the way. It returns the time that it is then. When the context ends first, the clock stands on the way, and asking again goes on.
func (s *sandbox) Advance(ctx context.Context, to time.Time) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.clock.Now(); to.Before(now) {
		return now, &domain.Refusal{Kind: domain.Invalid, Detail: fmt.Sprintf(
			"now: must not be before the time that it is, %s: the clock goes forwards only", now.UTC().Format(time.RFC3339Nano))}
	}
	if most := time.Now().AddDate(mostYears, 0, 0); to.After(most) {
		return s.clock.Now(), &domain.Refusal{Kind: domain.Invalid, Detail: fmt.Sprintf(
			"now: must be at most %d years ahead, until %s", mostYears, most.UTC().Format(time.RFC3339))}
	}
	for {
		if err := s.settle(ctx); err != nil {
			return s.clock.Now(), err
		}
		next, ok, err := s.next(ctx, to)
		if err != nil {
			return s.clock.Now(), err
		}
		if !ok {
			break
		}
		if err := s.move(next.Due); err != nil {
			return s.clock.Now(), err
		}
		if err := s.timers.Expire(ctx, next); err != nil {
			return s.clock.Now(), err
		}
	}
	if err := s.move(to); err != nil {
		return s.clock.Now(), err
	}
	return s.clock.Now().UTC(), s.timers.Reschedule(ctx)
}

func (s *sandbox) move(to time.Time) error {
	s.clock.forward(to)
	return writeSandbox(s.path, s.clock)
}

// next is the first timer that is due by a time.
func (s *sandbox) next(ctx context.Context, by time.Time) (timer.Timer, bool, error) {
	pending, err := s.timers.Pending(ctx)
	if err != nil || len(pending) == 0 || pending[0].Due.After(by) {
		return timer.Timer{}, false, err
	}
	return pending[0], true, nil
}

// settle waits until everything is done that follows from what is in the log, with what that adds to the log.
func (s *sandbox) settle(ctx context.Context) error {
	for {
		last, err := s.log.LastSequence(ctx)
		if err != nil {
			return err
		}
		for _, f := range s.followers {
			if err := f.WaitFor(ctx, last); err != nil {
				return err
			}
		}
		if again, err := s.log.LastSequence(ctx); err != nil || again == last {
			return err
		}
	}
}
