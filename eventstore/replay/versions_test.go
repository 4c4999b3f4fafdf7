package replay

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
)

// laterVersion appends an event that is known, in a version that only a later version of the engine knows.
func (a *author) laterVersion(ref domain.Ref) eventstore.Recorded {
	a.t.Helper()
	name := map[domain.Kind]string{domain.KindAccount: domain.EventAccountPositionRecorded, domain.KindAccountGroup: domain.EventGroupCashBalanceRecorded}[ref.Kind]
	return a.raw(ref, eventstore.Event{Type: name, Version: domain.EventVersion(name) + 1, Data: json.RawMessage(`{"revision":100}`)})
}

// known appends an event that every version of the engine knows.
func (a *author) known(ref domain.Ref) eventstore.Recorded {
	a.t.Helper()
	return a.raw(ref, eventstore.Event{Type: string(ref.Kind) + ".locked", Version: 1, Data: json.RawMessage(`{}`)})
}

// raw appends events as they are.
func (a *author) raw(ref domain.Ref, events ...eventstore.Event) eventstore.Recorded {
	a.t.Helper()
	return a.append(ref, domain.Command{ID: uuid.NewString(), ClientID: someClient, Actor: "test", Time: a.now}, events...)
}

// foreign are the ways in which a log may hold what this version of the engine does not know, with what the error says.
var foreign = map[string]struct {
	append func(*author, domain.Ref) eventstore.Recorded
	says   string
}{
	"an event of another name": {(*author).unknown, "account_group.teleported version 1: this version of the engine has no event of that name; use one that knows it"},
	"a later version": {(*author).laterVersion,
		"account_group.cash_balance_recorded version 2: this version of the engine knows it up to version 1; use a later one"},
}

// TestReadersStopAtWhatTheyDoNotKnow: none of them skips it, at it or behind it; and no other aggregate suffers.
func TestReadersStopAtWhatTheyDoNotKnow(t *testing.T) {
	for name, f := range foreign {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthor(t)
			refs := a.someLives(2)
			ref, others := refs[0], refs[1:]
			before, head := a.fold(ref, a.all)
			commit := f.append(a, ref)
			behind := a.known(ref)
			for reader, read := range a.readers(ref, before, head, commit, behind) {
				err := read()
				require.ErrorIs(t, err, domain.ErrUnknownEvent, reader)
				require.ErrorContains(t, err, commit.ID, reader)
				require.ErrorContains(t, err, "account_group "+ref.ID, reader)
				require.ErrorContains(t, err, f.says, reader)
			}
			want, _ := a.fold(ref, a.all[:len(a.all)-2])
			require.Equal(t, want, before, "a state that others may be reading was changed")
			tracker := NewTracker(a.log, 0)
			for place, c := range a.all {
				if c.AggregateID != ref.ID {
					a.mustTrack(tracker, place)
					continue
				}
				if _, _, err := tracker.After(testContext(t), c); c.Sequence >= commit.Sequence {
					require.ErrorIs(t, err, domain.ErrUnknownEvent, "sequence %d", c.Sequence)
				} else {
					require.NoError(t, err)
				}
			}
			for _, other := range others {
				want, wantHead := a.fold(other, a.all)
				got, gotHead, err := Latest(testContext(t), a.log, other)
				require.NoError(t, err)
				require.Equal(t, want, got)
				require.Equal(t, wantHead, gotHead)
			}
			commits, err := LatestCommits(testContext(t), a.log, ref)
			require.NoError(t, err, "what is stored can be shown")
			require.Equal(t, a.of(ref), commits)
		})
	}
}

// readers are all ways to a state. The state stands at the head, before the commit that cannot be read.
func (a *author) readers(ref domain.Ref, state domain.Aggregate, head eventstore.Head, commit, behind eventstore.Recorded) map[string]func() error {
	ctx := testContext(a.t)
	after := func(c eventstore.Recorded) error { _, _, err := NewTracker(a.log, 0).After(ctx, c); return err }
	return map[string]func() error{
		"Events":             func() error { _, err := Events(commit.Commit); return err },
		"Apply":              func() error { return Apply(state.Copy(), []eventstore.Recorded{commit, behind}) },
		"Load":               func() error { _, _, err := Load(ctx, a.log.Load, ref); return err },
		"Load of the leader": func() error { _, _, err := Load(ctx, a.log.LoadFromLeader, ref); return err },
		"Latest":             func() error { _, _, err := Latest(ctx, a.log, ref); return err },
		"CatchUp":            func() error { _, err := CatchUp(ctx, a.log.LoadFromLeader, state.Copy(), head); return err },
		"Refresh":            func() error { _, _, err := Refresh(ctx, a.log.LoadFromLeader, state, head); return err },
		"Tracker":            func() error { return after(commit) },
		"Tracker behind it":  func() error { return after(behind) },
		"Judge":              func() error { _, err := Judge(state.Copy(), commit); return err },
	}
}

