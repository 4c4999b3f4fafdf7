package domain

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Webhook is a subscription: where published events are delivered, and which (CONTRACT: Webhooks).
type Webhook struct {
	ID          string          `json:"id" format:"uuid" doc:"The subscription's id."`
	CreatedAt   time.Time       `json:"created_at" doc:"When it was created (UTC). It gets the events from then on."`
	UpdatedAt   time.Time       `json:"updated_at" doc:"When it was last changed (UTC)."`
	Title       string          `json:"title" doc:"A name for people, 1 to 100 characters."`
	URL         string          `json:"url" format:"uri" doc:"Where the events are posted."`
	Enabled     bool            `json:"enabled" doc:"While false, events are held."`
	Type        []WebhookFamily `json:"type" doc:"The families of events; ALL is every family of the public API."`
	ExcludeType []WebhookFamily `json:"exclude_type" doc:"Families to leave out; only with ALL."`
	Config      WebhookConfig   `json:"config" doc:"How events are packed, and in which order they come."`
	// DisabledReason is why the engine itself has disabled it.
	DisabledReason string `json:"disabled_reason,omitempty" doc:"Why the engine has disabled the subscription; absent when it did not. Enabling it takes it away."`
}

// WebhookConfig bounds how events may be packed into one delivery, and says which order holds.
type WebhookConfig struct {
	Delay          string `json:"delay" doc:"How long an event may wait for company: 1s to 30s." default:"1s"`
	MaxPackageSize int    `json:"max_package_size" doc:"The size of one delivery's body at most, in bytes: 100 to 1048576. A larger event is sent alone." default:"1048576"`
	// Order is left empty for WebhookStrict; see Ordering.
	Order WebhookOrder `json:"order,omitempty" doc:"What waits behind a delivery that fails: strict is everything, resource only events of the same resources." default:"strict"`
}

// WebhookOrder says what waits behind a delivery that fails.
type WebhookOrder string

// The orders.
const (
	// WebhookStrict: all events come in the order of their publication; a failure holds everything behind it.
	WebhookStrict WebhookOrder = "strict"
	// WebhookByResource: the events of one resource come in order; those of others pass a failure.
	WebhookByResource WebhookOrder = "resource"
)

// Ordering is the order, also when none was given.
func (c WebhookConfig) Ordering() WebhookOrder {
	if c.Order == "" {
		return WebhookStrict
	}
	return c.Order
}

// Wait is how long an event may wait for company. What is not a duration counts as the default.
func (c WebhookConfig) Wait() time.Duration {
	d, err := time.ParseDuration(c.Delay)
	if err != nil {
		return minDelay
	}
	return d
}

// Types of the events about a subscription, for operators.
const (
	PublishedWebhookFailing   = "WEBHOOK.FAILING"
	PublishedWebhookRecovered = "WEBHOOK.RECOVERED"
	PublishedWebhookDisabled  = "WEBHOOK.DISABLED"
	// PublishedWebhookTest is only ever posted by a test call, and not published.
	PublishedWebhookTest = "WEBHOOK.TEST"
)

// WebhookLevel says for how long an endpoint has failed.
type WebhookLevel string

// The levels. A failing period reaches each once.
const (
	FailingForAnHour   WebhookLevel = "hour"
	FailingForADay     WebhookLevel = "day"
	FailingForFiveDays WebhookLevel = "five_days"
)

// WebhookNotice is the body of an event about a subscription.
type WebhookNotice struct {
	ID           string       `json:"id" format:"uuid" doc:"The event's own id, ce-id: the same however often it is published."`
	Webhook      Webhook      `json:"webhook" doc:"The subscription."`
	Level        WebhookLevel `json:"level,omitempty" doc:"How long it had been failing when this was last said: hour, day, five_days."`
	FailingSince *time.Time   `json:"failing_since,omitempty" doc:"The first failure after the last success (UTC)."`
	Attempts     int          `json:"attempts" doc:"How many attempts in a row have failed."`
	LastFailure  string       `json:"last_failure,omitempty" doc:"The class of the last failure."`
}

