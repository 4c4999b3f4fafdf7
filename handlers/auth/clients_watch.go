package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/retry"
)

const (
	// openWatchWithin bounds the creation of a watch.
	openWatchWithin = 10 * time.Second
	// rewatchEvery is how often all entries are read anew, should the watch ever miss one.
	rewatchEvery = 5 * time.Minute

	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

var errWatchEnded = errors.New("the watch has ended")

// watch is a view on the bucket: first all entries, then each change.
type watch struct {
	jetstream.KeyWatcher
	cancel context.CancelFunc
}

// close ends the watch, and returns when nothing of it runs any more.
func (w *watch) close() {
	w.cancel()
	// The library hands over under a lock that it needs to end: whatever it still holds has to be taken from it.
	for range w.Updates() {
	}
}

// openWatch makes a watch, and takes in what the bucket holds.
func (c *Clients) openWatch(ctx context.Context) (*watch, error) {
	kv, err := c.opened()
	if err != nil {
		return nil, err
	}
	// The watch lives as long as its context, so the bound of its creation has to be another one.
	living, cancel := context.WithCancel(c.taking)
	bound := time.AfterFunc(openWatchWithin, cancel)
	updates, err := kv.WatchAll(living)
	bound.Stop() // too late: the watch has ended, and catchUp says so
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch: %w", err)
	}
	w := &watch{updates, cancel}
	if err := c.catchUp(ctx, w); err != nil {
		w.close()
		return nil, fmt.Errorf("read: %w", err)
	}
	return w, nil
}

// catchUp takes in what the bucket held when the watch began.
func (c *Clients) catchUp(ctx context.Context, w *watch) error {
	ctx, cancel := context.WithTimeout(ctx, retry.StartWithin)
	defer cancel()
	seen := map[string]bool{}
	last := uint64(0)
	for {
		select {
		case stored, ok := <-w.Updates():
			if !ok {
				return errWatchEnded
			}
			if stored == nil {
				c.keepOnly(seen, last)
				return nil
			}
			seen[c.take(stored)] = true
			last = max(last, stored.Revision())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow takes in what changes, until Stop. It begins with a watch that is open.
func (c *Clients) follow(w *watch) {
	connected := c.cfg.Conn.StatusChanged(nats.CONNECTED)
	defer c.cfg.Conn.RemoveStatusListener(connected)
	pause := retry.NewBackoff(firstPause, longestPause)
	for {
		var err error
		if w == nil {
			w, err = c.openWatch(c.taking)
		}
		if err == nil {
			err = c.followOne(w, connected)
			w.close()
			w = nil
		}
		if c.taking.Err() != nil {
			return
		}
		if err == nil {
			pause.Reset()
			continue
		}
		c.cfg.Logger.Warn("clients: cannot follow the registry, trying again", "bucket", Bucket, "error", err)
		_ = pause.Wait(c.taking)
	}
}

// followOne takes in each change, until it is time for a new watch.
func (c *Clients) followOne(w *watch, connected <-chan nats.Status) error {
	anew := time.NewTimer(rewatchEvery)
	defer anew.Stop()
	for {
		select {
		case stored, ok := <-w.Updates():
			if !ok {
				return errWatchEnded
			}
			if stored != nil {
				c.take(stored)
			}
		case _, ok := <-connected:
			if ok { // the connection was lost, and the server may have forgotten this watch
				return nil
			}
			connected = nil // it is closed for good
		case <-anew.C:
			return nil
		case <-c.taking.Done():
			return nil
		}
	}
}
