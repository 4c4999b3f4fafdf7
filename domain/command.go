package domain

import (
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"
)

// Command asks one aggregate to do one thing. Its time and its ids are inputs, so that deciding it twice gives
// the same answer.
type Command struct {
	// Target is the aggregate that is asked.
	Target Ref
	// ID is the command's own uuid: a command that comes again with the same id does nothing again.
	ID string
	// ClientID is the tenant (uuid).
	ClientID string
	// Actor is who asks: 1 to 100 characters.
	Actor string
	// RequestID, CorrelationID and CausationID are uuids for tracing; "" for none. CausationID is the commit
	// that made a process manager send this command.
	RequestID, CorrelationID, CausationID string
	// Time is when the command was taken in (UTC).
	Time time.Time
	// Payload is what is asked.
	Payload Payload
}

// Ref points at one aggregate.
type Ref struct {
	Kind Kind
	ID   string
}

// Meta is what a commit says of itself beside its events; an aggregate evolves by both.
type Meta struct {
	ClientID  string
	Command   string
	CommandID string
	Actor     string
	Time      time.Time
}

// Meta is what the commit of this command will say of itself.
func (c Command) Meta() Meta {
	return Meta{ClientID: c.ClientID, Command: c.Payload.CommandName(), CommandID: c.ID, Actor: c.Actor, Time: c.Time}
}

// Payload is what a command asks for, with its fields.
type Payload interface {
	// CommandName is the name on the wire.
	CommandName() string
	// Validate refuses (Invalid) what is wrong whatever the state is.
	Validate() error
}

// fact is a payload that states a present value with a revision, and so may come twice, late or out of order.
type fact interface {
	Payload
	fact()
}

// IsFact tells whether the payload is a fact: one whose revision makes its order irrelevant.
func IsFact(p Payload) bool {
	_, ok := p.(fact)
	return ok
}

const (
	maxActor = 100
	maxName  = 100
)

// Validate refuses (Invalid) a command that could never be decided. It checks the envelope, then the payload.
func (c Command) Validate() error {
	ids := []struct {
		name, value string
		required    bool
	}{
		{string(c.Target.Kind) + " id", c.Target.ID, true},
		{"command_id", c.ID, true},
		{"client_id", c.ClientID, true},
		{"request_id", c.RequestID, false},
		{"correlation_id", c.CorrelationID, false},
		{"causation_id", c.CausationID, false},
	}
	for _, id := range ids {
		if id.value == "" && !id.required {
			continue
		}
		if err := checkID(id.name, id.value); err != nil {
			return err
		}
	}
	if err := checkText("actor", c.Actor, maxActor); err != nil {
		return err
	}
	return c.Payload.Validate()
}

// checkID accepts ids in their stored form only; whoever takes ids in from outside uses ParseID first.
func checkID(field, id string) error {
	if _, ok := parseStored(id); ok {
		return nil
	}
	parsed, err := ParseID(id)
	if err != nil {
		return invalid(field, "%v", err)
	}
	if parsed != id {
		return invalid(field, "must be in lower case: %s", parsed)
	}
	return nil
}

func checkText(field, s string, limit int) error {
	if !utf8.ValidString(s) {
		return invalid(field, "must be valid UTF-8")
	}
	if n := utf8.RuneCountInString(s); n < 1 || n > limit {
		return invalid(field, "must be 1 to %d characters, got %d", limit, n)
	}
	for i, r := range s {
		if unicode.IsControl(r) || breaksText(r) {
			return invalid(field, "must have no control characters, got U+%04X at byte %d", r, i)
		}
	}
	return nil
}

// breaksText tells of what works like a control character without being one: line and paragraph separators, and what
// makes the text after it read in another order than it is stored (embeddings, overrides, isolates). The plain marks
// U+200E and U+200F stay: names in Hebrew and Arabic have them.
func breaksText(r rune) bool {
	return r >= '\u2028' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// oneOf refuses a value that is not in the list, and names the list.
func oneOf[T ~string](field string, value T, allowed ...T) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return invalid(field, "must be one of %s, got %s", list(allowed), Quote(string(value)))
}

func list[T ~string](values []T) string {
	s := ""
	for i, v := range values {
		if i > 0 {
			s += ", "
		}
		s += string(v)
	}
	return s
}

// Quote shows a value of a client in an answer: cut, and with nothing that could upset a terminal or a log.
func Quote(s string) string {
	const most = 40
	if utf8.RuneCountInString(s) > most {
		return fmt.Sprintf("%q…", string([]rune(s)[:most]))
	}
	return fmt.Sprintf("%q", s)
}

func checkRevision(revision int64) error {
	if revision < 1 {
		return invalid("revision", "must be an integer from 1, increasing at its source, got %d", revision)
	}
	return nil
}

func checkDecimal(field string, d Decimal) error {
	if err := d.Validate(); err != nil {
		return invalid(field, "%v", err)
	}
	return nil
}

// checks returns the first error.
func checks(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
