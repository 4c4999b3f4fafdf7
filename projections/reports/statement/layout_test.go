package statement

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const point = 1 / mmPerPoint // points in a millimetre

// assertClean checks that on every page each run ends before the next one on its line begins, that all stand between the
// margins, and that the foot counts the pages.
func assertClean(t *testing.T, file []byte, sheets []sheet) {
	t.Helper()
	regular, bold := embeddedFonts(t, file)
	for i, s := range sheets {
		foot := s.runs[len(s.runs)-1]
		require.Equal(t, fmt.Sprintf("Page %d of %d", i+1, len(sheets)), foot.text)
		lines := make(map[string][]drawn)
		for _, r := range s.runs {
			assert.GreaterOrEqual(t, r.y, foot.y-0.01, "below the foot: %q", r.text)
			assert.Less(t, r.y, (pageHeight-topMargin)*point, "above the page: %q", r.text)
			key := strconv.FormatFloat(r.y, 'f', 1, 64)
			lines[key] = append(lines[key], r)
		}
		for _, line := range lines {
			slices.SortFunc(line, func(a, b drawn) int { return int(1000 * (a.x - b.x)) })
			limit := sideMargin*point - 0.01
			for _, r := range line {
				assert.GreaterOrEqual(t, r.x, limit, "page %d: %q begins in what stands before it", i+1, r.text)
				f := regular
				if r.bold {
					f = bold
				}
				limit = r.x + f.width(r) - 0.1
			}
			assert.LessOrEqual(t, limit, (pageWidth-sideMargin)*point, "page %d: %q leaves the page", i+1, line[len(line)-1].text)
		}
	}
}

// TestNothingLeavesItsPlace fills every field with the longest and the widest.
func TestNothingLeavesItsPlace(t *testing.T) {
	longest := []string{
		"-12345678901.123456789012345678901234567",
		"99999999999999999999999999999999999999",
		"-0.000000000000000000000000001",
		"1234567890123456789012.34567890123456",
	}
	wide := strings.Repeat("W", 100)
	s := sample()
	s.Accounts = nil
	for i, name := range []string{wide, strings.Repeat("Ẁ", 100), strings.Repeat("Wort ", 20), "W " + strings.Repeat("W", 98), strings.Repeat("i", 100)} {
		a := account(i+1, name)
		for _, d := range longest {
			a.Positions = append(a.Positions, PositionMovement{ISIN: "WWWWWWWWWWWW", At: noon, From: d, To: d, SoldOut: true})
		}
		s.Accounts = append(s.Accounts, a)
	}
	for _, d := range longest {
		s.Cash = append(s.Cash, CashMovement{Currency: "WWW", At: noon, BalanceBefore: d, BalanceAfter: d, PendingSettlement: d})
		s.Fees = append(s.Fees, Fee{ID: "dddddddd-dddd-dddd-dddd-dddddddddddd", At: noon, Status: "PROCESSING", Amount: d, Currency: "WWW"})
		s.Withdrawals = append(s.Withdrawals, Withdrawal{ID: wide, At: noon, Status: wide, Amount: d, Currency: wide})
	}
	s.RequestedBy, s.Reason, s.Group.SecuritiesAccountNumber = wide, wide, "999999999999"
	s.Group.TaxResidencies = slices.Repeat([]string{"WW"}, 60)
	s.Group.Users = slices.Repeat([]Party{{ID: "dddddddd-dddd-dddd-dddd-dddddddddddd", Type: "GUARDIAN"}}, 10)
	file := render(t, s)
	sheets := read(t, file)
	assertClean(t, file, sheets)

	// Nothing was cut: over all pages each amount and each name is there as often as it was given.
	joined := strings.ReplaceAll(all(sheets), "\n", "")
	assert.Equal(t, 1, strings.Count(joined, "Account 1 –"+wide))
	assert.Equal(t, 1, strings.Count(joined, "Account 2 –"+strings.Repeat("Ẁ", 100)))
	for _, d := range longest {
		assert.Equal(t, 2*len(s.Accounts)+3+1+1, strings.Count(joined, d), d)
	}
}

// TestAmountsStayInOnePiece: a number breaks only when it does not fit in small type, and then after its point.
func TestAmountsStayInOnePiece(t *testing.T) {
	s := sample()
	whole, broken := "1234567890123.123456789012345", "-12345678901.123456789012345678901234567"
	s.Fees[0].Amount, s.Withdrawals[0].Amount = whole, broken
	text := all(read(t, render(t, s)))
	assert.Contains(t, text, "\n"+whole+"\n")
	assert.Contains(t, text, "\n-12345678901.\n123456789012345678901234567\n")
}

