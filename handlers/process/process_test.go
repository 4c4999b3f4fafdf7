package process

import (
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
)

// A crash between the link and the account: the process manager writes the account's commit as the engine would have.
func TestAnOpenThatWasCutShortIsFinished(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	groupID := uuid.NewString()
	opening := command(domain.KindAccountGroup, groupID, group())
	open := command(domain.KindAccount, uuid.NewString(), &domain.OpenAccount{
		AccountGroupID: groupID, Type: domain.Portfolio, Name: "Zoë’s Depot", Status: domain.StatusPendingApproval,
	})
	open.Time, open.RequestID, open.CorrelationID = at, uuid.NewString(), uuid.NewString()

	whole := newStage(t)
	whole.accepted(opening)
	whole.accepted(open)

	cut := newStage(t)
	cut.accepted(opening)
	link := open
	link.ID, link.CausationID = domain.DeriveID("link_account", open.Target.ID, open.ID), open.ID
	link.Target = opening.Target
	link.Payload = &domain.LinkAccount{AccountID: open.Target.ID, Type: domain.Portfolio, Name: "Zoë’s Depot", Status: domain.StatusPendingApproval}
	cut.accepted(link)
	require.Equal(t, whole.commits(domain.KindAccountGroup, groupID)[1].Commit.ID, cut.commits(domain.KindAccountGroup, groupID)[1].Commit.ID,
		"the link is the one that the engine writes")
	require.Empty(t, cut.commits(domain.KindAccount, open.Target.ID))
	cut.settle(cut.manager(nil))

	want, got := whole.commits(domain.KindAccount, open.Target.ID), cut.commits(domain.KindAccount, open.Target.ID)
	require.Len(t, got, 1)
	require.Equal(t, want[0].Commit, got[0].Commit)
	require.Equal(t, want[0].Hash, got[0].Hash, "byte for byte")
	require.Equal(t, support, got[0].Actor)
	require.Equal(t, open.ID, got[0].CommandID)
	require.Equal(t, at, got[0].Time)

	// The client's own retry finds it done.
	out, err := cut.engine.Do(testContext(t), open)
	require.NoError(t, err)
	require.Equal(t, handlers.Outcome{Result: handlers.Unchanged, Sequence: got[0].Sequence}, out)
}

// Every open is a race between the engine that links and the process manager that sees the link. Either way it is one
// commit, and whoever asked is told that it was accepted.
func TestTheEngineAndTheProcessManagerRace(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	same := s.start(New(Config{Engine: s.engine, Log: s.log})) // in the engine's own process
	groups := []string{s.openGroup(), s.openGroup(), s.openGroup(), s.openGroup()}
	const n = 80
	ids, outs, errs := make([]string, n), make([]handlers.Outcome, n), make([]error, n)
	other, _ := s.another()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			engine := []*handlers.Engine{s.engine, other}[i%2]
			ids[i] = uuid.NewString()
			outs[i], errs[i] = engine.Do(testContext(t), command(domain.KindAccount, ids[i], &domain.OpenAccount{
				AccountGroupID: groups[i%len(groups)], Type: domain.Trading, Name: "Depot",
			}))
		})
	}
	wg.Wait()
	s.settle(same)
	for i, id := range ids {
		require.NoError(t, errs[i])
		commits := s.commits(domain.KindAccount, id)
		require.Len(t, commits, 1)
		require.Equal(t, handlers.Outcome{Result: handlers.Accepted, Sequence: commits[0].Sequence}, outs[i])
	}
	require.EqualValues(t, 2*len(groups)+2*n, s.last(), "a link and a group, or a link and an account; nothing else")
}

// closing closes a group with two accounts, the group first, and gives the ids.
func (s *stage) closing() (groupID string, accounts []string) {
	s.t.Helper()
	groupID = s.openGroup()
	accounts = []string{s.openAccount(groupID), s.openAccount(groupID)}
	s.accepted(command(domain.KindAccount, accounts[0], &domain.RecordPosition{ISIN: basf, Quantity: "2", Revision: 1}))
	ask := command(domain.KindAccountGroup, groupID, &domain.RequestAccountGroupClosure{ClosureReason: "user_initiated"})
	s.accepted(ask)
	s.accepted(command(domain.KindAccount, accounts[1], &domain.RequestAccountClosure{}))
	ask = command(domain.KindAccount, accounts[0], &domain.RequestAccountClosure{})
	s.accepted(ask)
	fact := command(domain.KindAccount, accounts[0], &domain.RecordPosition{ISIN: basf, Quantity: "0", Revision: 2})
	fact.RequestID, fact.CorrelationID = uuid.NewString(), uuid.NewString()
	s.accepted(fact)
	return groupID, accounts
}

