package domain

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Events

type (
	// AccountGroupOpened began the group. It is PENDING_APPROVAL until Activated, which follows in the same commit when
	// the group is opened ACTIVE.
	AccountGroupOpened struct {
		Users                   []Party   `json:"users"`
		Type                    GroupType `json:"type"`
		Domicile                string    `json:"domicile,omitempty"`
		TaxResidencies          []string  `json:"tax_residencies"`
		SecuritiesAccountNumber string    `json:"securities_account_number"`
	}
	// AccountLinked told the group of an account, before the account began. It carries what the account needs, so that
	// an open that a crash cut short can be finished.
	AccountLinked struct {
		AccountID     string      `json:"account_id"`
		AccountNumber int         `json:"account_number"`
		Type          AccountType `json:"type"`
		Name          string      `json:"name"`
		Status        Status      `json:"status"`
	}
	// AccountLinkWithdrawn took the link back: the account exists already in another group.
	AccountLinkWithdrawn struct {
		AccountID string `json:"account_id"`
	}
	// AccountClosureRecorded told the group that one of its accounts is CLOSED.
	AccountClosureRecorded struct {
		AccountID string    `json:"account_id"`
		ClosedAt  time.Time `json:"closed_at"`
	}
	// CashBalanceRecorded states the cash in one currency.
	CashBalanceRecorded struct {
		Currency          string  `json:"currency"`
		Balance           Decimal `json:"balance"`
		PendingSettlement Decimal `json:"pending_settlement"`
		Revision          int64   `json:"revision"`
	}
	// FeeCollectionRecorded states how far a fee collection is.
	FeeCollectionRecorded struct {
		FeeCollectionID string    `json:"fee_collection_id"`
		Status          FeeStatus `json:"status"`
		Amount          Decimal   `json:"amount"`
		Currency        string    `json:"currency"`
		Revision        int64     `json:"revision"`
	}
	// WithdrawalRecorded states how far a withdrawal is.
	WithdrawalRecorded struct {
		WithdrawalID string           `json:"withdrawal_id"`
		Status       WithdrawalStatus `json:"status"`
		Amount       Decimal          `json:"amount"`
		Currency     string           `json:"currency"`
		Revision     int64            `json:"revision"`
	}
	// ClosureAnnounced says that a closing is to come, and why, without starting it.
	ClosureAnnounced struct {
		ClosureReason ClosureReason `json:"closure_reason,omitempty"`
	}
	// ReportCreated says that a report of the group was made for one of its users. SHA256 is that of the PDF, in lower-case
	// hex, and Size its length in bytes.
	ReportCreated struct {
		ReportID string     `json:"report_id"`
		UserID   string     `json:"user_id"`
		Type     ReportType `json:"type"`
		SHA256   string     `json:"sha256"`
		Size     int        `json:"size"`
	}
)

func (AccountGroupOpened) eventName() string     { return "opened" }
func (AccountLinked) eventName() string          { return "account_linked" }
func (AccountLinkWithdrawn) eventName() string   { return "account_link_withdrawn" }
func (AccountClosureRecorded) eventName() string { return "account_closure_recorded" }
func (CashBalanceRecorded) eventName() string    { return "cash_balance_recorded" }
func (FeeCollectionRecorded) eventName() string  { return "fee_collection_recorded" }
func (WithdrawalRecorded) eventName() string     { return "withdrawal_recorded" }
func (ClosureAnnounced) eventName() string       { return "closure_announced" }
func (ReportCreated) eventName() string          { return "report_created" }

// State

type (
	// GroupType is the type of an account group.
	GroupType string
	// FeeStatus is how far a fee collection is.
	FeeStatus string
	// WithdrawalStatus is how far a withdrawal is.
	WithdrawalStatus string
	// ReportType is the type of a report.
	ReportType string
)

// GroupTypes lists the types of account group.
func GroupTypes() []GroupType {
	return []GroupType{"PERSONAL", "JOINT", "LEGAL_ENTITY", "FRENCH_PEA", "ISA", "CHILD", "BUSINESS"}
}

// The statuses of a fee collection. PROCESSING blocks.
const (
	FeeProcessing FeeStatus = "PROCESSING"
	FeeFinalised  FeeStatus = "FINALISED"
	FeeCancelled  FeeStatus = "CANCELLED"
)

// The statuses of a withdrawal. NEW and PROCESSING refuse a request and block.
const (
	WithdrawalNew        WithdrawalStatus = "NEW"
	WithdrawalProcessing WithdrawalStatus = "PROCESSING"
	WithdrawalConfirmed  WithdrawalStatus = "CONFIRMED"
	WithdrawalCancelled  WithdrawalStatus = "CANCELLED"
)

