package domain

import (
	"strings"
	"time"
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
	// DomicileRecorded states the domicile of the account's group, as far as it counts for closing the account: when
	// closing is asked for, and when it changes afterwards.
	DomicileRecorded struct {
		Domicile string `json:"domicile"`
	}
)

func (AccountOpened) eventName() string           { return "opened" }
func (AccountRenamed) eventName() string          { return "renamed" }
func (PositionRecorded) eventName() string        { return "position_recorded" }
func (CorporateActionRecorded) eventName() string { return "corporate_action_recorded" }
func (DomicileRecorded) eventName() string        { return "domicile_recorded" }

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

// open tells of what blocks closing.
func (p Position) open() bool { return !p.Quantity.IsZero() || !p.PendingSettlement.IsZero() }

// CorporateAction is a corporate action, as last recorded.
type CorporateAction struct {
	ISIN     string
	Status   CorporateActionStatus
	Revision int64
}

func (c CorporateAction) expected() bool { return c.Status == CorporateActionExpected }

// Account is the state of one account.
type Account struct {
	Lifecycle
	ID      string
	GroupID string
	Type    AccountType
	Name    string
	Number  int
	Users   []Party
	// Domicile is that of the group, as last recorded; "" before closing was asked for, and for none.
	Domicile string

	// openedName and openedActive are what an open that comes again is compared with.
	openedName   string
	openedActive bool

	positions        map[string]Position
	corporateActions map[string]CorporateAction
	orders           map[string]Order
	liquidations     map[string]Liquidation
	// borrowed tells which of them are those of another state, too: see own.
	borrowed struct{ positions, corporateActions, orders, liquidations bool }
}

// NewAccount gives an account that has not been opened.
func NewAccount(id string) *Account {
	return &Account{
		ID: id, positions: map[string]Position{}, corporateActions: map[string]CorporateAction{},
		orders: map[string]Order{}, liquidations: map[string]Liquidation{},
	}
}

// Kind is KindAccount.
func (a *Account) Kind() Kind { return KindAccount }

// AggregateID is the account's id.
func (a *Account) AggregateID() string { return a.ID }

// Copy shares nothing that Apply changes.
func (a *Account) Copy() Aggregate { return a.copy() }

func (a *Account) copy() *Account {
	c := a.fork()
	c.Lifecycle = a.copyLifecycle()
	own(&c.positions, &c.borrowed.positions)
	own(&c.corporateActions, &c.borrowed.corporateActions)
	own(&c.orders, &c.borrowed.orders)
	own(&c.liquidations, &c.borrowed.liquidations)
	return c
}

// fork is a copy that shares with the account whatever nobody changes: the account itself MUST NOT be, from then on.
func (a *Account) fork() *Account {
	c := *a
	c.forkLifecycle()
	c.borrowed.positions, c.borrowed.corporateActions, c.borrowed.orders, c.borrowed.liquidations = true, true, true, true
	return &c
}

// Blockers are the unmet exit conditions at a time, in a fixed order.
func (a *Account) Blockers(now time.Time) []Blocker { return a.blockers(a.Domicile, now) }

func (a *Account) blockers(domicile string, now time.Time) []Blocker {
	s := survey{standing: a.standing, inFull: true}
	a.survey(&s, domicile, now)
	return s.blockers
}

// survey goes through the exit conditions.
func (a *Account) survey(s *survey, domicile string, now time.Time) {
	if a.phase == StatusClosed {
		return
	}
	among(s, OpenPositions, a.positions, Position.open, Position.item, strings.Compare)
	among(s, ExpectedCorporateActions, a.corporateActions, CorporateAction.expected, CorporateAction.item, strings.Compare)
	among(s, OpenOrders, a.orders, a.waitsFor, Order.item, strings.Compare)
	if due := a.eligibleAt(domicile, now); due != nil && now.Before(*due) {
		from, stands := a.standing[TaxYearEndBlocker]
		if !stands {
			from = now // the preview of a request that would be made now
		}
		s.add(TaxYearEndBlocker, from, []Item{})
	}
	a.surveyLock(s)
}

