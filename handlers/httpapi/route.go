package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"closure/handlers/auth"
)

// route is what a call says of itself beside the types of its input and its answer.
type route struct {
	id      string // operationId
	method  string
	path    string
	tag     string
	summary string
	text    string // description

	scope     auth.Scope // what a client needs; "" for none
	noun      string     // what an id in the path is the id of
	part      string     // what a second id in the path is the id of
	anonymous bool       // needs no client id
	conflicts bool       // may answer 409
	rules     bool       // may answer 422
	keyed     bool       // needs an idempotency key
	form      bool       // takes its body as a form, not as JSON

	status  int    // of success
	success string // description of the answer
	example any    // of the answer
	request any    // example of the body

	// content is for answers that the Go type does not describe: media types in the order of preference. Defaults to JSON
	// of the answer's type.
	content []content
}

// content is one representation of an answer.
type content struct {
	media string
	of    reflect.Type // nil for bytes
}

const routeKey = "route"

func routeOf(op *huma.Operation) route {
	r, _ := op.Metadata[routeKey].(route)
	return r
}

// media are the media types of the answer, in the order of preference.
func (r route) media() []string {
	if len(r.content) == 0 {
		return []string{mediaJSON}
	}
	var media []string
	for _, c := range r.content {
		media = append(media, c.media)
	}
	return media
}

// register adds a call: to the router, to the checks that all calls share, and to the OpenAPI document.
func register[I, O any](a *api, r route, handle func(context.Context, *I) (*O, error)) {
	a.routes[r.method+" "+r.path] = r
	huma.Register(a.huma, r.operation(a.huma.OpenAPI().Components.Schemas), func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, a.problemOf(ctx, err)
		}
		return out, nil
	})
}

// operation is the call as the OpenAPI document has it, but for what huma adds from the types.
func (r route) operation(registry huma.Registry) huma.Operation {
	op := huma.Operation{
		OperationID: r.id, Method: r.method, Path: r.path, Tags: []string{r.tag}, Summary: r.summary, Description: r.text,
		DefaultStatus: r.status, Metadata: map[string]any{routeKey: r}, Responses: map[string]*huma.Response{},
		// The body was read and bounded before huma sees it.
		MaxBodyBytes: -1, BodyReadTimeout: -1,
	}
	if r.scope != "" {
		op.Security = []map[string][]string{{schemeOAuth: {string(r.scope)}}}
	}
	for _, name := range r.headers() {
		op.Parameters = append(op.Parameters, &huma.Param{Ref: "#/components/parameters/" + name})
	}
	if r.request != nil {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{r.bodyMedia(): {Example: r.request}}}
	}
	op.Responses[strconv.Itoa(r.status)] = r.answer(registry)
	for _, status := range r.refusals() {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + responseName(status)}
	}
	return op
}

// bodyMedia is the media type of the body.
func (r route) bodyMedia() string {
	if r.form {
		return mediaForm
	}
	return mediaJSON
}

func (r route) headers() []string {
	names := []string{headerAPIVersion}
	if !r.anonymous {
		names = append(names, headerClientID)
	}
	if r.keyed {
		names = append(names, headerIdempotencyKey)
	}
	return names
}

func (r route) answer(registry huma.Registry) *huma.Response {
	answer := &huma.Response{
		Description: r.success,
		Headers:     map[string]*huma.Param{headerRequestID: {Ref: "#/components/headers/" + headerRequestID}},
	}
	for _, c := range r.content {
		media := &huma.MediaType{}
		if c.of != nil {
			media.Schema, media.Example = registry.Schema(c.of, true, ""), r.example
		}
		if answer.Content == nil {
			answer.Content = map[string]*huma.MediaType{}
		}
		answer.Content[c.media] = media
	}
	if len(r.content) == 0 && r.example != nil {
		answer.Content = map[string]*huma.MediaType{mediaJSON: {Example: r.example}}
	}
	return answer
}

// refusals are the statuses that the call may answer beside success.
func (r route) refusals() []int {
	statuses := []int{http.StatusBadRequest, http.StatusNotAcceptable, http.StatusInternalServerError,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout}
	if !r.anonymous {
		statuses = append(statuses, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests)
	}
	if r.form { // a secret is checked
		statuses = append(statuses, http.StatusUnauthorized, http.StatusTooManyRequests)
	}
	if r.keyed {
		r.conflicts = true
	}
	if strings.Contains(r.path, "{") || r.noun != "" {
		statuses = append(statuses, http.StatusNotFound)
	}
	if r.conflicts {
		statuses = append(statuses, http.StatusConflict)
	}
	if r.rules {
		statuses = append(statuses, http.StatusUnprocessableEntity)
	}
	if r.request != nil {
		statuses = append(statuses, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	return statuses
}
