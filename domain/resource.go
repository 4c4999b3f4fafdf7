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
	Type                ReportType `json:"type" enum:"ACCOUNT_CLOSING" doc:"The type of the report."`
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
