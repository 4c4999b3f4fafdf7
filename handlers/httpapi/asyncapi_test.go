package httpapi

import (
	stdjson "encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/handlers/natsapi"
)

func withAsyncAPI(t *testing.T) *service {
	t.Helper()
	return start(t, func(cfg *Config) {
		var err error
		cfg.AsyncAPI, err = natsapi.AsyncAPI(cfg.Version, "nats://127.0.0.1:4222")
		require.NoError(t, err)
	})
}

// Whoever asks gets the document, without saying who it is, and OpenAPI knows of it.
func TestAsyncAPI(t *testing.T) {
	s := withAsyncAPI(t)
	a := s.send(call{method: "GET", path: "/asyncapi.json", header: map[string]string{headerClientID: ""}})
	require.Equal(t, http.StatusOK, a.status)
	require.Equal(t, mediaJSON, a.header.Get("Content-Type"))
	var doc struct {
		AsyncAPI string `json:"asyncapi"`
		Info     struct{ Version string }
	}
	require.NoError(t, stdjson.Unmarshal(a.body, &doc))
	require.Equal(t, "3.0.0", doc.AsyncAPI)
	require.Equal(t, "1.2.3", doc.Info.Version)
	op, ok := at(document(t, s), "#/paths/~1asyncapi.json/get")
	require.True(t, ok)
	require.Len(t, op.(map[string]any)["parameters"], 1, "the version of the API alone")
}

// An engine without it has no such path.
func TestNoAsyncAPI(t *testing.T) {
	s := start(t)
	s.refused(call{method: "GET", path: "/asyncapi.json"}, notFound, "")
	_, ok := at(document(t, s), "#/paths/~1asyncapi.json")
	require.False(t, ok)
}

// Both documents are made from the same types: what has a schema in both has the same one.
func TestAsyncAPIAndOpenAPIAgree(t *testing.T) {
	s := withAsyncAPI(t)
	var async map[string]any
	require.NoError(t, stdjson.Unmarshal(s.api.asyncapi, &async))
	mine, _ := at(document(t, s), "#/components/schemas")
	theirs, ok := at(async, "#/components/schemas")
	require.True(t, ok)
	same := 0
	for name, schema := range mine.(map[string]any) {
		other, ok := theirs.(map[string]any)[name]
		if !ok || name == "Problem" { // over NATS a problem is of no request, and so has no instance
			continue
		}
		require.Equal(t, schema, other, name)
		same++
	}
	for _, name := range []string{"Account", "AccountGroup", "Order", "Liquidation", "User", "Report", "Closure", "Blocker", "ClosureItem", "Webhook", "Party"} {
		require.Contains(t, theirs, name)
		require.Contains(t, mine, name)
	}
	require.GreaterOrEqual(t, same, 15)
}
