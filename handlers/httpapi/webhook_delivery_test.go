package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
)

// newHook makes a subscription and gives its path.
func (s *service) newHook() (path, id string) {
	s.t.Helper()
	w := decode[createdWebhook](s.t, s.do("POST", "/webhooks", hookBody), http.StatusCreated)
	return "/webhooks/" + w.ID, w.ID
}

// Delivery: there is an event that waits for each attempt that is known.
func (m *memoryWebhooks) Delivery(_ context.Context, clientID, id string) (WebhookDelivery, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.at(clientID, id)
	d := WebhookDelivery{Waiting: uint64(len(m.attempts))}
	if len(m.attempts) > 0 {
		d.FailingSince, d.FailedAttempts, d.LastFailure = &exampleOpened, len(m.attempts), "status 503"
	}
	return d, err
}

// One subscription shows how its deliveries go.
func TestWebhookShowsItsDeliveries(t *testing.T) {
	s := start(t)
	path, _ := s.newHook()
	raw := string(s.do("GET", path, "").body)
	require.Contains(t, raw, `"delivery":{"waiting":0,"last_delivered_at":null,"failing_since":null,"failed_attempts":0,"next_attempt_at":null}`)
	s.webhooks.attempts = []WebhookAttempt{exampleAttempt, exampleAttempt}
	got := decode[shownWebhook](t, s.do("GET", path, ""), http.StatusOK)
	require.Equal(t, &WebhookDelivery{Waiting: 2, FailingSince: &exampleOpened, FailedAttempts: 2, LastFailure: "status 503"}, got.Delivery)
	for _, other := range []answer{s.do("GET", "/webhooks", ""), s.do("PATCH", path, `{}`), s.do("PATCH", path, `{"title":"x"}`)} {
		require.NotContains(t, string(other.body), `"delivery"`, "it costs a few questions to the server")
	}

	// That it cannot be told keeps nothing back.
	blind := start(t, func(cfg *Config) { cfg.Webhooks = blindfolded{cfg.Webhooks.(*memoryWebhooks)} })
	path, _ = blind.newHook()
	require.NotContains(t, string(blind.do("GET", path, "").body), `"delivery"`)
	require.Contains(t, blind.logged.String(), "dial 10.1.2.3")
}

// blindfolded cannot tell how deliveries go at the moment.
type blindfolded struct{ *memoryWebhooks }

func (blindfolded) Delivery(context.Context, string, string) (WebhookDelivery, error) {
	return WebhookDelivery{}, errors.Join(eventstore.ErrUnavailable, errors.New("dial 10.1.2.3"))
}

