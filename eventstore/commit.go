package eventstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"closure/eventstore/tracing"
)

// Event is one fact of a commit.
type Event struct {
	Type    string             // wire name, "account.opened"
	Version int                // version of the shape of Data, from 1
	Data    stdjson.RawMessage // a JSON object
}

// Commit is what one decision wrote: one message of the log.
type Commit struct {
	ID            string // unique in the log; the same decision always has the same id
	Aggregate     string // kind: "account"; one subject token
	AggregateID   string // one subject token
	ClientID      string // the tenant
	Version       int    // 1, 2, … of the aggregate; set by Append
	Command       string // name of the command
	CommandID     string
	Actor         string // who asked
	RequestID     string
	CorrelationID string
	CausationID   string
	Time          time.Time // UTC, nanoseconds
	Events        []Event   // at least one
	PrevHash      string    // hash of the commit before it on its subject, "" on the first; set by Append
}

// Recorded is a commit as it stands in the log.
type Recorded struct {
	Commit
	Sequence uint64 // of the stream CLOSURE_LOG
	Hash     string // HashOf the stored body
	Size     int    // bytes of the stored body
	// Trace is the trace context of whoever appended it. It stands in the headers of the message, and is no part of the
	// commit: the chain does not cover it.
	Trace tracing.Context
}

// HashOf is the hash of a commit: lower-case hex SHA-256 of its body, byte for
// byte as stored.
func HashOf(body []byte) string {
	sum := sha256.Sum256(body)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

// hasHash tells whether HashOf the body is the hash, without making a text of it.
func hasHash(body []byte, hash string) bool {
	sum := sha256.Sum256(body)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:]) == hash
}

// wireCommit is the stored shape. The order of the fields is the order of the
// members in the log, and must not change: auditors read it with other tools.
// Pointers tell a member that is missing from one that is empty.
type wireCommit struct {
	ID            *string      `json:"id"`
	Aggregate     *string      `json:"aggregate"`
	AggregateID   *string      `json:"aggregate_id"`
	ClientID      *string      `json:"client_id"`
	Version       *int         `json:"version"`
	Command       *string      `json:"command"`
	CommandID     *string      `json:"command_id"`
	Actor         *string      `json:"actor"`
	RequestID     *string      `json:"request_id"`
	CorrelationID *string      `json:"correlation_id"`
	CausationID   *string      `json:"causation_id"`
	Time          *string      `json:"time"`
	Events        *[]wireEvent `json:"events"`
	PrevHash      *string      `json:"prev_hash"`
}

type wireEvent struct {
	Type    *string        `json:"type"`
	Version *int           `json:"version"`
	Data    jsontext.Value `json:"data"`
}

// Encode gives the body of the commit as it is stored: JSON without white space
// and without HTML escapes, all members always there, in the order of the
// contract. The same commit always gives the same bytes. It refuses, with
// ErrMalformedCommit, whatever DecodeCommit would refuse.
func (c Commit) Encode() ([]byte, error) {
	_, body, err := c.encode()
	return body, err
}

// encode also returns the commit as decoding the body would: time in UTC and
// data without white space. So an appended commit equals the same one loaded.
func (c Commit) encode() (Commit, []byte, error) {
	c, err := c.normalise()
	if err != nil {
		return Commit{}, nil, malformed(err)
	}
	if err := c.check(); err != nil {
		return Commit{}, nil, malformed(err)
	}
	if stored, body, ok := c.encodeCanonical(); ok {
		return stored, body, nil
	}
	body, err := c.marshal()
	if err != nil {
		return Commit{}, nil, malformed(err)
	}
	return c, body, nil
}

// marshal writes a commit that is normalised. It says where a text is no UTF-8.
func (c Commit) marshal() ([]byte, error) {
	events := make([]wireEvent, len(c.Events))
	for i, e := range c.Events {
		events[i] = wireEvent{Type: &e.Type, Version: &e.Version, Data: jsontext.Value(e.Data)}
	}
	at := c.Time.Format(time.RFC3339Nano)
	return json.Marshal(wireCommit{
		ID: &c.ID, Aggregate: &c.Aggregate, AggregateID: &c.AggregateID, ClientID: &c.ClientID, Version: &c.Version,
		Command: &c.Command, CommandID: &c.CommandID, Actor: &c.Actor,
		RequestID: &c.RequestID, CorrelationID: &c.CorrelationID, CausationID: &c.CausationID,
		Time: &at, Events: &events, PrevHash: &c.PrevHash,
	})
}

// normalise brings time and data into the one form in which they are stored.
// It copies what it changes: the caller's events stay as they are.
func (c Commit) normalise() (Commit, error) {
	c.Time = c.Time.Round(0).UTC()
	if !slices.ContainsFunc(c.Events, func(e Event) bool { return !canonicalObject(e.Data) }) {
		return c, nil
	}
	events := make([]Event, len(c.Events))
	for i, e := range c.Events {
		data := jsontext.Value(bytes.Clone(e.Data))
		// Names twice and bad UTF-8 are refused here already: the encoder would
		// only find them later, with a less useful text.
		err := data.Compact(jsontext.AllowDuplicateNames(false), jsontext.AllowInvalidUTF8(false),
			jsontext.PreserveRawStrings(false)) // "\u0026" and "&" are one string: stored is the shorter
		if err != nil {
			return Commit{}, fmt.Errorf("events[%d].data: %w", i, err)
		}
		e.Data = stdjson.RawMessage(data)
		events[i] = e
	}
	c.Events = events
	return c, nil
}

