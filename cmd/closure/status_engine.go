package main

import (
	"context"
	"os"
	"time"

	"closure/domain"
	"closure/projections/webhooks"
)

// engineStatus is what one engine says of itself (closure.query.status). What it could not find out is absent.
type engineStatus struct {
	ID          string             `json:"id"`   // of this run of it
	Host        string             `json:"host"` // the machine's name
	Version     string             `json:"version"`
	Since       time.Time          `json:"since"` // when it was started (UTC)
	Ready       bool               `json:"ready"`
	Reason      string             `json:"reason,omitempty"` // why it is not
	Sandbox     bool               `json:"sandbox,omitempty"`
	Last        *uint64            `json:"log_last_sequence,omitempty"`
	Projections []projectionStatus `json:"projections"`
	Closings    *closingStatus     `json:"closings,omitempty"`
	Webhooks    *webhookStatus     `json:"webhooks,omitempty"`
	Waiting     *queues            `json:"waiting,omitempty"`
}

type projectionStatus struct {
	Name     string  `json:"name"`
	Position uint64  `json:"position"`
	Lag      *uint64 `json:"lag,omitempty"` // commits
}

type closingStatus struct {
	ByStatus  map[domain.Status]int      `json:"by_status"`
	ByBlocker map[domain.BlockerCode]int `json:"by_blocker"`
}

type webhookStatus struct {
	Subscriptions int    `json:"subscriptions"`
	Disabled      int    `json:"disabled"`
	Failing       int    `json:"failing"`
	Waiting       uint64 `json:"events_waiting"`
}

// status says how the engine is.
func (a *app) status(ctx context.Context) any {
	host, _ := os.Hostname() // without one it is ""
	s := engineStatus{ID: a.id, Host: host, Version: version(), Since: a.since.UTC(), Sandbox: a.sandbox != nil}
	if err := a.Ready(ctx); err != nil {
		s.Reason = err.Error()
	}
	s.Ready = s.Reason == ""
	if last, err := a.vitals.last.get(ctx); err == nil {
		s.Last = &last
	}
	for _, p := range a.vitals.projections {
		of := projectionStatus{Name: p.name, Position: p.position()}
		if s.Last != nil {
			lag := *s.Last - min(*s.Last, of.Position)
			of.Lag = &lag
		}
		s.Projections = append(s.Projections, of)
	}
	if counts, err := a.vitals.closings.get(ctx); err == nil {
		s.Closings = &closingStatus{counts.ByStatus, counts.ByBlocker}
	}
	if waiting, err := a.vitals.waiting.get(ctx); err == nil {
		s.Waiting = &waiting
	}
	s.Webhooks = webhookStatusOf(a.vitals.hooks.get(ctx))
	return s
}

func webhookStatusOf(stats webhooks.Stats, err error) *webhookStatus {
	if err != nil {
		return nil
	}
	return &webhookStatus{stats.Subscriptions, stats.Disabled, stats.Failing, stats.Waiting}
}
