package publisher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/tracing"
)

// event is a message for CLOSURE_EVENTS, and the place in the log that it comes from.
type event struct {
	msg   *nats.Msg
	from  place
	trace tracing.Context // of the commit
}

// place is where an event stands in the log: the sequence of its commit, and its index there.
type place struct {
	sequence uint64
	index    int
}

func (p place) before(other place) bool {
	return p.sequence < other.sequence || (p.sequence == other.sequence && p.index < other.index)
}

// Headers of a published event. The names are those of the CloudEvents NATS binding, in its lower case.
const (
	headerSpecVersion = "ce-specversion"
	headerID          = "ce-id"
	headerSource      = "ce-source"
	headerType        = "ce-type"
	headerSubject     = "ce-subject"
	headerTime        = "ce-time"
	headerClientID    = "ce-clientid"
	headerLogSequence = "ce-logsequence"
	// The binding has the type of the data in an attribute as all others, and knows the structured mode by its content-type.
	// The CloudEvents SDK for Go, and CONTRACT, have it in content-type alone. Both get what they look for.
	headerDataContentType = "ce-datacontenttype"
	headerContentType     = "content-type"
	// The Distributed Tracing extension.
	headerTraceParent = "ce-traceparent"
	headerTraceState  = "ce-tracestate"
	// headerIndex is ours: the event's index in its commit. With the log's sequence it orders events.
	headerIndex = "closure-index"
)

const mediaJSON = "application/json"

// EventID is the stable id of the event with the index in a commit.
func EventID(commitID string, index int) string {
	return domain.DeriveID("event", commitID, fmt.Sprint(index))
}

func cloudEvent(c eventstore.Recorded, p domain.Publication) (event, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	// As the log and the HTTP answers have it: a name with an & is to be read by people, too.
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p.Body); err != nil {
		return event{}, fmt.Errorf("event %s of commit %s: %w", p.Type, c.ID, err)
	}
	msg := nats.NewMsg(eventstore.EventSubject(c.ClientID, p.Type, p.ResourceID))
	msg.Data = bytes.TrimSuffix(body.Bytes(), []byte("\n"))
	id := EventID(c.ID, p.Index)
	for name, value := range map[string]string{
		headerSpecVersion: "1.0", headerID: id, headerSource: "/closure", headerType: p.Type, headerSubject: p.ResourceID,
		headerTime: c.Time.UTC().Format(time.RFC3339Nano), headerClientID: c.ClientID,
		headerLogSequence: fmt.Sprint(c.Sequence), headerDataContentType: mediaJSON,
	} {
		// An attribute is never empty; one without a value is left out.
		if value != "" {
			msg.Header.Set(name, attribute(value))
		}
	}
	msg.Header.Set(headerContentType, mediaJSON)
	msg.Header.Set(headerIndex, fmt.Sprint(p.Index))
	msg.Header.Set(jetstream.MsgIDHeader, id)
	return event{msg: msg, from: place{c.Sequence, p.Index}, trace: c.Trace}, nil
}

// carry puts a trace context on the event: as the header that tracers look for, and as the Distributed Tracing extension of
// CloudEvents, which is to say the same where an event goes in one hop.
func (e event) carry(c tracing.Context) {
	c.Put(e.msg.Header)
	for name, value := range map[string]string{headerTraceParent: c.Parent, headerTraceState: c.State} {
		if value == "" {
			e.msg.Header.Del(name)
			continue
		}
		e.msg.Header.Set(name, attribute(value))
	}
}

// attribute writes a value as the binding asks for: printable ASCII as it is, but for the space, " and %; of all else each
// byte of its UTF-8 as %XY. The ids, types and times of today have nothing of that; a header must not break when one has.
func attribute(value string) string {
	var out strings.Builder
	for _, b := range []byte(strings.ToValidUTF8(value, "\ufffd")) {
		if b <= ' ' || b > '~' || b == '"' || b == '%' {
			fmt.Fprintf(&out, "%%%02X", b)
			continue
		}
		out.WriteByte(b)
	}
	return out.String()
}
