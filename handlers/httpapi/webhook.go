package httpapi

import (
	"context"
	"net/http"

	"closure/domain"
	"closure/handlers/auth"
)

// newWebhook is the body of POST /webhooks.
type newWebhook struct {
	Title       string                 `json:"title" minLength:"1" maxLength:"100" doc:"A name for people, without control characters."`
	URL         string                 `json:"url" format:"uri" maxLength:"2048" doc:"Where the events are posted: https and a DNS name, without a user and a fragment. The name must lead to a public address, and redirects are not followed. An engine for development may allow http and any address."`
	Enabled     *bool                  `json:"enabled,omitempty" doc:"While false, events are held. Defaults to true."`
	Type        []domain.WebhookFamily `json:"type" minItems:"1" maxItems:"20" enum:"ALL,ACCOUNT,ACCOUNT_GROUP,ACCOUNT_LIQUIDATION,ORDER,REPORT,USER,CLOSURE,COMMAND,WEBHOOK" doc:"The families of events. ALL is every family of the public API; CLOSURE, COMMAND and WEBHOOK, for operators, come only by name."`
	ExcludeType []domain.WebhookFamily `json:"exclude_type,omitempty" maxItems:"20" enum:"ACCOUNT,ACCOUNT_GROUP,ACCOUNT_LIQUIDATION,ORDER,REPORT,USER" doc:"Families to leave out; only with ALL."`
	Config      *webhookPacking        `json:"config,omitempty" doc:"How events are packed into one delivery, and in which order they come."`
}

// webhookChange is the body of PATCH /webhooks/{id}: what is left out stays as it is.
type webhookChange struct {
	Title       *string                 `json:"title,omitempty" minLength:"1" maxLength:"100" doc:"A name for people, without control characters."`
	URL         *string                 `json:"url,omitempty" format:"uri" maxLength:"2048" doc:"Where the events are posted from now on."`
	Enabled     *bool                   `json:"enabled,omitempty" doc:"While false, events are held."`
	Type        *[]domain.WebhookFamily `json:"type,omitempty" minItems:"1" maxItems:"20" enum:"ALL,ACCOUNT,ACCOUNT_GROUP,ACCOUNT_LIQUIDATION,ORDER,REPORT,USER,CLOSURE,COMMAND,WEBHOOK" doc:"The families of events."`
	ExcludeType *[]domain.WebhookFamily `json:"exclude_type,omitempty" maxItems:"20" enum:"ACCOUNT,ACCOUNT_GROUP,ACCOUNT_LIQUIDATION,ORDER,REPORT,USER" doc:"Families to leave out; only with ALL."`
	Config      *webhookPacking         `json:"config,omitempty" doc:"How events are packed into one delivery, and in which order they come; what is left out of it stays as it is."`
}

// webhookPacking is the config of a subscription as clients send it.
type webhookPacking struct {
	Delay          *string              `json:"delay,omitempty" minLength:"2" maxLength:"20" doc:"How long an event may wait for company: 1s to 30s. Defaults to 1s." example:"5s"`
	MaxPackageSize *int                 `json:"max_package_size,omitempty" minimum:"100" maximum:"1048576" doc:"The size of one delivery's body at most, in bytes. A larger event is sent alone. Defaults to 1048576."`
	Order          *domain.WebhookOrder `json:"order,omitempty" enum:"strict,resource" doc:"What waits behind a delivery that fails: with strict every event, with resource only those of the same resources, while others pass. The events of one resource always come in order. Defaults to strict."`
}

// createdWebhook is a subscription with its secret, which no other answer has.
type createdWebhook struct {
	domain.Webhook
	Secret string `json:"secret" doc:"What the v1 signatures of its requests are made with (Standard Webhooks): whsec_ and base64. It is shown this once; rotate_secret gives another one." example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`
}

// shownWebhook is a subscription with how its deliveries go.
type shownWebhook struct {
	domain.Webhook
	Delivery *WebhookDelivery `json:"delivery,omitzero" doc:"An addition of this engine. How the deliveries go; absent when that cannot be told at the moment."`
}

type (
	createWebhook struct {
		Body newWebhook
	}
	changeWebhook struct {
		ByID
		Body webhookChange
	}
)

