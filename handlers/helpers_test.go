package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
)

// The cast of the tests.
const (
	someClient  = "c0000000-0000-4000-8000-000000000001"
	otherClient = "c0000000-0000-4000-8000-000000000002"
	owner       = "00000000-0000-4000-8000-000000000001"
	actor       = "support@bank.example"
	basf        = "DE000BASF111"
)

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// stage is an engine on a log of its own.
type stage struct {
	t      testing.TB
	server *embedded.Server
	log    *eventstore.Log
	engine *Engine
}

func newStage(t testing.TB) *stage {
	t.Helper()
	server := embeddedtest.Server(t)
	s := &stage{t: t, server: server}
	s.engine, s.log = s.another()
	return s
}

// another engine on the same log, as another process would have it: with a connection and numbers of its own.
func (s *stage) another() (*Engine, *eventstore.Log) {
	s.t.Helper()
	log, err := eventstore.Open(testContext(s.t), embeddedtest.Connect(s.t, s.server), eventstore.Config{})
	require.NoError(s.t, err)
	numbers, err := eventstore.NewCounter(testContext(s.t), log.JetStream(), eventstore.CounterConfig{Name: "securities_account_number", First: 1_000_000})
	require.NoError(s.t, err)
	return New(Config{Log: log, SecuritiesAccountNumbers: numbers}), log
}

// group and account point at aggregates.
func group(id string) domain.Ref   { return domain.Ref{Kind: domain.KindAccountGroup, ID: id} }
func account(id string) domain.Ref { return domain.Ref{Kind: domain.KindAccount, ID: id} }

// command wraps a payload; every command has an id of its own.
func command(target domain.Ref, p domain.Payload) domain.Command {
	return domain.Command{Target: target, ID: uuid.NewString(), ClientID: someClient, Actor: actor, Payload: p}
}

// taken gives a command the time at which it was taken in, as Do does.
func taken(c domain.Command) domain.Command {
	c.Time = time.Now().UTC()
	return c
}

func openGroup() *domain.OpenAccountGroup {
	return &domain.OpenAccountGroup{Users: []domain.Party{{ID: owner, Type: domain.Owner}}, Type: "PERSONAL", Domicile: "DE"}
}

func openAccount(groupID string) *domain.OpenAccount {
	return &domain.OpenAccount{AccountGroupID: groupID, Type: domain.Trading, Name: "Depot"}
}

// accepted sends a command that has to be accepted.
func (s *stage) accepted(c domain.Command) Outcome {
	s.t.Helper()
	out, err := s.engine.Do(testContext(s.t), c)
	require.NoError(s.t, err, c.Payload.CommandName())
	require.Equal(s.t, Accepted, out.Result, c.Payload.CommandName())
	return out
}

// unchanged sends a command that has to change nothing.
func (s *stage) unchanged(c domain.Command) Outcome {
	s.t.Helper()
	before := s.last()
	out, err := s.engine.Do(testContext(s.t), c)
	require.NoError(s.t, err, c.Payload.CommandName())
	require.Equal(s.t, Unchanged, out.Result, c.Payload.CommandName())
	require.Equal(s.t, before, s.last(), "unchanged, and the log has grown")
	return out
}

// refused sends a command that has to be refused without a trace.
func (s *stage) refused(c domain.Command, kind domain.RefusalKind) *domain.Refusal {
	s.t.Helper()
	before := s.last()
	out, err := s.engine.Do(testContext(s.t), c)
	require.Empty(s.t, out)
	require.Equal(s.t, before, s.last(), "refused, and the log has grown")
	return mustRefuse(s.t, err, kind)
}

// mustRefuse checks that an error is a refusal and nothing else: what may pass would be retried.
func mustRefuse(t testing.TB, err error, kind domain.RefusalKind) *domain.Refusal {
	t.Helper()
	var refusal *domain.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, kind, refusal.Kind, refusal.Detail)
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)
	require.NotErrorIs(t, err, ErrContention)
	return refusal
}

// mustNotRefuse checks that an error is none that would be shown to a client.
func mustNotRefuse(t testing.TB, err error) {
	t.Helper()
	require.Error(t, err)
	var refusal *domain.Refusal
	require.False(t, errors.As(err, &refusal), "an internal cause looks like a refusal: %v", err)
}

// someGroup opens an ACTIVE group.
func (s *stage) someGroup() string {
	s.t.Helper()
	id := uuid.NewString()
	s.accepted(command(group(id), openGroup()))
	return id
}

// someAccount opens an ACTIVE account.
func (s *stage) someAccount(groupID string) string {
	s.t.Helper()
	id := uuid.NewString()
	s.accepted(command(account(id), openAccount(groupID)))
	return id
}

func (s *stage) last() uint64 {
	s.t.Helper()
	last, err := s.log.LastSequence(testContext(s.t))
	require.NoError(s.t, err)
	return last
}

// commits of an aggregate; that they follow on each other is checked by the log.
func (s *stage) commits(ref domain.Ref) []eventstore.Recorded {
	s.t.Helper()
	commits, err := s.log.Load(testContext(s.t), string(ref.Kind), ref.ID, 0)
	require.NoError(s.t, err)
	return commits
}

func (s *stage) lastCommit(ref domain.Ref) eventstore.Recorded {
	s.t.Helper()
	commits := s.commits(ref)
	require.NotEmpty(s.t, commits)
	return commits[len(commits)-1]
}

// appendRaw writes a commit by hand behind what the aggregate has.
func (s *stage) appendRaw(ref domain.Ref, at time.Time, events ...eventstore.Event) eventstore.Recorded {
	s.t.Helper()
	var head eventstore.Head
	if commits := s.commits(ref); len(commits) > 0 {
		head = commits[len(commits)-1].Head()
	}
	recorded, err := s.log.Append(testContext(s.t), eventstore.Commit{
		ID: uuid.NewString(), Aggregate: string(ref.Kind), AggregateID: ref.ID, ClientID: someClient, Command: "by_hand",
		CommandID: uuid.NewString(), Actor: actor, Time: at, Events: events,
	}, head)
	require.NoError(s.t, err)
	return recorded
}

// teleported is an event that only a later version of the engine knows.
func teleported(kind domain.Kind) eventstore.Event {
	return eventstore.Event{Type: string(kind) + ".teleported", Version: 1, Data: json.RawMessage(`{"to":"the moon"}`)}
}

// eventTypes lists the events of commits.
func eventTypes(commits ...eventstore.Recorded) []string {
	var types []string
	for _, c := range commits {
		for _, e := range c.Events {
			types = append(types, e.Type)
		}
	}
	return types
}

// answer is what one of many commands at once got.
type answer struct {
	Outcome
	err error
}

// atOnce sends commands in parallel, as nearly at the same moment as can be, and lists their answers in the same order.
func atOnce(t testing.TB, send func(i int) (Outcome, error), n int) []answer {
	t.Helper()
	answers := make([]answer, n)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-begin
			answers[i].Outcome, answers[i].err = send(i)
		})
	}
	close(begin)
	wg.Wait()
	return answers
}

// receive waits for a value.
func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		require.FailNow(t, "no "+what)
	}
	var none T
	return none
}
