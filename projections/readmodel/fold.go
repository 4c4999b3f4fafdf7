package readmodel

import (
	"context"
	"fmt"
	"time"

	"closure/domain"
	"closure/eventstore"
)

// row is a resource on its way into its list.
type row struct {
	of                   listing
	id, clientID         string
	createdAt, updatedAt time.Time
	users                []string // in whose lists it stands, too
	resource             any
}

// changes are what a run of commits has changed.
type changes struct {
	rows     []row
	closings []closing
	orders   []order // in the order of the log
}

// take brings a run of commits into the file. One that cannot be read is never skipped: what stands before it is written,
// and its error returned, so that the follower comes again with it.
func (l *line) take(ctx context.Context, commits []eventstore.Recorded) error {
	for len(commits) > 0 && commits[0].Sequence <= l.db.at.position {
		commits = commits[1:]
	}
	changed, done, err := l.changes(ctx, commits)
	if done > 0 {
		last := commits[done-1]
		if err := l.db.store(ctx, commits[0].Sequence, checkpoint{position: last.Sequence, hash: last.Hash}, changed); err != nil {
			return err
		}
	}
	return err
}

// changes renders what the commits have changed; done is how many of them could be read. Of each aggregate only the state
// after its last commit counts: what is in between nobody could have seen.
func (l *line) changes(ctx context.Context, commits []eventstore.Recorded) (changed changes, done int, err error) {
	after := map[domain.Ref]domain.Aggregate{}
	var touched []domain.Ref // in the order of the log
	created := map[domain.Ref][]string{}
	for _, c := range commits {
		state, events, failed := l.states.After(ctx, c)
		if failed != nil {
			err = fmt.Errorf("sequence %d: %w", c.Sequence, failed)
			break
		}
		done++
		ref := domain.Ref{Kind: state.Kind(), ID: state.AggregateID()}
		if _, ok := after[ref]; !ok {
			touched = append(touched, ref)
		}
		after[ref] = state
		for _, e := range events {
			switch e := e.(type) {
			case domain.ReportCreated:
				created[ref] = append(created[ref], e.ReportID)
			case domain.OrderPlaced:
				changed.orders = append(changed.orders, order{clientID: c.ClientID, id: e.OrderID, accountID: c.AggregateID})
			}
		}
	}
	for _, ref := range touched {
		changed.rows = append(changed.rows, render(after[ref], created[ref])...)
		if c, ok := closingOf(after[ref]); ok {
			changed.closings = append(changed.closings, c)
		}
	}
	return changed, done, err
}

// render gives the row of an aggregate, and those of the reports that it has got. What has not been opened is in no list,
// and there is no list of users.
func render(state domain.Aggregate, reportIDs []string) []row {
	if !state.Exists() {
		return nil
	}
	switch a := state.(type) {
	case *domain.Account:
		return []row{accountRow(a)}
	case *domain.AccountGroup:
		rows := []row{accountGroupRow(a)}
		for _, id := range reportIDs {
			if report, ok := a.Report(id); ok {
				rows = append(rows, reportRow(a, report))
			}
		}
		return rows
	}
	return nil
}
