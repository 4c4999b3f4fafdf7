package handlers

import (
	"context"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
)

// defaultCacheEntries bounds the cache when nothing else is said. An account with a few positions takes about 2 KB.
const defaultCacheEntries = 10_000

// cache keeps the states of the aggregates that were used last, each with the head at which it stands. A state in it is never
// changed: who goes on from it goes on from a copy. It may be behind the log, since other engines write, too: the guard at
// append, and a look at what the leader has new, make that harmless.
type cache struct {
	entries      *lru.Cache[domain.Ref, entry]
	hits, misses atomic.Uint64
}

type entry struct {
	state domain.Aggregate
	head  eventstore.Head
}

func newCache(size int) *cache {
	entries, err := lru.New[domain.Ref, entry](size)
	if err != nil {
		panic(err) // the size is above zero
	}
	return &cache{entries: entries}
}

// get gives what is known of an aggregate.
func (c *cache) get(ref domain.Ref) (entry, bool) {
	e, ok := c.entries.Get(ref)
	if ok {
		c.hits.Add(1)
	} else {
		c.misses.Add(1)
	}
	return e, ok
}

// put keeps a state that stands at a head, unless a newer one is known. What does not exist is not kept: anybody could fill the
// cache with ids that are none.
func (c *cache) put(ref domain.Ref, e entry) {
	if !e.state.Exists() {
		return
	}
	if known, ok := c.entries.Peek(ref); ok && known.head.Sequence >= e.head.Sequence {
		return
	}
	c.entries.Add(ref, e)
}

// CacheStats says how the cache of aggregates does.
type CacheStats struct {
	// Hits and Misses count the look-ups since the start.
	Hits, Misses uint64
	// Entries is how many aggregates are in it now.
	Entries int
}

// CacheStats counts what the engine found in its cache, and what it had to load whole.
func (e *Engine) CacheStats() CacheStats {
	return CacheStats{Hits: e.cache.hits.Load(), Misses: e.cache.misses.Load(), Entries: e.cache.entries.Len()}
}

// known gives a state that a decision may be based on: the guard checks it. It may miss the newest commits.
func (e *Engine) known(ctx context.Context, ref domain.Ref) (domain.Aggregate, eventstore.Head, error) {
	if found, ok := e.cache.get(ref); ok {
		return found.state, found.head, nil
	}
	state, head, err := replay.Load(ctx, e.log.Load, ref)
	if err != nil {
		return nil, eventstore.Head{}, err
	}
	e.cache.put(ref, entry{state, head})
	return state, head, nil
}

// refresh adds what the leader of the log has behind a head; the state itself is not changed.
func (e *Engine) refresh(ctx context.Context, ref domain.Ref, state domain.Aggregate, head eventstore.Head) (domain.Aggregate, eventstore.Head, error) {
	next, newHead, err := replay.Refresh(ctx, e.log.LoadFromLeader, state, head)
	if err != nil {
		return nil, eventstore.Head{}, err
	}
	if newHead != head {
		e.cache.put(ref, entry{next, newHead})
	}
	return next, newHead, nil
}

// latest is a state with all that the leader of the log has, for what nothing checks afterwards.
func (e *Engine) latest(ctx context.Context, ref domain.Ref) (domain.Aggregate, eventstore.Head, error) {
	state, head, err := e.known(ctx, ref)
	if err != nil {
		return nil, eventstore.Head{}, err
	}
	return e.refresh(ctx, ref, state, head)
}
