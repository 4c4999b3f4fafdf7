package httpapi

import (
	"context"
	"net/http"
)

// mediaMetrics is the text format of Prometheus.
const mediaMetrics = "text/plain; version=0.0.4; charset=utf-8"

// registerMetrics adds the call for what is measured. Who wires the engine says whether it is there: it is of all clients together.
func (a *api) registerMetrics() {
	if a.metrics == nil {
		return
	}
	register(a, route{
		id: "getMetrics", method: http.MethodGet, path: "/metrics", tag: tagService, summary: "Read the metrics",
		text:      "In the text format of Prometheus. Only where nobody else can reach it.",
		anonymous: true, status: http.StatusOK, success: "The metrics.", content: []content{{mediaText, nil}},
	}, func(context.Context, *struct{}) (*raw, error) {
		text, err := a.metrics()
		if err != nil {
			return nil, err
		}
		return &raw{ContentType: mediaMetrics, Body: text}, nil
	})
}
