package webhooks_test

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/projections/publisher/cloudeventstest"
	"closure/projections/webhooks"
)

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// notices reads the events about subscriptions that were published.
func (r *rig) notices() (types []string, all []domain.WebhookNotice) {
	r.t.Helper()
	js, ctx := r.log.JetStream(), testContext(r.t)
	consumer, err := js.OrderedConsumer(ctx, eventstore.StreamEvents, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{eventstore.EventFilter(r.client, "WEBHOOK")},
	})
	require.NoError(r.t, err)
	batch, err := consumer.FetchNoWait(100)
	require.NoError(r.t, err)
	for msg := range batch.Messages() {
		var n domain.WebhookNotice
		require.NoError(r.t, json.Unmarshal(msg.Data(), &n))
		e := cloudeventstest.Parse(r.t, msg.Headers(), msg.Data())
		require.Equal(r.t, []string{n.ID, n.Webhook.ID, "/closure", "application/json"}, []string{e.ID(), e.Subject(), e.Source(), e.DataContentType()})
		require.Equal(r.t, map[string]any{"clientid": r.client}, e.Extensions())
		require.Equal(r.t, eventstore.EventSubject(r.client, e.Type(), e.Subject()), msg.Subject())
		require.NotContains(r.t, string(msg.Data()), "whsec_")
		types, all = append(types, e.Type()), append(all, n)
	}
	return types, all
}

// The operator is told after an hour, a day, five days: once each in a failing period, and when it is over.
func TestOperatorsAreToldOfAFailingEndpoint(t *testing.T) {
	t.Parallel()
	for _, order := range []domain.WebhookOrder{domain.WebhookStrict, domain.WebhookByResource} {
		t.Run(string(order), func(t *testing.T) {
			r := newRig(t)
			time0 := newClock()
			answers := make(chan int)
			to := newReceiver(t, func(_ int, w http.ResponseWriter, q *http.Request) {
				select {
				case status := <-answers:
					w.WriteHeader(status)
				case <-q.Context().Done():
				}
			})
			s := r.start(webhooks.Config{Now: time0.now})
			w := r.packed(s, to.URL, domain.WebhookConfig{Order: order})
			// It would be told of itself without end.
			r.update(s, w.ID, func(w *domain.Webhook) { w.Type = []domain.WebhookFamily{"ALL", "WEBHOOK"} })
			watching := newReceiver(t, nil)
			r.subscribe(s, watching.URL, "WEBHOOK")
			r.publish(domain.PublishedAccountClosed)
			made := 0
			fail := func(after time.Duration, times int) {
				for range times {
					made++
					to.await(made) // so the one before it is counted
					time0.add(after)
					answers <- 500
				}
			}
			began := time0.now()
			fail(0, 2)
			fail(59*time.Minute, 1)
			fail(time.Minute, 3)      // 60, 61, 62 minutes
			fail(24*time.Hour, 2)     // a day, two days
			fail(10*24*time.Hour, 2)  // five days and more
			to.await(11)              // the last one is counted when the next is made
			types, all := r.notices() // before anything else is said
			require.Equal(t, []string{"WEBHOOK.FAILING", "WEBHOOK.FAILING", "WEBHOOK.FAILING"}, types)
			for i, level := range []domain.WebhookLevel{domain.FailingForAnHour, domain.FailingForADay, domain.FailingForFiveDays} {
				require.Equal(t, level, all[i].Level)
				require.Equal(t, "status 500", all[i].LastFailure)
				require.True(t, began.Equal(*all[i].FailingSince))
				require.Equal(t, w.URL, all[i].Webhook.URL)
			}
			require.Equal(t, []int{4, 7, 9}, []int{all[0].Attempts, all[1].Attempts, all[2].Attempts})
			lag, err := s.Lag(testContext(t))
			require.NoError(t, err)
			for _, l := range lag {
				if l.WebhookID == w.ID {
					require.True(t, began.Equal(l.FailingSince))
					require.Equal(t, 10, l.Attempts)
					require.NotZero(t, l.Waiting)
				}
			}
			answers <- 200
			require.Equal(t, "WEBHOOK.RECOVERED", lastType(watching.awaitEvents(4)))
			types, all = r.notices()
			require.Equal(t, "WEBHOOK.RECOVERED", types[3])
			require.Equal(t, domain.FailingForFiveDays, all[3].Level)
			r.awaitSettled(w.ID)
			require.Len(t, to.requests(), 11, "nothing about itself")
			made = 11
			// A new period begins anew.
			r.publish(domain.PublishedAccountClosed)
			fail(0, 1)
			fail(2*time.Hour, 1)
			to.await(14)
			answers <- 200
			require.Equal(t, "WEBHOOK.RECOVERED", lastType(watching.awaitEvents(6)))
		})
	}
}

