package statement

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-fonts/dejavu/dejavusans"
	"github.com/go-fonts/dejavu/dejavusansbold"
	"github.com/johnfercher/maroto/v2"
	"github.com/johnfercher/maroto/v2/pkg/components/page"
	"github.com/johnfercher/maroto/v2/pkg/config"
	"github.com/johnfercher/maroto/v2/pkg/consts/border"
	"github.com/johnfercher/maroto/v2/pkg/consts/fontstyle"
	"github.com/johnfercher/maroto/v2/pkg/consts/pagesize"
	"github.com/johnfercher/maroto/v2/pkg/core"
	"github.com/johnfercher/maroto/v2/pkg/core/entity"
	"github.com/johnfercher/maroto/v2/pkg/props"
	"github.com/phpdave11/gofpdf"
)

// The page is A4. All lengths are in millimetres; the grid of maroto has one column a millimetre.
const (
	pageWidth    = 210
	pageHeight   = 297
	sideMargin   = 15
	topMargin    = 14
	bottomMargin = 12
	contentWidth = pageWidth - 2*sideMargin
	// slack is free on every page, before the foot and after it. gofpdf begins a new page when a row passes the end of one,
	// and maroto fills each page to its end with an empty row, cut to nine decimals. With heights on a grid of hundredths
	// that row would pass the end by the dust of the additions, and the pages after it would begin too low. So the page is
	// left a half of the last decimal short of the grid: the cut takes it off, and the row ends before the page does.
	slack = 0.25
	dust  = 0.000_000_000_5
)

// document is a report in the making.
type document struct {
	report   Report
	cover    *Cover // the report's
	printer  printer
	flow     flow
	look     look
	footLeft string // which document a page belongs to, ready for print
}

// look holds the colours and styles. Each document makes its own, so nothing is shared between two that are in the making.
type look struct {
	title, section, value, strong, label, head style

	headRow, bodyRow, rule *props.Cell
}

func newLook() look {
	ink := &props.Color{Red: 28, Green: 28, Blue: 32}
	navy := &props.Color{Red: 22, Green: 44, Blue: 84}
	grey := &props.Color{Red: 98, Green: 102, Blue: 110}
	hairline := &props.Color{Red: 214, Green: 218, Blue: 224}
	return look{
		title:   style{size: 18, bold: true, color: navy},
		section: style{size: 11, bold: true, color: navy},
		value:   style{size: 8, color: ink},
		strong:  style{size: 8, bold: true, color: ink},
		label:   style{size: 7, color: grey},
		head:    style{size: 7, bold: true, color: navy},
		headRow: &props.Cell{
			BackgroundColor: &props.Color{Red: 236, Green: 240, Blue: 246},
			BorderType:      border.Bottom, BorderColor: navy, BorderThickness: 0.25,
		},
		bodyRow: &props.Cell{BorderType: border.Bottom, BorderColor: hairline, BorderThickness: 0.15},
		rule:    &props.Cell{BorderType: border.Bottom, BorderColor: navy, BorderThickness: 0.4},
	}
}

func newDocument(r Report) (*document, error) {
	regular, bold, err := faces()
	if err != nil {
		return nil, err
	}
	c := r.cover()
	d := &document{report: r, cover: c, printer: printer{regular: regular, bold: bold}, look: newLook()}
	d.footLeft = d.printer.text(fmt.Sprintf("Report %s for %s %s. All times are in UTC.", c.ReportID, c.Owner.Type, c.Owner.ID))
	d.flow = flow{
		height:  pageHeight - topMargin - bottomMargin - 2*slack - sum(d.foot(1, 1)),
		running: d.runningHead(),
	}
	return d, nil
}

// footWidth is what the foot has beside the page number.
const footWidth = 150

// runningHead stands at the top of every page but the first.
func (d *document) runningHead() []band {
	name := d.cell(70, d.look.head, d.report.words().name)
	group := d.cell(contentWidth-70, d.look.label, "Account group "+d.printer.text(d.cover.Group.ID))
	group.right = true
	name.pad.bottom, group.pad.bottom = 1, 1
	return append(bands(d.look.rule, name, group), space(5))
}

// foot stands at the bottom of every page.
func (d *document) foot(number, total int) []band {
	left := d.cell(footWidth, d.look.label, d.footLeft)
	right := d.cell(contentWidth-footWidth, d.look.label, fmt.Sprintf("Page %d of %d", number, total))
	right.right = true
	left.pad.top, right.pad.top = 1.5, 1.5
	line := *d.look.bodyRow
	line.BorderType = border.Top
	return append([]band{space(3)}, bands(&line, left, right)...)
}

