package statement

import (
	"math"
	"slices"

	"github.com/johnfercher/go-tree/node"
	"github.com/johnfercher/maroto/v2/pkg/components/col"
	"github.com/johnfercher/maroto/v2/pkg/components/row"
	"github.com/johnfercher/maroto/v2/pkg/consts/align"
	"github.com/johnfercher/maroto/v2/pkg/consts/fontstyle"
	"github.com/johnfercher/maroto/v2/pkg/core"
	"github.com/johnfercher/maroto/v2/pkg/core/entity"
	"github.com/johnfercher/maroto/v2/pkg/props"
)

const (
	// leading is the distance of two baselines in type sizes. It leaves room for a capital with two accents.
	leading = 1.4
	// ascent is the distance from the top of a line to its baseline in type sizes.
	ascent = 1.0
	// maxLines bounds the height of one band, so that a cell of very many lines continues on the next page.
	maxLines = 40
)

// style is how a text looks: its size in points, weight and colour.
type style struct {
	size  float64
	bold  bool
	color *props.Color
}

func (s style) fontStyle() fontstyle.Type {
	if s.bold {
		return fontstyle.Bold
	}
	return fontstyle.Normal
}

// line is one line of text, measured and ready to draw. It fits its cell; the PDF writer does not break it again.
type line struct {
	text  string
	runs  []run
	width float64 // mm
	style style
}

// height is the room that the line takes, in millimetres.
func (l line) height() float64 { return l.style.size * mmPerPoint * leading }

// cell is a stack of lines in a column of a band. It implements the Component interface of maroto, whose own text
// component breaks only at blanks (a long word leaves its cell) and knows nothing of combining marks.
type cell struct {
	width float64 // mm, a whole number: the grid has one column a millimetre
	right bool    // aligned right, for amounts
	pad   padding
	lines []line
}

// padding is the free room around the lines of a cell, in millimetres.
type padding struct {
	left, right, top, bottom float64
}

var _ core.Component = cell{}

func (c cell) height() float64 {
	h := c.pad.top + c.pad.bottom
	for _, l := range c.lines {
		h += l.height()
	}
	return h
}

// Render draws the lines from the top of the cell down.
func (c cell) Render(provider core.Provider, at *entity.Cell) {
	top := at.Y + c.pad.top
	for _, l := range c.lines {
		x := at.X + c.pad.left
		if c.right {
			x = at.X + at.Width - c.pad.right - l.width
		}
		baseline := top + ascent*l.style.size*mmPerPoint
		for _, r := range l.runs {
			l.draw(provider, r, x, baseline)
		}
		top += l.height()
	}
}

// draw puts one run on the page. The provider sets the baseline one type size below the top of the cell that it is given.
func (l line) draw(provider core.Provider, r run, x, baseline float64) {
	size := l.style.size
	target := entity.Cell{
		X:      x + toMM(r.x, size),
		Y:      baseline - size*mmPerPoint - toMM(r.up, size),
		Width:  pageWidth, // more than any line has, so that the provider takes it as it is
		Height: l.height(),
	}
	provider.AddText(r.text, &target, &props.Text{
		Family: family,
		Style:  l.style.fontStyle(),
		Size:   size,
		Color:  l.style.color,
		Align:  align.Left,
	})
}

// GetHeight is the height of the cell in millimetres.
func (c cell) GetHeight(core.Provider, *entity.Cell) float64 { return c.height() }

// SetConfig does nothing: a cell is complete when it is made.
func (c cell) SetConfig(*entity.Config) {}

// GetStructure describes the cell in the component tree of maroto.
func (c cell) GetStructure() *node.Node[core.Structure] {
	text := ""
	for _, l := range c.lines {
		text += l.text + "\n"
	}
	return node.New(core.Structure{Type: "cell", Value: text})
}

// band is a row of the page and its height in millimetres. A band is never split between pages.
type band struct {
	row    core.Row
	height float64
	gap    bool // free room, of no use at the top of a page
}

// bands sets cells side by side. It makes one band, or several when a cell has more lines than one may have.
func bands(look *props.Cell, cells ...cell) []band {
	var out []band
	rest := slices.Clone(cells)
	for more := true; more; {
		more = false
		height := 0.0
		var cols []core.Col
		for i, c := range rest {
			part := c
			part.lines = c.lines[:min(maxLines, len(c.lines))]
			rest[i].lines = c.lines[len(part.lines):]
			more = more || len(rest[i].lines) > 0
			height = max(height, grid(part.height()))
			cols = append(cols, col.New(int(c.width)).Add(part))
		}
		r := row.New(height).Add(cols...)
		if look != nil {
			r.WithStyle(look)
		}
		out = append(out, band{row: r, height: height})
	}
	return out
}

// space is an empty band. Between two sections it is dropped where a page ends.
func space(height float64) band {
	return band{row: row.New(height).Add(col.New()), height: height, gap: true}
}

// grid rounds a height up to hundredths of a millimetre. Every band has such a height, see slack.
func grid(height float64) float64 { return math.Ceil(height*100-1e-6) / 100 }