func (a *api) registerWebhooks() {
	register(a, route{
		id: "createWebhook", scope: auth.WebhooksAdmin, method: http.MethodPost, path: "/webhooks", tag: tagWebhooks, summary: "Subscribe to events",
		text: "The subscription gets the events from its creation on. The answer has its `secret`, this once. " +
			"Every request is signed: by Standard Webhooks with the secret (`v1`) and with the engine's key (`v1a`), and with an HTTP message signature (`/auth/verify_keys`).",
		status: http.StatusCreated, success: "The subscription and its secret.", example: createdWebhook{exampleWebhook, exampleSecret},
		request: newWebhook{Title: exampleWebhook.Title, URL: exampleWebhook.URL, Type: exampleWebhook.Type},
	}, a.createWebhook)
	register(a, route{
		id: "listWebhooks", scope: auth.WebhooksRead, method: http.MethodGet, path: "/webhooks", tag: tagWebhooks, summary: "List the subscriptions",
		status: http.StatusOK, success: "A page of the subscriptions.", example: exampleList(exampleWebhook),
	}, ofClient(func(ctx context.Context, clientID, _ string, page domain.Page) ([]domain.Webhook, int, error) {
		all, total, err := a.webhooks.List(ctx, clientID, page)
		for i, w := range all {
			all[i] = inFull(w)
		}
		return all, total, err
	}))
	register(a, route{
		id: "getWebhook", scope: auth.WebhooksRead, method: http.MethodGet, path: "/webhooks/{id}", tag: tagWebhooks, summary: "Read a subscription",
		noun: nounWebhook, status: http.StatusOK, success: "The subscription, and how its deliveries go.",
		example: shownWebhook{exampleWebhook, &WebhookDelivery{LastDeliveredAt: &exampleWebhook.UpdatedAt}},
	}, a.readWebhook)
	register(a, route{
		id: "updateWebhook", scope: auth.WebhooksAdmin, method: http.MethodPatch, path: "/webhooks/{id}", tag: tagWebhooks, summary: "Change a subscription",
		text: "What is left out stays as it is; null is refused. An empty object changes nothing.",
		noun: nounWebhook, status: http.StatusOK, success: "The subscription.", example: exampleWebhook,
		request: map[string]any{"enabled": false},
	}, a.changeWebhook)
	register(a, route{
		id: "deleteWebhook", scope: auth.WebhooksAdmin, method: http.MethodDelete, path: "/webhooks/{id}", tag: tagWebhooks, summary: "End a subscription",
		noun: nounWebhook, status: http.StatusNoContent, success: "The subscription is no more.",
	}, a.deleteWebhook)
}

func (a *api) createWebhook(ctx context.Context, in *createWebhook) (*created[createdWebhook], error) {
	w := domain.Webhook{Title: in.Body.Title, URL: in.Body.URL, Enabled: true, Type: in.Body.Type, ExcludeType: in.Body.ExcludeType}
	if in.Body.Enabled != nil {
		w.Enabled = *in.Body.Enabled
	}
	w = in.Body.Config.onto(w).WithDefaults()
	if err := w.Validate(); err != nil {
		return nil, err
	}
	w, secret, err := a.webhooks.Create(ctx, requestOf(ctx).client, w)
	return &created[createdWebhook]{Location: "/webhooks/" + w.ID, Body: createdWebhook{inFull(w), secret}}, err
}

func (a *api) readWebhook(ctx context.Context, in *ByID) (*found[shownWebhook], error) {
	w, err := a.webhooks.Get(ctx, requestOf(ctx).client, in.ID)
	if err != nil {
		return nil, err
	}
	return &found[shownWebhook]{Body: shownWebhook{inFull(w), a.delivery(ctx, in.ID)}}, nil
}

func (a *api) changeWebhook(ctx context.Context, in *changeWebhook) (*found[domain.Webhook], error) {
	if in.Body == (webhookChange{}) {
		w, err := a.webhooks.Get(ctx, requestOf(ctx).client, in.ID)
		return &found[domain.Webhook]{Body: inFull(w)}, err
	}
	w, err := a.webhooks.Update(ctx, requestOf(ctx).client, in.ID, func(w domain.Webhook) (domain.Webhook, error) {
		w = in.Body.onto(w).WithDefaults()
		return w, w.Validate()
	})
	return &found[domain.Webhook]{Body: inFull(w)}, err
}

func (a *api) deleteWebhook(ctx context.Context, in *ByID) (*nothing, error) {
	return &nothing{}, a.webhooks.Delete(ctx, requestOf(ctx).client, in.ID)
}

// onto lays the change over a subscription.
func (c webhookChange) onto(w domain.Webhook) domain.Webhook {
	lay(&w.Title, c.Title)
	lay(&w.URL, c.URL)
	lay(&w.Enabled, c.Enabled)
	lay(&w.Type, c.Type)
	lay(&w.ExcludeType, c.ExcludeType)
	return c.Config.onto(w)
}

// onto lays what was given of the config over a subscription.
func (p *webhookPacking) onto(w domain.Webhook) domain.Webhook {
	if p != nil {
		lay(&w.Config.Delay, p.Delay)
		lay(&w.Config.MaxPackageSize, p.MaxPackageSize)
		lay(&w.Config.Order, p.Order)
	}
	return w
}

// inFull shows the order also where none was given.
func inFull(w domain.Webhook) domain.Webhook {
	w.Config.Order = w.Config.Ordering()
	return w
}

func lay[T any](over *T, given *T) {
	if given != nil {
		*over = *given
	}
}
