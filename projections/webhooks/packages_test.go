package webhooks_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/projections/webhooks"
)

// packed makes a subscription with a config.
func (r *rig) packed(s *webhooks.Service, url string, cfg domain.WebhookConfig) domain.Webhook {
	r.t.Helper()
	w := hook(url, "ALL")
	w.Config = cfg
	w, err := s.Create(testContext(r.t), r.client, w)
	require.NoError(r.t, err)
	return w
}

// The first event goes at once; what comes within the delay after it goes together, byte for byte.
func TestEventsWithinTheDelayGoTogether(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
	w := r.packed(s, to.URL, domain.WebhookConfig{Delay: "2s"})
	objects := []string{`{"a": 1.50}`, `{ "b":"<ä>" }`, `[ 123456789012345678901234567890 ]`, `"text"`}
	ids := []string{r.publishFor(r.client, domain.PublishedAccountClosed, objects[0])}
	to.await(1)
	for _, object := range objects[1:] {
		ids = append(ids, r.publishFor(r.client, domain.PublishedAccountClosed, object))
	}
	got := to.await(2)
	r.awaitSettled(w.ID)
	require.Len(t, to.requests(), 2)
	var entries []string
	for i, object := range objects {
		entries = append(entries, `{"id":"`+ids[i]+`","created_at":"`+eventTime+`","type":"ACCOUNT.CLOSED","object":`+object+`,"webhook_id":"`+w.ID+`"}`)
	}
	require.Equal(t, `{"payload":[`+entries[0]+`]}`, string(got[0].body))
	require.Equal(t, `{"payload":[`+strings.Join(entries[1:], ",")+`]}`, string(got[1].body))
	require.True(t, json.Valid(got[1].body))
}

// A package that is full does not wait; an event that is larger than a package goes alone.
func TestPackagesAreBounded(t *testing.T) {
	t.Parallel()
	for _, order := range []domain.WebhookOrder{domain.WebhookStrict, domain.WebhookByResource} {
		t.Run(string(order), func(t *testing.T) {
			r := newRig(t)
			s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
			const size = 2000
			w := r.packed(s, to.URL, domain.WebhookConfig{Delay: "1s", MaxPackageSize: size, Order: order})
			r.update(s, w.ID, func(w *domain.Webhook) { w.Enabled = false })
			var ids []string
			object := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
			for i := range 30 {
				n := 300
				switch i {
				case 7:
					n = 5000
				case 8:
					n = 100_000 // more than the engine asks for at a time
				}
				ids = append(ids, r.publishFor(r.client, domain.PublishedAccountClosed, object(n)))
			}
			r.update(s, w.ID, func(w *domain.Webhook) { w.Enabled = true })
			got := to.awaitEvents(len(ids))
			r.awaitSettled(w.ID)
			if order == domain.WebhookStrict {
				require.Equal(t, ids, events(got))
			}
			require.ElementsMatch(t, ids, events(got))
			packed := 0
			for _, q := range got {
				if len(q.body) > size {
					require.Len(t, q.ids, 1, "alone")
					require.Contains(t, []string{ids[7], ids[8]}, q.ids[0])
				}
				packed = max(packed, len(q.ids))
			}
			require.GreaterOrEqual(t, packed, 3, "and others together")
		})
	}
}

// What nothing more fits in waits for nobody: with the smallest package every event goes at once and alone, whatever the delay.
func TestAFullPackageGoesAtOnce(t *testing.T) {
	t.Parallel()
	for _, order := range []domain.WebhookOrder{domain.WebhookStrict, domain.WebhookByResource} {
		t.Run(string(order), func(t *testing.T) {
			r := newRig(t)
			const n = 5
			ids := make(chan string, n)
			s, to := r.start(webhooks.Config{}), newReceiver(t, func(i int, _ http.ResponseWriter, _ *http.Request) {
				if i < n { // each is published when the one before it came: with the delay between them it would take minutes
					ids <- r.publish(domain.PublishedAccountClosed)
				}
			})
			w := r.packed(s, to.URL, domain.WebhookConfig{Delay: "30s", MaxPackageSize: 100, Order: order})
			ids <- r.publish(domain.PublishedAccountClosed)
			got := to.awaitEvents(n)
			r.awaitSettled(w.ID)
			close(ids)
			var want []string
			for id := range ids {
				want = append(want, id)
			}
			require.Equal(t, want, events(got))
			require.Len(t, got, n)
		})
	}
}

// A body of exactly the size fits, and one of a byte more does not.
func TestAPackageMayBeFullToTheByte(t *testing.T) {
	t.Parallel()
	for more, want := range map[int]int{0: 2, 1: 3} {
		t.Run(fmt.Sprint(more, " bytes more"), func(t *testing.T) {
			r := newRig(t)
			s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
			w := r.packed(s, to.URL, domain.WebhookConfig{})
			entry := len(`{"id":"`) + 36 + len(`","created_at":"`+eventTime+`","type":"ACCOUNT.CLOSED","object":,"webhook_id":"`) + 36 + len(`"}`)
			const object = 100
			two := len(`{"payload":[,]}`) + 2*(entry+object)
			r.update(s, w.ID, func(w *domain.Webhook) { w.Config.MaxPackageSize = two })
			text := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
			r.publishFor(r.client, domain.PublishedAccountClosed, text(object))
			to.await(1)
			r.publishFor(r.client, domain.PublishedAccountClosed, text(object+more))
			r.publishFor(r.client, domain.PublishedAccountClosed, text(object))
			got := to.awaitEvents(3)
			require.Len(t, got, want)
			if more == 0 {
				require.Len(t, got[1].body, two)
			}
		})
	}
}