func TestListAttempts(t *testing.T) {
	s := start(t)
	path, id := s.newHook()
	require.Contains(t, string(s.do("GET", path+"/attempts", "").body), `"data":[]`)

	failed, succeeded, another := exampleAttempt, exampleAttempt, exampleAttempt
	failed.WebhookID, succeeded.WebhookID, another.WebhookID = id, id, uuid.NewString()
	succeeded.Outcome, succeeded.Failure, succeeded.Detail, succeeded.Status, succeeded.Resent = AttemptSucceeded, "", "", 204, true
	succeeded.Events = []AttemptEvent{{ID: zoe, Type: "ACCOUNT.CLOSED", Sequence: 7}}
	s.webhooks.attempts = []WebhookAttempt{another, succeeded, failed, failed}
	get := func(query string) list[WebhookAttempt] {
		t.Helper()
		return decode[list[WebhookAttempt]](t, s.do("GET", path+"/attempts"+query, ""), http.StatusOK)
	}
	all := get("")
	require.Equal(t, meta{Limit: 100, Count: 3, TotalCount: 3, Sort: "time", Order: "DESC"}, all.Meta)
	require.Equal(t, []WebhookAttempt{succeeded, failed, failed}, all.Data)
	require.Equal(t, meta{Offset: 1, Limit: 1, Count: 1, TotalCount: 3, Sort: "time", Order: "DESC"}, get("?offset=1&limit=1").Meta)
	require.Equal(t, []WebhookAttempt{succeeded}, get("?outcome=succeeded").Data)
	require.Len(t, get("?outcome=failed").Data, 2)
	require.Len(t, get("?outcome=failed&event="+exampleEvent).Data, 2)
	require.Equal(t, []WebhookAttempt{succeeded}, get("?event="+strings.ToUpper(zoe)).Data, "an id counts in every spelling")

	// What did not happen is not there.
	raw := string(s.do("GET", path+"/attempts?outcome=succeeded", "").body)
	require.NotContains(t, raw, "failure")
	require.NotContains(t, raw, "answer")
	raw = string(s.do("GET", path+"/attempts?outcome=failed", "").body)
	require.NotContains(t, raw, "status")
	require.NotContains(t, raw, "resent")

	for query, text := range map[string]string{
		"outcome=lost": `outcome: must be one of succeeded, failed, got "lost"`,
		"event=7":      `event: must be a uuid such as `,
		"limit=0":      "limit: must be an integer of 1 to 1000",
		"order=ASC":    "order: is not a query parameter of this call",
	} {
		s.refused(call{method: "GET", path: path + "/attempts?" + query}, invalidRequest, text)
	}
}

func TestTryWebhook(t *testing.T) {
	s := start(t)
	path, _ := s.newHook()
	for name, answer := range map[string]WebhookAnswer{
		"answered": exampleAnswer,
		"refused": {
			URL: exampleAnswer.URL, Failure: "status", Detail: "the endpoint answered 500", Duration: 3,
			Response: &WebhookResponse{Status: 500, Headers: map[string]string{}},
		},
		"silent": {URL: exampleAnswer.URL, Failure: "refused", Detail: "nothing listens"},
	} {
		t.Run(name, func(t *testing.T) {
			s.webhooks.answer = answer
			for _, call := range []string{"/test", "/events/" + exampleEvent + "/resend"} {
				a := s.in(t).do("POST", path+call, "")
				require.Equal(t, answer, decode[WebhookAnswer](t, a, http.StatusOK))
				require.Equal(t, answer.Response != nil, strings.Contains(string(a.body), `"response"`))
				require.Equal(t, answer.Failure != "", strings.Contains(string(a.body), `"failure"`))
			}
		})
	}
	s.refused(call{method: "POST", path: path + "/test", body: `{}`}, invalidRequest, "body: must be empty")
	// An event of the path that is not there is not found.
	unknown := uuid.NewString()
	require.Equal(t, "there is no event with the id "+unknown,
		s.refused(call{method: "POST", path: path + "/events/" + unknown + "/resend"}, notFound).problem(t).Detail)
	s.refused(call{method: "POST", path: path + "/events/7/resend"}, notFound, `there is no event with the id "7": an id is a uuid`)
	require.Equal(t, http.StatusOK, s.do("POST", path+"/events/"+strings.ToUpper(exampleEvent)+"/resend", "").status)
}

