package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
)

// Many rivals read one aggregate and append to it, on all three servers, while the log changes its leader and a server goes
// and comes back. What they were told, and when, can be explained by an order in which each call took effect at one moment
// between its begin and its end, under the guard.
//
// With -short there are fewer rivals, and fewer calls.
func TestGuardIsLinearizable(t *testing.T) {
	t.Parallel()
	rivals, calls := 64, 30*64
	if testing.Short() {
		rivals, calls = 24, 12*24
	}
	c, err := embedded.StartCluster(3, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(c.Shutdown)
	d := startDuel(t, c, rivals)
	d.play(calls / 6)
	d.playDuring(calls/6, d.stepDown)
	leader := d.leader()
	d.playDuring(calls/6, func() { c.Stop(leader) })
	d.playDuring(calls/6, func() {
		assert.NoError(t, c.Restart(leader))
		assert.NoError(t, c.WaitReady(patience))
	})
	d.playDuring(calls/6, d.stepDown)
	d.play(calls / 6)
	d.end()

	history := d.complete(readWhole(t, d.logs[0]))
	begin := time.Now()
	result := checkHeads(history)
	t.Logf("%d calls (%s): %s, checked in %s", len(history), d.counts(history), result, time.Since(begin))
	if result != porcupine.Ok {
		found := contradictions(history)
		t.Fatalf("the history is not linearizable: %s\n%s", result, strings.Join(found[:min(len(found), 20)], "\n"))
	}
}

// duel is the rivals, and the history of their calls.
type duel struct {
	network
	ctx   context.Context
	id    string
	logs  []*eventstore.Log
	turns chan struct{} // each is one call of whoever takes it
	once  sync.Once
	all   sync.WaitGroup
	begin time.Time

	mu      sync.Mutex
	history []porcupine.Operation
	given   map[string]int // appends without an outcome: where they are in the history
	failed  int            // reads
}

func startDuel(t testing.TB, c *embedded.Cluster, rivals int) *duel {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), trialWithin)
	t.Cleanup(cancel)
	d := &duel{
		network: network{Cluster: c, t: t}, ctx: ctx, id: uuid.NewString(), turns: make(chan struct{}), begin: time.Now(),
		given: map[string]int{},
	}
	for i := range 3 {
		nc := embeddedtest.ConnectURL(t, c.MemberURL(i), nats.ReconnectWait(20*time.Millisecond), quiet)
		d.logs = append(d.logs, openLogOn(t, nc, eventstore.Config{Replicas: 3, AppendTimeout: time.Second, ReadTimeout: time.Second}))
	}
	for n := range rivals {
		r := &rival{duel: d, n: n, log: d.logs[n%3]}
		d.all.Go(r.run)
	}
	t.Cleanup(d.end)
	return d
}

// play gives the rivals so many calls to make.
func (d *duel) play(calls int) {
	d.t.Helper()
	for range calls {
		select {
		case d.turns <- struct{}{}:
		case <-d.ctx.Done():
			d.t.Fatal("the rivals do not get on")
		}
	}
}

// playDuring does something while the rivals are at it.
func (d *duel) playDuring(calls int, event func()) {
	d.t.Helper()
	var done sync.WaitGroup
	defer done.Wait()
	d.play(calls / 4)
	done.Go(event)
	d.play(calls - calls/4)
}

// end waits for the calls that were begun.
func (d *duel) end() {
	d.once.Do(func() { close(d.turns) })
	d.all.Wait()
}

func (d *duel) leader() int { return d.network.leader(d.logs[0]) }

// stepDown makes the leader of the log give way to another server.
func (d *duel) stepDown() {
	_, err := d.logs[0].Conn().RequestWithContext(d.ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+eventstore.StreamLog, nil)
	assert.NoError(d.t, err)
}

func (d *duel) now() int64 { return int64(time.Since(d.begin)) }

func (d *duel) note(o porcupine.Operation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.history = append(d.history, o)
}

// rival is one of them. It reads, then appends behind what it read, then once more behind what it believes by then.
type rival struct {
	*duel
	n    int
	log  *eventstore.Log
	head eventstore.Head
}

func (r *rival) run() {
	turn := 0
	for range r.turns {
		var err error
		if turn%3 == 0 {
			err = r.read(turn / 3)
		} else {
			err = r.append()
		}
		assert.NoError(r.t, err, "rival %d", r.n)
		turn++
	}
}

// read the head: what is new behind the one it knows, or the whole aggregate.
func (r *rival) read(n int) error {
	load, after := r.log.LoadCurrent, r.head
	switch {
	case n%8 == 7:
		after = eventstore.Head{}
	case n%2 == 1:
		load = r.log.LoadFromLeader
	}
	call := r.now()
	newer, err := load(r.ctx, "account", r.id, after.Sequence)
	end := r.now()
	if errors.Is(err, eventstore.ErrUnavailable) { // it saw nothing, so it says nothing
		r.mu.Lock()
		defer r.mu.Unlock()
		r.failed++
		return nil
	}
	if err != nil {
		return err
	}
	r.head = after
	if len(newer) > 0 {
		r.head = newer[len(newer)-1].Head()
	}
	o := readOf(r.head.Sequence, call, end)
	o.ClientId = r.n
	r.note(o)
	return nil
}

// append behind the head that it knows. Every other rival asks again until it knows the outcome; the rest never learn it.
func (r *rival) append() error {
	c, call := commitOf("account", r.id), r.now()
	rec, err := r.log.Append(r.ctx, c, r.head)
	for r.n%2 == 1 && errors.Is(err, eventstore.ErrUnavailable) && r.ctx.Err() == nil {
		rec, err = r.log.Append(r.ctx, c, r.head)
	}
	o := conflictOn(r.head.Sequence, call, r.now())
	switch {
	case err == nil:
		o = storedAt(rec.Sequence, r.head.Sequence, call, r.now())
		r.head = rec.Head()
	case errors.Is(err, eventstore.ErrUnavailable):
		o.Return = math.MaxInt64 // it may take effect whenever it likes
		r.mu.Lock()
		r.given[c.ID] = len(r.history)
		r.history = append(r.history, o)
		r.mu.Unlock()
		return nil
	case !errors.Is(err, eventstore.ErrConflict):
		return err
	}
	o.ClientId = r.n
	r.note(o)
	return nil
}

// complete gives the history with the outcome of the appends that nobody was told of: those that are in the log took effect,
// some time after they began; the others never did, which is to say that they might as well not have been.
func (d *duel) complete(log []eventstore.Recorded) []porcupine.Operation {
	stored := map[string]uint64{}
	for _, r := range log {
		stored[r.ID] = r.Sequence
	}
	never := map[int]bool{}
	for id, at := range d.given {
		seq, ok := stored[id]
		never[at] = !ok
		o := &d.history[at]
		*o = storedAt(seq, o.Input.(headOp).head, o.Call, o.Return)
	}
	var out []porcupine.Operation
	for i, o := range d.history {
		if !never[i] {
			out = append(out, o)
		}
	}
	return out
}

// counts of the calls by what came of them.
func (d *duel) counts(history []porcupine.Operation) string {
	var reads, stored, conflicts int
	for _, o := range history {
		switch in, out := o.Input.(headOp), o.Output.(headAnswer); {
		case !in.append:
			reads++
		case out.stored:
			stored++
		default:
			conflicts++
		}
	}
	return fmt.Sprintf("%d reads, %d appends stored, %d conflicts; besides %d reads that failed; %d appends were of unknown outcome, of which %d are in the log",
		reads, stored, conflicts, d.failed, len(d.given), len(history)+len(d.given)-len(d.history))
}
