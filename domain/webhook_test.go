package domain

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func hook() Webhook {
	return Webhook{Title: "Back office", URL: "https://hooks.bank.example/closure?tenant=1", Type: []WebhookFamily{WebhookAll}}.WithDefaults()
}

// TestWebhookValidation has a bad value for each field of a subscription.
func TestWebhookValidation(t *testing.T) {
	require.NoError(t, hook().Validate())
	for _, config := range []WebhookConfig{{"1s", 100, ""}, {"30s", 1 << 20, WebhookStrict}, {"1500ms", 4096, WebhookByResource}} {
		w := hook()
		w.URL = "https://bank.example/" + strings.Repeat("x", 2048-len("https://bank.example/"))
		w.Config = config
		require.NoError(t, w.Validate())
	}
	for _, b := range badTexts {
		w := hook()
		w.Title = b.value.(string)
		checkInvalid(t, w.Validate(), "title", b)
	}
	for right, urls := range map[string][]string{
		"must be an absolute http or https URL": {"", "hooks.bank.example", "/closure", "ftp://bank.example", "https:", "https://", "https://:443/", "https:bank.example",
			"javascript:alert(1)", "https://bank.example/\x00", "https://bank example/", "https://bank.example/%zz", "http://[::1"},
		"must be at most 2048 bytes": {"https://bank.example/" + strings.Repeat("x", 100_000)},
		"must not carry a user":      {"https://user:secret@bank.example/", "https://user@bank.example/"},
		"must have no fragment":      {"https://bank.example/#part", "https://bank.example/#"},
	} {
		for _, url := range urls {
			w := hook()
			w.URL = url
			checkInvalid(t, w.Validate(), "url", bad{url, right})
		}
	}
	for _, delay := range []string{"0s", "-1s", "31s", "999ms", "1", "NaN", "1e3s", "one second", strings.Repeat("1s", 50_000)} {
		w := hook()
		w.Config.Delay = delay
		checkInvalid(t, w.Validate(), "config.delay", bad{delay, "must be a duration from 1s to 30s"})
	}
	for _, size := range []int{-1, 99, 1<<20 + 1} {
		w := hook()
		w.Config.MaxPackageSize = size
		checkInvalid(t, w.Validate(), "config.max_package_size", bad{size, "must be 100 to 1048576 bytes"})
	}
	for _, order := range []WebhookOrder{"Strict", "none", " "} {
		w := hook()
		w.Config.Order = order
		checkInvalid(t, w.Validate(), "config.order", bad{order, "must be one of strict, resource"})
	}
}

// TestWebhookFamilies has what a subscription gets: ALL is the public families, operators' families come only by name.
func TestWebhookFamilies(t *testing.T) {
	type f = []WebhookFamily
	for _, c := range []struct{ types, exclude, want f }{
		{f{"ALL"}, nil, PublicFamilies()},
		{f{"ACCOUNT"}, nil, f{"ACCOUNT"}},
		{f{"REPORT", "ACCOUNT", "REPORT"}, nil, f{"REPORT", "ACCOUNT"}},
		{f{"ALL"}, f{"ACCOUNT", "ORDER", "USER"}, f{"ACCOUNT_GROUP", "ACCOUNT_LIQUIDATION", "REPORT"}},
		{f{"ALL", "CLOSURE", "COMMAND"}, nil, append(PublicFamilies(), "CLOSURE", "COMMAND")},
		{f{"ALL", "CLOSURE"}, PublicFamilies(), f{"CLOSURE"}},
	} {
		w := hook()
		w.Type, w.ExcludeType = c.types, c.exclude
		require.NoError(t, w.Validate(), c)
		require.Equal(t, c.want, w.Families(), c)
	}
	for _, c := range []struct {
		types, exclude f
		field, right   string
	}{
		{nil, nil, "type", "must name one family at least: ACCOUNT, ACCOUNT_GROUP"},
		{f{"account"}, nil, "type[0]", "must be one of ALL, ACCOUNT"}, {f{"ACCOUNT", ""}, nil, "type[1]", "must be one of ALL, ACCOUNT"},
		{f{"ACCOUNT"}, f{"ORDER"}, "exclude_type", "is for type ALL only"},
		{f{"ALL"}, f{"CLOSURE"}, "exclude_type[0]", "must be one of ACCOUNT"}, {f{"ALL"}, f{"ORDER", "ALL"}, "exclude_type[1]", "must be one of ACCOUNT"},
		{f{"ALL"}, PublicFamilies(), "exclude_type", "must leave one family at least"},
	} {
		w := hook()
		w.Type, w.ExcludeType = c.types, c.exclude
		checkInvalid(t, w.Validate(), c.field, bad{c.types, c.right})
	}
}

func TestWebhookConfigSaysWhatHolds(t *testing.T) {
	require.Equal(t, WebhookStrict, WebhookConfig{}.Ordering())
	require.Equal(t, WebhookByResource, WebhookConfig{Order: WebhookByResource}.Ordering())
	require.Equal(t, 1500*time.Millisecond, WebhookConfig{Delay: "1500ms"}.Wait())
	require.Equal(t, time.Second, WebhookConfig{}.Wait())
}

// Whoever enables it has dealt with the reason.
func TestEnablingTakesTheReasonAway(t *testing.T) {
	w := hook()
	w.DisabledReason = "the endpoint answered 410 Gone"
	require.NotEmpty(t, w.WithDefaults().DisabledReason)
	w.Enabled = true
	require.Empty(t, w.WithDefaults().DisabledReason)
}

func TestDefaults(t *testing.T) {
	require.Equal(t, WebhookConfig{Delay: "1s", MaxPackageSize: 1048576}, Webhook{}.WithDefaults().Config)
	require.Equal(t, []WebhookFamily{}, Webhook{}.WithDefaults().ExcludeType)
	kept := WebhookConfig{Delay: "30s", MaxPackageSize: 100}
	require.Equal(t, kept, Webhook{Config: kept}.WithDefaults().Config)
	require.Equal(t, Page{Limit: 100, Sort: "created_at", Order: "ASC"}, Page{}.WithDefaults())
	asked := Page{Offset: 7, Limit: 1000, Sort: SortUpdatedAt, Order: Descending}
	require.Equal(t, asked, asked.WithDefaults())
}