// DecodeCommit reads a body of the log. It is strict: an unknown, missing or
// repeated member, a wrong type, bytes after the commit and bad UTF-8 are errors
// that name the place (ErrMalformedCommit).
//
// The texts of the commit may share one piece of memory, as large as the body: who
// keeps one of them for long keeps a clone.
func DecodeCommit(body []byte) (Commit, error) {
	if c, ok := decodeCanonical(body); ok {
		return c, nil
	}
	return decodeStrictly(body)
}

func decodeStrictly(body []byte) (Commit, error) {
	var w wireCommit
	if err := json.Unmarshal(body, &w, json.RejectUnknownMembers(true)); err != nil {
		return Commit{}, malformed(plain(err))
	}
	if missing := w.missing(); len(missing) > 0 {
		return Commit{}, malformed(fmt.Errorf("missing or null: %s", strings.Join(missing, ", ")))
	}
	at, err := parseTime(*w.Time)
	if err != nil {
		return Commit{}, malformed(err)
	}
	c := Commit{
		ID: *w.ID, Aggregate: *w.Aggregate, AggregateID: *w.AggregateID, ClientID: *w.ClientID, Version: *w.Version,
		Command: *w.Command, CommandID: *w.CommandID, Actor: *w.Actor,
		RequestID: *w.RequestID, CorrelationID: *w.CorrelationID, CausationID: *w.CausationID,
		Time: at, PrevHash: *w.PrevHash, Events: make([]Event, len(*w.Events)),
	}
	for i, e := range *w.Events {
		c.Events[i] = Event{Type: *e.Type, Version: *e.Version, Data: stdjson.RawMessage(e.Data)}
	}
	if err := c.check(); err != nil {
		return Commit{}, malformed(err)
	}
	return c, nil
}

// missing names the members that are not there, in the order of the contract.
func (w wireCommit) missing() []string {
	var out []string
	need := func(there bool, name string) {
		if !there {
			out = append(out, name)
		}
	}
	need(w.ID != nil, "id")
	need(w.Aggregate != nil, "aggregate")
	need(w.AggregateID != nil, "aggregate_id")
	need(w.ClientID != nil, "client_id")
	need(w.Version != nil, "version")
	need(w.Command != nil, "command")
	need(w.CommandID != nil, "command_id")
	need(w.Actor != nil, "actor")
	need(w.RequestID != nil, "request_id")
	need(w.CorrelationID != nil, "correlation_id")
	need(w.CausationID != nil, "causation_id")
	need(w.Time != nil, "time")
	need(w.Events != nil, "events")
	need(w.PrevHash != nil, "prev_hash")
	if w.Events == nil {
		return out
	}
	for i, e := range *w.Events {
		need(e.Type != nil, fmt.Sprintf("events[%d].type", i))
		need(e.Version != nil, fmt.Sprintf("events[%d].version", i))
		need(e.Data != nil, fmt.Sprintf("events[%d].data", i))
	}
	return out
}

// check holds the rules that both directions share.
func (c Commit) check() error {
	switch {
	case c.ID == "":
		return errors.New("id is empty")
	case !ValidToken(c.Aggregate):
		return fmt.Errorf("aggregate %q is not one token of a subject", c.Aggregate)
	case !ValidToken(c.AggregateID):
		return fmt.Errorf("aggregate_id %q is not one token of a subject", c.AggregateID)
	case c.Version < 1:
		return fmt.Errorf("version is %d, and has to be 1 or more", c.Version)
	case c.Time.IsZero() || c.Time.Year() < 1 || c.Time.Year() > 9999:
		return errors.New("time is not set, or not within the years 1 to 9999")
	case len(c.Events) == 0:
		return errors.New("events is empty: a commit has at least one event")
	case c.Version == 1 && c.PrevHash != "":
		return errors.New("prev_hash has to be empty on version 1")
	case c.Version > 1 && !isHash(c.PrevHash):
		return fmt.Errorf("prev_hash %q is not the lower-case hex SHA-256 of a commit", c.PrevHash)
	}
	for i, e := range c.Events {
		switch {
		case e.Type == "":
			return fmt.Errorf("events[%d].type is empty", i)
		case e.Version < 1:
			return fmt.Errorf("events[%d].version is %d, and has to be 1 or more", i, e.Version)
		case jsontext.Value(e.Data).Kind() != '{':
			return fmt.Errorf("events[%d].data is not a JSON object", i)
		}
	}
	return nil
}

// isHash: 64 lower-case hex digits.
func isHash(s string) bool {
	if len(s) != hex.EncodedLen(sha256.Size) {
		return false
	}
	for i := range len(s) {
		if s[i]-'0' > 9 && s[i]-'a' > 5 { // bytes wrap around
			return false
		}
	}
	return true
}

func malformed(err error) error { return fmt.Errorf("%w: %w", ErrMalformedCommit, err) }

// plain turns the decoder's error into text: its own types say which Go type was
// to be filled, which is of no use to who reads the log.
func plain(err error) error {
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		return fmt.Errorf("at byte %d%s: %w", syntactic.ByteOffset, pointer(syntactic.JSONPointer), syntactic.Err)
	}
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return err
	}
	if errors.Is(err, json.ErrUnknownName) {
		return fmt.Errorf("unknown member%s", pointer(semantic.JSONPointer))
	}
	return fmt.Errorf("wrong type of value%s at byte %d", pointer(semantic.JSONPointer), semantic.ByteOffset)
}

// pointer writes a JSON pointer (RFC 6901) into an error text.
func pointer(p jsontext.Pointer) string {
	if p == "" {
		return ""
	}
	return fmt.Sprintf(" %q", string(p))
}