// The reports of a closed group, one for each of its owners: of the closing itself, and of its tax year.
const (
	ReportAccountClosing     ReportType = "ACCOUNT_CLOSING"
	ReportAnnualTaxStatement ReportType = "ANNUAL_TAX_STATEMENT"
)

// AccountLink is what a group knows of one of its accounts, and what the account takes over when it is opened.
type AccountLink struct {
	Number int
	Type   AccountType
	Name   string
	Status Status // in which the account begins: ACTIVE or PENDING_APPROVAL
	Users  []Party
	// ClosedAt is when the account became CLOSED; nil while it is open, or not begun.
	ClosedAt *time.Time
}

// Cash is the cash in one currency, as last recorded.
type Cash struct {
	Balance, PendingSettlement Decimal
	Revision                   int64
}

func (c Cash) left() bool { return !c.Balance.IsZero() || !c.PendingSettlement.IsZero() }

// Payment is a fee collection or a withdrawal, as last recorded.
type Payment[S ~string] struct {
	Status   S
	Amount   Decimal
	Currency string
	Revision int64
}

// Report is a report of the group.
type Report struct {
	ID        string
	UserID    string
	Type      ReportType
	CreatedAt time.Time
	SHA256    string
	Size      int
}

// AccountGroup is the state of one account group.
type AccountGroup struct {
	Lifecycle
	ID                      string
	Users                   []Party
	Type                    GroupType
	Domicile                string
	TaxResidencies          []string
	SecuritiesAccountNumber string

	// openedActive, openedDomicile and openedResidencies are what an open that comes again is compared with: a domicile that has
	// changed since does not make it another one.
	openedActive      bool
	openedDomicile    string
	openedResidencies []string

	numbers      int // account numbers given so far
	accounts     map[string]AccountLink
	cash         map[string]Cash
	fees         map[string]Payment[FeeStatus]
	withdrawals  map[string]Payment[WithdrawalStatus]
	reports      map[string]Report
	taxBookings  map[string]TaxBooking
	taxStatement bool // the statement of the closing year was asked for
	// borrowed tells which of the maps are those of another state, too: see own.
	borrowed struct{ accounts, cash, fees, withdrawals, reports, taxBookings bool }
}

// NewAccountGroup gives a group that has not been opened.
func NewAccountGroup(id string) *AccountGroup {
	return &AccountGroup{
		ID: id, accounts: map[string]AccountLink{}, cash: map[string]Cash{}, fees: map[string]Payment[FeeStatus]{},
		withdrawals: map[string]Payment[WithdrawalStatus]{}, reports: map[string]Report{}, taxBookings: map[string]TaxBooking{},
	}
}

// Kind is KindAccountGroup.
func (g *AccountGroup) Kind() Kind { return KindAccountGroup }

// AggregateID is the group's id.
func (g *AccountGroup) AggregateID() string { return g.ID }

// Copy shares nothing that Apply changes.
func (g *AccountGroup) Copy() Aggregate { return g.copy() }

func (g *AccountGroup) copy() *AccountGroup {
	c := g.fork()
	c.Lifecycle = g.copyLifecycle()
	own(&c.accounts, &c.borrowed.accounts)
	own(&c.cash, &c.borrowed.cash)
	own(&c.fees, &c.borrowed.fees)
	own(&c.withdrawals, &c.borrowed.withdrawals)
	own(&c.reports, &c.borrowed.reports)
	own(&c.taxBookings, &c.borrowed.taxBookings)
	return c
}

// fork is a copy that shares with the group whatever nobody changes: the group itself MUST NOT be, from then on.
func (g *AccountGroup) fork() *AccountGroup {
	c := *g
	c.forkLifecycle()
	c.borrowed.accounts, c.borrowed.cash, c.borrowed.fees = true, true, true
	c.borrowed.withdrawals, c.borrowed.reports, c.borrowed.taxBookings = true, true, true
	return &c
}

// Link is what the group knows of an account; ok is false when it does not know it.
func (g *AccountGroup) Link(accountID string) (AccountLink, bool) {
	link, ok := g.accounts[accountID]
	link.Users = g.Users
	return link, ok
}

// AccountIDs lists the group's accounts by their numbers.
func (g *AccountGroup) AccountIDs() []string {
	return slices.SortedFunc(maps.Keys(g.accounts), g.byNumber)
}

// byNumber compares two accounts of the group, given by their ids.
func (g *AccountGroup) byNumber(a, b string) int { return g.accounts[a].Number - g.accounts[b].Number }

