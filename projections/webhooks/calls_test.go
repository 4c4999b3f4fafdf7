package webhooks_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/projections/webhooks"
	"closure/projections/webhooks/endpoint"
	"closure/projections/webhooks/signing"
)

// keys are the engine's keys of the rig.
func (r *rig) keys() *signing.Keys {
	r.t.Helper()
	keys := signing.New(signing.Config{Log: r.log})
	require.NoError(r.t, keys.Start(testContext(r.t)))
	r.t.Cleanup(func() { require.NoError(r.t, keys.Stop(testContext(r.t))) })
	return keys
}

// verifies checks a request as a receiver does that knows the secret.
func verifies(secret string, q request) error {
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return err
	}
	return wh.Verify(q.body, q.header)
}

// storedSecrets are those of a subscription's entry.
func (r *rig) storedSecrets(id string) signing.Secrets {
	r.t.Helper()
	kv, err := r.log.JetStream().KeyValue(testContext(r.t), webhooks.Bucket)
	require.NoError(r.t, err)
	entry, err := kv.Get(testContext(r.t), r.client+"."+id)
	require.NoError(r.t, err)
	var stored struct{ Secrets signing.Secrets }
	require.NoError(r.t, json.Unmarshal(entry.Value(), &stored))
	return stored.Secrets
}

// The secret is shown once; a rotation shows another one, and both verify for the overlap.
func TestSecrets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, to := r.start(webhooks.Config{Signer: r.keys()}), newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	made, err := s.CreateWithSecret(testContext(t), r.client, hook(to.URL, "ALL"))
	require.NoError(t, err)
	first := made.Secret.Reveal()
	got, err := s.Get(testContext(t), r.client, made.ID)
	require.NoError(t, err)
	shown, err := json.Marshal(got)
	require.NoError(t, err)
	require.NotContains(t, string(shown), "secret")

	r.publish(domain.PublishedAccountClosed)
	both := to.await(2)
	for _, q := range both {
		require.NoError(t, verifies(first, q))
		require.Contains(t, q.header.Get("webhook-signature"), "v1a,")
		require.Contains(t, q.header.Get("signature-input"), "sig1=")
	}
	require.Equal(t, both[0].header.Get("webhook-id"), both[1].header.Get("webhook-id"), "the same package")
	require.NotEqual(t, both[0].header.Get("signature-input"), both[1].header.Get("signature-input"), "signed anew")

	rotated, err := s.RotateSecret(testContext(t), r.client, made.ID, time.Hour)
	require.NoError(t, err)
	second := rotated.Current
	stored := r.storedSecrets(made.ID)
	require.Equal(t, rotated, stored, "what is stored is what was answered, to the nanosecond")
	require.Equal(t, first, rotated.Previous.Reveal())
	r.publish(domain.PublishedAccountClosed)
	q := to.await(3)[2]
	require.NoError(t, verifies(first, q))
	require.NoError(t, verifies(second.Reveal(), q))

	rotated, err = s.RotateSecret(testContext(t), r.client, made.ID, 0)
	require.NoError(t, err)
	require.True(t, rotated.Previous.IsZero())
	require.Zero(t, rotated.PreviousUntil)
	third := rotated.Current
	r.publish(domain.PublishedAccountClosed)
	q = to.await(4)[3]
	require.Error(t, verifies(second.Reveal(), q))
	require.NoError(t, verifies(third.Reveal(), q))

	_, err = s.RotateSecret(testContext(t), r.client, made.ID, 8*24*time.Hour)
	mustRefuse(t, err, domain.Invalid, "overlap: must be a duration from 0s to 168h0m0s")
	_, err = s.RotateSecret(testContext(t), r.client, uuid.NewString(), 0)
	mustRefuse(t, err, domain.NotFound, "")
}

// A subscription from before there were secrets is signed all the same, and can be given one that somebody knows.
func TestAnEntryWithoutASecretIsSigned(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	to := newReceiver(t, nil)
	s := r.start(webhooks.Config{})
	w := r.subscribe(s, to.URL, "ALL")
	r.stop(s)
	kv, err := r.log.JetStream().KeyValue(testContext(t), webhooks.Bucket)
	require.NoError(t, err)
	entry, err := kv.Get(testContext(t), r.client+"."+w.ID)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(entry.Value(), &fields))
	require.Contains(t, fields, "secrets")
	delete(fields, "secrets")
	old, err := json.Marshal(fields)
	require.NoError(t, err)
	_, err = kv.Put(testContext(t), entry.Key(), old)
	require.NoError(t, err)

	s = r.start(webhooks.Config{Signer: r.keys()})
	r.publish(domain.PublishedAccountClosed)
	q := to.await(1)[0]
	require.Contains(t, q.header.Get("webhook-signature"), "v1a,")
	got, err := s.Get(testContext(t), r.client, w.ID)
	require.NoError(t, err)
	require.Equal(t, w, got)
	secrets, err := s.RotateSecret(testContext(t), r.client, w.ID, webhooks.DefaultOverlap)
	require.NoError(t, err)
	r.publish(domain.PublishedAccountClosed)
	require.NoError(t, verifies(secrets.Current.Reveal(), to.await(2)[1]))
}

