package statement

// column is a column of a table, width millimetres wide. Amounts stand on the right, in one piece if they can.
type column struct {
	title  string
	width  float64
	amount bool
	strong bool
	code   bool // words joined by underscores: a line may end behind one
}

// cellPadding is the free room in a cell of a table.
var cellPadding = padding{left: 1.5, right: 1.5, top: 0.8, bottom: 0.8}

// table adds a table after its lead. Where it goes on to another page, its name and its head stand there again.
func (d *document) table(lead []band, name string, columns []column, rows [][]string) {
	head := d.tableHead(columns)
	again := append(d.plain(d.look.label, name+" (continued)"), head...)
	body := make([][]band, len(rows))
	for i, r := range rows {
		body[i] = d.tableRow(columns, r)
	}
	d.flow.table(append(lead, space(0.8)), head, again, body)
	d.flow.keep(d.notes()...)
}

func (d *document) tableHead(columns []column) []band {
	cells := make([]cell, len(columns))
	for i, c := range columns {
		cells[i] = d.cell(c.width, d.look.head, c.title)
		cells[i].right, cells[i].pad = c.amount, cellPadding
	}
	return bands(d.look.headRow, cells...)
}

func (d *document) tableRow(columns []column, values []string) []band {
	cells := make([]cell, len(columns))
	for i, c := range columns {
		room := c.width - cellPadding.left - cellPadding.right
		value := d.printer.text(values[i])
		cells[i] = cell{width: c.width, right: c.amount, pad: cellPadding}
		switch {
		case c.amount:
			cells[i].lines = d.amount(room, value)
		case c.strong:
			cells[i].lines = d.lines(room, d.look.strong, value)
		case c.code:
			cells[i].lines = d.wrap(room, d.look.value, breaks+"_", value)
		default:
			cells[i].lines = d.lines(room, d.look.value, value)
		}
	}
	return bands(d.look.bodyRow, cells...)
}

// amount sets a decimal smaller, and then on several lines, rather than let it leave its cell.
func (d *document) amount(room float64, value string) []line {
	look := d.look.value
	texts, size := d.face(look).fit(value, room, look.size)
	look.size = size
	var out []line
	for _, t := range texts {
		out = append(out, d.line(t, look))
	}
	return out
}
