package domain

import "slices"

// ReconciliationSettled says that somebody has dealt with what came after CLOSED. Who it was is the actor of its commit.
type ReconciliationSettled struct {
	ReconciliationID string `json:"reconciliation_id"`
	Note             string `json:"note"`
}

func (ReconciliationSettled) eventName() string { return "reconciliation_settled" }

// SettleReconciliation marks what came after CLOSED as dealt with: it leaves the checklist, and stays in the history.
type SettleReconciliation struct {
	ReconciliationID string `json:"reconciliation_id"`
	// Note says how it was settled, for whoever reads the history: 1 to 1000 characters.
	Note string `json:"note"`
}

func (SettleReconciliation) CommandName() string { return "settle_reconciliation" }

const maxNote = 1000

// Validate refuses an id that is none, and a settlement that does not say how.
func (p SettleReconciliation) Validate() error {
	return checks(checkID("reconciliation_id", p.ReconciliationID), checkText("note", p.Note, maxNote))
}

func (l *Lifecycle) settleReconciliation(p *SettleReconciliation) ([]Event, error) {
	if slices.Contains(l.settled, p.ReconciliationID) {
		return nil, nil
	}
	if !slices.ContainsFunc(l.reconciliations, func(r Reconciliation) bool { return r.ID == p.ReconciliationID }) {
		return nil, &Refusal{Kind: NotFound, Detail: "reconciliation_id: there is nothing to settle with the id " + p.ReconciliationID}
	}
	return []Event{ReconciliationSettled(*p)}, nil
}

// settle takes it off the checklist.
func (l *Lifecycle) settle(id string) {
	l.settled = append(l.settled, id)
	l.reconciliations = slices.DeleteFunc(slices.Clone(l.reconciliations), func(r Reconciliation) bool { return r.ID == id })
	if len(l.reconciliations) == 0 {
		l.reconciliations = nil
	}
}
