package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
)

const (
	someClient = "c0000000-0000-4000-8000-000000000001"
	owner      = "00000000-0000-4000-8000-000000000001"
)

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// author writes decisions into a log, and keeps them in their order.
type author struct {
	t    testing.TB
	log  *eventstore.Log
	now  time.Time
	all  []eventstore.Recorded
	last map[domain.Ref]eventstore.Head
}

func newAuthor(t testing.TB) *author {
	t.Helper()
	log, err := eventstore.Open(testContext(t), embeddedtest.Connect(t, embeddedtest.Server(t)), eventstore.Config{})
	require.NoError(t, err)
	return &author{t: t, log: log, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), last: map[domain.Ref]eventstore.Head{}}
}

// write decides a command on the state as of now, and appends what it decides.
func (a *author) write(ref domain.Ref, p domain.Payload) eventstore.Recorded {
	a.t.Helper()
	a.now = a.now.Add(time.Minute)
	c := domain.Command{Target: ref, ID: uuid.NewString(), ClientID: someClient, Actor: "test", Time: a.now, Payload: p}
	state, _ := a.fold(ref, a.all)
	events, err := state.Decide(c)
	require.NoError(a.t, err)
	raw, err := Encode(ref.Kind, events)
	require.NoError(a.t, err)
	return a.append(ref, c, raw...)
}

func (a *author) append(ref domain.Ref, c domain.Command, events ...eventstore.Event) eventstore.Recorded {
	a.t.Helper()
	recorded, err := a.log.Append(testContext(a.t), eventstore.Commit{
		ID: uuid.NewString(), Aggregate: string(ref.Kind), AggregateID: ref.ID, ClientID: c.ClientID, Command: "test",
		CommandID: c.ID, Actor: c.Actor, Time: c.Time, Events: events,
	}, a.last[ref])
	require.NoError(a.t, err)
	a.last[ref] = recorded.Head()
	a.all = append(a.all, recorded)
	return recorded
}

// unknown appends an event that only a later version of the engine knows.
func (a *author) unknown(ref domain.Ref) eventstore.Recorded {
	a.t.Helper()
	return a.append(ref, domain.Command{ID: uuid.NewString(), ClientID: someClient, Actor: "test", Time: a.now},
		eventstore.Event{Type: string(ref.Kind) + ".teleported", Version: 1, Data: json.RawMessage(`{}`)})
}

// fold is a state from scratch: of all that the commits have of an aggregate.
func (a *author) fold(ref domain.Ref, commits []eventstore.Recorded) (domain.Aggregate, eventstore.Head) {
	a.t.Helper()
	state, head := domain.New(ref), eventstore.Head{}
	for _, c := range commits {
		if c.Aggregate != string(ref.Kind) || c.AggregateID != ref.ID {
			continue
		}
		require.NoError(a.t, Apply(state, []eventstore.Recorded{c}))
		head = c.Head()
	}
	return state, head
}

// someLives writes the lives of some groups and accounts, one through the other.
func (a *author) someLives(n int) []domain.Ref {
	a.t.Helper()
	var refs []domain.Ref
	for i := range n {
		g := domain.Ref{Kind: domain.KindAccountGroup, ID: uuid.NewString()}
		acc := domain.Ref{Kind: domain.KindAccount, ID: uuid.NewString()}
		a.write(g, &domain.OpenAccountGroup{Users: []domain.Party{{ID: owner, Type: domain.Owner}}, Type: "PERSONAL"})
		a.write(g, &domain.LinkAccount{AccountID: acc.ID, Type: domain.Trading, Name: "Depot"})
		a.write(acc, &domain.OpenAccount{
			AccountGroupID: g.ID, Type: domain.Trading, Name: "Depot",
			Link: &domain.AccountLink{Number: 1, Status: domain.StatusActive, Users: []domain.Party{{ID: owner, Type: domain.Owner}}},
		})
		refs = append(refs, g, acc)
		for _, ref := range refs {
			if ref.Kind == domain.KindAccount {
				a.write(ref, &domain.RecordPosition{ISIN: "DE000BASF111", Quantity: domain.Decimal(fmt.Sprint(i)), Revision: int64(i + 1)})
				continue
			}
			a.write(ref, &domain.RecordCashBalance{Currency: "EUR", Balance: domain.Decimal(fmt.Sprint(i)), Revision: int64(i + 1)})
		}
	}
	return refs
}

