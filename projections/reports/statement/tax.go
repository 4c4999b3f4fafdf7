package statement

import (
	"fmt"
	"time"
)

// Tax is the annual tax statement, report type ANNUAL_TAX_STATEMENT: the tax bookings of one year of a closed group.
//
// It has no reason for the closing and nobody who asked for it, since nothing of that belongs to taxes: a reason may be one
// that the owner must not be told.
type Tax struct {
	Cover
	Year     int // required
	Accounts []NamedAccount
	Bookings []TaxBooking
	Totals   []TaxTotal
}

// NamedAccount is an account of the group as its owner knows it.
type NamedAccount struct {
	Number int // 1, 2, … in its group
	Name   string
}

// TaxBooking is a booking as last recorded.
type TaxBooking struct {
	Kind     string // in capitals, such as DIVIDEND
	ID       string
	Amount   string
	Currency string
	At       time.Time // when it was last recorded
}

// TaxTotal is the sum of the bookings of one kind in one currency.
type TaxTotal struct {
	Kind     string
	Currency string
	Bookings int
	Amount   string
}

func (t *Tax) words() words {
	return words{
		name: fmt.Sprintf("Annual tax statement %d", t.Year),
		kind: "ANNUAL_TAX_STATEMENT",
		intro: fmt.Sprintf("This statement lists the tax bookings of the year %d that were recorded for the closed account group named "+
			"here, up to the time of its creation. All times are in UTC. Amounts are shown as they were recorded.", t.Year),
		note: "This is not the official tax certificate (“Steuerbescheinigung”) of the paying agent, and does not replace it.",
	}
}

func (t *Tax) required() []requirement { return []requirement{{"Year", t.Year == 0}} }

func (t *Tax) groupFields() [][]field {
	g := t.Group
	lines := [][]field{
		three(text("Account group", g.ID), text("Securities account number", g.SecuritiesAccountNumber), text("Type", g.Type)),
		three(text("Tax year", fmt.Sprint(t.Year)), residencies(g), text("Domicile", g.Domicile)),
		three(moment("Opened", g.OpenedAt), moment("Closed", g.ClosedAt), text("Accounts", fmt.Sprint(len(t.Accounts)))),
	}
	if len(t.Accounts) == 0 {
		return lines
	}
	names := make([]string, len(t.Accounts))
	for i, a := range t.Accounts {
		names[i] = accountTitle(a.Number, a.Name)
	}
	return append(lines, list("Names of the accounts", names))
}

func (t *Tax) sections(d *document) {
	d.taxBookings(t)
	d.taxTotals(t.Totals)
	d.end(number(len(t.Bookings), "tax booking"), number(len(t.Totals), "total"))
}

func (d *document) taxBookings(t *Tax) {
	if len(t.Bookings) == 0 {
		d.empty("Tax bookings", fmt.Sprintf("No tax booking was recorded for the year %d.", t.Year))
		return
	}
	rows := make([][]string, len(t.Bookings))
	for i, b := range t.Bookings {
		rows[i] = []string{orDash(b.Kind), orDash(b.ID), stamp(b.At), orDash(b.Amount), orDash(b.Currency)}
	}
	d.table(d.heading("Tax bookings"), "Tax bookings", []column{
		{title: "Kind", width: 36, code: true}, {title: "Tax booking", width: 62}, {title: "Recorded (UTC)", width: 36},
		{title: "Amount", width: 30, amount: true}, {title: "Currency", width: 16},
	}, rows)
}

// taxTotals prints nothing for none: the bookings have said so.
func (d *document) taxTotals(totals []TaxTotal) {
	if len(totals) == 0 {
		return
	}
	rows := make([][]string, len(totals))
	for i, t := range totals {
		rows[i] = []string{orDash(t.Kind), fmt.Sprint(t.Bookings), orDash(t.Amount), orDash(t.Currency)}
	}
	d.table(d.heading("Totals by kind and currency"), "Totals by kind and currency", []column{
		{title: "Kind", width: 98, code: true}, {title: "Bookings", width: 20, amount: true},
		{title: "Total", width: 46, amount: true}, {title: "Currency", width: 16},
	}, rows)
}
