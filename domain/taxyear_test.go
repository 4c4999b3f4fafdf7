package domain

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// when reads a time of a table.
func when(t rapid.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	require.NoError(t, err)
	return at
}

// ukDates are requests, and when an account of domicile GB may close that was asked to at that time.
var ukDates = []struct{ name, request, due string }{
	{"the last second of the tax year", "2026-04-05T22:59:59Z", "2026-04-05T23:00:00Z"},
	{"the last nanosecond of the tax year", "2026-04-05T22:59:59.999999999Z", "2026-04-05T23:00:00Z"},
	{"the very instant at which it ends", "2026-04-05T23:00:00Z", "2027-04-05T23:00:00Z"},
	{"the nanosecond after it", "2026-04-05T23:00:00.000000001Z", "2027-04-05T23:00:00Z"},
	{"6 April by the clock of the machine", "2026-04-06T00:00:00Z", "2027-04-05T23:00:00Z"},
	{"6 April at noon", "2026-04-06T12:00:00Z", "2027-04-05T23:00:00Z"},
	{"5 April in London, and 6 April in Sydney", "2026-04-06T08:59:59+10:00", "2026-04-05T23:00:00Z"},
	{"6 April in London, and 5 April in New York", "2026-04-05T19:00:00-04:00", "2027-04-05T23:00:00Z"},
	{"winter time", "2026-01-15T00:00:00Z", "2026-04-05T23:00:00Z"},
	{"the night of summer time", "2026-03-29T01:00:00Z", "2026-04-05T23:00:00Z"},
	{"summer time", "2026-07-01T00:00:00Z", "2027-04-05T23:00:00Z"},
	{"31 December", "2026-12-31T23:59:59Z", "2027-04-05T23:00:00Z"},
	{"1 January", "2027-01-01T00:00:00Z", "2027-04-05T23:00:00Z"},
	{"29 February", "2028-02-29T12:00:00Z", "2028-04-05T23:00:00Z"},
	{"a leap year, after its day", "2028-04-05T23:00:00Z", "2029-04-05T23:00:00Z"},
	{"the last century in summer time", "1999-06-01T00:00:00Z", "2000-04-05T23:00:00Z"},
}

func TestTaxYearEnd(t *testing.T) {
	for _, d := range ukDates {
		t.Run(d.name, func(t *testing.T) {
			end := TaxYearEnd(when(t, d.request))
			require.Equal(t, when(t, d.due), end)
			require.Equal(t, time.UTC, end.Location(), "times are stored and shown in UTC")
			require.Equal(t, "6 April 00:00:00", end.In(london).Format("2 January 15:04:05"))
			require.True(t, end.After(when(t, d.request)))
			require.False(t, TaxYearEnd(end.Add(-time.Nanosecond)).After(end), "no other end lies between")
		})
	}
}

// british is an account of domicile GB that was asked to close at a time, while it held a position. The clock stands still.
func british(t *testing.T, request time.Time) *stage {
	t.Helper()
	s := newStage(KindAccount, firstAccount)
	s.clock.stop(request)
	s.does(t, openAccount(StatusActive), "opened, activated")
	s.does(t, holds(basf, "10", 1), "position_recorded")
	s.does(t, &RequestAccountClosure{Domicile: "GB"}, "domicile_recorded, closing_initiated")
	return s
}

// TestUKAccountClosesAtTheEndOfTheTaxYear: at that instant, and not a nanosecond before it.
func TestUKAccountClosesAtTheEndOfTheTaxYear(t *testing.T) {
	for _, d := range ukDates {
		t.Run(d.name, func(t *testing.T) {
			request, due := when(t, d.request).UTC(), when(t, d.due)
			s := british(t, request)
			require.Equal(t, due, *s.closure().NextEligibleAt)
			require.Equal(t, due, *s.agg.(*Account).EligibleAt())
			require.Equal(t, "OPEN_POSITIONS, TAX_YEAR_END", codes(s.closure().Blockers))
			require.Equal(t, request, find(s.closure().Blockers, TaxYearEndBlocker).Since)

			s.clock.stop(due.Add(-time.Nanosecond))
			s.does(t, holds(basf, "0", 2), "position_recorded")
			require.Equal(t, "TAX_YEAR_END", codes(s.closure().Blockers), "the last other blocker went early")
			s.does(t, &ReviewClosure{}, "")
			require.Equal(t, StatusClosing, s.status(), "a timer that comes early does nothing")

			s.clock.stop(due)
			require.Empty(t, s.closure().Blockers)
			s.does(t, &ReviewClosure{}, "closed")
			require.Equal(t, due, *s.closure().ClosedAt)
			require.Equal(t, due, *s.closure().NextEligibleAt, "what the rule said stays to be read")
			s.does(t, &ReviewClosure{}, "")
		})
	}
}

