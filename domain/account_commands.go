package domain

// The commands of an account, with what is wrong about them whatever the state is. Those of its orders are in order_commands.go;
// those of its liquidations stand with them.

type (
	// OpenAccount opens an account in a group. Status "" means as the group is: ACTIVE, or PENDING_APPROVAL.
	OpenAccount struct {
		AccountGroupID string      `json:"account_group_id"`
		Type           AccountType `json:"type"`
		Name           string      `json:"name"`
		Status         Status      `json:"status"`
		// Link is what the group gave when it linked the account; filled in by the engine.
		Link *AccountLink `json:"-"`
	}
	// RenameAccount gives the account another name.
	RenameAccount struct {
		Name string `json:"name"`
	}
	// RecordPosition states the whole present holding of one instrument. Quantity may be negative.
	RecordPosition struct {
		ISIN              string  `json:"isin"`
		Quantity          Decimal `json:"quantity"`
		PendingSettlement Decimal `json:"pending_settlement"`
		Revision          int64   `json:"revision"`
	}
	// RecordCorporateAction states how far a corporate action is.
	RecordCorporateAction struct {
		CorporateActionID string                `json:"corporate_action_id"`
		ISIN              string                `json:"isin"`
		Status            CorporateActionStatus `json:"status"`
		Revision          int64                 `json:"revision"`
	}
	// RequestAccountClosure asks the account to close.
	RequestAccountClosure struct {
		// Withdrawals is what the account's group has outstanding, as read before the decision; nil for nothing.
		// It is filled in by the engine.
		Withdrawals *Blocker `json:"-"`
		// Domicile is that of the group, read at the same time; "" for none. It is filled in by the engine.
		Domicile string `json:"-"`
	}
	// RecordDomicile tells the account that its group has another domicile. It is the engine's own.
	RecordDomicile struct {
		// AccountGroupID is the group that tells it. An account of another one, which only the link of an open that went wrong
		// makes look like its own, does not listen.
		AccountGroupID string
		Domicile       string
	}
)

func (OpenAccount) CommandName() string           { return "open" }
func (RenameAccount) CommandName() string         { return "rename" }
func (RecordPosition) CommandName() string        { return "record_position" }
func (RecordCorporateAction) CommandName() string { return "record_corporate_action" }
func (RequestAccountClosure) CommandName() string { return "request_closure" }
func (RecordDomicile) CommandName() string        { return "record_domicile" }

func (*RecordPosition) fact()        {}
func (*RecordCorporateAction) fact() {}

// Validate refuses what is wrong whatever the state is.
func (p OpenAccount) Validate() error {
	return checks(
		checkID("account_group_id", p.AccountGroupID),
		oneOf("type", p.Type, Trading, Portfolio),
		checkText("name", p.Name, maxName),
		checkOpeningStatus(p.Status),
	)
}

// checkOpeningStatus takes the statuses in which a resource may begin; "" leaves it to the default.
func checkOpeningStatus(s Status) error {
	if s == "" {
		return nil
	}
	return oneOf("status", s, StatusActive, StatusPendingApproval)
}

// Validate refuses a name that is empty, too long, or has control characters.
func (p RenameAccount) Validate() error { return checkText("name", p.Name, maxName) }

// Validate refuses what is wrong whatever the state is.
func (p RecordPosition) Validate() error {
	return checks(
		checkISIN("isin", p.ISIN),
		checkDecimal("quantity", p.Quantity),
		checkPending(p.PendingSettlement),
		checkRevision(p.Revision),
	)
}

// checkPending takes a decimal, or "" for its default.
func checkPending(d Decimal) error {
	if d == "" {
		return nil
	}
	return checkDecimal("pending_settlement", d)
}

// orZero is the default of pending_settlement, and of the filled_quantity of what is CANCELLED.
func orZero(d Decimal) Decimal {
	if d == "" {
		return "0"
	}
	return d
}

// Validate refuses what is wrong whatever the state is.
func (p RecordCorporateAction) Validate() error {
	return checks(
		checkID("corporate_action_id", p.CorporateActionID),
		checkISIN("isin", p.ISIN),
		oneOf("status", p.Status, CorporateActionExpected, CorporateActionSettled, CorporateActionCancelled),
		checkRevision(p.Revision),
	)
}

// Validate has nothing to refuse: the request has no fields.
func (RequestAccountClosure) Validate() error { return nil }

// Validate refuses what is no country.
func (p RecordDomicile) Validate() error {
	return checks(checkID("account_group_id", p.AccountGroupID), checkCountry("domicile", p.Domicile))
}
