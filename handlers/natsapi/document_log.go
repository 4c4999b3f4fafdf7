package natsapi

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/tracing"
	"closure/handlers/natsapi/asyncapi"
)

// The shape of a commit as it stands in the log (CONTRACT: A commit), for the document only: the event store reads and writes it.
type (
	// loggedCommit is one message of the log.
	loggedCommit struct {
		ID            string        `json:"id" doc:"Unique in the log; the same decision always has the same."`
		Aggregate     domain.Kind   `json:"aggregate" doc:"The kind of the resource." enum:"account,account_group,user"`
		AggregateID   string        `json:"aggregate_id" format:"uuid" doc:"The resource."`
		ClientID      string        `json:"client_id" format:"uuid" doc:"The tenant."`
		Version       int           `json:"version" minimum:"1" doc:"1, 2, … of the resource."`
		Command       string        `json:"command" doc:"What was asked."`
		CommandID     string        `json:"command_id" doc:"The command's own id."`
		Actor         string        `json:"actor" doc:"Who asked."`
		RequestID     string        `json:"request_id" doc:"Of the request that the command came with; empty for none."`
		CorrelationID string        `json:"correlation_id" doc:"What belongs together has the same; empty for none."`
		CausationID   string        `json:"causation_id" doc:"The commit that made the engine itself send the command; empty for none."`
		Time          time.Time     `json:"time" doc:"When it was decided (UTC, nanoseconds)."`
		Events        []loggedEvent `json:"events" minItems:"1" doc:"What was decided."`
		PrevHash      string        `json:"prev_hash" pattern:"^([0-9a-f]{64})?$" doc:"The hash of the commit before it on its subject; empty on the first."`
	}
	// loggedEvent is one event of a commit.
	loggedEvent struct {
		Type    string          `json:"type" doc:"What happened."`
		Version int             `json:"version" minimum:"1" doc:"The version of the shape of data."`
		Data    json.RawMessage `json:"data" doc:"Its members depend on type and version."`
	}
)

// addLog describes the event log.
func (d *document) addLog() {
	event := d.schemas.Component(reflect.TypeFor[loggedEvent]())
	event.Properties["type"].Enum = anys(domain.EventTypes()...)
	event.Properties["data"] = &huma.Schema{Type: huma.TypeObject, Description: event.Properties["data"].Description}
	headers := d.schemas.Put("CommitHeaders", &huma.Schema{
		Type: huma.TypeObject, Required: []string{eventstore.HeaderHash, jetstream.MsgIDHeader}, Properties: map[string]*huma.Schema{
			eventstore.HeaderHash: {Type: huma.TypeString, Pattern: "^[0-9a-f]{64}$", Description: "SHA-256 of the body, byte for byte as stored; " +
				"the next commit on the subject has it as prev_hash."},
			jetstream.MsgIDHeader: {Type: huma.TypeString, Description: "The commit's id."},
			tracing.HeaderParent:  {Type: huma.TypeString, Description: "The W3C trace context of whoever asked. The chain does not cover it."},
			tracing.HeaderState:   {Type: huma.TypeString, Description: "Its trace state."},
		},
	})
	d.Add("log", asyncapi.Channel{
		Address: address(eventstore.LogSubject(sample("aggregate"), sample("id"))), Title: "The event log", Tags: tagged(tagLog), Stream: eventstore.StreamLog,
		Description: "All commits of one resource, in their order. Read it, and never write to it.",
		Parameters: map[string]asyncapi.Parameter{
			"aggregate": {Description: "The kind of the resource.", Enum: kinds(), Location: "$message.payload#/aggregate"},
			"id":        {Description: "The resource.", Location: "$message.payload#/aggregate_id"},
		},
	}, asyncapi.Operation{Action: asyncapi.Send, Summary: "A decision was made", Tags: tagged(tagLog)}, asyncapi.Message{
		Name: "commit", Summary: "What one decision wrote: one event or more.", ContentType: mediaJSON, Tags: tagged(tagLog), Headers: headers,
		Payload: d.schemas.Of(reflect.TypeFor[loggedCommit]()), Examples: []asyncapi.MessageExample{exampleCommit()},
	})
}

func kinds() []string {
	var out []string
	for _, kind := range domain.Kinds() {
		out = append(out, string(kind))
	}
	return out
}

// exampleCommit is the beginning of a closing, as the log would have it.
func exampleCommit() asyncapi.MessageExample {
	c := loggedCommit{
		ID: exampleCommitID, Aggregate: domain.KindAccount, AggregateID: exampleAccount, ClientID: exampleClient, Version: 4, Command: "request_closure",
		CommandID: exampleCommand, Actor: exampleActor, Time: exampleRequested,
		Events:   []loggedEvent{{Type: domain.EventAccountClosingInitiated, Version: domain.EventVersion(domain.EventAccountClosingInitiated), Data: json.RawMessage(`{}`)}},
		PrevHash: eventstore.HashOf([]byte("the commit before")),
	}
	return asyncapi.MessageExample{Payload: c, Headers: map[string]any{
		eventstore.HeaderHash: eventstore.HashOf([]byte("this commit")), jetstream.MsgIDHeader: c.ID,
	}}
}
