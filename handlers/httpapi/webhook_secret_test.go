package httpapi

import (
	stdjson "encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/domain"
)

// The secret is in the answer that makes it, and in no other one.
func TestSecretIsShownOnce(t *testing.T) {
	s := start(t)
	a := s.do("POST", "/webhooks", hookBody)
	w := decode[createdWebhook](t, a, http.StatusCreated)
	require.Equal(t, exampleSecret, w.Secret)
	path := "/webhooks/" + w.ID
	attempt := exampleAttempt
	attempt.WebhookID = w.ID
	s.webhooks.attempts = []WebhookAttempt{attempt}
	for _, route := range calls {
		if family(route) != "webhooks" || route == "POST /webhooks" || strings.HasPrefix(route, "DELETE") {
			continue
		}
		c := callTo(route, w.ID)
		a := s.send(c)
		require.Less(t, a.status, 300, "%s: %s", route, a.body)
		require.Equal(t, strings.HasSuffix(route, "/rotate_secret"), strings.Contains(string(a.body), "whsec_"), "%s: %s", route, a.body)
	}
	require.NotContains(t, string(s.do("PATCH", path, `{}`).body), "whsec_")
	require.NotContains(t, s.logged.String(), "whsec_")
}

func TestRotateSecret(t *testing.T) {
	s := start(t)
	path, _ := s.newHook()
	rotate := func(body string) rotatedSecret {
		t.Helper()
		return decode[rotatedSecret](t, s.do("POST", path+"/rotate_secret", body), http.StatusOK)
	}
	day := exampleOpened.Add(24 * time.Hour)
	require.Equal(t, rotatedSecret{exampleSecret, &day}, rotate(`{}`))
	hour := exampleOpened.Add(90 * time.Minute)
	require.Equal(t, rotatedSecret{exampleSecret, &hour}, rotate(`{"overlap": "1h30m"}`))
	require.Equal(t, rotatedSecret{exampleSecret, nil}, rotate(`{"overlap": "0s"}`))
	require.Contains(t, string(s.do("POST", path+"/rotate_secret", `{"overlap": "0s"}`).body), `"previous_valid_until":null`)
	require.Equal(t, []time.Duration{24 * time.Hour, 90 * time.Minute, 0, 0}, s.webhooks.rotated)

	for body, text := range map[string]string{
		`{"overlap": "a day"}`: `overlap: must be a duration such as 24h, got "a day"`,
		`{"overlap": "24"}`:    `overlap: must be a duration such as 24h, got "24"`,
		`{"overlap": 24}`:      "overlap: must be a string of 2 to 20 characters, got 24",
		`{"secret": "mine"}`:   "secret: is not a member here; there are overlap",
	} {
		s.refused(call{method: "POST", path: path + "/rotate_secret", body: body}, invalidRequest, text)
	}
	require.Len(t, s.webhooks.rotated, 4, "what is refused rotates nothing")
}

func TestVerifyKeys(t *testing.T) {
	s := start(t)
	a := s.send(call{method: "GET", path: "/auth/verify_keys", header: map[string]string{headerClientID: ""}})
	require.Equal(t, mediaJSON, a.header.Get("Content-Type"))
	require.Equal(t, exampleKeys, decode[jwkSet](t, a, http.StatusOK))
	require.JSONEq(t, s.webhooks.keys, string(a.body))

	// Without keys there is no such call, and the document does not have it.
	without := start(t, func(cfg *Config) { cfg.VerifyKeys = nil })
	without.refused(call{method: "GET", path: "/auth/verify_keys"}, notFound, "there is nothing at this path")
	var doc struct{ Paths map[string]any }
	require.NoError(t, stdjson.Unmarshal(without.do("GET", "/openapi.json", "").body, &doc))
	require.NotContains(t, doc.Paths, "/auth/verify_keys")
	require.Contains(t, doc.Paths, "/webhooks/{id}/rotate_secret")
}

// config.order has two values, and is shown also where none was given.
func TestWebhookOrder(t *testing.T) {
	s := start(t)
	create := func(config string) domain.WebhookConfig {
		t.Helper()
		body := strings.Replace(hookBody, "{", `{"config": `+config+`, `, 1)
		return decode[createdWebhook](t, s.do("POST", "/webhooks", body), http.StatusCreated).Config
	}
	require.Equal(t, domain.WebhookStrict, create(`{}`).Order)
	require.Equal(t, domain.WebhookStrict, create(`{"order": "strict"}`).Order)
	require.Equal(t, domain.WebhookByResource, create(`{"order": "resource"}`).Order)

	path, id := s.newHook()
	change := func(body string) domain.WebhookConfig {
		t.Helper()
		return decode[domain.Webhook](t, s.do("PATCH", path, body), http.StatusOK).Config
	}
	require.Equal(t, domain.WebhookByResource, change(`{"config": {"order": "resource"}}`).Order)
	require.Equal(t, domain.WebhookConfig{Delay: "2s", MaxPackageSize: 1 << 20, Order: domain.WebhookByResource}, change(`{"config": {"delay": "2s"}}`))
	require.Equal(t, domain.WebhookStrict, change(`{"config": {"order": "strict"}}`).Order)

	// One from before there were orders.
	i, err := s.webhooks.at(alice, id)
	require.NoError(t, err)
	s.webhooks.all[i].value.Config.Order = ""
	for _, path := range []string{path, "/webhooks"} {
		require.Contains(t, string(s.do("GET", path, "").body), `"order":"strict"}`)
	}
	for _, value := range []string{"true", "false", `"ALL"`, `""`, "null", "1", `{}`} {
		text := "config.order: must be one of strict, resource, got "
		if value == "null" { // at the beginning it counts as left out
			text = "config.order: must not be null"
		} else {
			s.refused(call{method: "POST", path: "/webhooks", body: strings.Replace(hookBody, "{", `{"config": {"order": `+value+`}, `, 1)}, invalidRequest, text)
		}
		s.refused(call{method: "PATCH", path: path, body: `{"config": {"order": ` + value + `}}`}, invalidRequest, text)
	}
}
