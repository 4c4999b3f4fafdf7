package replay

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
)

// judged judges what an author wrote of one aggregate. The author gives commits ids of any kind, so they are given theirs.
func judged(t *testing.T, commits []eventstore.Recorded) (domain.Aggregate, error) {
	t.Helper()
	var state domain.Aggregate
	for _, c := range commits {
		p, ok := map[int]string{1: "open"}[c.Version]
		if !ok {
			p = map[bool]string{true: "record_cash_balance", false: "record_position"}[c.Aggregate == string(domain.KindAccountGroup)]
		}
		if c.Events[0].Type == domain.EventGroupAccountLinked {
			p = "link_account"
		}
		c.Command, c.ID = p, CommitID(domain.Kind(c.Aggregate), c.AggregateID, c.Version, c.CommandID)
		var err error
		if state, err = Judge(state, c); err != nil {
			return nil, err
		}
	}
	return state, nil
}

func TestJudgeFolds(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	for _, ref := range a.someLives(2) {
		got, err := judged(t, a.of(ref))
		require.NoError(t, err)
		require.Equal(t, string(ref.Kind), string(got.Kind()))
		want, _ := a.fold(ref, a.all)
		require.Equal(t, statusOf(want), statusOf(got))
	}
}

func statusOf(a domain.Aggregate) domain.Status { return a.(domain.Closable).Status() }

func TestJudgeRefuses(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	ref := a.someLives(1)[0]
	for name, c := range map[string]struct {
		change func(*eventstore.Recorded)
		says   string
	}{
		"a kind that there is not": {func(c *eventstore.Recorded) { c.Aggregate = "order" }, `no kind of aggregate "order"`},
		"another kind's event":     {func(c *eventstore.Recorded) { c.Events[1].Type = domain.EventAccountActivated }, "event 1, account.activated, is not one of an account group"},
		"an unknown event":         {func(c *eventstore.Recorded) { c.Events[1].Type = "account_group.teleported" }, "unknown event"},
		"an event less":            {func(c *eventstore.Recorded) { c.Events[0] = c.Events[1]; c.Command = "activate" }, "there is no account group"},
		"an id of its own":         {func(c *eventstore.Recorded) { c.ID = uuid.NewString() }, "the id of the commit is"},
	} {
		t.Run(name, func(t *testing.T) {
			first := a.of(ref)[0]
			first.Command, first.ID = "open", CommitID(ref.Kind, ref.ID, 1, first.CommandID)
			first.Events = append([]eventstore.Event{}, first.Events...)
			_, err := Judge(nil, first)
			require.NoError(t, err)
			c.change(&first)
			_, err = Judge(nil, first)
			require.ErrorContains(t, err, c.says)
		})
	}
}

// The id is part of what is stored: it never changes, or retries across versions would write twice.
func TestCommitIDIsPinned(t *testing.T) {
	require.Equal(t, domain.DeriveID("commit", "account", someClient, "7", owner), CommitID(domain.KindAccount, someClient, 7, owner))
	seen := map[string]bool{}
	for _, id := range []string{
		CommitID(domain.KindAccount, someClient, 7, owner), CommitID(domain.KindUser, someClient, 7, owner), CommitID(domain.KindAccount, owner, 7, owner),
		CommitID(domain.KindAccount, someClient, 8, owner), CommitID(domain.KindAccount, someClient, 7, someClient),
	} {
		require.False(t, seen[id])
		seen[id] = true
	}
}
