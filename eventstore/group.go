package eventstore

import (
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Group commit. A stream on one replica that syncs always pays one fsync for each
// message, one after the other, and a few for an atomic batch, however many messages
// it has. So appends that wait at the same time share a batch, when there are enough
// of them for it to pay: costs decides, from what it observed. On a server that does
// not sync always a batch never pays, and every append is published by itself.
//
// An append is published at once, by its own goroutine, unless others are on their way
// already and a batch of them all would be done earlier. Then it queues, and the
// committer, a goroutine that lives as long as somebody queues, takes all that wait.

const (
	// batchMessages is what a server takes in one batch by default.
	batchMessages = 1000
	// batchBytes bounds the bodies of a batch: it is staged on disk before it counts.
	batchBytes = 4 << 20
	// companyBytes: a larger commit goes alone. Writing it costs more than its fsync,
	// and its neighbours would wait for it.
	companyBytes = 256 << 10
	// batchAttempts: one that was in so many refused batches goes alone.
	batchAttempts = 2
)

// publication is one try to append.
type publication struct {
	rec      Recorded
	subject  string
	body     []byte
	head     Head
	answer   chan answer // with room for one; made when it waits
	refusals int         // batches that were refused with it
	state    state       // guarded by the group
}

// state of a publication in the group.
type state int

const (
	direct state = iota // it never waited
	queued
	taken    // it is in a batch, whose answer it gets
	released // it was told to go alone
	left     // nobody waits for it any more
)

// answer to one that waited. Alone: it has to publish itself.
type answer struct {
	verdict  verdict
	sequence uint64 // where it is stored
	err      error
	alone    bool
}

func newPublication(rec Recorded, body []byte, head Head) *publication {
	return &publication{rec: rec, subject: LogSubject(rec.Aggregate, rec.AggregateID), body: body, head: head}
}

// message makes the message; each try has one of its own, since clients write into it.
func (p *publication) message() *nats.Msg {
	// One array for the lists of all four, each of which has its one value.
	values := [...]string{p.rec.Hash, p.rec.ID, StreamLog, strconv.FormatUint(p.head.Sequence, 10)}
	m := &nats.Msg{Subject: p.subject, Data: p.body, Header: nats.Header{
		HeaderHash:                          values[0:1:1],
		jetstream.MsgIDHeader:               values[1:2:2],
		jetstream.ExpectedStreamHeader:      values[2:3:3],
		jetstream.ExpectedLastSubjSeqHeader: values[3:4:4],
	}}
	if p.rec.Trace.Valid() {
		p.rec.Trace.Put(m.Header)
	}
	return m
}

// recorded is the commit as it stands in the log at a sequence.
func (p *publication) recorded(seq uint64) Recorded {
	rec := p.rec
	rec.Sequence = seq
	return rec
}

// group decides who is published alone, and who in company.
type group struct {
	enabled bool
	// fits tells who may share a batch.
	fits func(*publication) bool
	// publish a batch, and answer each of it, or give back those that have to be
	// published again.
	publish func([]*publication) batchResult

	mu     sync.Mutex
	policy policy
	out    int            // how many are on their way alone
	last   time.Time      // when the last answer came
	lost   time.Duration  // time that refused batches took since the last one that was stored
	queue  []*publication // in the order in which they came
	busy   bool           // the committer is at work
	stats  GroupStats
}

// batchResult is what became of a batch.
type batchResult struct {
	stored  int            // how many of it are in the log now
	refused bool           // the server took none of it
	again   []*publication // not answered: to be published again
}

// policy of a group: costs.
type policy interface {
	// pays tells whether n appends should share a batch.
	pays(n int, now time.Time) bool
	// unsure tells whether it is time to look again what one alone costs; sample is
	// how many of them it takes.
	unsure(now time.Time) (sample int, unsure bool)
	// sawAlone and sawBatch tell what publishing cost.
	// sawAlone also gets how many others are on their way alone.
	sawAlone(took time.Duration, others int, now time.Time)
	sawBatch(n int, took time.Duration, now time.Time)
}

// GroupStats counts how commits were published.
type GroupStats struct {
	// Alone: by a message of their own.
	Alone uint64
	// Batches that were stored, and Grouped, the commits in them.
	Batches, Grouped uint64
	// Refused: batches of which the server took none, since it refused one or more.
	Refused uint64
}

// GroupStats says how the appends of this log were published.
func (l *Log) GroupStats() GroupStats {
	l.group.mu.Lock()
	defer l.group.mu.Unlock()
	return l.group.stats
}

func newGroup(enabled bool, fits func(*publication) bool, publish func([]*publication) batchResult) *group {
	return &group{enabled: enabled, fits: fits, publish: publish, policy: newCosts()}
}

// join tells whether the publication waits for an answer of the group. Else it goes
// alone, right now, and has to tell published afterwards.
func (g *group) join(p *publication) (waits bool) {
	fits := g.enabled && g.fits(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !fits {
		g.out++
		return false
	}
	if len(g.queue) == 0 && !g.busy && (g.out == 0 || !g.policy.pays(g.out+1, time.Now())) {
		g.out++
		return false
	}
	p.state, p.answer = queued, make(chan answer, 1)
	g.queue = append(g.queue, p)
	g.work()
	return true
}

// work sees that somebody takes the queue. Those that are alone on their way end first:
// their own answers start the committer. The lock is held.
func (g *group) work() {
	if len(g.queue) > 0 && !g.busy && g.out == 0 {
		g.busy = true
		go g.commit()
	}
}

// published: one that went alone was answered. A refusal costs no fsync, and tells
// nothing about what it costs to store one.
func (g *group) published(begin time.Time, stored bool) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.out--
	if stored {
		g.stats.Alone++
		// The server takes one after the other: before the last one was done, this
		// one only waited.
		if begin.Before(g.last) {
			begin = g.last
		}
		g.policy.sawAlone(now.Sub(begin), g.out, now)
	}
	g.last = now
	g.work()
}

// leave: nobody waits for the answer any more.
func (g *group) leave(p *publication) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch p.state {
	case queued:
		for i, other := range g.queue {
			if other == p {
				g.queue = append(g.queue[:i:i], g.queue[i+1:]...)
				break
			}
		}
	case released:
		g.out--
		g.work()
	case direct, taken, left:
	}
	p.state = left
}

