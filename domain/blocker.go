package domain

import (
	"fmt"
	"slices"
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

// survey goes through the conditions of an aggregate, in the order of a checklist. Each condition stands once, in the aggregate's
// own survey: a checklist asks for all that blocks, every commit only for the codes, which takes no list of items.
type survey struct {
	standing map[BlockerCode]time.Time
	// inFull makes the blockers beside the codes.
	inFull   bool
	codes    []BlockerCode
	blockers []Blocker
}

// most is how many conditions one kind of aggregate has, at most.
const most = 8

// add a condition that stands, since when it does, and the items of it.
func (s *survey) add(code BlockerCode, from time.Time, items []Item) {
	s.codes = append(s.codes, code)
	if s.inFull {
		s.blockers = append(s.blockers, Blocker{Code: code, Detail: blockerDetails[code], Since: from, Items: items})
	}
}

// among adds a condition when some of a kind of things block; in full with an item for each that does, sorted.
func among[V any](s *survey, code BlockerCode, all map[string]V, blocks func(V) bool, item func(v V, id string) Item, order func(a, b string) int) {
	var ids []string
	for id, v := range all {
		if !blocks(v) {
			continue
		}
		if !s.inFull {
			s.add(code, time.Time{}, nil)
			return
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return
	}
	slices.SortFunc(ids, order)
	items := make([]Item, len(ids))
	for i, id := range ids {
		items[i] = item(all[id], id)
	}
	s.add(code, s.standing[code], items)
}

// surveyLock: a lock stands beside the others while the resource is not yet closed.
func (l *Lifecycle) surveyLock(s *survey) {
	if l.locked {
		s.add(Locked, l.standing[Locked], []Item{})
	}
}

// lockedBlocker is the lock alone.
func (l *Lifecycle) lockedBlocker() []Blocker {
	s := survey{inFull: true}
	l.surveyLock(&s)
	return s.blockers
}

// stand notes since when each condition has stood. It ends every commit.
func (l *Lifecycle) stand(codes []BlockerCode, at time.Time) {
	l.standing, l.changedAt = since(l.standing, codes, at), at
}

// since is since when each condition has stood: a new one from at; one that goes is forgotten. What was given is not changed, and
// is given back when nothing came and nothing went.
func since(before map[BlockerCode]time.Time, codes []BlockerCode, at time.Time) map[BlockerCode]time.Time {
	if before != nil && len(before) == len(codes) && !slices.ContainsFunc(codes, func(code BlockerCode) bool { _, stood := before[code]; return !stood }) {
		return before
	}
	standing := make(map[BlockerCode]time.Time, len(codes))
	for _, code := range codes {
		from, stood := before[code]
		if !stood {
			from = at
		}
		standing[code] = from
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
