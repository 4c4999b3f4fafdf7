package webhooks_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore/embedded"
	"closure/projections/webhooks"
)

// The number of attempts, and the wait that is due, belong to the server: they outlive it.
func TestTheCountOfAttemptsOutlivesTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	to := newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n <= 5 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	failed := make(chan int, 10)
	backoff := func(attempt int) time.Duration {
		failed <- attempt
		if attempt == 3 {
			return 1500 * time.Millisecond // until after the restart
		}
		return time.Millisecond
	}
	var ids []string
	run := func(deliver func(*rig, *webhooks.Service)) {
		server, err := embedded.Start(embedded.Config{Dir: dir})
		require.NoError(t, err)
		defer server.Shutdown()
		r := newRigOn(t, server.ClientURL(), 1)
		s := newLocal(webhooks.Config{Log: r.log, Backoff: backoff})
		require.NoError(t, s.Start(testContext(t)))
		defer r.stop(s)
		deliver(r, s)
	}
	run(func(r *rig, s *webhooks.Service) {
		r.subscribe(s, to.URL, "ALL")
		ids = r.publishMany(2)
		for want := 1; want <= 3; want++ {
			require.Equal(t, want, receive(t, failed, "attempt"))
		}
	})
	run(func(*rig, *webhooks.Service) {
		got := to.awaitUntil("the last event", func(requests, _ int) bool { return requests >= 6 && slices.Contains(events(to.requests()[5:]), ids[1]) })
		require.Equal(t, ids, events(got[5:]))
		for _, q := range got[:6] {
			require.Equal(t, got[0].body, q.body, "the package stays as it was formed, over the restart too")
		}
	})
	require.Equal(t, 4, receive(t, failed, "attempt"))
	require.Equal(t, 5, receive(t, failed, "attempt"))
	require.Empty(t, failed)
}

// A server that goes away and comes back under a running service.
func TestALostConnectionIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, err := embedded.Start(embedded.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { server.Shutdown() })
	r := newRigOn(t, server.ClientURL(), 1)
	s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
	w := r.subscribe(s, to.URL, "ALL")
	ids := r.publishMany(2)
	to.awaitEvents(2)
	r.awaitSettled(w.ID)

	addr := server.Addr()
	server.Shutdown()
	server, err = embedded.Start(embedded.Config{Dir: dir, Addr: addr})
	require.NoError(t, err)
	began := time.Now()
	ids = append(ids, r.publishMany(2)...)
	require.Equal(t, ids, events(to.awaitEvents(4)))
	// Changes are seen, too, and not only when somebody misses a heartbeat.
	other := newReceiver(t, nil)
	kv, err := r.log.JetStream().KeyValue(testContext(t), webhooks.Bucket)
	require.NoError(t, err)
	entry, err := kv.Get(testContext(t), r.client+"."+w.ID)
	require.NoError(t, err)
	r.awaitSettled(w.ID)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(entry.Value(), &fields))
	fields["url"] = other.URL
	changed, err := json.Marshal(fields)
	require.NoError(t, err)
	_, err = kv.Put(testContext(t), entry.Key(), changed)
	require.NoError(t, err)
	eventually(t, "the change of somebody else", func() bool {
		all, _, err := s.List(testContext(t), r.client, domain.Page{})
		require.NoError(t, err)
		return all[0].URL == other.URL
	})
	id := r.publish(domain.PublishedAccountClosed)
	require.Equal(t, []string{id}, other.await(1)[0].ids)
	require.Less(t, time.Since(began), 10*time.Second, "before two heartbeats are missing")
}

// Three servers, two engines, and the server that leads a subscription goes away in the middle of it.
func TestOnAClusterThatLosesAServer(t *testing.T) {
	t.Parallel()
	c, err := embedded.StartCluster(3, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(c.Shutdown)
	r := newRigOn(t, c.ClientURL(), 3)
	cfg := webhooks.Config{Replicas: 3, RequestTimeout: time.Second}
	first := r.start(cfg)
	cfg.Log = r.openLog(r.connect())
	r.start(cfg)
	stream, err := r.log.JetStream().Stream(testContext(t), "KV_"+webhooks.Bucket)
	require.NoError(t, err)
	require.Equal(t, 3, stream.CachedInfo().Config.Replicas)

	to := newReceiver(t, nil)
	w := r.subscribe(first, to.URL, "ALL")
	leader := ""
	eventually(t, "leader of the consumer", func() bool {
		info, err := r.consumer(w.ID)
		if err != nil || info.Cluster == nil || info.Cluster.Leader == "" {
			return false
		}
		leader = info.Cluster.Leader
		return len(info.Cluster.Replicas) == 2
	})
	ids := r.publishMany(20)
	to.awaitEvents(1)
	for i := range 3 {
		if c.MemberName(i) == leader {
			c.Stop(i)
		}
	}
	ids = append(ids, r.publishMany(20)...)

	last := ids[len(ids)-1]
	eventually(t, "delivery of the last event", func() bool { return slices.Contains(events(to.requests()), last) })
	require.Equal(t, ids, firstOf(events(to.requests())), "in order; only what was in hand may come again")
	// A change is accepted and takes effect.
	r.update(first, w.ID, func(w *domain.Webhook) { w.Type = []domain.WebhookFamily{"ORDER"} })
	r.publish(domain.PublishedAccountClosed)
	order := r.publish("ORDER.NEW")
	eventually(t, "delivery of the order", func() bool { return slices.Contains(events(to.requests()), order) })
	require.Equal(t, append(ids, order), firstOf(events(to.requests())))
}
