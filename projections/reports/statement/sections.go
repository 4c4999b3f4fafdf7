package statement

import (
	"fmt"
	"strings"
	"time"
)

// field is a label over its values, in a column of width millimetres.
type field struct {
	width  float64
	label  string
	values []string // as recorded
}

// The columns of a line of fields. A uuid fits in a wide one on one line.
const (
	wide   = 66
	narrow = contentWidth - 2*wide
	// gutter is the free room between two columns.
	gutter = 3
)

// three makes a line of three fields.
func three(a, b, c field) []field {
	a.width, b.width, c.width = wide, wide, narrow
	return []field{a, b, c}
}

func text(label, value string) field { return field{label: label, values: []string{value}} }

// moment is a field with a time; its zone stands beside it, as in every field.
func moment(label string, t time.Time) field {
	if t.IsZero() {
		return text(label, dash)
	}
	return text(label, stamp(t)+" UTC")
}

// residencies is the field of a group's tax residencies.
func residencies(g Group) field { return text("Tax residencies", strings.Join(g.TaxResidencies, ", ")) }

// list is a line of one field, with each of its values on a line of its own.
func list(label string, values []string) []field {
	if len(values) == 0 {
		values = []string{dash}
	}
	return []field{{width: contentWidth, label: label, values: values}}
}

// fields lays out lines of fields.
func (d *document) fields(rows ...[]field) []band {
	var out []band
	for _, r := range rows {
		var cells []cell
		for _, f := range r {
			c := d.cell(f.width, d.look.label, f.label)
			for _, v := range f.values {
				c.lines = append(c.lines, d.lines(f.width-gutter, d.look.value, d.printer.text(orDash(v)))...)
			}
			c.pad.bottom = 1.2
			cells = append(cells, c)
		}
		out = append(out, bands(nil, cells...)...)
	}
	return out
}

// heading begins a section.
func (d *document) heading(title string) []band {
	c := d.cell(contentWidth, d.look.section, title)
	c.pad.bottom = 0.8
	return append(append([]band{space(5)}, bands(d.look.bodyRow, c)...), space(1.5))
}

// plain is a paragraph of text.
func (d *document) plain(look style, texts ...string) []band {
	c := d.cell(contentWidth, look, texts...)
	c.pad.bottom = 1
	return bands(nil, c)
}

// notes explains the characters that could not be printed since the last call.
func (d *document) notes() []band {
	notes := d.printer.notes()
	if len(notes) == 0 {
		return nil
	}
	return d.plain(d.look.label, notes...)
}

// empty is a section of one sentence.
func (d *document) empty(title, sentence string) {
	d.flow.keep(append(d.heading(title), d.plain(d.look.value, sentence)...)...)
}

func (d *document) title() {
	w := d.report.words()
	name := d.cell(130, d.look.title, w.name)
	kind := d.cell(contentWidth-130, d.look.label, w.kind)
	kind.right, kind.pad.top = true, 4
	name.pad.bottom = 1
	d.flow.keep(bands(d.look.rule, name, kind)...)
	d.flow.keep(space(2))
	d.flow.keep(d.fields(three(
		text("Report", d.cover.ReportID),
		text("Prepared for "+strings.ToLower(orDash(d.printer.text(d.cover.Owner.Type))), d.cover.Owner.ID),
		moment("Created", d.cover.CreatedAt),
	))...)
	d.flow.keep(d.plain(d.look.value, w.intro)...)
	if w.note != "" {
		d.flow.keep(d.plain(d.look.strong, w.note)...)
	}
	d.flow.keep(d.notes()...)
}

func (d *document) group() {
	var users []string
	for _, u := range d.cover.Group.Users {
		users = append(users, orDash(u.Type)+" "+orDash(u.ID))
	}
	lines := append(d.report.groupFields(), list("Users", users))
	d.flow.keep(append(append(d.heading("Account group"), d.fields(lines...)...), d.notes()...)...)
}

// end closes the report with what it holds, so that a reader of a print-out sees that no page is missing.
func (d *document) end(counts ...string) {
	sentence := "End of statement: " + strings.Join(counts, ", ") + "."
	d.flow.keep(append([]band{space(6)}, d.plain(d.look.label, sentence)...)...)
}

func number(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// accountTitle names an account by its number in the group, and by its name where it has one.
func accountTitle(number int, name string) string {
	return strings.TrimSuffix(fmt.Sprintf("Account %d – %s", number, name), " – ")
}
