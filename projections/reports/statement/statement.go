// Package statement prints the account closing statement: the PDF of the report type ACCOUNT_CLOSING that each owner of a
// closed account group receives, with the accounts, the positions sold and when, cash, fees, withdrawals, dates and reason.
//
// It is a pure function from data to bytes. It reads no clock, no file and no network, and the same Statement gives the same
// bytes from the same build of the program (compression belongs to the Go release), so a retry after a crash stores the same
// object again. Render may be called from several goroutines at once.
package statement

import (
	"errors"
	"fmt"
	"time"
)

// ErrInvalid reports a Statement without a report id, an owner, a group or a creation time. The caller has a bug: the same
// Statement fails again, so do not retry it.
var ErrInvalid = errors.New("statement: invalid")

// Statement is all that one document says. Nothing is looked up, computed or sorted: lists are printed in the order given,
// times in UTC to the second, and decimals digit for digit as they were recorded (at most 38 digits, 27 of them decimals).
// Empty strings and zero times are printed as a dash.
type Statement struct {
	ReportID    string    // required
	Owner       Party     // required: whom this copy is for, type OWNER or CHILD
	CreatedAt   time.Time // required: it is also the creation and the modification date in the file
	Group       Group
	Accounts    []Account
	Cash        []CashMovement
	Fees        []Fee
	Withdrawals []Withdrawal
}

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
	ClosingRequestedAt      time.Time
	ClosedAt                time.Time
	Reason                  string // the wire value of closure_reason, such as "user_initiated", or ""
	RequestedBy             string // the actor of the request
	AnnouncedAt             *time.Time
}

// Account is one account of the group, with every movement of its positions.
type Account struct {
	ID                 string
	Number             int // 1, 2, … in its group
	Name               string
	Type               string // TRADING or PORTFOLIO
	OpenedAt           time.Time
	ClosingRequestedAt time.Time
	ClosedAt           time.Time
	Reason             string // of this account alone, a wire value as for the group; "" prints nothing
	Positions          []PositionMovement
}

// PositionMovement is a change of the quantity held of one instrument.
type PositionMovement struct {
	ISIN    string
	At      time.Time
	From    string // quantity before, "" when there was none
	To      string // quantity after
	SoldOut bool   // nothing is left
}

// CashMovement is a change of the cash balance of the group in one currency.
type CashMovement struct {
	Currency          string
	At                time.Time
	BalanceBefore     string // "" when there was none
	BalanceAfter      string
	PendingSettlement string
}

// Fee is a fee collection in its last known status.
type Fee struct {
	ID       string
	At       time.Time
	Status   string // PROCESSING, FINALISED, CANCELLED
	Amount   string
	Currency string
}

// Withdrawal is a withdrawal of cash in its last known status.
type Withdrawal struct {
	ID       string
	At       time.Time
	Status   string // NEW, PROCESSING, CONFIRMED, CANCELLED
	Amount   string
	Currency string
}

// Render prints the statement as a PDF file on A4.
//
// Every character is printed or accounted for: one that the embedded font lacks is shown as U+FFFD, with a note below that
// names it by its code point. Long names and amounts wrap or shrink inside their cell; none is cut. Text runs from left to
// right: Hebrew and Arabic letters stand in the order in which they were recorded, and unjoined.
//
// It returns ErrInvalid for a Statement that lacks what it needs; any other error is a failure of the PDF writer.
func Render(s Statement) ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	d, err := newDocument(s)
	if err != nil {
		return nil, err
	}
	d.title()
	d.group()
	for _, a := range s.Accounts {
		d.account(a)
	}
	if len(s.Accounts) == 0 {
		d.empty("Accounts", "The account group had no account.")
	}
	d.cash()
	d.fees()
	d.withdrawals()
	d.end()
	return d.bytes()
}

// validate names the first required field that is missing. The creation time is one of them because a PDF writer that gets
// none takes the present time, and the bytes would differ from run to run.
func (s Statement) validate() error {
	required := []struct {
		field   string
		missing bool
	}{
		{"ReportID", s.ReportID == ""},
		{"Owner.ID", s.Owner.ID == ""},
		{"Group.ID", s.Group.ID == ""},
		{"CreatedAt", s.CreatedAt.IsZero()},
	}
	for _, r := range required {
		if r.missing {
			return fmt.Errorf("%w: %s is missing", ErrInvalid, r.field)
		}
	}
	return nil
}
