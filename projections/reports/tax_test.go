package reports

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/projections/reports/statement"
)

// closingYear is the tax year in which the groups of the tests close.
const closingYear = 2026

// book records a tax booking of the group, and tells the time at which that is done.
func (c *closing) book(id string, year int, kind string, amount domain.Decimal, currency string, revision int64) time.Time {
	c.a.t.Helper()
	c.a.write(domain.KindAccountGroup, c.group, &domain.RecordTaxBooking{
		TaxBookingID: id, Year: year, Kind: kind, Amount: amount, Currency: currency, Revision: revision,
	})
	return c.a.now
}

// requestTax asks for the annual tax statement on its day in the year after the closing.
func (c *closing) requestTax() {
	c.a.t.Helper()
	c.a.now = domain.TaxStatementDue(closingYear, domain.DefaultTaxStatementDay)
	c.a.write(domain.KindAccountGroup, c.group, &domain.RequestTaxStatement{Day: domain.DefaultTaxStatementDay})
}

// taxReport is the id of a user's annual tax statement.
func (c *closing) taxReport(user string) string {
	return domain.NewAccountGroup(c.group).ReportID(user, domain.ReportAnnualTaxStatement)
}

// row is what the table of the bookings says of one, without white space.
func row(kind, id string, at time.Time, amount, currency string) string {
	return squeeze(kind + id + at.UTC().Format(time.DateTime) + amount + currency)
}

// The text is read back from the files of both owners: the group, the year, each booking as last recorded, and the totals.
func TestWhatATaxStatementSays(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	s := a.start(Config{})
	c := a.open()
	dividend, second, dollars, gain, moved := uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
	c.book(dividend, closingYear, "DIVIDEND", "9999.99", "EUR", 1)
	c.book(moved, closingYear-1, "INTEREST", "7.70", "EUR", 1)
	gainAt := c.book(gain, closingYear, "CAPITAL_GAIN", "-12.345", "EUR", 1)
	c.close()
	secondAt := c.book(second, closingYear, "DIVIDEND", "0.2", "EUR", 1)
	dividendAt := c.book(dividend, closingYear, "DIVIDEND", "10.10", "EUR", 2)
	dollarsAt := c.book(dollars, closingYear, "DIVIDEND", "3", "USD", 1)
	movedAt := c.book(moved, closingYear, "INTEREST", "7.70", "EUR", 2)
	c.requestTax()
	a.settle(s)

	for user, role := range map[string]string{owner: "OWNER", child: "CHILD"} {
		said := text(t, s.mustPDF(t, c.taxReport(user)))
		for _, want := range []string{
			"Annual tax statement 2026", "ANNUAL_TAX_STATEMENT", "Tax year2026", "Steuerbescheinigung", c.group, "7654321", "Type CHILD",
			"Tax residenciesDE", "DomicileDE", "OWNER " + owner, "CHILD " + child, "GUARDIAN " + guardian,
			"Closed" + c.closed().Time.Format(time.DateTime) + " UTC", "Prepared for " + strings.ToLower(role) + user,
			"Account 1 – Zoë’s Ersparnisse", "Account 2 – Łódź Ωμέγα",
			"Created" + c.commit(domain.EventGroupTaxStatementRequested).Time.Format(time.DateTime),
			// In the order of kind, currency and time.
			row("CAPITAL_GAIN", gain, gainAt, "-12.345", "EUR") + row("DIVIDEND", second, secondAt, "0.2", "EUR") +
				row("DIVIDEND", dividend, dividendAt, "10.10", "EUR") + row("DIVIDEND", dollars, dollarsAt, "3", "USD") +
				row("INTEREST", moved, movedAt, "7.70", "EUR"),
			"Total Currency" + "CAPITAL_GAIN 1 -12.345 EUR" + "DIVIDEND 2 10.30 EUR" + "DIVIDEND 1 3 USD" + "INTEREST 1 7.70 EUR",
			"5 tax bookings, 4 totals.",
			fmt.Sprintf("Report %s for %s %s.", c.taxReport(user), role, user),
		} {
			require.Contains(t, said, squeeze(want))
		}
		require.NotContains(t, said, "9999.99", "what a later revision replaced")
		require.Equal(t, 1, strings.Count(said, dividend))
	}
}

