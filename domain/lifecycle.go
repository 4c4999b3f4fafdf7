package domain

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Aggregate is an account, an account group or a user: a state that answers commands with events.
type Aggregate interface {
	Kind() Kind
	AggregateID() string
	Exists() bool
	Client() string
	// Decide MUST NOT change the aggregate. No events and no error mean "already so". An error is a *Refusal.
	Decide(Command) ([]Event, error)
	// DecideNext is Decide with the state that the events lead to: what Apply makes of a copy, for the price of what differs. The
	// two states share the rest, so from then on the aggregate MUST NOT be changed; next may be. Without events next is nil.
	DecideNext(Command) (events []Event, next Aggregate, err error)
	// Apply folds one commit into the state. It changes the aggregate in place.
	Apply(Meta, []Event)
	// Copy shares nothing that Apply changes.
	Copy() Aggregate
}

// Closable is an aggregate that can be closed: an account or an account group.
type Closable interface {
	Aggregate
	// Status is what clients see.
	Status() Status
	// Closure is the checklist at a time.
	Closure(Outlook) Closure
	// RequestedAt is when closing was asked for; nil before.
	RequestedAt() *time.Time
	// LastChange is the time of the last commit.
	LastChange() time.Time
}

// Outlook is what a checklist needs beside its aggregate.
type Outlook struct {
	// Now is the time for which it is made.
	Now time.Time
	// Withdrawals is what an account's group has outstanding; nil for nothing. Domicile is the group's. Both count only
	// while closing was not asked for.
	Withdrawals *Blocker
	Domicile    string
}

// New gives an aggregate that has not been opened.
func New(ref Ref) Aggregate {
	switch ref.Kind {
	case KindAccountGroup:
		return NewAccountGroup(ref.ID)
	case KindUser:
		return NewUser(ref.ID)
	}
	return NewAccount(ref.ID)
}

// Reconciliation is something that came after CLOSED and would have blocked it. Somebody has to settle it.
type Reconciliation struct {
	ID         string      `json:"id" doc:"Stable id (uuid), derived from what came." format:"uuid"`
	Code       BlockerCode `json:"code" doc:"The blocker that it would have been."`
	Item       Item        `json:"item" doc:"What came."`
	ReceivedAt time.Time   `json:"received_at" doc:"When it was recorded (UTC)."`
}

// Client is the tenant that the aggregate belongs to; "" before it is opened.
func (l *Lifecycle) Client() string { return l.ClientID }

// copyLifecycle shares nothing that evolving changes. Pointers to times are replaced, never written through.
func (l Lifecycle) copyLifecycle() Lifecycle {
	l.standing = maps.Clone(l.standing)
	l.reconciliations, l.settled = slices.Clone(l.reconciliations), slices.Clone(l.settled)
	l.recent, l.recentFacts = slices.Clone(l.recent), slices.Clone(l.recentFacts)
	l.borrowedMemory = false
	return l
}

// forkLifecycle is for a copy that shares with its original what is not changed: an append moves the slice, and does not write into
// the room behind it.
func (l *Lifecycle) forkLifecycle() {
	l.reconciliations, l.settled = slices.Clip(l.reconciliations), slices.Clip(l.settled)
	l.borrowedMemory = true
}

// own gives a map that may be changed: one that is borrowed from another state is copied before.
func own[V any](m *map[string]V, borrowed *bool) map[string]V {
	if *borrowed {
		*m, *borrowed = maps.Clone(*m), false
	}
	return *m
}

// evolve folds the events that both aggregates share. isFact tells that the event is a fact, or only follows from what
// stands beside it in its commit: the command behind it is idempotent by its content.
func (l *Lifecycle) evolve(m Meta, e Event) (isFact bool) {
	at := m.Time
	switch e := e.(type) {
	case Activated:
		l.phase, l.UpdatedAt = StatusActive, at
	case LockApplied:
		l.locked, l.UpdatedAt = true, at
	case Unlocked:
		l.locked, l.UpdatedAt = false, at
	case ClosureAnnounced:
		l.announcedAt, l.reason = &at, e.ClosureReason
	case ClosingInitiated:
		l.phase, l.UpdatedAt = StatusClosing, at
		l.requestedAt, l.requestedBy, l.reason = &at, strings.Clone(m.Actor), e.ClosureReason
	case Closed:
		l.phase, l.closedAt, l.UpdatedAt = StatusClosed, &at, at
		return true
	case ClosureStalled:
		l.stalls = e.Number
		return true
	case ReconciliationSettled:
		l.settle(e.ReconciliationID)
		return true
	case ReconciliationRequired:
		l.reconciliations = append(l.reconciliations, Reconciliation{ID: e.ReconciliationID, Code: e.Blocker, Item: e.Item, ReceivedAt: at})
		return true
	}
	return false
}

