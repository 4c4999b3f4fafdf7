package handlers

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
)

// Two engines write one aggregate: their turns do not hold each other up, only the guard does. Nothing is lost, and
// nothing is written twice.
func TestRivalsInTwoEngines(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const rivals = 32
	other, _ := s.another()
	engines := []*Engine{s.engine, other}
	id := s.someGroup()
	fees := make([]string, 2*rivals)
	answers := atOnce(t, func(i int) (Outcome, error) {
		fees[i] = uuid.NewString()
		return engines[i%2].Do(testContext(t), command(group(id), &domain.RecordFeeCollection{
			FeeCollectionID: fees[i], Status: domain.FeeProcessing, Amount: "1.00", Currency: "EUR", Revision: 1,
		}))
	}, 2*rivals)

	bySequence := map[uint64]bool{}
	for _, a := range answers {
		require.NoError(t, a.err)
		require.Equal(t, Accepted, a.Result)
		bySequence[a.Sequence] = true
	}
	commits := s.commits(group(id))
	require.Len(t, commits, 1+2*rivals)
	for i, c := range commits {
		require.Equal(t, i+1, c.Version)
		require.True(t, i == 0 || bySequence[c.Sequence], "sequence %d is nobody's", c.Sequence)
	}
	closure, err := s.engine.AccountGroupClosure(testContext(t), someClient, id)
	require.NoError(t, err)
	require.Len(t, closure.Blockers[0].Items, 2*rivals)
}

// changing makes another engine change the group right before each of the first n attempts decides on what it has
// loaded before, as a rival in another process would.
func (s *stage) changing(n int, rival func(i int) domain.Command) (hook prepare, calls *int) {
	other, _ := s.another()
	calls = new(int)
	return func(ctx context.Context, _ domain.Aggregate) error {
		*calls++
		if *calls > n {
			return nil
		}
		out, err := other.Do(ctx, rival(*calls))
		if err == nil && out.Result != Accepted {
			err = fmt.Errorf("the rival changed nothing: %s", out.Result)
		}
		return err
	}, calls
}

func TestContentionHasABound(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var lines bytes.Buffer
	s.engine.logger = slog.New(slog.NewTextHandler(&lines, nil))
	id := s.someGroup()
	fact := func(i int) domain.Command {
		return command(group(id), &domain.RecordCashBalance{Currency: "EUR", Balance: "1.00", Revision: int64(i)})
	}
	lock := taken(command(group(id), &domain.Lock{}))

	hook, calls := s.changing(attempts, fact)
	_, err := s.engine.execute(testContext(t), lock, hook)
	require.ErrorIs(t, err, ErrContention)
	mustNotRefuse(t, err)
	require.Equal(t, attempts, *calls)
	require.Contains(t, lines.String(), id)
	require.NotContains(t, eventTypes(s.commits(group(id))...), domain.EventGroupLocked, "nothing was written")

	// One attempt less in the way, and it is accepted: the same command, later.
	revision := attempts
	hook, _ = s.changing(attempts-1, func(int) domain.Command { revision++; return fact(revision) })
	d, err := s.engine.execute(testContext(t), lock, hook)
	require.NoError(t, err)
	require.Equal(t, Accepted, d.Result)
	require.Equal(t, domain.StatusLocked, d.state.(domain.Closable).Status())
}

// A decision to write is checked by the guard. One to write nothing is not: a replica that lags must not make it.
func TestNothingIsDecidedOnAnOldState(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	t.Run("a refusal", func(t *testing.T) {
		id := uuid.NewString()
		pending := openGroup()
		pending.Status = domain.StatusPendingApproval
		s.accepted(command(group(id), pending))
		hook, _ := s.changing(1, func(int) domain.Command { return command(group(id), &domain.Activate{}) })
		d, err := s.engine.execute(testContext(t), taken(command(group(id), &domain.RequestAccountGroupClosure{})), hook)
		require.NoError(t, err, "refused for a status that it has no longer")
		require.Equal(t, Accepted, d.Result)
	})
	t.Run("unchanged", func(t *testing.T) {
		id := s.someGroup()
		s.accepted(command(group(id), &domain.Lock{}))
		hook, _ := s.changing(1, func(int) domain.Command { return command(group(id), &domain.Unlock{}) })
		d, err := s.engine.execute(testContext(t), taken(command(group(id), &domain.Lock{})), hook)
		require.NoError(t, err)
		require.Equal(t, Accepted, d.Result, "it was unlocked in the meantime")
		require.Equal(t, s.lastCommit(group(id)).Sequence, d.Sequence)
	})
}

// Who waits for the aggregate's turn asks the server for nothing, and may give up.
func TestTheTurnIsAwaitedWithinTheContext(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.someGroup()
	busy, release := make(chan struct{}), make(chan struct{})
	held := make(chan error, 1)
	go func() {
		_, err := s.engine.execute(testContext(t), taken(command(group(id), &domain.Lock{})), func(context.Context, domain.Aggregate) error {
			close(busy)
			<-release
			return nil
		})
		held <- err
	}()
	receive(t, busy, "turn")
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	before := s.log.Conn().Stats().OutMsgs
	_, err := s.engine.Do(ctx, command(group(id), &domain.Unlock{}))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, before, s.log.Conn().Stats().OutMsgs)
	close(release)
	require.NoError(t, receive(t, held, "end of the turn"))
	require.Equal(t, []string{domain.EventGroupLocked}, eventTypes(s.lastCommit(group(id))))
}
