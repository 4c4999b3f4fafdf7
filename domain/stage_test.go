package domain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	stdjson "encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The cast of the tests.
const (
	someClient     = "c0000000-0000-4000-8000-000000000001"
	otherClient    = "c0000000-0000-4000-8000-000000000002"
	someGroup      = "90000000-0000-4000-8000-000000000001"
	otherGroup     = "90000000-0000-4000-8000-000000000002"
	firstAccount   = "ac000000-0000-4000-8000-000000000001"
	secondAccount  = "ac000000-0000-4000-8000-000000000002"
	thirdAccount   = "ac000000-0000-4000-8000-000000000003"
	owner          = "00000000-0000-4000-8000-000000000001"
	child          = "00000000-0000-4000-8000-000000000002"
	guardian       = "00000000-0000-4000-8000-000000000003"
	someFee        = "fee00000-0000-4000-8000-000000000001"
	someWithdrawal = "d0000000-0000-4000-8000-000000000001"
	nextWithdrawal = "d0000000-0000-4000-8000-000000000002"
	someAction     = "ca000000-0000-4000-8000-000000000001"

	basf  = "DE000BASF111"
	apple = "US0378331005"
	world = "IE00B4L5Y983"
)

// clock gives each command its own minute, so that every time in a test says which command it came from.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 9, 0, 0, 0, time.UTC)} }

func (c *clock) tick() time.Time {
	c.now = c.now.Add(time.Minute)
	return c.now
}

// stage is one aggregate with its log. The log is kept as the bytes that would be stored, so that whatever is folded
// from it has gone through the storage format.
type stage struct {
	agg           Aggregate
	ref           Ref
	client, actor string
	clock         *clock
	sent          int
	lines         [][]byte
	committed     map[string]bool // by the id of the command
	// shared is a log of several aggregates, in the order of their commits; nil for none.
	shared *[][]byte
	// opening is how the aggregate was opened.
	opening Payload
	// cause is the id of the commit that made a process manager send what is sent next; "" for none.
	cause string
}

func newStage(kind Kind, id string) *stage {
	ref := Ref{Kind: kind, ID: id}
	return &stage{agg: New(ref), ref: ref, client: someClient, actor: "support@bank.example", clock: newClock(), committed: map[string]bool{}}
}

// command wraps a payload; every command has its own id and its own minute.
func (s *stage) command(p Payload) Command {
	s.sent++
	return Command{
		Target: s.ref, ID: DeriveID("test command", s.ref.ID, strconv.Itoa(s.sent)), ClientID: s.client, Actor: s.actor,
		CausationID: s.cause, Time: s.clock.tick(), Payload: p,
	}
}

// try sends a command twice with its id, and once more with another one. It holds what every command of every table
// has to hold: Decide changes nothing and is a function of its input, what is stored folds to the state that was, and a
// command that comes again does nothing again.
func (s *stage) try(t rapid.TB, c Command) ([]Event, *Refusal) {
	t.Helper()
	require.NoError(t, c.Validate(), "the tables send well-formed commands; what is not is in the validation tables")
	events, refusal := s.decide(t, c)
	repeated := s.committed[c.ID]
	if len(events) > 0 {
		if !s.agg.Exists() {
			s.opening = c.Payload
		}
		s.commit(t, c, events)
	}
	s.again(t, c, refusal, repeated)
	return events, refusal
}

// decide asks twice, and compares the aggregate before and after.
func (s *stage) decide(t rapid.TB, c Command) ([]Event, *Refusal) {
	t.Helper()
	before := s.agg.Copy()
	events, err := s.agg.Decide(c)
	require.Equal(t, before, s.agg, "%s: Decide changed the aggregate", c.Payload.CommandName())
	sameEvents, sameErr := s.agg.Decide(c)
	require.Equal(t, events, sameEvents, "%s: the same question has two answers", c.Payload.CommandName())
	require.Equal(t, err, sameErr, "%s: the same question has two answers", c.Payload.CommandName())
	if err == nil {
		return events, nil
	}
	var refusal *Refusal
	require.True(t, errors.As(err, &refusal), "%s: an error that is no refusal: %v", c.Payload.CommandName(), err)
	require.Empty(t, events, "%s: refused, and events all the same", c.Payload.CommandName())
	require.NotEmpty(t, refusal.Detail)
	return nil, refusal
}

// commit stores and applies, and compares the state with the fold of all that is stored.
func (s *stage) commit(t rapid.TB, c Command, events []Event) {
	t.Helper()
	before, kept := s.replay(t, len(s.lines)), s.agg.Copy()
	s.store(t, c, events)
	s.committed[c.ID] = true
	s.agg.Apply(c.Meta(), events)
	require.Equal(t, before, kept, "%s: Apply changed a copy that was taken before", c.Payload.CommandName())
	require.Equal(t, s.agg, s.replay(t, len(s.lines)), "%s: what is stored does not fold to the state", c.Payload.CommandName())
}

