package statement

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-fonts/dejavu/dejavusans"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sampleTax is a tax statement with something in every section.
func sampleTax() Tax {
	return Tax{
		Cover: someCover(), Year: 2026, Accounts: []NamedAccount{{1, "Depot"}, {3, "Portfolio"}},
		Bookings: []TaxBooking{
			{Kind: "DIVIDEND", ID: "booking-1", Amount: "10.10", Currency: "EUR", At: noon.Add(-3 * time.Hour)},
			{Kind: "DIVIDEND", ID: "booking-2", Amount: "-0.2", Currency: "EUR", At: noon.Add(-2 * time.Hour)},
			{Kind: "WITHHOLDING_TAX", ID: "booking-3", Amount: "-3", Currency: "USD", At: noon.Add(-time.Hour)},
		},
		Totals: []TaxTotal{
			{Kind: "DIVIDEND", Currency: "EUR", Bookings: 2, Amount: "9.90"},
			{Kind: "WITHHOLDING_TAX", Currency: "USD", Bookings: 1, Amount: "-3"},
		},
	}
}

func renderTax(t testing.TB, tax Tax) []byte {
	t.Helper()
	file, err := Render(&tax)
	require.NoError(t, err)
	return file
}

// TestTaxSaysAllThatItIsGiven reads the whole text back, in order.
func TestTaxSaysAllThatItIsGiven(t *testing.T) {
	file := renderTax(t, sampleTax())
	sheets := read(t, file)
	require.Len(t, sheets, 1)
	assertClean(t, file, sheets)
	want := []string{
		"Annual tax statement 2026", "ANNUAL_TAX_STATEMENT",
		"Report", reportID, "Prepared for owner", ownerID, "Created", "2026-03-14 12:00:30 UTC",
		"This is not the official tax certificate (“Steuerbescheinigung”) of the paying agent, and does not replace it.",
		"Account group",
		"Account group", groupID, "Securities account number", "1234567890", "Type", "CHILD",
		"Tax year", "2026", "Tax residencies", "DE, AT", "Domicile", "DE",
		"Opened", "2024-03-14 12:00:30 UTC", "Closed", "2026-03-14 11:59:30 UTC", "Accounts", "2",
		"Names of the accounts", "Account 1 – Depot", "Account 3 – Portfolio",
		"Users", "OWNER " + ownerID, "CHILD " + childID,
		"Tax bookings",
		"Kind", "Tax booking", "Recorded (UTC)", "Amount", "Currency",
		"DIVIDEND", "booking-1", "2026-03-14 09:00:30", "10.10", "EUR",
		"DIVIDEND", "booking-2", "2026-03-14 10:00:30", "-0.2", "EUR",
		"WITHHOLDING_TAX", "booking-3", "2026-03-14 11:00:30", "-3", "USD",
		"Totals by kind and currency",
		"Kind", "Bookings", "Total", "Currency",
		"DIVIDEND", "2", "9.90", "EUR",
		"WITHHOLDING_TAX", "1", "-3", "USD",
		"End of statement: 3 tax bookings, 2 totals.",
		"Report " + reportID + " for OWNER " + ownerID + ". All times are in UTC.", "Page 1 of 1",
	}
	var got []string
	for _, r := range sheets[0].runs {
		// The introduction is prose; its words are free.
		if !strings.HasPrefix(r.text, "This statement lists") && !strings.HasPrefix(r.text, "time of its creation") {
			got = append(got, r.text)
		}
	}
	assert.Equal(t, want, got)
	info := open(t, file).Trailer().Key("Info")
	assert.Equal(t, "Annual tax statement 2026 "+reportID, info.Key("Title").Text())
	assert.Equal(t, "ANNUAL_TAX_STATEMENT of account group "+groupID, info.Key("Subject").Text())
	assert.Equal(t, file, renderTax(t, sampleTax()), "the same data gives the same bytes")
}

func TestTaxSaysWhatIsMissing(t *testing.T) {
	cover := Cover{ReportID: reportID, Owner: Party{ID: ownerID, Type: "CHILD"}, CreatedAt: noon, Group: Group{ID: groupID}}
	text := all(read(t, renderTax(t, Tax{Cover: cover, Year: 2026})))
	for _, sentence := range []string{
		"Prepared for child\n", "Users\n–\n", "Accounts\n0\n", "Closed\n–\n",
		"Tax bookings\nNo tax booking was recorded for the year 2026.\nEnd of statement: 0 tax bookings, 0 totals.\n",
	} {
		assert.Contains(t, text, sentence)
	}
	assert.NotContains(t, text, "Totals")
	assert.NotContains(t, text, "Names of")
}

