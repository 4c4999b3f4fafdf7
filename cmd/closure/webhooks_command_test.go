package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore/embedded/embeddedtest"
	"closure/handlers/httpapi"
)

// cli runs a webhooks command in the name of the client.
func (h *hooked) cli(want int, args ...string) (stdout, stderr string) {
	h.t.Helper()
	args = append([]string{"webhooks"}, args...)
	code, stdout, stderr := once(h.t, "", append(args, "--url", h.base, "--client-id", h.client, "--token", h.token)...)
	require.Equal(h.t, want, code, stdout+stderr)
	return stdout, stderr
}

func TestWebhooksCommands(t *testing.T) {
	t.Parallel()
	h, w := newHooked(t), newWitness(t)
	out, _ := h.cli(exitDone, "list")
	require.Equal(t, "0 of 0\n", out)
	hook := h.subscribe(w.URL)

	out, _ = h.cli(exitDone, "list")
	require.Regexp(t, `^ID +TITLE +STATE +ORDER +TYPE +URL\n`+hook.ID+`  hooks & more  enabled  strict  ALL,-ORDER  `+w.URL+`\n1 of 1\n$`, out)
	out, _ = h.cli(exitDone, "list", "--json")
	var listed domain.Webhook
	require.NoError(t, json.Unmarshal([]byte(out), &listed), out)
	require.Equal(t, hook.ID, listed.ID)
	require.Equal(t, 1, strings.Count(out, "\n"))

	h.openAccount(h.openGroup().ID)
	_, event := w.next("ACCOUNT.CREATED")
	h.attempts(hook.ID, "?event="+event.ID, 1)
	out, _ = h.cli(exitDone, "attempts", hook.ID, "--event", strings.ToUpper(event.ID), "--outcome", "succeeded")
	require.Regexp(t, `^TIME +OUTCOME +STATUS +MS +ATTEMPT +EVENTS +FAILURE\n\d{4}-\d\d-\d\dT\S+Z +succeeded +200 +\d+ +1 +ACCOUNT[._A-Z]+ [0-9a-f-]{36}( and \d+ more)? *\n1 of 1\n$`, out)
	out, _ = h.cli(exitDone, "attempts", hook.ID, "--outcome", "failed")
	require.Equal(t, "0 of 0\n", out)
	out, _ = h.cli(exitDone, "attempts", hook.ID, "--json", "--limit", "1")
	var attempt httpapi.WebhookAttempt
	require.NoError(t, json.Unmarshal([]byte(out), &attempt), out)
	require.Equal(t, hook.ID, attempt.WebhookID)

	out, _ = h.cli(exitDone, "replay", hook.ID, "--from", event.ID)
	require.Equal(t, "accepted: the events of webhook "+hook.ID+" come again from "+event.ID+" on\n", out)
	_, again := w.next("ACCOUNT.CREATED")
	require.Equal(t, event.ID, again.ID)
	out, _ = h.cli(exitDone, "replay", hook.ID, "--from", time.Now().Add(-time.Hour).Format(time.RFC3339), "--json")
	require.Contains(t, out, `"result":"accepted"`)
	w.next("ACCOUNT.CREATED")

	out, _ = h.cli(exitDone, "test", hook.ID)
	require.Regexp(t, `^`+w.URL+`: 200 OK, after \d+ ms\n  Content-Length: 9\n  Content-Type: text/plain\n  Date: .*\n  X-Twice: a, b\n\n  seen\x{FFFD}\[2J\n$`, out)
	require.NotContains(t, out, "\x1b", "an endpoint cannot command the terminal")
	out, _ = h.cli(exitDone, "resend", hook.ID, event.ID, "--json")
	var answer httpapi.WebhookAnswer
	require.NoError(t, json.Unmarshal([]byte(out), &answer), out)
	require.Equal(t, "a, b", answer.Response.Headers["X-Twice"])

	out, _ = h.cli(exitDone, "rotate-secret", hook.ID)
	require.Regexp(t, `^whsec_\S+\nIt is not shown again; the one before signs as well until \S+Z\.\n$`, out)
	out, _ = h.cli(exitDone, "rotate-secret", hook.ID, "--overlap", "0s")
	require.Contains(t, out, "; the one before has ended.")
	p, _ := w.next(domain.PublishedWebhookTest)
	require.Error(t, verified(p, lines(out)[0]), "this one was signed before")
	h.cli(exitDone, "test", hook.ID)
	p, _ = w.next(domain.PublishedWebhookTest)
	require.NoError(t, verified(p, lines(out)[0]))
	out, _ = h.cli(exitDone, "rotate-secret", hook.ID, "--json")
	require.Regexp(t, `^\{"secret":"whsec_\S+","previous_valid_until":"\S+Z"\}\n$`, out)
}