func TestLoadIsTheFoldOfAllCommits(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	loads := map[string]func(domain.Ref) (domain.Aggregate, eventstore.Head, error){
		"any replica": func(r domain.Ref) (domain.Aggregate, eventstore.Head, error) {
			return Load(testContext(t), a.log.Load, r)
		},
		"the leader": func(r domain.Ref) (domain.Aggregate, eventstore.Head, error) {
			return Load(testContext(t), a.log.LoadFromLeader, r)
		},
		"latest": func(r domain.Ref) (domain.Aggregate, eventstore.Head, error) { return Latest(testContext(t), a.log, r) },
	}
	refs := append(a.someLives(3), domain.Ref{Kind: domain.KindAccount, ID: uuid.NewString()}, domain.Ref{Kind: domain.KindAccountGroup, ID: uuid.NewString()})
	for name, load := range loads {
		for _, ref := range refs {
			want, wantHead := a.fold(ref, a.all)
			got, head, err := load(ref)
			require.NoError(t, err, name)
			require.Equal(t, want, got, name)
			require.Equal(t, wantHead, head, name)
		}
	}
	require.False(t, domain.New(refs[len(refs)-1]).Exists())
}

// A state is caught up in place, from wherever it stands.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	ref := a.someLives(4)[0]
	want, wantHead := a.fold(ref, a.all)
	for i := range a.all {
		state, head := a.fold(ref, a.all[:i])
		got, err := CatchUp(testContext(t), a.log.LoadFromLeader, state, head)
		require.NoError(t, err)
		require.Equal(t, wantHead, got)
		require.Equal(t, want, state)
	}
	commits, err := LatestCommits(testContext(t), a.log, ref)
	require.NoError(t, err)
	require.Equal(t, a.of(ref), commits)
	commits, err = LatestCommits(testContext(t), a.log, domain.Ref{Kind: domain.KindAccount, ID: uuid.NewString()})
	require.NoError(t, err)
	require.Empty(t, commits)
}

// of lists what was written of an aggregate.
func (a *author) of(ref domain.Ref) []eventstore.Recorded {
	var commits []eventstore.Recorded
	for _, c := range a.all {
		if c.Aggregate == string(ref.Kind) && c.AggregateID == ref.ID {
			commits = append(commits, c)
		}
	}
	return commits
}

// What is new has to follow on what the state holds, also where one read ends and another begins.
func TestCatchUpChecksTheChain(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	ref := a.someLives(2)[0]
	commits := a.of(ref)
	state, head := a.fold(ref, commits[:2])
	wrongHash, wrongVersion := head, head
	wrongHash.Hash = commits[0].Hash
	wrongVersion.Version++
	for _, wrong := range []eventstore.Head{wrongHash, wrongVersion} {
		_, err := CatchUp(testContext(t), a.log.Load, state.Copy(), wrong)
		require.ErrorIs(t, err, eventstore.ErrBrokenChain)
	}
}

func TestUnknownEventsAreAnError(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	ref := a.someLives(1)[0]
	commit := a.unknown(ref)
	_, _, err := Load(testContext(t), a.log.Load, ref)
	require.ErrorIs(t, err, domain.ErrUnknownEvent)
	require.ErrorContains(t, err, commit.ID)
	require.ErrorContains(t, err, "account_group.teleported")
	_, _, err = Latest(testContext(t), a.log, ref)
	require.ErrorIs(t, err, domain.ErrUnknownEvent)
}
