package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"closure/domain"
	"closure/handlers"
)

const description = `Closes investment accounts and account groups: a close request is taken at once (202), and the resource becomes CLOSED by itself as soon as nothing stands against it. ` + "`…/closure`" + ` shows what still does.

**Tenancy.** Every call names its client in ` + "`upvest-client-id`" + `. A resource of another client is answered as one that does not exist (404).

**Authentication.** Every call needs an access token of its client (` + "`authorization: Bearer …`" + `), with the scope that stands with the call; ` + "`POST /auth/token`" + ` gives one. A scope for administration includes the one for reading. A client with registered keys also signs each request (HTTP message signatures, draft 15). 401 says that nobody knows who asks, 403 that a scope is missing, 429 that the client asks too often.

**Repeating.** DELETE is safe to repeat by itself. POST of accounts, account groups, orders and liquidations needs an ` + "`idempotency-key`" + ` (the others do not know it): a repetition under the same key makes nothing again, and for 24 hours is answered as the first time; another request under the same key is 409.

**Errors** are ` + "`application/problem+json`" + ` (RFC 9457). Their ` + "`type`" + ` is stable; ` + "`detail`" + ` names the field and what would be right. Every answer has an ` + "`upvest-request-id`" + `.

**Bodies** are JSON objects of at most 1 MiB. A member that a call does not know is refused. Members of the public Investment API that this engine does not use are accepted and ignored; each is listed with its call.

**Answers** may get further members over time; be ready to pass over what you do not know.

**Reading.** A single resource shows what was just accepted. Lists may lag by a moment. Times are UTC in RFC 3339; ids are uuids.

405 (with ` + "`Allow`" + `) answers a method that a path does not have, 404 a path that is none.`

// The tags of the document.
const (
	tagAccounts     = "Accounts"
	tagGroups       = "Account groups"
	tagUsers        = "Users"
	tagOrders       = "Orders"
	tagLiquidations = "Liquidations"
	tagClosures     = "Closings"
	tagWebhooks     = "Webhooks"
	tagReports      = "Reports"
	tagAuth         = "Authentication"
	tagService      = "Service"
	tagSandbox      = "Sandbox" // only in a sandbox
)

func newDocument(version string) *huma.OpenAPI {
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	uuid := func() *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Format: "uuid", Examples: []any{exampleID}}
	}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "closure", Version: version, Description: description,
			License: &huma.License{Name: "Apache 2.0", Identifier: "Apache-2.0"},
		},
		Tags: []*huma.Tag{
			{Name: tagAccounts, Description: "Open, rename and close accounts."},
			{Name: tagGroups, Description: "Open and close account groups."},
			{Name: tagUsers, Description: "Read and offboard users."},
			{Name: tagOrders, Description: "Buy and sell."},
			{Name: tagLiquidations, Description: "Sell everything that an account holds."},
			{Name: tagClosures, Description: "What was asked to close, and what still stands against it."},
			{Name: tagWebhooks, Description: "Subscriptions: where events are posted."},
			{Name: tagReports, Description: "What was made of a closing, to read and to keep."},
			{Name: tagAuth, Description: "Access tokens."},
			{Name: tagService, Description: "This document, and the probes."},
		},
		Components: &huma.Components{
			Schemas: registry,
			Headers: map[string]*huma.Header{
				headerRequestID: {Description: "The id of the request, a new uuid. Support finds the request by it.", Schema: uuid()},
			},
			Parameters: map[string]*huma.Param{
				headerClientID:       {Name: headerClientID, In: "header", Required: true, Description: "The client (tenant) in whose name the call is made.", Schema: uuid()},
				headerAPIVersion:     {Name: headerAPIVersion, In: "header", Description: "The version of the API.", Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{apiVersion}, Default: apiVersion}},
				headerIdempotencyKey: {Name: headerIdempotencyKey, In: "header", Required: true, Description: "A new uuid for each request, and the same one to repeat it.", Schema: uuid()},
			},
			SecuritySchemes: securitySchemes(),
			Responses:       map[string]*huma.Response{},
		},
	}
	schema := registry.Schema(reflect.TypeFor[problem](), true, "")
	for status := range refusalTexts {
		doc.Components.Responses[responseName(status)] = refusalResponse(status, schema)
	}
	return doc
}

