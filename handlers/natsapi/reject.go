package natsapi

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"

	"closure/domain"
	"closure/eventstore"
)

// Rejection is the body of COMMAND.REJECTED: what became of a durable command that was refused. It has no more of the
// refused payload than is needed to find it.
type Rejection struct {
	// ID is the event's own id, ce-id: the same however often it is published.
	ID string `json:"id"`
	// Subject is what the command was sent to.
	Subject string `json:"subject"`
	// CommandID is null when the command had none that is a uuid.
	CommandID *string  `json:"command_id"`
	Error     *Problem `json:"error"`
}

// headerRoom is what the subject and the headers of a rejection need at most, in bytes, beside its body.
const headerRoom = 8 << 10

// reject publishes that a durable command was refused. The command is acknowledged only after that.
func (s *Service) reject(d delivery, c domain.Command, cause error) error {
	r := Rejection{
		ID:      domain.DeriveID("command_rejected", eventstore.StreamCommands, strconv.FormatUint(d.sequence, 10)),
		Subject: d.subject,
		Error:   problemOf(cause, c.RequestID),
	}
	if c.ID != "" {
		r.CommandID = &c.ID
	}
	msg, err := s.rejection(r, d, c)
	if err != nil {
		return fmt.Errorf("%w: %w", errAbandoned, err)
	}
	s.log.DebugContext(d.trace.In(s.working), "rejected a command", "subject", d.subject, "command_id", c.ID,
		"request_id", c.RequestID, "correlation_id", c.CorrelationID, "type", r.Error.Type)
	if err := s.store(msg, eventstore.StreamEvents, r.ID); err != nil {
		return err
	}
	s.cfg.Rejected(slugOf(cause))
	return nil
}

// rejection writes the event as CloudEvents 1.0 in the NATS binding, binary mode. Attributes without a value are left out.
func (s *Service) rejection(r Rejection, d delivery, c domain.Command) (*nats.Msg, error) {
	body, err := encode(r)
	if err == nil && int64(len(body)+headerRoom) > s.nc.MaxPayload() {
		// A list of blockers without end must not keep the rejection from being published.
		r.Error.Blockers = []domain.Blocker{}
		body, err = encode(r)
	}
	if err != nil {
		return nil, fmt.Errorf("rejection of %s: %w", d.subject, err)
	}
	resource := resourceID(d)
	msg := nats.NewMsg(eventstore.EventSubject(c.ClientID, domain.PublishedCommandRejected, resource))
	msg.Data = body
	for _, h := range [][2]string{
		{"ce-specversion", "1.0"},
		{"ce-id", r.ID},
		{"ce-source", "/closure"},
		{"ce-type", domain.PublishedCommandRejected},
		{"ce-subject", resource},
		{"ce-time", s.cfg.Now().UTC().Format(time.RFC3339Nano)},
		{"ce-clientid", c.ClientID},
		{"ce-datacontenttype", mediaJSON}, // the binding looks here, and the SDK there
		{"content-type", mediaJSON},
	} {
		if h[1] != "" {
			msg.Header.Set(h[0], h[1])
		}
	}
	d.trace.Put(msg.Header)
	return msg, nil
}

// encode writes what a client is told. A subject may hold bytes that are no UTF-8; they must not keep the answer back.
func encode(v any) ([]byte, error) { return json.Marshal(v, jsontext.AllowInvalidUTF8(true)) }

// resourceID is the id of the aggregate that the command was for; "" when the subject names none that could be.
func resourceID(d delivery) string {
	if id, err := domain.ParseID(d.id); err != nil || id != d.id {
		return ""
	}
	return d.id
}
