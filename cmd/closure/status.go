package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/natsext"

	"closure/eventstore"
)

const (
	// answersWithin is how long another engine may take after the one before it.
	answersWithin = time.Second
	// lagAlarm is from how many commits on a lag is said to be wrong.
	lagAlarm = 10_000
)

// statusCommand tells how the engines are, and the streams that they work on: what operators look at when something is wrong.
type statusCommand struct {
	connection
	JSON bool `name:"json" help:"Print one JSON object."`
}

// systemStatus is everything together.
type systemStatus struct {
	Healthy  bool           `json:"healthy"`
	Problems []string       `json:"problems"` // why it is not healthy
	Warnings []string       `json:"warnings"` // to be looked at, by somebody else than who runs the engines perhaps
	Engines  []engineStatus `json:"engines"`  // the oldest first
	Streams  []streamStatus `json:"streams"`  // by their names
}

// streamStatus is one of the engine's streams; buckets are streams, too.
type streamStatus struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	Replicas int    `json:"replicas"`         // that it is to have
	Current  int    `json:"replicas_current"` // that are there and up to date, the leader included
	Leader   string `json:"leader,omitempty"` // "" on a single server, and when there is none
	NoLeader bool   `json:"no_leader,omitempty"`
}

// errUnhealthy is the outcome of a status that found something wrong. What it is stands in the status.
var errUnhealthy = errors.New("something is wrong")

func (c statusCommand) Run(ctx context.Context, std streams) error {
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	s, err := gatherStatus(ctx, conn)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(std.out, s)
	} else {
		err = s.print(std.out)
	}
	if err == nil && !s.Healthy {
		err = fmt.Errorf("%w: %s", errUnhealthy, strings.Join(s.Problems, "; "))
	}
	return err
}

// gatherStatus asks all engines, and looks at the streams.
func gatherStatus(ctx context.Context, conn *nats.Conn) (systemStatus, error) {
	s := systemStatus{Problems: []string{}, Warnings: []string{}, Engines: []engineStatus{}, Streams: []streamStatus{}}
	var err error
	if s.Engines, err = askEngines(ctx, conn); err != nil {
		return s, err
	}
	if s.Streams, err = lookAtStreams(ctx, conn); err != nil {
		s.problem("the streams cannot be listed: JetStream does not answer")
	}
	s.judge()
	return s, nil
}

// askEngines gives the answers of all engines. That nobody answers is no error.
func askEngines(ctx context.Context, conn *nats.Conn) ([]engineStatus, error) {
	engines := []engineStatus{}
	answers, err := natsext.RequestMany(ctx, conn, eventstore.QueryStatus, nil, natsext.RequestManyStall(answersWithin))
	if err != nil {
		return nil, fmt.Errorf("ask the engines: %w", err)
	}
	for msg, err := range answers {
		if errors.Is(err, nats.ErrNoResponders) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("ask the engines: %w", err)
		}
		var e engineStatus
		if err := json.Unmarshal(msg.Data, &e); err != nil || e.ID == "" {
			continue // an engine that has too much to do to answer
		}
		engines = append(engines, e)
	}
	slices.SortFunc(engines, func(a, b engineStatus) int { return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.ID, b.ID)) })
	return engines, nil
}

// prefixes of the names of the engine's streams, buckets and object stores.
var streamPrefixes = []string{"CLOSURE_", "KV_CLOSURE_", "OBJ_CLOSURE_"}