// unmet are the codes of the exit conditions that are not met at a time, put behind codes.
func (a *Account) unmet(codes []BlockerCode, now time.Time) []BlockerCode {
	s := survey{codes: codes}
	a.survey(&s, a.Domicile, now)
	return s.codes
}

// done tells that nothing stands against closing.
func (a *Account) done(now time.Time) bool {
	var room [most]BlockerCode
	return len(a.unmet(room[:0], now)) == 0
}

// eligibleAt is the first instant at which a date rule lets the account close: of a request, or before it of one that would
// be made now. nil without such a rule.
func (a *Account) eligibleAt(domicile string, now time.Time) *time.Time {
	if domicile != domicileUK {
		return nil
	}
	from := now
	if a.requestedAt != nil {
		from = *a.requestedAt
	}
	due := TaxYearEnd(from)
	return &due
}

// EligibleAt is the first instant at which a date rule lets the account close that was asked to; nil without such a rule.
func (a *Account) EligibleAt() *time.Time {
	if a.requestedAt == nil {
		return nil
	}
	return a.eligibleAt(a.Domicile, *a.requestedAt)
}

func (p Position) item(isin string) Item {
	return Item{ISIN: isin, Quantity: p.Quantity, PendingSettlement: p.PendingSettlement}
}

func (c CorporateAction) item(id string) Item {
	return Item{ID: id, ISIN: c.ISIN, Status: string(c.Status)}
}

// Closure is the checklist. Before closing was asked for it is a preview: with the withdrawals that would refuse it, and by
// the domicile that the group has now.
func (a *Account) Closure(o Outlook) Closure {
	domicile := a.Domicile
	if a.requestedAt == nil {
		domicile = o.Domicile
	}
	blockers := a.blockers(domicile, o.Now)
	if o.Withdrawals != nil && a.requestedAt == nil {
		blockers = append([]Blocker{*o.Withdrawals}, blockers...)
	}
	c := a.closure(blockers)
	c.NextEligibleAt = a.eligibleAt(domicile, o.Now)
	return c
}

// Evolve

// Apply folds one commit into the state.
func (a *Account) Apply(m Meta, events []Event) {
	a.finish(m, events, a.evolveAll(m, events))
}

// evolveAll folds events one after the other; areFacts tells that all of them are.
func (a *Account) evolveAll(m Meta, events []Event) (areFacts bool) {
	areFacts = true
	for _, e := range events {
		areFacts = a.evolve(m, e) && areFacts
	}
	return areFacts
}

// finish a commit whose events are folded.
func (a *Account) finish(m Meta, events []Event, areFacts bool) {
	if len(events) == 0 || !a.Exists() {
		return
	}
	if _, ok := events[0].(AccountOpened); ok {
		a.openedActive = a.phase != StatusPendingApproval
	}
	a.remember(m.CommandID, areFacts)
	var room [most]BlockerCode
	a.stand(a.unmet(room[:0], m.Time), m.Time)
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
		own(&a.positions, &a.borrowed.positions)[e.ISIN] = Position{e.Quantity, e.PendingSettlement, e.Revision}
		return true
	case CorporateActionRecorded:
		own(&a.corporateActions, &a.borrowed.corporateActions)[e.CorporateActionID] = CorporateAction{e.ISIN, e.Status, e.Revision}
		return true
	case DomicileRecorded:
		a.Domicile = e.Domicile
		return true
	case OrderPlaced:
		a.orderPlaced(m, e)
		return true
	case OrderRecorded:
		a.orderRecorded(m, e)
		return true
	case OrderCancellationRequested:
		a.cancellationRequested(e)
		return true
	case LiquidationRequested:
		a.liquidationRequested(m, e)
		return true
	case LiquidationProcessing:
		a.liquidationMoved(m, e.LiquidationID, LiquidationInProcess)
		return true
	case LiquidationFilled:
		a.liquidationMoved(m, e.LiquidationID, LiquidationAllFilled)
		return true
	case LiquidationSettled:
		a.liquidationMoved(m, e.LiquidationID, LiquidationAllSettled)
		return true
	case LiquidationCancelled:
		a.liquidationMoved(m, e.LiquidationID, LiquidationTakenBack)
		return true
	default:
		return a.Lifecycle.evolve(m, e)
	}
	return false
}

