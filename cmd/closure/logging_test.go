package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// The log is one JSON object a line, with the ids by which a request is found in it, and never with a secret: not of a client, not
// of a webhook, not of the engine itself, at any level.
func TestLogs(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := serve(t, data, "--log-format", "json", "--log-level", "debug")
	client := uuid.NewString()
	code, out, stderr := once(t, "", append([]string{
		"clients", "add", "--id", client, "--name", "logged", "--json", "--scope", "accounts:admin", "--scope", "webhooks:admin",
	}, s.at()...)...)
	require.Equal(t, exitDone, code, stderr)
	var added struct{ Secret string }
	require.NoError(t, json.Unmarshal([]byte(out), &added))
	token := accessToken(t, s.HTTP, client, added.Secret)
	_ = accessToken(t, s.HTTP, client, "a-wrong-secret")
	c := caller{t, s.HTTP, client, token}
	hook := newWitness(t)
	hook.answerWith(http.StatusInternalServerError)
	made := call2[createdHook](c, http.MethodPost, "/webhooks",
		map[string]any{"title": "logged", "url": hook.URL + "/?token=in-the-url", "type": []string{"ALL"}}, http.StatusCreated)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.HTTP+"/account_groups",
		strings.NewReader(`{"user_id":"`+uuid.NewString()+`","type":"PERSONAL"}`))
	require.NoError(t, err)
	c.identify(req)
	req.Header.Set("content-type", "application/json")
	req.Header.Set("traceparent", clientParent)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusCreated, res.StatusCode)
	<-hook.got // the delivery fails, which is logged
	status, _, _ := caller{t, s.HTTP, client, "a-wrong-token"}.do(http.MethodGet, "/accounts", "", nil)
	require.Equal(t, http.StatusUnauthorized, status)
	correlation := uuid.NewString()
	_, err = s.connect(t, nats.Name("logged")).Request("closure.command.account."+uuid.NewString()+".request_closure",
		[]byte(`{"command_id":"`+uuid.NewString()+`","client_id":"`+client+`","actor":"a","correlation_id":"`+correlation+`"}`), within)
	require.NoError(t, err)

	find := func(message string, with map[string]string) bool {
		for line := range strings.Lines(s.logs.String()) {
			var entry map[string]any
			require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
			found := entry["msg"] == message
			for name, value := range with {
				found = found && entry[name] == value
			}
			if found {
				return true
			}
		}
		return false
	}
	require.Eventually(t, func() bool {
		return find("answered a request", map[string]string{
			"operation": "createAccountGroup", "request_id": res.Header.Get("upvest-request-id"), "trace_id": clientTrace,
			"client_id": client,
		}) && find("webhooks: an attempt has failed", map[string]string{"webhook": made.ID}) &&
			find("rejected a command", map[string]string{"correlation_id": correlation})
	}, within, 10*time.Millisecond)
	require.Equal(t, exitDone, s.stop())

	logged := s.logs.String()
	secrets := []string{
		added.Secret, token, made.Secret, "a-wrong-secret", "a-wrong-token", "in-the-url", s.Development.Secret, s.Development.Token,
	}
	seeds, err := filepath.Glob(filepath.Join(data, credentialsFolder, "*.nk"))
	require.NoError(t, err)
	require.NotEmpty(t, seeds)
	for _, file := range seeds {
		seed, err := os.ReadFile(file)
		require.NoError(t, err)
		secrets = append(secrets, strings.TrimSpace(string(seed)))
	}
	for _, secret := range secrets {
		require.NotEmpty(t, secret)
		require.NotContains(t, logged, secret)
	}
}

// accessToken asks for a token; "" when there is none.
func accessToken(t *testing.T, base, client, secret string) string {
	t.Helper()
	res, err := http.PostForm(base+"/auth/token",
		url.Values{"client_id": {client}, "client_secret": {secret}, "grant_type": {"client_credentials"}})
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&token))
	return token.AccessToken
}

func TestWrongLogFormat(t *testing.T) {
	code, _, stderr := once(t, "", "serve", "--log-format", "xml", "--data", t.TempDir())
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "--log-format must be one of")
}