// Report finds a report of the group.
func (g *AccountGroup) Report(id string) (Report, bool) {
	r, ok := g.reports[id]
	return r, ok
}

// Blockers are the unmet exit conditions, in a fixed order. None of a group's depends on the time.
func (g *AccountGroup) Blockers() []Blocker {
	s := survey{standing: g.standing, inFull: true}
	g.survey(&s)
	return s.blockers
}

// survey goes through the exit conditions.
func (g *AccountGroup) survey(s *survey) {
	if g.phase == StatusClosed {
		return
	}
	among(s, OpenAccounts, g.accounts, AccountLink.open, AccountLink.item, g.byNumber)
	among(s, OutstandingFees, g.fees, feeOutstanding, Payment[FeeStatus].item, strings.Compare)
	among(s, OutstandingWithdrawals, g.withdrawals, withdrawalOutstanding, Payment[WithdrawalStatus].item, strings.Compare)
	among(s, CashBalance, g.cash, Cash.left, Cash.item, strings.Compare)
	g.surveyLock(s)
}

// unmet are the codes of the exit conditions that are not met, put behind codes.
func (g *AccountGroup) unmet(codes []BlockerCode) []BlockerCode {
	s := survey{codes: codes}
	g.survey(&s)
	return s.codes
}

// done tells that nothing stands against closing.
func (g *AccountGroup) done() bool {
	var room [most]BlockerCode
	return len(g.unmet(room[:0])) == 0
}

func (l AccountLink) open() bool { return l.ClosedAt == nil }

func (l AccountLink) item(id string) Item { return Item{ID: id} }

func feeOutstanding(f Payment[FeeStatus]) bool { return f.Status == FeeProcessing }

func withdrawalOutstanding(w Payment[WithdrawalStatus]) bool {
	return w.Status == WithdrawalNew || w.Status == WithdrawalProcessing
}

func (c Cash) item(currency string) Item {
	return Item{Currency: currency, Balance: c.Balance, PendingSettlement: c.PendingSettlement}
}

func (p Payment[S]) item(id string) Item {
	return Item{ID: id, Status: string(p.Status), Amount: p.Amount, Currency: p.Currency}
}

// OutstandingWithdrawals is the blocker that refuses closing the group and its accounts; nil for none.
func (g *AccountGroup) OutstandingWithdrawals() *Blocker {
	return find(g.Blockers(), OutstandingWithdrawals)
}

// Closure is the checklist. All that it shows is the group's own, so the argument is not used.
func (g *AccountGroup) Closure(Outlook) Closure { return g.closure(g.Blockers()) }

// ReportID is the id of a user's report of one type: the same however often it is made.
func (g *AccountGroup) ReportID(userID string, t ReportType) string {
	return DeriveID("report", g.ID, userID, string(t))
}

// Evolve

// Apply folds one commit into the state.
func (g *AccountGroup) Apply(m Meta, events []Event) {
	g.finish(m, events, g.evolveAll(m, events))
}

// evolveAll folds events one after the other; areFacts tells that all of them are.
func (g *AccountGroup) evolveAll(m Meta, events []Event) (areFacts bool) {
	areFacts = true
	for _, e := range events {
		areFacts = g.evolve(m, e) && areFacts
	}
	return areFacts
}

// finish a commit whose events are folded.
func (g *AccountGroup) finish(m Meta, events []Event, areFacts bool) {
	if len(events) == 0 || !g.Exists() {
		return
	}
	if _, ok := events[0].(AccountGroupOpened); ok {
		g.openedActive = g.phase != StatusPendingApproval
	}
	g.remember(m.CommandID, areFacts)
	var room [most]BlockerCode
	g.stand(g.unmet(room[:0]), m.Time)
}