// opened starts the life of the aggregate. An ACTIVE opening is followed by Activated in the same commit.
func (l *Lifecycle) opened(m Meta) {
	// A text of its own: that of a commit may be a part of a larger one, which the state would keep.
	l.ClientID = strings.Clone(m.ClientID)
	l.CreatedAt, l.UpdatedAt, l.phase = m.Time, m.Time, StatusPendingApproval
}

// decide answers the commands that both aggregates share; ok is false for any other.
func (l *Lifecycle) decide(c Command) (events []Event, err error, ok bool) {
	switch p := c.Payload.(type) {
	case *Activate:
		events, err = l.activate()
	case *Lock:
		events, err = l.lock()
	case *Unlock:
		events, err = l.unlock()
	case *SettleReconciliation:
		events, err = l.settleReconciliation(p)
	case *ReportStall:
		events = l.reportStall(c.Time, p)
	case *ReviewClosure:
		// Whether the exit conditions hold is asked at the end of every decision.
	default:
		return nil, nil, false
	}
	return events, err, true
}

func (l *Lifecycle) activate() ([]Event, error) {
	switch l.Status() {
	case StatusPendingApproval:
		return []Event{Activated{}}, nil
	case StatusActive:
		return nil, nil
	}
	return nil, l.notIn("activate", StatusPendingApproval)
}

func (l *Lifecycle) lock() ([]Event, error) {
	switch l.Status() {
	case StatusLocked:
		return nil, nil
	case StatusClosed:
		return nil, l.notIn("lock", StatusPendingApproval, StatusActive, StatusClosing)
	}
	return []Event{LockApplied{}}, nil
}

func (l *Lifecycle) unlock() ([]Event, error) {
	switch l.Status() {
	case StatusLocked:
		return []Event{Unlocked{}}, nil
	case StatusClosed:
		return nil, l.notIn("unlock", StatusLocked)
	}
	return nil, nil
}

// notIn is the conflict of a command that the present status does not allow.
func (l *Lifecycle) notIn(command string, allowed ...Status) error {
	return conflict("the status is %s; %s is possible in %s", l.Status(), command, list(allowed))
}

// enterClosing holds the entry rules of a close request, for the account and the group alike. proceed is false
// when there is nothing to do: the resource is CLOSING already, so the retry after a lost answer is safe.
func (l *Lifecycle) enterClosing(withdrawals *Blocker) (proceed bool, err error) {
	switch l.Status() {
	case StatusClosing:
		return false, nil
	case StatusActive:
		if withdrawals != nil {
			return false, withdrawals.refuse()
		}
		return true, nil
	case StatusLocked:
		return false, &Refusal{Kind: Conflict, Detail: "the status is LOCKED; closing is possible in ACTIVE", Blockers: l.lockedBlocker()}
	}
	return false, l.notIn("closing", StatusActive)
}

// reconcile adds what a fact after CLOSED requires: the events, and a call to settle what would have blocked.
func (l *Lifecycle) reconcile(events []Event, aggregate string, code BlockerCode, blocks bool, item Item, revision int64) []Event {
	if l.phase != StatusClosed || !blocks {
		return events
	}
	key := item.ID + item.ISIN + item.Currency
	id := DeriveID("reconciliation", aggregate, string(code), key, strconv.FormatInt(revision, 10))
	return append(events, ReconciliationRequired{ReconciliationID: id, Blocker: code, Item: item})
}

// unknownCommand is the refusal of a command that a kind does not have.
func unknownCommand(kind Kind, p Payload) error {
	return invalid("command", "%s has no command %s; it has %s", kind.WithArticle(), Quote(p.CommandName()), list(CommandNames(kind)))
}
