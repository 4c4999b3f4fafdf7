package webhooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
)

var errWatchEnded = errors.New("the watch has ended")

// watch is a view on the bucket: first all entries, then each change.
type watch struct {
	jetstream.KeyWatcher
	cancel context.CancelFunc
}

// stop ends the watch, and returns when nothing of it runs any more.
func (w *watch) stop() {
	w.cancel()
	// The library hands over under a lock that it needs to end: whatever it still holds has to be taken from it.
	for range w.Updates() {
	}
}

// openWatch makes a watch and takes in all entries. seen are the ids of the subscriptions that are there.
func (s *Service) openWatch(ctx context.Context) (w *watch, seen map[string]bool, err error) {
	kv, err := s.bucket()
	if err != nil {
		return nil, nil, err
	}
	// The watch lives as long as its context, so the bound of its creation has to be another one.
	living, cancel := context.WithCancel(s.taking)
	bound := time.AfterFunc(openWatchWithin, cancel)
	updates, err := kv.WatchAll(living)
	bound.Stop() // too late: the watch has ended, and catchUp says so
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("watch the bucket %s: %w", Bucket, err)
	}
	w = &watch{updates, cancel}
	if seen, err = s.catchUp(ctx, w); err != nil {
		w.stop()
		return nil, nil, fmt.Errorf("read the bucket %s: %w", Bucket, err)
	}
	return w, seen, nil
}

// catchUp takes in what the bucket held when the watch began.
func (s *Service) catchUp(ctx context.Context, w *watch) (seen map[string]bool, err error) {
	seen = map[string]bool{}
	for {
		select {
		case entry, ok := <-w.Updates():
			if !ok {
				return nil, errWatchEnded
			}
			if entry == nil {
				return seen, nil
			}
			if id, there := s.take(entry); there {
				seen[id] = true
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// watch takes in changes until the service stops, with a new watch when one has ended.
func (s *Service) watch(w *watch) {
	nc := s.cfg.Log.Conn()
	connected := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(connected)
	for p := newPause(); ; {
		if w != nil {
			err := s.follow(w, connected)
			w.stop()
			if err != nil && s.taking.Err() == nil {
				s.cfg.Logger.Warn("webhooks: watching the subscriptions again", "error", err)
			}
		}
		if s.taking.Err() != nil {
			return
		}
		next, err := s.rewatch()
		if w = next; err == nil {
			p.Reset()
			continue
		}
		if s.taking.Err() == nil {
			s.cfg.Logger.Warn("webhooks: cannot watch the subscriptions, trying again", "error", err)
		}
		_ = p.Wait(s.taking)
	}
}

// follow takes in changes until it is time for a new watch.
func (s *Service) follow(w *watch, connected <-chan nats.Status) error {
	anew := time.NewTimer(rewatchEvery)
	defer anew.Stop()
	for {
		select {
		case entry, ok := <-w.Updates():
			if !ok {
				return errWatchEnded
			}
			if entry != nil {
				s.take(entry)
			}
		case _, ok := <-connected:
			if !ok { // the connection is closed for good
				connected = nil
				continue
			}
			// The connection was lost. The server may have forgotten what it was asked for, and this watch.
			s.askAgain()
			return nil
		case <-anew.C:
			return nil
		case <-s.taking.Done():
			return nil
		}
	}
}

// rewatch makes a new watch, and ends what was deleted without a trace.
func (s *Service) rewatch() (*watch, error) {
	ctx, cancel := context.WithTimeout(s.taking, retry.StartWithin)
	defer cancel()
	w, seen, err := s.openWatch(ctx)
	if err != nil {
		return nil, err
	}
	for _, sub := range s.known() {
		if seen[sub.ID] {
			continue
		}
		// It may as well have been made a moment ago.
		if _, err := s.read(ctx, sub.clientID, sub.ID); isMissing(err) {
			s.drop(sub.ID)
		}
	}
	return w, nil
}

// take takes in one entry. there is false when the subscription was deleted.
func (s *Service) take(entry jetstream.KeyValueEntry) (id string, there bool) {
	if entry.Operation() != jetstream.KeyValuePut {
		if _, id, ok := splitKey(entry.Key()); ok {
			s.drop(id)
		}
		return "", false
	}
	sub, err := decodeEntry(entry)
	if err != nil {
		// Its consumer holds the events until somebody has put it right. It is there, so it must not be cleaned away.
		s.cfg.Logger.Error("webhooks: an entry cannot be read; nothing is delivered to it as long as that is so", "error", err)
		_, id, ok := splitKey(entry.Key())
		return id, ok
	}
	s.apply(sub)
	return sub.ID, true
}

// apply makes the subscription, or a change of it, take effect in this process.
func (s *Service) apply(sub subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != running {
		return
	}
	// The lists may be the caller's, too.
	sub.Type, sub.ExcludeType = slices.Clone(sub.Type), slices.Clone(sub.ExcludeType)
	if r, ok := s.runners[sub.ID]; ok {
		r.set(sub)
		return
	}
	r := newRunner(s, sub)
	s.runners[sub.ID] = r
	s.wg.Go(r.run)
}

// drop ends what runs for a subscription that was deleted.
func (s *Service) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.runners[id]; ok {
		delete(s.runners, id)
		r.end()
	}
}

// askAgain has all runners look at their consumers again, and ask anew.
func (s *Service) askAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.runners {
		r.again()
	}
}

// known are the subscriptions of this process.
func (s *Service) known() []subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]subscription, 0, len(s.runners))
	for _, r := range s.runners {
		all = append(all, r.current())
	}
	return all
}

// removeOrphans removes consumers whose subscription is gone: whoever deleted it died before it came to the consumer. What
// cannot be removed now harms nobody, and the next start tries again.
func (s *Service) removeOrphans(ctx context.Context, consumers []string, seen map[string]bool) {
	for _, id := range consumers {
		if seen[id] {
			continue
		}
		log := s.cfg.Logger.With("webhook", id)
		// To remove the wrong one would lose its place, so the bucket is asked about each.
		there, err := retry.Insist(ctx, func(ctx context.Context) (bool, error) { return s.exists(ctx, id) })
		if err == nil && !there {
			err = s.removeConsumer(ctx, id)
		}
		switch {
		case err != nil:
			log.Warn("webhooks: cannot remove a consumer that may be left over", "error", err)
		case !there:
			log.Info("webhooks: removed the consumer of a deleted webhook")
		}
	}
}

// exists tells whether any client has a subscription with the id.
func (s *Service) exists(ctx context.Context, id string) (bool, error) {
	stream, err := s.js.Stream(ctx, "KV_"+Bucket)
	if err != nil {
		return false, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(entrySubject(key("*", id))))
	if err != nil {
		return false, err
	}
	for subject := range info.State.Subjects {
		clientID, id, ok := splitKey(strings.TrimPrefix(subject, entrySubject("")))
		if !ok {
			continue
		}
		// The last word on a subject may be that it was deleted.
		if _, err := s.read(ctx, clientID, id); !isMissing(err) {
			return true, err
		}
	}
	return false, nil
}
