package main

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/handlers/httpapi"
	// client_test.go has an endpoint of its own.
	webhookendpoint "closure/projections/webhooks/endpoint"
)

// The life of a webhook, as a client and its endpoint see it.
func TestWebhookStory(t *testing.T) {
	t.Parallel()
	h, w := newHooked(t), newWitness(t)
	hook := h.subscribe(w.URL)
	path := "/webhooks/" + hook.ID
	require.NotEmpty(t, hook.Secret)
	for _, p := range []string{path, "/webhooks"} {
		_, _, body := h.do(http.MethodGet, p, "", nil)
		require.Contains(t, string(body), hook.ID)
		require.NotContains(t, string(body), "secret")
	}

	group := h.openGroup()
	_, opened := w.next("ACCOUNT_GROUP.CREATED")
	account := h.openAccount(group.ID)
	p, event := w.next("ACCOUNT.CREATED")
	require.Equal(t, account.ID, event.resource())
	require.Equal(t, hook.ID, event.WebhookID)
	require.NoError(t, verified(p, hook.Secret))
	h.verifyWithKeys(p)

	all := h.attempts(hook.ID, "?event="+event.ID, 1).Data
	require.Equal(t, httpapi.AttemptSucceeded, all[0].Outcome)
	require.Equal(t, []any{200, len(p.body), p.header.Get("webhook-id")}, []any{all[0].Status, all[0].Bytes, all[0].MessageID})

	shown := get[struct{ Delivery httpapi.WebhookDelivery }](h.caller, path)
	require.NotNil(t, shown.Delivery.LastDeliveredAt)
	require.WithinDuration(t, time.Now(), *shown.Delivery.LastDeliveredAt, within)
	require.Nil(t, shown.Delivery.FailingSince)

	// From the first event on everything comes again, with its ids.
	status, _, body := h.do(http.MethodPost, path+"/replay", "", map[string]string{"from": opened.ID})
	require.Equal(t, http.StatusAccepted, status, string(body))
	require.Empty(t, body)
	p, again := w.next("ACCOUNT_GROUP.CREATED")
	require.Equal(t, opened.ID, again.ID)
	if _, came := find(p, event.ID); !came {
		_, again = w.next("ACCOUNT.CREATED")
		require.Equal(t, event.ID, again.ID)
	}

	// One of them comes alone.
	answer := call2[httpapi.WebhookAnswer](h.caller, http.MethodPost, path+"/events/"+event.ID+"/resend", nil, http.StatusOK)
	require.Equal(t, 200, answer.Response.Status)
	p, _ = w.next("ACCOUNT.CREATED")
	require.Equal(t, []string{"ACCOUNT.CREATED"}, p.types())
	require.NoError(t, verified(p, hook.Secret))
	require.True(t, h.attempts(hook.ID, "", 3).Data[0].Resent, "the newest first")

	h.rotateStory(w, hook)
	h.failStory(w, hook, event.ID)

	status, _, body = h.do(http.MethodDelete, path, "", nil)
	require.Equal(t, http.StatusNoContent, status, string(body))
	for _, rest := range []string{"", "/attempts"} {
		status, _, _ = h.do(http.MethodGet, path+rest, "", nil)
		require.Equal(t, http.StatusNotFound, status)
	}
	require.NotContains(t, h.logs.String(), "whsec_")
}

func find(p posted, eventID string) (delivery, bool) {
	for _, e := range p.events {
		if e.ID == eventID {
			return e, true
		}
	}
	return delivery{}, false
}

