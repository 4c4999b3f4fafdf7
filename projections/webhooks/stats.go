package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/retry"
)

// lagWithin bounds the reading of how far all subscriptions are.
const lagWithin = 30 * time.Second

// Lag is how far a subscription is behind.
type Lag struct {
	ClientID  string
	WebhookID string
	Enabled   bool
	// Waiting events were published and not taken by the endpoint yet; those that wait for company or are under way count.
	Waiting uint64
	// FailingSince is the first failure after the last success; zero for none.
	FailingSince time.Time
	Attempts     int // that have failed since
	NextAttempt  time.Time
	LastFailure  string
}

// Stats are the subscriptions of the engine as a whole.
type Stats struct {
	Subscriptions int
	Disabled      int
	Failing       int
	Waiting       uint64 // events of all subscriptions
	HeldBytes     int64  // what this process has in hand beyond what each subscription may have anyhow
}

// Lag gives how far each subscription is behind, in the order of their ids. It asks the server about all of them: some
// hundred a request. Errors: eventstore.ErrUnavailable.
func (s *Service) Lag(ctx context.Context) ([]Lag, error) {
	if _, err := s.bucket(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lagWithin)
	defer cancel()
	states, err := retry.Insist(ctx, s.allStates)
	if err != nil {
		return nil, eventstore.Unavailable("read the states of the deliveries", err)
	}
	waiting, err := s.allWaiting(ctx) // as long as it takes: there may be thousands
	if err != nil {
		return nil, eventstore.Unavailable("list the consumers of webhooks", err)
	}
	var out []Lag
	for _, sub := range s.known() {
		st := states[sub.key()]
		out = append(out, Lag{
			ClientID: sub.clientID, WebhookID: sub.ID, Enabled: sub.Enabled, Waiting: waiting[sub.ID],
			FailingSince: st.FailingSince, Attempts: st.Attempts, NextAttempt: st.NextAttempt, LastFailure: st.LastFailure,
		})
	}
	slices.SortFunc(out, func(a, b Lag) int { return strings.Compare(a.WebhookID, b.WebhookID) })
	return out, nil
}

// Stats gives the sums of Lag.
func (s *Service) Stats(ctx context.Context) (Stats, error) {
	all, err := s.Lag(ctx)
	if err != nil {
		return Stats{}, err
	}
	out := Stats{Subscriptions: len(all), HeldBytes: budgetBytes - s.budget.left.Load()}
	for _, l := range all {
		out.Waiting += l.Waiting
		if !l.Enabled {
			out.Disabled++
		}
		if !l.FailingSince.IsZero() {
			out.Failing++
		}
	}
	return out, nil
}

// allStates reads the whole bucket of states by the key. Only what has ever failed is in it.
func (s *Service) allStates(ctx context.Context) (map[string]deliveryState, error) {
	kv, err := s.states()
	if err != nil {
		return nil, err
	}
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.Stop() }()
	out := map[string]deliveryState{}
	for {
		select {
		case entry, ok := <-w.Updates():
			if !ok {
				return nil, errWatchEnded
			}
			if entry == nil {
				return out, nil
			}
			var st deliveryState
			if json.Unmarshal(entry.Value(), &st) == nil {
				out[entry.Key()] = st
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// allWaiting asks how many events wait, by the subscription's id.
func (s *Service) allWaiting(ctx context.Context) (map[string]uint64, error) {
	out := map[string]uint64{}
	list := s.events.ListConsumers(ctx)
	for info := range list.Info() {
		if id, ours := strings.CutPrefix(info.Name, consumerPrefix); ours {
			out[id] = waitingOf(info)
		}
	}
	if err := list.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, err
	}
	return out, nil
}
