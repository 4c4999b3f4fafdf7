package webhooks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
	"closure/projections/webhooks"
)

func TestStartAndStopKeepTheirContract(t *testing.T) {
	t.Parallel()
	log, err := eventstore.Open(testContext(t), embeddedtest.Connect(t, embeddedtest.Server(t)), eventstore.Config{})
	require.NoError(t, err)
	s := newLocal(webhooks.Config{Log: log})
	require.NoError(t, s.Stop(testContext(t)), "before Start")
	require.ErrorIs(t, s.Start(testContext(t)), jetstream.ErrStreamNotFound)
	require.NoError(t, s.Stop(testContext(t)), "after a Start that failed")

	r := newRig(t)
	s = r.start(webhooks.Config{})
	require.Error(t, s.Start(testContext(t)), "twice")
	r.subscribe(s, somewhere, "ALL")
	require.NoError(t, s.Stop(testContext(t)))
	require.NoError(t, s.Stop(testContext(t)), "again")
	require.Error(t, s.Start(testContext(t)), "after Stop")
}

// A clean stop loses nothing and repeats nothing, at whatever moment it falls.
func TestARestartGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
	w := r.subscribe(s, to.URL, "ALL")
	var ids []string
	for n := range 5 {
		ids = append(ids, r.publishMany(20)...)
		to.await(n + 1) // the rest waits for company, or is on its way
		r.stop(s)
		s = r.start(webhooks.Config{})
	}
	require.Equal(t, ids, events(to.awaitEvents(100)))
	r.awaitSettled(w.ID)
	got := to.requests()
	require.Equal(t, ids, events(got))
	all, _, err := s.List(testContext(t), r.client, domain.Page{})
	require.NoError(t, err)
	require.Equal(t, []domain.Webhook{w}, all)
}

func TestStopFinishesTheRequestUnderWay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	release := make(chan struct{})
	to := newReceiver(t, func(n int, w http.ResponseWriter, q *http.Request) {
		if n == 1 {
			<-release
		}
	})
	s := r.start(webhooks.Config{})
	w := r.subscribe(s, to.URL, "ALL")
	ids := r.publishMany(1)
	to.await(1)
	ids = append(ids, r.publishMany(1)...)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(testContext(t)) }()
	eventually(t, "end of the service", func() bool {
		_, err := s.Get(testContext(t), r.client, w.ID)
		return err != nil
	})
	close(release)
	require.NoError(t, receive(t, stopped, "end of Stop"))
	got := to.requests()
	require.Equal(t, ids[:1], events(got), "nothing new is begun")
	r.start(webhooks.Config{})
	require.Equal(t, ids, events(to.awaitEvents(2)), "what was finished does not come again")
}

func TestStopCutsShortWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	to := newReceiver(t, func(n int, w http.ResponseWriter, q *http.Request) {
		if n == 1 {
			hang(q)
		}
	})
	s := r.start(webhooks.Config{RequestTimeout: 10 * patience})
	r.subscribe(s, to.URL, "ALL")
	ids := r.publishMany(2)
	to.await(1)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Stop(ctx), context.DeadlineExceeded)
	// It comes again at once, and not only when the server misses its acknowledgement.
	r.start(webhooks.Config{RequestTimeout: 10 * patience})
	got := to.awaitUntil("the last event", func(requests, _ int) bool {
		return requests > 1 && slices.Contains(events(to.requests()[1:]), ids[1])
	})
	require.Equal(t, ids, events(got[1:]))
}

// A process that dies with an event in hand: another one delivers it, when the time of the request is over.
func TestAnotherProcessTakesOverFromADeadOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	dead := make(chan struct{})
	to := newReceiver(t, func(n int, w http.ResponseWriter, q *http.Request) {
		if n == 2 {
			<-dead
		}
	})
	conn := r.connect()
	cfg := webhooks.Config{RequestTimeout: 500 * time.Millisecond}
	first := newLocal(webhooks.Config{Log: r.openLog(conn), RequestTimeout: cfg.RequestTimeout})
	require.NoError(t, first.Start(testContext(t)))
	r.subscribe(first, to.URL, "ALL")
	ids := r.publishMany(1)
	to.await(1)
	ids = append(ids, r.publishMany(3)...)
	to.await(2)
	conn.Close() // it can neither acknowledge nor take more
	second := r.start(cfg)
	close(dead)
	got := to.awaitUntil("the last event once more", func(requests, _ int) bool {
		return requests > 2 && slices.Contains(events(to.requests()[2:]), ids[3])
	})
	require.Equal(t, ids, firstOf(events(got)), "for the first time, in order")
	require.NoError(t, first.Stop(testContext(t)))
	r.stop(second)
}

