package bench

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"closure/handlers"
)

// memoryPerAggregate is the heap that is let go when an engine with a full cache is let go. Counted like this, what the server
// in the same process holds for the loads is not on the engine's account.
func memoryPerAggregate(ctx context.Context, b *bench) (sides, error) {
	a, err := b.filled(ctx, large, b.cfg.Sizes.LargeAccounts)
	if err != nil {
		return sides{}, err
	}
	n := min(b.cfg.Sizes.CachedAccounts, len(a.accounts))
	return sides{
		engine: func(ctx context.Context) (float64, error) {
			engine := handlers.New(handlers.Config{Log: a.log, CacheEntries: n})
			group, ctx := errgroup.WithContext(ctx)
			group.SetLimit(8)
			for _, ref := range a.accounts[:n] {
				group.Go(func() error {
					_, err := engine.State(ctx, ref)
					return err
				})
			}
			if err := group.Wait(); err != nil {
				return 0, err
			}
			if got := engine.CacheStats().Entries; got != n {
				return 0, fmt.Errorf("%d accounts are in the cache, not %d", got, n)
			}
			with := heap()
			runtime.KeepAlive(engine)
			engine = nil
			return (with - heap()) / float64(n), nil
		},
		note: func() string {
			return fmt.Sprintf("%s accounts with %d positions and %d commits each", thousands(n), min(len(instruments), b.cfg.Sizes.CommitsEach-1), b.cfg.Sizes.CommitsEach)
		},
	}, nil
}

// heap is what is in use, in bytes. The server hands back what it read in pools and under weak pointers, of which each collection
// frees some: so it is done again until nothing more goes.
func heap() float64 {
	const steady = 64 << 10
	var m runtime.MemStats
	for last := uint64(1 << 62); ; last = m.HeapAlloc {
		runtime.GC()
		if runtime.ReadMemStats(&m); m.HeapAlloc+steady > last {
			return float64(min(m.HeapAlloc, last))
		}
	}
}
