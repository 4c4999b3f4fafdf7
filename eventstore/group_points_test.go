package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
)

// mixes of appends that share a batch.
var mixes = map[string]func(t *testing.T, direct *eventstore.Log) []attempt{
	"all new": func(*testing.T, *eventstore.Log) []attempt {
		var all []attempt
		for range 4 {
			all = append(all, attempt{commitOf("account", uuid.NewString()), eventstore.Head{}, errNone})
		}
		return all
	},
	"with refused ones": func(t *testing.T, direct *eventstore.Log) []attempt {
		var all []attempt
		for _, s := range scenes {
			if !s.rival {
				all = append(all, s.set(t, direct, uuid.NewString()))
			}
		}
		return all
	},
}

// A batch loses messages at every point: each of its own, and each answer. Every append
// in it is a success exactly when its commit is in the log, once.
func TestABatchSurvivesALossAtEveryPoint(t *testing.T) {
	t.Parallel()
	servers := servers{url: embeddedtest.Server(t).ClientURL(), replicas: 1}
	direct := servers.open(t)
	var all sync.WaitGroup
	t.Cleanup(all.Wait) // when it fails before
	var repeated lossCount
	for name, mix := range mixes {
		for _, answers := range []bool{false, true} {
			points := newBatchCase(t, servers, direct, name, mix(t, direct), answers).points()
			for _, w := range ways() {
				for _, at := range losingAt(points) {
					c := newBatchCase(t, servers, direct, name, mix(t, direct), answers)
					all.Go(func() { repeated.add(c.lose(w, at)) })
				}
			}
		}
	}
	all.Wait()
	t.Logf("%d batches, %d with appends known only when repeated", repeated.cases, repeated.repeated)
}

// batchCase is a batch of appends behind a proxy of its own.
type batchCase struct {
	lossy
	t        *testing.T
	name     string
	attempts []attempt
	losses   *losses
}

func newBatchCase(t *testing.T, servers servers, direct *eventstore.Log, name string, attempts []attempt, answers bool) *batchCase {
	t.Helper()
	c := &batchCase{
		t: t, attempts: attempts, name: name + ", requests",
		lossy: newLossy(t, servers, direct, eventstore.Config{AppendTimeout: 2500 * time.Millisecond}),
	}
	c.log.GroupAlways()
	c.losses = &c.proxy.requests
	if answers {
		c.losses, c.name = &c.proxy.answers, name+", answers"
	}
	return c
}

// points counts the messages of a batch that loses nothing, up to the last answer.
func (c *batchCase) points() int {
	c.t.Helper()
	require.Zero(c.t, c.lose("", nil), "repeated without a loss")
	stats := c.log.GroupStats()
	require.Equal(c.t, uint64(1), stats.Batches+stats.Refused, "%s: one batch", c.name)
	passed, _ := c.losses.counts()
	require.Positive(c.t, passed)
	return passed
}

// lose messages of the batch, repeat each append until its outcome is known, and
// compare that with the log. It gives how many were repeated.
func (c *batchCase) lose(w way, at []int) (repeated int) {
	name := fmt.Sprintf("%s %v %s", c.name, at, w)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	release := c.log.HoldGroup()
	recs, errs := make([]eventstore.Recorded, len(c.attempts)), make([]error, len(c.attempts))
	again := make([]int, len(c.attempts))
	var all sync.WaitGroup
	for i, a := range c.attempts {
		all.Go(func() {
			recs[i], errs[i] = c.log.Append(ctx, a.commit, a.head)
			for errors.Is(errs[i], eventstore.ErrUnavailable) && ctx.Err() == nil {
				again[i]++
				recs[i], errs[i] = c.log.Append(ctx, a.commit, a.head)
			}
		})
		for c.log.Queued() <= i {
			if !assert.NoError(c.t, ctx.Err(), "%s: the appends do not queue", name) {
				return 0
			}
			runtime.Gosched()
		}
	}
	c.losses.plan(w, nil, at...)
	release()
	all.Wait()
	for i, a := range c.attempts {
		one := fmt.Sprintf("%s, append %d", name, i)
		if a.want == errNone {
			assert.NoError(c.t, errs[i], one)
		} else {
			assert.ErrorIs(c.t, errs[i], a.want, one)
		}
		compare(c.t, c.direct, a.commit, one, recs[i], errs[i])
		repeated += again[i]
	}
	return repeated
}