// taken is what a follower has handled, and how often it came to what it does not know.
type taken struct {
	mu      sync.Mutex
	handled map[uint64]bool
	stopped map[uint64]int
	news    chan struct{}
}

func (w *taken) handle(_ context.Context, commits []eventstore.Recorded) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() {
		select {
		case w.news <- struct{}{}:
		default:
		}
	}()
	for _, c := range commits {
		if _, err := Events(c.Commit); err != nil {
			w.stopped[c.Sequence]++
			return err
		}
		w.handled[c.Sequence] = true
	}
	return nil
}

// until waits until something holds of what was taken.
func (w *taken) until(ctx context.Context, t *testing.T, holds func() bool) {
	t.Helper()
	for {
		w.mu.Lock()
		done := holds()
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-w.news:
		case <-ctx.Done():
			require.Fail(t, "it does not come to pass", "handled %v, stopped at %v", w.handled, w.stopped)
		}
	}
}

// TestFollowersStopAtWhatTheyDoNotKnow: one that keeps the order of the log stays there as a whole, and comes again and again; one
// that keeps the order of each aggregate goes on with the others. Neither says that it has handled it.
func TestFollowersStopAtWhatTheyDoNotKnow(t *testing.T) {
	for name, f := range foreign {
		for _, parallel := range []int{1, 4} {
			t.Run(map[int]string{1: "in order: ", 4: "in parallel: "}[parallel]+name, func(t *testing.T) {
				t.Parallel()
				a, ctx := newAuthor(t), testContext(t)
				refs := a.someLives(2)
				unknown := f.append(a, refs[0]).Sequence
				behind := a.known(refs[0]).Sequence
				for _, ref := range refs[1:] {
					a.known(ref)
				}
				goesOn := func(c eventstore.Recorded) bool {
					return c.Sequence < unknown || parallel > 1 && c.AggregateID != refs[0].ID
				}
				seen := &taken{handled: map[uint64]bool{}, stopped: map[uint64]int{}, news: make(chan struct{}, 1)}
				follower := eventstore.NewFollower(a.log, eventstore.FollowerConfig{Parallel: parallel, Handle: seen.handle})
				require.NoError(t, follower.Start(ctx))
				seen.until(ctx, t, func() bool {
					for _, c := range a.all {
						if goesOn(c) && !seen.handled[c.Sequence] {
							return false
						}
					}
					return seen.stopped[unknown] >= 2 // it comes again: a later version of the engine would go on
				})
				require.NoError(t, follower.Stop(ctx))
				require.Less(t, follower.Position(), unknown)
				for _, c := range a.all {
					require.Equal(t, goesOn(c), seen.handled[c.Sequence], "sequence %d", c.Sequence)
				}
				require.Zero(t, seen.stopped[behind], "it went on to what is behind it")
			})
		}
	}
}

