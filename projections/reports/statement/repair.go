package statement

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
)

// errLayout reports that the PDF writer no longer writes files the way that repair knows.
var errLayout = errors.New("statement: the PDF writer writes another layout")

// These patterns are of what gofpdf writes in plain text; its streams of drawing and fonts are compressed.
var (
	toUnicodeRef = regexp.MustCompile(`/ToUnicode (\d+) 0 R`)
	dates        = regexp.MustCompile(`/(?:CreationDate|ModDate) \(D:\d{14}\)`)
	crossRef     = regexp.MustCompile(`xref\n0 (\d+)\n0000000000 65535 f \n`)
	startXRef    = regexp.MustCompile(`startxref\n(\d+)\n%%EOF\n$`)
)

// entry is the length of one line of the cross-reference table (ISO 32000-1, 7.5.4).
const entry = 20

// edit replaces file[from:to].
type edit struct {
	from, to int
	text     []byte
}

// repair corrects two things that gofpdf leaves wrong in the file.
//
// It maps the codes of a font to Unicode in one range from 0000 to FFFF. A range must not go past the last byte of the
// code (ISO 32000-1, 9.10.3): readers that hold to it, text search and archives among them, get a wrong letter for all
// beyond Latin-1. And it writes dates without their zone, which readers then take for local time; they are in UTC.
//
// The file maps the characters of rows and no others: a row is the 256 that share a first byte.
func repair(file []byte, rows []byte) ([]byte, error) {
	offsets, table, err := crossReference(file)
	if err != nil {
		return nil, err
	}
	edits, err := corrections(file, offsets, rows)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	at := 0
	for _, e := range edits {
		out.Write(file[at:e.from])
		out.Write(e.text)
		at = e.to
	}
	out.Write(file[at:table])

	// The table again, with each object where it now begins.
	begin := out.Len()
	fmt.Fprintf(&out, "xref\n0 %d\n0000000000 65535 f \n", len(offsets)+1)
	for _, o := range offsets {
		fmt.Fprintf(&out, "%010d 00000 n \n", o+shift(edits, o))
	}
	trailer := bytes.Index(file[table:], []byte("trailer\n"))
	end := bytes.LastIndex(file, []byte("startxref\n"))
	if trailer < 0 || end < table+trailer {
		return nil, fmt.Errorf("%w: no trailer", errLayout)
	}
	out.Write(file[table+trailer : end])
	fmt.Fprintf(&out, "startxref\n%d\n%%%%EOF\n", begin)
	return out.Bytes(), nil
}

// crossReference reads where each object begins (object n at index n-1), and where the table itself does.
func crossReference(file []byte) (offsets []int, table int, err error) {
	end := startXRef.FindSubmatch(file)
	if end == nil {
		return nil, 0, fmt.Errorf("%w: no startxref", errLayout)
	}
	table, _ = strconv.Atoi(string(end[1]))
	if table >= len(file) {
		return nil, 0, fmt.Errorf("%w: startxref past the end", errLayout)
	}
	head := crossRef.FindSubmatchIndex(file[table:])
	if head == nil || head[0] != 0 {
		return nil, 0, fmt.Errorf("%w: no table at startxref", errLayout)
	}
	count, _ := strconv.Atoi(string(file[table+head[2] : table+head[3]]))
	for line := table + head[1]; len(offsets) < count-1; line += entry {
		if line+entry > len(file) {
			return nil, 0, fmt.Errorf("%w: the table is cut short", errLayout)
		}
		offset, err := strconv.Atoi(string(file[line : line+10]))
		if err != nil || offset >= table {
			return nil, 0, fmt.Errorf("%w: a bad line in the table", errLayout)
		}
		offsets = append(offsets, offset)
	}
	return offsets, table, nil
}

// corrections lists the edits in the order of the file.
func corrections(file []byte, offsets []int, rows []byte) ([]edit, error) {
	stream, err := unicodeStream(rows)
	if err != nil {
		return nil, err
	}
	var edits []edit
	for _, ref := range toUnicodeRef.FindAllSubmatch(file, -1) {
		number, _ := strconv.Atoi(string(ref[1]))
		if number < 1 || number > len(offsets) {
			return nil, fmt.Errorf("%w: no object %d", errLayout, number)
		}
		from := offsets[number-1]
		length := bytes.Index(file[from:], []byte("endobj"))
		if length < 0 || !bytes.Contains(file[from:from+length], []byte("begincmap")) {
			return nil, fmt.Errorf("%w: object %d is no plain character map", errLayout, number)
		}
		edits = append(edits, edit{from: from, to: from + length, text: fmt.Appendf(nil, "%d 0 obj\n%s", number, stream)})
	}
	if len(edits) == 0 {
		return nil, fmt.Errorf("%w: no character map", errLayout)
	}
	for _, at := range dates.FindAllIndex(file, -1) {
		edits = append(edits, edit{from: at[1] - 1, to: at[1], text: []byte("Z)")})
	}
	slices.SortFunc(edits, func(a, b edit) int { return a.from - b.from })
	return edits, nil
}

// shift is how far the edits before an offset move what stands there.
func shift(edits []edit, offset int) int {
	moved := 0
	for _, e := range edits {
		if e.from < offset {
			moved += len(e.text) - (e.to - e.from)
		}
	}
	return moved
}

// maxRanges is how many ranges one block of a character map may have.
const maxRanges = 100

// unicodeStream is the body of an object that maps each code to the character of the same number, which is how gofpdf
// numbers them, in one range for each row.
func unicodeStream(rows []byte) ([]byte, error) {
	var compressed bytes.Buffer
	w := zlib.NewWriter(&compressed)
	fmt.Fprint(w, "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n",
		"/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n",
		"/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n",
		"1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n")
	for block := range slices.Chunk(rows, maxRanges) {
		fmt.Fprintf(w, "%d beginbfrange\n", len(block))
		for _, high := range block {
			fmt.Fprintf(w, "<%02X00> <%02XFF> <%02X00>\n", high, high, high)
		}
		fmt.Fprint(w, "endbfrange\n")
	}
	fmt.Fprint(w, "endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n")
	// The writes before go to memory; what could fail at all would fail here.
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("statement: compress the character map: %w", err)
	}
	return fmt.Appendf(nil, "<</Length %d /Filter /FlateDecode>>\nstream\n%s\nendstream\n", compressed.Len(), compressed.Bytes()), nil
}
