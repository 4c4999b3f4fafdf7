package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/domain"
)

const hookBody = `{"title": "Closings", "url": "https://hooks.example.com/x", "type": ["ACCOUNT"]}`

func TestWebhooks(t *testing.T) {
	s := start(t)
	a := s.do("POST", "/webhooks", hookBody)
	w := decode[createdWebhook](t, a, http.StatusCreated).Webhook
	require.Equal(t, "/webhooks/"+w.ID, a.header.Get("Location"))
	require.Equal(t, domain.Webhook{
		ID: w.ID, CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt, Title: "Closings", URL: "https://hooks.example.com/x", Enabled: true,
		Type: []domain.WebhookFamily{"ACCOUNT"}, ExcludeType: []domain.WebhookFamily{}, Config: domain.WebhookConfig{Delay: "1s", MaxPackageSize: 1 << 20, Order: domain.WebhookStrict},
	}, w)
	path := "/webhooks/" + w.ID
	require.Equal(t, w, decode[shownWebhook](t, s.do("GET", "/webhooks/"+strings.ToUpper(w.ID), ""), http.StatusOK).Webhook)

	// An empty change changes nothing, the time of the last change included.
	require.Equal(t, w, decode[domain.Webhook](t, s.do("PATCH", path, `{}`), http.StatusOK))

	changed := decode[domain.Webhook](t, s.do("PATCH", path, `{"enabled": false, "config": {"max_package_size": 100}}`), http.StatusOK)
	require.False(t, changed.Enabled)
	require.Equal(t, domain.WebhookConfig{Delay: "1s", MaxPackageSize: 100, Order: domain.WebhookStrict}, changed.Config)
	require.Equal(t, w.Title, changed.Title)
	require.Equal(t, w.Type, changed.Type)

	changed = decode[domain.Webhook](t, s.do("PATCH", path, `{"title": "All", "url": "http://127.0.0.1:9/y", "type": ["ALL"], "exclude_type": ["ORDER"], "config": {"delay": "30s"}}`), http.StatusOK)
	require.Equal(t, []domain.WebhookFamily{"ORDER"}, changed.ExcludeType)
	require.Equal(t, domain.WebhookConfig{Delay: "30s", MaxPackageSize: 100, Order: domain.WebhookStrict}, changed.Config)
	require.Equal(t, []string{"All", "http://127.0.0.1:9/y"}, []string{changed.Title, changed.URL})

	gone := s.do("DELETE", path, "")
	require.Equal(t, http.StatusNoContent, gone.status)
	require.Empty(t, gone.body)
	s.refused(call{method: "GET", path: path}, notFound)
	s.refused(call{method: "DELETE", path: path}, notFound)
	s.refused(call{method: "PATCH", path: path, body: `{"enabled": true}`}, notFound)
	s.refused(call{method: "PATCH", path: path, body: `{}`}, notFound)
}

func TestWebhookCreatedDisabled(t *testing.T) {
	s := start(t)
	body := `{"title": "x", "url": "https://hooks.example.com", "type": ["ALL", "CLOSURE"], "enabled": false, "exclude_type": ["USER"], "config": {"delay": "5s", "order": "resource"}}`
	w := decode[createdWebhook](t, s.do("POST", "/webhooks", body), http.StatusCreated)
	require.False(t, w.Enabled)
	require.Equal(t, "5s", w.Config.Delay)
}

func TestWebhooksRefused(t *testing.T) {
	s := start(t)
	set := func(member, value string) string {
		return strings.Replace(hookBody, "{", `{"`+member+`": `+value+`, `, 1)
	}
	without := func(old, changed string) string { return strings.Replace(hookBody, old, changed, 1) }
	for name, tt := range map[string]struct{ body, text string }{
		"no url":           {`{"title": "x", "type": ["ALL"]}`, "url: is missing"},
		"relative url":     {without("https://hooks.example.com/x", "/x"), "url: must be an absolute http or https URL"},
		"other scheme":     {without("https:", "ftp:"), "url: must be an absolute http or https URL"},
		"url with a user":  {without("https://", "https://me:secret@"), "url: must not carry a user"},
		"long url":         {without("/x", "/"+strings.Repeat("x", 3000)), "url: must be a string of 2048 characters at most"},
		"empty title":      {without("Closings", ""), "title: must be a string of 1 to 100 characters"},
		"control in title": {without("Closings", `a\u001bb`), "title: must have no control characters"},
		"no type":          {without(`["ACCOUNT"]`, `[]`), "type: must be an array of 1 to 20 items"},
		"unknown type":     {without(`["ACCOUNT"]`, `["ACCOUNT", "CASH"]`), `type[1]: must be one of ALL, ACCOUNT, `},
		"type is a string": {without(`["ACCOUNT"]`, `"ACCOUNT"`), `type: must be an array of 1 to 20 items, got "ACCOUNT"`},
		"exclude, not ALL": {set("exclude_type", `["ORDER"]`), "exclude_type: is for type ALL only"},
		"delay":            {set("config", `{"delay": "31s"}`), `config.delay: must be a duration from 1s to 30s, got "31s"`},
		"empty delay":      {set("config", `{"delay": ""}`), "config.delay: must be a string of 2 to 20 characters"},
		"package":          {set("config", `{"max_package_size": 99}`), "config.max_package_size: must be an integer of 100 to 1048576, got 99"},
		"package in words": {set("config", `{"max_package_size": "1 MB"}`), `config.max_package_size: must be an integer of 100 to 1048576, got "1 MB"`},
		"package as 1e3":   {set("config", `{"max_package_size": 1e3}`), "config.max_package_size: must be of another form"},
		"enabled":          {set("enabled", `"yes"`), `enabled: must be true or false, got "yes"`},
		"secret":           {set("secret", `"s"`), "secret: is not a member here"},
		"unknown config":   {set("config", `{"retries": 3}`), "config.retries: is not a member here; there are delay, max_package_size, order"},
	} {
		t.Run(name, func(t *testing.T) {
			s.in(t).refused(call{method: "POST", path: "/webhooks", body: tt.body}, invalidRequest, tt.text)
		})
	}

	w := decode[createdWebhook](t, s.do("POST", "/webhooks", hookBody), http.StatusCreated)
	for body, text := range map[string]string{
		`{"title": null}`:                "title: must not be null; leave it out to keep what is there",
		`{"config": null}`:               "config: must not be null",
		`{"config": {"delay": null}}`:    "config.delay: must not be null",
		`{"exclude_type": ["ORDER"]}`:    "exclude_type: is for type ALL only",
		`{"url": "https://x/#fragment"}`: "url: must have no fragment",
		`{"enabled": 1}`:                 "enabled: must be true or false, got 1",
		`{"id": "` + w.ID + `"}`:         "id: is not a member here",
	} {
		s.refused(call{method: "PATCH", path: "/webhooks/" + w.ID, body: body}, invalidRequest, text)
	}
	require.Equal(t, w.Webhook, decode[shownWebhook](t, s.do("GET", "/webhooks/"+w.ID, ""), http.StatusOK).Webhook, "nothing was changed")
}