// commit publishes what waits, batch after batch, until nobody waits, or what waits is
// better published alone.
func (g *group) commit() {
	for {
		g.settle()
		batch := g.take()
		if batch == nil {
			return
		}
		begin := time.Now()
		result := g.publish(batch)
		g.done(batch, result, begin)
	}
}

// settle gives way to those who are about to queue: after a batch all its callers come
// back at once. It waits for nobody who is not running already, and for no time.
func (g *group) settle() {
	waiting := func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.queue)
	}
	for n, still := waiting(), 0; still < 2; {
		runtime.Gosched()
		if now := waiting(); now == n {
			still++
		} else {
			n, still = now, 0
		}
	}
}

// take the next batch; nil when the committer has nothing more to do.
func (g *group) take() []*publication {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	batch, rest := split(g.queue)
	if sample, unsure := g.policy.unsure(now); unsure && len(batch) > sample {
		g.release(batch[:sample])
		g.queue = append(batch[sample:], rest...)
	} else if len(batch) < 2 || batch[0].refusals >= batchAttempts || !g.policy.pays(len(batch), now) {
		g.release(batch)
		g.queue = rest
	} else {
		for _, p := range batch {
			p.state = taken
		}
		g.queue = rest
		return batch
	}
	g.busy = false
	g.work() // when nobody was released
	return nil
}

// release tells them to publish themselves. The lock is held.
func (g *group) release(all []*publication) {
	for _, p := range all {
		g.out++
		p.state = released
		p.answer <- answer{alone: true}
	}
}

// done with a batch.
func (g *group) done(batch []*publication, result batchResult, begin time.Time) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	took := now.Sub(begin)
	if result.refused {
		g.stats.Refused++
		g.lost += took
	}
	if result.stored > 0 {
		g.stats.Batches++
		g.stats.Grouped += uint64(result.stored)
		g.policy.sawBatch(result.stored, g.lost+took, now)
		g.lost = 0
	}
	g.last = now
	if len(result.again) == 0 {
		return
	}
	var again []*publication
	for _, p := range result.again {
		if p.state != left {
			p.state = queued
			p.refusals++
			again = append(again, p)
		}
	}
	g.queue = append(again, g.queue...)
}

// split takes the first of the queue into a batch: as many as one may have, and only
// one of each aggregate, since two on one head are rivals, and the first one wins. The
// rest keeps its order.
func split(queue []*publication) (batch, rest []*publication) {
	size := 0
	subjects := make(map[string]bool, min(len(queue), batchMessages))
	for _, p := range queue {
		full := len(batch) == batchMessages || size+len(p.body) > batchBytes
		if full || subjects[p.subject] {
			rest = append(rest, p)
			// Once full, nobody overtakes.
			if full {
				size = batchBytes + 1
			}
			continue
		}
		subjects[p.subject] = true
		batch, size = append(batch, p), size+len(p.body)
	}
	return batch, rest
}
