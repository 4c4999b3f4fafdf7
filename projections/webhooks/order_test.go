package webhooks_test

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
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

// publishAbout publishes an event about a resource, and gives its id.
func (r *rig) publishAbout(resource string) string {
	r.t.Helper()
	return r.publishAs(domain.PublishedAccountClosed, resource)
}

// publishAs publishes an event of a type about a resource, and gives its id.
func (r *rig) publishAs(eventType, resource string) string {
	r.t.Helper()
	id := uuid.NewString()
	msg := nats.NewMsg(eventstore.EventSubject(r.client, eventType, resource))
	msg.Data = []byte(`{"id":"` + resource + `"}`)
	for name, value := range map[string]string{"ce-id": id, "ce-type": eventType, "ce-time": eventTime, jetstream.MsgIDHeader: id} {
		msg.Header.Set(name, value)
	}
	_, err := r.log.JetStream().PublishMsg(testContext(r.t), msg)
	require.NoError(r.t, err)
	return id
}

// accepted are the requests that got a 2xx answer.
type accepted struct {
	mu  sync.Mutex
	ids []string
}

func (a *accepted) add(ids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids = append(a.ids, ids...)
}

func (a *accepted) all() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.ids)
}

// Two processes, failures at random, and processes that come and go: the order holds, and nothing is lost.
func TestOrderOverFailuresAndProcesses(t *testing.T) {
	t.Parallel()
	for _, order := range []domain.WebhookOrder{domain.WebhookStrict, domain.WebhookByResource} {
		t.Run(string(order), func(t *testing.T) {
			r := newRig(t)
			n := 400
			if testing.Short() {
				n = 120
			}
			var ok accepted
			var to *receiver
			to = newReceiver(t, func(i int, w http.ResponseWriter, _ *http.Request) {
				if rand.N(3) == 0 {
					w.WriteHeader(http.StatusInternalServerError)
					return
				}
				ok.add(to.requests()[i-1].ids)
			})
			cfg := webhooks.Config{RequestTimeout: time.Second, Backoff: func(int) time.Duration { return time.Duration(rand.N(20)) * time.Millisecond }}
			start := func() *webhooks.Service {
				cfg := cfg
				cfg.Log = r.openLog(r.connect())
				return r.start(cfg)
			}
			services := []*webhooks.Service{start(), start()}
			// Small packages, so that there are many.
			w := r.packed(services[0], to.URL, domain.WebhookConfig{MaxPackageSize: 1000, Order: order})
			var ids []string
			of := map[string][]string{}
			resources := make([]string, 15)
			for i := range resources {
				resources[i] = uuid.NewString()
			}
			for i := range n {
				resource := resources[rand.N(len(resources))]
				id := r.publishAbout(resource)
				ids = append(ids, id)
				of[resource] = append(of[resource], id)
				if i%(n/4) == n/8 {
					r.stop(services[0])
					services = append(services[1:], start())
				}
			}
			eventually(t, "delivery of all", func() bool { return len(firstOf(ok.all())) == n })
			r.awaitSettled(w.ID)
			got := ok.all()
			if order == domain.WebhookStrict {
				require.Equal(t, ids, firstOf(got))
			}
			for _, want := range of {
				mine := slices.DeleteFunc(firstOf(got), func(id string) bool { return !slices.Contains(want, id) })
				require.Equal(t, want, mine, "the order of one resource")
			}
			checkOffers(t, order, to.requests(), ids, of)
		})
	}
}

// checkOffers: not only what was taken is in order, also what was offered: none is tried for the first time after a later
// one that it holds back.
func checkOffers(t *testing.T, order domain.WebhookOrder, got []request, ids []string, of map[string][]string) {
	t.Helper()
	offered := firstOf(events(got))
	if order == domain.WebhookStrict {
		require.Equal(t, ids, offered)
	}
	for _, want := range of {
		mine := slices.DeleteFunc(slices.Clone(offered), func(id string) bool { return !slices.Contains(want, id) })
		require.Equal(t, want, mine)
	}
}

