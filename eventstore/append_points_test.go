package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
)

// These tests lose messages at every point of an append: each request and each answer
// of it, one by one and several, in each way that a connection can lose them. Batches
// of appends have points of their own: see TestABatchSurvivesALossAtEveryPoint.

// scene is what an append finds.
type scene struct {
	name string
	// set makes the aggregate, and gives the append to make.
	set func(t *testing.T, l *eventstore.Log, id string) attempt
	// keeps: the append changes nothing, so that one aggregate is enough for all.
	keeps bool
	// rival: at the first loss somebody else appends on what is there by then.
	rival bool
}

// attempt is an append, and the outcome that it has to have: errNone for a success,
// nil when it depends on who was faster.
type attempt struct {
	commit eventstore.Commit
	head   eventstore.Head
	want   error
}

var errNone = errors.New("none: it is a success")

var scenes = []scene{
	{name: "a new aggregate", set: func(_ *testing.T, _ *eventstore.Log, id string) attempt {
		return attempt{commitOf("account", id), eventstore.Head{}, errNone}
	}},
	{name: "behind others", set: func(t *testing.T, l *eventstore.Log, id string) attempt {
		return attempt{commitOf("account", id), history(t, l, id, 2)[1].Head(), errNone}
	}},
	{name: "a retry", keeps: true, set: func(t *testing.T, l *eventstore.Log, id string) attempt {
		all := history(t, l, id, 2)
		return attempt{all[1].Commit, all[0].Head(), errNone}
	}},
	{name: "a retry after others have followed", keeps: true, set: func(t *testing.T, l *eventstore.Log, id string) attempt {
		all := history(t, l, id, 5)
		return attempt{all[2].Commit, all[1].Head(), errNone}
	}},
	{name: "a retry on a later head", keeps: true, set: func(t *testing.T, l *eventstore.Log, id string) attempt {
		all := history(t, l, id, 3)
		return attempt{all[0].Commit, all[2].Head(), errNone}
	}},
	{name: "a conflict", keeps: true, set: func(t *testing.T, l *eventstore.Log, id string) attempt {
		return attempt{commitOf("account", id), history(t, l, id, 4)[1].Head(), eventstore.ErrConflict}
	}},
	{name: "a rival meanwhile", rival: true, set: func(t *testing.T, l *eventstore.Log, id string) attempt {
		return attempt{commitOf("account", id), history(t, l, id, 1)[0].Head(), nil}
	}},
}

// attempts gives one append after the other.
func (s scene) attempts(t *testing.T, l *eventstore.Log) func() attempt {
	next := func() attempt { return s.set(t, l, uuid.NewString()) }
	if s.keeps {
		next = sync.OnceValue(next)
	}
	return next
}

// history gives an aggregate n commits.
func history(t *testing.T, l *eventstore.Log, id string, n int) []eventstore.Recorded {
	t.Helper()
	w := newWriter(t, l)
	for range n {
		w.append("account", id)
	}
	return w.all
}

func TestAppendSurvivesALossAtEveryPoint(t *testing.T) {
	onBoth(t, func(t *testing.T, servers servers) {
		direct := servers.open(t)
		var all sync.WaitGroup
		t.Cleanup(all.Wait) // when it fails before
		var repeated lossCount
		for _, s := range scenes {
			next := s.attempts(t, direct)
			for _, answers := range []bool{false, true} {
				points := newLossCase(t, servers, direct, s, next(), answers).points()
				for _, w := range ways() {
					for _, at := range losingAt(points) {
						c := newLossCase(t, servers, direct, s, next(), answers)
						all.Go(func() { repeated.add(c.lose(w, at)) })
					}
				}
			}
		}
		all.Wait()
		t.Logf("%d appends, %d of them known only when repeated", repeated.cases, repeated.repeated)
		require.Positive(t, repeated.repeated, "no append ran out of time, which several losses have to cause")
	})
}

// losingAt gives the sets of messages to lose: each of the points alone, and more, so
// that the losses reach into what the append does because of the first one.
func losingAt(points int) [][]int {
	sets := [][]int{{1, 2}, {1, 3}, {1, 4}, {1, 2, 3}}
	for at := range points {
		sets = append(sets, []int{at + 1})
	}
	return sets
}

