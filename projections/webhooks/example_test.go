package webhooks_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/projections/webhooks"
)

// takeDeliveries takes deliveries that are signed with the secret. store passes over an event whose id it has already, and returns when it
// has the event for good; what it does not take comes again, and with it what is behind it.
func takeDeliveries(secret string, store func(id, eventType string, object json.RawMessage) error) (http.HandlerFunc, error) {
	webhook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
		if err != nil || webhook.Verify(body, r.Header) != nil { // also when it is older than five minutes
			http.Error(w, "not a delivery for us", http.StatusBadRequest)
			return
		}
		var delivery struct {
			Payload []struct {
				ID, Type string
				Object   json.RawMessage
			}
		}
		if err := json.Unmarshal(body, &delivery); err != nil {
			http.Error(w, "not a delivery", http.StatusBadRequest)
			return
		}
		for _, event := range delivery.Payload {
			if err := store(event.ID, event.Type, event.Object); err != nil {
				http.Error(w, "come again", http.StatusServiceUnavailable)
				return
			}
		}
		w.WriteHeader(http.StatusNoContent)
	}, nil
}

// The receiver of the README: it gets everything once, in order, though its store fails in between; and takes nothing from others.
func TestTheReceiverOfTheReadme(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var mu sync.Mutex
	var handler http.HandlerFunc
	to := newReceiver(t, func(_ int, w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		h := handler
		mu.Unlock()
		h(w, q)
	})
	to.keepBody = true
	s := r.start(webhooks.Config{Signer: r.keys(), Backoff: func(int) time.Duration { return time.Millisecond }})
	made, err := s.CreateWithSecret(testContext(t), r.client, hook(to.URL, "ALL"))
	require.NoError(t, err)
	var stored []string
	fails := 2
	h, err := takeDeliveries(made.Secret.Reveal(), func(id, eventType string, object json.RawMessage) error {
		mu.Lock()
		defer mu.Unlock()
		if len(stored) == 2 && fails > 0 {
			fails--
			return errors.New("our database is away")
		}
		for _, known := range stored {
			if known == id {
				return nil
			}
		}
		require.Equal(t, domain.PublishedAccountClosed, eventType)
		require.True(t, json.Valid(object))
		stored = append(stored, id)
		return nil
	})
	require.NoError(t, err)
	mu.Lock()
	handler = h
	mu.Unlock()
	ids := r.publishMany(6)
	eventually(t, "all events", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(stored) >= len(ids)
	})
	r.awaitSettled(made.ID)
	mu.Lock()
	require.Equal(t, ids, stored)
	require.Zero(t, fails)
	mu.Unlock()

	// A secret of another subscription verifies nothing here.
	other, err := s.CreateWithSecret(testContext(t), r.client, hook(to.URL, "ALL"))
	require.NoError(t, err)
	res, err := s.Test(testContext(t), r.client, other.ID)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, res.Response.Status)
	_, err = takeDeliveries("whsec_?", nil)
	require.Error(t, err)
}
