package statement

import "slices"

// flow lays bands out on pages. It knows heights only; all lengths are in millimetres.
type flow struct {
	height  float64  // of a page without its foot
	running []band   // the running head of the second page and those after it
	pages   [][]band // finished pages
	page    []band   // the page in hand
	used    float64  // its height so far
	head    float64  // of which its running head
}

// keep adds bands that belong together: on this page, else all on the next. Only what is higher than a whole page is split.
func (f *flow) keep(bands ...band) {
	if !f.fits(sum(bands)) && f.begun() {
		f.turn()
	}
	for _, b := range bands {
		if !f.fits(b.height) && f.begun() {
			f.turn()
		}
		f.add(b)
	}
}

// table adds the lead (a heading and what follows it), the table head and the rows. The lead stays with the head and the
// first rows; on each page that the table goes on to, the rows stand under again, the repeated head.
func (f *flow) table(lead, head, again []band, rows [][]band) {
	units := together(rows)
	first := slices.Concat(lead, head)
	if len(units) == 0 {
		f.keep(first...)
		return
	}
	f.keep(append(first, units[0]...)...)
	for _, unit := range units[1:] {
		if !f.fits(sum(unit)) {
			f.turn()
			f.keep(again...)
		}
		f.keep(unit...)
	}
}

// together joins the first three rows, and the last two, so that no page begins or ends with one row of a table.
func together(rows [][]band) [][]band {
	const first, last = 3, 2
	n := len(rows)
	if n < first+last {
		if n == 0 {
			return nil
		}
		return [][]band{slices.Concat(rows...)}
	}
	units := [][]band{slices.Concat(rows[:first]...)}
	units = append(units, rows[first:n-last]...)
	return append(units, slices.Concat(rows[n-last:]...))
}

// fits tells whether a height has room on the page in hand.
func (f *flow) fits(height float64) bool { return f.used+height <= f.height }

// begun tells whether the page in hand has more than its running head.
func (f *flow) begun() bool { return f.used > f.head }

// add puts a band on the page in hand, unless it is a gap at its top.
func (f *flow) add(b band) {
	if b.gap && !f.begun() {
		return
	}
	f.page = append(f.page, b)
	f.used += b.height
}

// turn ends the page in hand and begins the next.
func (f *flow) turn() {
	f.pages = append(f.pages, f.page)
	f.page = append([]band{}, f.running...)
	f.used = sum(f.running)
	f.head = f.used
}

// finish ends the last page and returns all.
func (f *flow) finish() [][]band {
	f.pages = append(f.pages, f.page)
	f.page, f.used, f.head = nil, 0, 0
	return f.pages
}

// sum is the height of bands one above the other.
func sum(all []band) float64 {
	total := 0.0
	for _, b := range all {
		total += b.height
	}
	return total
}
