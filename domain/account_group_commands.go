package domain

import (
	"fmt"
	"slices"
	"time"
)

// The commands of an account group, with what is wrong about them whatever the state is.

type (
	// OpenAccountGroup opens a group. Status "" means ACTIVE.
	OpenAccountGroup struct {
		Users          []Party   `json:"users"`
		Type           GroupType `json:"type"`
		Domicile       string    `json:"domicile"`
		TaxResidencies []string  `json:"tax_residencies"`
		Status         Status    `json:"status"`
		// SecuritiesAccountNumber is 7 to 12 digits, unique; filled in by the engine.
		SecuritiesAccountNumber string `json:"-"`
	}
	// RecordCashBalance states the whole present cash in one currency. Balance may be negative.
	RecordCashBalance struct {
		Currency          string  `json:"currency"`
		Balance           Decimal `json:"balance"`
		PendingSettlement Decimal `json:"pending_settlement"`
		Revision          int64   `json:"revision"`
	}
	// RecordFeeCollection states how far a fee collection is.
	RecordFeeCollection struct {
		FeeCollectionID string    `json:"fee_collection_id"`
		Status          FeeStatus `json:"status"`
		Amount          Decimal   `json:"amount"`
		Currency        string    `json:"currency"`
		Revision        int64     `json:"revision"`
	}
	// RecordWithdrawal states how far a withdrawal is.
	RecordWithdrawal struct {
		WithdrawalID string           `json:"withdrawal_id"`
		Status       WithdrawalStatus `json:"status"`
		Amount       Decimal          `json:"amount"`
		Currency     string           `json:"currency"`
		Revision     int64            `json:"revision"`
	}
	// RequestAccountGroupClosure asks the group to close; with NotificationOnly it only announces the closing.
	RequestAccountGroupClosure struct {
		ClosureReason    ClosureReason `json:"closure_reason"`
		NotificationOnly bool          `json:"notification_only"`
	}
)

// The engine's own commands between aggregates. They are refused from outside (NewPayload does not know them).
type (
	// LinkAccount tells the group of an account that is about to be opened.
	LinkAccount struct {
		AccountID string
		Type      AccountType
		Name      string
		Status    Status
	}
	// WithdrawAccountLink takes the link back, when the account turned out to exist in another group.
	WithdrawAccountLink struct {
		AccountID string
	}
	// RecordAccountClosure tells the group that one of its accounts is CLOSED.
	RecordAccountClosure struct {
		AccountID string
		ClosedAt  time.Time
	}
	// RecordReport says that a report of the group was made and stored.
	RecordReport struct {
		ReportID string
		UserID   string
		Type     ReportType
		SHA256   string
		Size     int
	}
)

func (OpenAccountGroup) CommandName() string           { return "open" }
func (RecordCashBalance) CommandName() string          { return "record_cash_balance" }
func (RecordFeeCollection) CommandName() string        { return "record_fee_collection" }
func (RecordWithdrawal) CommandName() string           { return "record_withdrawal" }
func (RequestAccountGroupClosure) CommandName() string { return "request_closure" }
func (LinkAccount) CommandName() string                { return "link_account" }
func (WithdrawAccountLink) CommandName() string        { return "withdraw_account_link" }
func (RecordAccountClosure) CommandName() string       { return "record_account_closure" }
func (RecordReport) CommandName() string               { return "record_report" }

func (*RecordCashBalance) fact()   {}
func (*RecordFeeCollection) fact() {}
func (*RecordWithdrawal) fact()    {}

// Validate refuses what is wrong whatever the state is.
func (p OpenAccountGroup) Validate() error {
	if err := checks(checkParties("users", p.Users), oneOf("type", p.Type, GroupTypes()...), checkOpeningStatus(p.Status)); err != nil {
		return err
	}
	if p.Domicile != "" {
		if err := checkCountry("domicile", p.Domicile); err != nil {
			return err
		}
	}
	return checkResidencies(p.TaxResidencies)
}

// maxResidencies bounds the list; nobody is tax resident in more countries.
const maxResidencies = 10

func checkResidencies(countries []string) error {
	if len(countries) > maxResidencies {
		return invalid("tax_residencies", "must be at most %d countries, got %d", maxResidencies, len(countries))
	}
	for i, country := range countries {
		field := fmt.Sprintf("tax_residencies[%d]", i)
		if err := checkCountry(field, country); err != nil {
			return err
		}
		if slices.Contains(countries[:i], country) {
			return invalid(field, "is in the list twice: %s", country)
		}
	}
	return nil
}

// Validate refuses what is wrong whatever the state is.
func (p RecordCashBalance) Validate() error {
	return checks(
		checkCurrency("currency", p.Currency),
		checkDecimal("balance", p.Balance),
		checkPending(p.PendingSettlement),
		checkRevision(p.Revision),
	)
}

// Validate refuses what is wrong whatever the state is.
func (p RecordFeeCollection) Validate() error {
	return checks(
		checkID("fee_collection_id", p.FeeCollectionID),
		oneOf("status", p.Status, FeeProcessing, FeeFinalised, FeeCancelled),
		checkAmount(p.Amount, p.Currency),
		checkRevision(p.Revision),
	)
}

// Validate refuses what is wrong whatever the state is.
func (p RecordWithdrawal) Validate() error {
	return checks(
		checkID("withdrawal_id", p.WithdrawalID),
		oneOf("status", p.Status, WithdrawalNew, WithdrawalProcessing, WithdrawalConfirmed, WithdrawalCancelled),
		checkAmount(p.Amount, p.Currency),
		checkRevision(p.Revision),
	)
}

// checkAmount takes an amount of money that moves: not negative, in a currency.
func checkAmount(amount Decimal, currency string) error {
	if err := checkDecimal("amount", amount); err != nil {
		return err
	}
	if amount.IsNegative() {
		return invalid("amount", "must not be negative, got %s", amount)
	}
	return checkCurrency("currency", currency)
}

// Validate refuses a reason that the public API does not know.
func (p RequestAccountGroupClosure) Validate() error {
	if p.ClosureReason == "" {
		return nil
	}
	return oneOf("closure_reason", p.ClosureReason, ClosureReasons()...)
}

// Validate checks the account as its own open would, since the link comes first.
func (p LinkAccount) Validate() error {
	return checks(checkID("account_id", p.AccountID), oneOf("type", p.Type, Trading, Portfolio), checkText("name", p.Name, maxName), checkOpeningStatus(p.Status))
}

// Validate refuses an id that is none.
func (p WithdrawAccountLink) Validate() error { return checkID("account_id", p.AccountID) }

// Validate refuses an id that is none, and a closing without its time: it stands in the log and in the report.
func (p RecordAccountClosure) Validate() error {
	if p.ClosedAt.IsZero() {
		return checks(checkID("account_id", p.AccountID), invalid("closed_at", "must be the time at which the account became CLOSED"))
	}
	return checkID("account_id", p.AccountID)
}

// Validate refuses ids that are none.
func (p RecordReport) Validate() error {
	return checks(checkID("report_id", p.ReportID), checkID("user_id", p.UserID), oneOf("type", p.Type, ReportAccountClosing, ReportAnnualTaxStatement))
}
