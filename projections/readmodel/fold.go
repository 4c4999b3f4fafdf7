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

// take brings a run of commits into the file. One that cannot be read is never skipped: what stands before it is written,
// and its error returned, so that the follower comes again with it.
func (m *Model) take(ctx context.Context, db *database, commits []eventstore.Recorded) error {
	for len(commits) > 0 && commits[0].Sequence <= db.at.position {
		commits = commits[1:]
	}
	rows, done, err := m.rows(ctx, commits)
	if done > 0 {
		last := commits[done-1]
		if err := db.store(ctx, commits[0].Sequence, checkpoint{position: last.Sequence, hash: last.Hash}, rows); err != nil {
			return err
		}
	}
	return err
}

// rows renders what the commits have changed; done is how many of them could be read. Of each aggregate only the state
// after its last commit counts: what is in between nobody could have seen.
func (m *Model) rows(ctx context.Context, commits []eventstore.Recorded) (rows []row, done int, err error) {
	after := map[domain.Ref]domain.Aggregate{}
	var touched []domain.Ref // in the order of the log
	created := map[domain.Ref][]string{}
	for _, c := range commits {
		state, events, failed := m.states.After(ctx, c)
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
			if report, ok := e.(domain.ReportCreated); ok {
				created[ref] = append(created[ref], report.ReportID)
			}
		}
	}
	for _, ref := range touched {
		rows = append(rows, render(after[ref], created[ref])...)
	}
	return rows, done, err
}

// render gives the row of an aggregate, and those of the reports that it has got. What has not been opened is in no list.
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
