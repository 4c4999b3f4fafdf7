// Package asyncapi is an AsyncAPI 3.0 document as Go types, as far as this engine has use for it, and the schemas in it, made from
// the Go types that are read and written.
package asyncapi

import "github.com/danielgtaylor/huma/v2"

// Version of the specification that the types follow.
const Version = "3.0.0"

// Actions of an operation, as the engine sees it.
const (
	Send    = "send"
	Receive = "receive"
)

// Document is the whole of it. The names of channels, operations, messages and schemas are the keys of their maps.
type Document struct {
	AsyncAPI           string               `json:"asyncapi"`
	Info               Info                 `json:"info"`
	DefaultContentType string               `json:"defaultContentType"`
	Servers            map[string]Server    `json:"servers"`
	Channels           map[string]Channel   `json:"channels"`
	Operations         map[string]Operation `json:"operations"`
	Components         Components           `json:"components"`
}

// Info says what the document is about.
type Info struct {
	Title       string  `json:"title"`
	Version     string  `json:"version"`
	Description string  `json:"description"`
	License     License `json:"license"`
	Tags        []Tag   `json:"tags,omitempty"`
}

// License of what the document describes.
type License struct {
	Name string `json:"name"`
}

// Tag groups channels, operations and messages.
type Tag struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// Server is where to connect.
type Server struct {
	Host        string `json:"host"`
	Protocol    string `json:"protocol"`
	Description string `json:"description,omitempty"`
}

// Ref points into the document.
type Ref struct {
	Ref string `json:"$ref"`
}

// Channel is a subject, or a family of them. Address is nil when it is known only as it goes: that of an answer.
type Channel struct {
	Address     *string              `json:"address"`
	Title       string               `json:"title,omitempty"`
	Description string               `json:"description,omitempty"`
	Messages    map[string]Ref       `json:"messages"`
	Parameters  map[string]Parameter `json:"parameters,omitempty"`
	Tags        []Tag                `json:"tags,omitempty"`
	// Stream of JetStream that keeps the messages: an addition of ours.
	Stream string `json:"x-jetstream-stream,omitempty"`
}

// Parameter is a token of the subject that varies.
type Parameter struct {
	Description string   `json:"description"`
	Enum        []string `json:"enum,omitempty"`
	Examples    []string `json:"examples,omitempty"`
	// Location says where in the message the same value stands, such as $message.header#/ce-subject.
	Location string `json:"location,omitempty"`
}

// Operation is what the engine does on a channel.
type Operation struct {
	Action      string `json:"action"`
	Channel     Ref    `json:"channel"`
	Summary     string `json:"summary,omitempty"`
	Description string `json:"description,omitempty"`
	Tags        []Tag  `json:"tags,omitempty"`
	Messages    []Ref  `json:"messages"`
	Reply       *Reply `json:"reply,omitempty"`
}

// Reply is what a request is answered with.
type Reply struct {
	Channel  Ref   `json:"channel"`
	Messages []Ref `json:"messages"`
}

// Message is one kind of message.
type Message struct {
	Name        string           `json:"name"`
	Title       string           `json:"title,omitempty"`
	Summary     string           `json:"summary,omitempty"`
	Description string           `json:"description,omitempty"`
	ContentType string           `json:"contentType"`
	Tags        []Tag            `json:"tags,omitempty"`
	Headers     *huma.Schema     `json:"headers,omitempty"`
	Payload     *huma.Schema     `json:"payload"`
	Examples    []MessageExample `json:"examples,omitempty"`
}

// MessageExample shows a message whole.
type MessageExample struct {
	Name    string         `json:"name,omitempty"`
	Headers map[string]any `json:"headers,omitempty"`
	Payload any            `json:"payload"`
}

// Components are what the document points at.
type Components struct {
	Schemas  map[string]*huma.Schema `json:"schemas"`
	Messages map[string]Message      `json:"messages"`
}

// MessageRef points at a message of a channel: operations name messages so.
func MessageRef(channel, message string) Ref {
	return Ref{"#/channels/" + channel + "/messages/" + message}
}

// ChannelRef points at a channel.
func ChannelRef(channel string) Ref { return Ref{"#/channels/" + channel} }

// Add puts a message into the components, a channel with it alone, and what the engine does there. The channel and the
// operation have the name that is given.
func (d *Document) Add(name string, c Channel, op Operation, m Message) {
	d.Components.Messages[m.Name] = m
	c.Messages = map[string]Ref{m.Name: {"#/components/messages/" + m.Name}}
	d.Channels[name] = c
	if op.Action == "" {
		return // the channel of answers: the operations that have them name it
	}
	op.Channel, op.Messages = ChannelRef(name), []Ref{MessageRef(name, m.Name)}
	d.Operations[name] = op
}

// Answer is the reply with the one message of a channel.
func Answer(channel, message string) *Reply {
	return &Reply{Channel: ChannelRef(channel), Messages: []Ref{MessageRef(channel, message)}}
}