// again is the rule of idempotency. The one documented refusal: closing and unlocking ask for a status that the first
// command may itself have ended, and CLOSED is final.
//
// A command that itself came again is only sent with its own id: with another one it is a new command.
func (s *stage) again(t rapid.TB, c Command, first *Refusal, repeated bool) {
	t.Helper()
	name := c.Payload.CommandName()
	c.Time = s.clock.tick()
	events, refusal := s.decide(t, c)
	require.Empty(t, names(events), "%s did something again when it came again with its id", name)
	require.Equal(t, first, refusal, "%s: another answer when it came again with its id", name)

	if repeated {
		return
	}
	c.ID = DeriveID("another id", c.ID)
	events, refusal = s.decide(t, c)
	require.Empty(t, names(events), "%s did something again under another id", name)
	if first == nil && refusal != nil {
		documented := (name == "request_closure" || name == "unlock") && s.agg.Status() == StatusClosed
		require.True(t, documented, "%s was refused when it came again: %v", name, refusal)
		require.Equal(t, Conflict, refusal.Kind)
		return
	}
	require.Equal(t, first, refusal, "%s: another answer under another id", name)
}

// wireCommit is a commit as CONTRACT.md has it; written here once more, so that the log is read as a stranger would read it.
type wireCommit struct {
	ID            string      `json:"id"`
	Aggregate     Kind        `json:"aggregate"`
	AggregateID   string      `json:"aggregate_id"`
	ClientID      string      `json:"client_id"`
	Version       int         `json:"version"`
	Command       string      `json:"command"`
	CommandID     string      `json:"command_id"`
	Actor         string      `json:"actor"`
	RequestID     string      `json:"request_id"`
	CorrelationID string      `json:"correlation_id"`
	CausationID   string      `json:"causation_id"`
	Time          time.Time   `json:"time"`
	Events        []wireEvent `json:"events"`
	PrevHash      string      `json:"prev_hash"`
}

type wireEvent struct {
	Type    string         `json:"type"`
	Version int            `json:"version"`
	Data    jsontext.Value `json:"data"`
}

func (s *stage) store(t rapid.TB, c Command, events []Event) {
	t.Helper()
	w := wireCommit{
		ID: DeriveID("test commit", c.ID), Aggregate: s.ref.Kind, AggregateID: s.ref.ID, ClientID: c.ClientID,
		Version: len(s.lines) + 1, Command: c.Payload.CommandName(), CommandID: c.ID, Actor: c.Actor,
		RequestID: c.RequestID, CorrelationID: c.CorrelationID, CausationID: c.CausationID, Time: c.Time,
	}
	if n := len(s.lines); n > 0 {
		w.PrevHash = hashOf(s.lines[n-1])
	}
	for _, e := range events {
		data, err := EncodeEvent(e)
		require.NoError(t, err)
		w.Events = append(w.Events, wireEvent{Type: EventType(s.ref.Kind, e), Version: EventVersion, Data: data})
	}
	line, err := json.Marshal(w)
	require.NoError(t, err)
	s.lines = append(s.lines, line)
	if s.shared != nil {
		*s.shared = append(*s.shared, line)
	}
}

// lastCommit is the id of the stage's last commit.
func (s *stage) lastCommit() string {
	var w wireCommit
	if err := stdjson.Unmarshal(s.lines[len(s.lines)-1], &w); err != nil {
		return ""
	}
	return w.ID
}

// replay folds the first n commits of the stage's log.
func (s *stage) replay(t rapid.TB, n int) Aggregate {
	t.Helper()
	agg := New(s.ref)
	for _, line := range s.lines[:n] {
		w, events := readCommit(t, line)
		agg.Apply(w.meta(), events)
	}
	return agg
}

// parseCommit reads a line of a log with the standard library alone, strictly.
func parseCommit(line []byte) (w wireCommit, events []Event, err error) {
	d := stdjson.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return w, nil, err
	}
	for _, e := range w.Events {
		event, err := DecodeEvent(e.Type, e.Version, e.Data)
		if err != nil {
			return w, nil, err
		}
		events = append(events, event)
	}
	return w, events, nil
}

func readCommit(t rapid.TB, line []byte) (wireCommit, []Event) {
	t.Helper()
	w, events, err := parseCommit(line)
	require.NoError(t, err)
	return w, events
}

func (w wireCommit) meta() Meta {
	return Meta{ClientID: w.ClientID, Command: w.Command, CommandID: w.CommandID, Actor: w.Actor, Time: w.Time}
}

func hashOf(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// names are the names of events without the kind, as the tables have them.
func names(events []Event) string {
	var out []string
	for _, e := range events {
		out = append(out, e.eventName())
	}
	return strings.Join(out, ", ")
}

// codes are the codes of what blocks.
func codes(blockers []Blocker) string {
	var out []string
	for _, b := range blockers {
		out = append(out, string(b.Code))
	}
	return strings.Join(out, ", ")
}

// does sends a command that must be accepted with these events ("" for none: unchanged).
func (s *stage) does(t rapid.TB, p Payload, want string) []Event {
	t.Helper()
	events, refusal := s.try(t, s.command(p))
	require.Nil(t, refusal, "%s was refused", p.CommandName())
	require.Equal(t, want, names(events), "the events of %s", p.CommandName())
	return events
}

// refuses sends a command that must be refused, and gives the refusal.
func (s *stage) refuses(t rapid.TB, p Payload, kind RefusalKind) *Refusal {
	t.Helper()
	events, refusal := s.try(t, s.command(p))
	require.NotNil(t, refusal, "%s was not refused; events: %s", p.CommandName(), names(events))
	require.Equal(t, kind, refusal.Kind, refusal.Detail)
	return refusal
}

func (s *stage) closure() Closure { return s.agg.Closure(nil) }
