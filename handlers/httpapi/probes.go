package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"time"
)

// health is what the probes answer.
type health struct {
	Status  string     `json:"status" enum:"ok,ready" doc:"ok: the process answers. ready: it can serve requests."`
	Sandbox bool       `json:"sandbox,omitzero" doc:"true in a sandbox, whose clock can be moved; absent elsewhere."`
	Now     *time.Time `json:"now,omitzero" doc:"What the clock of a sandbox shows (UTC); absent elsewhere."`
}

func (a *api) registerProbes() {
	register(a, route{
		id: "getOpenAPI", method: http.MethodGet, path: "/openapi.json", tag: tagService, summary: "Read this document", anonymous: true,
		status: http.StatusOK, success: "The OpenAPI 3.1 document.",
		content: []content{{mediaJSON, reflect.TypeFor[map[string]any]()}},
	}, func(context.Context, *struct{}) (*raw, error) {
		return &raw{ContentType: mediaJSON, Body: a.document}, nil
	})
	register(a, route{
		id: "getHealth", method: http.MethodGet, path: "/healthz", tag: tagService, summary: "Is the process alive?", anonymous: true,
		status: http.StatusOK, success: "It is.", example: health{Status: "ok"},
	}, func(context.Context, *struct{}) (*found[health], error) {
		return &found[health]{Body: health{Status: "ok"}}, nil
	})
	register(a, route{
		id: "getReadiness", method: http.MethodGet, path: "/readyz", tag: tagService, summary: "Can it serve requests?", anonymous: true,
		text:   "503 with the reason while it cannot. In a sandbox it says so, and shows the clock.",
		status: http.StatusOK, success: "It can.", example: health{Status: "ready"},
	}, func(ctx context.Context, _ *struct{}) (*found[health], error) {
		if err := a.ready(ctx); err != nil {
			return nil, newProblem(requestOf(ctx), unavailable, "not ready: "+cut(err.Error()))
		}
		return &found[health]{Body: a.readiness()}, nil
	})
}

// readiness tells everybody who looks that a sandbox is one.
func (a *api) readiness() health {
	if a.sandbox == nil {
		return health{Status: "ready"}
	}
	now := a.now().UTC()
	return health{Status: "ready", Sandbox: true, Now: &now}
}
