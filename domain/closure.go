package domain

import "time"

// Closure is the checklist of a resource's closing: how far it is, and what still stands against it. On an
// ACTIVE resource it is the preview of what would refuse or block. What is absent is null or [].
type Closure struct {
	Status         Status           `json:"status" doc:"The resource's status." enum:"PENDING_APPROVAL,ACTIVE,CLOSING,CLOSED,LOCKED"`
	RequestedAt    *time.Time       `json:"requested_at" doc:"When closing was asked for (UTC)."`
	Reason         *ClosureReason   `json:"reason" doc:"The closure reason that was given."`
	RequestedBy    *string          `json:"requested_by" doc:"Who asked."`
	AnnouncedAt    *time.Time       `json:"announced_at" doc:"When the closing was announced without being started (UTC)."`
	NextEligibleAt *time.Time       `json:"next_eligible_at" doc:"The first instant at which a date rule lets the resource close (UTC); null without such a rule."`
	ClosedAt       *time.Time       `json:"closed_at" doc:"When the resource became CLOSED (UTC)."`
	Blockers       []Blocker        `json:"blockers" doc:"What stands against closing."`
	Reconciliation []Reconciliation `json:"reconciliation" doc:"What came after CLOSED and would have blocked it."`
}

// closure builds the checklist from the lifecycle and what blocks.
func (l *Lifecycle) closure(blockers []Blocker) Closure {
	c := Closure{
		Status:         l.Status(),
		RequestedAt:    l.requestedAt,
		AnnouncedAt:    l.announcedAt,
		ClosedAt:       l.closedAt,
		Blockers:       append([]Blocker{}, blockers...),
		Reconciliation: append([]Reconciliation{}, l.reconciliations...),
	}
	// Copies, so that a checklist that was handed out does not change with the aggregate.
	if reason := l.reason; reason != "" {
		c.Reason = &reason
	}
	if actor := l.requestedBy; actor != "" {
		c.RequestedBy = &actor
	}
	return c
}
