package domain

import (
	"maps"
	"regexp"
	"slices"
	"time"
)

// The taxes of an account group: its domicile, its tax residencies, and what its annual tax statement says.

// Events

type (
	// DomicileChanged gave the group another domicile and other tax residencies.
	DomicileChanged struct {
		Domicile       string   `json:"domicile"`
		TaxResidencies []string `json:"tax_residencies"`
	}
	// TaxBookingRecorded states one booking of a tax year.
	TaxBookingRecorded struct {
		TaxBookingID string  `json:"tax_booking_id"`
		Year         int     `json:"year"`
		Kind         string  `json:"kind"`
		Amount       Decimal `json:"amount"`
		Currency     string  `json:"currency"`
		Revision     int64   `json:"revision"`
	}
	// TaxStatementRequested asked for the annual tax statements of the owners. What is recorded up to here stands in them.
	TaxStatementRequested struct {
		Year int `json:"year"`
	}
)

func (DomicileChanged) eventName() string       { return "domicile_changed" }
func (TaxBookingRecorded) eventName() string    { return "tax_booking_recorded" }
func (TaxStatementRequested) eventName() string { return "tax_statement_requested" }

// State

// TaxBooking is one booking of a tax year, as last recorded.
type TaxBooking struct {
	Year     int
	Kind     string
	Amount   Decimal
	Currency string
	Revision int64
}

// TaxBookings are the bookings of a year, by the ids of the bookings.
func (g *AccountGroup) TaxBookings(year int) map[string]TaxBooking {
	bookings := maps.Clone(g.taxBookings)
	maps.DeleteFunc(bookings, func(_ string, b TaxBooking) bool { return b.Year != year })
	return bookings
}

// TaxStatementYear is the tax year of the closing, of a CLOSED group with a tax resident of DE; 0 when it gets no statement.
func (g *AccountGroup) TaxStatementYear() int {
	if g.closedAt == nil || !slices.Contains(g.TaxResidencies, residencyDE) {
		return 0
	}
	return TaxYear(*g.closedAt)
}

// Decide

type (
	// ChangeDomicile states the domicile and all tax residencies of the group.
	ChangeDomicile struct {
		Domicile       string   `json:"domicile"`
		TaxResidencies []string `json:"tax_residencies"`
	}
	// RecordTaxBooking states one booking of a tax year: its kind in capitals, such as DIVIDEND, and an amount that may be
	// negative.
	RecordTaxBooking struct {
		TaxBookingID string  `json:"tax_booking_id"`
		Year         int     `json:"year"`
		Kind         string  `json:"kind"`
		Amount       Decimal `json:"amount"`
		Currency     string  `json:"currency"`
		Revision     int64   `json:"revision"`
	}
	// RequestTaxStatement asks for the annual tax statements of the closing year, on the day that the engine makes them. It
	// is the engine's own, and comes from a timer.
	RequestTaxStatement struct {
		Day MonthDay
	}
)

func (ChangeDomicile) CommandName() string      { return "change_domicile" }
func (RecordTaxBooking) CommandName() string    { return "record_tax_booking" }
func (RequestTaxStatement) CommandName() string { return "request_tax_statement" }

func (*RecordTaxBooking) fact() {}

// Validate refuses what is no country.
func (p ChangeDomicile) Validate() error {
	return checks(checkCountry("domicile", p.Domicile), checkResidencies(p.TaxResidencies))
}

var taxKindForm = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,49}$`)

// The years that a booking may be of.
const (
	minTaxYear = 1900
	maxTaxYear = 9999
)

// Validate refuses what is wrong whatever the state is.
func (p RecordTaxBooking) Validate() error {
	if err := checkID("tax_booking_id", p.TaxBookingID); err != nil {
		return err
	}
	if p.Year < minTaxYear || p.Year > maxTaxYear {
		return invalid("year", "must be a year from %d to %d, got %d", minTaxYear, maxTaxYear, p.Year)
	}
	if !taxKindForm.MatchString(p.Kind) {
		return invalid("kind", "must be a kind of booking in capitals, such as DIVIDEND, of at most 50 characters; got %s", Quote(p.Kind))
	}
	return checks(checkDecimal("amount", p.Amount), checkCurrency("currency", p.Currency), checkRevision(p.Revision))
}

// Validate refuses a day that no year has.
func (p RequestTaxStatement) Validate() error { return p.Day.Validate() }

// Validate refuses a day that not every year has.
func (d MonthDay) Validate() error {
	date := time.Date(2023, d.Month, d.Day, 0, 0, 0, 0, time.UTC) // a common year
	if d.Month < time.January || d.Month > time.December || d.Day < 1 || date.Month() != d.Month {
		return invalid("day", "must be a day of every year such as 03-15")
	}
	return nil
}

func (g *AccountGroup) changeDomicile(p *ChangeDomicile) ([]Event, error) {
	if g.phase == StatusClosed {
		return nil, g.notIn("change_domicile", StatusPendingApproval, StatusActive, StatusClosing, StatusLocked)
	}
	if g.Domicile == p.Domicile && slices.Equal(g.TaxResidencies, p.TaxResidencies) {
		return nil, nil
	}
	return []Event{DomicileChanged{Domicile: p.Domicile, TaxResidencies: append([]string{}, p.TaxResidencies...)}}, nil
}

func (g *AccountGroup) recordTaxBooking(p *RecordTaxBooking) ([]Event, error) {
	if !newer(p.Revision, g.taxBookings[p.TaxBookingID].Revision) {
		return nil, nil
	}
	return []Event{TaxBookingRecorded(*p)}, nil
}

// requestTaxStatement checks the time itself: a timer may come early or twice.
func (g *AccountGroup) requestTaxStatement(now time.Time, p *RequestTaxStatement) ([]Event, error) {
	year := g.TaxStatementYear()
	if year == 0 || g.taxStatement || now.Before(TaxStatementDue(year, p.Day)) {
		return nil, nil
	}
	return []Event{TaxStatementRequested{Year: year}}, nil
}