// By resource, one that is not taken holds back what is about the same resource, and nothing else.
func TestByResourceOthersPassAFailure(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	// So many that the endpoint counts as down: what it takes must get through all the same.
	poison, other := make([]string, 6), uuid.NewString()
	for i := range poison {
		poison[i] = uuid.NewString()
	}
	var to *receiver
	healed := make(chan struct{})
	to = newReceiver(t, func(i int, w http.ResponseWriter, _ *http.Request) {
		select {
		case <-healed:
			return
		default:
		}
		if slices.ContainsFunc(to.requests()[i-1].resources, func(id string) bool { return slices.Contains(poison, id) }) {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	})
	s := r.start(webhooks.Config{Backoff: func(int) time.Duration { return 20 * time.Millisecond }})
	w := r.packed(s, to.URL, domain.WebhookConfig{Order: domain.WebhookByResource})
	var bad []string
	for _, resource := range poison {
		bad = append(bad, r.publishAbout(resource))
	}
	to.awaitUntil("failures of all", func(int, int) bool { return len(firstOf(events(to.requests()))) == len(bad) })
	good := []string{r.publishAbout(other)}
	waiting := r.publishAbout(poison[0])
	good = append(good, r.publishAbout(other), r.publishAbout(other))
	to.awaitUntil("the events of the other resource", func(int, int) bool {
		return len(slices.DeleteFunc(firstOf(events(to.requests())), func(id string) bool { return !slices.Contains(good, id) })) == 3
	})
	require.NotContains(t, events(to.requests()), waiting, "it waits behind the first of its resource")
	eventually(t, "settlement of the others", func() bool {
		info, err := r.consumer(w.ID)
		require.NoError(t, err)
		return info.NumAckPending == len(bad)+1
	})
	close(healed)
	to.awaitUntil("the rest", func(int, int) bool { return slices.Contains(events(to.requests()), waiting) })
	r.awaitSettled(w.ID)
	require.ElementsMatch(t, slices.Concat(bad, good, []string{waiting}), firstOf(events(to.requests())))
}

// By resource, an endpoint that takes nothing is tried with one package at a time, not with each resource that waits.
func TestByResourceAnEndpointThatIsDownIsNotRunOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	to := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	var tried attempts
	s := r.start(webhooks.Config{Backoff: func(attempt int) time.Duration {
		tried.backoff(attempt)
		if attempt > 3 {
			return time.Hour
		}
		return time.Millisecond
	}})
	r.packed(s, to.URL, domain.WebhookConfig{Order: domain.WebhookByResource, MaxPackageSize: 300})
	for range 50 {
		r.publishAbout(uuid.NewString())
	}
	eventually(t, "wait of an hour", func() bool { return slices.Contains(tried.seen(), 4) })
	eventually(t, "the state", func() bool {
		lag, err := s.Lag(testContext(t))
		require.NoError(t, err)
		return len(lag) == 1 && time.Until(lag[0].NextAttempt) > 30*time.Minute
	})
	require.Less(t, len(to.requests()), 20, "one for each of 50 resources would be many")
}

// A process whose connection is cut, as by a kill: the other one takes over, in order.
func TestTakeoverAfterAKill(t *testing.T) {
	t.Parallel()
	for _, order := range []domain.WebhookOrder{domain.WebhookStrict, domain.WebhookByResource} {
		t.Run(string(order), func(t *testing.T) {
			r := newRig(t)
			to := newReceiver(t, nil)
			var ids []string
			var w domain.Webhook
			for round := range 3 {
				conn := r.connect()
				s := newLocal(webhooks.Config{Log: r.openLog(conn), RequestTimeout: 300 * time.Millisecond})
				require.NoError(t, s.Start(testContext(t)))
				if round == 0 {
					w = r.packed(s, to.URL, domain.WebhookConfig{MaxPackageSize: 2000, Order: order})
				}
				ids = append(ids, r.publishMany(30)...)
				to.awaitUntil("an event of the round", func(int, int) bool { return slices.Contains(events(to.requests()), ids[round*30]) })
				conn.Close()
				require.NoError(t, s.Stop(testContext(t)))
			}
			r.start(webhooks.Config{RequestTimeout: 300 * time.Millisecond})
			to.awaitUntil("all events", func(int, int) bool { return len(firstOf(events(to.requests()))) == len(ids) })
			r.awaitSettled(w.ID)
			if order == domain.WebhookStrict {
				require.Equal(t, ids, firstOf(events(to.requests())))
			}
		})
	}
}

// What a former version has left: a consumer that hands out one event at a time and pins nobody, with an event in hand.
func TestConsumersOfFormerVersionsAreTakenOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
	w := r.subscribe(s, to.URL, "ALL")
	r.stop(s)
	js, ctx := r.log.JetStream(), testContext(t)
	info, err := r.consumer(w.ID)
	require.NoError(t, err)
	require.NoError(t, js.DeleteConsumer(ctx, eventstore.StreamEvents, info.Name))
	old, err := js.CreateConsumer(ctx, eventstore.StreamEvents, jetstream.ConsumerConfig{
		Durable: info.Name, Description: info.Config.Description, DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq: info.Config.OptStartSeq, AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour, MaxDeliver: -1,
		MaxAckPending: 1, FilterSubjects: info.Config.FilterSubjects, Metadata: info.Config.Metadata,
	})
	require.NoError(t, err)
	ids := r.publishMany(5)
	for range 2 {
		msg, err := old.Next()
		require.NoError(t, err)
		require.NoError(t, msg.DoubleAck(ctx))
	}
	_, err = old.Next() // and there it died
	require.NoError(t, err)

	r.start(webhooks.Config{})
	require.Equal(t, ids[2:], events(to.awaitEvents(3)), "it goes on where the old one was")
	r.awaitSettled(w.ID)
	require.Equal(t, ids[2:], events(to.requests()))
	info, err = r.consumer(w.ID)
	require.NoError(t, err)
	require.Equal(t, jetstream.PriorityPolicyPinned, info.Config.PriorityPolicy)
}
