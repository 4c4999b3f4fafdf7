package webhooks_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/projections/webhooks"
)

// crowd is a number of endpoints, some of them bad, and a subscription for each.
type crowd struct {
	*rig
	to    []*receiver
	hooks []domain.Webhook
	bad   func(i int) bool
	heal  chan struct{} // closed: the bad ones are good from now on
}

// newCrowd subscribes n endpoints; ten in a hundred fail, five hang, and one is slow. Every second one has its order by
// resource.
func newCrowd(r *rig, s *webhooks.Service, n int, withBad bool) *crowd {
	c := &crowd{rig: r, heal: make(chan struct{}), bad: func(i int) bool { return withBad && i%100 < 16 }}
	for i := range n {
		c.to = append(c.to, newReceiver(r.t, func(_ int, w http.ResponseWriter, q *http.Request) { c.answer(i, w, q) }))
		w := hook(c.to[i].URL, "ALL")
		w.Config.Order = []domain.WebhookOrder{domain.WebhookStrict, domain.WebhookByResource}[i%2]
		w, err := s.Create(testContext(r.t), r.client, w)
		require.NoError(r.t, err)
		c.hooks = append(c.hooks, w)
	}
	return c
}

func (c *crowd) answer(i int, w http.ResponseWriter, q *http.Request) {
	if !c.bad(i) {
		return
	}
	switch i %= 100; {
	case i < 10: // fails
		select {
		case <-c.heal:
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	case i < 15: // hangs
		select {
		case <-c.heal:
		case <-q.Context().Done():
		}
	default: // slow
		select {
		case <-c.heal:
		case <-q.Context().Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// publishFast publishes events of some resources, many at a time, and gives their ids, by the resource in their order too.
func (r *rig) publishFast(n, resources, size int) (all []string, of map[string][]string) {
	r.t.Helper()
	of = map[string][]string{}
	names := make([]string, resources)
	for i := range names {
		names[i] = uuid.NewString()
	}
	var futures []jetstream.PubAckFuture
	for i := range n {
		id, resource := uuid.NewString(), names[i%resources]
		msg := nats.NewMsg(eventstore.EventSubject(r.client, domain.PublishedAccountClosed, resource))
		msg.Data = fmt.Appendf(nil, `{"id":%q,"n":%d,"text":"%*s"}`, resource, i, size, "")
		for name, value := range map[string]string{"ce-id": id, "ce-type": domain.PublishedAccountClosed, "ce-time": eventTime, jetstream.MsgIDHeader: id} {
			msg.Header.Set(name, value)
		}
		f, err := r.log.JetStream().PublishMsgAsync(msg)
		require.NoError(r.t, err)
		all, of[resource], futures = append(all, id), append(of[resource], id), append(futures, f)
		if len(futures) == 1000 || i == n-1 {
			for _, f := range futures {
				r.stored(f)
			}
			futures = futures[:0]
		}
	}
	return all, of
}

func (r *rig) stored(f jetstream.PubAckFuture) {
	r.t.Helper()
	select {
	case <-f.Ok():
	case err := <-f.Err():
		require.NoError(r.t, err)
	case <-time.After(patience):
		require.Fail(r.t, "no acknowledgement of an event")
	}
}

// checkAll: an endpoint got every event, each resource's in their order of publication.
func checkAll(t *testing.T, got []string, all []string, of map[string][]string) {
	t.Helper()
	first := firstOf(got)
	require.Len(t, first, len(all))
	place := make(map[string]int, len(first))
	for i, id := range first {
		place[id] = i
	}
	for _, ids := range of {
		for i, id := range ids {
			at, ok := place[id]
			require.True(t, ok, "an event is lost")
			if i > 0 {
				require.Less(t, place[ids[i-1]], at, "an event came before an earlier one of its resource")
			}
		}
	}
}

// Of a hundred endpoints ten fail, five hang and one is slow; the process dies three times. The others get everything while
// that is so; and when the bad ones are well again, nothing was lost for them either.
func TestBadEndpointsDelayNobodyElse(t *testing.T) {
	endpoints, n := 100, 2000
	if testing.Short() {
		endpoints, n = 32, 400
	}
	r := newRig(t)
	cfg := webhooks.Config{RequestTimeout: time.Second, Backoff: func(int) time.Duration { return 500 * time.Millisecond }}
	start := func() (*webhooks.Service, *nats.Conn) {
		conn := r.connect()
		cfg := cfg
		cfg.Log = r.openLog(conn)
		s := newLocal(cfg)
		require.NoError(t, s.Start(testContext(t)))
		return s, conn
	}
	began := time.Now()
	s, conn := start()
	c := newCrowd(r, s, endpoints, true)
	var all []string
	of := map[string][]string{}
	for kill := range 4 {
		more, moreOf := r.publishFast(n/4, 50, 0)
		all = append(all, more...)
		for resource, ids := range moreOf {
			of[resource] = append(of[resource], ids...)
		}
		c.to[endpoints-1].awaitEvents(len(all) - n/8)
		t.Logf("round %d after %s", kill, time.Since(began).Round(time.Millisecond))
		if kill == 3 {
			break
		}
		conn.Close() // as by a kill: nothing is acknowledged or handed back
		stopped := s
		s, conn = start()
		require.NoError(t, stopped.Stop(testContext(t)))
		t.Logf("killed and started again after %s", time.Since(began).Round(time.Millisecond))
	}
	t.Cleanup(func() { r.stop(s) })
	for i, to := range c.to {
		if !c.bad(i) {
			to.awaitUntil("all events", func(_, events int) bool { return events >= n && len(firstOf(c.idsOf(i))) == n })
			checkAll(t, c.idsOf(i), all, of)
		}
	}
	t.Logf("the healthy ones have all after %s", time.Since(began).Round(time.Millisecond))
	close(c.heal)
	for i, to := range c.to {
		if c.bad(i) {
			to.awaitUntil("all events", func(_, events int) bool { return events >= n && len(firstOf(c.idsOf(i))) == n })
			checkAll(t, c.idsOf(i), all, of)
		}
	}
	t.Logf("the others after %s", time.Since(began).Round(time.Millisecond))
	eventually(t, "settlement of all", func() bool {
		stats, err := s.Stats(testContext(t))
		require.NoError(t, err)
		return stats.Waiting == 0 && stats.Failing == 0
	})
}

func (c *crowd) idsOf(i int) []string { return events(c.to[i].requests()) }

// A thousand subscriptions whose endpoints take nothing, and a hundred thousand events that wait for each: memory stays
// bounded, and lag is what grows.
func TestMemoryIsBounded(t *testing.T) {
	subscriptions, n := 1000, 100_000
	if testing.Short() {
		subscriptions, n = 100, 5000
	}
	r := newRig(t)
	var hung atomic.Int64
	to := newReceiver(t, func(_ int, w http.ResponseWriter, q *http.Request) {
		if hung.Add(1)%2 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		hang(q)
	})
	to.forget = true
	r.stop(r.start(webhooks.Config{})) // makes the bucket
	r.publishFast(n, 1000, 1000)
	// As if they had been subscribed before; that would take the server long, for it tells each of every event.
	kv, err := r.log.JetStream().KeyValue(testContext(t), webhooks.Bucket)
	require.NoError(t, err)
	for i := range subscriptions {
		w := hook(fmt.Sprint(to.URL, "/", i), "ACCOUNT").WithDefaults()
		w.ID = uuid.NewString()
		w.Config.Order = []domain.WebhookOrder{domain.WebhookStrict, domain.WebhookByResource}[i%2]
		entry, err := json.Marshal(struct {
			domain.Webhook
			FromSequence uint64 `json:"from_sequence"`
		}{w, 1})
		require.NoError(t, err)
		_, err = kv.Put(testContext(t), r.client+"."+w.ID, entry)
		require.NoError(t, err)
	}
	before := heap()
	s := r.start(webhooks.Config{RequestTimeout: 3 * time.Second, Backoff: func(int) time.Duration { return time.Second }})
	peak := uint64(0)
	for _, requests := range []int{subscriptions / 2, subscriptions, subscriptions * 3 / 2} {
		to.await(requests)
		peak = max(peak, heap())
	}
	stats, err := s.Stats(testContext(t))
	require.NoError(t, err)
	require.Equal(t, uint64(n*subscriptions), stats.Waiting, "all of it waits")
	grown := int64(peak) - int64(before)
	t.Logf("%d subscriptions with %d events each: the heap grew from %d to %d MiB, the server's own and the test's included; %d goroutines",
		subscriptions, n, before>>20, peak>>20, runtime.NumGoroutine())
	// What is in hand may be 32 KiB and what is on its way as much again, the budget, and what the runtime needs beside it.
	require.Less(t, grown, int64(subscriptions)*(256<<10)+(128<<20))
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkHealthyEndpoints measures how long the healthy endpoints of a hundred need for 1,000 events, with and without bad
// ones among the hundred, each with its own subscription.
func BenchmarkHealthyEndpoints(b *testing.B) {
	for _, bad := range []bool{false, true} {
		b.Run(map[bool]string{false: "AllHealthy", true: "SomeBad"}[bad], func(b *testing.B) {
			const n = 1000
			r := newRig(b)
			s := r.start(webhooks.Config{RequestTimeout: 5 * time.Second, Backoff: func(int) time.Duration { return 500 * time.Millisecond }})
			c := newCrowd(r, s, 100, bad)
			var lags []time.Duration
			got := 0
			for b.Loop() {
				began := time.Now()
				r.publishFast(n, 50, 0)
				got += n
				for i := 16; i < 100; i++ { // those that are healthy in both
					c.to[i].awaitEvents(got)
					lags = append(lags, time.Since(began))
				}
			}
			slices.Sort(lags)
			b.ReportMetric(float64(lags[len(lags)/2].Milliseconds()), "ms-p50")
			b.ReportMetric(float64(lags[len(lags)*99/100].Milliseconds()), "ms-p99")
			close(c.heal)
		})
	}
}
