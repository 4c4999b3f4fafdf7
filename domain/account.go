package domain

import (
	"maps"
	"slices"
)

// Events

type (
	// AccountOpened began the account. Its group linked it before, and gave it its number. It is PENDING_APPROVAL
	// until Activated, which follows in the same commit when the account is opened ACTIVE.
	AccountOpened struct {
		AccountGroupID string      `json:"account_group_id"`
		Type           AccountType `json:"type"`
		Name           string      `json:"name"`
		AccountNumber  int         `json:"account_number"`
		Users          []Party     `json:"users"`
	}
	// AccountRenamed gave the account another name.
	AccountRenamed struct {
		Name string `json:"name"`
	}
	// PositionRecorded states what is held of one instrument.
	PositionRecorded struct {
		ISIN              string  `json:"isin"`
		Quantity          Decimal `json:"quantity"`
		PendingSettlement Decimal `json:"pending_settlement"`
		Revision          int64   `json:"revision"`
	}
	// CorporateActionRecorded states how far a corporate action is.
	CorporateActionRecorded struct {
		CorporateActionID string                `json:"corporate_action_id"`
		ISIN              string                `json:"isin"`
		Status            CorporateActionStatus `json:"status"`
		Revision          int64                 `json:"revision"`
	}
)

func (AccountOpened) eventName() string           { return "opened" }
func (AccountRenamed) eventName() string          { return "renamed" }
func (PositionRecorded) eventName() string        { return "position_recorded" }
func (CorporateActionRecorded) eventName() string { return "corporate_action_recorded" }

// State

// AccountType is the type of an account.
type AccountType string

// The types of account.
const (
	Trading   AccountType = "TRADING"
	Portfolio AccountType = "PORTFOLIO"
)

// CorporateActionStatus is how far a corporate action is.
type CorporateActionStatus string

// The statuses of a corporate action. EXPECTED blocks closing.
const (
	CorporateActionExpected  CorporateActionStatus = "EXPECTED"
	CorporateActionSettled   CorporateActionStatus = "SETTLED"
	CorporateActionCancelled CorporateActionStatus = "CANCELLED"
)

// Position is what is held of one instrument, as last recorded.
type Position struct {
	Quantity, PendingSettlement Decimal
	Revision                    int64
}

func (p Position) open() bool { return !p.Quantity.IsZero() || !p.PendingSettlement.IsZero() }

// CorporateAction is a corporate action, as last recorded.
type CorporateAction struct {
	ISIN     string
	Status   CorporateActionStatus
	Revision int64
}

// Account is the state of one account.
type Account struct {
	Lifecycle
	ID      string
	GroupID string
	Type    AccountType
	Name    string
	Number  int
	Users   []Party

	// openedName and openedActive are what an open that comes again is compared with.
	openedName   string
	openedActive bool

	positions        map[string]Position
	corporateActions map[string]CorporateAction
}

// NewAccount gives an account that has not been opened.
func NewAccount(id string) *Account {
	return &Account{ID: id, positions: map[string]Position{}, corporateActions: map[string]CorporateAction{}}
}

// Kind is KindAccount.
func (a *Account) Kind() Kind { return KindAccount }

// AggregateID is the account's id.
func (a *Account) AggregateID() string { return a.ID }

// Copy shares nothing that Apply changes.
func (a *Account) Copy() Aggregate { return a.copy() }

func (a *Account) copy() *Account {
	c := *a
	c.Lifecycle = a.copyLifecycle()
	c.positions = maps.Clone(a.positions)
	c.corporateActions = maps.Clone(a.corporateActions)
	return &c
}

// Blockers are the unmet exit conditions, in a fixed order.
func (a *Account) Blockers() []Blocker {
	if a.phase == StatusClosed {
		return nil
	}
	var positions, actions []Item
	for _, isin := range slices.Sorted(maps.Keys(a.positions)) {
		if p := a.positions[isin]; p.open() {
			positions = append(positions, positionItem(isin, p.Quantity, p.PendingSettlement))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(a.corporateActions)) {
		if c := a.corporateActions[id]; c.Status == CorporateActionExpected {
			actions = append(actions, corporateActionItem(id, c.ISIN, c.Status))
		}
	}
	var b []Blocker
	b = blocker(b, OpenPositions, a.standing, positions)
	b = blocker(b, ExpectedCorporateActions, a.standing, actions)
	return a.lockedBlocker(b)
}

func positionItem(isin string, quantity, pending Decimal) Item {
	return Item{ISIN: isin, Quantity: quantity, PendingSettlement: pending}
}

func corporateActionItem(id, isin string, status CorporateActionStatus) Item {
	return Item{ID: id, ISIN: isin, Status: string(status)}
}

// Closure is the checklist. Before closing was asked for it also shows the withdrawals that would refuse it.
func (a *Account) Closure(withdrawals *Blocker) Closure {
	blockers := a.Blockers()
	if withdrawals != nil && a.requestedAt == nil {
		blockers = append([]Blocker{*withdrawals}, blockers...)
	}
	return a.closure(blockers)
}

// Evolve

// Apply folds one commit into the state.
func (a *Account) Apply(m Meta, events []Event) {
	isFact := true
	for _, e := range events {
		isFact = a.evolve(m, e) && isFact
	}
	if len(events) == 0 || !a.Exists() {
		return
	}
	if _, ok := events[0].(AccountOpened); ok {
		a.openedActive = a.phase != StatusPendingApproval
	}
	a.remember(m.CommandID, isFact)
	a.stand(a.Blockers(), m.Time)
}

// evolve folds one event; isFact as in Lifecycle.evolve.
func (a *Account) evolve(m Meta, e Event) (isFact bool) {
	switch e := e.(type) {
	case AccountOpened:
		a.opened(m)
		a.GroupID, a.Type, a.Name, a.Number, a.Users = e.AccountGroupID, e.Type, e.Name, e.AccountNumber, e.Users
		a.openedName = e.Name
	case AccountRenamed:
		a.Name, a.UpdatedAt = e.Name, m.Time
	case PositionRecorded:
		a.positions[e.ISIN] = Position{e.Quantity, e.PendingSettlement, e.Revision}
		return true
	case CorporateActionRecorded:
		a.corporateActions[e.CorporateActionID] = CorporateAction{e.ISIN, e.Status, e.Revision}
		return true
	default:
		return a.Lifecycle.evolve(m, e)
	}
	return false
}

// Decide

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
	}
)