func TestReplayWebhook(t *testing.T) {
	s := start(t)
	path, _ := s.newHook()
	for _, from := range []string{"2027-04-06T00:00:00Z", "2027-04-06T02:00:00.25+02:00", "0001-01-01T00:00:00Z", exampleEvent, strings.ToUpper(exampleEvent)} {
		a := s.do("POST", path+"/replay", `{"from": "`+from+`"}`)
		require.Equal(t, http.StatusAccepted, a.status, "%s", a.body)
		require.Empty(t, a.body)
	}
	at := time.Date(2027, 4, 6, 0, 0, 0, 0, time.UTC)
	require.Equal(t, []ReplayFrom{
		{Time: at}, {Time: at.Add(250 * time.Millisecond)}, {Time: time.Unix(0, 0).UTC()}, {EventID: exampleEvent}, {EventID: exampleEvent},
	}, s.webhooks.replays)

	unknown := uuid.NewString()
	for body, text := range map[string]string{
		`{}`:                          "from: is missing; it must be a string of 1 to 100 characters",
		`{"from": ""}`:                "from: must be a string of 1 to 100 characters",
		`{"from": "yesterday"}`:       `from: must be a time in RFC 3339 such as 2027-04-06T00:00:00Z, or the id of an event, got "yesterday"`,
		`{"from": "2027-04-06"}`:      "from: must be a time in RFC 3339",
		`{"from": 7}`:                 "from: must be a string of 1 to 100 characters, got 7",
		`{"from": "` + unknown + `"}`: "from: there is no event with the id " + unknown,
		`{"to": "x", "from": "y"}`:    "to: is not a member here; there are from",
	} {
		s.refused(call{method: "POST", path: path + "/replay", body: body}, invalidRequest, text)
	}
}

// Looking through millions of events may take longer than other calls may; and a client that has gone away ends it.
func TestSearchesArePatient(t *testing.T) {
	s := start(t, func(cfg *Config) { cfg.Timeout = 50 * time.Millisecond })
	path, _ := s.newHook()
	gone := make(chan error, 3)
	for _, c := range []call{
		{method: "GET", path: path + "/attempts"},
		{method: "POST", path: path + "/replay", body: `{"from": "` + exampleEvent + `"}`},
		{method: "POST", path: path + "/events/" + exampleEvent + "/resend"},
	} {
		deadline := time.Time{}
		s.webhooks.hook = func(ctx context.Context) error {
			deadline, _ = ctx.Deadline()
			<-time.After(time.Until(deadline.Add(-searchWithin + 100*time.Millisecond))) // the request's own time is over
			return ctx.Err()
		}
		require.Less(t, s.send(c).status, 300, c.path)
		require.Less(t, time.Until(deadline), writeTimeout, "the answer gets out")

		ctx, cancel := context.WithCancel(context.Background())
		s.webhooks.hook = func(ctx context.Context) error {
			cancel()
			<-ctx.Done()
			gone <- ctx.Err()
			return ctx.Err()
		}
		r, err := http.NewRequestWithContext(ctx, c.method, s.url+c.path, strings.NewReader(c.body))
		require.NoError(t, err)
		r.Header.Set(headerClientID, alice)
		r.Header.Set(headerAuthorization, "Bearer "+s.tokens[alice])
		_, err = s.http.Do(r)
		var failed *url.Error
		require.ErrorAs(t, err, &failed)
		require.ErrorIs(t, <-gone, context.Canceled)
	}
}

// Causes stay inside, on every call about deliveries.
func TestDeliveriesUnavailable(t *testing.T) {
	s := start(t)
	path, _ := s.newHook()
	s.webhooks.fail = errors.Join(eventstore.ErrUnavailable, errors.New("dial 10.1.2.3"))
	for _, c := range []call{
		{method: "GET", path: path + "/attempts"}, {method: "POST", path: path + "/test"},
		{method: "POST", path: path + "/replay", body: `{"from": "` + exampleEvent + `"}`},
		{method: "POST", path: path + "/events/" + exampleEvent + "/resend"},
		{method: "POST", path: path + "/rotate_secret", body: `{}`}, {method: "GET", path: "/auth/verify_keys"},
	} {
		a := s.refused(c, unavailable)
		require.NotContains(t, string(a.body), "10.1.2.3")
		require.NotContains(t, string(a.body), "whsec_")
	}
	require.Contains(t, s.logged.String(), "10.1.2.3")
	s.webhooks.fail = &domain.Refusal{Kind: domain.Invalid, Detail: "overlap: must be a duration from 0s to 168h0m0s, got 200h0m0s"}
	s.refused(call{method: "POST", path: path + "/rotate_secret", body: `{"overlap": "200h"}`}, invalidRequest, "overlap: must be a duration from 0s")
}
