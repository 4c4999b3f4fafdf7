package replay

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"closure/domain"
	"closure/eventstore"
)

// CommitID is the id of the commit by which a command changes an aggregate: it follows from both, and from the version that
// the commit becomes. So an append that is retried is recognised, a command id that a client uses twice never hides a second
// commit, and no two commits of a log have the same id.
func CommitID(kind domain.Kind, id string, version int, commandID string) string {
	return domain.DeriveID("commit", string(kind), id, strconv.Itoa(version), commandID)
}

// Judge says whether a commit could have been decided behind a state, and folds it into that state, in place. nil is the state
// before the first commit. The error says what could not be, and then the state MUST NOT be used any more.
func Judge(before domain.Aggregate, c eventstore.Recorded) (after domain.Aggregate, err error) {
	kind := domain.Kind(c.Aggregate)
	if !slices.Contains(domain.Kinds(), kind) {
		return nil, fmt.Errorf("there is no kind of aggregate %s", domain.Quote(c.Aggregate))
	}
	if before == nil {
		before = domain.New(domain.Ref{Kind: kind, ID: c.AggregateID})
	}
	for i, raw := range c.Events {
		if !strings.HasPrefix(raw.Type, c.Aggregate+".") {
			return nil, fmt.Errorf("event %d, %s, is not one of %s", i, raw.Type, kind.WithArticle())
		}
	}
	events, err := Events(c.Commit)
	if err != nil {
		return nil, err
	}
	if err := domain.Plausible(before, Meta(c.Commit), events); err != nil {
		return nil, err
	}
	if want := CommitID(kind, c.AggregateID, c.Version, c.CommandID); c.ID != want {
		return nil, fmt.Errorf("the id of the commit is %s; that of the command %s at version %d is %s", c.ID, c.CommandID, c.Version, want)
	}
	before.Apply(Meta(c.Commit), events)
	return before, nil
}