// Decide

// Decide answers a command. It does not change the account.
func (a *Account) Decide(c Command) ([]Event, error) {
	events, _, err := a.DecideNext(c)
	return events, err
}

// DecideNext is Decide with the state that the events lead to.
func (a *Account) DecideNext(c Command) ([]Event, Aggregate, error) {
	events, err := a.answer(c)
	if err != nil || len(events) == 0 {
		return nil, nil, err
	}
	m, next := c.Meta(), a.fork()
	areFacts := next.evolveAll(m, events)
	follow := func(more []Event) {
		areFacts = next.evolveAll(m, more) && areFacts
		events = append(events, more...)
	}
	if _, reviewed := events[0].(Closed); !reviewed {
		follow(next.liquidate(events))
	}
	// A CLOSING account closes itself in the commit that clears the last blocker.
	if next.closing() && next.done(m.Time) {
		follow([]Event{Closed{}})
	}
	next.finish(m, events, areFacts)
	return events, next, nil
}

// answer is what the command itself asks for.
func (a *Account) answer(c Command) ([]Event, error) {
	if open, ok := c.Payload.(*OpenAccount); ok {
		return a.open(c, open)
	}
	if !a.Exists() || a.ClientID != c.ClientID {
		return nil, Missing(KindAccount, a.ID)
	}
	if a.knows(c.ID) {
		return nil, nil
	}
	if reviews(c) && a.closing() && a.done(c.Time) {
		return []Event{Closed{}}, nil
	}
	return a.decide(c)
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

func (a *Account) decide(c Command) ([]Event, error) {
	if events, err, ok := a.Lifecycle.decide(c); ok {
		return events, err
	}
	switch p := c.Payload.(type) {
	case *RenameAccount:
		return a.rename(p)
	case *RecordPosition:
		return a.recordPosition(p)
	case *RecordCorporateAction:
		return a.recordCorporateAction(p)
	case *PlaceOrder:
		return a.placeOrder(p)
	case *RecordOrder:
		return a.recordOrder(p)
	case *RequestLiquidation:
		return a.requestLiquidation(p)
	case *CancelLiquidation:
		return a.cancelLiquidation(p)
	case *RecordDomicile:
		if p.AccountGroupID != a.GroupID {
			return nil, nil
		}
		return a.recordDomicile(p.Domicile), nil
	case *RequestAccountClosure:
		return a.requestClosure(p)
	}
	return nil, unknownCommand(KindAccount, c.Payload)
}

// requestClosure also asks for the cancellation of open BUY orders: what they buy would have to be sold again.
func (a *Account) requestClosure(p *RequestAccountClosure) ([]Event, error) {
	if proceed, err := a.enterClosing(p.Withdrawals); err != nil || !proceed {
		return nil, err
	}
	events := append(a.recordDomicile(p.Domicile), ClosingInitiated{})
	return append(events, a.cancelOpen(func(o Order) bool { return o.Side == Buy })...), nil
}

// recordDomicile is recorded before closing is asked for, too: a request that was decided on the former domicile is then
// refused by its guard, and decided anew.
func (a *Account) recordDomicile(domicile string) []Event {
	if a.phase == StatusClosed || domicile == a.Domicile {
		return nil
	}
	return []Event{DomicileRecorded{Domicile: domicile}}
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
	now := Position{e.Quantity, e.PendingSettlement, e.Revision}
	return a.reconcile([]Event{e}, a.ID, OpenPositions, now.open(), now.item(e.ISIN), e.Revision), nil
}

func (a *Account) recordCorporateAction(p *RecordCorporateAction) ([]Event, error) {
	if !newer(p.Revision, a.corporateActions[p.CorporateActionID].Revision) {
		return nil, nil
	}
	e := CorporateActionRecorded(*p)
	now := CorporateAction{e.ISIN, e.Status, e.Revision}
	return a.reconcile([]Event{e}, a.ID, ExpectedCorporateActions, now.expected(), now.item(e.CorporateActionID), e.Revision), nil
}