// An operator rotates the engine's keys: the running engine signs with the new one, and with the one before as long as it is valid.
func TestWebhooksRotateKeys(t *testing.T) {
	t.Parallel()
	h, w := newHooked(t), newWitness(t)
	hook := h.subscribe(w.URL)
	first, _ := h.publishedKeys()
	require.Len(t, first, 1)
	rotate := func(args ...string) string {
		code, out, stderr := once(t, "", append([]string{"webhooks", "rotate-keys", "--nats-url", h.nats}, args...)...)
		require.Equal(t, exitDone, code, stderr)
		return out
	}
	// keysAre waits until the engine has heard of it.
	keysAre := func(want ...string) {
		require.Eventually(t, func() bool { got, _ := h.publishedKeys(); return slices.Equal(want, got) }, within, 5*time.Millisecond)
		call2[httpapi.WebhookAnswer](h.caller, http.MethodPost, "/webhooks/"+hook.ID+"/test", nil, http.StatusOK)
		p, _ := w.next(domain.PublishedWebhookTest)
		require.NoError(t, verified(p, hook.Secret), "secrets are the subscription's, and stay")
		h.verifyWithKeys(p)
	}
	keysAre(first[0])
	var answer struct {
		Kid, PreviousKid *string
		Until            *time.Time `json:"previous_valid_until"`
	}
	read := func(out string) string {
		answer.Kid, answer.PreviousKid, answer.Until = nil, nil, nil
		require.NoError(t, json.Unmarshal([]byte(strings.ReplaceAll(out, "previous_kid", "PreviousKid")), &answer), out)
		return *answer.Kid
	}
	second := read(rotate("--json", "--overlap", "2h"))
	require.Equal(t, first[0], *answer.PreviousKid)
	require.WithinDuration(t, time.Now().Add(2*time.Hour), *answer.Until, time.Minute)
	keysAre(second, first[0])

	out := rotate()
	got, _ := h.publishedKeys()
	require.Regexp(t, `^the key \S+ signs from now on; the one before, `+second+`, signs as well until \S+Z\n$`, out)
	require.Eventually(t, func() bool { got, _ = h.publishedKeys(); return len(got) == 2 && got[1] == second }, within, 5*time.Millisecond)
	require.Contains(t, out, got[0])
	keysAre(got[0], second)

	out = rotate("--overlap", "0s")
	require.Contains(t, out, "; the one before has ended\n")
	keysAre(strings.Fields(out)[2])
	fourth := strings.Fields(out)[2]
	fifth := read(rotate("--overlap", "0s", "--json"))
	require.Nil(t, answer.PreviousKid)
	require.Nil(t, answer.Until)
	require.NotEqual(t, fourth, fifth)
	keysAre(fifth)

	code, _, stderr := once(t, "", "webhooks", "rotate-keys", "--nats-url", h.nats, "--overlap", "2161h")
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "--overlap: must be 0s to 2160h0m0s")
	code, out, stderr = once(t, "", "webhooks", "rotate-keys", "--nats-url", embeddedtest.Server(t).ClientURL())
	require.Equal(t, exitFailed, code, "a server without an engine's keys stays as it is")
	require.Empty(t, out)
	require.Contains(t, stderr, "there are no keys of an engine on this server")
}

// What goes wrong is an error, and says whose fault it is.
func TestWebhooksCommandsFail(t *testing.T) {
	t.Parallel()
	h, w := newHooked(t), newWitness(t)
	hook := h.subscribe(w.URL)
	w.answerWith(http.StatusInternalServerError)
	out, stderr := h.cli(exitFailed, "test", hook.ID)
	require.Contains(t, out, w.URL+": 500 Internal Server Error, after ")
	require.Contains(t, stderr, "closure: the endpoint failed: status: ")
	w.Close()
	out, stderr = h.cli(exitFailed, "test", hook.ID)
	require.Contains(t, out, w.URL+": no answer, after ")
	require.Contains(t, stderr, "closure: the endpoint failed: refused: ")
	out, _ = h.cli(exitFailed, "test", hook.ID, "--json")
	require.Contains(t, out, `"failure":"refused"`, "what is printed for a program is whole")

	unknown := uuid.NewString()
	for _, args := range [][]string{{"attempts"}, {"test"}, {"rotate-secret"}, {"replay", "--from", "2027-04-06T00:00:00Z"}, {"resend"}} {
		args = append(args, unknown)
		if args[0] == "resend" {
			args = append(args, unknown)
		}
		out, stderr = h.cli(exitFailed, args...)
		require.Empty(t, out)
		require.Contains(t, stderr, "there is no webhook with the id "+unknown)
	}
	_, stderr = h.cli(exitFailed, "resend", hook.ID, unknown)
	require.Contains(t, stderr, "there is no event with the id "+unknown)

	for text, args := range map[string][]string{
		"from: must be a time in RFC 3339":            {"replay", hook.ID, "--from", "yesterday"},
		"missing flags: --from":                       {"replay", hook.ID},
		"overlap: must be a duration from 0s to 168h": {"rotate-secret", hook.ID, "--overlap", "200h"},
		"must be a uuid such as":                      {"test", "seven"},
		`--outcome must be one of`:                    {"attempts", hook.ID, "--outcome", "lost"},
		"limit: must be an integer of 1 to 1000":      {"list", "--limit", "0"},
		`expected "<event>"`:                          {"resend", hook.ID},
	} {
		out, stderr = h.cli(exitUsage, args...)
		require.Empty(t, out)
		require.Contains(t, stderr, text)
	}
}

// The engine is found by a flag or by the environment, and what is no engine is told from one.
func TestWebhooksCommandsElsewhere(t *testing.T) {
	client := uuid.NewString()
	code, _, stderr := once(t, "", "webhooks", "list")
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "--client-id")
	for _, url := range []string{"127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://me:secret@127.0.0.1:1%"} {
		code, _, stderr = once(t, "", "webhooks", "list", "--client-id", client, "--url", url)
		require.Equal(t, exitUsage, code, url)
		require.Contains(t, stderr, "--url: must be http://host:port")
		require.NotContains(t, stderr, "secret")
	}

	var asked []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("upvest-client-id"))
		http.Error(w, "<html>no", http.StatusTeapot)
	}))
	t.Setenv("CLOSURE_URL", other.URL+"/")
	t.Setenv("CLOSURE_CLIENT_ID", strings.ToUpper(client))
	code, _, stderr = once(t, "", "webhooks", "list")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "it answers 418, and not as closure does")
	require.Equal(t, []string{"GET /webhooks?limit=100&offset=0 " + client}, asked)
	other.Close()
	code, _, stderr = once(t, "", "webhooks", "list")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "no answer (is 'closure serve' running there?)")
}
