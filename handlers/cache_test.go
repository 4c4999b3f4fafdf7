package handlers

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore/replay"
)

// small is an engine on the stage's log whose cache holds a few aggregates only.
func (s *stage) small(entries int) *Engine {
	s.t.Helper()
	engine, _ := s.another()
	engine.cache = newCache(entries)
	return engine
}

func rename(id, name string) domain.Command {
	return command(account(id), &domain.RenameAccount{Name: name})
}

// What was used last is found again without loading it; what is beyond the bound is loaded, and right all the same.
func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	groupID := s.someGroup()
	var ids []string
	for range 5 {
		ids = append(ids, s.someAccount(groupID))
	}
	engine := s.small(3)
	for _, id := range ids {
		_, err := engine.Account(testContext(t), someClient, id)
		require.NoError(t, err)
	}
	require.Equal(t, CacheStats{Misses: 5, Entries: 3}, engine.CacheStats())
	for _, id := range ids[2:] {
		_, err := engine.Do(testContext(t), rename(id, "Neu"))
		require.NoError(t, err)
	}
	require.Equal(t, CacheStats{Hits: 3, Misses: 5, Entries: 3}, engine.CacheStats())
	_, err := engine.Account(testContext(t), someClient, ids[0])
	require.NoError(t, err)
	require.Equal(t, CacheStats{Hits: 3, Misses: 6, Entries: 3}, engine.CacheStats())
	// Ids that are none do not push out what is.
	for range 10 {
		_, err := engine.Account(testContext(t), someClient, uuid.NewString())
		mustRefuse(t, err, domain.NotFound)
	}
	require.Equal(t, 3, engine.CacheStats().Entries)
	_, err = engine.Account(testContext(t), someClient, ids[0])
	require.NoError(t, err)
	require.EqualValues(t, 4, engine.CacheStats().Hits)
}

// Two engines write the same aggregates and read them, each with a cache that the other makes stale: every write is decided on
// the newest state, every read shows it, and the cached states are those of the log.
func TestCachesOfTwoEngines(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	other, _ := s.another()
	engines := []*Engine{s.engine, other}
	groupID := s.someGroup()
	ids := []string{s.someAccount(groupID), s.someAccount(groupID)}
	const rounds = 60
	var wg sync.WaitGroup
	for w, engine := range engines {
		for _, id := range ids {
			wg.Go(func() {
				for i := range rounds {
					fact := command(account(id), &domain.RecordPosition{ISIN: basf, Quantity: domain.Decimal(fmt.Sprint(i)), Revision: int64(i + 1)})
					_, err := engine.Do(testContext(t), fact)
					require.NoError(t, err)
					a, err := engine.Account(testContext(t), someClient, id)
					require.NoError(t, err)
					require.Equal(t, domain.StatusActive, a.Status(), "worker %d", w)
				}
			})
		}
	}
	wg.Wait()
	for _, id := range ids {
		require.Len(t, s.commits(account(id)), rounds+1, "each revision is recorded once, whoever was quicker")
		want, head, err := replay.Latest(testContext(t), s.log, account(id))
		require.NoError(t, err)
		for _, engine := range engines {
			got, at, err := engine.latest(testContext(t), account(id))
			require.NoError(t, err)
			require.Equal(t, head, at)
			require.Equal(t, want, got.Copy(), "a copy is whole: it shares nothing with the states before it")
		}
	}
	for _, engine := range engines {
		require.NotZero(t, engine.CacheStats().Hits)
	}
}

// What one engine has accepted shows at another one that has an old state in its cache.
func TestAStaleCacheDoesNotShow(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	other, _ := s.another()
	id := s.someAccount(s.someGroup())
	_, err := other.Account(testContext(t), someClient, id)
	require.NoError(t, err)
	s.accepted(rename(id, "Neu"))
	a, err := other.Account(testContext(t), someClient, id)
	require.NoError(t, err)
	require.Equal(t, "Neu", a.Name)
	s.accepted(rename(id, "Ganz neu"))
	out, err := other.Do(testContext(t), rename(id, "Ganz neu"))
	require.NoError(t, err)
	require.Equal(t, Unchanged, out.Result, "decided on what the other engine has written")
	s.accepted(command(account(id), &domain.RequestAccountClosure{}))
	_, err = other.Do(testContext(t), rename(id, "Zu spät"))
	mustRefuse(t, err, domain.Conflict)
}
