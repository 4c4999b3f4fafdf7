package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
)

// Each error has one answer, whichever call meets it. Internal causes stay inside.
func TestErrorsHaveOneAnswer(t *testing.T) {
	s := start(t)
	for _, tt := range []struct {
		err    error
		slug   handlers.Slug
		detail string
		logged bool
	}{
		{&domain.Refusal{Kind: domain.Invalid, Detail: "url: is not nice"}, invalidRequest, "url: is not nice", false},
		{&domain.Refusal{Kind: domain.NotFound, Detail: "gone"}, notFound, "gone", false},
		{&domain.Refusal{Kind: domain.Conflict, Detail: "not now"}, conflict, "not now", false},
		{&domain.Refusal{Kind: domain.Unprocessable, Detail: "never"}, unprocessableEntity, "never", false},
		{fmt.Errorf("load: %w", &domain.Refusal{Kind: domain.Conflict, Detail: "wrapped"}), conflict, "wrapped", false},
		{fmt.Errorf("%w: account x", handlers.ErrContention), unavailable, "nothing was changed by this request", true},
		{fmt.Errorf("%w: nats: timeout at 10.0.0.7", eventstore.ErrUnavailable), unavailable, "the event log does not answer", true},
		{fmt.Errorf("%w: of 9 MB", eventstore.ErrTooLarge), payloadTooLarge, "larger than the event log takes", false},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), gatewayTimeout, "did not answer in time", true},
		{errors.New("password=hunter2 at 10.0.0.7"), internalError, "something went wrong on our side", true},
	} {
		s.webhooks.fail = tt.err
		a := s.refused(call{method: "GET", path: "/webhooks", forced: true}, tt.slug, tt.detail)
		require.NotContains(t, string(a.body), "10.0.0.7")
		entry := s.entry(a.id)
		require.Equal(t, tt.logged, entry != nil, "%v", tt.err)
		if tt.logged {
			require.Equal(t, tt.err.Error(), entry["error"])
			require.Equal(t, []any{"GET", "/webhooks", alice}, []any{entry["method"], entry["path"], entry["client_id"]})
		}
	}
}

// entry is the line of the log about the request; nil for none.
func (s *service) entry(requestID string) map[string]any {
	s.t.Helper()
	for line := range strings.Lines(s.logged.String()) {
		var entry map[string]any
		require.NoError(s.t, json.Unmarshal([]byte(line), &entry))
		if entry["request_id"] == requestID {
			return entry
		}
	}
	return nil
}

func TestPanic(t *testing.T) {
	s := start(t)
	s.lists.hook = func(context.Context, string, string, domain.Page) error { panic("a nil map at 10.0.0.7") }
	a := s.refused(call{method: "GET", path: "/accounts"}, internalError, "something went wrong on our side")
	require.NotContains(t, string(a.body), "10.0.0.7")
	entry := s.entry(a.id)
	require.Contains(t, entry["panic"], "a nil map at 10.0.0.7")
	require.Contains(t, entry["stack"], "handlers/httpapi")
	// The server goes on.
	s.lists.hook = nil
	require.Equal(t, http.StatusOK, s.do("GET", "/accounts", "").status)
}

// What panics behind the first byte of an answer cuts the connection: a part must not look like the whole.
func TestPanicWithinAnAnswer(t *testing.T) {
	s := start(t)
	s.api.mux.HandleFunc("GET /half", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte("x"), 100_000))
		panic("half way")
	})
	resp, err := s.http.Get(s.url + "/half")
	if err == nil {
		_, err = new(bytes.Buffer).ReadFrom(resp.Body)
		require.NoError(t, resp.Body.Close())
	}
	require.Error(t, err)
	require.Contains(t, s.logged.String(), "half way")
}

func TestTimeout(t *testing.T) {
	s := start(t, func(cfg *Config) { cfg.Timeout = 50 * time.Millisecond })
	s.lists.hook = func(ctx context.Context, _, _ string, _ domain.Page) error {
		<-ctx.Done()
		return fmt.Errorf("query: %w", ctx.Err())
	}
	s.refused(call{method: "GET", path: "/accounts"}, gatewayTimeout, "not done in time")
}

// The engine's store is gone: 503, whether the store gives up first or the request does.
func TestStoreIsGone(t *testing.T) {
	for first, timeout := range map[string]time.Duration{"the store": 20 * time.Second, "the request": 100 * time.Millisecond} {
		t.Run(first, func(t *testing.T) {
			s := start(t, func(cfg *Config) { cfg.Timeout = timeout })
			s.nats.Shutdown()
			for _, route := range []string{"GET /accounts/{id}", "DELETE /accounts/{id}", "GET /account_groups/{id}/history", "POST /account_groups"} {
				a := s.refused(callTo(route, zoe), unavailable)
				require.Equal(t, retryAfter, a.header.Get("Retry-After"))
				require.NotContains(t, string(a.body), "nats", "the cause stays inside")
				require.NotNil(t, s.entry(a.id), "and is in the log")
			}
			// What needs no store goes on.
			require.Equal(t, http.StatusOK, s.do("GET", "/healthz", "").status)
		})
	}
}
