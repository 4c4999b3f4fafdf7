package handlers

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
)

func TestDoAnswersWithTheSequence(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := uuid.NewString()
	open := command(group(id), openGroup())
	// Before it stands the link of its user.
	require.Equal(t, Outcome{Accepted, 2}, s.accepted(open))
	require.Equal(t, Outcome{Unchanged, 2}, s.unchanged(open))
	require.Equal(t, Outcome{Accepted, 3}, s.accepted(command(group(id), &domain.Lock{})))
	s.someGroup()
	// It is the aggregate's last sequence, not the log's.
	require.Equal(t, Outcome{Unchanged, 3}, s.unchanged(command(group(id), &domain.Lock{})))
}

// What stands in the log is what was asked, and when: the command's time when it has one, else the engine's clock; UTC.
func TestDoWritesDownWhoAskedAndWhen(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	now := time.Date(2026, 3, 4, 10, 0, 0, 123456789, time.FixedZone("CET", 3600))
	s.engine.now = func() time.Time { return now }
	c := command(group(uuid.NewString()), openGroup())
	c.RequestID, c.CorrelationID, c.CausationID = uuid.NewString(), uuid.NewString(), uuid.NewString()
	s.accepted(c)

	got := s.lastCommit(c.Target)
	require.Equal(t, now.UTC(), got.Time)
	require.Equal(t, eventstore.Commit{
		ID: domain.DeriveID("commit", "account_group", c.Target.ID, "1", c.ID), Aggregate: "account_group", AggregateID: c.Target.ID,
		ClientID: someClient, Version: 1, Command: "open", CommandID: c.ID, Actor: actor, RequestID: c.RequestID,
		CorrelationID: c.CorrelationID, CausationID: c.CausationID, Time: now.UTC(), Events: got.Events,
	}, got.Commit)
	require.Equal(t, []string{"account_group.opened", "account_group.activated"}, eventTypes(got))

	lock := command(c.Target, &domain.Lock{})
	lock.Time = now.Add(time.Hour)
	s.accepted(lock)
	require.Equal(t, lock.Time.UTC(), s.lastCommit(c.Target).Time)
}

func TestFiftyAtOnceAskToClose(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	groupID := s.someGroup()

	t.Run("with something against it", func(t *testing.T) {
		id := s.someAccount(groupID)
		s.accepted(command(account(id), &domain.RecordPosition{ISIN: basf, Quantity: "3", Revision: 1}))
		before := len(s.commits(account(id)))
		answers := atOnce(t, func(int) (Outcome, error) {
			return s.engine.Do(testContext(t), command(account(id), &domain.RequestAccountClosure{}))
		}, 50)
		commits := s.commits(account(id))
		require.Len(t, commits, before+1, "one request is one commit, however many ask")
		accepted := 0
		for _, a := range answers {
			require.NoError(t, a.err)
			require.Equal(t, commits[before].Sequence, a.Sequence)
			if a.Result == Accepted {
				accepted++
			}
		}
		require.Equal(t, 1, accepted)
	})

	// Then the first one closes the account in the same commit, and CLOSED is a conflict for the others (DOMAIN: entry).
	t.Run("with nothing against it", func(t *testing.T) {
		id := s.someAccount(groupID)
		answers := atOnce(t, func(int) (Outcome, error) {
			return s.engine.Do(testContext(t), command(account(id), &domain.RequestAccountClosure{}))
		}, 50)
		accepted := 0
		for _, a := range answers {
			if a.err == nil {
				require.Equal(t, Accepted, a.Result)
				accepted++
				continue
			}
			require.Contains(t, mustRefuse(t, a.err, domain.Conflict).Detail, "CLOSED")
		}
		require.Equal(t, 1, accepted)
		require.Equal(t, []string{"account.domicile_recorded", "account.closing_initiated", "account.closed"}, eventTypes(s.lastCommit(account(id))))
	})

	t.Run("the very same command", func(t *testing.T) {
		id := s.someAccount(groupID)
		c := command(account(id), &domain.RequestAccountClosure{})
		answers := atOnce(t, func(int) (Outcome, error) { return s.engine.Do(testContext(t), c) }, 50)
		for _, a := range answers {
			require.NoError(t, a.err)
			require.Equal(t, s.lastCommit(account(id)).Sequence, a.Sequence)
		}
	})
}

