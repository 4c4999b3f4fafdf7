package webhooks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"closure/domain"
	"closure/eventstore"
	"closure/projections/webhooks"
)

const somewhere = "http://127.0.0.1:1/"

// mustRefuse checks that an error is a refusal.
func mustRefuse(t *testing.T, err error, kind domain.RefusalKind, detail string) {
	t.Helper()
	var refusal *domain.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, kind, refusal.Kind)
	require.Contains(t, refusal.Detail, detail)
}

func TestCreateStoresAndMakesTheConsumer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start(webhooks.Config{RequestTimeout: 3 * time.Second})
	r.publishMany(4)
	before := time.Now()
	w := r.subscribe(s, somewhere, "ACCOUNT", "COMMAND")

	require.NoError(t, uuid.Validate(w.ID))
	require.WithinRange(t, w.CreatedAt, before, time.Now())
	require.Equal(t, time.UTC, w.CreatedAt.Location())
	require.Equal(t, w.CreatedAt, w.UpdatedAt)
	require.Equal(t, domain.WebhookConfig{Delay: "1s", MaxPackageSize: 1 << 20}, w.Config)
	require.Equal(t, []domain.WebhookFamily{}, w.ExcludeType)
	got, err := s.Get(testContext(t), r.client, strings.ToUpper(w.ID))
	require.NoError(t, err)
	require.Equal(t, w, got)

	info, err := r.consumer(w.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"closure.event." + r.client + ".account.>", "closure.event." + r.client + ".command.>"}, info.Config.FilterSubjects)
	require.Equal(t, jetstream.DeliverByStartSequencePolicy, info.Config.DeliverPolicy)
	require.EqualValues(t, 5, info.Config.OptStartSeq)
	require.Equal(t, jetstream.AckExplicitPolicy, info.Config.AckPolicy)
	require.Equal(t, -1, info.Config.MaxDeliver)
	require.Equal(t, jetstream.PriorityPolicyPinned, info.Config.PriorityPolicy)
	require.Equal(t, 6*time.Second, info.Config.PinnedTTL, "twice what a request may take")
	require.Equal(t, 9*time.Second, info.Config.AckWait, "as long as an event may be in hand: the delay, two requests and a margin")
}

func TestTheBucketIsKeptInFilesAndReadFromItsLeader(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(webhooks.Config{})
	stream, err := r.log.JetStream().Stream(testContext(t), "KV_"+webhooks.Bucket)
	require.NoError(t, err)
	require.Equal(t, jetstream.FileStorage, stream.CachedInfo().Config.Storage)
	require.False(t, stream.CachedInfo().Config.AllowDirect)
	// A plain client of buckets can read it.
	kv, err := r.log.JetStream().KeyValue(testContext(t), webhooks.Bucket)
	require.NoError(t, err)
	_, err = kv.Get(testContext(t), "a.b")
	require.ErrorIs(t, err, jetstream.ErrKeyNotFound)
}

func TestWhatIsWrongIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start(webhooks.Config{})
	w := r.subscribe(s, somewhere, "ALL")
	ctx := testContext(t)

	_, err := s.Create(ctx, r.client, hook("ftp://example.com", "ALL"))
	mustRefuse(t, err, domain.Invalid, "url: ")
	_, err = s.Create(ctx, r.client, hook(somewhere))
	mustRefuse(t, err, domain.Invalid, "type: ")
	_, err = s.Create(ctx, "*", hook(somewhere, "ALL"))
	require.ErrorContains(t, err, "client id")
	_, err = s.Update(ctx, r.client, w.ID, func(w domain.Webhook) (domain.Webhook, error) {
		w.Title = ""
		return w, nil
	})
	mustRefuse(t, err, domain.Invalid, "title: ")
	broken := errors.New("broken")
	_, err = s.Update(ctx, r.client, w.ID, func(w domain.Webhook) (domain.Webhook, error) {
		w.Type[0] = "ORDER"
		return w, broken
	})
	require.Equal(t, broken, err, "as it is")

	all, total, err := s.List(ctx, r.client, domain.Page{})
	require.NoError(t, err)
	require.Equal(t, 1, total)
	require.Equal(t, []domain.Webhook{w}, all, "nothing was written")
	got, err := s.Get(ctx, r.client, w.ID)
	require.NoError(t, err)
	require.Equal(t, w, got)
}

