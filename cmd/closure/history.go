package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
	"closure/handlers"
)

// historyCommand prints the events of one resource, read from the log itself, and what the resource was after them.
type historyCommand struct {
	connection
	Aggregate string  `arg:"" enum:"account,account_group,user" help:"account, account_group or user."`
	ID        string  `arg:"" help:"The resource's id (uuid)."`
	AsOf      instant `name:"as-of" placeholder:"TIME" help:"Only what was decided up to this time (RFC 3339), inclusive; and the resource as it was then."`
	Sequence  uint64  `placeholder:"N" help:"Only what stands in the log up to this sequence, inclusive; and the resource as it was then."`
	State     bool    `help:"Print the resource, also without --as-of and --sequence: as it is now."`
	JSON      bool    `name:"json" help:"Print one JSON line an event, and one for the state."`
}

// Validate is called by kong: a wrong flag is a wrong use.
func (c historyCommand) Validate() error {
	if !c.AsOf.IsZero() && c.Sequence > 0 {
		return errors.New("--as-of and --sequence: give one of them")
	}
	return nil
}

func (c historyCommand) Run(ctx context.Context, std streams) error {
	id, err := domain.ParseID(c.ID)
	if err != nil {
		return usageError{fmt.Errorf("id: %w", err)}
	}
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	log, err := c.existingLog(ctx, conn)
	if err != nil {
		return err
	}
	ref := domain.Ref{Kind: domain.Kind(c.Aggregate), ID: id}
	commits, err := log.LoadCurrent(ctx, c.Aggregate, id, 0)
	if err != nil {
		return err
	}
	if len(commits) == 0 {
		return fmt.Errorf("the log has no %s with the id %s", c.Aggregate, id)
	}
	until := c.until(commits)
	if len(until) == 0 {
		return fmt.Errorf("the %s %s began later: at %s, sequence %d", c.Aggregate, id, commits[0].Time.Format(time.RFC3339Nano), commits[0].Sequence)
	}
	if err := printHistory(std.out, until, c.JSON); err != nil || !c.wantsState() {
		return err
	}
	shown, err := c.stateAfter(ctx, log, ref, until)
	if err != nil {
		return err
	}
	return shown.print(std.out, c.JSON)
}

// existingLog opens the log that is there: a look must not create one where there is none.
func (c connection) existingLog(ctx context.Context, conn *nats.Conn) (*eventstore.Log, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, eventstore.StreamLog)
	if err != nil {
		return nil, c.noLog(err)
	}
	return eventstore.Open(ctx, conn, eventstore.Config{Replicas: stream.CachedInfo().Config.Replicas})
}

func (c historyCommand) wantsState() bool { return c.State || c.Sequence > 0 || !c.AsOf.IsZero() }

// until cuts off what came later. Clocks differ, so a later commit may have an earlier time; but a history with a hole is no
// history: it ends at the first commit that is too late.
func (c historyCommand) until(commits []eventstore.Recorded) []eventstore.Recorded {
	for i, commit := range commits {
		if !c.AsOf.IsZero() && commit.Time.After(c.AsOf.Time) || c.Sequence > 0 && commit.Sequence > c.Sequence {
			return commits[:i]
		}
	}
	return commits
}

// shownState is a resource as it was, with what stood against its closing.
type shownState struct {
	Sequence uint64          `json:"sequence"` // of the last commit
	Version  int             `json:"version"`
	Time     time.Time       `json:"time"` // for which it is shown
	Resource any             `json:"resource"`
	Closure  *domain.Closure `json:"closure,omitempty"`
}

// stateAfter folds the commits. It is shown for the time that was asked for, or for that of the last commit: dates that have
// come since then do not count.
func (c historyCommand) stateAfter(ctx context.Context, log *eventstore.Log, ref domain.Ref, commits []eventstore.Recorded) (shownState, error) {
	last := commits[len(commits)-1]
	s := shownState{Sequence: last.Sequence, Version: last.Version, Time: last.Time}
	switch {
	case !c.AsOf.IsZero():
		s.Time = c.AsOf.Time
	case c.Sequence == 0:
		s.Time = time.Now().UTC()
	}
	state := domain.New(ref)
	if err := replay.Apply(state, commits); err != nil {
		return s, err
	}
	switch a := state.(type) {
	case *domain.Account:
		outlook, err := c.outlook(ctx, log, a, s.Time)
		if err != nil {
			return s, err
		}
		closure := a.Closure(outlook)
		s.Resource, s.Closure = a.Resource(), &closure
	case *domain.AccountGroup:
		closure := a.Closure(domain.Outlook{Now: s.Time})
		s.Resource, s.Closure = a.Resource(), &closure
	case *domain.User:
		s.Resource = a.Resource()
	}
	return s, nil
}

// outlook is what the account's group had against its closing then.
func (c historyCommand) outlook(ctx context.Context, log *eventstore.Log, a *domain.Account, at time.Time) (domain.Outlook, error) {
	o := domain.Outlook{Now: at}
	if a.RequestedAt() != nil {
		return o, nil
	}
	commits, err := log.LoadCurrent(ctx, string(domain.KindAccountGroup), a.GroupID, 0)
	if err != nil {
		return o, err
	}
	group := domain.NewAccountGroup(a.GroupID)
	if err := replay.Apply(group, c.until(commits)); err != nil {
		return o, err
	}
	o.Withdrawals, o.Domicile = group.OutstandingWithdrawals(), group.Domicile
	return o, nil
}

// print shows the state behind its events: as a line of JSON, or as JSON that people can read.
func (s shownState) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, map[string]any{"state": s})
	}
	if _, err := fmt.Fprintf(w, "\nAt %s, after sequence %d (version %d):\n", s.Time.Format(time.RFC3339Nano), s.Sequence, s.Version); err != nil {
		return err
	}
	return printIndented(w, s)
}

func printHistory(w io.Writer, commits []eventstore.Recorded, asJSON bool) error {
	for _, commit := range commits {
		for _, item := range handlers.HistoryOf(commit) {
			if err := printItem(w, item, asJSON); err != nil {
				return err
			}
		}
	}
	return nil
}

func printItem(w io.Writer, item handlers.HistoryItem, asJSON bool) error {
	if asJSON {
		return printJSON(w, item)
	}
	_, err := fmt.Fprintf(w, "%6d.%d  %s  %-40s %s  by %s\n",
		item.Sequence, item.Index, item.Time.Format(time.RFC3339), item.Type, item.Data, item.Actor)
	return err
}

// printIndented prints the parts of a state, each as JSON over several lines.
func printIndented(w io.Writer, s shownState) error {
	for _, part := range []struct {
		name  string
		value any
		shown bool
	}{{"resource", s.Resource, true}, {"closure", s.Closure, s.Closure != nil}} {
		if !part.shown {
			continue
		}
		if _, err := fmt.Fprint(w, part.name, " "); err != nil {
			return err
		}
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false) // names are shown as they are
		e.SetIndent("", "  ")
		if err := e.Encode(part.value); err != nil {
			return err
		}
	}
	return nil
}
