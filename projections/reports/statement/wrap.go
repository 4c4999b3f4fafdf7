package statement

import (
	"strings"
	"unicode"
)

const zeroWidthJoiner = '\u200D'

// wrap breaks a text into lines that are no wider than width (in thousandths of the type size). It breaks after a blank or
// after one of the characters in after; where there is none, between any two characters, but never between a letter and its
// combining marks. Nothing is lost but blanks at a break. An empty text is one empty line.
func (f *face) wrap(text string, width int, after string) []string {
	var (
		lines []string
		begin int // byte offset of the line
		brk   int // the last place for a break on it, when after begin
		used  int // its advance so far
		at    int // byte offset of the cluster in hand
	)
	for _, c := range clusters(text) {
		advance := f.advance(c)
		// Blanks hang over the end of a line, so that they do not begin the next.
		for c != " " && used+advance > width && at > begin {
			if brk <= begin {
				brk = at
			}
			lines = append(lines, strings.TrimRight(text[begin:brk], " "))
			begin = brk
			used = f.advance(text[begin:at])
		}
		at += len(c)
		used += advance
		if c == " " || strings.Contains(after, c) {
			brk = at
		}
	}
	return append(lines, strings.TrimRight(text[begin:], " "))
}

// clusters splits a text into what a reader takes for one character: a letter with its marks, or a joined sequence.
func clusters(text string) []string {
	var out []string
	begin := 0
	var last rune
	for i, r := range text {
		joined := unicode.Is(unicode.M, r) || r == zeroWidthJoiner || last == zeroWidthJoiner
		if i > begin && !joined {
			out = append(out, text[begin:i])
			begin = i
		}
		last = r
	}
	if begin < len(text) {
		out = append(out, text[begin:])
	}
	return out
}

// Amounts may shrink to smallestAmount before they wrap. Below it, print is no longer read with ease.
const (
	smallestAmount = 5.5
	amountStep     = 0.5
)

// fit breaks an amount for a cell of width millimetres, and finds the type size. A number is read best in one piece, so it
// shrinks first; only then does it wrap, after its decimal point when that is enough.
func (f *face) fit(amount string, width, size float64) ([]string, float64) {
	for ; size > smallestAmount; size -= amountStep {
		if f.advance(amount) <= toEm(width, size) {
			return []string{amount}, size
		}
	}
	return f.wrap(amount, toEm(width, smallestAmount), "."), smallestAmount
}

// toEm converts millimetres to thousandths of a type size, rounding down.
func toEm(mm, size float64) int {
	return int(mm / (size * mmPerPoint) * em)
}

// toMM converts thousandths of a type size to millimetres.
func toMM(thousandths int, size float64) float64 {
	return float64(thousandths) * size * mmPerPoint / em
}
