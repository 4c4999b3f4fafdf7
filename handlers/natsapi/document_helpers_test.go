package natsapi_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"closure/handlers/natsapi"
)

// asyncDocument is the AsyncAPI document as a program reads it.
type asyncDocument struct {
	t        *testing.T
	root     map[string]any
	compiler *jsonschema.Compiler
}

func newAsyncDocument(t *testing.T) *asyncDocument {
	t.Helper()
	body, err := natsapi.AsyncAPI("1.2.3", "nats://127.0.0.1:4222")
	require.NoError(t, err)
	again, err := natsapi.AsyncAPI("1.2.3", "nats://127.0.0.1:4222")
	require.NoError(t, err)
	require.Equal(t, string(body), string(again), "it is the same each time")
	d := &asyncDocument{t: t, root: parsed(t, body).(map[string]any), compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft7) // AsyncAPI 3.0: Schema Object
	d.compiler.AssertFormat()
	require.NoError(t, d.compiler.AddResource("mem:///asyncapi.json", d.root))
	return d
}

// parsed reads JSON with its numbers as they stand there.
func parsed(t testing.TB, body []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	require.NoError(t, err, "%s", body)
	return v
}

// at follows a reference.
func (d *asyncDocument) at(ref string) any {
	d.t.Helper()
	var v any = d.root
	for step := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		object, ok := v.(map[string]any)
		require.True(d.t, ok, ref)
		v, ok = object[step]
		require.True(d.t, ok, "%s is not there", ref)
	}
	return v
}

func (d *asyncDocument) object(ref string) map[string]any {
	d.t.Helper()
	object, ok := d.at(ref).(map[string]any)
	require.True(d.t, ok, ref)
	return object
}

// misfit says how a value does not fit the schema at a reference; nil when it does.
func (d *asyncDocument) misfit(ref string, value any) error {
	d.t.Helper()
	schema, err := d.compiler.Compile("mem:///asyncapi.json" + ref)
	require.NoError(d.t, err)
	return schema.Validate(value)
}

// fits asks for a message that the document describes whole: its headers and its body fit, and have no member that is not in it.
func (d *asyncDocument) fits(message string, headers map[string]any, body []byte) {
	d.t.Helper()
	ref := "#/components/messages/" + message
	payload := parsed(d.t, body)
	require.NoError(d.t, d.misfit(ref+"/payload", payload), "%s: %s", message, body)
	require.Empty(d.t, d.unknown(d.object(ref+"/payload"), payload, message), "%s", body)
	if headers != nil {
		require.NoError(d.t, d.misfit(ref+"/headers", headers), "%s: %v", message, headers)
		require.Empty(d.t, d.unknown(d.object(ref+"/headers"), headers, message))
	}
}

// unknown lists the members of a value that its schema does not speak of.
func (d *asyncDocument) unknown(schema map[string]any, value any, place string) (out []string) {
	d.t.Helper()
	properties := map[string]any{}
	items, _ := schema["items"].(map[string]any)
	for _, s := range d.parts(schema) {
		more, _ := s["properties"].(map[string]any)
		maps.Copy(properties, more)
		if list, ok := s["items"].(map[string]any); ok {
			items = list
		}
	}
	switch value := value.(type) {
	case map[string]any:
		for name, member := range value {
			property, ok := properties[name].(map[string]any)
			switch {
			case ok:
				out = append(out, d.unknown(property, member, place+"."+name)...)
			case len(properties) > 0: // an object without any is one that depends
				out = append(out, place+"."+name)
			}
		}
	case []any:
		for _, item := range value {
			out = append(out, d.unknown(items, item, place+"[]")...)
		}
	}
	return out
}

// parts are the schema, what it refers to, and what it is all of.
func (d *asyncDocument) parts(schema map[string]any) []map[string]any {
	d.t.Helper()
	out := []map[string]any{schema}
	if ref, ok := schema["$ref"].(string); ok {
		out = append(out, d.parts(d.object(ref))...)
	}
	all, _ := schema["allOf"].([]any)
	for _, s := range all {
		out = append(out, d.parts(s.(map[string]any))...)
	}
	return out
}