func TestWhatIsNotTheClientsIsNotFound(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start(webhooks.Config{})
	w := r.subscribe(s, somewhere, "ALL")
	ctx := testContext(t)
	for name, c := range map[string]struct{ client, id string }{
		"missing":               {r.client, uuid.NewString()},
		"malformed":             {r.client, "x.>"},
		"another client's":      {uuid.NewString(), w.ID},
		"a client that is none": {"*", w.ID},
	} {
		t.Run(name, func(t *testing.T) {
			detail := "there is no webhook with the id " + c.id
			_, err := s.Get(ctx, c.client, c.id)
			mustRefuse(t, err, domain.NotFound, detail)
			_, err = s.Update(ctx, c.client, c.id, func(w domain.Webhook) (domain.Webhook, error) { return w, nil })
			mustRefuse(t, err, domain.NotFound, detail)
			mustRefuse(t, s.Delete(ctx, c.client, c.id), domain.NotFound, detail)
			all, total, err := s.List(ctx, uuid.NewString(), domain.Page{})
			require.NoError(t, err)
			require.Zero(t, total)
			require.Equal(t, []domain.Webhook{}, all)
		})
	}
	_, err := s.Get(ctx, r.client, w.ID)
	require.NoError(t, err)
}

func TestUpdateKeepsWhatIsNotToBeChanged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start(webhooks.Config{})
	w := r.subscribe(s, somewhere, "ALL")
	same := r.update(s, w.ID, func(w *domain.Webhook) { w.ID, w.CreatedAt, w.UpdatedAt = "x", time.Time{}, time.Time{} })
	require.Equal(t, w, same, "nothing was changed")
	got := r.update(s, w.ID, func(w *domain.Webhook) { w.Title, w.ID, w.CreatedAt = "new", "x", time.Time{} })
	require.Equal(t, "new", got.Title)
	require.Equal(t, w.ID, got.ID)
	require.Equal(t, w.CreatedAt, got.CreatedAt)
	require.True(t, got.UpdatedAt.After(w.UpdatedAt))
	stored, err := s.Get(testContext(t), r.client, w.ID)
	require.NoError(t, err)
	require.Equal(t, got, stored)
}

func TestNoUpdateIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	services := []*webhooks.Service{r.start(webhooks.Config{}), r.start(webhooks.Config{})}
	w := r.subscribe(services[0], somewhere, "ALL")
	var g errgroup.Group
	const each = 5
	for i := range 4 {
		g.Go(func() error {
			for range each {
				_, err := services[i%2].Update(context.Background(), r.client, w.ID, func(w domain.Webhook) (domain.Webhook, error) {
					w.Title += "+"
					return w, nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	for _, s := range services {
		got, err := s.Get(testContext(t), r.client, w.ID)
		require.NoError(t, err)
		require.Equal(t, w.Title+strings.Repeat("+", 4*each), got.Title)
		eventually(t, "same list everywhere", func() bool {
			all, _, err := s.List(testContext(t), r.client, domain.Page{})
			require.NoError(t, err)
			return all[0].Title == got.Title
		})
	}
}

func TestListSortsAndPages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start(webhooks.Config{})
	var made []domain.Webhook
	for range 5 {
		made = append(made, r.subscribe(s, somewhere, "ALL"))
	}
	_, err := s.Create(testContext(t), uuid.NewString(), hook(somewhere, "ALL"))
	require.NoError(t, err)
	made[1] = r.update(s, made[1].ID, func(w *domain.Webhook) { w.Title = "changed last" })
	byID := slices.SortedFunc(slices.Values(made), func(a, b domain.Webhook) int { return strings.Compare(a.ID, b.ID) })

	for _, c := range []struct {
		page domain.Page
		want []domain.Webhook
	}{
		{domain.Page{}, made},
		{domain.Page{Order: domain.Descending}, []domain.Webhook{made[4], made[3], made[2], made[1], made[0]}},
		{domain.Page{Sort: domain.SortUpdatedAt}, []domain.Webhook{made[0], made[2], made[3], made[4], made[1]}},
		{domain.Page{Sort: domain.SortID}, byID},
		{domain.Page{Offset: 1, Limit: 2}, made[1:3]},
		{domain.Page{Offset: 4, Limit: 2}, made[4:]},
		{domain.Page{Offset: 5}, []domain.Webhook{}},
		{domain.Page{Offset: 1 << 40}, []domain.Webhook{}},
	} {
		t.Run(fmt.Sprintf("%+v", c.page), func(t *testing.T) {
			got, total, err := s.List(testContext(t), r.client, c.page)
			require.NoError(t, err)
			require.Equal(t, 5, total)
			require.Equal(t, c.want, got)
		})
	}
}

func TestDeleteRemovesAllOfIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	here, there := r.start(webhooks.Config{}), r.start(webhooks.Config{})
	to, other := newReceiver(t, nil), newReceiver(t, nil)
	w, stays := r.subscribe(here, to.URL, "ALL"), r.subscribe(here, other.URL, "ALL")
	ids := []string{r.publish(domain.PublishedAccountClosed)}
	to.await(1)
	other.await(1)

	require.NoError(t, here.Delete(testContext(t), r.client, w.ID))
	_, err := r.consumer(w.ID)
	require.ErrorIs(t, err, jetstream.ErrConsumerNotFound)
	ids = append(ids, r.publishMany(3)...)
	require.Equal(t, ids, events(other.awaitEvents(4)))
	got := to.requests()
	require.Len(t, got, 1, "nothing comes any more")
	for _, s := range []*webhooks.Service{here, there} {
		mustRefuse(t, s.Delete(testContext(t), r.client, w.ID), domain.NotFound, w.ID)
		_, err := s.Get(testContext(t), r.client, w.ID)
		mustRefuse(t, err, domain.NotFound, w.ID)
		eventually(t, "the deletion in the list", func() bool {
			all, total, err := s.List(testContext(t), r.client, domain.Page{})
			require.NoError(t, err)
			return total == 1 && all[0].ID == stays.ID
		})
	}
	// Nobody has made it anew.
	_, err = r.consumer(w.ID)
	require.ErrorIs(t, err, jetstream.ErrConsumerNotFound)
}

func TestDisabledHoldsTheEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, other := r.start(webhooks.Config{}), newReceiver(t, nil)
	to := newReceiver(t, nil)
	w := hook(to.URL, "ALL")
	w.Enabled = false
	w, err := s.Create(testContext(t), r.client, w)
	require.NoError(t, err)
	r.subscribe(s, other.URL, "ALL")
	var ids []string
	for n := range 3 {
		ids = append(ids, r.publishMany(2)...)
		other.awaitEvents(len(ids)) // so that it had the time
		require.Len(t, events(to.requests()), 2*n)
		r.update(s, w.ID, func(w *domain.Webhook) { w.Enabled = true })
		require.Equal(t, ids, events(to.awaitEvents(len(ids))))
		r.awaitSettled(w.ID)
		require.False(t, r.update(s, w.ID, func(w *domain.Webhook) { w.Enabled = false }).Enabled)
	}
}

func TestANewTypeChangesWhatIsDelivered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
	w := r.subscribe(s, to.URL, "ACCOUNT")
	var ids []string
	publish := func(wanted bool, eventType string) {
		if id := r.publish(eventType); wanted {
			ids = append(ids, id)
		}
	}
	publish(true, "ACCOUNT.CLOSED")
	publish(false, "ORDER.NEW")
	to.await(1)
	r.awaitSettled(w.ID)
	got := r.update(s, w.ID, func(w *domain.Webhook) { w.Type = []domain.WebhookFamily{"ORDER", "REPORT"} })
	require.Equal(t, []domain.WebhookFamily{"ORDER", "REPORT"}, got.Type)
	publish(false, "ACCOUNT.CLOSED")
	publish(true, "ORDER.NEW")
	publish(true, "REPORT.CREATED")
	to.awaitEvents(3)
	r.awaitSettled(w.ID)
	r.update(s, w.ID, func(w *domain.Webhook) {
		w.Type, w.ExcludeType = []domain.WebhookFamily{"ALL"}, []domain.WebhookFamily{"ORDER"}
	})
	publish(false, "ORDER.NEW")
	publish(true, "ACCOUNT.CLOSED")
	to.awaitEvents(4)
	r.awaitSettled(w.ID)
	requests := to.requests()
	require.Equal(t, ids, events(requests))
}

func TestANewURLCountsFromTheNextAttempt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hung := newReceiver(t, func(_ int, _ http.ResponseWriter, q *http.Request) { hang(q) })
	to := newReceiver(t, nil)
	var tried attempts
	// The request that hangs is finished as it was begun: by the time-out.
	s := r.start(webhooks.Config{Backoff: tried.backoff, RequestTimeout: time.Second})
	w := r.subscribe(s, hung.URL, "ALL")
	ids := r.publishMany(3)
	hung.await(1)
	began := time.Now()
	r.update(s, w.ID, func(w *domain.Webhook) { w.URL = to.URL })
	require.Less(t, time.Since(began), time.Second, "the change does not wait for the request")
	require.Equal(t, ids, events(to.awaitEvents(3)))
	r.awaitSettled(w.ID)
	got := hung.requests()
	require.Len(t, got, 1)
	require.Equal(t, []int{1}, tried.seen())
}

