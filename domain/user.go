package domain

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Events

type (
	// GroupLinked told the user of an account group, before the group began. It carries what the group needs, so that an open
	// that a crash cut short can be finished. The first one began the user.
	GroupLinked struct {
		AccountGroupID string    `json:"account_group_id"`
		Users          []Party   `json:"users"`
		Type           GroupType `json:"type"`
		Domicile       string    `json:"domicile,omitempty"`
		TaxResidencies []string  `json:"tax_residencies"`
		Status         Status    `json:"status"`
	}
	// GroupLinkWithdrawn took the link back: the group exists already with other content.
	GroupLinkWithdrawn struct {
		AccountGroupID string `json:"account_group_id"`
	}
	// GroupClosureRecorded told the user that one of the groups is CLOSED, and of which year the user will get an annual tax
	// statement; 0 for none.
	GroupClosureRecorded struct {
		AccountGroupID   string    `json:"account_group_id"`
		ClosedAt         time.Time `json:"closed_at"`
		TaxStatementYear int       `json:"tax_statement_year,omitempty"`
	}
	// TaxStatementRecorded told the user that the annual tax statement of a closed group was made.
	TaxStatementRecorded struct {
		AccountGroupID string `json:"account_group_id"`
	}
	// OffboardingInitiated started the offboarding. The actor of its commit is who asked.
	OffboardingInitiated struct{}
	// Offboarded ended the relation with the user. The history stays.
	Offboarded struct{}
)

func (GroupLinked) eventName() string          { return "account_group_linked" }
func (GroupLinkWithdrawn) eventName() string   { return "account_group_link_withdrawn" }
func (GroupClosureRecorded) eventName() string { return "account_group_closure_recorded" }
func (TaxStatementRecorded) eventName() string { return "tax_statement_recorded" }
func (OffboardingInitiated) eventName() string { return "offboarding_initiated" }
func (Offboarded) eventName() string           { return "offboarded" }

// State

// UserStatus is what clients see of a user.
type UserStatus string

// The statuses of a user. OFFBOARDED is final.
const (
	UserActive      UserStatus = "ACTIVE"
	UserOffboarding UserStatus = "OFFBOARDING"
	UserOffboarded  UserStatus = "OFFBOARDED"
)

// UserGroup is what a user knows of an account group.
type UserGroup struct {
	Opening GroupLinked
	// ClosedAt is when the group became CLOSED; nil while it is open, or not begun.
	ClosedAt *time.Time
	// TaxStatementYear is the year of the tax statement that the user will get, or has got; 0 for none.
	TaxStatementYear int
	TaxStatementMade bool
}

func (g UserGroup) open() bool { return g.ClosedAt == nil }

// pending tells that nothing but the statement of the group is left to wait for.
func (g UserGroup) pending() bool { return !g.open() && g.statementPending() }

func (g UserGroup) item(id string) Item { return Item{ID: id} }

func (g UserGroup) statementPending() bool { return g.TaxStatementYear != 0 && !g.TaxStatementMade }

// User is the state of one user.
type User struct {
	ID                   string
	ClientID             string
	CreatedAt, UpdatedAt time.Time

	status   UserStatus // "" before the first group
	groups   map[string]UserGroup
	standing map[BlockerCode]time.Time
	// borrowed tells that groups is that of another state, too: see own.
	borrowed bool
}

// NewUser gives a user who is in no group yet.
func NewUser(id string) *User { return &User{ID: id, groups: map[string]UserGroup{}} }

// Kind is KindUser.
func (u *User) Kind() Kind { return KindUser }

// AggregateID is the user's id.
func (u *User) AggregateID() string { return u.ID }

// Exists tells whether the user was ever in a group.
func (u *User) Exists() bool { return u.status != "" }

// Client is the tenant that the user belongs to; "" before the first group.
func (u *User) Client() string { return u.ClientID }

// Status is what clients see.
func (u *User) Status() UserStatus { return u.status }

// Copy shares nothing that Apply changes.
func (u *User) Copy() Aggregate { return u.copy() }

func (u *User) copy() *User {
	c := u.fork()
	c.standing = maps.Clone(u.standing)
	own(&c.groups, &c.borrowed)
	return c
}

// fork is a copy that shares with the user whatever nobody changes: the user itself MUST NOT be, from then on.
func (u *User) fork() *User {
	c := *u
	c.borrowed = true
	return &c
}

// Group is what the user knows of an account group; ok is false when the user does not know it.
func (u *User) Group(id string) (UserGroup, bool) {
	g, ok := u.groups[id]
	return g, ok
}