// bytes draws the pages. Their number is known only now, and every foot states it.
func (d *document) bytes() ([]byte, error) {
	pages := d.flow.finish()
	m := d.newMaroto()
	for i, content := range pages {
		p := page.New()
		for _, b := range content {
			p.Add(b.row)
		}
		p.Add(space(max(d.flow.height-sum(content), 0) + slack - dust).row)
		for _, b := range d.foot(i+1, len(pages)) {
			p.Add(b.row)
		}
		m.AddPages(p)
	}
	file, err := m.Generate()
	if err != nil {
		return nil, fmt.Errorf("statement: write PDF: %w", err)
	}
	return repair(file.GetBytes(), d.printer.rows())
}

// writerDefaults guards the package defaults of the PDF writer, see newMaroto.
var writerDefaults sync.Mutex

// newMaroto makes the PDF writer so that the same pages give the same bytes.
//
// Two things stand against that in gofpdf, below maroto: it lists the fonts in the order of a map unless told to sort, and
// it writes the present time as the modification date unless given one. maroto hands on neither setting, but a new writer
// takes both from the package defaults, so they are set for the moment that it is made. The lock keeps two documents apart.
func (d *document) newMaroto() core.Maroto {
	created, w := d.cover.CreatedAt.UTC(), d.report.words()
	cfg := config.NewBuilder().
		WithPageSize(pagesize.A4).
		WithLeftMargin(sideMargin).WithRightMargin(sideMargin).
		WithTopMargin(topMargin).WithBottomMargin(bottomMargin).
		WithMaxGridSize(contentWidth).
		WithCompression(true).
		WithCustomFonts(fontFiles()).
		WithDefaultFont(&props.Font{Family: family, Size: d.look.value.size, Color: d.look.value.color}).
		WithTitle(d.printer.text(w.name+" "+d.cover.ReportID), true).
		WithSubject(d.printer.text(w.kind+" of account group "+d.cover.Group.ID), true).
		WithCreator("closure", true).
		WithCreationDate(created).
		Build()

	writerDefaults.Lock()
	defer writerDefaults.Unlock()
	gofpdf.SetDefaultCatalogSort(true)
	gofpdf.SetDefaultModificationDate(created)
	defer gofpdf.SetDefaultCatalogSort(false)
	defer gofpdf.SetDefaultModificationDate(time.Time{})
	return maroto.New(cfg)
}

// fontFiles returns the faces for embedding; the writer embeds only the glyphs that are used. It gets copies: where a table
// of a font does not end on a word, the writer pads it in place, and two documents must not write into the same font.
func fontFiles() []*entity.CustomFont {
	return []*entity.CustomFont{
		{Family: family, Style: fontstyle.Normal, Bytes: bytes.Clone(dejavusans.TTF)},
		{Family: family, Style: fontstyle.Bold, Bytes: bytes.Clone(dejavusansbold.TTF)},
	}
}

// breaks are the characters, beside the blank, after which a line of text may end.
const breaks = "-/,;–"

// cell wraps texts that are ready for print into a cell of width millimetres.
func (d *document) cell(width float64, look style, texts ...string) cell {
	c := cell{width: width}
	c.lines = d.lines(width, look, texts...)
	return c
}

// lines wraps texts that are ready for print into lines of at most width millimetres.
func (d *document) lines(width float64, look style, texts ...string) []line {
	return d.wrap(width, look, breaks, texts...)
}

// wrap is lines with the characters, beside the blank, after which a line may end.
func (d *document) wrap(width float64, look style, after string, texts ...string) []line {
	var out []line
	for _, text := range texts {
		for _, l := range d.face(look).wrap(text, toEm(width, look.size), after) {
			out = append(out, d.line(l, look))
		}
	}
	return out
}

// line measures one line and places its marks.
func (d *document) line(text string, look style) line {
	f := d.face(look)
	return line{text: text, runs: f.place(text), width: toMM(f.advance(text), look.size), style: look}
}

func (d *document) face(look style) *face {
	if look.bold {
		return d.printer.bold
	}
	return d.printer.regular
}

// stamp prints a time in UTC to the second.
func stamp(t time.Time) string {
	if t.IsZero() {
		return dash
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// dash stands for what was not recorded.
const dash = "–"

func orDash(text string) string {
	if strings.TrimSpace(text) == "" {
		return dash
	}
	return text
}