func lookAtStreams(ctx context.Context, conn *nats.Conn) ([]streamStatus, error) {
	found := []streamStatus{}
	stream, err := jetstream.New(conn)
	if err != nil {
		return found, err
	}
	list := stream.ListStreams(ctx)
	for info := range list.Info() {
		if slices.ContainsFunc(streamPrefixes, func(p string) bool { return strings.HasPrefix(info.Config.Name, p) }) {
			found = append(found, streamStatusOf(info))
		}
	}
	if err := list.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return found, err
	}
	slices.SortFunc(found, func(a, b streamStatus) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

func streamStatusOf(info *jetstream.StreamInfo) streamStatus {
	s := streamStatus{
		Name: info.Config.Name, Messages: info.State.Msgs, Bytes: info.State.Bytes, Replicas: max(info.Config.Replicas, 1), Current: 1,
	}
	if info.Cluster == nil { // a server on its own
		return s
	}
	s.Leader = info.Cluster.Leader
	if s.Leader == "" {
		s.Current, s.NoLeader = 0, true
	}
	for _, r := range info.Cluster.Replicas {
		if r.Current && !r.Offline {
			s.Current++
		}
	}
	return s
}

func (s *systemStatus) problem(format string, args ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
}

func (s *systemStatus) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

// judge says what is wrong. Endpoints that fail, and commands that wait for what they are about, are others' to mend: warnings.
func (s *systemStatus) judge() {
	if len(s.Engines) == 0 {
		s.problem("no engine answers")
	}
	for _, e := range s.Engines {
		if !e.Ready {
			s.problem("the engine %s on %s is not ready: %s", e.ID, e.Host, e.Reason)
		}
	}
	for _, p := range s.behind() {
		if *p.Lag > lagAlarm {
			s.problem("%s is %d commits behind the log", p.Name, *p.Lag)
		}
	}
	for _, stream := range s.Streams {
		switch {
		case stream.NoLeader:
			s.problem("the stream %s has no leader", stream.Name)
		case stream.Current < stream.Replicas:
			s.problem("of the stream %s %d of %d replicas are current", stream.Name, stream.Current, stream.Replicas)
		}
	}
	if hooks := s.newest(); hooks != nil {
		if hooks.Webhooks != nil && hooks.Webhooks.Failing > 0 {
			s.warn("%d webhook endpoints are failing", hooks.Webhooks.Failing)
		}
		if hooks.Waiting != nil && hooks.Waiting.Aside > 0 {
			s.warn("%d commands wait for what they are about", hooks.Waiting.Aside)
		}
	}
	s.Healthy = len(s.Problems) == 0
}

// behind is each projection as the engine sees it that has come the furthest: one of all engines is at work, but for the read
// model, of which each has its own.
func (s *systemStatus) behind() []projectionStatus {
	least := map[string]projectionStatus{}
	var readmodels []projectionStatus
	for _, e := range s.Engines {
		for _, p := range e.Projections {
			known, there := least[p.Name]
			switch {
			case p.Lag == nil:
			case p.Name == ownProjection:
				p.Name += " of " + e.ID
				readmodels = append(readmodels, p)
			case !there || p.Position > known.Position:
				least[p.Name] = p
			}
		}
	}
	out := slices.SortedFunc(maps.Values(least), func(a, b projectionStatus) int { return strings.Compare(a.Name, b.Name) })
	return append(out, readmodels...)
}

// newest is the engine that knows the most of what all of them share.
func (s *systemStatus) newest() *engineStatus {
	i := slices.IndexFunc(s.Engines, func(e engineStatus) bool { return e.Webhooks != nil && e.Waiting != nil && e.Closings != nil })
	switch {
	case i >= 0:
		return &s.Engines[i]
	case len(s.Engines) > 0:
		return &s.Engines[0]
	}
	return nil
}

// print is for people.
func (s *systemStatus) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) {
		_, _ = fmt.Fprintln(table, strings.Join(cells, "\t")) // Flush has the error
	}
	word := "healthy"
	if !s.Healthy {
		word = "NOT HEALTHY"
	}
	row(word)
	for _, p := range s.Problems {
		row("  problem: " + p)
	}
	for _, warning := range s.Warnings {
		row("  warning: " + warning)
	}
	for _, e := range s.Engines {
		state := "ready"
		if !e.Ready {
			state = "not ready: " + e.Reason
		}
		row("engine", e.ID, e.Host, e.Version, "since "+e.Since.Format(time.RFC3339), state)
	}
	if e := s.newest(); e != nil {
		e.rows(row)
	}
	for _, p := range s.behind() {
		row("projection", p.Name, fmt.Sprintf("at %d", p.Position), fmt.Sprintf("lag %d", *p.Lag))
	}
	for _, stream := range s.Streams {
		state := fmt.Sprintf("%d of %d replicas current", stream.Current, stream.Replicas)
		if stream.Leader != "" {
			state += ", led by " + stream.Leader
		}
		row("stream", stream.Name, fmt.Sprintf("%d messages", stream.Messages), fmt.Sprintf("%d bytes", stream.Bytes), state)
	}
	return table.Flush()
}

// rows are what the engines share.
func (e *engineStatus) rows(row func(...string)) {
	if e.Last != nil {
		row("log", fmt.Sprintf("last sequence %d", *e.Last))
	}
	if e.Closings != nil {
		for _, status := range slices.Sorted(maps.Keys(e.Closings.ByStatus)) {
			row("closings", string(status), strconv.Itoa(e.Closings.ByStatus[status]))
		}
		for _, blocker := range slices.Sorted(maps.Keys(e.Closings.ByBlocker)) {
			row("blocked by", string(blocker), strconv.Itoa(e.Closings.ByBlocker[blocker]))
		}
	}
	if e.Webhooks != nil {
		row("webhooks", fmt.Sprintf("%d subscriptions", e.Webhooks.Subscriptions), fmt.Sprintf("%d disabled", e.Webhooks.Disabled),
			fmt.Sprintf("%d failing", e.Webhooks.Failing), fmt.Sprintf("%d events waiting", e.Webhooks.Waiting))
	}
	if e.Waiting != nil {
		row("waiting", fmt.Sprintf("%d in the inbox", e.Waiting.Inbox), fmt.Sprintf("%d aside", e.Waiting.Aside),
			fmt.Sprintf("%d timers due", e.Waiting.TimersDue))
	}
}
