package statement

import (
	"fmt"
	"math"

	"github.com/go-fonts/dejavu/dejavusans"
	"github.com/go-fonts/dejavu/dejavusansbold"
	"golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// family is the name under which the PDF writer knows the two faces. DejaVu Sans covers Latin with all its extensions,
// Greek with its accents, Cyrillic, Armenian and Georgian; the fonts that come with Go itself lack the last two.
const family = "dejavu"

// mmPerPoint converts type sizes (points) to lengths on the page (millimetres).
const mmPerPoint = 25.4 / 72

// em is the unit of glyph metrics here and in the PDF: a thousandth of the type size.
const em = 1000

// replacement stands for a character that cannot be printed. Both faces have it.
const replacement = '\uFFFD'

// glyph holds the metrics of one character in thousandths of the type size. The y axis points up from the baseline.
type glyph struct {
	found                    bool
	advance                  int
	left, right, top, bottom int
}

// face measures text in one font exactly as the PDF writer does (it rounds each advance to a thousandth), so that what is
// found to fit here does fit there. Not safe for concurrent use: each document has its own.
type face struct {
	font   *sfnt.Font
	buffer sfnt.Buffer
	glyphs map[rune]glyph
}

func newFace(ttf []byte) (*face, error) {
	f, err := sfnt.Parse(ttf)
	if err != nil {
		return nil, fmt.Errorf("statement: embedded font: %w", err)
	}
	return &face{font: f, glyphs: make(map[rune]glyph)}, nil
}

// faces returns the regular and the bold face.
func faces() (regular, bold *face, err error) {
	if regular, err = newFace(dejavusans.TTF); err != nil {
		return nil, nil, err
	}
	if bold, err = newFace(dejavusansbold.TTF); err != nil {
		return nil, nil, err
	}
	return regular, bold, nil
}

// glyph looks a character up. Above U+FFFF nothing counts as found: the PDF writer addresses glyphs by 16 bits.
func (f *face) glyph(r rune) glyph {
	if g, ok := f.glyphs[r]; ok {
		return g
	}
	g := f.load(r)
	f.glyphs[r] = g
	return g
}

func (f *face) load(r rune) glyph {
	if r > 0xFFFF {
		return glyph{}
	}
	index, err := f.font.GlyphIndex(&f.buffer, r)
	if err != nil || index == 0 {
		return glyph{}
	}
	// At a size of one unit per pixel the answers are the font's own integers.
	units := fixed.I(int(f.font.UnitsPerEm()))
	bounds, advance, err := f.font.GlyphBounds(&f.buffer, index, units, font.HintingNone)
	if err != nil {
		return glyph{}
	}
	scaled := func(v fixed.Int26_6) int {
		return int(math.Round(float64(v) * em / float64(units)))
	}
	return glyph{
		found:   true,
		advance: scaled(advance),
		left:    scaled(bounds.Min.X),
		right:   scaled(bounds.Max.X),
		top:     scaled(-bounds.Min.Y), // the font library's y axis points down
		bottom:  scaled(-bounds.Max.Y),
	}
}

// advance is the width of a text in thousandths of the type size.
func (f *face) advance(text string) int {
	sum := 0
	for _, r := range text {
		sum += f.glyph(r).advance
	}
	return sum
}
