package statement

import (
	"strings"
	"testing"
	"unicode"

	"github.com/go-fonts/dejavu/dejavusans"
	"github.com/go-fonts/dejavu/dejavusansbold"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"golang.org/x/text/unicode/norm"
)

// names has account names in the scripts and alphabets of Europe, with the letters that fonts tend to lack.
var names = map[string]string{
	"German":      "Altersvorsorge für Jürgen Weiß – ÄÖÜẞ „Überschuß“",
	"Polish":      "Oszczędności Łucji Źdźbło-Gąsienicy ćńóśż",
	"Romanian":    "Economii pentru Ștefan și Țuțu Ăâî ș ț",
	"Greek":       "Αποταμίευση Παπαδοπούλου ΐΰ, Ἀθηνᾶς ᾧ ῥ",
	"Bulgarian":   "Спестявания на Щърбан Ъглов Ѝ ѝ",
	"Georgian":    "შემნახველი ანგარიში თბილისი ჰჯჭ",
	"Armenian":    "Խնայողական հաշիվ Երևան և ֆ",
	"Icelandic":   "Sparnaður Þórðar Ægissonar ðþý",
	"Maltese":     "Tfaddil ta' Ġorġ Ħaż-Żebbuġ ċ",
	"Czech":       "Spoření Přemysl Žluťoučký Kůň ďťň",
	"Hungarian":   "Megtakarítás Győző Űrhajó őű",
	"Latvian":     "Uzkrājumi Ģirts Ķēniņš Ļū Ņ",
	"Turkish":     "Tasarruf Işık Çağrı İğdeşik",
	"Serbian":     "Штедња Ђорђе Љиљана Њ Џ ћ",
	"Macedonian":  "Заштеди Ѓорѓи Ќирил Ѕ",
	"Ukrainian":   "Заощадження Ґжицький Їжак Є",
	"Belarusian":  "Зберажэнні Ўладзімір і Ё",
	"Sami":        "Seastimat Čáŋŋá Đŧ Ʒǯ",
	"Welsh":       "Cynilion Ŵyn Ŷ ẃ ẁ ẅ ỳ",
	"Catalan":     "Estalvis col·lectius d'en Lluïs ŀl",
	"Esperanto":   "Ŝparado Ĉe Ĝi Ĥ Ĵ Ŭ",
	"Azerbaijani": "Əmanət Ağcabədi",
	"Signs":       "Konto Nr. 7 (50% €/£) № §3 & Söhne + \\1",
}

// TestNamesInEveryScript reads each name back, and compares the outlines in the file with those of the whole font: text
// that reads back right may still be drawn as empty boxes.
func TestNamesInEveryScript(t *testing.T) {
	s := sample()
	for language, name := range names {
		require.Equal(t, norm.NFC.String(name), name, language)
		s.Accounts = append(s.Accounts, account(len(s.Accounts)+1, name))
		s.Fees = append(s.Fees, Fee{ID: name, At: noon, Status: "FINALISED", Amount: "1", Currency: "EUR"}) // in the regular face
	}
	file := render(t, s)
	text := all(read(t, file))
	assert.Contains(t, text, groupID)
	assert.Contains(t, text, ownerID)
	assert.NotContains(t, text, "font of this document")
	for language, name := range names {
		assert.Contains(t, text, "– "+name+"\n", language)
	}
	regular, bold := embeddedFonts(t, file)
	for _, name := range names {
		assertDrawn(t, regular, dejavusans.TTF, name)
		assertDrawn(t, bold, dejavusansbold.TTF, name)
	}
}

// TestDecomposedNames: a name may come with its accents as characters of their own.
func TestDecomposedNames(t *testing.T) {
	s := sample()
	s.Accounts[0].Name = norm.NFD.String(names["Romanian"])
	s.Accounts[1].Name = norm.NFD.String(names["Greek"])
	text := all(read(t, render(t, s)))
	assert.Contains(t, text, "– "+names["Romanian"]+"\n")
	assert.Contains(t, text, "– "+names["Greek"]+"\n")
}

// assertDrawn checks that the file has the outline and the width of every character of a text.
func assertDrawn(t *testing.T, f embedded, ttf []byte, text string) {
	t.Helper()
	whole, err := sfnt.Parse(ttf)
	require.NoError(t, err)
	metrics, err := newFace(ttf)
	require.NoError(t, err)
	var a, b sfnt.Buffer
	size := fixed.I(int(whole.UnitsPerEm()))
	for _, r := range text {
		index, err := whole.GlyphIndex(&a, r)
		require.NoError(t, err)
		require.NotZero(t, index, "the font lacks %q", r)
		assert.Equal(t, metrics.glyph(r).advance, f.widths[r], "width of %q", r)
		if unicode.IsSpace(r) {
			continue
		}
		require.NotZero(t, f.glyph(r), "the file lacks %q", r)
		want, err := whole.LoadGlyph(&a, index, size, nil)
		require.NoError(t, err)
		got, err := f.font.LoadGlyph(&b, f.glyph(r), size, nil)
		require.NoError(t, err)
		assert.NotEmpty(t, got)
		assert.Equal(t, want, got, "outline of %q", r)
	}
}

func TestCharactersThatTheFontLacks(t *testing.T) {
	s := sample()
	s.Accounts[0].Name = "漢字 and 漢 \U0001F600 \u16A0 end"
	s.Accounts[1].Name = "ᲡᲐᲥᲐᲠᲗᲕᲔᲚᲝ" // Georgian capitals, of Unicode 11
	s.Fees[0].Status = "字"
	s.RequestedBy = "line\nfeed \u2028 soft\u00ADhyphen bad\xff"
	text := all(read(t, render(t, s)))

	assert.Contains(t, text, "Account 1 – \uFFFD\uFFFD and \uFFFD \uFFFD \uFFFD end\n")
	assert.Contains(t, text, "Note: the font of this document lacks U+6F22, U+5B57, U+1F600, U+16A0; shown above as \uFFFD.\n")
	assert.Contains(t, text, "Account 2 – საქართველო\n")
	assert.Contains(t, text, "lacks the capitals U+1CA1, U+1C90, U+1CA5, U+1CA0, U+1C97, U+1C95, U+1C94, U+1C9A,")
	assert.Contains(t, text, "12.30\nCHF\nNote: the font of this document lacks U+5B57; shown above as \uFFFD.\n")
	assert.Contains(t, text, "line\uFFFDfeed \uFFFD softhyphen bad\uFFFD\n")
	assert.Contains(t, text, "Note: the font of this document lacks U+000A, U+2028; shown above as \uFFFD.\n")
	assert.Equal(t, 3, strings.Count(text, "Note: the font of this document lacks U+"), "each note once")
}

// TestReplacementIsVisible: what stands for a character that the font lacks must itself be drawn.
func TestReplacementIsVisible(t *testing.T) {
	s := sample()
	s.Accounts[0].Name, s.Fees[0].Status = "漢", "漢"
	regular, bold := embeddedFonts(t, render(t, s))
	assertDrawn(t, regular, dejavusans.TTF, "\uFFFD")
	assertDrawn(t, bold, dejavusansbold.TTF, "\uFFFD")
}
