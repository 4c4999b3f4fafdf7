package domain

import (
	"fmt"
	"time"
)

// BlockerCode names a condition that keeps a resource from closing. Codes are stable.
type BlockerCode string

// The conditions. OUTSTANDING_WITHDRAWALS refuses a request (of a group and of its accounts alike) and also
// keeps a CLOSING group open; the others only keep a CLOSING resource open. LOCKED stands beside the others.
const (
	OpenPositions            BlockerCode = "OPEN_POSITIONS"
	ExpectedCorporateActions BlockerCode = "EXPECTED_CORPORATE_ACTIONS"
	OpenOrders               BlockerCode = "OPEN_ORDERS"
	TaxYearEndBlocker        BlockerCode = "TAX_YEAR_END"
	OpenAccounts             BlockerCode = "OPEN_ACCOUNTS"
	OutstandingFees          BlockerCode = "OUTSTANDING_FEES"
	OutstandingWithdrawals   BlockerCode = "OUTSTANDING_WITHDRAWALS"
	CashBalance              BlockerCode = "CASH_BALANCE"
	Locked                   BlockerCode = "LOCKED"

	// These two stand against offboarding a user (ours).
	OpenAccountGroups    BlockerCode = "OPEN_ACCOUNT_GROUPS"
	PendingTaxStatements BlockerCode = "PENDING_TAX_STATEMENTS"
)

// BlockerCodes lists the codes that stand against closing, in the order in which a checklist has them.
func BlockerCodes() []BlockerCode {
	return []BlockerCode{OpenPositions, ExpectedCorporateActions, OpenOrders, TaxYearEndBlocker, OpenAccounts, OutstandingFees,
		OutstandingWithdrawals, CashBalance, Locked}
}

// Blocker is one unmet condition.
type Blocker struct {
	Code   BlockerCode `json:"code" doc:"Stable code of the condition." enum:"OPEN_POSITIONS,EXPECTED_CORPORATE_ACTIONS,OPEN_ORDERS,TAX_YEAR_END,OPEN_ACCOUNTS,OUTSTANDING_FEES,OUTSTANDING_WITHDRAWALS,CASH_BALANCE,LOCKED,OPEN_ACCOUNT_GROUPS,PENDING_TAX_STATEMENTS"`
	Detail string      `json:"detail" doc:"The condition in a sentence."`
	// Since is when the condition began to stand without a break.
	Since time.Time `json:"since" doc:"Since when the condition has stood without a break (UTC)."`
	Items []Item    `json:"items" doc:"What stands against closing, one by one."`
}

// Item is one thing that blocks: it has an id, an ISIN or a currency, and the values that count.
type Item struct {
	ID                string  `json:"id,omitempty"`
	ISIN              string  `json:"isin,omitempty"`
	Currency          string  `json:"currency,omitempty"`
	Status            string  `json:"status,omitempty"`
	Amount            Decimal `json:"amount,omitempty"`
	Quantity          Decimal `json:"quantity,omitempty"`
	Balance           Decimal `json:"balance,omitempty"`
	PendingSettlement Decimal `json:"pending_settlement,omitempty"`
}

var blockerDetails = map[BlockerCode]string{
	OpenPositions:            "positions are held, or wait for settlement: sell them, or ask for a liquidation",
	ExpectedCorporateActions: "corporate actions are expected: they have to be settled or cancelled",
	OpenOrders:               "orders are open: each has to be filled or cancelled, and what a BUY order bought has to be recorded",
	TaxYearEndBlocker:        "the account's domicile is GB: it closes when the UK tax year ends, at the start of 6 April in London",
	OpenAccountGroups:        "account groups of the user are not CLOSED: close each of them",
	PendingTaxStatements:     "annual tax statements of the user's closed account groups are still to be made",
	OpenAccounts:             "accounts of the group are not CLOSED: close each of them",
	OutstandingFees:          "fee collections are in progress: they have to be finalised or cancelled",
	OutstandingWithdrawals:   "withdrawals are in progress: they have to be confirmed or cancelled",
	CashBalance:              "cash is left, owed, or waits for settlement: every balance has to be zero",
	Locked:                   "the resource is locked: it has to be unlocked",
}

// blocker builds one blocker from its items; no items, no blocker.
func blocker(blockers []Blocker, code BlockerCode, standing map[BlockerCode]time.Time, items []Item) []Blocker {
	if len(items) == 0 {
		return blockers
	}
	return append(blockers, Blocker{Code: code, Detail: blockerDetails[code], Since: standing[code], Items: items})
}

// lockedBlocker stands beside the others while the resource is locked and not yet closed.
func (l *Lifecycle) lockedBlocker(blockers []Blocker) []Blocker {
	if !l.locked {
		return blockers
	}
	return append(blockers, Blocker{Code: Locked, Detail: blockerDetails[Locked], Since: l.standing[Locked], Items: []Item{}})
}

// stand notes since when each blocker has stood. It ends every commit.
func (l *Lifecycle) stand(blockers []Blocker, at time.Time) {
	l.standing, l.changedAt = since(l.standing, blockers, at), at
}

// since is since when each blocker has stood: a new one from at; one that goes is forgotten.
func since(before map[BlockerCode]time.Time, blockers []Blocker, at time.Time) map[BlockerCode]time.Time {
	standing := make(map[BlockerCode]time.Time, len(blockers))
	for _, b := range blockers {
		from, stood := before[b.Code]
		if !stood {
			from = at
		}
		standing[b.Code] = from
	}
	return standing
}

// find returns the blocker with the code, or nil.
func find(blockers []Blocker, code BlockerCode) *Blocker {
	for i := range blockers {
		if blockers[i].Code == code {
			return &blockers[i]
		}
	}
	return nil
}

// refuse is the conflict that a blocker gives to a request.
func (b *Blocker) refuse() error {
	return &Refusal{Kind: Conflict, Detail: fmt.Sprintf("%s: %s", b.Code, b.Detail), Blockers: []Blocker{*b}}
}
