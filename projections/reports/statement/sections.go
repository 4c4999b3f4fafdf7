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
	s := d.data
	name := d.cell(130, d.look.title, "Account closing statement")
	kind := d.cell(contentWidth-130, d.look.label, "ACCOUNT_CLOSING")
	kind.right, kind.pad.top = true, 4
	name.pad.bottom = 1
	d.flow.keep(bands(d.look.rule, name, kind)...)
	d.flow.keep(space(2))
	d.flow.keep(d.fields(three(
		text("Report", s.ReportID),
		text("Prepared for "+strings.ToLower(orDash(d.printer.text(s.Owner.Type))), s.Owner.ID),
		moment("Created", s.CreatedAt),
	))...)
	d.flow.keep(d.plain(d.look.value, "The account group named here is closed. This statement lists its accounts, the movements of "+
		"positions and cash that were recorded, its fee collections and its withdrawals. All times are in UTC. Amounts and "+
		"quantities are shown as they were recorded.")...)
	d.flow.keep(d.notes()...)
}

func (d *document) group() {
	g := d.data.Group
	var users []string
	for _, u := range g.Users {
		users = append(users, orDash(u.Type)+" "+orDash(u.ID))
	}
	if len(users) == 0 {
		users = []string{dash}
	}
	announced := text("Closure announced", "not announced")
	if g.AnnouncedAt != nil {
		announced = moment("Closure announced", *g.AnnouncedAt)
	}
	body := d.fields(
		three(text("Account group", g.ID), text("Securities account number", g.SecuritiesAccountNumber), text("Type", g.Type)),
		three(moment("Opened", g.OpenedAt), moment("Closing requested", g.ClosingRequestedAt), moment("Closed", g.ClosedAt)),
		three(text("Reason for closing", reason(g.Reason)), text("Requested by", g.RequestedBy), announced),
		three(text("Domicile", g.Domicile), text("Tax residencies", strings.Join(g.TaxResidencies, ", ")),
			text("Accounts", fmt.Sprint(len(d.data.Accounts)))),
		[]field{{width: contentWidth, label: "Users", values: users}},
	)
	d.flow.keep(append(append(d.heading("Account group"), body...), d.notes()...)...)
}

// reason says the closure reason in words, with the wire value behind it; one that is not known here stands as it is.
func reason(wire string) string {
	words := map[string]string{
		"dunning":                "Dunning",
		"power_of_attorney":      "Power of attorney",
		"loss_of_legal_capacity": "Loss of legal capacity",
		"aml":                    "Anti-money laundering",
		"risk_based":             "Risk based",
		"contract_breach":        "Breach of contract",
		"user_initiated":         "Requested by the user",
	}
	switch {
	case wire == "":
		return "not stated"
	case words[wire] != "":
		return words[wire] + " (" + wire + ")"
	}
	return wire
}

func (d *document) account(a Account) {
	title := fmt.Sprintf("Account %d", a.Number)
	lead := d.heading(strings.TrimSuffix(title+" – "+d.printer.text(a.Name), " – "))
	lead = append(lead, d.fields(
		three(text("Account", a.ID), text("Type", a.Type), text("Position movements", fmt.Sprint(len(a.Positions)))),
		three(moment("Opened", a.OpenedAt), moment("Closing requested", a.ClosingRequestedAt), moment("Closed", a.ClosedAt)),
	)...)
	if a.Reason != "" {
		lead = append(lead, d.fields([]field{{width: contentWidth, label: "Reason for closing", values: []string{reason(a.Reason)}}})...)
	}
	lead = append(lead, d.notes()...)
	if len(a.Positions) == 0 {
		d.flow.keep(append(lead, d.plain(d.look.value, "No position was recorded for this account.")...)...)
		return
	}
	rows := make([][]string, len(a.Positions))
	for i, p := range a.Positions {
		remark := ""
		if p.SoldOut {
			remark = "Sold out"
		}
		rows[i] = []string{orDash(p.ISIN), stamp(p.At), orDash(p.From), orDash(p.To), remark}
	}
	d.table(lead, title+", positions", []column{
		{title: "ISIN", width: 30}, {title: "Time (UTC)", width: 36}, {title: "Quantity before", width: 46, amount: true},
		{title: "Quantity after", width: 46, amount: true}, {title: "Remark", width: 22, strong: true},
	}, rows)
}

func (d *document) cash() {
	if len(d.data.Cash) == 0 {
		d.empty("Cash movements", "No cash movement was recorded.")
		return
	}
	rows := make([][]string, len(d.data.Cash))
	for i, c := range d.data.Cash {
		rows[i] = []string{orDash(c.Currency), stamp(c.At), orDash(c.BalanceBefore), orDash(c.BalanceAfter), orDash(c.PendingSettlement)}
	}
	d.table(d.heading("Cash movements"), "Cash movements", []column{
		{title: "Currency", width: 18}, {title: "Time (UTC)", width: 36}, {title: "Balance before", width: 42, amount: true},
		{title: "Balance after", width: 42, amount: true}, {title: "Pending settlement", width: 42, amount: true},
	}, rows)
}

func (d *document) fees() {
	rows := make([][]string, len(d.data.Fees))
	for i, f := range d.data.Fees {
		rows[i] = payment(f.ID, f.At, f.Status, f.Amount, f.Currency)
	}
	d.payments("Fees", "Fee collection", "No fee was collected.", rows)
}

func (d *document) withdrawals() {
	rows := make([][]string, len(d.data.Withdrawals))
	for i, w := range d.data.Withdrawals {
		rows[i] = payment(w.ID, w.At, w.Status, w.Amount, w.Currency)
	}
	d.payments("Withdrawals", "Withdrawal", "No cash was withdrawn.", rows)
}

func payment(id string, at time.Time, status, amount, currency string) []string {
	return []string{orDash(id), stamp(at), orDash(status), orDash(amount), orDash(currency)}
}

// payments is the section of the fees or the withdrawals, which look alike.
func (d *document) payments(title, id, none string, rows [][]string) {
	if len(rows) == 0 {
		d.empty(title, none)
		return
	}
	d.table(d.heading(title), title, []column{
		{title: id, width: 62}, {title: "Time (UTC)", width: 36}, {title: "Status", width: 24},
		{title: "Amount", width: 42, amount: true}, {title: "Currency", width: 16},
	}, rows)
}

// end closes the statement with what it holds, so that a reader of a print-out sees that no page is missing.
func (d *document) end() {
	s := d.data
	positions := 0
	for _, a := range s.Accounts {
		positions += len(a.Positions)
	}
	count := fmt.Sprintf("End of statement: %s, %s, %s, %s, %s.",
		number(len(s.Accounts), "account"), number(positions, "position movement"), number(len(s.Cash), "cash movement"),
		number(len(s.Fees), "fee collection"), number(len(s.Withdrawals), "withdrawal"))
	d.flow.keep(append([]band{space(6)}, d.plain(d.look.label, count)...)...)
}

func number(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