func lastType(got []request) string {
	var envelope struct {
		Payload []struct {
			Type string `json:"type"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(got[len(got)-1].body, &envelope); err != nil {
		return err.Error()
	}
	return envelope.Payload[len(envelope.Payload)-1].Type
}

// Who recovers in time was never news.
func TestAShortFailureIsNoNews(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	to := newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n < 5 {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	s := r.start(webhooks.Config{})
	w := r.subscribe(s, to.URL, "ALL")
	r.publish(domain.PublishedAccountClosed)
	to.await(5)
	r.awaitSettled(w.ID)
	types, _ := r.notices()
	require.Empty(t, types)
	stats, err := s.Stats(testContext(t))
	require.NoError(t, err)
	require.Equal(t, webhooks.Stats{Subscriptions: 1}, stats)
}

// The endpoint may ask for more time, and not for more than an hour; less than the back-off is not heard.
func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{"7": 7 * time.Second, "1": 5 * time.Second, "86400": time.Hour} {
		t.Run(header, func(t *testing.T) {
			r := newRig(t)
			to := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", header)
				w.WriteHeader(http.StatusTooManyRequests)
			})
			now := newClock()
			s := r.start(webhooks.Config{Now: now.now, Backoff: func(int) time.Duration { return 5 * time.Second }})
			w := r.subscribe(s, to.URL, "ALL")
			r.publish(domain.PublishedAccountClosed)
			eventually(t, "the state", func() bool {
				lag, err := s.Lag(testContext(t))
				require.NoError(t, err)
				return lag[0].Attempts == 1
			})
			lag, err := s.Lag(testContext(t))
			require.NoError(t, err)
			require.Equal(t, want, lag[0].NextAttempt.Sub(now.now()))
			// Another process waits as well.
			now.add(want - time.Second)
			var log logged
			other := r.start(webhooks.Config{Now: now.now, Log: r.openLog(r.connect()), Logger: log.logger()})
			r.stop(s)
			eventually(t, "the other one's word", func() bool { return len(log.lines(t, "the next attempt is not due yet")) == 1 })
			require.Len(t, to.requests(), 1)
			// A change is tried at once.
			r.update(other, w.ID, func(w *domain.Webhook) { w.Title = "changed" })
			to.await(2)
		})
	}
}

// 410 disables the subscription; the events are held until somebody enables it.
func TestAnEndpointThatIsGoneDisables(t *testing.T) {
	t.Parallel()
	for _, order := range []domain.WebhookOrder{domain.WebhookStrict, domain.WebhookByResource} {
		t.Run(string(order), func(t *testing.T) {
			r := newRig(t)
			to := newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					w.WriteHeader(http.StatusGone)
				}
			})
			s := r.start(webhooks.Config{})
			w := r.packed(s, to.URL, domain.WebhookConfig{Order: order})
			ids := r.publishMany(2)
			eventually(t, "end of the subscription", func() bool {
				got, err := s.Get(testContext(t), r.client, w.ID)
				require.NoError(t, err)
				return !got.Enabled && got.DisabledReason == "the endpoint answered 410 Gone"
			})
			eventually(t, "notice", func() bool {
				types, _ := r.notices()
				return len(types) == 1 && types[0] == "WEBHOOK.DISABLED"
			})
			ids = append(ids, r.publishMany(1)...)
			require.Len(t, to.requests(), 1)
			got := r.update(s, w.ID, func(w *domain.Webhook) { w.Enabled = true })
			require.Empty(t, got.DisabledReason)
			to.awaitUntil("all", func(int, int) bool { return len(firstOf(events(to.requests()[1:]))) == 3 })
			require.Equal(t, ids, firstOf(events(to.requests())))
		})
	}
}

// A state that is due later than the restart is waited for by whoever comes next, and nothing else than its own is read.
func TestAStateThatCannotBeReadIsBegunAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
	w := r.subscribe(s, to.URL, "ALL")
	r.stop(s)
	kv, err := r.log.JetStream().KeyValue(testContext(t), webhooks.StateBucket)
	require.NoError(t, err)
	_, err = kv.PutString(testContext(t), r.client+"."+w.ID, "{")
	require.NoError(t, err)
	_, err = kv.PutString(testContext(t), r.client+"."+uuid.NewString(), "{}")
	require.NoError(t, err)
	id := r.publish(domain.PublishedAccountClosed)
	s = r.start(webhooks.Config{})
	require.Equal(t, []string{id}, events(to.awaitEvents(1)))
	require.NoError(t, s.Delete(testContext(t), r.client, w.ID))
	_, err = kv.Get(testContext(t), r.client+"."+w.ID)
	require.ErrorIs(t, err, jetstream.ErrKeyNotFound, "it goes with the subscription")
}