// evolve folds one event; isFact as in Lifecycle.evolve.
func (g *AccountGroup) evolve(m Meta, e Event) (isFact bool) {
	switch e := e.(type) {
	case AccountGroupOpened:
		g.opened(m)
		g.Users, g.Type, g.Domicile, g.TaxResidencies = e.Users, e.Type, e.Domicile, e.TaxResidencies
		g.SecuritiesAccountNumber = e.SecuritiesAccountNumber
		g.openedDomicile, g.openedResidencies = e.Domicile, e.TaxResidencies
		return false
	case AccountLinked:
		own(&g.accounts, &g.borrowed.accounts)[e.AccountID] = AccountLink{Number: e.AccountNumber, Type: e.Type, Name: e.Name, Status: e.Status}
		g.numbers = max(g.numbers, e.AccountNumber)
	case AccountLinkWithdrawn:
		delete(own(&g.accounts, &g.borrowed.accounts), e.AccountID)
	case AccountClosureRecorded:
		link := g.accounts[e.AccountID]
		link.ClosedAt = &e.ClosedAt
		own(&g.accounts, &g.borrowed.accounts)[e.AccountID] = link
	case CashBalanceRecorded:
		own(&g.cash, &g.borrowed.cash)[e.Currency] = Cash{e.Balance, e.PendingSettlement, e.Revision}
	case FeeCollectionRecorded:
		own(&g.fees, &g.borrowed.fees)[e.FeeCollectionID] = Payment[FeeStatus]{e.Status, e.Amount, e.Currency, e.Revision}
	case WithdrawalRecorded:
		own(&g.withdrawals, &g.borrowed.withdrawals)[e.WithdrawalID] = Payment[WithdrawalStatus]{e.Status, e.Amount, e.Currency, e.Revision}
	case DomicileChanged:
		g.Domicile, g.TaxResidencies = e.Domicile, e.TaxResidencies
	case TaxBookingRecorded:
		own(&g.taxBookings, &g.borrowed.taxBookings)[e.TaxBookingID] = TaxBooking{e.Year, e.Kind, e.Amount, e.Currency, e.Revision}
	case TaxStatementRequested:
		g.taxStatement = true
	case ReportCreated:
		own(&g.reports, &g.borrowed.reports)[e.ReportID] = Report{e.ReportID, e.UserID, e.Type, m.Time, e.SHA256, e.Size}
	default:
		return g.Lifecycle.evolve(m, e)
	}
	return true
}

// Decide

// Decide answers a command. It does not change the group.
func (g *AccountGroup) Decide(c Command) ([]Event, error) {
	events, _, err := g.DecideNext(c)
	return events, err
}

// DecideNext is Decide with the state that the events lead to.
func (g *AccountGroup) DecideNext(c Command) ([]Event, Aggregate, error) {
	events, err := g.answer(c)
	if err != nil || len(events) == 0 {
		return nil, nil, err
	}
	m, next := c.Meta(), g.fork()
	areFacts := next.evolveAll(m, events)
	// A CLOSING group closes itself in the commit that clears the last blocker.
	if next.closing() && next.done() {
		areFacts = next.evolve(m, Closed{}) && areFacts
		events = append(events, Closed{})
	}
	next.finish(m, events, areFacts)
	return events, next, nil
}

// answer is what the command itself asks for.
func (g *AccountGroup) answer(c Command) ([]Event, error) {
	if open, ok := c.Payload.(*OpenAccountGroup); ok {
		return g.open(c, open)
	}
	if !g.Exists() || g.ClientID != c.ClientID {
		return nil, Missing(KindAccountGroup, g.ID)
	}
	if g.knows(c.ID) {
		return nil, nil
	}
	return g.decide(c)
}

func (g *AccountGroup) open(c Command, p *OpenAccountGroup) ([]Event, error) {
	if g.Exists() {
		if g.ClientID == c.ClientID && g.OpenedAs(p) {
			return nil, nil
		}
		return nil, conflict("the id %s is taken by an account group with other content", g.ID)
	}
	events := []Event{AccountGroupOpened{
		Users: p.Users, Type: p.Type, Domicile: p.Domicile, TaxResidencies: append([]string{}, p.TaxResidencies...),
		SecuritiesAccountNumber: p.SecuritiesAccountNumber,
	}}
	if p.Status != StatusPendingApproval {
		events = append(events, Activated{})
	}
	return events, nil
}

// OpenedAs tells whether an open that comes again asks for what was opened.
func (g *AccountGroup) OpenedAs(p *OpenAccountGroup) bool {
	return slices.Equal(g.Users, p.Users) && g.Type == p.Type && g.openedDomicile == p.Domicile &&
		slices.Equal(g.openedResidencies, p.TaxResidencies) && (p.Status != StatusPendingApproval) == g.openedActive
}

func (g *AccountGroup) decide(c Command) ([]Event, error) {
	if events, err, ok := g.Lifecycle.decide(c); ok {
		return events, err
	}
	switch p := c.Payload.(type) {
	case *LinkAccount:
		return g.linkAccount(p)
	case *WithdrawAccountLink:
		if link, ok := g.accounts[p.AccountID]; !ok || link.ClosedAt != nil {
			return nil, nil
		}
		return []Event{AccountLinkWithdrawn(*p)}, nil
	case *RecordAccountClosure:
		return g.recordAccountClosure(p)
	case *RecordCashBalance:
		return g.recordCashBalance(p)
	case *RecordFeeCollection:
		return g.recordFeeCollection(p)
	case *RecordWithdrawal:
		return g.recordWithdrawal(p)
	case *RecordReport:
		return g.recordReport(p)
	case *RequestAccountGroupClosure:
		return g.requestClosure(p)
	case *ChangeDomicile:
		return g.changeDomicile(p)
	case *RecordTaxBooking:
		return g.recordTaxBooking(p)
	case *RequestTaxStatement:
		return g.requestTaxStatement(c.Time, p)
	}
	return nil, unknownCommand(KindAccountGroup, c.Payload)
}