// Each owner and each child gets one of each type; a guardian gets none. It is recorded as the closing statement is.
func TestEachOwnerGetsOneTaxStatement(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	s := a.start(Config{})
	c.close()
	a.settle(s)
	require.Len(t, c.records(), 2, "CLOSED does not make it")
	c.requestTax()
	a.settle(s)

	requested, records := c.commit(domain.EventGroupTaxStatementRequested), c.records()
	require.Len(t, records, 4)
	seen := map[string]bool{}
	for _, r := range records[2:] {
		require.Len(t, r.Events, 1)
		var created domain.ReportCreated
		require.NoError(t, json.Unmarshal(r.Events[0].Data, &created))
		seen[created.UserID] = true
		file := s.mustPDF(t, created.ReportID)
		require.Equal(t, domain.ReportCreated{
			ReportID: c.taxReport(created.UserID), UserID: created.UserID, Type: "ANNUAL_TAX_STATEMENT",
			SHA256: checksum(file), Size: len(file),
		}, created)
		require.Equal(t, "closure:reports", r.Actor)
		require.Equal(t, requested.ID, r.CausationID)
		require.Equal(t, domain.DeriveID("record_report", created.ReportID), r.CommandID)
		resource, err := s.Report(testContext(t), someClient, created.ReportID)
		require.NoError(t, err)
		require.Equal(t, domain.ReportResource{
			ID: created.ReportID, CreatedAt: r.Time, UserID: created.UserID, Type: "ANNUAL_TAX_STATEMENT",
			Data: domain.ReportData{References: []domain.ReportReference{{ID: c.group, Type: "ACCOUNT_GROUP_ID"}}},
		}, resource)
	}
	require.Equal(t, map[string]bool{owner: true, child: true}, seen)
	_, err := s.Report(testContext(t), someClient, c.taxReport(guardian))
	mustBeMissing(t, c.taxReport(guardian), err)
}

// An engine that starts when all is over makes both types. What was recorded after the request, or of another year, is in
// none of the statements: they are those that an engine in time would have made.
func TestALateEngineMakesBothReports(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	booked, before, after := uuid.NewString(), uuid.NewString(), uuid.NewString()
	c.book(booked, closingYear, "DIVIDEND", "10.00", "EUR", 1)
	c.book(before, closingYear-1, "DIVIDEND", "222.22", "EUR", 1)
	c.book(after, closingYear+1, "DIVIDEND", "333.33", "EUR", 1)
	c.close()
	c.requestTax()
	inTime := a.render(a.service(), c, domain.EventGroupTaxStatementRequested, owner)
	late := uuid.NewString()
	c.book(booked, closingYear, "DIVIDEND", "444.44", "EUR", 2)
	c.book(late, closingYear, "DIVIDEND", "555.55", "EUR", 1)

	s := a.start(Config{})
	a.settle(s)
	require.Len(t, c.records(), 4)
	for _, user := range []string{owner, child} {
		require.Contains(t, text(t, s.mustPDF(t, c.report(user))), squeeze("Account closing statement"))
		said := text(t, s.mustPDF(t, c.taxReport(user)))
		require.Contains(t, said, squeeze("DIVIDEND 1 10.00 EUR"))
		for _, never := range []string{before, after, late, "222.22", "333.33", "444.44", "555.55"} {
			require.NotContains(t, said, never)
		}
	}
	require.Equal(t, inTime, s.mustPDF(t, c.taxReport(owner)))
}

