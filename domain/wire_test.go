package domain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	stdjson "encoding/json"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

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
		name := EventType(s.ref.Kind, e)
		w.Events = append(w.Events, wireEvent{Type: name, Version: EventVersion(name), Data: data})
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
