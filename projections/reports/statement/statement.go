// Package statement prints the reports of a closed account group as PDF: the account closing statement (a Closing), and the
// annual tax statement (a Tax). Each owner of the group receives a copy of each.
//
// It is a pure function from data to bytes. It reads no clock, no file and no network, and the same data gives the same
// bytes from the same build of the program (compression belongs to the Go release), so a retry after a crash stores the same
// object again. Render may be called from several goroutines at once, each with a Report of its own.
//
// Nothing is looked up, computed or sorted here: lists are printed in the order given, times in UTC to the second, and
// decimals digit for digit as they were recorded (at most 38 digits, 27 of them decimals). Empty strings and zero times are
// printed as a dash.
package statement

import (
	"errors"
	"fmt"
	"time"
)

// ErrInvalid reports a Report without a report id, an owner, a group, a creation time or what else it requires. The caller
// has a bug: the same Report fails again, so do not retry it.
var ErrInvalid = errors.New("statement: invalid")

// Report is all that one document says: a *Closing or a *Tax.
type Report interface {
	// Address makes it the copy of one owner, under its own id.
	Address(reportID string, owner Party)

	cover() *Cover
	words() words
	// required lists what this kind of report requires beside its cover.
	required() []requirement
	// groupFields are the lines of the section on the group, without its users.
	groupFields() [][]field
	// sections prints what comes after the group.
	sections(*document)
}

// Cover is what every report states: which one it is, for whom, and of which group.
type Cover struct {
	ReportID  string    // required
	Owner     Party     // required: whom this copy is for, type OWNER or CHILD
	CreatedAt time.Time // required: it is also the creation and the modification date in the file
	Group     Group
}

// Address makes it the copy of one owner, under its own id.
func (c *Cover) Address(reportID string, owner Party) { c.ReportID, c.Owner = reportID, owner }

func (c *Cover) cover() *Cover { return c }

// Party is a user in a role: OWNER, CHILD or GUARDIAN.
type Party struct {
	ID   string
	Type string
}

// Group is the closed account group.
type Group struct {
	ID                      string // required
	Type                    string // PERSONAL, JOINT, …
	SecuritiesAccountNumber string
	Domicile                string   // ISO 3166 alpha-2, or ""
	TaxResidencies          []string // ISO 3166 alpha-2
	Users                   []Party
	OpenedAt                time.Time
	ClosedAt                time.Time
}

// words are what the pages of one kind of report say of it.
type words struct {
	name  string // its title, which stands on every page
	kind  string // the wire name of its type
	intro string // a paragraph under the title
	note  string // a second one, which stands out; "" for none
}

// Render prints a report as a PDF file on A4.
//
// Every character is printed or accounted for: one that the embedded font lacks is shown as U+FFFD, with a note below that
// names it by its code point. Long names and amounts wrap or shrink inside their cell; none is cut. Text runs from left to
// right: Hebrew and Arabic letters stand in the order in which they were recorded, and unjoined.
//
// It returns ErrInvalid for a Report that lacks what it needs; any other error is a failure of the PDF writer.
func Render(r Report) ([]byte, error) {
	if err := validate(r); err != nil {
		return nil, err
	}
	d, err := newDocument(r)
	if err != nil {
		return nil, err
	}
	d.title()
	d.group()
	r.sections(d)
	return d.bytes()
}

// requirement is a field that has to be there.
type requirement struct {
	field   string
	missing bool
}

// validate names the first required field that is missing. The creation time is one of them because a PDF writer that gets
// none takes the present time, and the bytes would differ from run to run.
func validate(r Report) error {
	c := r.cover()
	required := append([]requirement{
		{"ReportID", c.ReportID == ""},
		{"Owner.ID", c.Owner.ID == ""},
		{"Group.ID", c.Group.ID == ""},
		{"CreatedAt", c.CreatedAt.IsZero()},
	}, r.required()...)
	for _, q := range required {
		if q.missing {
			return fmt.Errorf("%w: %s is missing", ErrInvalid, q.field)
		}
	}
	return nil
}
