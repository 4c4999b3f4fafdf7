package statement

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func testFaces(t testing.TB) (regular, bold *face) {
	t.Helper()
	regular, bold, err := faces()
	require.NoError(t, err)
	return regular, bold
}

func TestWrap(t *testing.T) {
	f, _ := testFaces(t)
	w := f.advance("W")
	for _, c := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 10 * w, []string{""}},
		{"WWW", 3 * w, []string{"WWW"}},
		{"WWW", 3*w - 1, []string{"WW", "W"}},
		{"WW WW", 3 * w, []string{"WW", "WW"}},
		{"WW   WW", 3 * w, []string{"WW", "WW"}},
		{"W WWWWW", 3 * w, []string{"W", "WWW", "WW"}},
		{"WW-WW", 3 * w, []string{"WW-", "WW"}},
		{"WWe\u0301\u0323W", 3 * w, []string{"WWe\u0301\u0323", "W"}},
		{"WW\u00A0WW", 4 * w, []string{"WW\u00A0W", "W"}},
		{"W", 1, []string{"W"}}, // what fits nowhere stands alone
	} {
		assert.Equal(t, c.want, f.wrap(c.text, c.width, "-"), "%q", c.text)
	}
}

// TestWrapLosesNothing: the lines hold every character but the blanks at their ends, and are no wider than they may be
// unless they have one letter only.
func TestWrapLosesNothing(t *testing.T) {
	f, _ := testFaces(t)
	letters := rapid.SampledFrom([]rune("WWil  -–é\u0301\u0323ЩԱ\u200D\u00A0"))
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringOfN(letters, 0, 80, -1).Draw(rt, "text")
		width := rapid.IntRange(1, 5000).Draw(rt, "width")
		lines := f.wrap(text, width, breaks)
		bare := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		if bare(strings.Join(lines, "")) != bare(text) {
			rt.Fatalf("%q became %q", text, lines)
		}
		for _, l := range lines {
			if f.advance(l) > width && len(clusters(l)) > 1 {
				rt.Fatalf("%q is wider than %d", l, width)
			}
		}
	})
}

func TestFit(t *testing.T) {
	f, _ := testFaces(t)
	digits := strings.Repeat("8", 20)
	natural := toMM(f.advance(digits), 8)

	lines, size := f.fit(digits, natural+0.01, 8)
	assert.Equal(t, []string{digits}, lines)
	assert.Equal(t, 8.0, size)

	lines, size = f.fit(digits, natural*0.8, 8)
	assert.Equal(t, []string{digits}, lines)
	assert.Equal(t, 6.0, size)

	lines, size = f.fit("8."+digits, natural*0.7, 8)
	assert.Equal(t, []string{"8.", digits}, lines)
	assert.Equal(t, smallestAmount, size)
}

func TestMarksStandClearOfTheirLetter(t *testing.T) {
	regular, bold := testFaces(t)
	for _, f := range []*face{regular, bold} {
		for _, letter := range "aoxlkhjgpqyAMWЮЫЩдр" {
			base := f.glyph(letter)
			for _, mark := range "\u0300\u0301\u0303\u0304\u0306\u0307\u0308\u030C\u0323\u0331" {
				runs := f.place("W" + string(letter) + string(mark) + "W")
				require.Len(t, runs, 3)
				assert.Equal(t, "W"+string(letter), runs[0].text)
				assert.Equal(t, string(mark), runs[1].text)
				assert.Equal(t, run{text: "W", x: f.advance("W" + string(letter))}, runs[2], "the rest stands where it would without the mark")

				g := f.glyph(mark)
				middle := f.advance("W") + (base.left+base.right)/2
				assert.InDelta(t, middle, runs[1].x+(g.left+g.right)/2, 2, "%q is not over %q", mark, letter)
				if g.bottom > 0 {
					// A round letter may rise a little over the height that the marks are drawn for.
					assert.Greater(t, g.bottom+runs[1].up, base.top-15, "%q is in %q", mark, letter)
				} else {
					assert.Less(t, g.top+runs[1].up, base.bottom+1, "%q is in %q", mark, letter)
				}
			}
		}
	}
}

func TestMarksStandClearOfEachOther(t *testing.T) {
	f, _ := testFaces(t)
	runs := f.place("e\u0308\u0301\u0304\u0323\u0331")
	require.Len(t, runs, 6)
	top := f.glyph('e').top
	for _, r := range runs[1:4] {
		g := f.glyph([]rune(r.text)[0])
		assert.GreaterOrEqual(t, g.bottom+r.up, top-15)
		top = g.top + r.up
	}
	dot, macron := f.glyph('\u0323'), f.glyph('\u0331')
	assert.Less(t, macron.top+runs[5].up, dot.bottom+runs[4].up)
}

func TestPlaceKeepsPlainText(t *testing.T) {
	f, _ := testFaces(t)
	assert.Equal(t, []run{{text: "Ștefan ქ 12.50"}}, f.place("Ștefan ქ 12.50"))
	assert.Empty(t, f.place(""))
	assert.Equal(t, []run{{text: "\u0301a"}}, f.place("\u0301a"), "a mark without a letter stays where it is")
	hanging := f.place("x\u0328")
	require.Len(t, hanging, 2)
	assert.Equal(t, f.glyph('x').right, hanging[1].x+f.glyph('\u0328').right, "an ogonek hangs from the right end")
}