// An event that this version does not know stops the aggregate: a state folded around it would be a lie. The client
// is told nothing of it that would look like an answer.
func TestAnUnknownEventStopsTheAggregate(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	groupID := s.someGroup()
	id := s.someAccount(groupID)
	commit := s.appendRaw(account(id), time.Now(), teleported(domain.KindAccount))
	before := s.last()

	calls := map[string]func() error{
		"command": func() error {
			_, err := s.engine.Do(testContext(t), command(account(id), &domain.Lock{}))
			return err
		},
		"open again": func() error {
			_, err := s.engine.Do(testContext(t), command(account(id), openAccount(groupID)))
			return err
		},
		"close": func() error {
			_, err := s.engine.Do(testContext(t), command(account(id), &domain.RequestAccountClosure{}))
			return err
		},
		"read": func() error {
			_, err := s.engine.Account(testContext(t), someClient, id)
			return err
		},
		"read of the closure": func() error {
			_, err := s.engine.AccountClosure(testContext(t), someClient, id)
			return err
		},
		"read of another client": func() error {
			_, err := s.engine.Account(testContext(t), otherClient, id)
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			err := call()
			require.ErrorIs(t, err, domain.ErrUnknownEvent)
			mustNotRefuse(t, err)
			require.ErrorContains(t, err, "account.teleported")
			require.ErrorContains(t, err, commit.ID)
		})
	}
	require.Equal(t, before, s.last())

	// The history only shows what is stored.
	items, err := s.engine.History(testContext(t), someClient, account(id), nil)
	require.NoError(t, err)
	require.Equal(t, "account.teleported", items[len(items)-1].Type)
	require.JSONEq(t, `{"to":"the moon"}`, string(items[len(items)-1].Data))
	// The neighbours are not stopped.
	s.someAccount(groupID)
}

// What is wrong whatever the state is, is refused without a question to the server.
func TestValidationNeedsNoServer(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	good := command(group(uuid.NewString()), openGroup())
	wrong := map[string]func(*domain.Command){
		"account_group id": func(c *domain.Command) { c.Target.ID = "1" },
		"command_id":       func(c *domain.Command) { c.ID = "" },
		"client_id":        func(c *domain.Command) { c.ClientID = "C0000000-0000-4000-8000-00000000000A" },
		"request_id":       func(c *domain.Command) { c.RequestID = "x" },
		"actor":            func(c *domain.Command) { c.Actor = "" },
		"type":             func(c *domain.Command) { c.Payload = &domain.OpenAccountGroup{Users: openGroup().Users, Type: "CLUB"} },
		"balance": func(c *domain.Command) {
			c.Payload = &domain.RecordCashBalance{Currency: "EUR", Balance: "1e999", Revision: 1}
		},
		"revision": func(c *domain.Command) {
			c.Payload = &domain.RecordCashBalance{Currency: "EUR", Balance: "1", Revision: -1}
		},
		"account_group_id": func(c *domain.Command) { c.Payload = openAccount("?") },
		"closure_reason":   func(c *domain.Command) { c.Payload = &domain.RequestAccountGroupClosure{ClosureReason: "boredom"} },
	}
	conn := s.log.Conn()
	require.NoError(t, conn.Flush())
	before := conn.Stats().OutMsgs
	for field, spoil := range wrong {
		c := good
		spoil(&c)
		_, err := s.engine.Do(testContext(t), c)
		require.Contains(t, mustRefuse(t, err, domain.Invalid).Detail, field+":")
	}
	require.Equal(t, before, conn.Stats().OutMsgs, "the server was asked")
}

func TestWithoutTheLogItIsUnavailable(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.someGroup()
	s.log.Conn().Close()
	_, err := s.engine.Do(testContext(t), command(group(id), &domain.Lock{}))
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	mustNotRefuse(t, err)
	_, err = s.engine.AccountGroup(testContext(t), someClient, id)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	mustNotRefuse(t, err)
}

// A retry of an append that got through answers with what stands in the log, not with what the retry would have written.
func TestARetriedCommandKeepsItsFirstTime(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	c := command(group(uuid.NewString()), openGroup())
	first := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c.Time = first
	s.accepted(c)
	// The retry has loaded the state before the first one got through.
	c.Time = first.Add(time.Minute)
	c.Payload = &domain.OpenAccountGroup{Users: openGroup().Users, Type: "PERSONAL", Domicile: "DE", SecuritiesAccountNumber: "7654321"}
	d, err := s.engine.attempt(testContext(t), c, nil, domain.New(c.Target), eventstore.Head{})
	require.NoError(t, err)
	require.Equal(t, Outcome{Accepted, 2}, d.Outcome)
	opened := d.state.(*domain.AccountGroup)
	require.Equal(t, first, opened.CreatedAt)
	require.Equal(t, "1000000", opened.SecuritiesAccountNumber)
}
