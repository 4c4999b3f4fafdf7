package httpapi

import (
	stdjson "encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/require"
)

// document is /openapi.json as a client reads it: plain JSON.
func document(t *testing.T, s *service) map[string]any {
	t.Helper()
	a := s.send(call{method: "GET", path: "/openapi.json", header: map[string]string{headerClientID: ""}})
	require.Equal(t, http.StatusOK, a.status)
	require.Equal(t, mediaJSON, a.header.Get("Content-Type"))
	var doc map[string]any
	require.NoError(t, stdjson.Unmarshal(a.body, &doc))
	return doc
}

// at follows a JSON pointer.
func at(doc any, pointer string) (any, bool) {
	for _, token := range strings.Split(strings.TrimPrefix(pointer, "#/"), "/") {
		object, ok := doc.(map[string]any)
		if !ok {
			return nil, false
		}
		if doc, ok = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(token)]; !ok {
			return nil, false
		}
	}
	return doc, true
}

// walk visits every object of the document with its path.
func walk(path string, v any, visit func(path string, object map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(path, v)
		for name, member := range v {
			walk(path+"/"+name, member, visit)
		}
	case []any:
		for i, item := range v {
			walk(fmt.Sprintf("%s/%d", path, i), item, visit)
		}
	}
}

func TestDocumentIsWhole(t *testing.T) {
	s := start(t)
	doc := document(t, s)
	require.Equal(t, "3.1.0", doc["openapi"])
	info := doc["info"].(map[string]any)
	require.Equal(t, "closure", info["title"])
	require.Equal(t, "1.2.3", info["version"])
	require.Contains(t, info["description"], "upvest-client-id")

	refs := 0
	used := map[string]bool{}
	walk("", doc, func(path string, object map[string]any) {
		ref, ok := object["$ref"].(string)
		if !ok {
			return
		}
		refs++
		used[ref] = true
		_, found := at(doc, ref)
		require.True(t, found, "%s refers to %s, which is not there", path, ref)
	})
	require.Greater(t, refs, 100)
	for group, components := range doc["components"].(map[string]any) {
		if group == "securitySchemes" { // operations name them
			continue
		}
		for name := range components.(map[string]any) {
			require.True(t, used["#/components/"+group+"/"+name], "nothing uses the component %s %s", group, name)
		}
	}
}

// The calls of the contract that this version has.
var calls = []string{
	"GET /accounts", "POST /accounts", "GET /accounts/{id}", "PATCH /accounts/{id}", "DELETE /accounts/{id}",
	"GET /accounts/{id}/closure", "GET /accounts/{id}/history", "GET /users/{id}/accounts",
	"GET /account_groups", "POST /account_groups", "GET /account_groups/{id}", "DELETE /account_groups/{id}",
	"GET /account_groups/{id}/closure", "GET /account_groups/{id}/history", "GET /users/{id}/account_groups",
	"GET /webhooks", "POST /webhooks", "GET /webhooks/{id}", "PATCH /webhooks/{id}", "DELETE /webhooks/{id}",
	"GET /webhooks/{id}/attempts", "POST /webhooks/{id}/test", "POST /webhooks/{id}/replay", "POST /webhooks/{id}/events/{event_id}/resend",
	"POST /webhooks/{id}/rotate_secret", "GET /auth/verify_keys", "POST /auth/token",
	"GET /users/{id}/reports", "GET /reports/{id}", "GET /openapi.json", "GET /healthz", "GET /readyz",
	"POST /orders", "GET /orders/{id}", "GET /users/{id}", "DELETE /users/{id}", "GET /closures",
	"GET /accounts/{id}/liquidations", "POST /accounts/{id}/liquidations",
	"GET /accounts/{id}/liquidations/{liquidation_id}", "DELETE /accounts/{id}/liquidations/{liquidation_id}",
}

func TestDocumentOperations(t *testing.T) {
	s := start(t)
	doc := document(t, s)
	var found []string
	ids := map[string]bool{}
	tags := map[string]bool{}
	for _, tag := range doc["tags"].([]any) {
		tags[tag.(map[string]any)["name"].(string)] = true
	}
	for path, item := range doc["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			name := strings.ToUpper(method) + " " + path
			found = append(found, name)
			op := op.(map[string]any)
			id, _ := op["operationId"].(string)
			require.Regexp(t, `^[a-z][A-Za-z]+$`, id, name)
			require.False(t, ids[id], "the operationId %s stands twice", id)
			ids[id] = true
			require.NotEmpty(t, op["summary"], name)
			for _, tag := range op["tags"].([]any) {
				require.True(t, tags[tag.(string)], "%s has the unknown tag %s", name, tag)
			}
			checkParameters(t, doc, name, path, op)
			checkResponses(t, doc, name, op)
		}
	}
	require.ElementsMatch(t, calls, found)
}

var inPath = regexp.MustCompile(`\{([^}]+)\}`)