func (OpenAccount) CommandName() string           { return "open" }
func (RenameAccount) CommandName() string         { return "rename" }
func (RecordPosition) CommandName() string        { return "record_position" }
func (RecordCorporateAction) CommandName() string { return "record_corporate_action" }
func (RequestAccountClosure) CommandName() string { return "request_closure" }

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

// orZero is the default of pending_settlement.
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

// Decide answers a command. It does not change the account.
func (a *Account) Decide(c Command) ([]Event, error) {
	if open, ok := c.Payload.(*OpenAccount); ok {
		return a.open(c, open)
	}
	if !a.Exists() || a.ClientID != c.ClientID {
		return nil, Missing(KindAccount, a.ID)
	}
	if a.knows(c.ID) {
		return nil, nil
	}
	events, err := a.decide(c.Payload)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	// A CLOSING account closes itself in the commit that clears the last blocker.
	next := a.copy()
	next.Apply(c.Meta(), events)
	if next.closing() && len(next.Blockers()) == 0 {
		events = append(events, Closed{})
	}
	return events, nil
}

func (a *Account) open(c Command, p *OpenAccount) ([]Event, error) {
	if a.Exists() {
		if a.ClientID == c.ClientID && a.openedAs(p) {
			return nil, nil
		}
		return nil, conflict("the id %s is taken by an account with other content", a.ID)
	}
	if p.Link == nil {
		return nil, conflict("the account group %s does not know the account %s yet: it is linked before it is opened", p.AccountGroupID, a.ID)
	}
	events := []Event{AccountOpened{
		AccountGroupID: p.AccountGroupID, Type: p.Type, Name: p.Name, AccountNumber: p.Link.Number, Users: p.Link.Users,
	}}
	if p.Link.Status == StatusActive {
		events = append(events, Activated{})
	}
	return events, nil
}

// openedAs tells whether an open that comes again asks for what was opened.
func (a *Account) openedAs(p *OpenAccount) bool {
	return a.GroupID == p.AccountGroupID && a.Type == p.Type && a.openedName == p.Name &&
		(p.Status == "" || (p.Status == StatusActive) == a.openedActive)
}

func (a *Account) decide(p Payload) ([]Event, error) {
	if events, err, ok := a.Lifecycle.decide(p); ok {
		return events, err
	}
	switch p := p.(type) {
	case *RenameAccount:
		return a.rename(p)
	case *RecordPosition:
		return a.recordPosition(p)
	case *RecordCorporateAction:
		return a.recordCorporateAction(p)
	case *RequestAccountClosure:
		if proceed, err := a.enterClosing(p.Withdrawals); err != nil || !proceed {
			return nil, err
		}
		return []Event{ClosingInitiated{}}, nil
	}
	return nil, unknownCommand(KindAccount, p)
}

func (a *Account) rename(p *RenameAccount) ([]Event, error) {
	if a.phase == StatusClosed {
		return nil, a.notIn("rename", StatusPendingApproval, StatusActive, StatusClosing, StatusLocked)
	}
	if a.Name == p.Name {
		return nil, nil
	}
	return []Event{AccountRenamed{Name: p.Name}}, nil
}

func (a *Account) recordPosition(p *RecordPosition) ([]Event, error) {
	if !newer(p.Revision, a.positions[p.ISIN].Revision) {
		return nil, nil
	}
	e := PositionRecorded{ISIN: p.ISIN, Quantity: p.Quantity, PendingSettlement: orZero(p.PendingSettlement), Revision: p.Revision}
	blocks := Position{Quantity: e.Quantity, PendingSettlement: e.PendingSettlement}.open()
	return a.reconcile([]Event{e}, a.ID, OpenPositions, blocks, positionItem(e.ISIN, e.Quantity, e.PendingSettlement), e.Revision), nil
}

func (a *Account) recordCorporateAction(p *RecordCorporateAction) ([]Event, error) {
	if !newer(p.Revision, a.corporateActions[p.CorporateActionID].Revision) {
		return nil, nil
	}
	e := CorporateActionRecorded(*p)
	blocks := e.Status == CorporateActionExpected
	return a.reconcile([]Event{e}, a.ID, ExpectedCorporateActions, blocks, corporateActionItem(e.CorporateActionID, e.ISIN, e.Status), e.Revision), nil
}