// The whole log handled again gives the same bytes, the same object and no second record.
func TestATaxStatementMadeTwiceIsOneReport(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	for i := range 30 {
		c.book(uuid.NewString(), closingYear, []string{"DIVIDEND", "INTEREST", "FEE"}[i%3], "1.25", []string{"EUR", "USD"}[i%2], 1)
	}
	c.close()
	c.requestTax()
	first := a.start(Config{})
	a.settle(first)
	id := c.taxReport(owner)
	before, last, object := first.mustPDF(t, id), a.last(), a.object(first, id)
	stop(t, first)

	require.NoError(t, a.log.JetStream().DeleteConsumer(testContext(t), eventstore.StreamLog, "reports"))
	again := a.start(Config{})
	require.Zero(t, again.Position())
	a.settle(again)
	require.Equal(t, last, a.last())
	require.Len(t, c.records(), 4)
	require.Equal(t, object, a.object(again, id))
	require.Equal(t, before, again.mustPDF(t, id))
	require.Equal(t, before, a.render(again, c, domain.EventGroupTaxStatementRequested, owner), "the same log gives the same bytes")
}

func TestATaxStatementWithoutBookings(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	c.book(uuid.NewString(), closingYear-1, "DIVIDEND", "222.22", "EUR", 1)
	c.close()
	c.requestTax()
	s := a.start(Config{})
	a.settle(s)
	said := text(t, s.mustPDF(t, c.taxReport(owner)))
	require.Contains(t, said, squeeze("No tax booking was recorded for the year 2026. End of statement: 0 tax bookings, 0 totals."))
	require.NotContains(t, said, squeeze("Totals by kind"))
}

// The tax statement of a group that was closed for a suspicion of money laundering is the same as of any other.
func TestATaxStatementDoesNotTipOff(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := &closing{a: a, group: uuid.NewString()}
	a.write(domain.KindAccountGroup, c.group, &domain.OpenAccountGroup{
		Users: []domain.Party{{ID: owner, Type: domain.Owner}}, Type: "PERSONAL", TaxResidencies: []string{"DE"},
	})
	a.write(domain.KindAccountGroup, c.group, &domain.RequestAccountGroupClosure{ClosureReason: domain.ReasonAML})
	c.requestTax()
	said := strings.ToLower(text(t, a.render(a.service(), c, domain.EventGroupTaxStatementRequested, owner)))
	require.Contains(t, said, c.group)
	for _, never := range []string{"aml", "launder", "reason", "support@"} {
		require.NotContains(t, said, never)
	}
}

// Totals are exact, and have the decimals of the finest booking.
func TestTotalsAreExact(t *testing.T) {
	t.Parallel()
	for want, amounts := range map[string][]string{
		"4.00":                          {"1.50", "2.5"},
		"0.3":                           {"0.1", "0.2"},
		"20":                            {"7", "13"},
		"0.00":                          {"-0.01", "0.01"},
		"-0.010":                        {"-0.02", "0.010"},
		"-5":                            {"-5"},
		"1.000000000000000000000000001": {"1", "0.000000000000000000000000001"},
		"199999999999999999999999999999999999998.5": {
			"99999999999999999999999999999999999999", "99999999999999999999999999999999999999", "0.5",
		},
	} {
		bookings := map[string]domain.TaxBooking{"other": {Kind: "TAX", Currency: "USD", Amount: "1"}}
		for i, amount := range amounts {
			require.NoError(t, domain.Decimal(amount).Validate())
			bookings[fmt.Sprint(i)] = domain.TaxBooking{Kind: "TAX", Currency: "EUR", Amount: domain.Decimal(amount)}
		}
		list, totals := taxBookings(bookings, nil)
		require.Len(t, list, len(amounts)+1)
		require.Equal(t, []statement.TaxTotal{
			{Kind: "TAX", Currency: "EUR", Bookings: len(amounts), Amount: want}, {Kind: "TAX", Currency: "USD", Bookings: 1, Amount: "1"},
		}, totals)
	}
}