func checkParameters(t *testing.T, doc map[string]any, name, path string, op map[string]any) {
	t.Helper()
	declared := map[string]bool{}
	headers := map[string]bool{}
	for _, p := range op["parameters"].([]any) {
		p := p.(map[string]any)
		if ref, ok := p["$ref"].(string); ok {
			resolved, _ := at(doc, ref)
			p = resolved.(map[string]any)
		}
		require.NotEmpty(t, p["description"], "%s: the parameter %s has no description", name, p["name"])
		require.NotEmpty(t, p["schema"], name)
		switch p["in"] {
		case "path":
			require.Equal(t, true, p["required"], name)
			declared[p["name"].(string)] = true
		case "header":
			headers[p["name"].(string)] = true
		}
	}
	for _, m := range inPath.FindAllStringSubmatch(path, -1) {
		require.True(t, declared[m[1]], "%s does not declare {%s}", name, m[1])
		delete(declared, m[1])
	}
	require.Empty(t, declared, "%s declares what its path does not have", name)
	open := slices.Contains([]string{"/openapi.json", "/healthz", "/readyz", "/auth/verify_keys", "/auth/token"}, path)
	require.Equal(t, !open, headers[headerClientID], name)
	require.True(t, headers[headerAPIVersion], name)
}

func checkResponses(t *testing.T, doc map[string]any, name string, op map[string]any) {
	t.Helper()
	responses := op["responses"].(map[string]any)
	successes := 0
	for status, r := range responses {
		r := r.(map[string]any)
		if ref, ok := r["$ref"].(string); ok {
			resolved, _ := at(doc, ref)
			r = resolved.(map[string]any)
		}
		require.NotEmpty(t, r["description"], "%s %s", name, status)
		headers, _ := r["headers"].(map[string]any)
		require.Contains(t, headers, headerRequestID, "%s %s", name, status)
		content, _ := r["content"].(map[string]any)
		if status[0] == '2' {
			successes++
			continue
		}
		require.Contains(t, "45", status[:1], name)
		require.Equal(t, []string{mediaProblem}, slices.Sorted(mapKeys(content)), "%s %s", name, status)
		schema := content[mediaProblem].(map[string]any)["schema"]
		require.Equal(t, map[string]any{"$ref": "#/components/schemas/Problem"}, schema)
	}
	require.Equal(t, 1, successes, name)
	require.Contains(t, responses, "400", name)
	require.Contains(t, responses, "500", name)
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// Every example is valid by the schema that it stands beside; every call with a JSON body has one.
func TestDocumentExamples(t *testing.T) {
	s := startSandbox(t) // its document has all calls
	checked := 0
	check := func(where string, media *huma.MediaType) {
		require.NotNil(t, media.Schema, where)
		require.NotNil(t, media.Example, "%s has no example", where)
		raw, err := stdjson.Marshal(media.Example)
		require.NoError(t, err)
		var value any
		require.NoError(t, stdjson.Unmarshal(raw, &value))
		require.Empty(t, misfits(s.api, media.Schema, value), "%s: %s", where, raw)
		checked++
	}
	doc := s.api.huma.OpenAPI()
	for path, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			if op.RequestBody != nil {
				for _, media := range op.RequestBody.Content {
					check("the body of "+op.OperationID, media)
				}
			}
			for status, r := range op.Responses {
				if media := r.Content[mediaJSON]; media != nil && path != "/openapi.json" {
					check(op.OperationID+" "+status, media)
				}
			}
		}
	}
	for name, r := range doc.Components.Responses {
		check(name, r.Content[mediaProblem])
	}
	require.Greater(t, checked, 30)
}

// Members of the public API that are not used are in the document, and it says so.
func TestDocumentNamesWhatIsIgnored(t *testing.T) {
	s := start(t)
	doc := document(t, s)
	for schema, members := range map[string][]string{
		"NewAccount":      {"client_reference", "user_id"},
		"NewAccountGroup": {"client_reference", "securities_account_number"},
		"NewOrder": {"client_reference", "limit_price", "stop_price", "expiry_date", "user_instrument_fit_acknowledgement", "fee",
			"fee_configuration", "initiation_flow", "initiation_id", "execution_flow"},
	} {
		for _, member := range members {
			text, ok := at(doc, "#/components/schemas/"+schema+"/properties/"+member+"/description")
			require.True(t, ok, "%s.%s", schema, member)
			require.Contains(t, text, "Accepted and ignored")
		}
	}
	for _, absent := range []string{"ErrorModel", "ErrorDetail"} {
		_, ok := at(doc, "#/components/schemas/"+absent)
		require.False(t, ok, absent)
	}
	// A secret is in the two answers that make one, and nowhere else.
	var secrets []string
	walk("", doc["components"], func(path string, object map[string]any) {
		if _, ok := object["secret"]; ok && strings.HasSuffix(path, "/properties") {
			secrets = append(secrets, path)
		}
	})
	require.ElementsMatch(t, []string{"/schemas/CreatedWebhook/properties", "/schemas/RotatedSecret/properties"}, secrets)
}

// What is taken in is strict, what is given may grow; and a list is never null.
func TestDocumentSchemas(t *testing.T) {
	s := start(t)
	doc := document(t, s)
	for name, schema := range doc["components"].(map[string]any)["schemas"].(map[string]any) {
		schema := schema.(map[string]any)
		taken := slices.Contains([]string{"NewAccount", "AccountChange", "NewAccountGroup", "NewWebhook", "WebhookChange", "WebhookPacking", "WebhookReplay", "SecretRotation", "Party", "NewOrder", "NewLiquidation", "TokenRequest"}, name)
		strict, said := schema["additionalProperties"]
		require.Equal(t, taken, said && strict == false, name)
		for member, property := range schema["properties"].(map[string]any) {
			if types, ok := property.(map[string]any)["type"].([]any); ok {
				require.NotContains(t, types, "array", "%s.%s", name, member)
			}
		}
	}
}