func TestManyProcessesShareASubscription(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const processes, each = 3, 100
	var services []*webhooks.Service
	for range processes {
		services = append(services, r.start(webhooks.Config{Log: r.openLog(r.connect())}))
	}
	var under atomic.Int32
	var together atomic.Bool
	to := newReceiver(t, func(int, http.ResponseWriter, *http.Request) {
		if under.Add(1) > 1 {
			together.Store(true)
		}
		runtime.Gosched()
		under.Add(-1)
	})
	w := r.subscribe(services[0], to.URL, "ALL")
	ids := r.publishMany(each)
	require.Equal(t, ids, events(to.awaitEvents(each)))
	r.awaitSettled(w.ID)
	got := to.requests()
	require.Equal(t, ids, events(got), "each once, in order")
	require.False(t, together.Load(), "one at a time")

	// One leaves while there is something to do.
	ids = append(ids, r.publishMany(each)...)
	to.awaitEvents(each + 1)
	r.stop(services[0])
	require.Equal(t, ids, events(to.awaitEvents(2*each)))
	// What one has changed, the others deliver by.
	other := newReceiver(t, nil)
	r.awaitSettled(w.ID)
	r.update(services[1], w.ID, func(w *domain.Webhook) { w.URL = other.URL })
	eventually(t, "new URL in the other process", func() bool {
		all, _, err := services[2].List(testContext(t), r.client, domain.Page{})
		require.NoError(t, err)
		return all[0].URL == other.URL
	})
	more := r.publishMany(each)
	require.Equal(t, more, events(other.awaitEvents(each)))
}

func TestStartRemovesWhatDeletedSubscriptionsHaveLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
	stays := r.subscribe(s, to.URL, "ALL")
	r.publishMany(3)
	to.awaitEvents(3)
	deleted := r.subscribe(s, to.URL, "ALL")
	r.stop(s)

	js, ctx := r.log.JetStream(), testContext(t)
	kv, err := js.KeyValue(ctx, webhooks.Bucket)
	require.NoError(t, err)
	require.NoError(t, kv.Delete(ctx, r.client+"."+deleted.ID)) // and there the process died
	never := uuid.NewString()
	for _, name := range []string{"webhook-" + never, "webhook-of-somebody-else", "theirs"} {
		_, err := js.CreateConsumer(ctx, eventstore.StreamEvents, jetstream.ConsumerConfig{Durable: name, AckPolicy: jetstream.AckExplicitPolicy})
		require.NoError(t, err)
	}
	// An entry that cannot be read is there all the same: its place must not be lost.
	unreadable := r.client + "." + uuid.NewString()
	_, err = kv.PutString(ctx, unreadable, "{")
	require.NoError(t, err)
	unreadableName := "webhook-" + unreadable[len(r.client)+1:]
	_, err = js.CreateConsumer(ctx, eventstore.StreamEvents, jetstream.ConsumerConfig{Durable: unreadableName, AckPolicy: jetstream.AckExplicitPolicy})
	require.NoError(t, err)

	var log logged
	r.start(webhooks.Config{Logger: log.logger()})
	stream, err := js.Stream(ctx, eventstore.StreamEvents)
	require.NoError(t, err)
	var names []string
	for name := range stream.ConsumerNames(ctx).Name() {
		names = append(names, name)
	}
	require.ElementsMatch(t, []string{"webhook-" + stays.ID, "webhook-of-somebody-else", "theirs", unreadableName}, names)
	require.Len(t, log.lines(t, "removed the consumer"), 2)
	require.Len(t, log.lines(t, "an entry cannot be read"), 1)

	id := r.publish(domain.PublishedAccountClosed)
	require.Equal(t, id, events(to.awaitEvents(4))[3], "it goes on where it was")
}