// An account that closed tells its group; the group that has no open account left closes itself in the same commit.
func TestAClosedAccountIsToldToItsGroup(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	m := s.manager(nil)
	groupID, accounts := s.closing()
	s.settle(m)

	commits := s.commits(domain.KindAccountGroup, groupID)
	require.Equal(t, []string{
		domain.EventGroupOpened, domain.EventGroupActivated, domain.EventGroupAccountLinked, domain.EventGroupAccountLinked,
		domain.EventGroupClosingInitiated, domain.EventGroupAccountClosureRecorded, domain.EventGroupAccountClosureRecorded, domain.EventGroupClosed,
	}, eventTypes(commits...))
	told := commits[len(commits)-1]
	require.Equal(t, []string{domain.EventGroupAccountClosureRecorded, domain.EventGroupClosed}, eventTypes(told))

	// Accounts are told of in parallel: the last one to be may be either.
	var event domain.AccountClosureRecorded
	require.NoError(t, json.Unmarshal(told.Events[0].Data, &event))
	require.Contains(t, accounts, event.AccountID)
	closed := s.commits(domain.KindAccount, event.AccountID)
	cause := closed[len(closed)-1]
	require.Equal(t, domain.EventAccountClosed, cause.Events[len(cause.Events)-1].Type)
	require.Equal(t, "closure:process", told.Actor)
	require.Equal(t, "record_account_closure", told.Command)
	require.Equal(t, domain.DeriveID("record_account_closure", cause.ID, groupID), told.CommandID)
	require.Equal(t, cause.ID, told.CausationID)
	require.Equal(t, []string{cause.RequestID, cause.CorrelationID}, []string{told.RequestID, told.CorrelationID})
	require.Equal(t, domain.AccountClosureRecorded{AccountID: event.AccountID, ClosedAt: cause.Time}, event)
}

// The whole work done again, from the first commit on, adds nothing; so does a second manager that works on its own
// account at the same time, as one does that was paused and wakes up.
func TestDoingEverythingTwiceAddsNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	first := s.manager(nil)
	rogue := New(Config{Engine: s.engine, Log: s.log})
	rogue.follower = eventstore.NewFollower(s.log, eventstore.FollowerConfig{Name: "rogue", Parallel: parallel, Handle: rogue.handle})
	s.start(rogue)
	var groups []string
	for range 10 {
		id, _ := s.closing()
		groups = append(groups, id)
	}
	s.settle(first)
	s.settle(rogue)
	last := s.last()
	// For each group: it and its link, two accounts and their links, a position, three requests, a sale, two accounts told to
	// the group, and the group to its user.
	require.EqualValues(t, 14*len(groups), last)

	s.stop(first)
	s.stop(rogue)
	require.NoError(t, s.log.JetStream().DeleteConsumer(testContext(t), eventstore.StreamLog, "process"))
	again := s.manager(nil)
	require.Zero(t, again.Position())
	s.settle(again)
	require.Equal(t, last, again.Position())
	require.Equal(t, last, s.last())
	for _, id := range groups {
		got, err := s.engine.AccountGroup(testContext(t), someClient, id)
		require.NoError(t, err)
		require.Equal(t, domain.StatusClosed, got.Status())
	}
}

// Of two managers one works; the other knows how far it is, and goes on where it stops.
func TestOneOfTwoManagersIsActive(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	logs := []*lines{{}, {}}
	var managers []*Manager
	for _, l := range logs {
		managers = append(managers, s.manager(slog.New(slog.NewTextHandler(l, nil))))
	}
	s.closing()
	for _, m := range managers {
		s.settle(m)
	}
	active := slices.IndexFunc(logs, func(l *lines) bool { return l.contains("msg=active") })
	require.GreaterOrEqual(t, active, 0)
	standby := 1 - active
	require.False(t, logs[standby].contains("msg=active"), "both are active")
	lag, err := managers[standby].Lag(testContext(t))
	require.NoError(t, err)
	require.Zero(t, lag)

	s.stop(managers[active])
	groupID, _ := s.closing()
	s.settle(managers[standby])
	require.True(t, logs[standby].contains("msg=active"))
	got, err := s.engine.AccountGroup(testContext(t), someClient, groupID)
	require.NoError(t, err)
	require.Equal(t, domain.StatusClosed, got.Status())
}

// A commit that this version cannot read stops its aggregate and is not skipped; the others go on.
func TestACommitThatCannotBeReadStopsItsAggregateOnly(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	groupID := s.openGroup()
	id := s.openAccount(groupID)
	l := &lines{}
	m := s.manager(slog.New(slog.NewTextHandler(l, nil)))
	s.settle(m)
	commits := s.commits(domain.KindAccount, id)
	stuck, err := s.log.Append(testContext(t), eventstore.Commit{
		ID: uuid.NewString(), Aggregate: "account", AggregateID: id, ClientID: someClient, Command: "by_hand", CommandID: uuid.NewString(),
		Actor: support, Time: time.Now(), Events: []eventstore.Event{{Type: "account.teleported", Version: 1, Data: json.RawMessage(`{}`)}},
	}, commits[0].Head())
	require.NoError(t, err)
	other, _ := s.closing()

	s.eventually("closed group", func() bool {
		got, err := s.engine.AccountGroup(testContext(t), someClient, other)
		require.NoError(t, err)
		return got.Status() == domain.StatusClosed
	})
	require.Equal(t, stuck.Sequence-1, m.Position())
	require.True(t, l.contains("account.teleported"), "the log does not say why")
}

func TestStopBeforeStartAndTwice(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	m := New(Config{Engine: s.engine, Log: s.log})
	s.stop(m)
	s.stop(m)
	running := s.manager(nil)
	s.stop(running)
	s.stop(running)
}