func TestEventsFromBeforeTheCreationAreNotDelivered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
	r.publishMany(5)
	w := r.subscribe(s, to.URL, "ALL")
	ids := r.publishMany(2)
	require.Equal(t, ids, events(to.awaitEvents(2)))
	r.awaitSettled(w.ID)
	require.Equal(t, ids, events(to.requests()))
}

func TestAStoppedServiceIsUnavailable(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start(webhooks.Config{})
	w := r.subscribe(s, somewhere, "ALL")
	r.stop(s)
	ctx := testContext(t)
	_, err := s.Create(ctx, r.client, hook(somewhere, "ALL"))
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	_, err = s.Get(ctx, r.client, w.ID)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	_, _, err = s.List(ctx, r.client, domain.Page{})
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	_, err = s.Update(ctx, r.client, w.ID, func(w domain.Webhook) (domain.Webhook, error) { return w, nil })
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.ErrorIs(t, s.Delete(ctx, r.client, w.ID), eventstore.ErrUnavailable)
}

// A process whose view is behind must not undo what another one has done: it could make the consumer pass over an event,
// or make one for a subscription that was deleted.
func TestAViewThatIsBehindUndoesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start(webhooks.Config{})
	w := r.subscribe(s, somewhere, "ACCOUNT")
	kv, err := r.log.JetStream().KeyValue(testContext(t), webhooks.Bucket)
	require.NoError(t, err)
	old, err := kv.Get(testContext(t), r.client+"."+w.ID)
	require.NoError(t, err)
	r.update(s, w.ID, func(w *domain.Webhook) { w.Type = []domain.WebhookFamily{"ALL"} })

	require.NoError(t, s.Ensure(testContext(t), r.client, old.Value(), old.Revision()))
	info, err := r.consumer(w.ID)
	require.NoError(t, err)
	require.Len(t, info.Config.FilterSubjects, len(domain.PublicFamilies()))
	// One that is ahead does change it.
	require.NoError(t, s.Ensure(testContext(t), r.client, old.Value(), old.Revision()+10))
	info, err = r.consumer(w.ID)
	require.NoError(t, err)
	require.Len(t, info.Config.FilterSubjects, 1)

	require.NoError(t, s.Delete(testContext(t), r.client, w.ID))
	require.ErrorIs(t, s.Ensure(testContext(t), r.client, old.Value(), old.Revision()), webhooks.ErrGone)
	_, err = r.consumer(w.ID)
	require.ErrorIs(t, err, jetstream.ErrConsumerNotFound)
}