// TestUKAccountClosesLater: after the date nothing but the rest is waited for, and a fact closes without a timer.
func TestUKAccountClosesLater(t *testing.T) {
	s := british(t, at(0))
	s.clock.stop(TaxYearEnd(at(0)))
	s.does(t, &ReviewClosure{}, "")
	require.Equal(t, "OPEN_POSITIONS", codes(s.closure().Blockers))
	s.does(t, holds(basf, "0", 2), "position_recorded, closed")

	locked := british(t, at(0))
	locked.does(t, holds(basf, "0", 2), "position_recorded")
	locked.does(t, &Lock{}, "locked")
	require.Equal(t, "TAX_YEAR_END, LOCKED", codes(locked.closure().Blockers))
	locked.clock.stop(TaxYearEnd(at(0)))
	locked.does(t, &ReviewClosure{}, "")
	require.Equal(t, "LOCKED", codes(locked.closure().Blockers))
	locked.does(t, &Unlock{}, "unlocked, closed")
}

// TestUKRequestWithNothingElse is the request that would close at once anywhere else.
func TestUKRequestWithNothingElse(t *testing.T) {
	for domicile, want := range map[string]string{
		"": "closing_initiated, closed", "DE": "domicile_recorded, closing_initiated, closed", "IE": "domicile_recorded, closing_initiated, closed",
		"GB": "domicile_recorded, closing_initiated", "GG": "domicile_recorded, closing_initiated, closed", // Guernsey is not in the UK
	} {
		activeAccount(t).does(t, &RequestAccountClosure{Domicile: domicile}, want)
	}
}

// TestPreviewOfTheTaxYear: before closing is asked for, the checklist goes by the group's domicile, and by a request made now.
func TestPreviewOfTheTaxYear(t *testing.T) {
	s := activeAccount(t)
	s.clock.stop(when(t, "2026-04-05T22:59:59Z"))
	require.Nil(t, s.closure().NextEligibleAt)
	require.Nil(t, s.agg.(*Account).EligibleAt())
	preview := s.preview(Outlook{Domicile: "GB", Withdrawals: outstanding})
	require.Equal(t, "OUTSTANDING_WITHDRAWALS, TAX_YEAR_END", codes(preview.Blockers))
	require.Equal(t, s.clock.now, preview.Blockers[1].Since, "it would stand from now on")
	require.NotNil(t, preview.Blockers[1].Items)
	require.Equal(t, when(t, "2026-04-05T23:00:00Z"), *preview.NextEligibleAt)
	s.clock.stop(when(t, "2026-04-05T23:00:00Z"))
	require.Equal(t, when(t, "2027-04-05T23:00:00Z"), *s.preview(Outlook{Domicile: "GB"}).NextEligibleAt)

	// What the account was told before the request does not count before it, and the request brings the present one.
	s.does(t, &RecordDomicile{AccountGroupID: someGroup, Domicile: "GB"}, "domicile_recorded")
	require.Empty(t, s.preview(Outlook{Domicile: "DE"}).Blockers)
	require.Nil(t, s.agg.(*Account).EligibleAt())
	s.does(t, &RequestAccountClosure{Domicile: "DE"}, "domicile_recorded, closing_initiated, closed")
	require.Empty(t, s.preview(Outlook{Domicile: "GB"}).Blockers)
}

