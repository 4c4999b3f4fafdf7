package reports

import (
	"context"
	"slices"

	"closure/domain"
	"closure/eventstore"
	"closure/projections/reports/statement"
)

// readClosing folds what the closing statement says from the log: the group up to the commit that closed it, and each of its
// accounts up to there. What came later is not in it, so a report made late says the same.
func (s *Service) readClosing(ctx context.Context, closed eventstore.Recorded) (statement.Report, error) {
	group := domain.NewAccountGroup(closed.AggregateID)
	out := &statement.Closing{}
	cash := map[string]domain.Decimal{}
	err := s.walk(ctx, group, closed.Sequence, func(c eventstore.Recorded, e domain.Event) {
		groupEvent(out, cash, c, e)
	})
	if err != nil {
		return nil, err
	}
	out.Cover, out.RequestedAt, out.AnnouncedAt = cover(group, closed), *group.RequestedAt(), group.AnnouncedAt()
	out.Reason, out.RequestedBy = disclosed(group)
	for _, id := range group.AccountIDs() {
		account, err := s.readAccount(ctx, id, closed.Sequence)
		if err != nil {
			return nil, err
		}
		out.Accounts = append(out.Accounts, account)
	}
	return out, nil
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

// groupEvent adds what an event of the group moved. cash is the last balance of each currency. A fee collection and a
// withdrawal stand there once, as last recorded: each of their events states the whole amount again.
func groupEvent(out *statement.Closing, cash map[string]domain.Decimal, c eventstore.Recorded, e domain.Event) {
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
