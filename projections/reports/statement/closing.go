package statement

import (
	"fmt"
	"time"
)

// Closing is the account closing statement, report type ACCOUNT_CLOSING: the accounts of a closed group, the positions sold
// and when, cash, fees, withdrawals, dates and the reason.
type Closing struct {
	Cover
	RequestedAt time.Time
	Reason      string // the wire value of closure_reason, such as "user_initiated", or ""
	RequestedBy string // the actor of the request
	AnnouncedAt *time.Time
	Accounts    []Account
	Cash        []CashMovement
	Fees        []Fee
	Withdrawals []Withdrawal
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

func (c *Closing) words() words {
	return words{
		name: "Account closing statement",
		kind: "ACCOUNT_CLOSING",
		intro: "The account group named here is closed. This statement lists its accounts, the movements of " +
			"positions and cash that were recorded, its fee collections and its withdrawals. All times are in UTC. Amounts and " +
			"quantities are shown as they were recorded.",
	}
}

func (c *Closing) required() []requirement { return nil }

func (c *Closing) groupFields() [][]field {
	g := c.Group
	announced := text("Closure announced", "not announced")
	if c.AnnouncedAt != nil {
		announced = moment("Closure announced", *c.AnnouncedAt)
	}
	return [][]field{
		three(text("Account group", g.ID), text("Securities account number", g.SecuritiesAccountNumber), text("Type", g.Type)),
		three(moment("Opened", g.OpenedAt), moment("Closing requested", c.RequestedAt), moment("Closed", g.ClosedAt)),
		three(text("Reason for closing", reason(c.Reason)), text("Requested by", c.RequestedBy), announced),
		three(text("Domicile", g.Domicile), residencies(g), text("Accounts", fmt.Sprint(len(c.Accounts)))),
	}
}

func (c *Closing) sections(d *document) {
	for _, a := range c.Accounts {
		d.account(a)
	}
	if len(c.Accounts) == 0 {
		d.empty("Accounts", "The account group had no account.")
	}
	d.cash(c.Cash)
	d.fees(c.Fees)
	d.withdrawals(c.Withdrawals)
	positions := 0
	for _, a := range c.Accounts {
		positions += len(a.Positions)
	}
	d.end(number(len(c.Accounts), "account"), number(positions, "position movement"), number(len(c.Cash), "cash movement"),
		number(len(c.Fees), "fee collection"), number(len(c.Withdrawals), "withdrawal"))
}
