package domain

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// closedOn is a group with these tax residencies that was closed at a time. The clock stands still.
func closedOn(t *testing.T, at time.Time, residencies ...string) *stage {
	t.Helper()
	s, open := newStage(KindAccountGroup, someGroup), openGroup()
	open.TaxResidencies = residencies
	s.clock.stop(at)
	s.does(t, open, "opened, activated")
	s.does(t, closeGroup(""), "closing_initiated, closed")
	return s
}

// TestTaxStatement is asked for on its day in the year after the closing, once, and not a nanosecond early. CLOSED does not wait for it.
func TestTaxStatement(t *testing.T) {
	for _, d := range []struct {
		closed, due string
		year        int
	}{
		{"2027-01-01T00:00:00+01:00", "2028-03-14T23:00:00Z", 2027},
		{"2026-12-31T23:30:00Z", "2028-03-14T23:00:00Z", 2027}, // New Year's Eve in London, and New Year in Berlin
		{"2026-12-31T22:59:59Z", "2027-03-14T23:00:00Z", 2026},
		{"2026-03-15T12:00:00Z", "2027-03-14T23:00:00Z", 2026},
		{"2028-02-29T12:00:00Z", "2029-03-14T23:00:00Z", 2028},
	} {
		s := closedOn(t, when(t, d.closed).UTC(), "FR", "DE")
		require.Equal(t, StatusClosed, s.status())
		require.Equal(t, d.year, groupOf(s).TaxStatementYear(), d.closed)
		s.does(t, statement(), "")
		s.clock.stop(when(t, d.due).Add(-time.Nanosecond))
		s.does(t, statement(), "")
		s.clock.stop(when(t, d.due))
		require.Equal(t, TaxStatementRequested{Year: d.year}, s.does(t, statement(), "tax_statement_requested")[0], d.closed)
		s.clock.stop(when(t, d.due).AddDate(1, 0, 0))
		s.does(t, statement(), "")
	}
	early := closedOn(t, when(t, "2026-07-01T00:00:00Z"), "DE")
	early.clock.stop(when(t, "2027-01-31T23:00:00Z"))
	early.does(t, &RequestTaxStatement{Day: MonthDay{time.February, 2}}, "")
	early.does(t, &RequestTaxStatement{Day: MonthDay{time.February, 1}}, "tax_statement_requested")
}

// TestNoTaxStatement: there is none without a tax resident of DE, nor before CLOSED.
func TestNoTaxStatement(t *testing.T) {
	for _, residencies := range [][]string{nil, {"GB"}, {"AT", "CH"}} {
		s := closedOn(t, at(0), residencies...)
		require.Zero(t, groupOf(s).TaxStatementYear())
		s.clock.stop(at(0).AddDate(5, 0, 0))
		s.does(t, statement(), "")
	}
	s := closingGroup(t)
	require.Zero(t, groupOf(s).TaxStatementYear())
	s.clock.now = at(0).AddDate(5, 0, 0)
	s.does(t, statement(), "")
}

// TestChangeDomicile states the domicile and the residencies as a whole.
func TestChangeDomicile(t *testing.T) {
	s := activeGroup(t)
	s.does(t, &ChangeDomicile{Domicile: "DE", TaxResidencies: []string{"DE"}}, "")
	updated := groupOf(s).UpdatedAt
	events := s.does(t, &ChangeDomicile{Domicile: "DE"}, "domicile_changed")
	require.Equal(t, DomicileChanged{Domicile: "DE", TaxResidencies: []string{}}, events[0], "no residency is stored as [], so that the log says it")
	require.Equal(t, updated, groupOf(s).UpdatedAt, "neither the status nor a name")
	s.does(t, &ChangeDomicile{Domicile: "GB", TaxResidencies: []string{"GB", "DE"}}, "domicile_changed")
	require.Equal(t, "GB", groupOf(s).Domicile)
	s.does(t, openGroup(), "") // an open that comes again asks for what was opened, whatever has changed since
	s.does(t, closeGroup(""), "closing_initiated, closed")
	require.Equal(t, TaxYear(*s.closure().ClosedAt), groupOf(s).TaxStatementYear(), "the residencies at the closing count")
	s.refuses(t, &ChangeDomicile{Domicile: "DE", TaxResidencies: []string{"DE"}}, Conflict)
}

// TestTaxBookings are facts: a higher revision replaces a booking as a whole, its year too, also after CLOSED.
func TestTaxBookings(t *testing.T) {
	s := activeGroup(t)
	require.True(t, IsFact(booking(2026, "1", 1)))
	s.does(t, booking(2025, "12.50", 2), "tax_booking_recorded")
	s.does(t, booking(2026, "1", 1), "")
	s.does(t, booking(2026, "1", 2), "")
	other := booking(2025, "-3", 1)
	other.TaxBookingID = someFee
	s.does(t, other, "tax_booking_recorded")
	require.Equal(t, map[string]TaxBooking{
		someBooking: {2025, "DIVIDEND", "12.50", "EUR", 2}, someFee: {2025, "DIVIDEND", "-3", "EUR", 1},
	}, groupOf(s).TaxBookings(2025))
	s.does(t, closeGroup(""), "closing_initiated, closed")
	s.does(t, booking(2026, "12.50", 3), "tax_booking_recorded")
	require.Empty(t, s.closure().Reconciliation, "a booking never blocked")
	require.Len(t, groupOf(s).TaxBookings(2025), 1)
	require.Equal(t, map[string]TaxBooking{someBooking: {2026, "DIVIDEND", "12.50", "EUR", 3}}, groupOf(s).TaxBookings(2026))
	require.Empty(t, groupOf(s).TaxBookings(2027))
}
