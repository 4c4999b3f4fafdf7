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
	to      []*receiver
	hooks   []domain.Webhook
	secrets []string
	bad     func(i int) bool
	heal    chan struct{} // closed: the bad ones are good from now on
}

// newCrowd subscribes n endpoints; ten in a hundred fail, five hang, and one is slow. Every second one has its order by
// resource.
func newCrowd(r *rig, s *webhooks.Service, n int, withBad bool) *crowd {
	fail, hang, slow := n/10, n/20, max(n/100, 1)
	c := &crowd{rig: r, heal: make(chan struct{}), bad: func(i int) bool { return withBad && i < fail+hang+slow }}
	for i := range n {
		plan := c.slow
		switch {
		case !c.bad(i):
			plan = nil
		case i < fail:
			plan = c.fail
		case i < fail+hang:
			plan = c.hang
		}
		c.to = append(c.to, newReceiver(r.t, plan))
		w := hook(c.to[i].URL, "ALL")
		w.Config.Order = []domain.WebhookOrder{domain.WebhookStrict, domain.WebhookByResource}[i%2]
		made, err := s.CreateWithSecret(testContext(r.t), r.client, w)
		require.NoError(r.t, err)
		c.hooks, c.secrets = append(c.hooks, made.Webhook), append(c.secrets, made.Secret.Reveal())
	}
	return c
}

func (c *crowd) fail(_ int, w http.ResponseWriter, _ *http.Request) {
	select {
	case <-c.heal:
	default:
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func (c *crowd) hang(_ int, _ http.ResponseWriter, q *http.Request) {
	select {
	case <-c.heal:
	case <-q.Context().Done():
	}
}

func (c *crowd) slow(_ int, _ http.ResponseWriter, q *http.Request) {
	select {
	case <-c.heal:
	case <-q.Context().Done():
	case <-time.After(300 * time.Millisecond):
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
func checkAll(t testing.TB, got []string, all []string, of map[string][]string) {
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
				for i := 16; i < 100; i++ { // those that are healthy in both, of ten, five and one
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