func TestTaxRefusesWhatItCannotState(t *testing.T) {
	for field, spoil := range map[string]func(*Tax){
		"ReportID":  func(s *Tax) { s.ReportID = "" },
		"Owner.ID":  func(s *Tax) { s.Owner.ID = "" },
		"Group.ID":  func(s *Tax) { s.Group.ID = "" },
		"CreatedAt": func(s *Tax) { s.CreatedAt = time.Time{} },
		"Year":      func(s *Tax) { s.Year = 0 },
	} {
		s := sampleTax()
		spoil(&s)
		file, err := Render(&s)
		assert.Nil(t, file)
		assert.ErrorIs(t, err, ErrInvalid)
		assert.ErrorContains(t, err, field)
	}
}

// TestTaxNamesInEveryScript reads each account name back, and looks for its glyphs in the file.
func TestTaxNamesInEveryScript(t *testing.T) {
	s := sampleTax()
	s.Accounts = nil
	for _, name := range names {
		s.Accounts = append(s.Accounts, NamedAccount{len(s.Accounts) + 1, name})
	}
	file := renderTax(t, s)
	text := all(read(t, file))
	regular, _ := embeddedFonts(t, file)
	for language, name := range names {
		assert.Contains(t, text, "– "+name+"\n", language)
		assertDrawn(t, regular, dejavusans.TTF, name)
	}
	assert.NotContains(t, text, "font of this document")

	s.Accounts = []NamedAccount{{1, "漢 end"}, {2, ""}}
	text = all(read(t, renderTax(t, s)))
	assert.Contains(t, text, "Account 1 – \uFFFD end\nAccount 2\n")
	assert.Contains(t, text, "Note: the font of this document lacks U+6F22; shown above as \uFFFD.\n")
}

// TestTaxNothingLeavesItsPlace fills the tables with the longest that the domain lets in, over several pages.
func TestTaxNothingLeavesItsPlace(t *testing.T) {
	const id = "dddddddd-dddd-dddd-dddd-dddddddddddd"
	s := sampleTax()
	s.Bookings, s.Totals = nil, nil
	s.Accounts = []NamedAccount{{1, strings.Repeat("W", 100)}}
	s.Group.Users = slices.Repeat([]Party{{ID: id, Type: "GUARDIAN"}}, 10)
	kinds := []string{strings.Repeat("W", 50), "SOLIDARITY_SURCHARGE_ON_CAPITAL_GAINS", "DIVIDEND"}
	amounts := []string{"-12345678901.123456789012345678901234567", "99999999999999999999999999999999999999", "-1234567.89"}
	for i := range 90 {
		s.Bookings = append(s.Bookings, TaxBooking{Kind: kinds[i%3], ID: id, Amount: amounts[i/3%3], Currency: "WWW", At: noon})
	}
	const sum = "-88888888888888888888888888888888888888888.123456789012345678901234567" // of very many
	for i := range 60 {
		s.Totals = append(s.Totals, TaxTotal{
			Kind: kinds[i%3], Currency: "WWW", Bookings: 100_000, Amount: sum,
		})
	}
	file := renderTax(t, s)
	sheets := read(t, file)
	require.Greater(t, len(sheets), 3)
	assertClean(t, file, sheets)
	text := all(sheets)
	assert.Contains(t, text, "Tax bookings (continued)\nKind\n")
	assert.Contains(t, text, "Totals by kind and currency (continued)\nKind\n")
	assert.Contains(t, text, "\nSOLIDARITY_\nSURCHARGE_ON_\nCAPITAL_GAINS\n", "a kind breaks between its words")
	assert.Equal(t, len(sheets)-1, strings.Count(text, fmt.Sprintf("Annual tax statement 2026\nAccount group %s\n", groupID)), "running heads")
	joined := strings.ReplaceAll(text, "\n", "")
	for _, amount := range amounts {
		assert.Equal(t, 30, strings.Count(joined, amount), amount)
	}
	assert.Equal(t, 60, strings.Count(joined, sum))
}