// A crash between the two writes of a creation: whoever sees the entry makes the consumer, from where the entry says.
func TestAnEntryWithoutAConsumerGetsOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var services []*webhooks.Service
	for range 2 {
		services = append(services, r.start(webhooks.Config{}))
	}
	to := newReceiver(t, nil)
	r.publishMany(2)
	stream, err := r.log.JetStream().Stream(testContext(t), eventstore.StreamEvents)
	require.NoError(t, err)
	w := hook(to.URL, "ALL").WithDefaults()
	w.ID = uuid.NewString()
	entry, err := json.Marshal(struct {
		domain.Webhook
		FromSequence uint64 `json:"from_sequence"`
	}{w, stream.CachedInfo().State.LastSeq + 1})
	require.NoError(t, err)
	ids := r.publishMany(3) // before anybody looks
	kv, err := r.log.JetStream().KeyValue(testContext(t), webhooks.Bucket)
	require.NoError(t, err)
	_, err = kv.Put(testContext(t), r.client+"."+w.ID, entry)
	require.NoError(t, err)
	require.Equal(t, ids, events(to.awaitEvents(3)))
	r.awaitSettled(w.ID)
	got, err := services[1].Get(testContext(t), r.client, w.ID)
	require.NoError(t, err)
	require.Equal(t, w, got)
}

// A consumer that somebody deletes comes back, and nothing is missed.
func TestADeletedConsumerComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
	w := r.subscribe(s, to.URL, "ALL")
	first := r.publish(domain.PublishedAccountClosed)
	to.await(1)
	r.awaitSettled(w.ID)
	require.NoError(t, r.log.JetStream().DeleteConsumer(testContext(t), eventstore.StreamEvents, "webhook-"+w.ID))
	second := r.publish(domain.PublishedAccountClosed)
	require.Equal(t, []string{first, first, second}, events(to.awaitEvents(3)), "its place is lost, and no event")
}

func TestTwoHundredSubscriptions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
	const n = 200
	before := runtime.NumGoroutine()
	var g errgroup.Group
	g.SetLimit(8)
	began := time.Now()
	for i := range n {
		g.Go(func() error {
			_, err := s.Create(context.Background(), r.client, hook(fmt.Sprint(to.URL, "/", i), "ALL"))
			return err
		})
	}
	require.NoError(t, g.Wait())
	t.Logf("%d subscriptions made in %s", n, time.Since(began).Round(time.Millisecond))
	eventually(t, "request of each for its first event", func() bool {
		waiting, err := r.consumersWaiting()
		return err == nil && waiting == n
	})
	perSubscription := float64(runtime.NumGoroutine()-before) / n
	t.Logf("%.1f goroutines a subscription, the server's own included", perSubscription)

	began = time.Now()
	ids := r.publishMany(3)
	got := to.awaitEvents(3 * n)
	t.Logf("%d deliveries in %s", len(got), time.Since(began).Round(time.Millisecond))
	byHook := map[string][]string{}
	for _, q := range got {
		byHook[q.webhook] = append(byHook[q.webhook], q.ids...)
	}
	require.Len(t, byHook, n)
	for _, events := range byHook {
		require.Equal(t, ids, events)
	}
	began = time.Now()
	r.stop(s)
	t.Logf("stopped in %s", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	r.start(webhooks.Config{})
	t.Logf("started in %s", time.Since(began).Round(time.Millisecond))
}

// consumersWaiting is how many consumers have a request for the next event.
func (r *rig) consumersWaiting() (int, error) {
	stream, err := r.log.JetStream().Stream(testContext(r.t), eventstore.StreamEvents)
	if err != nil {
		return 0, err
	}
	waiting := 0
	list := stream.ListConsumers(testContext(r.t))
	for info := range list.Info() {
		if info.NumWaiting > 0 {
			waiting++
		}
	}
	return waiting, list.Err()
}