// TestWhatFormerVersionsWroteIsRead: a log of two engines, one of which did not say how much of an order was executed.
func TestWhatFormerVersionsWroteIsRead(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	ref := a.someLives(1)[1]
	first, second := uuid.NewString(), uuid.NewString()
	a.write(ref, &domain.PlaceOrder{OrderID: first, Side: domain.Buy, ISIN: "US0378331005", Quantity: "2"})
	a.write(ref, &domain.PlaceOrder{OrderID: second, Side: domain.Buy, ISIN: "US0378331005", Quantity: "3"})
	said := func(order, status string) eventstore.Event {
		return eventstore.Event{Type: domain.EventOrderRecorded, Version: 1,
			Data: json.RawMessage(`{"order_id":"` + order + `","status":"` + status + `","previous_status":"NEW","revision":1}`)}
	}
	a.raw(ref, said(first, "CANCELLED"))
	a.raw(ref, said(second, "FILLED"))
	state, head, err := Latest(testContext(t), a.log, ref)
	require.NoError(t, err)
	want, wantHead := a.fold(ref, a.all)
	require.Equal(t, want, state)
	require.Equal(t, wantHead, head)
	tracked, _, err := NewTracker(a.log, 0).After(testContext(t), a.all[len(a.all)-1])
	require.NoError(t, err)
	require.Equal(t, want, tracked)

	account := state.(*domain.Account)
	cancelled, _ := account.Order(first)
	filled, _ := account.Order(second)
	require.Equal(t, []domain.Decimal{"0", ""}, []domain.Decimal{cancelled.FilledQuantity, filled.FilledQuantity})
	blockers := account.Blockers(a.now)
	require.Equal(t, domain.OpenOrders, blockers[len(blockers)-1].Code)
	require.Len(t, blockers[len(blockers)-1].Items, 1, "what is FILLED is waited for, and what is CANCELLED is not")
	require.Equal(t, second, blockers[len(blockers)-1].Items[0].ID)

	// And it goes on in the version of today.
	now := a.write(ref, &domain.RecordOrder{OrderID: first, Status: domain.OrderCancelled, FilledQuantity: "0.5", Revision: 2})
	require.Equal(t, 2, now.Events[0].Version)
	require.JSONEq(t, `{"order_id":"`+first+`","status":"CANCELLED","previous_status":"CANCELLED","filled_quantity":"0.5","revision":2}`, string(now.Events[0].Data))
	state, _, err = Latest(testContext(t), a.log, ref)
	require.NoError(t, err)
	require.Len(t, state.(*domain.Account).Blockers(a.now)[len(blockers)-1].Items, 2)
}

// TestJudgeTakesWhatFormerVersionsWrote: logs that engines of their time wrote are judged by the rules of today, and every commit
// could have been decided. Only the ids are not the engine's: tests gave them.
func TestJudgeTakesWhatFormerVersionsWrote(t *testing.T) {
	t.Parallel()
	versions := map[int]int{}
	for _, path := range []string{"golden_log.jsonl", "golden_log_2.jsonl", "golden_log_3.jsonl", "golden_log_4.jsonl"} {
		states := map[domain.Ref]domain.Aggregate{}
		for i, c := range readGolden(t, path) {
			ref := domain.Ref{Kind: domain.Kind(c.Aggregate), ID: c.AggregateID}
			c.ID = CommitID(ref.Kind, ref.ID, c.Version, c.CommandID)
			after, err := Judge(states[ref], c)
			require.NoError(t, err, "%s:%d", path, i+1)
			states[ref] = after
			for _, e := range c.Events {
				if e.Type == domain.EventOrderRecorded {
					versions[e.Version]++
				}
			}
		}
	}
	require.Len(t, versions, domain.EventVersion(domain.EventOrderRecorded))
	require.Greater(t, versions[1], 10, "hardly anything of a former version was judged")
}

func readGolden(t *testing.T, name string) (commits []eventstore.Recorded) {
	t.Helper()
	file, err := os.Open("../../domain/testdata/" + name)
	require.NoError(t, err)
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		c, err := eventstore.DecodeCommit(lines.Bytes())
		require.NoError(t, err)
		commits = append(commits, eventstore.Recorded{Commit: c})
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, commits)
	return commits
}

// TestEncodeWritesTheVersionOfEachEvent, and nothing that nobody could read.
func TestEncodeWritesTheVersionOfEachEvent(t *testing.T) {
	raw, err := Encode(domain.KindAccount, []domain.Event{
		domain.LockApplied{}, domain.OrderRecorded{OrderID: owner, Status: domain.OrderFilled, PreviousStatus: domain.OrderNew, Revision: 1},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"account.locked", "account.order_recorded"}, []string{raw[0].Type, raw[1].Type})
	require.Equal(t, []int{1, 2}, []int{raw[0].Version, raw[1].Version})
	events, err := Events(eventstore.Commit{Events: raw})
	require.NoError(t, err)
	require.Len(t, events, 2)
	_, err = Encode(domain.KindUser, []domain.Event{domain.LockApplied{}})
	require.EqualError(t, err, "encode user.locked: a user has no such event")
}
