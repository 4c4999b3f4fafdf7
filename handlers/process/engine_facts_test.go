package process

import (
	"slices"

	"closure/domain"
)

// isins are the instruments of the stories.
var isins = []string{basf, "US0378331005", "IE00B4L5Y983"}

// source is where facts come from that speak of one thing. One revision always says the same, however often it is sent.
type source struct {
	of    domain.Ref
	key   string                              // as the ledger has it
	draw  func(revision int64) domain.Payload // anything
	clear func(revision int64) domain.Payload // what does not block
	says  map[int64]domain.Payload
	// highest is the highest revision that the engine has taken.
	highest int64
}

// stated is what a source has said.
type stated struct {
	by       *source
	revision int64
}

func (r *story) addSource(of domain.Ref, key string, draw, clear func(revision int64) domain.Payload) {
	r.sources = append(r.sources, &source{of: of, key: key, draw: draw, clear: clear, says: map[int64]domain.Payload{}})
}

func (r *story) source(of domain.Ref, key string) *source {
	i := slices.IndexFunc(r.sources, func(s *source) bool { return s.of == of && s.key == key })
	if i < 0 {
		return nil
	}
	return r.sources[i]
}

// addSources gives an account or a group the sources of its facts. Those of orders come with the orders.
func (r *story) addSources(of domain.Ref) {
	if of.Kind == domain.KindAccountGroup {
		r.addCash(of, "EUR")
		r.addCash(of, "GBP")
		r.addFee(of, r.id())
		r.addWithdrawal(of, r.id())
		return
	}
	for _, isin := range isins {
		position := func(quantity, pending domain.Decimal, revision int64) domain.Payload {
			return &domain.RecordPosition{ISIN: isin, Quantity: quantity, PendingSettlement: pending, Revision: revision}
		}
		r.addSource(of, isin, func(revision int64) domain.Payload {
			return position(oneOf[domain.Decimal](r, "0", "0", "1", "2.5", "-1"), oneOf[domain.Decimal](r, "0", "0", "3"), revision)
		}, func(revision int64) domain.Payload { return position("0", "0", revision) })
	}
	r.addCorporateAction(of, r.id())
}

func (r *story) addCorporateAction(of domain.Ref, id string) {
	action := func(status domain.CorporateActionStatus, revision int64) domain.Payload {
		return &domain.RecordCorporateAction{CorporateActionID: id, ISIN: basf, Status: status, Revision: revision}
	}
	r.addSource(of, id, func(revision int64) domain.Payload {
		return action(oneOf(r, domain.CorporateActionExpected, domain.CorporateActionSettled, domain.CorporateActionCancelled), revision)
	}, func(revision int64) domain.Payload { return action(domain.CorporateActionSettled, revision) })
}

func (r *story) addOrder(of domain.Ref, id string) {
	if r.source(of, id) != nil {
		return
	}
	order := func(status domain.OrderStatus, filled domain.Decimal, revision int64) domain.Payload {
		return &domain.RecordOrder{OrderID: id, Status: status, FilledQuantity: filled, Revision: revision}
	}
	// Some order services say how much was executed, and some do not.
	r.addSource(of, id, func(revision int64) domain.Payload {
		switch status := oneOf(r, domain.OrderProcessing, domain.OrderFilled, domain.OrderFilled, domain.OrderCancelled); status {
		case domain.OrderFilled:
			return order(status, oneOf[domain.Decimal](r, "", "1"), revision)
		default:
			return order(status, oneOf[domain.Decimal](r, "", "0", "0.5"), revision)
		}
	}, func(revision int64) domain.Payload {
		return order(oneOf(r, domain.OrderFilled, domain.OrderCancelled), "", revision)
	})
}

func (r *story) addCash(of domain.Ref, currency string) {
	cash := func(balance, pending domain.Decimal, revision int64) domain.Payload {
		return &domain.RecordCashBalance{Currency: currency, Balance: balance, PendingSettlement: pending, Revision: revision}
	}
	r.addSource(of, currency, func(revision int64) domain.Payload {
		return cash(oneOf[domain.Decimal](r, "0", "0", "10.01", "-3"), oneOf[domain.Decimal](r, "0", "0", "7"), revision)
	}, func(revision int64) domain.Payload { return cash("0", "0", revision) })
}

func (r *story) addFee(of domain.Ref, id string) {
	fee := func(status domain.FeeStatus, revision int64) domain.Payload {
		return &domain.RecordFeeCollection{FeeCollectionID: id, Status: status, Amount: "4.90", Currency: "EUR", Revision: revision}
	}
	r.addSource(of, id, func(revision int64) domain.Payload {
		return fee(oneOf(r, domain.FeeProcessing, domain.FeeFinalised, domain.FeeCancelled), revision)
	}, func(revision int64) domain.Payload { return fee(domain.FeeFinalised, revision) })
}

func (r *story) addWithdrawal(of domain.Ref, id string) {
	statuses := []domain.WithdrawalStatus{domain.WithdrawalNew, domain.WithdrawalProcessing, domain.WithdrawalConfirmed, domain.WithdrawalCancelled}
	withdrawal := func(status domain.WithdrawalStatus, revision int64) domain.Payload {
		return &domain.RecordWithdrawal{WithdrawalID: id, Status: status, Amount: "1250", Currency: "EUR", Revision: revision}
	}
	r.addSource(of, id, func(revision int64) domain.Payload {
		return withdrawal(oneOf(r, statuses...), revision)
	}, func(revision int64) domain.Payload { return withdrawal(domain.WithdrawalConfirmed, revision) })
}

// asRecorded is the event that a fact leaves. How far an order was before does not follow from the fact.
func asRecorded(p domain.Payload, said domain.Event) domain.Event {
	switch p := p.(type) {
	case *domain.RecordPosition:
		return domain.PositionRecorded(*p)
	case *domain.RecordCorporateAction:
		return domain.CorporateActionRecorded(*p)
	case *domain.RecordOrder:
		before, _ := said.(domain.OrderRecorded)
		filled := p.FilledQuantity
		if filled == "" && p.Status == domain.OrderCancelled {
			filled = "0"
		}
		return domain.OrderRecorded{OrderID: p.OrderID, Status: p.Status, PreviousStatus: before.PreviousStatus, FilledQuantity: filled, Revision: p.Revision}
	case *domain.RecordCashBalance:
		return domain.CashBalanceRecorded(*p)
	case *domain.RecordFeeCollection:
		return domain.FeeCollectionRecorded(*p)
	case *domain.RecordWithdrawal:
		return domain.WithdrawalRecorded(*p)
	}
	return nil
}