func (g *AccountGroup) linkAccount(p *LinkAccount) ([]Event, error) {
	if link, ok := g.accounts[p.AccountID]; ok {
		if link.Type == p.Type && link.Name == p.Name && (p.Status == "" || p.Status == link.Status) {
			return nil, nil
		}
		return nil, conflict("the id %s is taken by an account with other content", p.AccountID)
	}
	status := StatusActive
	switch g.Status() {
	case StatusPendingApproval:
		if p.Status == StatusActive {
			return nil, conflict("the account group is PENDING_APPROVAL: it opens accounts in PENDING_APPROVAL only")
		}
		status = StatusPendingApproval
	case StatusActive:
		if p.Status != "" {
			status = p.Status
		}
	default:
		return nil, conflict("the account group is %s: it opens accounts only in PENDING_APPROVAL, ACTIVE", g.Status())
	}
	return []Event{AccountLinked{AccountID: p.AccountID, AccountNumber: g.numbers + 1, Type: p.Type, Name: p.Name, Status: status}}, nil
}

func (g *AccountGroup) recordAccountClosure(p *RecordAccountClosure) ([]Event, error) {
	link, ok := g.accounts[p.AccountID]
	if !ok {
		return nil, conflict("the account %s is not one of the account group", p.AccountID)
	}
	if link.ClosedAt != nil {
		return nil, nil
	}
	return []Event{AccountClosureRecorded(*p)}, nil
}

// recordReport takes the report of a closing only after it: nothing may say what a closing came to while it is not over.
func (g *AccountGroup) recordReport(p *RecordReport) ([]Event, error) {
	if g.phase != StatusClosed {
		return nil, g.notIn("a report of its closing", StatusClosed)
	}
	if _, ok := g.reports[p.ReportID]; ok {
		return nil, nil
	}
	return []Event{ReportCreated(*p)}, nil
}

func (g *AccountGroup) recordCashBalance(p *RecordCashBalance) ([]Event, error) {
	if !newer(p.Revision, g.cash[p.Currency].Revision) {
		return nil, nil
	}
	e := CashBalanceRecorded{Currency: p.Currency, Balance: p.Balance, PendingSettlement: orZero(p.PendingSettlement), Revision: p.Revision}
	cash := Cash{Balance: e.Balance, PendingSettlement: e.PendingSettlement}
	return g.reconcile([]Event{e}, g.ID, CashBalance, cash.left(), cash.item(e.Currency), e.Revision), nil
}

func (g *AccountGroup) recordFeeCollection(p *RecordFeeCollection) ([]Event, error) {
	if !newer(p.Revision, g.fees[p.FeeCollectionID].Revision) {
		return nil, nil
	}
	e := FeeCollectionRecorded(*p)
	now := Payment[FeeStatus]{e.Status, e.Amount, e.Currency, e.Revision}
	return g.reconcile([]Event{e}, g.ID, OutstandingFees, feeOutstanding(now), now.item(e.FeeCollectionID), e.Revision), nil
}

func (g *AccountGroup) recordWithdrawal(p *RecordWithdrawal) ([]Event, error) {
	if !newer(p.Revision, g.withdrawals[p.WithdrawalID].Revision) {
		return nil, nil
	}
	e := WithdrawalRecorded(*p)
	now := Payment[WithdrawalStatus]{e.Status, e.Amount, e.Currency, e.Revision}
	return g.reconcile([]Event{e}, g.ID, OutstandingWithdrawals, withdrawalOutstanding(now), now.item(e.WithdrawalID), e.Revision), nil
}

func (g *AccountGroup) requestClosure(p *RequestAccountGroupClosure) ([]Event, error) {
	proceed, err := g.enterClosing(g.OutstandingWithdrawals())
	if err != nil || !proceed {
		return nil, err
	}
	if p.NotificationOnly {
		if g.announcedAt != nil {
			return nil, nil
		}
		return []Event{ClosureAnnounced{ClosureReason: p.ClosureReason}}, nil
	}
	reason := p.ClosureReason
	if reason == "" {
		// What was announced is what is now done.
		reason = g.reason
	}
	return []Event{ClosingInitiated{ClosureReason: reason}}, nil
}