// rotateStory: for the overlap both secrets verify, and then the new one alone.
func (h *hooked) rotateStory(w *witness, hook createdHook) {
	h.t.Helper()
	type rotated struct {
		Secret string
		Until  *time.Time `json:"previous_valid_until"`
	}
	before := time.Now()
	second := call2[rotated](h.caller, http.MethodPost, "/webhooks/"+hook.ID+"/rotate_secret", map[string]string{"overlap": "1h"}, http.StatusOK)
	require.WithinRange(h.t, *second.Until, before.Add(time.Hour), time.Now().Add(time.Hour))
	answer := call2[httpapi.WebhookAnswer](h.caller, http.MethodPost, "/webhooks/"+hook.ID+"/test", nil, http.StatusOK)
	require.Equal(h.t, httpapi.WebhookAnswer{
		URL: w.URL, Duration: answer.Duration,
		Response: &httpapi.WebhookResponse{Status: 200, Body: "seen\x1b[2J\n", Headers: map[string]string{
			"Content-Type": "text/plain", "X-Twice": "a, b", "Content-Length": "9", "Date": answer.Response.Headers["Date"],
		}},
	}, answer)
	p, event := w.next(domain.PublishedWebhookTest)
	require.Equal(h.t, hook.ID, event.resource(), "the object is the subscription")
	require.NotContains(h.t, string(p.body), "secret")
	require.NoError(h.t, verified(p, hook.Secret))
	require.NoError(h.t, verified(p, second.Secret))

	third := call2[rotated](h.caller, http.MethodPost, "/webhooks/"+hook.ID+"/rotate_secret", map[string]string{"overlap": "0s"}, http.StatusOK)
	require.Nil(h.t, third.Until)
	call2[httpapi.WebhookAnswer](h.caller, http.MethodPost, "/webhooks/"+hook.ID+"/test", nil, http.StatusOK)
	p, _ = w.next(domain.PublishedWebhookTest)
	require.NoError(h.t, verified(p, third.Secret))
	require.Error(h.t, verified(p, second.Secret))
	require.Error(h.t, verified(p, hook.Secret))

	status, _, body := h.do(http.MethodPost, "/webhooks/"+hook.ID+"/rotate_secret", "", map[string]string{"overlap": "169h"})
	require.Equal(h.t, http.StatusBadRequest, status)
	require.Contains(h.t, string(body), "overlap: must be a duration from 0s to 168h")
}

// failStory: a failure is part of the answer, and another client learns nothing.
func (h *hooked) failStory(w *witness, hook createdHook, eventID string) {
	h.t.Helper()
	path := "/webhooks/" + hook.ID
	w.answerWith(http.StatusTeapot)
	answer := call2[httpapi.WebhookAnswer](h.caller, http.MethodPost, path+"/events/"+eventID+"/resend", nil, http.StatusOK)
	require.Equal(h.t, []any{string(webhookendpoint.Status), 418}, []any{answer.Failure, answer.Response.Status})
	failed := h.attempts(hook.ID, "?outcome=failed", 1).Data[0]
	require.Equal(h.t, []any{"status", 418, "seen\x1b[2J\n"}, []any{failed.Failure, failed.Status, failed.Answer})
	w.Close()
	answer = call2[httpapi.WebhookAnswer](h.caller, http.MethodPost, path+"/test", nil, http.StatusOK)
	require.Equal(h.t, string(webhookendpoint.Refused), answer.Failure)
	require.Nil(h.t, answer.Response)

	unknown := uuid.NewString()
	for _, c := range []struct {
		call, body string
		status     int
		says       string
	}{
		{"/events/" + unknown + "/resend", "", 404, "there is no event with the id " + unknown},
		{"/replay", `{"from":"` + unknown + `"}`, 400, "from: there is no event with the id " + unknown},
	} {
		var in any
		if c.body != "" {
			in = json.RawMessage(c.body)
		}
		status, _, body := h.do(http.MethodPost, path+c.call, "", in)
		require.Equal(h.t, c.status, status, string(body))
		require.Contains(h.t, string(body), c.says)
		stranger := addresses{HTTP: h.base, NATS: h.nats}.caller(h.t, uuid.NewString())
		status, _, body = stranger.do(http.MethodPost, path+strings.ReplaceAll(c.call, unknown, eventID), "", in)
		require.Equal(h.t, http.StatusNotFound, status, string(body))
		require.Contains(h.t, string(body), "there is no webhook with the id "+hook.ID)
	}
}

// The document names every class of failure, and each once.
func TestFailuresAreDocumented(t *testing.T) {
	for _, v := range []any{httpapi.WebhookAttempt{}, httpapi.WebhookAnswer{}} {
		field, ok := reflect.TypeOf(v).FieldByName("Failure")
		require.True(t, ok)
		var classes []webhookendpoint.Failure
		for class := range strings.SplitSeq(field.Tag.Get("enum"), ",") {
			classes = append(classes, webhookendpoint.Failure(class))
		}
		require.ElementsMatch(t, webhookendpoint.Failures(), classes, "%T", v)
	}
}
