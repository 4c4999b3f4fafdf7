package webhooks_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/projections/webhooks"
)

func (r *rig) attempts(s *webhooks.Service, id string, filter webhooks.AttemptFilter, page domain.Page) ([]webhooks.Attempt, int) {
	r.t.Helper()
	all, total, err := s.Attempts(testContext(r.t), r.client, id, filter, page)
	require.NoError(r.t, err)
	return all, total
}

// The attempts are what the receiver saw.
func TestAttemptsAgreeWithTheReceiver(t *testing.T) {
	t.Parallel()
	for _, order := range []domain.WebhookOrder{domain.WebhookStrict, domain.WebhookByResource} {
		t.Run(string(order), func(t *testing.T) {
			r := newRig(t)
			to := newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				if n%3 != 0 {
					w.WriteHeader(500 + n%3)
				}
				_, _ = fmt.Fprint(w, "answer ", n, strings.Repeat("\xff", 2000))
			})
			s := r.start(webhooks.Config{})
			w := r.packed(s, to.URL, domain.WebhookConfig{Order: order, MaxPackageSize: 1000})
			ids := r.publishMany(40)
			to.awaitUntil("all", func(int, int) bool { return len(firstOf(events(to.requests()))) == 40 })
			r.awaitSettled(w.ID)
			got := to.requests()
			all, total := r.attempts(s, w.ID, webhooks.AttemptFilter{}, domain.Page{Limit: 1000})
			require.Len(t, all, len(got))
			require.Equal(t, len(got), total)
			slices.Reverse(all) // they come with the newest first
			seen := func(a webhooks.Attempt) string {
				var ids []string
				for _, e := range a.Events {
					require.Equal(t, domain.PublishedAccountClosed, e.Type)
					require.NotZero(t, e.Sequence)
					ids = append(ids, e.ID)
				}
				return fmt.Sprint(a.Bytes, ids)
			}
			var made, came []string
			for i, a := range all {
				require.Equal(t, w.ID, a.WebhookID)
				require.Equal(t, a.Status == 200, a.Outcome == webhooks.AttemptSucceeded)
				require.Equal(t, a.Status == 200, a.Failure == "")
				require.LessOrEqual(t, len(a.Answer), 3*1024)
				require.Contains(t, a.Answer, "answer ")
				made, came = append(made, seen(a)), append(came, fmt.Sprint(len(got[i].body), got[i].ids))
				if order == domain.WebhookStrict {
					require.Equal(t, map[int]int{0: 200, 1: 501, 2: 502}[(i+1)%3], a.Status)
					require.Equal(t, i%3+1, a.Number)
					require.Equal(t, all[i-i%3].MessageID, a.MessageID, "the same for all attempts of the same package")
				}
			}
			require.ElementsMatch(t, came, made)
			if order == domain.WebhookStrict {
				require.Equal(t, came, made)
			}
			failed, _ := r.attempts(s, w.ID, webhooks.AttemptFilter{Outcome: webhooks.AttemptFailed}, domain.Page{Limit: 1000})
			succeeded, _ := r.attempts(s, w.ID, webhooks.AttemptFilter{Outcome: webhooks.AttemptSucceeded}, domain.Page{Limit: 1000})
			require.Equal(t, len(all), len(failed)+len(succeeded))
			of, total := r.attempts(s, w.ID, webhooks.AttemptFilter{EventID: ids[7]}, domain.Page{})
			require.Equal(t, total, len(of))
			require.Equal(t, strings.Count(fmt.Sprint(came), ids[7]), total)
			page, total := r.attempts(s, w.ID, webhooks.AttemptFilter{}, domain.Page{Offset: 3, Limit: 2})
			slices.Reverse(all)
			require.Equal(t, len(all), total)
			require.Equal(t, all[3:5], page)
			page, _ = r.attempts(s, w.ID, webhooks.AttemptFilter{}, domain.Page{Offset: len(all) - 1, Limit: 5})
			require.Equal(t, all[len(all)-1:], page)
		})
	}
}

func TestAttemptsAreTheClientsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, to := r.start(webhooks.Config{}), newReceiver(t, nil)
	w := r.subscribe(s, to.URL, "ALL")
	_, _, err := s.Attempts(testContext(t), uuid.NewString(), w.ID, webhooks.AttemptFilter{}, domain.Page{})
	mustRefuse(t, err, domain.NotFound, w.ID)
	_, _, err = s.Attempts(testContext(t), r.client, w.ID, webhooks.AttemptFilter{Outcome: "lost"}, domain.Page{})
	mustRefuse(t, err, domain.Invalid, "outcome: must be succeeded or failed")
	none, total := r.attempts(s, w.ID, webhooks.AttemptFilter{}, domain.Page{})
	require.Equal(t, []webhooks.Attempt{}, none)
	require.Zero(t, total)
}

func TestAttemptsHaveLimitsOfTheirOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(webhooks.Config{KeepAttempts: 90 * time.Hour})
	stream, err := r.log.JetStream().Stream(testContext(t), webhooks.StreamAttempts)
	require.NoError(t, err)
	cfg := stream.CachedInfo().Config
	require.Equal(t, 90*time.Hour, cfg.MaxAge)
	require.EqualValues(t, 10_000, cfg.MaxMsgsPerSubject)
	require.EqualValues(t, 1<<30, cfg.MaxBytes)
	require.Equal(t, jetstream.FileStorage, cfg.Storage)
}

// The stream of attempts is bounded by age, by number, and by bytes.
func TestAttemptsAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(webhooks.Config{AttemptBytes: 1 << 20})
	js := r.log.JetStream()
	stream, err := js.Stream(testContext(t), webhooks.StreamAttempts)
	require.NoError(t, err)
	require.EqualValues(t, 1<<20, stream.CachedInfo().Config.MaxBytes)
	require.Equal(t, jetstream.DiscardOld, stream.CachedInfo().Config.Discard)
	for range 3000 {
		_, err := js.Publish(testContext(t), "closure.attempt.c."+uuid.NewString()+".failed", make([]byte, 1000))
		require.NoError(t, err)
	}
	info, err := stream.Info(testContext(t))
	require.NoError(t, err)
	require.LessOrEqual(t, info.State.Bytes, uint64(1<<20))
	require.Greater(t, info.State.FirstSeq, uint64(1), "the oldest go first")
	require.EqualValues(t, 3000, info.State.LastSeq)
}

// A server with less storage than the attempts may take keeps fewer of them.
func TestAttemptsFitTheStorage(t *testing.T) {
	t.Parallel()
	opts := natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 100 << 20,
	}
	server, err := natsserver.NewServer(&opts)
	require.NoError(t, err)
	server.Start()
	t.Cleanup(func() { server.Shutdown(); server.WaitForShutdown() })
	require.True(t, server.ReadyForConnections(patience))
	r := newRigOn(t, server.ClientURL(), 1)
	var log logged
	s, to := r.start(webhooks.Config{Logger: log.logger()}), newReceiver(t, nil)
	stream, err := r.log.JetStream().Stream(testContext(t), webhooks.StreamAttempts)
	require.NoError(t, err)
	require.EqualValues(t, 64<<20, stream.CachedInfo().Config.MaxBytes)
	require.Len(t, log.lines(t, "less storage"), 4, "512, 256, 128, 64 MiB")
	w := r.subscribe(s, to.URL, "ALL")
	r.publish(domain.PublishedAccountClosed)
	to.awaitEvents(1)
	r.awaitSettled(w.ID)
}

// When attempts cannot be kept the deliveries go on.
func TestDeliveriesDoNotWaitForEverForTheirAttempts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var log logged
	s, to := r.start(webhooks.Config{Logger: log.logger()}), newReceiver(t, nil)
	w := r.subscribe(s, to.URL, "ALL")
	require.NoError(t, r.log.JetStream().DeleteStream(testContext(t), webhooks.StreamAttempts))
	ids := r.publishMany(1)
	to.await(1)
	ids = append(ids, r.publishMany(3)...)
	require.Equal(t, ids, events(to.awaitEvents(4)))
	r.awaitSettled(w.ID)
	require.NotEmpty(t, log.lines(t, "could not be kept"))
}
