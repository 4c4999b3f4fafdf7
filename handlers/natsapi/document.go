package natsapi

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
	"closure/handlers/natsapi/asyncapi"
)

const documentText = `What this engine takes and gives over NATS; ` + "`GET /openapi.json`" + ` describes the same engine over HTTP.

**Events** are CloudEvents 1.0 in binary mode, kept for ever in the stream ` + "`" + eventstore.StreamEvents + "`" + `: whoever begins later begins with the first one. The body is the resource in full, as it was right after the event's commit. The engine publishes each once, in the order of the log; a durable consumer gets it at least once, and knows it again by ` + "`ce-id`" + `. A consumer with ` + "`MaxAckPending`" + ` 1 gets them in order also when one fails.

**Commands and facts** are sent either to the durable inbox (` + "`" + eventstore.CommandForm + "`" + `; JetStream's acknowledgement means accepted and safe, and what is refused is published as ` + "`" + domain.PublishedCommandRejected + "`" + `) or to the micro service (` + "`" + eventstore.RPCForm + "`" + `), which answers at once. Both take the same bodies. They are strict: a member that a command does not have is refused. A command that comes again with the same ` + "`command_id`" + ` changes nothing.

**The log** (` + "`" + eventstore.LogSubjects + "`" + `) is there to be read, and is written by the engine alone.

Events may get further members and headers over time; be ready to pass over what you do not know. Times are UTC in RFC 3339; ids are uuids in lower case.`

// The tags of the document.
const (
	tagEvents   = "Events"
	tagCommands = "Commands"
	tagFacts    = "Facts"
	tagLog      = "Log"
	tagQueries  = "Queries"
)

func tagged(names ...string) []asyncapi.Tag {
	tags := make([]asyncapi.Tag, len(names))
	for i, name := range names {
		tags[i] = asyncapi.Tag{Name: name}
	}
	return tags
}

// document is one that is being written.
type document struct {
	asyncapi.Document
	schemas *asyncapi.Schemas
}

// AsyncAPI gives the AsyncAPI 3.0 document of the engine. It is made from the types that commands are read into and events are
// written from, so that the two cannot part. natsURL is where clients connect, several addresses joined by commas; users and
// passwords in it are left out of the document.
func AsyncAPI(version, natsURL string) ([]byte, error) {
	d := &document{schemas: asyncapi.NewSchemas(), Document: asyncapi.Document{
		AsyncAPI: asyncapi.Version, DefaultContentType: mediaJSON,
		Info: asyncapi.Info{
			Title: "closure", Version: version, Description: documentText, License: asyncapi.License{Name: "Apache 2.0"},
			Tags: []asyncapi.Tag{
				{Name: tagEvents, Description: "What happened, for everybody who may know."},
				{Name: tagCommands, Description: "Ask one resource for one thing."},
				{Name: tagFacts, Description: "Tell the whole present value of one thing, with a revision: in any order, and as often as you like."},
				{Name: tagLog, Description: "What was decided, and why."},
				{Name: tagQueries, Description: "For operators."},
			},
		},
		Servers: map[string]asyncapi.Server{}, Channels: map[string]asyncapi.Channel{}, Operations: map[string]asyncapi.Operation{},
		Components: asyncapi.Components{Messages: map[string]asyncapi.Message{}},
	}}
	if err := d.addServers(natsURL); err != nil {
		return nil, err
	}
	d.addEvents()
	d.addCommands()
	d.addQueries()
	d.addStatus()
	d.addLog()
	d.Components.Schemas = d.schemas.Finish(reflect.TypeFor[domain.Party](), reflect.TypeFor[ClosuresRequest]())
	body, err := json.Marshal(d.Document)
	if err != nil {
		return nil, fmt.Errorf("NATS: the AsyncAPI document: %w", err)
	}
	return body, nil
}

func (d *document) addServers(natsURL string) error {
	for i, address := range strings.Split(natsURL, ",") {
		address = strings.TrimSpace(address)
		if !strings.Contains(address, "://") {
			address = "nats://" + address
		}
		u, err := url.Parse(address)
		if err != nil || u.Host == "" {
			// Not the address itself: it may hold a password.
			return fmt.Errorf("NATS: address %d has to be of the form nats://host:port", i+1)
		}
		server := asyncapi.Server{Host: u.Host, Protocol: "nats"}
		switch u.Scheme {
		case "ws", "wss":
			server.Protocol = u.Scheme
		case "tls":
			server.Description = "With TLS."
		}
		name := "nats"
		if i > 0 {
			name += fmt.Sprint(i + 1)
		}
		d.Servers[name] = server
	}
	return nil
}

// sample stands for a token of a subject while its address is built from the functions that everybody else builds subjects with.
func sample(token string) string { return "{" + token + "}" }

func address(subject string) *string { return &subject }

