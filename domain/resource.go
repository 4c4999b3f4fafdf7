package domain

import "time"

// The shapes that clients see: the same in HTTP answers, in published events and in webhooks (CONTRACT: Account, Group, Report).
// Times are UTC in RFC 3339.

// AccountResource is an account as clients see it.
type AccountResource struct {
	ID             string      `json:"id" format:"uuid" doc:"The account's id."`
	CreatedAt      time.Time   `json:"created_at" doc:"When it was opened (UTC)."`
	UpdatedAt      time.Time   `json:"updated_at" doc:"When its status or name last changed (UTC)."`
	AccountGroupID string      `json:"account_group_id" format:"uuid" doc:"The group that it belongs to."`
	Type           AccountType `json:"type" enum:"TRADING,PORTFOLIO" doc:"The type of the account."`
	Users          []Party     `json:"users" doc:"The users of its group."`
	AccountNumber  int         `json:"account_number" doc:"1, 2, … in its group."`
	Name           string      `json:"name" doc:"The name that the user gave it."`
	Status         Status      `json:"status" enum:"PENDING_APPROVAL,ACTIVE,CLOSING,CLOSED,LOCKED" doc:"CLOSED is final."`
}

// AccountGroupResource is an account group as clients see it.
type AccountGroupResource struct {
	ID                      string    `json:"id" format:"uuid" doc:"The group's id."`
	CreatedAt               time.Time `json:"created_at" doc:"When it was opened (UTC)."`
	UpdatedAt               time.Time `json:"updated_at" doc:"When its status last changed (UTC)."`
	Users                   []Party   `json:"users" doc:"Who it belongs to, and who acts for them."`
	Status                  Status    `json:"status" enum:"PENDING_APPROVAL,ACTIVE,CLOSING,CLOSED,LOCKED" doc:"CLOSED is final."`
	Type                    GroupType `json:"type" enum:"PERSONAL,JOINT,LEGAL_ENTITY,FRENCH_PEA,ISA,CHILD,BUSINESS" doc:"The type of the group."`
	SecuritiesAccountNumber string    `json:"securities_account_number" doc:"7 to 12 digits, unique."`
}

// ReportResource is a report as clients see it; the PDF itself is another representation of the same resource.
type ReportResource struct {
	ID                  string     `json:"id" format:"uuid" doc:"The report's id: the same however often it is made."`
	CreatedAt           time.Time  `json:"created_at" doc:"When it was recorded (UTC)."`
	UserID              string     `json:"user_id" format:"uuid" doc:"Whom it is for."`
	Type                ReportType `json:"type" enum:"ACCOUNT_CLOSING,ANNUAL_TAX_STATEMENT" doc:"The type of the report."`
	SubstitutedReportID *string    `json:"substituted_report_id" doc:"The report that this one replaces; null for none."`
	Data                ReportData `json:"data" doc:"What the report is about."`
}

// ReportData says what a report is about.
type ReportData struct {
	Account    *string           `json:"account" doc:"The account; null for a report of a whole group."`
	References []ReportReference `json:"references" doc:"The resources that the report speaks of."`
}

// ReportReference points at a resource that a report speaks of.
type ReportReference struct {
	ID   string `json:"id" format:"uuid"`
	Type string `json:"type" enum:"ACCOUNT_GROUP_ID"`
}

// ReconciliationNotice is what CLOSURE.RECONCILIATION_REQUIRED says.
type ReconciliationNotice struct {
	Aggregate      Kind           `json:"aggregate" enum:"account,account_group" doc:"The kind of the closed resource."`
	ID             string         `json:"id" format:"uuid" doc:"The closed resource."`
	Reconciliation Reconciliation `json:"reconciliation" doc:"What came."`
	Closure        Closure        `json:"closure" doc:"The closing of the resource, with all that is to be reconciled."`
}

// StallNotice is what CLOSURE.STALLED says.
type StallNotice struct {
	Aggregate Kind    `json:"aggregate" enum:"account,account_group" doc:"The kind of the resource that does not close."`
	ID        string  `json:"id" format:"uuid" doc:"The resource."`
	Number    int     `json:"number" doc:"After how many periods: it grows with each report."`
	Closure   Closure `json:"closure" doc:"Its closing, with what stands against it."`
}

// OrderResource is an order as clients see it. What is absent is null.
type OrderResource struct {
	ID               string         `json:"id" format:"uuid" doc:"The order's id."`
	CreatedAt        time.Time      `json:"created_at" doc:"When it was placed (UTC)."`
	UpdatedAt        time.Time      `json:"updated_at" doc:"When its status last changed (UTC)."`
	AccountID        string         `json:"account_id" format:"uuid" doc:"The account."`
	UserID           string         `json:"user_id" format:"uuid" doc:"Whose order it is."`
	Side             OrderSide      `json:"side" enum:"BUY,SELL" doc:"What it does."`
	InstrumentID     string         `json:"instrument_id" doc:"The ISIN of the instrument."`
	InstrumentIDType string         `json:"instrument_id_type" enum:"ISIN" doc:"How the instrument is named."`
	OrderType        string         `json:"order_type" enum:"MARKET" doc:"The type of the order."`
	Quantity         *Decimal       `json:"quantity" doc:"How many pieces; null for an order by cash amount."`
	CashAmount       *Decimal       `json:"cash_amount" doc:"How much cash; null for an order by quantity."`
	Currency         *string        `json:"currency" doc:"Of the cash amount (ISO 4217), or what was given with a quantity."`
	Status           OrderStatus    `json:"status" enum:"NEW,PROCESSING,FILLED,CANCELLED" doc:"How far it is."`
	InitiationFlow   InitiationFlow `json:"initiation_flow" enum:"API,ACCOUNT_LIQUIDATION" doc:"Where it comes from."`
	LiquidationID    *string        `json:"liquidation_id" doc:"The liquidation that placed it; null for none. An addition of this engine."`
	ClientReference  *string        `json:"client_reference" doc:"Always null: the engine keeps none."`
}

