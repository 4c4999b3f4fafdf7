package natsapi_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/handlers/natsapi"
)

// The document is what AsyncAPI 3.0 asks for, by the schema of its makers.
func TestTheAsyncAPIDocumentIsValid(t *testing.T) {
	t.Parallel()
	d := newAsyncDocument(t)
	source, err := os.ReadFile("testdata/asyncapi/3.0.0.json")
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("http://asyncapi.com/definitions/3.0.0/asyncapi.json", parsed(t, source)))
	schema, err := c.Compile("http://asyncapi.com/definitions/3.0.0/asyncapi.json")
	require.NoError(t, err)
	require.NoError(t, schema.Validate(d.root))
	// That schema does find what is wrong.
	delete(d.object("#/operations/log"), "action")
	require.Error(t, schema.Validate(d.root))
}

var inBraces = regexp.MustCompile(`\{([^}]+)\}`)

// What the schema of AsyncAPI cannot say: references lead somewhere, operations use the messages of their channels, addresses and
// parameters belong together, and nothing stands there for nobody.
func TestTheAsyncAPIDocumentIsWhole(t *testing.T) {
	t.Parallel()
	d := newAsyncDocument(t)
	used := map[string]bool{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				d.at(ref)
				used[ref] = true
			}
			for name, member := range v {
				walk(path+"/"+name, member)
			}
		case []any:
			for _, item := range v {
				walk(path, item)
			}
		}
	}
	walk("", d.root)
	for _, group := range []string{"schemas", "messages"} {
		for name := range d.object("#/components/" + group) {
			if group == "messages" || d.object("#/components/schemas/" + name)["type"] != nil {
				require.True(t, used["#/components/"+group+"/"+name], "nothing uses %s %s", group, name)
			}
		}
	}
	for name, op := range d.object("#/operations") {
		op := op.(map[string]any)
		channel := op["channel"].(map[string]any)["$ref"].(string)
		for _, m := range op["messages"].([]any) {
			require.True(t, strings.HasPrefix(m.(map[string]any)["$ref"].(string), channel+"/messages/"), name)
		}
		require.NotEmpty(t, op["summary"], name)
		require.Contains(t, []any{"send", "receive"}, op["action"])
	}
	addresses := map[string]string{}
	for name, c := range d.object("#/channels") {
		c := c.(map[string]any)
		require.NotEmpty(t, c["title"], name)
		address, ok := c["address"].(string)
		if !ok {
			require.True(t, strings.HasSuffix(name, ".answer"), name)
			continue
		}
		require.Empty(t, addresses[address], "%s is %s, too", name, address)
		addresses[address] = name
		var tokens []string
		for _, m := range inBraces.FindAllStringSubmatch(address, -1) {
			tokens = append(tokens, m[1])
		}
		parameters, _ := c["parameters"].(map[string]any)
		require.ElementsMatch(t, tokens, slices.Collect(maps.Keys(parameters)), name)
	}
	require.Equal(t, "ACCOUNT.CLOSED", addresses["closure.event.{client_id}.account.closed.{id}"])
	require.Equal(t, "log", addresses["closure.log.{aggregate}.{id}"])
	require.Equal(t, "closures", addresses["closure.query.closures"])
}