// WebhookFamily is the part of a published type before the point: ACCOUNT of ACCOUNT.CLOSED.
type WebhookFamily string

// WebhookAll stands for every family of the public API.
const WebhookAll WebhookFamily = "ALL"

// PublicFamilies are the families of the public API, which ALL stands for.
func PublicFamilies() []WebhookFamily {
	return []WebhookFamily{"ACCOUNT", "ACCOUNT_GROUP", "ACCOUNT_LIQUIDATION", "ORDER", "REPORT", "USER"}
}

// OperatorFamilies are for operators: a subscription gets them only by name.
func OperatorFamilies() []WebhookFamily {
	return []WebhookFamily{"CLOSURE", "COMMAND", "WEBHOOK"}
}

// The bounds of a subscription.
const (
	maxURL             = 2048
	minDelay           = time.Second
	maxDelay           = 30 * time.Second
	minPackage         = 100
	maxPackage         = 1 << 20
	defaultDelay       = "1s"
	defaultPackageSize = maxPackage
)

// WithDefaults fills in what was not given.
func (w Webhook) WithDefaults() Webhook {
	if w.Config.Delay == "" {
		w.Config.Delay = defaultDelay
	}
	if w.Config.MaxPackageSize == 0 {
		w.Config.MaxPackageSize = defaultPackageSize
	}
	if w.ExcludeType == nil {
		w.ExcludeType = []WebhookFamily{}
	}
	if w.Enabled {
		w.DisabledReason = ""
	}
	return w
}

// Validate refuses (Invalid) what cannot be delivered to, or would match nothing.
func (w Webhook) Validate() error {
	return checks(checkText("title", w.Title, maxName), checkURL(w.URL), w.checkTypes(), w.Config.validate())
}

func (c WebhookConfig) validate() error {
	d, err := time.ParseDuration(c.Delay)
	if err != nil || d < minDelay || d > maxDelay {
		return invalid("config.delay", "must be a duration from 1s to 30s, got %s", Quote(c.Delay))
	}
	if c.MaxPackageSize < minPackage || c.MaxPackageSize > maxPackage {
		return invalid("config.max_package_size", "must be %d to %d bytes, got %d", minPackage, maxPackage, c.MaxPackageSize)
	}
	if c.Order == "" {
		return nil
	}
	return oneOf("config.order", c.Order, WebhookStrict, WebhookByResource)
}

func checkURL(s string) error {
	if len(s) > maxURL {
		return invalid("url", "must be at most %d bytes, got %d", maxURL, len(s))
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return invalid("url", "must be an absolute http or https URL, got %s", Quote(s))
	}
	if u.User != nil {
		return invalid("url", "must not carry a user or a password")
	}
	if u.Fragment != "" || strings.Contains(s, "#") {
		return invalid("url", "must have no fragment")
	}
	return nil
}

func (w Webhook) checkTypes() error {
	if len(w.Type) == 0 {
		return invalid("type", "must name one family at least: %s, ALL", list(PublicFamilies()))
	}
	known := slices.Concat(PublicFamilies(), OperatorFamilies())
	for i, t := range w.Type {
		if err := oneOf(fmt.Sprintf("type[%d]", i), t, append([]WebhookFamily{WebhookAll}, known...)...); err != nil {
			return err
		}
	}
	if len(w.ExcludeType) > 0 && !slices.Contains(w.Type, WebhookAll) {
		return invalid("exclude_type", "is for type ALL only")
	}
	for i, t := range w.ExcludeType {
		if err := oneOf(fmt.Sprintf("exclude_type[%d]", i), t, PublicFamilies()...); err != nil {
			return err
		}
	}
	if len(w.Families()) == 0 {
		return invalid("exclude_type", "must leave one family at least")
	}
	return nil
}

// Families are the families that the subscription gets, each once.
func (w Webhook) Families() []WebhookFamily {
	var out []WebhookFamily
	add := func(f WebhookFamily) {
		if !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	for _, t := range w.Type {
		if t != WebhookAll {
			add(t)
			continue
		}
		for _, f := range PublicFamilies() {
			if !slices.Contains(w.ExcludeType, f) {
				add(f)
			}
		}
	}
	return out
}
