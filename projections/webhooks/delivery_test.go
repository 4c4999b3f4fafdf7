package webhooks_test

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/projections/webhooks"
)

func TestDeliveryCarriesTheEventByteForByte(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
	w := r.subscribe(s, to.URL+"/hooks?key=s3cret", "ACCOUNT")

	object := `{ "name": "<Ä & B>",  "quantity": 1.50, "n": 123456789012345678901234567890 }`
	id := r.publishFor(r.client, domain.PublishedAccountClosed, object)

	got := to.await(1)[0]
	require.Equal(t, `{"payload":[{"id":"`+id+`","created_at":"`+eventTime+`","type":"ACCOUNT.CLOSED","object":`+object+
		`,"webhook_id":"`+w.ID+`"}]}`, string(got.body))
	require.Equal(t, http.MethodPost, got.method)
	require.Equal(t, "/hooks", got.path)
	require.Equal(t, "application/json", got.header.Get("content-type"))
	require.Regexp(t, `^closure/\S+$`, got.header.Get("user-agent"))
	require.Equal(t, fmt.Sprint(len(got.body)), got.header.Get("content-length"))
	r.awaitSettled(w.ID)
	all := to.requests()
	require.Len(t, all, 1)
}

func TestOrderIsKeptOverFailures(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	to := newReceiver(t, func(n int, w http.ResponseWriter, q *http.Request) {
		switch n {
		case 1:
			w.WriteHeader(http.StatusInternalServerError)
		case 2:
			http.Redirect(w, q, "/elsewhere", http.StatusMovedPermanently)
		case 3:
			hang(q)
		case 4:
			reset(t, w)
		case 5:
			w.WriteHeader(http.StatusTooManyRequests)
		case 6, 8:
			http.Redirect(w, q, "/elsewhere", http.StatusTemporaryRedirect)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	})
	var tried attempts
	var log logged
	s := r.start(webhooks.Config{Backoff: tried.backoff, RequestTimeout: 300 * time.Millisecond, Logger: log.logger()})
	w := r.subscribe(s, to.URL+"/secret/path?key=s3cret", "ALL")
	ids := r.publishMany(1)
	to.await(1)
	ids = append(ids, r.publishMany(2)...)

	to.await(9)
	r.awaitSettled(w.ID)
	got := to.requests()
	for i, q := range got {
		require.Equal(t, "/secret/path", q.path, "redirects are not followed")
		switch {
		case i < 6:
			require.Equal(t, got[0].body, q.body, "the same package until it is taken")
		case i == 8:
			require.Equal(t, got[7].body, q.body)
		}
	}
	require.Equal(t, ids, slices.Concat(events(got[6:7]), events(got[8:])), "nothing comes twice that was taken")
	require.Equal(t, []int{1, 2, 3, 4, 5, 6, 1}, tried.seen())

	var failures []string
	for i, line := range log.lines(t, "an attempt has failed") {
		failures = append(failures, fmt.Sprint(line["failure"]))
		require.Equal(t, w.ID, line["webhook"])
		require.Equal(t, "INFO", line["level"])
		require.EqualValues(t, tried.seen()[i], line["attempt"])
		require.Equal(t, got[min(i, 6)+max(0, i-5)].ids[0], line["event"])
	}
	require.Equal(t, []string{"status 500", "redirect 301", "timeout", "reset", "status 429", "redirect 307", "redirect 307"}, failures)
	require.NotContains(t, log.String(), "s3cret")
	require.NotContains(t, log.String(), "secret")
}

func TestFailuresWithoutAnAnswerAreNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of us
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	refusing := closed.Addr().String()
	require.NoError(t, closed.Close())

	for url, want := range map[string]string{
		"http://" + refusing + "/":        "refused",
		"http://nowhere.invalid./?k=s3cr": "unknown_host",
		untrusted.URL:                     "tls",
	} {
		t.Run(want, func(t *testing.T) {
			var seen logged
			failed := make(chan struct{}, 1)
			s := r.start(webhooks.Config{Logger: seen.logger(), Backoff: func(int) time.Duration {
				select {
				case failed <- struct{}{}:
				default:
				}
				return time.Hour
			}})
			w := r.subscribe(s, url, "ACCOUNT")
			r.publish(domain.PublishedAccountClosed)
			receive(t, failed, "failure")
			r.stop(s)
			lines := seen.lines(t, "an attempt has failed")
			require.Len(t, lines, 1)
			require.Equal(t, want, lines[0]["failure"])
			require.NotContains(t, seen.String(), "s3cr")
			// The next run has a service of its own, which would go on with this one.
			again := r.start(webhooks.Config{})
			require.NoError(t, again.Delete(testContext(t), r.client, w.ID))
			r.stop(again)
		})
	}
}

func TestAHungReceiverDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	release := make(chan struct{})
	hung := newReceiver(t, func(_ int, _ http.ResponseWriter, q *http.Request) {
		select {
		case <-release:
		case <-q.Context().Done():
		}
	})
	prompt := newReceiver(t, nil)
	s := r.start(webhooks.Config{RequestTimeout: patience})
	slow := r.subscribe(s, hung.URL, "ALL")
	r.subscribe(s, prompt.URL, "ALL")
	ids := r.publishMany(20)

	hung.await(1)
	require.Equal(t, ids, events(prompt.awaitEvents(20)))
	got := hung.requests()
	require.Len(t, got, 1, "the later ones wait for the first")
	close(release)
	require.Equal(t, ids, events(hung.awaitEvents(20)))
	r.awaitSettled(slow.ID)
}

func TestOnlyTheFamiliesOfTheSubscription(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.start(webhooks.Config{})
	types := []string{
		"ACCOUNT.CLOSED", "ACCOUNT_GROUP.CLOSED", "ACCOUNT_LIQUIDATION.NEW", "ORDER.NEW", "REPORT.CREATED", "USER.OFFBOARDED",
		"CLOSURE.STALLED", "COMMAND.REJECTED", "WEBHOOK.FAILING",
	}
	public := types[:6]
	cases := []struct {
		name    string
		of      []domain.WebhookFamily
		exclude []domain.WebhookFamily
		want    []string
	}{
		{"one", []domain.WebhookFamily{"ACCOUNT"}, nil, []string{"ACCOUNT.CLOSED"}},
		{"some, one of them twice", []domain.WebhookFamily{"ORDER", "ACCOUNT_GROUP", "ORDER"}, nil, []string{"ACCOUNT_GROUP.CLOSED", "ORDER.NEW"}},
		{"all of the public ones", []domain.WebhookFamily{"ALL"}, nil, public},
		{"all but some", []domain.WebhookFamily{"ALL"}, []domain.WebhookFamily{"ACCOUNT", "USER"}, public[1:5]},
		{"an operators' one by name", []domain.WebhookFamily{"COMMAND"}, nil, []string{"COMMAND.REJECTED"}},
		{"all and the operators'", []domain.WebhookFamily{"CLOSURE", "ALL", "COMMAND", "WEBHOOK", "ACCOUNT"}, nil, types},
	}
	to := make([]*receiver, len(cases))
	hooks := make([]domain.Webhook, len(cases))
	for i, c := range cases {
		to[i] = newReceiver(t, nil)
		w := hook(to[i].URL, c.of...)
		w.ExcludeType = c.exclude
		var err error
		hooks[i], err = s.Create(testContext(t), r.client, w)
		require.NoError(t, err)
	}
	// Each comes first for others: another client, and nobody at all. What came wrongly in the first round would stand
	// before what comes rightly in the second.
	ids := map[string][]string{}
	for range 2 {
		for _, eventType := range types {
			r.publishFor(uuid.NewString(), eventType, `{}`)
			r.publishFor("", eventType, `{}`)
			ids[eventType] = append(ids[eventType], r.publish(eventType))
		}
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var want []string
			for round := range 2 {
				for _, eventType := range c.want {
					want = append(want, ids[eventType][round])
				}
			}
			got := to[i].awaitEvents(len(want))
			require.Equal(t, want, events(got))
			for _, q := range got {
				require.Equal(t, hooks[i].ID, q.webhook)
			}
		})
	}
}

func TestTheStatusIsTheAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	to := newReceiver(t, func(n int, w http.ResponseWriter, q *http.Request) {
		if n > 1 {
			return
		}
		// An answer without end: only its beginning is read.
		for chunk := []byte(strings.Repeat("x", 32<<10)); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	var tried attempts
	s := r.start(webhooks.Config{Backoff: tried.backoff, RequestTimeout: patience})
	w := r.subscribe(s, to.URL, "ALL")
	ids := r.publishMany(2)
	require.Equal(t, ids, events(to.awaitEvents(2)))
	r.awaitSettled(w.ID)
	require.Empty(t, tried.seen())
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	to := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("thank you ", 1000)))
	})
	s := r.start(webhooks.Config{})
	r.subscribe(s, to.URL, "ALL")
	from := map[string]bool{}
	for n := range 4 {
		r.publish(domain.PublishedAccountClosed)
		for _, q := range to.await(n + 1) {
			from[q.remote] = true
		}
	}
	require.Len(t, from, 1)
}

func TestWhatNoEngineHasWrittenIsPassedOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	to := newReceiver(t, nil)
	var log logged
	s := r.start(webhooks.Config{Logger: log.logger()})
	w := r.subscribe(s, to.URL, "ALL")
	subject := eventstore.EventSubject(r.client, domain.PublishedAccountClosed, uuid.NewString())
	_, err := r.log.JetStream().Publish(testContext(t), subject, []byte(`{}`))
	require.NoError(t, err)
	broken := nats.NewMsg(subject)
	broken.Data = []byte(`{"id":`)
	broken.Header = nats.Header{"ce-id": {"1"}, "ce-time": {eventTime}, "ce-type": {"ACCOUNT.CLOSED"}}
	_, err = r.log.JetStream().PublishMsg(testContext(t), broken)
	require.NoError(t, err)
	id := r.publish(domain.PublishedAccountClosed)
	require.Equal(t, []string{id}, events(to.awaitEvents(1)))
	r.awaitSettled(w.ID)
	require.Len(t, log.lines(t, "passing over"), 2)
}
