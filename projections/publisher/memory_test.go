package publisher

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
)

// slowDisk is a JetStream whose writes wait until they are let through. The publisher writes by PublishMsg, and in batches by
// the connection.
type slowDisk struct {
	jetstream.JetStream
	stuck chan struct{} // gets a word when a write waits
	open  chan struct{} // closed: it is quick again
	look  func()        // called before each write
	mu    sync.Mutex
}

func (s *slowDisk) wait() {
	select {
	case s.stuck <- struct{}{}:
	default:
	}
	<-s.open
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
}

func (s *slowDisk) Conn() *nats.Conn {
	s.wait()
	return s.JetStream.Conn()
}

func (s *slowDisk) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	s.wait()
	return s.JetStream.PublishMsg(ctx, msg, opts...)
}

// backlog appends commits, each of an account of its own and of about 1 kB, in batches: as other engines would in years.
func (a *author) backlog(from, to int) {
	a.t.Helper()
	batch := make([]*nats.Msg, 0, 1000)
	for i := from; i < to; i++ {
		ref := domain.Ref{Kind: domain.KindAccount, ID: fmt.Sprintf("ac000000-0000-4000-8000-%012d", i)}
		c := domain.Command{Target: ref, ID: ref.ID, ClientID: someClient, Actor: "backlog", Time: a.now, Payload: &domain.OpenAccount{
			AccountGroupID: someGroup.ID, Type: domain.Trading, Name: strings.Repeat("ä", 100),
			Link: &domain.AccountLink{Number: i + 1, Type: domain.Trading, Name: strings.Repeat("ä", 100), Status: domain.StatusActive, Users: tenUsers()},
		}}
		events, err := domain.New(ref).Decide(c)
		require.NoError(a.t, err)
		raw, err := replay.Encode(ref.Kind, events)
		require.NoError(a.t, err)
		body, err := eventstore.Commit{
			ID: ref.ID, Aggregate: string(ref.Kind), AggregateID: ref.ID, ClientID: someClient, Version: 1, Command: "open", CommandID: c.ID,
			Actor: c.Actor, Time: c.Time, Events: raw,
		}.Encode()
		require.NoError(a.t, err)
		msg := nats.NewMsg(eventstore.LogSubject(string(ref.Kind), ref.ID))
		msg.Data = body
		msg.Header.Set(eventstore.HeaderHash, eventstore.HashOf(body))
		if batch = append(batch, msg); len(batch) == cap(batch) || i == to-1 {
			_, err := jetstreamext.PublishMsgBatch(testContext(a.t), a.log.JetStream(), batch)
			require.NoError(a.t, err)
			batch = batch[:0]
		}
	}
}

func tenUsers() []domain.Party {
	users := []domain.Party{{ID: owner, Type: domain.Child}}
	for i := range 9 {
		users = append(users, domain.Party{ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", 100+i), Type: domain.Guardian})
	}
	return users
}

// inUse is what is reachable on the heap.
func inUse() int {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A disk that takes no writes makes the lag grow, and not the memory: of 50,000 commits that wait the publisher holds a few. The
// server runs in this process, and its memory is counted, too.
func TestABacklogIsLagAndNotMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures memory, which is another with the race detector")
	}
	const waiting, all, through = 50_000, 55_000, 12_000 // through is more than the states that it keeps
	const stalled, working = 40 << 20, 110 << 20
	a := newAuthor(t)
	a.backlog(0, waiting)
	p := New(Config{Log: a.connect()})
	disk := &slowDisk{JetStream: p.js, stuck: make(chan struct{}, 1), open: make(chan struct{}), look: func() {}}
	p.js = disk
	before := inUse()
	require.NoError(t, p.Start(testContext(t)))
	release := sync.OnceFunc(func() { close(disk.open) })
	t.Cleanup(func() { release(); stop(t, p) })
	<-disk.stuck
	lag := func() uint64 {
		lag, err := p.Lag(testContext(t))
		require.NoError(t, err)
		return lag
	}
	require.EqualValues(t, waiting, lag())
	a.backlog(waiting, all)
	require.EqualValues(t, all, lag(), "the lag grows")
	grown := inUse() - before
	t.Logf("the disk is stuck: %d commits behind, %d kB more in use", lag(), grown>>10)
	require.Less(t, grown, stalled)

	most, writes := 0, 0
	disk.look = func() {
		if writes++; writes%5000 == 0 {
			most = max(most, inUse()-before)
		}
	}
	release()
	require.NoError(t, p.WaitFor(testContext(t), through))
	require.Less(t, lag(), uint64(all-through+1))
	stop(t, p)
	t.Logf("working it off: %d kB more in use at most", most>>10)
	require.NotZero(t, most)
	require.Less(t, most, working)
}

// What a run tells the world may be much larger than the run: it is written in parts, when so much of it waits.
func TestALargeRunIsWrittenInParts(t *testing.T) {
	t.Parallel()
	for hold, inBatches := range map[int]bool{1: false, holdBytes: true} {
		a := newAuthor(t)
		a.wholeStory()
		for i := range 30 {
			a.write(someGroup, &domain.RecordCashBalance{Currency: "CHF", Balance: domain.Decimal(fmt.Sprint(i + 1)), Revision: int64(i + 1)})
		}
		p := a.publisher()
		p.hold = hold
		require.NoError(t, p.handle(testContext(t), a.all))
		require.Equal(t, a.wanted(), a.published())
		for _, msg := range a.out() {
			require.Equal(t, inBatches, msg.Header.Get("Nats-Batch-Id") != "", "what is small goes singly")
		}
	}
}
