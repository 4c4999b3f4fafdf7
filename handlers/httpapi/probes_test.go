package httpapi

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProbes(t *testing.T) {
	var reason atomic.Value
	s := start(t, func(cfg *Config) {
		cfg.Ready = func(context.Context) error {
			if text, ok := reason.Load().(string); ok && text != "" {
				return errors.New(text)
			}
			return nil
		}
	})
	open := map[string]string{headerClientID: ""}
	require.JSONEq(t, `{"status": "ok"}`, string(s.send(call{method: "GET", path: "/healthz", header: open}).body))
	require.JSONEq(t, `{"status": "ready"}`, string(s.send(call{method: "GET", path: "/readyz", header: open}).body))

	reason.Store("the lists are being built")
	s.refused(call{method: "GET", path: "/readyz", header: open}, unavailable, "not ready: the lists are being built")
	require.Equal(t, http.StatusOK, s.send(call{method: "GET", path: "/healthz", header: open}).status)
	require.Equal(t, http.StatusServiceUnavailable, s.send(call{method: "HEAD", path: "/readyz", header: open}).status)
	reason.Store("")
	require.Equal(t, http.StatusOK, s.send(call{method: "GET", path: "/readyz", header: open}).status)
}