// LiquidationResource is a liquidation as clients see it.
type LiquidationResource struct {
	ID        string             `json:"id" format:"uuid" doc:"The liquidation's id."`
	CreatedAt time.Time          `json:"created_at" doc:"When it was asked for (UTC)."`
	UpdatedAt time.Time          `json:"updated_at" doc:"When its status last changed (UTC)."`
	UserID    string             `json:"user_id" format:"uuid" doc:"Who asked for it."`
	AccountID string             `json:"account_id" format:"uuid" doc:"The account that it sells."`
	Status    LiquidationStatus  `json:"status" enum:"NEW,PROCESSING,FILLED,SETTLED,CANCELLED" doc:"How far it is."`
	Orders    []LiquidationOrder `json:"orders" doc:"Its SELL orders."`
}

// LiquidationOrder is an order of a liquidation.
type LiquidationOrder struct {
	ID     string      `json:"id" format:"uuid"`
	Side   OrderSide   `json:"side" enum:"BUY,SELL"`
	Status OrderStatus `json:"status" enum:"NEW,PROCESSING,FILLED,CANCELLED"`
}

// UserResource is a user as clients see it: an addition of this engine.
type UserResource struct {
	ID        string     `json:"id" format:"uuid" doc:"The user's id."`
	CreatedAt time.Time  `json:"created_at" doc:"When the user's first account group was opened (UTC)."`
	UpdatedAt time.Time  `json:"updated_at" doc:"When the status last changed (UTC)."`
	Status    UserStatus `json:"status" enum:"ACTIVE,OFFBOARDING,OFFBOARDED" doc:"OFFBOARDED is final."`
	Blockers  []Blocker  `json:"blockers" doc:"What stands against offboarding."`
}

// OrderResource is an order of the account as clients see it.
func (a *Account) OrderResource(o Order) OrderResource {
	return OrderResource{
		ID: o.ID, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt, AccountID: a.ID, UserID: o.UserID, Side: o.Side,
		InstrumentID: o.ISIN, InstrumentIDType: "ISIN", OrderType: "MARKET",
		Quantity: orNull(o.Quantity), CashAmount: orNull(o.CashAmount), Currency: orNull(o.Currency),
		Status: o.Status, InitiationFlow: o.flow(), LiquidationID: orNull(o.LiquidationID),
	}
}

// orNull is nil for what is absent.
func orNull[T ~string](s T) *T {
	if s == "" {
		return nil
	}
	return &s
}

// LiquidationResource is a liquidation of the account as clients see it.
func (a *Account) LiquidationResource(l Liquidation) LiquidationResource {
	r := LiquidationResource{
		ID: l.ID, CreatedAt: l.CreatedAt, UpdatedAt: l.UpdatedAt, UserID: l.UserID, AccountID: a.ID, Status: l.Status, Orders: []LiquidationOrder{},
	}
	for _, id := range l.OrderIDs {
		r.Orders = append(r.Orders, LiquidationOrder{ID: id, Side: a.orders[id].Side, Status: a.orders[id].Status})
	}
	return r
}

// Resource is the user as clients see it.
func (u *User) Resource() UserResource {
	return UserResource{
		ID: u.ID, CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt, Status: u.status, Blockers: append([]Blocker{}, u.Blockers()...),
	}
}

// Resource is the account as clients see it.
func (a *Account) Resource() AccountResource {
	return AccountResource{
		ID: a.ID, CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt, AccountGroupID: a.GroupID, Type: a.Type,
		Users: a.Users, AccountNumber: a.Number, Name: a.Name, Status: a.Status(),
	}
}

// Resource is the group as clients see it.
func (g *AccountGroup) Resource() AccountGroupResource {
	return AccountGroupResource{
		ID: g.ID, CreatedAt: g.CreatedAt, UpdatedAt: g.UpdatedAt, Users: g.Users, Status: g.Status(), Type: g.Type,
		SecuritiesAccountNumber: g.SecuritiesAccountNumber,
	}
}

// ReportResource is a report of the group as clients see it.
func (g *AccountGroup) ReportResource(r Report) ReportResource {
	return ReportResource{
		ID: r.ID, CreatedAt: r.CreatedAt, UserID: r.UserID, Type: r.Type,
		Data: ReportData{References: []ReportReference{{ID: g.ID, Type: "ACCOUNT_GROUP_ID"}}},
	}
}
