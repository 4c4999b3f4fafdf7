package httpapi

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
)

// testClock is the clock of the engine under test. As a sandbox it can be moved, and then it stands still.
type testClock struct {
	at   atomic.Pointer[time.Time] // nil: it is the machine's
	fail error
}

func (c *testClock) Now() time.Time {
	if at := c.at.Load(); at != nil {
		return *at
	}
	return time.Now()
}

func (c *testClock) Advance(_ context.Context, to time.Time) (time.Time, error) {
	if c.fail != nil {
		return c.Now(), c.fail
	}
	if now := c.Now(); to.Before(now) {
		return now, &domain.Refusal{Kind: domain.Invalid, Detail: "now: must not be before the time that it is, " + now.UTC().Format(time.RFC3339Nano)}
	}
	c.at.Store(&to)
	return to, nil
}

// startSandbox starts the API of a sandbox, whose clock shows 2 March 2026.
func startSandbox(t *testing.T) *service {
	t.Helper()
	return startWith(t, func(s *service, cfg *Config) {
		s.clock.at.Store(&exampleOpened)
		cfg.Sandbox = s.clock
	})
}

func TestMoveClock(t *testing.T) {
	s := startSandbox(t)
	a := s.do("POST", "/account_groups", `{"user_id": "`+zoe+`", "type": "PERSONAL", "domicile": "GB"}`)
	group := decode[domain.AccountGroupResource](t, a, http.StatusCreated)
	account := s.newAccount(group.ID)
	require.Equal(t, exampleOpened, account.CreatedAt)
	closure := func() domain.Closure {
		t.Helper()
		return decode[domain.Closure](t, s.do("GET", "/accounts/"+account.ID+"/closure", ""), http.StatusOK)
	}
	require.Equal(t, "2026-04-05T23:00:00Z", closure().NextEligibleAt.Format(time.RFC3339))

	// Any zone will do; the answer is in UTC.
	a = s.do("POST", "/sandbox/clock", `{"now": "2026-09-14T10:05:12.5+02:00"}`)
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	require.JSONEq(t, `{"now": "2026-09-14T08:05:12.5Z"}`, string(a.body))
	require.Equal(t, http.StatusOK, s.do("POST", "/sandbox/clock", `{"now": "2026-09-14T08:05:12.5Z"}`).status, "it is so already")

	require.Equal(t, http.StatusAccepted, s.do("DELETE", "/accounts/"+account.ID, "").status)
	asked := closure()
	require.Equal(t, exampleRequest.Add(500*time.Millisecond), *asked.RequestedAt)
	require.Equal(t, exampleEligible, *asked.NextEligibleAt, "as the document's example has it")
	require.Equal(t, []domain.BlockerCode{domain.TaxYearEndBlocker}, codes(asked.Blockers))
	require.Equal(t, exampleClosure.Blockers[2].Detail, asked.Blockers[0].Detail)
}

func TestMoveClockRefused(t *testing.T) {
	s := startSandbox(t)
	path := "/sandbox/clock"
	for body, text := range map[string]string{
		`{}`:                                  "now: is missing; it must be a time in RFC 3339 such as 2027-04-06T00:00:00Z",
		`{"now": null}`:                       "now: must be a time in RFC 3339",
		`{"now": ""}`:                         "now: must be a time in RFC 3339",
		`{"now": 1790000000}`:                 "now: must be a time in RFC 3339",
		`{"now": "tomorrow"}`:                 `now: must be a time in RFC 3339 such as 2027-04-06T00:00:00Z, got "tomorrow"`,
		`{"now": "2027-04-06"}`:               "now: must be a time in RFC 3339",
		`{"now": "2027-04-06T00:00:00"}`:      "now: must be a time in RFC 3339",
		`{"now": "2027-02-29T00:00:00Z"}`:     "now: must be a time in RFC 3339",
		`{"now": "2026-03-02T09:29:59.999Z"}`: "now: must not be before the time that it is, 2026-03-02T09:30:00Z",
		`{"now": "2027-04-06T00:00:00Z", "zone": "London"}`:    "zone: is not a member here; there are now",
		`{"now": "2027-04-06T00:00:00Z", "now": "2028-01-01"}`: "now: must be in the object once",
	} {
		s.refused(call{method: "POST", path: path, body: body}, invalidRequest, text)
	}
	good := `{"now": "2027-04-06T00:00:00Z"}`
	s.refused(call{method: "POST", path: path, body: good, header: map[string]string{headerClientID: ""}}, missingClientID)
	s.refused(call{method: "GET", path: path}, methodNotAllowed, "POST")
	require.Equal(t, exampleOpened, s.clock.Now(), "nothing moved")

	s.clock.fail = errors.Join(errors.New("nats: no responders at 10.0.0.7"), eventstore.ErrUnavailable)
	a := s.refused(call{method: "POST", path: path, body: good}, unavailable)
	require.NotContains(t, string(a.body), "10.0.0.7")
}

// A sandbox says that it is one, to whoever asks and without a client id.
func TestSandboxShows(t *testing.T) {
	s := startSandbox(t)
	open := map[string]string{headerClientID: ""}
	ready := func() string { return string(s.send(call{method: "GET", path: "/readyz", header: open}).body) }
	require.JSONEq(t, `{"status": "ready", "sandbox": true, "now": "2026-03-02T09:30:00Z"}`, ready())
	require.Equal(t, http.StatusOK, s.do("POST", "/sandbox/clock", `{"now": "2027-04-06T00:00:00+01:00"}`).status)
	require.JSONEq(t, `{"status": "ready", "sandbox": true, "now": "2027-04-05T23:00:00Z"}`, ready())
	require.JSONEq(t, `{"status": "ok"}`, string(s.send(call{method: "GET", path: "/healthz", header: open}).body))
}

// The call is in the document of a sandbox, whole and with its examples, and in no other.
func TestSandboxDocument(t *testing.T) {
	without, with := document(t, start(t)), document(t, startSandbox(t))
	for _, pointer := range []string{"#/paths/~1sandbox~1clock/post", "#/components/schemas/NewClock", "#/components/schemas/Clock"} {
		_, ok := at(with, pointer)
		require.True(t, ok, pointer)
		_, ok = at(without, pointer)
		require.False(t, ok, pointer)
	}
	require.Len(t, with["paths"], len(without["paths"].(map[string]any))+1)
	require.Len(t, with["tags"], len(without["tags"].([]any))+1)
	op, _ := at(with, "#/paths/~1sandbox~1clock/post")
	checkParameters(t, with, "POST /sandbox/clock", "/sandbox/clock", op.(map[string]any))
	checkResponses(t, with, "POST /sandbox/clock", op.(map[string]any))
	require.Equal(t, []any{"Sandbox"}, op.(map[string]any)["tags"])
}
