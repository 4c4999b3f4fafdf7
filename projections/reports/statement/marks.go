package statement

import (
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A letter with an accent is one glyph of the font wherever Unicode has it as one character. What is left, such as the
// Lithuanian e with a dot and an acute or a Cyrillic vowel with a stress mark, is a letter followed by combining marks. The
// PDF writer does not place marks, and at the font's own offset they sit right only on a letter of middle width and height:
// on others they fall beside the letter, into it, or into each other. So marks are placed here, by the boxes of the glyphs.

// Canonical combining classes (Unicode Standard, section 4.3) of the marks that are placed.
const (
	classOverlay  = 1
	classAttached = 202 // cedilla, ogonek
	classBelow    = 220
	classAbove    = 230
	classIota     = 240 // Greek iota subscript
)

const (
	// xHeight is the height, in thousandths of the type size, of the letters over which the font's marks are drawn.
	xHeight = 560
	// markGap separates stacked marks.
	markGap = 25
	ogonek  = '\u0328'
)

// run is a piece of a line that is drawn at once: its offset from the start of the line to the right, and from the
// baseline up, in thousandths of the type size.
type run struct {
	text  string
	x, up int
}

// extent is the box of a letter with the marks placed so far.
type extent struct {
	left, right, top, bottom int
}

// place splits a line into runs, one for each mark that is placed, and one for what stands between. The order of the
// characters stays, so the text can be read back.
func (f *face) place(line string) []run {
	var (
		runs      []run
		base      extent
		haveBase  bool
		pen       int
		begin     int // byte offset of the run being collected
		beginAt   int // and its place
		flushUpTo = func(end int) {
			if end > begin {
				runs = append(runs, run{text: line[begin:end], x: beginAt})
			}
		}
	)
	for i, r := range line {
		g := f.glyph(r)
		if haveBase && placeable(r, g) {
			flushUpTo(i)
			m := base.attach(r, g)
			runs = append(runs, run{text: string(r), x: m.x, up: m.up})
			begin, beginAt = i+len(string(r)), pen
			continue
		}
		if g.advance > 0 {
			haveBase = !unicode.IsSpace(r)
			base = extent{left: pen + g.left, right: pen + g.right, top: g.top, bottom: g.bottom}
		}
		pen += g.advance
	}
	flushUpTo(len(line))
	return runs
}

// placeable tells whether the place of a mark follows from the box of its letter. Marks of other classes (those of Hebrew
// and Arabic, the double ones that span two letters) stay where the font puts them.
func placeable(r rune, g glyph) bool {
	if g.advance != 0 || !unicode.Is(unicode.Mn, r) {
		return false
	}
	switch norm.NFC.PropertiesString(string(r)).CCC() {
	case classOverlay, classAttached, classBelow, classAbove, classIota:
		return true
	}
	return false
}

// attach finds the place of a mark on a letter and grows the letter's box by it.
func (e *extent) attach(r rune, g glyph) run {
	// The middle of the mark goes over the middle of the letter; an ogonek hangs from its right end.
	at := run{x: (e.left+e.right)/2 - (g.left+g.right)/2}
	if r == ogonek {
		at.x = e.right - g.right
	}
	switch norm.NFC.PropertiesString(string(r)).CCC() {
	case classAbove:
		// On letters of the height that the font drew its marks for, they stand where they were drawn.
		if e.top > xHeight {
			at.up = max(e.top+markGap-g.bottom, 0)
		}
		e.top = g.top + at.up
	case classBelow, classIota:
		at.up = min(e.bottom-markGap-g.top, 0)
		e.bottom = g.bottom + at.up
	case classAttached:
		e.bottom = min(e.bottom, g.bottom)
	}
	return at
}
