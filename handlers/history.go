package handlers

import (
	"context"
	"encoding/json"
	"time"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
)

// HistoryItem is one event of a resource, with the commit that it stands in.
type HistoryItem struct {
	Sequence  uint64          `json:"sequence" doc:"The commit's place in the log."`
	Index     int             `json:"index" doc:"The event's place in its commit, from 0."`
	Time      time.Time       `json:"time" doc:"When it was decided (UTC)."`
	Type      string          `json:"type" doc:"The event's name, such as account.opened."`
	Version   int             `json:"version" doc:"The version of the event's data."`
	Data      json.RawMessage `json:"data" doc:"The event's data as stored."`
	Actor     string          `json:"actor" doc:"Who asked."`
	Command   string          `json:"command" doc:"What was asked."`
	CommandID string          `json:"command_id" doc:"The command (uuid)."`
	RequestID string          `json:"request_id" doc:"The request (uuid), or empty."`
	CommitID  string          `json:"commit_id" doc:"The commit (uuid)."`
}

// History lists the events of a resource in their order; with asOf those up to that time, inclusive. It stays
// readable after CLOSED. Another client's resource is not found.
func (e *Engine) History(ctx context.Context, clientID string, ref domain.Ref, asOf *time.Time) ([]HistoryItem, error) {
	commits, err := replay.LatestCommits(ctx, e.log, ref)
	if err != nil {
		return nil, err
	}
	if len(commits) == 0 || commits[0].ClientID != clientID {
		return nil, domain.Missing(ref.Kind, ref.ID)
	}
	items := []HistoryItem{}
	for _, c := range commits {
		if asOf != nil && c.Time.After(*asOf) {
			// Clocks differ, so a later commit may have an earlier time; but a history with a hole is no history.
			break
		}
		items = append(items, HistoryOf(c)...)
	}
	return items, nil
}

// HistoryOf lists the events of one commit.
func HistoryOf(c eventstore.Recorded) []HistoryItem {
	items := make([]HistoryItem, 0, len(c.Events))
	for i, ev := range c.Events {
		items = append(items, HistoryItem{
			Sequence: c.Sequence, Index: i, Time: c.Time, Type: ev.Type, Version: ev.Version, Data: ev.Data,
			Actor: c.Actor, Command: c.Command, CommandID: c.CommandID, RequestID: c.RequestID, CommitID: c.ID,
		})
	}
	return items
}
