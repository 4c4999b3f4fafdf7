package httpapi

import (
	"context"
	"net/http"
	"reflect"
)

// registerAsyncAPI adds the call for the document of what goes over NATS. Who wires the engine has it made there: the ways in do
// not know each other.
func (a *api) registerAsyncAPI() {
	if a.asyncapi == nil {
		return
	}
	register(a, route{
		id: "getAsyncAPI", method: http.MethodGet, path: "/asyncapi.json", tag: tagService, summary: "Read the document of events and commands over NATS",
		anonymous: true, status: http.StatusOK, success: "The AsyncAPI 3.0 document.",
		content: []content{{mediaJSON, reflect.TypeFor[map[string]any]()}},
	}, func(context.Context, *struct{}) (*raw, error) {
		return &raw{ContentType: mediaJSON, Body: a.asyncapi}, nil
	})
}
