package statement

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

const softHyphen = '\u00AD'

// printer turns recorded text into text that both faces can print, and keeps account of what they cannot until a note tells
// the reader. A document has one, and empties it after each section.
type printer struct {
	regular, bold *face
	lacking       []rune // shown as U+FFFD, each once, in the order met
	lowered       []rune // shown as their small letters
}

// text composes letters with their accents where Unicode has them as one character (that keeps apart what only looks
// alike: a Romanian comma below stays one), and puts a replacement where the font has nothing to show.
func (p *printer) text(recorded string) string {
	var b strings.Builder
	for _, r := range norm.NFC.String(recorded) {
		switch {
		case r == softHyphen:
			// It marks a place for a break and is not seen. The font would draw a hyphen that the name does not have.
		case p.has(r):
			b.WriteRune(r)
		case p.has(unicode.ToLower(r)):
			// The Georgian capitals of 2018 are younger than the font. Read as small letters, the name is still the name.
			p.lowered = remember(p.lowered, r)
			b.WriteRune(unicode.ToLower(r))
		default:
			p.lacking = remember(p.lacking, r)
			b.WriteRune(replacement)
		}
	}
	return b.String()
}

// has tells whether the character has a glyph in both faces. Characters that move the pen, such as line breaks, do not
// count, whatever the font says.
func (p *printer) has(r rune) bool {
	if unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) {
		return false
	}
	return p.regular.glyph(r).found && p.bold.glyph(r).found
}

func remember(seen []rune, r rune) []rune {
	if slices.Contains(seen, r) {
		return seen
	}
	return append(seen, r)
}

// rows lists the first bytes of the characters that the document may hold, in order.
func (p *printer) rows() []byte {
	seen := make(map[byte]bool)
	for _, f := range []*face{p.regular, p.bold} {
		for r, g := range f.glyphs {
			if g.found {
				seen[byte(r>>8)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// notes says what could not be printed as recorded since the last call, one sentence for each kind; mostly nothing.
func (p *printer) notes() []string {
	var notes []string
	if len(p.lacking) > 0 {
		notes = append(notes, fmt.Sprintf("Note: the font of this document lacks %s; shown above as %c.",
			codePoints(p.lacking), replacement))
	}
	if len(p.lowered) > 0 {
		notes = append(notes, fmt.Sprintf("Note: the font of this document lacks the capitals %s; shown above as small letters.",
			codePoints(p.lowered)))
	}
	p.lacking, p.lowered = nil, nil
	return notes
}

func codePoints(runes []rune) string {
	names := make([]string, len(runes))
	for i, r := range runes {
		names[i] = fmt.Sprintf("%U", r)
	}
	return strings.Join(names, ", ")
}
