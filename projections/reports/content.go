package reports

import (
	"context"
	"fmt"
	"slices"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
	"closure/projections/reports/statement"
)

// read folds what a report says from the log: the group up to the commit that closed it, and each of its accounts up to
// there. What came later is not in it, so a report made late says the same.
func (s *Service) read(ctx context.Context, closing eventstore.Recorded) (*statement.Statement, error) {
	group := domain.NewAccountGroup(closing.AggregateID)
	out := &statement.Statement{CreatedAt: closing.Time}
	cash := map[string]domain.Decimal{}
	err := s.walk(ctx, group, closing.Sequence, func(c eventstore.Recorded, e domain.Event) {
		groupEvent(out, cash, c, e)
	})
	if err != nil {
		return nil, err
	}
	out.Group = groupContent(group)
	for _, id := range group.AccountIDs() {
		account, err := s.readAccount(ctx, id, closing.Sequence)
		if err != nil {
			return nil, err
		}
		out.Accounts = append(out.Accounts, account)
	}
	return out, nil
}

// walk folds an aggregate up to a sequence, and shows each of its events.
func (s *Service) walk(ctx context.Context, a domain.Aggregate, upTo uint64, show func(eventstore.Recorded, domain.Event)) error {
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

func groupContent(g *domain.AccountGroup) statement.Group {
	users := make([]statement.Party, 0, len(g.Users))
	for _, u := range g.Users {
		users = append(users, party(u))
	}
	reason, requestedBy := disclosed(g)
	return statement.Group{
		ID: g.ID, Type: string(g.Type), SecuritiesAccountNumber: g.SecuritiesAccountNumber,
		Domicile: g.Domicile, TaxResidencies: g.TaxResidencies, Users: users,
		OpenedAt: g.CreatedAt, ClosingRequestedAt: *g.RequestedAt(), ClosedAt: *g.ClosedAt(),
		Reason: reason, RequestedBy: requestedBy, AnnouncedAt: g.AnnouncedAt(),
	}
}

// disclosed is what the report may say of why the group was closed, and who asked. The report goes to the user, and nobody
// may tell a user of a suspicion of money laundering (Directive (EU) 2015/849, article 39: "tipping off"); the name of the
// desk that asked would tell as well. Another reason than that one says nothing of the kind. The history keeps both.
func disclosed(g *domain.AccountGroup) (reason, requestedBy string) {
	if g.Reason() == domain.ReasonAML {
		return "", ""
	}
	return string(g.Reason()), g.RequestedBy()
}

func party(p domain.Party) statement.Party {
	return statement.Party{ID: p.ID, Type: string(p.Type)}
}

// groupEvent adds what an event of the group moved. cash is the last balance of each currency. A fee collection and a
// withdrawal stand there once, as last recorded: each of their events states the whole amount again.
func groupEvent(out *statement.Statement, cash map[string]domain.Decimal, c eventstore.Recorded, e domain.Event) {
	switch e := e.(type) {
	case domain.CashBalanceRecorded:
		out.Cash = append(out.Cash, statement.CashMovement{
			Currency: e.Currency, At: c.Time, BalanceBefore: string(cash[e.Currency]), BalanceAfter: string(e.Balance),
			PendingSettlement: string(e.PendingSettlement),
		})
		cash[e.Currency] = e.Balance
	case domain.FeeCollectionRecorded:
		fee := statement.Fee{ID: e.FeeCollectionID, At: c.Time, Status: string(e.Status), Amount: string(e.Amount), Currency: e.Currency}
		out.Fees = replaceOrAppend(out.Fees, fee, func(f statement.Fee) bool { return f.ID == fee.ID })
	case domain.WithdrawalRecorded:
		withdrawal := statement.Withdrawal{ID: e.WithdrawalID, At: c.Time, Status: string(e.Status), Amount: string(e.Amount), Currency: e.Currency}
		out.Withdrawals = replaceOrAppend(out.Withdrawals, withdrawal, func(w statement.Withdrawal) bool { return w.ID == withdrawal.ID })
	}
}

// replaceOrAppend keeps the place of what is there already.
func replaceOrAppend[T any](list []T, item T, same func(T) bool) []T {
	if i := slices.IndexFunc(list, same); i >= 0 {
		list[i] = item
		return list
	}
	return append(list, item)
}

// readAccount folds one account of the group.
func (s *Service) readAccount(ctx context.Context, id string, upTo uint64) (statement.Account, error) {
	account := domain.NewAccount(id)
	held := map[string]domain.Decimal{}
	var positions []statement.PositionMovement
	err := s.walk(ctx, account, upTo, func(c eventstore.Recorded, e domain.Event) {
		p, ok := e.(domain.PositionRecorded)
		if !ok {
			return
		}
		positions = append(positions, statement.PositionMovement{
			ISIN: p.ISIN, At: c.Time, From: string(held[p.ISIN]), To: string(p.Quantity),
			SoldOut: p.Quantity.IsZero() && !held[p.ISIN].IsZero(),
		})
		held[p.ISIN] = p.Quantity
	})
	if err != nil {
		return statement.Account{}, err
	}
	return statement.Account{
		ID: id, Number: account.Number, Name: account.Name, Type: string(account.Type), OpenedAt: account.CreatedAt,
		ClosingRequestedAt: *account.RequestedAt(), ClosedAt: *account.ClosedAt(), Positions: positions,
	}, nil
}
