package domain

// The commands that accounts and account groups share.

// ClosureReason says why a resource is closed. "" is allowed: no reason was given.
type ClosureReason string

// ReasonAML is the one reason that must not reach the user: see the report ACCOUNT_CLOSING.
const ReasonAML ClosureReason = "aml"

// ClosureReasons lists the values that the public API knows.
func ClosureReasons() []ClosureReason {
	return []ClosureReason{"dunning", "power_of_attorney", "loss_of_legal_capacity", ReasonAML, "risk_based", "contract_breach", "user_initiated"}
}

// Activate lets a PENDING_APPROVAL resource become ACTIVE.
type Activate struct{}

// Lock stops a resource; a closure in progress is kept, and waits.
type Lock struct{}

// Unlock takes the lock away; the resource goes on where it was.
type Unlock struct{}

func (Activate) CommandName() string { return "activate" }
func (Lock) CommandName() string     { return "lock" }
func (Unlock) CommandName() string   { return "unlock" }

func (Activate) Validate() error { return nil }
func (Lock) Validate() error     { return nil }
func (Unlock) Validate() error   { return nil }

// NewPayload returns an empty payload for a command that may come from outside, as a pointer to decode into;
// ok is false for a command that the kind does not have. The engine's own commands (link_account, …) are not here.
func NewPayload(kind Kind, command string) (p Payload, ok bool) {
	for _, p := range payloads(kind) {
		if p.CommandName() == command {
			return p, true
		}
	}
	return nil, false
}

// CommandNames lists the commands that a kind takes from outside.
func CommandNames(kind Kind) []string {
	var names []string
	for _, p := range payloads(kind) {
		names = append(names, p.CommandName())
	}
	return names
}

func payloads(kind Kind) []Payload {
	switch kind {
	case KindAccount:
		return []Payload{&OpenAccount{}, &Activate{}, &Lock{}, &Unlock{}, &RenameAccount{},
			&RecordPosition{}, &RecordCorporateAction{}, &PlaceOrder{}, &RecordOrder{},
			&RequestLiquidation{}, &CancelLiquidation{}, &RequestAccountClosure{}, &SettleReconciliation{}}
	case KindAccountGroup:
		return []Payload{&OpenAccountGroup{}, &Activate{}, &Lock{}, &Unlock{},
			&ChangeDomicile{}, &RecordCashBalance{}, &RecordFeeCollection{}, &RecordWithdrawal{}, &RecordTaxBooking{},
			&RequestAccountGroupClosure{}, &SettleReconciliation{}}
	case KindUser:
		return []Payload{&RequestOffboarding{}}
	}
	return nil
}
