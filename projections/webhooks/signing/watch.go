package signing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/bucket"
	"closure/eventstore/retry"
)

const (
	// openWatchWithin bounds the creation of a watch.
	openWatchWithin = 10 * time.Second
	// rewatchEvery is how often the keys are read anew, should the watch ever miss a change, and how long after its end a
	// key may stay in the bucket.
	rewatchEvery = 5 * time.Minute

	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

var errWatchEnded = errors.New("the watch has ended")

// follow takes in what other processes change, until Stop.
func (k *Keys) follow(kv jetstream.KeyValue) {
	nc := k.cfg.Log.Conn()
	connected := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(connected)
	for p := retry.NewBackoff(firstPause, longestPause); ; {
		if err := k.prune(kv); err != nil && k.taking.Err() == nil {
			k.cfg.Logger.Warn("webhook keys: a key that has ended is still in the bucket", "bucket", Bucket, "error", err)
		}
		err := k.watch(kv, connected)
		if k.taking.Err() != nil {
			return
		}
		if err == nil {
			p.Reset()
			continue
		}
		k.cfg.Logger.Warn("webhook keys: cannot follow the bucket, trying again", "bucket", Bucket, "error", err)
		_ = p.Wait(k.taking)
	}
}

// watch takes in the keys, and each change of them, until it is time for a new watch.
func (k *Keys) watch(kv jetstream.KeyValue, connected <-chan nats.Status) error {
	// The watch lives as long as its context, so the bound of its creation has to be another one.
	living, cancel := context.WithCancel(k.taking)
	bound := time.AfterFunc(openWatchWithin, cancel)
	w, err := kv.Watch(living, k.cfg.Entry)
	bound.Stop() // too late: the watch has ended, and the loop says so
	if err != nil {
		cancel()
		return fmt.Errorf("watch: %w", err)
	}
	defer func() {
		cancel()
		// The library hands over under a lock that it needs to end: whatever it still holds has to be taken from it.
		for range w.Updates() {
		}
	}()
	anew := time.NewTimer(rewatchEvery)
	defer anew.Stop()
	for {
		select {
		case entry, ok := <-w.Updates():
			if !ok {
				return errWatchEnded
			}
			k.take(entry)
		case _, ok := <-connected:
			if ok { // the connection was lost, and the server may have forgotten this watch
				return nil
			}
			connected = nil // it is closed for good
		case <-anew.C:
			return nil
		case <-k.taking.Done():
			return nil
		}
	}
}

// take takes in an entry; nil marks the end of what was there when the watch began. What cannot be used changes nothing: the
// keys that this process has are good until somebody has put it right.
func (k *Keys) take(entry jetstream.KeyValueEntry) {
	if entry == nil {
		return
	}
	if entry.Operation() != jetstream.KeyValuePut {
		k.cfg.Logger.Error("webhook keys: somebody has deleted them; the next process that starts makes a new one", "bucket", Bucket)
		return
	}
	set, err := decodeEntry(entry)
	if err != nil {
		k.cfg.Logger.Error("webhook keys: they cannot be read; the ones before go on to sign", "bucket", Bucket, "error", err)
		return
	}
	k.apply(set)
}

// prune takes private keys that have ended out of the bucket.
func (k *Keys) prune(kv jetstream.KeyValue) error {
	set, err := k.snapshot()
	if err != nil {
		return err
	}
	kept := keySet{keys: set.valid(k.cfg.Now())}
	if len(kept.keys) == len(set.keys) {
		return nil
	}
	written, err := k.write(k.taking, kv, kept, set.revision)
	if err == nil {
		k.apply(written)
	}
	if bucket.Conflict(err) { // somebody else did it, or more; the watch tells
		return nil
	}
	return err
}
