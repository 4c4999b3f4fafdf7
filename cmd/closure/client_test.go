package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/handlers/auth"
)

// caller is a client over plain HTTP.
type caller struct {
	t      *testing.T
	base   string
	client string
	token  string
}

// caller makes a client of the engine, as an operator does, and gives it an access token.
func (a addresses) caller(t *testing.T, client string) caller {
	t.Helper()
	add := []string{"clients", "add", "--id", client, "--name", "test", "--json"}
	for _, scope := range auth.Scopes() {
		add = append(add, "--scope", string(scope))
	}
	code, out, stderr := once(t, "", append(add, a.at()...)...)
	require.Equal(t, exitDone, code, stderr)
	var added struct {
		Secret string `json:"secret"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &added))
	form := url.Values{"client_id": {client}, "client_secret": {added.Secret}, "grant_type": {"client_credentials"}}
	res, err := http.PostForm(a.HTTP+"/auth/token", form)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&token))
	require.NotEmpty(t, token.AccessToken, res.Status)
	return caller{t, a.HTTP, client, token.AccessToken}
}

// identify says in a request who makes it.
func (c caller) identify(r *http.Request) {
	r.Header.Set("upvest-client-id", c.client)
	r.Header.Set("authorization", "Bearer "+c.token)
	if r.Method == http.MethodPost {
		r.Header.Set("idempotency-key", uuid.NewString())
	}
}

func (c caller) do(method, path, accept string, body any) (int, http.Header, []byte) {
	c.t.Helper()
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		require.NoError(c.t, err)
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, reader)
	require.NoError(c.t, err)
	c.identify(req)
	if body != nil {
		req.Header.Set("content-type", "application/json")
	}
	if accept != "" {
		req.Header.Set("accept", accept)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(c.t, err)
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	require.NoError(c.t, err)
	return res.StatusCode, res.Header, answer
}

// get decodes an answer that must be a success.
func get[T any](c caller, path string) T {
	c.t.Helper()
	return call2[T](c, http.MethodGet, path, nil, http.StatusOK)
}

func call2[T any](c caller, method, path string, body any, want int) T {
	c.t.Helper()
	status, _, answer := c.do(method, path, "", body)
	require.Equal(c.t, want, status, "%s %s: %s", method, path, answer)
	var v T
	require.NoError(c.t, json.Unmarshal(answer, &v), string(answer))
	return v
}

// list is the envelope of every list.
type list[T any] struct {
	Meta struct {
		TotalCount int `json:"total_count"`
	} `json:"meta"`
	Data []T `json:"data"`
}

// delivery is one event as a webhook got it.
type delivery struct {
	ID        string          `json:"id"`
	CreatedAt time.Time       `json:"created_at"`
	Type      string          `json:"type"`
	Object    json.RawMessage `json:"object"`
	WebhookID string          `json:"webhook_id"`
}

func (d delivery) resource() string {
	var o struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(d.Object, &o)
	return o.ID
}

// endpoint is a receiver of webhooks that keeps every delivery in its order, repeated ones too.
type endpoint struct {
	*httptest.Server
	mu   sync.Mutex
	got  []delivery
	more chan struct{}
}

func newEndpoint(t *testing.T) *endpoint {
	e := &endpoint{more: make(chan struct{})}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Payload []delivery `json:"payload"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.got = append(e.got, body.Payload...)
		close(e.more)
		e.more = make(chan struct{})
	}))
	t.Cleanup(e.Close)
	return e
}

// snapshot is what came in so far, and a channel that closes when more does.
func (e *endpoint) snapshot() ([]delivery, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]delivery{}, e.got...), e.more
}

// await waits until the deliveries are as wanted.
func (e *endpoint) await(t *testing.T, what string, enough func([]delivery) bool) []delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for {
		got, more := e.snapshot()
		if enough(got) {
			return got
		}
		select {
		case <-more:
		case <-ctx.Done():
			seen := map[string]int{}
			for _, d := range got {
				seen[d.Type]++
			}
			t.Fatalf("waited for %s; got %s", what, fmt.Sprint(seen))
		}
	}
}

// has tells whether an event of the type came for the resource ("": any).
func has(got []delivery, eventType, resource string) bool {
	for _, d := range got {
		if d.Type == eventType && (resource == "" || d.resource() == resource) {
			return true
		}
	}
	return false
}
