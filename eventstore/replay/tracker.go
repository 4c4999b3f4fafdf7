package replay

import (
	"container/list"
	"context"
	"fmt"
	"strings"

	"closure/domain"
	"closure/eventstore"
)

// Tracker follows the states of aggregates for a projection that reads the log in order: it answers with the state
// right after a commit. It keeps the most recently used states and loads the others from the log, so its memory is
// bounded however many aggregates there are. It is for one goroutine.
type Tracker struct {
	log   *eventstore.Log
	limit int
	byKey map[domain.Ref]*list.Element
	order *list.List // most recent first
}

type tracked struct {
	ref   domain.Ref
	state domain.Aggregate
	head  eventstore.Head
}

// NewTracker keeps at most limit states. Defaults to 10,000.
func NewTracker(log *eventstore.Log, limit int) *Tracker {
	if limit <= 0 {
		limit = 10_000
	}
	return &Tracker{log: log, limit: limit, byKey: map[domain.Ref]*list.Element{}, order: list.New()}
}

// After gives the state of the commit's aggregate right after the commit, and the commit's events. The state MUST NOT be
// changed, and holds until the next call for the same aggregate.
func (t *Tracker) After(ctx context.Context, c eventstore.Recorded) (domain.Aggregate, []domain.Event, error) {
	ref := domain.Ref{Kind: domain.Kind(c.Aggregate), ID: c.AggregateID}
	known := t.lookup(ref)
	// Only the state that the commit itself names as the one before it will do: not an older one, and not a later one.
	if known == nil || known.head.Hash != c.PrevHash {
		var err error
		if known, err = t.load(ctx, ref, c); err != nil {
			t.forget(ref)
			return nil, nil, err
		}
	}
	events, err := Events(c.Commit)
	if err != nil {
		return nil, nil, err
	}
	known.state.Apply(Meta(c.Commit), events)
	known.head = c.Head()
	return known.state, events, nil
}

// load folds what the aggregate was right before the commit.
func (t *Tracker) load(ctx context.Context, ref domain.Ref, c eventstore.Recorded) (*tracked, error) {
	// The id of a commit may be a part of a larger text, which the state would keep.
	ref = domain.Ref{Kind: ref.Kind, ID: strings.Clone(ref.ID)}
	known := &tracked{ref: ref, state: domain.New(ref)}
	if c.Version > 1 {
		commits, err := t.log.Load(ctx, c.Aggregate, c.AggregateID, 0)
		if err != nil {
			return nil, err
		}
		// What came behind the commit is cut off: the state is to be as it was, not as it is.
		before := min(c.Version-1, len(commits))
		if before < c.Version-1 || before == len(commits) || commits[before].Sequence != c.Sequence {
			return nil, fmt.Errorf("%w: %s %s has no whole history before its version %d", eventstore.ErrUnavailable, c.Aggregate, c.AggregateID, c.Version)
		}
		if err := Apply(known.state, commits[:before]); err != nil {
			return nil, err
		}
	}
	t.keep(known)
	return known, nil
}

func (t *Tracker) lookup(ref domain.Ref) *tracked {
	e, ok := t.byKey[ref]
	if !ok {
		return nil
	}
	t.order.MoveToFront(e)
	return e.Value.(*tracked)
}

func (t *Tracker) keep(known *tracked) {
	t.forget(known.ref)
	t.byKey[known.ref] = t.order.PushFront(known)
	if t.order.Len() > t.limit {
		t.forget(t.order.Back().Value.(*tracked).ref)
	}
}

func (t *Tracker) forget(ref domain.Ref) {
	if e, ok := t.byKey[ref]; ok {
		t.order.Remove(e)
		delete(t.byKey, ref)
	}
}