// LinkedAs tells whether the user knows an account group just as an open asks for it.
func (u *User) LinkedAs(groupID string, open *OpenAccountGroup) bool {
	g, ok := u.groups[groupID]
	return ok && g.sameAs(*open)
}

// Blockers are what stands against offboarding: the first refuses it, the second delays its end.
func (u *User) Blockers() []Blocker {
	s := survey{standing: u.standing, inFull: true}
	u.survey(&s)
	return s.blockers
}

// survey goes through the conditions of the end.
func (u *User) survey(s *survey) {
	if u.status == UserOffboarded {
		return
	}
	among(s, OpenAccountGroups, u.groups, UserGroup.open, UserGroup.item, strings.Compare)
	among(s, PendingTaxStatements, u.groups, UserGroup.pending, UserGroup.item, strings.Compare)
}

// unmet are the codes of the conditions that are not met, put behind codes.
func (u *User) unmet(codes []BlockerCode) []BlockerCode {
	s := survey{codes: codes}
	u.survey(&s)
	return s.codes
}

// done tells that nothing stands against the end.
func (u *User) done() bool {
	var room [most]BlockerCode
	return len(u.unmet(room[:0])) == 0
}

// Evolve

// Apply folds one commit into the state.
func (u *User) Apply(m Meta, events []Event) {
	u.evolveAll(m, events)
	u.finish(m)
}

func (u *User) evolveAll(m Meta, events []Event) {
	for _, e := range events {
		u.evolve(m, e)
	}
}

// finish a commit whose events are folded.
func (u *User) finish(m Meta) {
	var room [most]BlockerCode
	u.standing = since(u.standing, u.unmet(room[:0]), m.Time)
}

func (u *User) evolve(m Meta, e Event) {
	switch e := e.(type) {
	case GroupLinked:
		if !u.Exists() {
			u.ClientID = strings.Clone(m.ClientID) // that of a commit may be a part of a larger text
			u.CreatedAt, u.UpdatedAt, u.status = m.Time, m.Time, UserActive
		}
		own(&u.groups, &u.borrowed)[e.AccountGroupID] = UserGroup{Opening: e}
	case GroupLinkWithdrawn:
		delete(own(&u.groups, &u.borrowed), e.AccountGroupID)
	case GroupClosureRecorded:
		g := u.groups[e.AccountGroupID]
		g.ClosedAt, g.TaxStatementYear = &e.ClosedAt, e.TaxStatementYear
		own(&u.groups, &u.borrowed)[e.AccountGroupID] = g
	case TaxStatementRecorded:
		g := u.groups[e.AccountGroupID]
		g.TaxStatementMade = true
		own(&u.groups, &u.borrowed)[e.AccountGroupID] = g
	case OffboardingInitiated:
		u.status, u.UpdatedAt = UserOffboarding, m.Time
	case Offboarded:
		u.status, u.UpdatedAt = UserOffboarded, m.Time
	}
}

// Decide

// RequestOffboarding asks to end the relation with the user.
type RequestOffboarding struct{}

// The engine's own commands between aggregates. They are refused from outside (NewPayload does not know them).
type (
	// LinkGroup tells the user of an account group that is about to be opened.
	LinkGroup struct {
		AccountGroupID string
		Open           OpenAccountGroup
	}
	// WithdrawGroupLink takes the link back, when the group turned out to exist with other content.
	WithdrawGroupLink struct {
		AccountGroupID string
	}
	// RecordGroupClosure tells the user that one of the groups is CLOSED. TaxStatementYear is 0 for a user who gets none.
	RecordGroupClosure struct {
		AccountGroupID   string
		ClosedAt         time.Time
		TaxStatementYear int
	}
	// RecordTaxStatement tells the user that the annual tax statement of a closed group was made.
	RecordTaxStatement struct {
		AccountGroupID string
	}
)

func (RequestOffboarding) CommandName() string { return "request_offboarding" }
func (LinkGroup) CommandName() string          { return "link_account_group" }
func (WithdrawGroupLink) CommandName() string  { return "withdraw_account_group_link" }
func (RecordGroupClosure) CommandName() string { return "record_account_group_closure" }
func (RecordTaxStatement) CommandName() string { return "record_tax_statement" }

// Validate has nothing to refuse: the request has no fields.
func (RequestOffboarding) Validate() error { return nil }