// addQueries describes what operators may ask.
func (d *document) addQueries() {
	describe(d.schemas.Component(reflect.TypeFor[ClosuresRequest]()), map[string]huma.Schema{
		"client_id":      {Description: "One tenant alone. Without it: all.", Format: "uuid"},
		"status":         {Description: "Only those in this status.", Enum: anys(domain.Statuses()...)},
		"blocker":        {Description: "Only those that this stands against.", Enum: anys(domain.BlockerCodes()...)},
		"reconciliation": {Description: "Only those with something to reconcile."},
		"offset":         {Description: "How many to pass over."},
		"limit":          {Description: "How many at most: 1 to 1000. Defaults to 100."},
	})
	describe(d.schemas.Component(reflect.TypeFor[ClosuresAnswer]()), map[string]huma.Schema{
		"total_count": {Description: "How many there are in all."},
		"data":        {Description: "A page of them, the oldest request first."},
		"error":       {Description: "Why there is no answer; absent when there is one."},
	})
	d.Add("closures.answer", asyncapi.Channel{Title: "The answer to a question about closings"}, asyncapi.Operation{}, asyncapi.Message{
		Name: "ClosuresAnswer", Summary: "A page of the closings, the oldest request first.", ContentType: mediaJSON, Tags: tagged(tagQueries),
		Payload: d.schemas.Of(reflect.TypeFor[ClosuresAnswer]()),
		Examples: []asyncapi.MessageExample{{Payload: ClosuresAnswer{TotalCount: 1, Data: []domain.ClosureItem{{
			Aggregate: domain.KindAccount, ID: exampleAccount, ClientID: exampleClient, Closure: exampleClosure(domain.StatusClosing),
		}}}}},
	})
	d.Add("closures", asyncapi.Channel{
		Address: address(eventstore.QueryClosures), Title: "The list of closings", Tags: tagged(tagQueries),
		Description: "For operators: whoever may send to this subject sees the closings of all clients.",
	}, asyncapi.Operation{
		Action: asyncapi.Receive, Summary: "List the closings", Tags: tagged(tagQueries), Reply: asyncapi.Answer("closures.answer", "ClosuresAnswer"),
	}, asyncapi.Message{
		Name: "ClosuresRequest", Summary: "Which closings; an empty body asks for all.", ContentType: mediaJSON, Tags: tagged(tagQueries),
		Payload:  d.schemas.Of(reflect.TypeFor[ClosuresRequest]()),
		Examples: []asyncapi.MessageExample{{Payload: ClosuresRequest{Status: domain.StatusClosing, Blocker: domain.OpenPositions}}},
	})
}

// addStatus describes the question of how the engines are. What they answer is the program's: see its command 'status'.
func (d *document) addStatus() {
	state := d.schemas.Put("EngineStatus", &huma.Schema{
		Type: huma.TypeObject, Required: []string{"id", "version", "ready"}, Properties: map[string]*huma.Schema{
			"id":      {Type: huma.TypeString, Description: "Of this run of the engine."},
			"version": {Type: huma.TypeString, Description: "Of the program."},
			"ready":   {Type: huma.TypeBoolean, Description: "Whether it can serve requests."},
			"reason":  {Type: huma.TypeString, Description: "Why it is not ready; absent when it is."},
		},
	})
	d.Add("status.answer", asyncapi.Channel{Title: "How an engine is"}, asyncapi.Operation{}, asyncapi.Message{
		Name: "EngineStatus", Summary: "What one engine says of itself, with more members than these.", ContentType: mediaJSON, Tags: tagged(tagQueries),
		Payload: state, Examples: []asyncapi.MessageExample{{Payload: map[string]any{"id": exampleEvent, "version": "1.2.3", "ready": true}}},
	})
	d.Add("status", asyncapi.Channel{
		Address: address(eventstore.QueryStatus), Title: "How the engines are", Tags: tagged(tagQueries),
		Description: "For operators. Every engine answers: a request gets as many answers as there are engines.",
	}, asyncapi.Operation{
		Action: asyncapi.Receive, Summary: "Ask the engines how they are", Tags: tagged(tagQueries), Reply: asyncapi.Answer("status.answer", "EngineStatus"),
	}, asyncapi.Message{
		Name: "StatusRequest", Summary: "The body is empty.", ContentType: mediaJSON, Tags: tagged(tagQueries),
		Payload: &huma.Schema{}, Examples: []asyncapi.MessageExample{{Payload: map[string]any{}}},
	})
}

// describe adds to the members of a type what its tags do not say.
func describe(schema *huma.Schema, members map[string]huma.Schema) {
	for name, more := range members {
		property := schema.Properties[name]
		property.Description = more.Description
		if more.Format != "" {
			property.Format = more.Format
		}
		if more.Enum != nil {
			property.Enum = more.Enum
		}
		if more.Pattern != "" {
			property.Pattern = more.Pattern
		}
		if more.Minimum != nil {
			property.Minimum = more.Minimum
		}
	}
}

func anys[T any](values ...T) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}

// describeProblem describes what a refusal says.
func (d *document) describeProblem() {
	types := make([]any, 0, len(handlers.Slugs()))
	for _, s := range handlers.Slugs() {
		types = append(types, s.Type())
	}
	describe(d.schemas.Component(reflect.TypeFor[Problem]()), map[string]huma.Schema{
		"type":       {Description: "The kind of problem: stable.", Enum: types},
		"status":     {Description: "What the same problem has as its status over HTTP."},
		"title":      {Description: "The kind in words."},
		"detail":     {Description: "What is wrong, and what would be right."},
		"request_id": {Description: "The command's own; absent when it had none.", Format: "uuid"},
		"blockers":   {Description: "With a conflict only: what stands against it."},
	})
}
