package domain

import "time"

// A closure that does not come to its end is reported to the operators, with its blockers, again and again.

// ClosureStalled says that a closure is still in progress after so many periods. What blocks it is in the state.
type ClosureStalled struct {
	// Number is after how many periods, from 1. It grows with each report of one closure, and leaves out what no engine was
	// there to report.
	Number int `json:"number"`
}

func (ClosureStalled) eventName() string { return "closure_stalled" }

type (
	// ReportStall asks the resource to report that its closure is still in progress, Number periods after it was asked for.
	// It is the engine's own, and comes from a timer.
	ReportStall struct {
		Number int
		Period time.Duration
	}
	// ReviewClosure asks whether the exit conditions hold by now. It is the engine's own, and comes from a timer.
	ReviewClosure struct{}
)

func (ReportStall) CommandName() string   { return "report_stall" }
func (ReviewClosure) CommandName() string { return "review_closure" }

// Validate refuses a number or a period that would report everything at once.
func (p ReportStall) Validate() error {
	if p.Number < 1 {
		return invalid("number", "must be 1 at least, got %d", p.Number)
	}
	if p.Period <= 0 {
		return invalid("period", "must be above zero, got %s", p.Period)
	}
	return nil
}

// Validate has nothing to refuse.
func (ReviewClosure) Validate() error { return nil }

// reviews tells of a command that a timer sends: it closes the resource whose last blocker has gone with the time alone.
func reviews(c Command) bool {
	switch c.Payload.(type) {
	case *ReviewClosure, *ReportStall:
		return true
	}
	return false
}

// reportStall checks the time itself: a timer may come early, twice, or for a closure that has ended since.
func (l *Lifecycle) reportStall(now time.Time, p *ReportStall) []Event {
	if !l.InProgress() || p.Number <= l.stalls || now.Before(StallDue(*l.requestedAt, p.Number, p.Period)) {
		return nil
	}
	return []Event{ClosureStalled{Number: p.Number}}
}

// StallDue is when the n-th report is due, of a closure that was asked for at a time.
func StallDue(requestedAt time.Time, n int, period time.Duration) time.Time {
	return requestedAt.Add(time.Duration(n) * period)
}
