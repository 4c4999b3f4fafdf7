package webhooks_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/projections/webhooks"
)

// A replay from an event, and from a time, over two processes: all from there on come again in order, and then what is new.
func TestReplay(t *testing.T) {
	t.Parallel()
	for _, order := range []domain.WebhookOrder{domain.WebhookStrict, domain.WebhookByResource} {
		t.Run(string(order), func(t *testing.T) {
			r := newRig(t)
			s := r.start(webhooks.Config{})
			other := r.start(webhooks.Config{Log: r.openLog(r.connect())})
			to := newReceiver(t, nil)
			r.publishMany(3) // before there was one
			w := r.packed(s, to.URL, domain.WebhookConfig{Order: order})
			ids := r.publishMany(10)
			r.publishFor(uuid.NewString(), domain.PublishedAccountClosed, `{}`) // somebody else's
			to.awaitEvents(10)
			r.awaitSettled(w.ID)

			require.NoError(t, other.Replay(testContext(t), r.client, w.ID, webhooks.ReplayFrom{EventID: ids[4]}))
			require.Equal(t, ids[4:], events(to.awaitEvents(16))[10:])
			r.awaitSettled(w.ID)

			stream, err := r.log.JetStream().Stream(testContext(t), eventstore.StreamEvents)
			require.NoError(t, err)
			msg, err := stream.GetMsg(testContext(t), 3+8)
			require.NoError(t, err)
			require.NoError(t, s.Replay(testContext(t), r.client, w.ID, webhooks.ReplayFrom{Time: msg.Time}))
			require.Equal(t, ids[7:], events(to.awaitEvents(19))[16:])
			r.awaitSettled(w.ID)

			require.NoError(t, s.Replay(testContext(t), r.client, w.ID, webhooks.ReplayFrom{Time: time.Unix(1, 0)}))
			require.Equal(t, ids, events(to.awaitEvents(29))[19:], "from its first event on, and none from before")
			r.awaitSettled(w.ID)

			require.NoError(t, s.Replay(testContext(t), r.client, w.ID, webhooks.ReplayFrom{Time: time.Now().Add(time.Hour)}))
			id := r.publish(domain.PublishedAccountClosed)
			require.Equal(t, []string{id}, events(to.awaitEvents(30))[29:])
			r.awaitSettled(w.ID)
			require.Len(t, events(to.requests()), 30)
		})
	}
}

// A replay in the middle of a failure does not wait for the back-off.
func TestAReplayIsTriedAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	to := newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	s := r.start(webhooks.Config{Backoff: func(int) time.Duration { return time.Hour }})
	w := r.subscribe(s, to.URL, "ALL")
	ids := r.publishMany(1)
	to.await(1)
	ids = append(ids, r.publishMany(1)...)
	to.await(2)
	require.NoError(t, s.Replay(testContext(t), r.client, w.ID, webhooks.ReplayFrom{EventID: ids[0]}))
	got := to.awaitEvents(4)
	require.Equal(t, ids, events(got[2:]))
}

// A replay from a later point than what still waits passes over nothing.
func TestAReplayDoesNotPassOverWhatWaits(t *testing.T) {
	t.Parallel()
	for _, order := range []domain.WebhookOrder{domain.WebhookStrict, domain.WebhookByResource} {
		t.Run(string(order), func(t *testing.T) {
			r := newRig(t)
			var to *receiver
			var healed atomic.Bool
			to = newReceiver(t, func(i int, w http.ResponseWriter, _ *http.Request) {
				if !healed.Load() && i > 1 {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			})
			s := r.start(webhooks.Config{Backoff: func(int) time.Duration { return time.Hour }})
			w := r.packed(s, to.URL, domain.WebhookConfig{Order: order})
			ids := r.publishMany(1)
			to.await(1)
			r.awaitSettled(w.ID)
			ids = append(ids, r.publishMany(1)...)
			to.await(2)
			eventually(t, "the failure", func() bool {
				lag, err := s.Lag(testContext(t))
				require.NoError(t, err)
				return lag[0].Attempts == 1
			})
			ids = append(ids, r.publishMany(5)...)
			healed.Store(true)
			n := len(events(to.requests()))
			require.NoError(t, s.Replay(testContext(t), r.client, w.ID, webhooks.ReplayFrom{EventID: ids[4]}))
			got := to.awaitUntil("all", func(int, int) bool { return len(firstOf(events(to.requests()[1:]))) == 6 })
			require.Equal(t, ids[1:], firstOf(events(got)[n:]), "what waited comes in its place")
			r.awaitSettled(w.ID)

			// And from an earlier point than that, from there.
			n = len(events(to.requests()))
			require.NoError(t, s.Replay(testContext(t), r.client, w.ID, webhooks.ReplayFrom{EventID: ids[0]}))
			to.awaitUntil("all again", func(_, events int) bool { return events >= n+7 })
			require.Equal(t, ids, events(to.requests())[n:])
			r.awaitSettled(w.ID)
		})
	}
}

func TestReplayRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start(webhooks.Config{})
	before := r.publish(domain.PublishedAccountClosed)
	w := r.subscribe(s, somewhere, "ORDER")
	ctx := testContext(t)
	for detail, from := range map[string]webhooks.ReplayFrom{
		"from: must be either a time or the id of an event": {},
		"from: the event " + before + " is from before":     {EventID: before},
		"event: there is no event with the id ":             {EventID: uuid.NewString()},
		"event: must be the id of an event":                 {EventID: "x"},
	} {
		mustRefuse(t, s.Replay(ctx, r.client, w.ID, from), domain.Invalid, detail)
	}
	mustRefuse(t, s.Replay(ctx, r.client, w.ID, webhooks.ReplayFrom{EventID: before, Time: time.Now()}), domain.Invalid, "from: ")
	mustRefuse(t, s.Replay(ctx, uuid.NewString(), w.ID, webhooks.ReplayFrom{Time: time.Now()}), domain.NotFound, w.ID)
}