// Validate checks the group as its own open would, since the link comes first.
func (p LinkGroup) Validate() error {
	return checks(checkID("account_group_id", p.AccountGroupID), p.Open.Validate())
}

// Validate refuses an id that is none.
func (p WithdrawGroupLink) Validate() error { return checkID("account_group_id", p.AccountGroupID) }

// Validate refuses an id that is none, and a closing without its time.
func (p RecordGroupClosure) Validate() error {
	if p.ClosedAt.IsZero() {
		return checks(checkID("account_group_id", p.AccountGroupID), invalid("closed_at", "must be the time at which the account group became CLOSED"))
	}
	return checkID("account_group_id", p.AccountGroupID)
}

// Validate refuses an id that is none.
func (p RecordTaxStatement) Validate() error { return checkID("account_group_id", p.AccountGroupID) }

// Decide answers a command. It does not change the user.
func (u *User) Decide(c Command) ([]Event, error) {
	events, _, err := u.DecideNext(c)
	return events, err
}

// DecideNext is Decide with the state that the events lead to.
func (u *User) DecideNext(c Command) ([]Event, Aggregate, error) {
	events, err := u.answer(c)
	if err != nil || len(events) == 0 {
		return nil, nil, err
	}
	m, next := c.Meta(), u.fork()
	next.evolveAll(m, events)
	// An OFFBOARDING user is OFFBOARDED in the commit that clears the last blocker.
	if next.status == UserOffboarding && next.done() {
		next.evolve(m, Offboarded{})
		events = append(events, Offboarded{})
	}
	next.finish(m)
	return events, next, nil
}

// answer is what the command itself asks for.
func (u *User) answer(c Command) ([]Event, error) {
	if link, ok := c.Payload.(*LinkGroup); ok {
		return u.link(c, link)
	}
	if !u.Exists() || u.ClientID != c.ClientID {
		return nil, Missing(KindUser, u.ID)
	}
	return u.decide(c.Payload)
}

func (u *User) link(c Command, p *LinkGroup) ([]Event, error) {
	if u.Exists() && u.ClientID != c.ClientID {
		return nil, conflict("the user id %s is taken", u.ID)
	}
	if g, ok := u.groups[p.AccountGroupID]; ok {
		if g.sameAs(p.Open) {
			return nil, nil
		}
		return nil, conflict("the id %s is taken by an account group with other content", p.AccountGroupID)
	}
	if u.Exists() && u.status != UserActive {
		return nil, conflict("the user %s is %s: no account group is opened for the user any more", u.ID, u.status)
	}
	status := p.Open.Status
	if status == "" {
		status = StatusActive
	}
	return []Event{GroupLinked{
		AccountGroupID: p.AccountGroupID, Users: p.Open.Users, Type: p.Open.Type, Domicile: p.Open.Domicile,
		TaxResidencies: append([]string{}, p.Open.TaxResidencies...), Status: status,
	}}, nil
}

func (g UserGroup) sameAs(open OpenAccountGroup) bool {
	o := g.Opening
	return slices.Equal(o.Users, open.Users) && o.Type == open.Type && o.Domicile == open.Domicile &&
		slices.Equal(o.TaxResidencies, open.TaxResidencies) && (o.Status == StatusPendingApproval) == (open.Status == StatusPendingApproval)
}

func (u *User) decide(p Payload) ([]Event, error) {
	switch p := p.(type) {
	case *WithdrawGroupLink:
		if g, ok := u.groups[p.AccountGroupID]; !ok || g.ClosedAt != nil {
			return nil, nil
		}
		return []Event{GroupLinkWithdrawn(*p)}, nil
	case *RecordGroupClosure:
		g, ok := u.groups[p.AccountGroupID]
		if !ok {
			return nil, conflict("the account group %s is not one of the user", p.AccountGroupID)
		}
		if g.ClosedAt != nil {
			return nil, nil
		}
		return []Event{GroupClosureRecorded(*p)}, nil
	case *RecordTaxStatement:
		if g, ok := u.groups[p.AccountGroupID]; !ok || !g.statementPending() {
			return nil, nil
		}
		return []Event{TaxStatementRecorded(*p)}, nil
	case *RequestOffboarding:
		return u.requestOffboarding()
	}
	return nil, unknownCommand(KindUser, p)
}

func (u *User) requestOffboarding() ([]Event, error) {
	if u.status != UserActive {
		return nil, nil
	}
	if open := find(u.Blockers(), OpenAccountGroups); open != nil {
		return nil, open.refuse()
	}
	return []Event{OffboardingInitiated{}}, nil
}