// TestDomicileChangesWhileClosing: out of the UK it closes at once when nothing else stands; into the UK the date counts from the request.
func TestDomicileChangesWhileClosing(t *testing.T) {
	out := british(t, at(0))
	out.does(t, &RecordDomicile{AccountGroupID: someGroup, Domicile: "DE"}, "domicile_recorded")
	require.Equal(t, "OPEN_POSITIONS", codes(out.closure().Blockers))
	require.Nil(t, out.closure().NextEligibleAt)
	out.does(t, holds(basf, "0", 2), "position_recorded, closed")
	out.does(t, &RecordDomicile{AccountGroupID: someGroup, Domicile: "GB"}, "")
	require.Nil(t, out.closure().NextEligibleAt, "what is CLOSED keeps the domicile that it closed with")

	at1 := british(t, at(0))
	at1.does(t, holds(basf, "0", 2), "position_recorded")
	at1.does(t, &RecordDomicile{AccountGroupID: someGroup, Domicile: "DE"}, "domicile_recorded, closed")

	in := closingAccount(t)
	requested := *in.closure().RequestedAt
	in.clock.stop(when(t, "2026-04-05T22:00:00Z"))
	in.does(t, &RecordDomicile{AccountGroupID: someGroup, Domicile: "GB"}, "domicile_recorded")
	require.Equal(t, "OPEN_POSITIONS, TAX_YEAR_END", codes(in.closure().Blockers))
	require.Equal(t, TaxYearEnd(requested), *in.closure().NextEligibleAt)
	require.Equal(t, in.clock.now, find(in.closure().Blockers, TaxYearEndBlocker).Since)
	in.does(t, holds(basf, "0", 2), "position_recorded")
	in.does(t, &RecordDomicile{AccountGroupID: someGroup, Domicile: "GB"}, "")
	in.clock.stop(TaxYearEnd(requested))
	in.does(t, &ReviewClosure{}, "closed")

	late := closingAccount(t)
	late.clock.stop(when(t, "2026-04-05T23:00:00Z"))
	late.does(t, &RecordDomicile{AccountGroupID: someGroup, Domicile: "GB"}, "domicile_recorded")
	require.Equal(t, "OPEN_POSITIONS", codes(late.closure().Blockers), "the tax year of the request is over already")
	late.does(t, holds(basf, "0", 2), "position_recorded, closed")
}

// TestGermanTaxYear is the calendar year in Berlin, and its statement is made on a day of the following one.
func TestGermanTaxYear(t *testing.T) {
	for at, year := range map[string]int{
		"2026-12-31T22:59:59.999999999Z": 2026, "2026-12-31T23:00:00Z": 2027, "2026-12-31T23:30:00Z": 2027, "2027-01-01T00:00:00Z": 2027,
		"2026-01-01T00:00:00+01:00": 2026, "2025-12-31T22:59:59Z": 2025, "2026-06-30T22:30:00Z": 2026, "2028-02-29T12:00:00Z": 2028,
	} {
		require.Equal(t, year, TaxYear(when(t, at)), at)
	}
	for _, d := range []struct {
		year int
		day  MonthDay
		due  string
	}{
		{2027, DefaultTaxStatementDay, "2028-03-14T23:00:00Z"}, {2026, DefaultTaxStatementDay, "2027-03-14T23:00:00Z"},
		{2026, MonthDay{time.March, 28}, "2027-03-27T23:00:00Z"}, {2026, MonthDay{time.March, 29}, "2027-03-28T22:00:00Z"}, // the clock goes forward on 28 March 2027
		{2026, MonthDay{time.July, 1}, "2027-06-30T22:00:00Z"}, {2027, MonthDay{time.February, 28}, "2028-02-27T23:00:00Z"},
		{2026, MonthDay{time.January, 1}, "2026-12-31T23:00:00Z"}, {2026, MonthDay{time.December, 31}, "2027-12-30T23:00:00Z"},
	} {
		require.NoError(t, d.day.Validate())
		require.Equal(t, when(t, d.due), TaxStatementDue(d.year, d.day), "%d, %v", d.year, d.day)
	}
}

// Only the account's own group is listened to: a link of another one, of an open that went wrong, changes no date.
func TestTheDomicileOfAnotherGroup(t *testing.T) {
	s := activeAccount(t)
	s.does(t, &RequestAccountClosure{Domicile: "GB"}, "domicile_recorded, closing_initiated")
	s.does(t, &RecordDomicile{AccountGroupID: otherGroup, Domicile: "DE"}, "")
	require.Equal(t, StatusClosing, s.status())
}