// TestPagesFollowEachOther tries many lengths, so that pages end in every way: the pages in the file are those that the
// feet count, and the ground of each table head lies behind its words.
func TestPagesFollowEachOther(t *testing.T) {
	for accounts := range 16 {
		s := sample()
		for i := range accounts {
			a := account(i+3, strings.Repeat("Name ", i%9))
			for j := range (i * 7) % 60 {
				a.Positions = append(a.Positions, PositionMovement{ISIN: "DE0007164600", At: noon, From: strconv.Itoa(j), To: "0"})
			}
			s.Accounts = append(s.Accounts, a)
		}
		sheets := read(t, render(t, s))
		for i, sheet := range sheets {
			require.Equal(t, fmt.Sprintf("Page %d of %d", i+1, len(sheets)), sheet.runs[len(sheet.runs)-1].text)
			for _, r := range sheet.runs {
				if r.text != "Time (UTC)" {
					continue
				}
				behind := 0
				for _, f := range sheet.fills {
					if f.low < r.y-1.5 && f.high > r.y+r.size*0.73+1.5 {
						behind++
					}
				}
				assert.Equal(t, 1, behind, "page %d of %d", i+1, len(sheets))
			}
		}
	}
}

// TestManyPages is a large group: every account and every movement is there once, in order, each page that a table goes on
// to begins with its head, and no head stands alone.
func TestManyPages(t *testing.T) {
	const accounts, movements = 500, 10
	s := sample()
	s.Accounts = nil
	var want []string
	for i := range accounts {
		a := account(i+1, fmt.Sprintf("Name of %d", i+1))
		for j := range movements {
			id := fmt.Sprintf("X%05dY%05d", i, j)
			a.Positions = append(a.Positions, PositionMovement{ISIN: id, At: noon, From: "1", To: "0", SoldOut: true})
			want = append(want, id)
		}
		s.Accounts = append(s.Accounts, a)
	}
	begin := time.Now()
	file := render(t, s)
	// Measured: 0.3 s on one core. The limit catches a change of order, not a slow machine.
	assert.Less(t, time.Since(begin), 30*time.Second)

	sheets := read(t, file)
	assertClean(t, file, sheets)
	assert.Greater(t, len(sheets), 100)
	movement := regexp.MustCompile(`^X\d{5}Y\d{5}$`)
	var got []string
	for i, sheet := range sheets {
		headed := false
		for j, r := range sheet.runs {
			switch {
			case r.text == "ISIN":
				headed = true
				require.Regexp(t, movement, sheet.runs[j+5].text, "page %d: a head without rows", i+1)
			case strings.HasPrefix(r.text, "Account ") && r.bold:
				headed = false
			case movement.MatchString(r.text):
				require.True(t, headed, "page %d: a row without a head", i+1)
				got = append(got, r.text)
			}
		}
	}
	assert.Equal(t, want, got)
	text := all(sheets)
	for i := range accounts {
		assert.Equal(t, 1, strings.Count(text, fmt.Sprintf("Account %d – Name of %d\n", i+1, i+1)))
	}
	assert.Contains(t, text, "positions (continued)\n")
	assert.Contains(t, text, "End of statement: 500 accounts, 5000 position movements, ")
}

// TestSectionsOfOneAccountAreNotTornApart: a heading stands on the page of the first rows.
func TestSectionsStayTogether(t *testing.T) {
	row := func(n int) band { return band{height: float64(n)} }
	pages := func(rows int, start float64) []int {
		f := flow{height: 100, running: []band{row(5)}}
		f.keep(row(int(start)))
		lead, head := []band{row(10)}, []band{row(5)}
		body := make([][]band, rows)
		for i := range body {
			body[i] = []band{row(10)}
		}
		f.table(lead, head, head, body)
		var out []int
		for _, p := range f.finish() {
			out = append(out, len(p))
			require.LessOrEqual(t, sum(p), 100.0)
		}
		return out
	}
	assert.Equal(t, []int{1 + 2 + 3}, pages(3, 50))
	assert.Equal(t, []int{1, 1 + 2 + 3}, pages(3, 60), "three rows do not leave their head")
	assert.Equal(t, []int{1, 1 + 2 + 4}, pages(4, 50), "no row alone")
	assert.Equal(t, []int{1 + 2 + 4, 1 + 1 + 2}, pages(6, 40), "the last two go on together")
	assert.Equal(t, []int{1 + 2, 1}, func() []int {
		f := flow{height: 100}
		f.keep(row(10), row(80), row(20)) // more than a page
		f.keep()
		var out []int
		for _, p := range f.finish() {
			out = append(out, len(p))
		}
		return []int{out[0] + 1, out[1]}
	}(), "what is higher than a page is split")
}