// lossCase is one append behind a proxy of its own.
type lossCase struct {
	attempt
	t      *testing.T
	name   string
	log    *eventstore.Log // behind the proxy
	direct *eventstore.Log
	losses *losses
	rival  bool
	// counted: the same append takes the same number of messages each time.
	counted bool
}

func newLossCase(t *testing.T, servers servers, direct *eventstore.Log, s scene, a attempt, answers bool) *lossCase {
	t.Helper()
	l := newLossy(t, servers, direct, eventstore.Config{AppendTimeout: 2500 * time.Millisecond})
	c := &lossCase{
		attempt: a, t: t, name: s.name + ", requests", log: l.log, direct: direct, losses: &l.proxy.requests,
		rival: s.rival, counted: servers.replicas == 1,
	}
	if answers {
		c.losses, c.name = &l.proxy.answers, s.name+", answers"
	}
	return c
}

// points counts the requests, or the answers, of an append that loses nothing.
func (c *lossCase) points() int {
	c.t.Helper()
	require.Zero(c.t, c.lose("", nil), "repeated without a loss")
	passed, _ := c.losses.counts()
	require.Positive(c.t, passed)
	return passed
}

// lose messages of the append, repeat it until its outcome is known, and compare that
// with the log. It gives how often it was repeated.
func (c *lossCase) lose(w way, at []int) (repeated int) {
	name := fmt.Sprintf("%s %v %s", c.name, at, w)
	var rival func()
	if c.rival {
		rival = func() { c.appendRival(name) }
	}
	c.losses.plan(w, rival, at...)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rec, err := c.log.Append(ctx, c.commit, c.head)
	for errors.Is(err, eventstore.ErrUnavailable) && ctx.Err() == nil {
		repeated++
		rec, err = c.log.Append(ctx, c.commit, c.head)
	}
	if c.want == errNone {
		assert.NoError(c.t, err, name)
	} else if c.want != nil {
		assert.ErrorIs(c.t, err, c.want, name)
	}
	compare(c.t, c.direct, c.commit, name, rec, err)
	if len(at) == 1 {
		// How many answers a look into the log takes depends on how far the replica is.
		if _, lost := c.losses.counts(); c.counted || at[0] == 1 {
			assert.Equal(c.t, 1, lost, "%s: losses", name)
		}
		assert.Zero(c.t, repeated, "%s: one loss is bridged within one append", name)
	}
	return repeated
}

// compare the outcome of an append with the log: a success exactly when the commit is
// in it, once; else a conflict.
func compare(t *testing.T, direct *eventstore.Log, c eventstore.Commit, name string, rec eventstore.Recorded, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, loadErr := direct.LoadFromLeader(ctx, "account", c.AggregateID, 0)
	assert.NoError(t, loadErr, name)
	var mine []eventstore.Recorded
	for _, r := range all {
		if r.ID == c.ID {
			mine = append(mine, r)
		}
	}
	if err == nil {
		assert.Equal(t, []eventstore.Recorded{rec}, mine, "%s: a success is in the log, once", name)
		return
	}
	assert.ErrorIs(t, err, eventstore.ErrConflict, name)
	assert.Empty(t, mine, "%s: a conflict is not in the log", name)
}

// appendRival behind whatever is the last commit.
func (c *lossCase) appendRival(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		all, err := c.direct.LoadFromLeader(ctx, "account", c.commit.AggregateID, 0)
		if !assert.NoError(c.t, err, name) {
			return
		}
		_, err = c.direct.Append(ctx, commitOf("account", c.commit.AggregateID), all[len(all)-1].Head())
		if errors.Is(err, eventstore.ErrConflict) {
			continue // our own append was faster
		}
		assert.NoError(c.t, err, name)
		return
	}
}

// lossCount of many cases.
type lossCount struct {
	mu              sync.Mutex
	cases, repeated int
}

func (n *lossCount) add(repeated int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cases++
	if repeated > 0 {
		n.repeated++
	}
}
