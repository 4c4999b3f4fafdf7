package handlers

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
)

func TestHistory(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	at := time.Date(2026, 5, 6, 7, 8, 9, 123456789, time.UTC)
	s.engine.now = func() time.Time {
		at = at.Add(time.Minute)
		return at
	}
	groupID := s.someGroup()
	fact := command(group(groupID), &domain.RecordCashBalance{Currency: "EUR", Balance: "0.00", Revision: 1})
	fact.RequestID = uuid.NewString()
	s.accepted(fact)
	s.accepted(command(group(groupID), &domain.RequestAccountGroupClosure{}))

	items, err := s.engine.History(testContext(t), someClient, group(groupID), nil)
	require.NoError(t, err)
	types, indexes := []string{}, []int{}
	for _, item := range items {
		types, indexes = append(types, item.Type), append(indexes, item.Index)
	}
	require.Equal(t, []string{"account_group.opened", "account_group.activated", "account_group.cash_balance_recorded",
		"account_group.closing_initiated", "account_group.closed"}, types)
	require.Equal(t, []int{0, 1, 0, 0, 1}, indexes)
	recorded := s.commits(group(groupID))[1]
	require.Equal(t, HistoryItem{
		Sequence: recorded.Sequence, Index: 0, Time: recorded.Time, Type: "account_group.cash_balance_recorded", Version: 1,
		Data: recorded.Events[0].Data, Actor: actor, Command: "record_cash_balance", CommandID: fact.ID, RequestID: fact.RequestID,
		CommitID: recorded.ID,
	}, items[2])

	// The time is inclusive, to the nanosecond; what is before the beginning is an empty history of a group that exists.
	asOf := []struct {
		at   time.Time
		want int
	}{
		{recorded.Time, 3},
		{recorded.Time.Add(-time.Nanosecond), 2},
		{recorded.Time.In(time.FixedZone("elsewhere", -7*3600)), 3},
		{at, 5},
		{at.Add(time.Hour), 5},
		{s.commits(group(groupID))[0].Time.Add(-time.Nanosecond), 0},
	}
	for _, c := range asOf {
		got, err := s.engine.History(testContext(t), someClient, group(groupID), &c.at)
		require.NoError(t, err)
		require.NotNil(t, got, "a list, also when it is empty")
		require.Equal(t, items[:c.want], got, "as of %s", c.at)
	}
}

// Clocks of two engines differ. What was decided upon a commit is never shown without it.
func TestHistoryHasNoHoles(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	groupID := s.someGroup()
	opened := s.lastCommit(group(groupID)).Time
	ahead := s.appendRaw(group(groupID), opened.Add(2*time.Hour), teleported(domain.KindAccountGroup))
	s.appendRaw(group(groupID), opened.Add(time.Hour), teleported(domain.KindAccountGroup))

	between := opened.Add(90 * time.Minute)
	items, err := s.engine.History(testContext(t), someClient, group(groupID), &between)
	require.NoError(t, err)
	require.Len(t, items, 2, "opened and activated")
	items, err = s.engine.History(testContext(t), someClient, group(groupID), &ahead.Time)
	require.NoError(t, err)
	require.Len(t, items, 4)
}
