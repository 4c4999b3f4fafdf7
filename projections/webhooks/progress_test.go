package webhooks_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/projections/webhooks"
)

func (r *rig) progress(s *webhooks.Service, id string) webhooks.Progress {
	r.t.Helper()
	p, err := s.Progress(testContext(r.t), r.client, id)
	require.NoError(r.t, err)
	return p
}

// A client sees how its deliveries go: what waits, since when they fail, when the next attempt is made, and what was delivered.
func TestProgress(t *testing.T) {
	t.Parallel()
	for _, order := range []domain.WebhookOrder{domain.WebhookStrict, domain.WebhookByResource} {
		t.Run(string(order), func(t *testing.T) {
			r := newRig(t)
			answers := make(chan int)
			to := newReceiver(t, func(_ int, w http.ResponseWriter, q *http.Request) {
				select {
				case status := <-answers:
					w.WriteHeader(status)
				case <-q.Context().Done():
				}
			})
			// The clock of the attempts is not the one of the test, so that a time is known to be theirs.
			clock := newClock()
			s := r.start(webhooks.Config{Now: clock.now, Backoff: func(attempt int) time.Duration {
				if attempt < 2 {
					return 0
				}
				return time.Hour
			}})
			w := r.packed(s, to.URL, domain.WebhookConfig{Order: order})
			require.Equal(t, webhooks.Progress{}, r.progress(s, w.ID))

			r.publish(domain.PublishedAccountClosed)
			to.await(1)
			eventually(t, "an event in hand", func() bool { return r.progress(s, w.ID).Waiting == 1 })
			answers <- 200
			r.awaitSettled(w.ID)
			delivered := r.progress(s, w.ID).LastDelivered
			require.WithinDuration(t, clock.now(), delivered, time.Second)
			require.Equal(t, webhooks.Progress{LastDelivered: delivered}, r.progress(s, w.ID))

			clock.add(time.Minute)
			r.publish(domain.PublishedAccountClosed)
			to.await(2)
			answers <- 503
			to.await(3)
			answers <- 500
			var p webhooks.Progress
			eventually(t, "the second failure", func() bool { p = r.progress(s, w.ID); return p.Attempts == 2 })
			require.Equal(t, clock.now(), p.FailingSince)
			require.Equal(t, "status 500", p.LastFailure)
			require.Equal(t, delivered, p.LastDelivered, "before")
			require.EqualValues(t, 1, p.Waiting)
			if order == domain.WebhookStrict { // by resource others may be tried meanwhile
				require.Equal(t, clock.now().Add(time.Hour), p.NextAttempt)
			} else {
				require.Zero(t, p.NextAttempt)
			}

			// What was changed is tried at once; what is disabled never.
			r.update(s, w.ID, func(w *domain.Webhook) { w.Enabled = false })
			require.Zero(t, r.progress(s, w.ID).NextAttempt)
			r.update(s, w.ID, func(w *domain.Webhook) { w.Enabled = true })
			to.await(4)
			answers <- 204
			r.awaitSettled(w.ID)
			eventually(t, "recovery", func() bool { p = r.progress(s, w.ID); return p.FailingSince.IsZero() })
			require.Equal(t, webhooks.Progress{LastDelivered: p.LastDelivered}, p)
			require.WithinDuration(t, clock.now(), p.LastDelivered, time.Second)

			// When the attempts are gone the state still knows of the recovery.
			stream, err := r.log.JetStream().Stream(testContext(t), webhooks.StreamAttempts)
			require.NoError(t, err)
			require.NoError(t, stream.Purge(testContext(t)))
			require.Equal(t, clock.now(), r.progress(s, w.ID).LastDelivered)
		})
	}
}

func TestProgressIsTheClientsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start(webhooks.Config{})
	w := r.subscribe(s, somewhere, "ALL")
	_, err := s.Progress(testContext(t), uuid.NewString(), w.ID)
	mustRefuse(t, err, domain.NotFound, w.ID)
	_, err = s.Progress(testContext(t), r.client, uuid.NewString())
	mustRefuse(t, err, domain.NotFound, "")
}
