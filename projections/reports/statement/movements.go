package statement

import (
	"fmt"
	"time"
)

// The sections of the account closing statement: each account with its positions, then cash, fees and withdrawals.

func (d *document) account(a Account) {
	title := fmt.Sprintf("Account %d", a.Number)
	lead := d.heading(accountTitle(a.Number, d.printer.text(a.Name)))
	lead = append(lead, d.fields(
		three(text("Account", a.ID), text("Type", a.Type), text("Position movements", fmt.Sprint(len(a.Positions)))),
		three(moment("Opened", a.OpenedAt), moment("Closing requested", a.ClosingRequestedAt), moment("Closed", a.ClosedAt)),
	)...)
	if a.Reason != "" {
		lead = append(lead, d.fields(list("Reason for closing", []string{reason(a.Reason)}))...)
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

func (d *document) cash(movements []CashMovement) {
	if len(movements) == 0 {
		d.empty("Cash movements", "No cash movement was recorded.")
		return
	}
	rows := make([][]string, len(movements))
	for i, c := range movements {
		rows[i] = []string{orDash(c.Currency), stamp(c.At), orDash(c.BalanceBefore), orDash(c.BalanceAfter), orDash(c.PendingSettlement)}
	}
	d.table(d.heading("Cash movements"), "Cash movements", []column{
		{title: "Currency", width: 18}, {title: "Time (UTC)", width: 36}, {title: "Balance before", width: 42, amount: true},
		{title: "Balance after", width: 42, amount: true}, {title: "Pending settlement", width: 42, amount: true},
	}, rows)
}

func (d *document) fees(fees []Fee) {
	rows := make([][]string, len(fees))
	for i, f := range fees {
		rows[i] = payment(f.ID, f.At, f.Status, f.Amount, f.Currency)
	}
	d.payments("Fees", "Fee collection", "No fee was collected.", rows)
}

func (d *document) withdrawals(withdrawals []Withdrawal) {
	rows := make([][]string, len(withdrawals))
	for i, w := range withdrawals {
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
