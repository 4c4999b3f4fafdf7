package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// Status is what clients see of an account or an account group.
type Status string

// The statuses. CLOSED is final.
const (
	StatusPendingApproval Status = "PENDING_APPROVAL"
	StatusActive          Status = "ACTIVE"
	StatusClosing         Status = "CLOSING"
	StatusClosed          Status = "CLOSED"
	StatusLocked          Status = "LOCKED"
)

// Statuses lists every status, in the order in which a resource meets them.
func Statuses() []Status {
	return []Status{StatusPendingApproval, StatusActive, StatusClosing, StatusClosed, StatusLocked}
}

// Lifecycle is the part of the state that accounts and account groups share: where they are on their way from
// opened to closed. A lock lies over the phase and does not change it, so a closure in progress survives.
type Lifecycle struct {
	ClientID  string
	CreatedAt time.Time
	// UpdatedAt is when the status or the name last changed.
	UpdatedAt time.Time

	phase       Status // PENDING_APPROVAL, ACTIVE, CLOSING or CLOSED; "" before it is opened
	locked      bool
	requestedAt *time.Time
	requestedBy string
	announcedAt *time.Time
	closedAt    *time.Time
	reason      ClosureReason
	// standing holds, for each blocker that stands, since when it has stood without a break.
	standing        map[BlockerCode]time.Time
	reconciliations []Reconciliation
	// settled are the ids of reconciliations that somebody has settled.
	settled []string
	// stalls is how often the closure in progress was reported as stalled.
	stalls int
	// changedAt is the time of the last commit.
	changedAt time.Time
	// recent and recentFacts are the ids of the last commands that changed the aggregate, oldest first. They are kept apart,
	// so that a flood of facts, whose revisions guard them anyway, does not push out the id of a lock.
	recent, recentFacts []commandKey
	// borrowedMemory tells that recent and recentFacts are those of another state, too.
	borrowedMemory bool
}

// remembered is how many ids of commands, and how many of facts, an aggregate remembers.
const remembered = 64

// Exists tells whether the aggregate has been opened.
func (l *Lifecycle) Exists() bool { return l.phase != "" }

// Status is the one word that clients see.
func (l *Lifecycle) Status() Status {
	if l.locked {
		return StatusLocked
	}
	return l.phase
}

// RequestedAt is when closing was asked for; nil before.
func (l *Lifecycle) RequestedAt() *time.Time { return l.requestedAt }

// ClosedAt is when the aggregate became CLOSED; nil before.
func (l *Lifecycle) ClosedAt() *time.Time { return l.closedAt }

// Reason is the closure reason that was given with the request or its announcement; "" for none.
func (l *Lifecycle) Reason() ClosureReason { return l.reason }

// RequestedBy is the actor of the request; "" before.
func (l *Lifecycle) RequestedBy() string { return l.requestedBy }

// AnnouncedAt is when the closure was announced without being started; nil when it was not.
func (l *Lifecycle) AnnouncedAt() *time.Time { return l.announcedAt }

// Reconciliations lists what came after CLOSED and would have blocked it.
func (l *Lifecycle) Reconciliations() []Reconciliation { return l.reconciliations }

// LastChange is the time of the last commit.
func (l *Lifecycle) LastChange() time.Time { return l.changedAt }

// InProgress tells whether closing was asked for, and has not come to its end; also under a lock.
func (l *Lifecycle) InProgress() bool { return l.phase == StatusClosing }

// Stalls is how often the closure in progress was reported as stalled.
func (l *Lifecycle) Stalls() int { return l.stalls }

// closing tells whether the aggregate may close itself once nothing blocks it.
func (l *Lifecycle) closing() bool { return l.phase == StatusClosing && !l.locked }

// knows tells whether a command with this id is among the last that changed the aggregate.
func (l *Lifecycle) knows(commandID string) bool {
	key := keyOf(commandID)
	return slices.Contains(l.recent, key) || slices.Contains(l.recentFacts, key)
}

// remember keeps the id of a command that changed the aggregate, and forgets the oldest one beyond the bound.
func (l *Lifecycle) remember(commandID string, isFact bool) {
	ids := &l.recent
	if isFact {
		ids = &l.recentFacts
	}
	kept := (*ids)[max(0, len(*ids)-remembered+1):]
	if l.borrowedMemory {
		*ids = append(make([]commandKey, 0, len(kept)+1), kept...)
	} else if len(kept) < len(*ids) {
		*ids = append((*ids)[:0], kept...) // moved to the front: the room stays
	}
	*ids = append(*ids, keyOf(commandID))
}

// commandKey is how an aggregate remembers the id of a command: the 16 bytes of a uuid.
type commandKey = uuid.UUID

// keyOf: every id of a command that was validated is a uuid in its stored form. What a log has from elsewhere is remembered by a
// uuid that follows from its text.
func keyOf(commandID string) commandKey {
	if key, ok := parseStored(commandID); ok {
		return key
	}
	return uuid.NewSHA1(namespace, []byte(commandID))
}