// publishedTypes reads the types of published events out of the domain's source: a new one cannot be forgotten.
func publishedTypes(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../domain/*.go")
	require.NoError(t, err)
	var types []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			declared, ok := n.(*ast.ValueSpec)
			if !ok || len(declared.Values) != 1 || !strings.HasPrefix(declared.Names[0].Name, "Published") {
				return true
			}
			if value, ok := declared.Values[0].(*ast.BasicLit); ok && value.Kind == token.STRING {
				name, err := strconv.Unquote(value.Value)
				require.NoError(t, err)
				types = append(types, name)
			}
			return true
		})
	}
	require.Greater(t, len(types), 30)
	return types
}

// neverPublished is only ever posted by a test call.
const neverPublished = domain.PublishedWebhookTest

// Every type that is published has a channel, an operation and a message, and there are no others.
func TestEveryPublishedTypeIsInTheDocument(t *testing.T) {
	t.Parallel()
	d := newAsyncDocument(t)
	var described []string
	for name, c := range d.object("#/channels") {
		address, _ := c.(map[string]any)["address"].(string)
		if !strings.HasPrefix(address, "closure.event.") {
			continue
		}
		described = append(described, name)
		require.Equal(t, "closure.event.{client_id}."+strings.ToLower(name)+".{id}", address)
		require.Equal(t, "send", d.object("#/operations/" + name)["action"])
		require.Equal(t, "CLOSURE_EVENTS", c.(map[string]any)["x-jetstream-stream"])
		require.Equal(t, []any{name}, d.at("#/components/messages/"+name+"/headers/properties/ce-type/enum"))
	}
	types := slices.DeleteFunc(publishedTypes(t), func(name string) bool { return name == neverPublished })
	require.ElementsMatch(t, types, described, "publishedEvents lists what the document has")
}

// Every command is there for the inbox and for the micro service, and there are no others.
func TestEveryCommandIsInTheDocument(t *testing.T) {
	t.Parallel()
	d := newAsyncDocument(t)
	var want, got []string
	for _, kind := range domain.Kinds() {
		for _, command := range domain.CommandNames(kind) {
			name := string(kind) + "." + command
			for _, way := range []string{"command", "rpc"} {
				want = append(want, way+"."+name)
				require.Equal(t, fmt.Sprintf("closure.%s.%s.{id}.%s", way, kind, command), d.object("#/channels/" + way + "." + name)["address"])
			}
			require.Equal(t, "#/channels/rpc.answer", d.at("#/operations/rpc."+name+"/reply/channel/$ref"))
			require.NotContains(t, d.object("#/operations/command."+name), "reply")
			require.NotEmpty(t, d.at("#/components/messages/"+name+"/summary"))
			for member, schema := range d.object("#/components/schemas/" + name + "/properties") {
				require.NotEmpty(t, schema.(map[string]any)["description"], "%s: %s", name, member)
			}
		}
	}
	for name := range d.object("#/channels") {
		if strings.HasPrefix(name, "command.") || (strings.HasPrefix(name, "rpc.") && name != "rpc.answer") {
			got = append(got, name)
		}
	}
	require.ElementsMatch(t, want, got)
}

// Every message shows an example, which fits its schemas.
func TestTheExamplesOfTheDocument(t *testing.T) {
	t.Parallel()
	d := newAsyncDocument(t)
	for name, m := range d.object("#/components/messages") {
		m := m.(map[string]any)
		examples, _ := m["examples"].([]any)
		require.NotEmpty(t, examples, "%s has no example", name)
		for _, example := range examples {
			example := example.(map[string]any)
			headers, _ := example["headers"].(map[string]any)
			require.Equal(t, m["headers"] != nil, headers != nil, name)
			body, err := json.Marshal(example["payload"])
			require.NoError(t, err)
			d.fits(name, headers, body)
			if kind, command, ok := strings.Cut(name, "."); ok && domainHas(kind, command) {
				_, err := natsapi.ParseCommand(kind, someID, command, body)
				require.NoError(t, err, "%s: %s", name, body)
			}
		}
	}
}

func domainHas(kind, command string) bool {
	return slices.Contains(domain.CommandNames(domain.Kind(kind)), command)
}

// Where to connect is in the document; with which password is not.
func TestTheServersOfTheDocument(t *testing.T) {
	t.Parallel()
	servers := func(natsURL string) any {
		body, err := natsapi.AsyncAPI("1", natsURL)
		require.NoError(t, err)
		require.NotContains(t, string(body), "s3cret")
		return parsed(t, body).(map[string]any)["servers"]
	}
	server := func(host, protocol string) map[string]any { return map[string]any{"host": host, "protocol": protocol} }
	require.Equal(t, map[string]any{"nats": server("127.0.0.1:4222", "nats")}, servers("127.0.0.1:4222"))
	require.Equal(t, map[string]any{"nats": server("a:1", "nats"), "nats2": server("b:2", "wss")}, servers("nats://me:s3cret@a:1, wss://s3cret@b:2"))
	require.Equal(t, "With TLS.", servers("tls://a:1").(map[string]any)["nats"].(map[string]any)["description"])
	for _, wrong := range []string{"", "nats://", "nats://me:s3cret@", "nats://me:s3cret@a b"} {
		_, err := natsapi.AsyncAPI("1", wrong)
		require.ErrorContains(t, err, "of the form nats://host:port")
		require.NotContains(t, err.Error(), "s3cret")
	}
}
