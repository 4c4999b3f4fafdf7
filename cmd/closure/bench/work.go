package bench

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// patience is how long one turn of a side may take longer than it should, before it counts as failed. It is long, since a
// thousand publishes in flight may have to wait for a slow disk.
const patience = 2 * time.Minute

// amount says when a turn ends: when the time is up, or when so much is done.
type amount struct {
	lasting time.Duration // 0: until most is done
	most    int           // 0: until the time is up
}

// turn is the work of one side while it is measured. Its workers ask it for leave before each thing that they do.
type turn struct {
	amount
	end   time.Time
	begun atomic.Int64
}

func newTurn(a amount) *turn { return &turn{amount: a, end: time.Now().Add(a.lasting)} }

// more gives leave to do one more thing; once at least.
func (t *turn) more() bool {
	if t.lasting > 0 && t.begun.Load() > 0 && !time.Now().Before(t.end) {
		return false
	}
	n := t.begun.Add(1)
	if t.most > 0 && n > int64(t.most) {
		t.begun.Add(-1)
		return false
	}
	return true
}

// measure runs the work of a turn and gives how many things a second were done. The garbage of the turn before is not on its
// account.
func measure(ctx context.Context, a amount, work func(ctx context.Context, t *turn) error) (float64, error) {
	runtime.GC()
	ctx, cancel := context.WithTimeout(ctx, a.lasting+patience)
	defer cancel()
	t, begin := newTurn(a), time.Now()
	if err := work(ctx, t); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	if t.begun.Load() == 0 {
		return 0, errors.New("there was nothing to do")
	}
	return float64(t.begun.Load()) / took.Seconds(), nil
}

// inFlight has n workers, each of which does one thing after the other.
func inFlight(n int, do func(ctx context.Context, worker, i int) error) func(context.Context, *turn) error {
	return func(ctx context.Context, t *turn) error {
		group, ctx := errgroup.WithContext(ctx)
		for worker := range n {
			group.Go(func() error {
				for i := 0; t.more(); i++ {
					if err := do(ctx, worker, i); err != nil {
						return err
					}
				}
				return nil
			})
		}
		return group.Wait()
	}
}