// A test call shows what the endpoint answers, and leaves nothing behind.
func TestATestCall(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	to := newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Mine", "yes")
		if n == 2 {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = w.Write([]byte("thank you" + strings.Repeat(".", 10_000)))
	})
	s := r.start(webhooks.Config{Signer: r.keys()})
	made, err := s.CreateWithSecret(testContext(t), r.client, hook(to.URL+"/x", "ALL"))
	require.NoError(t, err)
	res, err := s.Test(testContext(t), r.client, made.ID)
	require.NoError(t, err)
	require.Equal(t, to.URL+"/x", res.URL)
	require.Equal(t, http.StatusOK, res.Response.Status)
	require.Equal(t, "yes", res.Response.Headers.Get("X-Mine"))
	require.True(t, strings.HasPrefix(res.Response.Body, "thank you"))
	require.Less(t, len(res.Response.Body), 5000)
	require.Empty(t, res.Failure)
	q := to.requests()[0]
	require.NoError(t, verifies(made.Secret.Reveal(), q))
	require.Equal(t, "WEBHOOK.TEST", lastType([]request{q}))
	require.Equal(t, []string{made.ID}, q.resources)
	require.NotContains(t, string(q.body), "whsec")

	res, err = s.Test(testContext(t), r.client, made.ID)
	require.NoError(t, err)
	require.Equal(t, "status", res.Failure)
	require.Equal(t, http.StatusTeapot, res.Response.Status)
	r.update(s, made.ID, func(w *domain.Webhook) { w.URL, w.Enabled = somewhere, false })
	res, err = s.Test(testContext(t), r.client, made.ID)
	require.NoError(t, err)
	require.Equal(t, "refused", res.Failure)
	require.Zero(t, res.Response.Status)
	_, total := r.attempts(s, made.ID, webhooks.AttemptFilter{}, domain.Page{})
	require.Zero(t, total)
	_, err = s.Test(testContext(t), uuid.NewString(), made.ID)
	mustRefuse(t, err, domain.NotFound, made.ID)
	r.stop(s)
	_, err = s.Test(testContext(t), r.client, made.ID)
	require.Error(t, err)
}

// One event, once more, outside of the order.
func TestResend(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	to := newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 3 {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	s := r.start(webhooks.Config{})
	w := r.subscribe(s, to.URL, "ALL")
	ids := r.publishMany(3)
	to.awaitEvents(3)
	r.awaitSettled(w.ID)
	n := len(to.requests())
	for n < 2 { // so that the next is the third
		ids = append(ids, r.publish(domain.PublishedAccountClosed))
		to.await(n + 1)
		r.awaitSettled(w.ID)
		n = len(to.requests())
	}
	res, err := s.Resend(testContext(t), r.client, w.ID, ids[1])
	require.NoError(t, err)
	require.Equal(t, "status", res.Failure)
	res, err = s.Resend(testContext(t), r.client, w.ID, ids[1])
	require.NoError(t, err)
	require.Empty(t, res.Failure)
	got := to.requests()
	require.Equal(t, []string{ids[1], ids[1]}, events(got[2:]))
	require.Equal(t, got[2].body, got[3].body)
	all, _ := r.attempts(s, w.ID, webhooks.AttemptFilter{EventID: ids[1]}, domain.Page{})
	require.Len(t, all, 3)
	require.Equal(t, []bool{true, true, false}, []bool{all[0].Resent, all[1].Resent, all[2].Resent})
	require.Equal(t, webhooks.AttemptFailed, all[1].Outcome)
	_, err = s.Resend(testContext(t), r.client, w.ID, uuid.NewString())
	mustRefuse(t, err, domain.Invalid, "event: there is no event")
}

// Only what the subscription gets by itself can be resent to it.
func TestResendRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
	before := r.publish(domain.PublishedAccountClosed)
	w := r.subscribe(s, to.URL, "ALL", "WEBHOOK")
	w = r.update(s, w.ID, func(w *domain.Webhook) { w.ExcludeType = []domain.WebhookFamily{"ORDER"} })
	own := r.publishAs(domain.PublishedWebhookFailing, w.ID)
	another := r.publishAs(domain.PublishedWebhookFailing, uuid.NewString())
	for id, detail := range map[string]string{
		before:                       "event: the event " + before + " is from before the webhook was created",
		own:                          "event: the event " + own + " is about the webhook itself",
		r.publish("ORDER.NEW"):       "is of the type ORDER.NEW, which the webhook does not get",
		r.publish("CLOSURE.STALLED"): "is of the type CLOSURE.STALLED, which the webhook does not get",
	} {
		_, err := s.Resend(testContext(t), r.client, w.ID, id)
		mustRefuse(t, err, domain.Invalid, detail)
	}
	_, err := s.Resend(testContext(t), r.client, w.ID, another)
	require.NoError(t, err)
	got := to.awaitUntil("the event, twice", func(_, events int) bool { return events == 2 })
	require.Equal(t, []string{another, another}, events(got), "once by itself, and once resent")
}

// What may be subscribed is the sender's word.
func TestTheSenderSaysWhatMayBeSubscribed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start(webhooks.Config{Sender: endpoint.New(endpoint.Config{})})
	for _, url := range []string{"http://hooks.example.com/", "https://127.0.0.1/", "https://localhost/"} {
		_, err := s.Create(testContext(t), r.client, hook(url, "ALL"))
		mustRefuse(t, err, domain.Invalid, "url: must ")
	}
	w := r.subscribe(s, "https://hooks.example.com/", "ALL")
	_, err := s.Update(testContext(t), r.client, w.ID, func(w domain.Webhook) (domain.Webhook, error) {
		w.URL = "http://hooks.example.com/"
		return w, nil
	})
	mustRefuse(t, err, domain.Invalid, "url: must be ")
}
