package reports

import (
	"context"
	"fmt"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
	"closure/projections/reports/statement"
)

// walk folds an aggregate up to a sequence, and shows each of its events.
func (s *Service) walk(ctx context.Context, a domain.Closable, upTo uint64, show func(eventstore.Recorded, domain.Event)) error {
	// All that the log has: what a replica that lags left out would be missing from the report for ever.
	commits, err := replay.LatestCommits(ctx, s.cfg.Log, domain.Ref{Kind: a.Kind(), ID: a.AggregateID()})
	if err != nil {
		return err
	}
	for _, c := range commits {
		if c.Sequence > upTo {
			break
		}
		events, err := replay.Events(c.Commit)
		if err != nil {
			return err
		}
		a.Apply(replay.Meta(c.Commit), events)
		for _, e := range events {
			show(c, e)
		}
	}
	if a.Status() != domain.StatusClosed {
		// Accounts close before their group, so this is a log that does not hold what it should; the follower stays here.
		return fmt.Errorf("%s %s is %s and not CLOSED at sequence %d of the log", a.Kind(), a.AggregateID(), a.Status(), upTo)
	}
	return nil
}

// cover is what a report says of a group that was folded up to a commit. To whom it goes is not known yet.
func cover(g *domain.AccountGroup, upTo eventstore.Recorded) statement.Cover {
	users := make([]statement.Party, 0, len(g.Users))
	for _, u := range g.Users {
		users = append(users, party(u))
	}
	return statement.Cover{CreatedAt: upTo.Time, Group: statement.Group{
		ID: g.ID, Type: string(g.Type), SecuritiesAccountNumber: g.SecuritiesAccountNumber,
		Domicile: g.Domicile, TaxResidencies: g.TaxResidencies, Users: users,
		OpenedAt: g.CreatedAt, ClosedAt: *g.ClosedAt(),
	}}
}

func party(p domain.Party) statement.Party {
	return statement.Party{ID: p.ID, Type: string(p.Type)}
}
