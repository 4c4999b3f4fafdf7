// Package replay turns commits of the log into states of the domain. It is the one place where the two meet on the way
// out of the log; the commands' way in is package handlers.
package replay

import (
	"context"
	"fmt"

	"closure/domain"
	"closure/eventstore"
)

// Meta is what the domain needs to know of a commit beside its events.
func Meta(c eventstore.Commit) domain.Meta {
	return domain.Meta{ClientID: c.ClientID, Command: c.Command, CommandID: c.CommandID, Actor: c.Actor, Time: c.Time}
}

// Events decodes the events of a commit, in whatever version each was written. An event that this version of the engine does
// not know, or a later version of one, is domain.ErrUnknownEvent: the reader of the aggregate MUST stop there.
func Events(c eventstore.Commit) ([]domain.Event, error) {
	events := make([]domain.Event, 0, len(c.Events))
	for i, raw := range c.Events {
		e, err := domain.DecodeEvent(raw.Type, raw.Version, raw.Data)
		if err != nil {
			return nil, fmt.Errorf("commit %s of %s %s, event %d: %w", c.ID, c.Aggregate, c.AggregateID, i, err)
		}
		events = append(events, e)
	}
	return events, nil
}

// Encode gives the events of a decision as the log stores them, each in its current version. What no engine could read again,
// an event of another kind, is refused: the log keeps what it gets for ever.
func Encode(kind domain.Kind, events []domain.Event) ([]eventstore.Event, error) {
	raw := make([]eventstore.Event, 0, len(events))
	for _, e := range events {
		name := domain.EventType(kind, e)
		version := domain.EventVersion(name)
		if version == 0 {
			return nil, fmt.Errorf("encode %s: %s has no such event", name, kind.WithArticle())
		}
		data, err := domain.EncodeEvent(e)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", name, err)
		}
		raw = append(raw, eventstore.Event{Type: name, Version: version, Data: data})
	}
	return raw, nil
}

// Apply folds commits of one aggregate into its state, in place.
func Apply(a domain.Aggregate, commits []eventstore.Recorded) error {
	for i := range commits {
		c := &commits[i].Commit
		events, err := Events(*c)
		if err != nil {
			return err
		}
		a.Apply(Meta(*c), events)
	}
	return nil
}

// Loader reads the commits of one aggregate behind a sequence: eventstore.Log's Load or LoadFromLeader.
type Loader func(ctx context.Context, aggregate, id string, after uint64) ([]eventstore.Recorded, error)

// Load folds all commits of an aggregate. One that has none does not exist (domain.Aggregate.Exists); its head is zero.
func Load(ctx context.Context, load Loader, ref domain.Ref) (domain.Aggregate, eventstore.Head, error) {
	a := domain.New(ref)
	head, err := CatchUp(ctx, load, a, eventstore.Head{})
	if err != nil {
		return nil, eventstore.Head{}, err
	}
	return a, head, nil
}

// CatchUp folds what came behind a head into a state that stands there, in place, and gives the new head. With the Load of
// a log it MAY miss the newest commits; with LoadFromLeader it does not. After an error the state MUST NOT be used any more.
func CatchUp(ctx context.Context, load Loader, a domain.Aggregate, head eventstore.Head) (eventstore.Head, error) {
	commits, err := load(ctx, string(a.Kind()), a.AggregateID(), head.Sequence)
	if err != nil || len(commits) == 0 {
		return head, err
	}
	return take(a, head, commits)
}

// take folds commits that follow on a head, in place.
func take(a domain.Aggregate, head eventstore.Head, commits []eventstore.Recorded) (eventstore.Head, error) {
	if err := follows(commits[0], head); err != nil {
		return head, err
	}
	if err := Apply(a, commits); err != nil {
		return head, err
	}
	return commits[len(commits)-1].Head(), nil
}

// Refresh is CatchUp for a state that others may be reading: what is new goes into a copy. Without anything new it is the very
// same state.
func Refresh(ctx context.Context, load Loader, a domain.Aggregate, head eventstore.Head) (domain.Aggregate, eventstore.Head, error) {
	commits, err := load(ctx, string(a.Kind()), a.AggregateID(), head.Sequence)
	if err != nil || len(commits) == 0 {
		return a, head, err
	}
	next := a.Copy()
	head, err = take(next, head, commits)
	return next, head, err
}

// Latest is Load with all that the leader of the log has, for reads that nothing checks afterwards: what was just
// accepted is in it, also when a replica that lags answers. It costs one request more than Load.
func Latest(ctx context.Context, log *eventstore.Log, ref domain.Ref) (domain.Aggregate, eventstore.Head, error) {
	a, head, err := Load(ctx, log.Load, ref)
	if err != nil {
		return nil, eventstore.Head{}, err
	}
	head, err = CatchUp(ctx, log.LoadFromLeader, a, head)
	if err != nil {
		return nil, eventstore.Head{}, err
	}
	return a, head, nil
}

// LatestCommits reads the commits that Latest folds.
func LatestCommits(ctx context.Context, log *eventstore.Log, ref domain.Ref) ([]eventstore.Recorded, error) {
	commits, err := log.Load(ctx, string(ref.Kind), ref.ID, 0)
	if err != nil {
		return nil, err
	}
	var head eventstore.Head
	if len(commits) > 0 {
		head = commits[len(commits)-1].Head()
	}
	rest, err := log.LoadFromLeader(ctx, string(ref.Kind), ref.ID, head.Sequence)
	if err != nil || len(rest) == 0 {
		return commits, err
	}
	return append(commits, rest...), follows(rest[0], head)
}

// follows checks the one link of the chain that no single read sees: from what was read before to what is new.
func follows(c eventstore.Recorded, head eventstore.Head) error {
	if c.Version == head.Version+1 && c.PrevHash == head.Hash {
		return nil
	}
	return fmt.Errorf("%w: %s %s at sequence %d: version %d does not follow on version %d at sequence %d",
		eventstore.ErrBrokenChain, c.Aggregate, c.AggregateID, c.Sequence, c.Version, head.Version, head.Sequence)
}
