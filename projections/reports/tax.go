package reports

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"closure/domain"
	"closure/eventstore"
	"closure/projections/reports/statement"
)

// readTax folds what the annual tax statement says from the log up to the commit that asked for it. A booking that is
// recorded later is not in it, however late the report is made.
func (s *Service) readTax(ctx context.Context, requested eventstore.Recorded) (statement.Report, error) {
	group := domain.NewAccountGroup(requested.AggregateID)
	out := &statement.Tax{}
	recorded := map[string]time.Time{} // when each booking was last recorded
	err := s.walk(ctx, group, requested.Sequence, func(c eventstore.Recorded, e domain.Event) {
		switch e := e.(type) {
		case domain.TaxBookingRecorded:
			recorded[e.TaxBookingID] = c.Time
		case domain.TaxStatementRequested:
			out.Year = e.Year
		}
	})
	if err != nil {
		return nil, err
	}
	out.Cover = cover(group, requested)
	out.Bookings, out.Totals = taxBookings(group.TaxBookings(out.Year), recorded)
	for _, id := range group.AccountIDs() {
		account := domain.NewAccount(id)
		if err := s.walk(ctx, account, requested.Sequence, func(eventstore.Recorded, domain.Event) {}); err != nil {
			return nil, err
		}
		out.Accounts = append(out.Accounts, statement.NamedAccount{Number: account.Number, Name: account.Name})
	}
	return out, nil
}

// taxBookings puts the bookings of a year in the order of kind, currency and time, and sums each kind in each currency.
func taxBookings(
	bookings map[string]domain.TaxBooking, recorded map[string]time.Time,
) ([]statement.TaxBooking, []statement.TaxTotal) {
	list := make([]statement.TaxBooking, 0, len(bookings))
	for id, b := range bookings {
		list = append(list, statement.TaxBooking{Kind: b.Kind, ID: id, Amount: string(b.Amount), Currency: b.Currency, At: recorded[id]})
	}
	slices.SortFunc(list, func(a, b statement.TaxBooking) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Currency, b.Currency), a.At.Compare(b.At), cmp.Compare(a.ID, b.ID))
	})
	var totals []statement.TaxTotal
	for begin := 0; begin < len(list); {
		first := list[begin]
		end := begin
		for end < len(list) && list[end].Kind == first.Kind && list[end].Currency == first.Currency {
			end++
		}
		totals = append(totals, statement.TaxTotal{
			Kind: first.Kind, Currency: first.Currency, Bookings: end - begin, Amount: total(list[begin:end]),
		})
		begin = end
	}
	return list, totals
}

// total is the exact sum of bookings, with as many decimals as the finest of them has: under 1.50 and 2.50 stands 4.00.
func total(bookings []statement.TaxBooking) string {
	var sum domain.Decimal
	decimals := 0
	for _, b := range bookings {
		sum = sum.Add(domain.Decimal(b.Amount))
		_, fraction, _ := strings.Cut(b.Amount, ".")
		decimals = max(decimals, len(fraction))
	}
	whole, fraction, _ := strings.Cut(string(sum), ".")
	if decimals == 0 {
		return whole
	}
	return whole + "." + fraction + strings.Repeat("0", decimals-len(fraction))
}