// refusalTexts describes the refusals of the document by their status.
var refusalTexts = map[int]string{
	http.StatusBadRequest:            "The request is not valid (`invalid_request`), or the client id (`missing_client_id`) or the idempotency key (`missing_idempotency_key`) is missing or none.",
	http.StatusUnauthorized:          "Nobody knows who asks: the access token, the secret or the signature is missing or not valid (`unauthorised`).",
	http.StatusForbidden:             "The access token does not have the scope that the call needs (`forbidden`).",
	http.StatusTooManyRequests:       "The client asks too often (`too_many_requests`); come again after `retry-after`.",
	http.StatusNotFound:              "There is no such resource, it is another client's, or its id is malformed (`not_found`).",
	http.StatusNotAcceptable:         "`accept` allows no representation that there is (`not_acceptable`).",
	http.StatusConflict:              "The present state does not allow it (`conflict`); `blockers` has what stands against it.",
	http.StatusRequestEntityTooLarge: "The body is over 1 MiB (`payload_too_large`).",
	http.StatusUnsupportedMediaType:  "The body is not `application/json` (`unsupported_media_type`).",
	http.StatusUnprocessableEntity:   "The rules do not allow it (`unprocessable_entity`): the detail says which.",
	http.StatusInternalServerError:   "Something went wrong on our side (`internal`).",
	http.StatusServiceUnavailable:    "It cannot be answered at present (`unavailable`); repeat it after `retry-after`.",
	http.StatusGatewayTimeout:        "It was not done in time (`gateway_timeout`).",
}

// responseName is the status in the form of a component's name: NotFound.
func responseName(status int) string {
	return strings.ReplaceAll(http.StatusText(status), " ", "")
}

func refusalResponse(status int, schema *huma.Schema) *huma.Response {
	example := problem{Status: status, Instance: "/accounts/" + exampleID, RequestID: exampleRequestID}
	// The first kind with this status serves the example.
	for _, s := range handlers.Slugs() {
		if s.Status() == status {
			example.Type, example.Title, example.Detail = s.Type(), s.Title(), s.Title()
			break
		}
	}
	switch status {
	case http.StatusBadRequest:
		example.Detail = `name: must be a string of 1 to 100 characters, got ""`
	case http.StatusConflict:
		example.Detail, example.Blockers = "OUTSTANDING_WITHDRAWALS: "+exampleBlocker.Detail, []domain.Blocker{exampleBlocker}
	case http.StatusUnprocessableEntity:
		example.Instance, example.Detail = "/orders", "the account is CLOSING: it takes SELL orders only, got BUY"
	}
	r := &huma.Response{
		Description: refusalTexts[status],
		Headers:     map[string]*huma.Param{headerRequestID: {Ref: "#/components/headers/" + headerRequestID}},
		Content:     map[string]*huma.MediaType{mediaProblem: {Schema: schema, Example: example}},
	}
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		r.Headers["retry-after"] = &huma.Param{Description: "When to try again, in seconds.", Schema: &huma.Schema{Type: huma.TypeInteger}}
	}
	return r
}

// schemaName names the schemas as clients speak of them: Account, not AccountResource.
func schemaName(t reflect.Type, hint string) string {
	return strings.ReplaceAll(huma.DefaultSchemaNamer(t, hint), "Resource", "")
}

// finishDocument writes the document down once all calls are in it.
func finishDocument(doc *huma.OpenAPI) ([]byte, error) {
	schemas := doc.Components.Schemas.Map()
	// huma's own shape of errors, which no call answers with (transform).
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	taken := takenSchemas(doc)
	for _, s := range schemas {
		for _, property := range s.Properties {
			// jsonFormat writes [] where Go has nil.
			if property.Type == huma.TypeArray {
				property.Nullable = false
			}
		}
		// What is taken in is strict. What is given may grow members, and clients should be ready for that.
		if !taken[s] {
			s.AdditionalProperties = nil
		}
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("HTTP: the OpenAPI document: %w", err)
	}
	return body, nil
}

// takenSchemas are the schemas of all bodies that are taken in, and of what they hold.
func takenSchemas(doc *huma.OpenAPI) map[*huma.Schema]bool {
	taken := map[*huma.Schema]bool{}
	var take func(s *huma.Schema)
	take = func(s *huma.Schema) {
		if s = resolve(doc.Components.Schemas, s); s == nil || taken[s] {
			return
		}
		taken[s] = true
		take(s.Items)
		for _, property := range s.Properties {
			take(property)
		}
	}
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Post, item.Patch} {
			if op != nil && op.RequestBody != nil {
				for _, media := range op.RequestBody.Content {
					take(media.Schema)
				}
			}
		}
	}
	return taken
}
