package statement

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ledongthuc/pdf"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/font/sfnt"
)

// drawn is one piece of text as a reader of the file finds it: lengths in points, the origin in the lower left corner.
type drawn struct {
	text string
	bold bool
	size float64
	x, y float64
}

// sheet is one page of a file that was read back.
type sheet struct {
	runs  []drawn
	fills []fill // the grounds of table heads
}

// fill is a filled rectangle, in points from the lower end of the page.
type fill struct{ low, high float64 }

// text joins what stands on the page, one run a line, in the order of drawing.
func (s sheet) text() string {
	var b strings.Builder
	for _, r := range s.runs {
		b.WriteString(r.text + "\n")
	}
	return b.String()
}

func render(t testing.TB, s Closing) []byte {
	t.Helper()
	file, err := Render(&s)
	require.NoError(t, err)
	return file
}

func open(t testing.TB, file []byte) *pdf.Reader {
	t.Helper()
	r, err := pdf.NewReader(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	return r
}

// read takes a file apart with a library that has no part in writing it.
func read(t testing.TB, file []byte) []sheet {
	t.Helper()
	r := open(t, file)
	sheets := make([]sheet, r.NumPage())
	fonts := make(map[string]*pdf.Font) // reading a font's character map takes long
	for i := range sheets {
		page := r.Page(i + 1)
		for _, name := range page.Fonts() {
			if fonts[name] == nil {
				f := page.Font(name)
				fonts[name] = &f
			}
		}
		sheets[i].read(page, fonts)
	}
	return sheets
}

// read follows the operators of a page (ISO 32000-1, annex A) that put text and rectangles on it.
func (s *sheet) read(page pdf.Page, fonts map[string]*pdf.Font) {
	var (
		font *pdf.Font
		next drawn
	)
	pdf.Interpret(page.V.Key("Contents"), func(stack *pdf.Stack, operator string) {
		args := make([]pdf.Value, stack.Len())
		for i := len(args) - 1; i >= 0; i-- {
			args[i] = stack.Pop()
		}
		switch operator {
		case "Tf":
			font = fonts[args[0].Name()]
			next.size, next.bold = args[1].Float64(), strings.HasSuffix(font.BaseFont(), "B")
		case "Td":
			next.x, next.y = args[0].Float64(), args[1].Float64()
		case "Tj":
			next.text = font.Encoder().Decode(args[0].RawString())
			s.runs = append(s.runs, next)
		case "re":
			low, height := args[1].Float64(), args[3].Float64()
			s.fills = append(s.fills, fill{low: min(low, low+height), high: max(low, low+height)})
		}
	})
}

// all is the text of every page, one run a line.
func all(sheets []sheet) string {
	var b strings.Builder
	for _, s := range sheets {
		b.WriteString(s.text())
	}
	return b.String()
}

// embedded is a font as it stands in the file.
type embedded struct {
	font   *sfnt.Font
	glyph  func(r rune) sfnt.GlyphIndex
	widths map[rune]int // thousandths of the type size
}

// embeddedFonts returns the regular and the bold font of a file. Text that reads back right can still show nothing, if its
// glyphs are missing; so tests look at these.
func embeddedFonts(t testing.TB, file []byte) (regular, bold embedded) {
	t.Helper()
	page := open(t, file).Page(1)
	for _, name := range page.Fonts() {
		value := page.Font(name).V
		descendant := value.Key("DescendantFonts").Index(0)
		data, err := io.ReadAll(descendant.Key("FontDescriptor").Key("FontFile2").Reader())
		require.NoError(t, err)
		table, err := io.ReadAll(descendant.Key("CIDToGIDMap").Reader())
		require.NoError(t, err)
		parsed, err := sfnt.Parse(data)
		require.NoError(t, err)
		f := embedded{
			font: parsed,
			glyph: func(r rune) sfnt.GlyphIndex {
				return sfnt.GlyphIndex(table[2*r])<<8 | sfnt.GlyphIndex(table[2*r+1])
			},
			widths: widths(descendant.Key("W")),
		}
		if strings.HasSuffix(value.Key("BaseFont").Name(), "B") {
			bold = f
		} else {
			regular = f
		}
	}
	require.NotNil(t, regular.font)
	require.NotNil(t, bold.font)
	return regular, bold
}

// widths unpacks the W array of a font: "first [w w …]" or "first last w" (ISO 32000-1, 9.7.4.3).
func widths(w pdf.Value) map[rune]int {
	out := make(map[rune]int)
	for i := 0; i < w.Len(); {
		first := rune(w.Index(i).Int64())
		if list := w.Index(i + 1); list.Kind() == pdf.Array {
			for j := range list.Len() {
				out[first+rune(j)] = int(list.Index(j).Int64())
			}
			i += 2
			continue
		}
		for r := first; r <= rune(w.Index(i+1).Int64()); r++ {
			out[r] = int(w.Index(i + 2).Int64())
		}
		i += 3
	}
	return out
}

// width measures a run by the widths in the file, in points: the way that a viewer sets it.
func (f embedded) width(r drawn) float64 {
	sum := 0
	for _, c := range r.text {
		sum += f.widths[c]
	}
	return float64(sum) * r.size / 1000
}

// noon is noon in UTC, given in another zone: what is printed must not depend on it.
var noon = time.Date(2026, 3, 14, 12, 0, 30, 589_000_000, time.UTC).In(time.FixedZone("elsewhere", 20_700))

const (
	reportID = "0b9f7f6e-3f1b-5b56-9f0e-2f6f6c2a7d11"
	ownerID  = "6f4c1f39-54f5-4b0b-8f57-3e7b3f2f9a01"
	childID  = "7a5d2e4a-65a6-4c1c-9a68-4f8c4a3a0b12"
	groupID  = "d4a2c7e8-91b3-4c55-a3f6-0c1e2d3f4a5b"
)

// someCover is that of a report on a group with two owners.
func someCover() Cover {
	return Cover{
		ReportID: reportID, Owner: Party{ID: ownerID, Type: "OWNER"}, CreatedAt: noon,
		Group: Group{
			ID: groupID, Type: "CHILD", SecuritiesAccountNumber: "1234567890", Domicile: "DE", TaxResidencies: []string{"DE", "AT"},
			Users:    []Party{{ID: ownerID, Type: "OWNER"}, {ID: childID, Type: "CHILD"}},
			OpenedAt: noon.AddDate(-2, 0, 0), ClosedAt: noon.Add(-time.Minute),
		},
	}
}

// sample is a closing statement with something in every section.
func sample() Closing {
	announced := noon.Add(-30 * 24 * time.Hour)
	return Closing{
		Cover:       someCover(),
		RequestedAt: noon.AddDate(0, 0, -3), Reason: "user_initiated", RequestedBy: "customer service", AnnouncedAt: &announced,
		Accounts: []Account{
			account(1, "Depot", PositionMovement{ISIN: "DE0007164600", At: noon.Add(-5 * time.Hour), From: "12.5", To: "2.25"},
				PositionMovement{ISIN: "DE0007164600", At: noon.Add(-4 * time.Hour), From: "2.25", To: "0", SoldOut: true}),
			account(2, "Portfolio"),
		},
		Cash:        []CashMovement{{Currency: "EUR", At: noon.Add(-3 * time.Hour), BalanceBefore: "1520.37", BalanceAfter: "-0.01", PendingSettlement: "7"}},
		Fees:        []Fee{{ID: "fee-1", At: noon.Add(-2 * time.Hour), Status: "FINALISED", Amount: "12.30", Currency: "CHF"}},
		Withdrawals: []Withdrawal{{ID: "withdrawal-1", At: noon.Add(-time.Hour), Status: "CONFIRMED", Amount: "1508.07", Currency: "SEK"}},
	}
}

// account makes a closed account; its id ends in its number.
func account(number int, name string, positions ...PositionMovement) Account {
	return Account{
		ID: fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012d", number), Number: number, Name: name, Type: "TRADING",
		OpenedAt: noon.AddDate(-1, 0, 0), ClosingRequestedAt: noon.AddDate(0, 0, -2), ClosedAt: noon.AddDate(0, 0, -1),
		Positions: positions,
	}
}
