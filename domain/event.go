package domain

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
)

// Event is a fact that was decided, in the past tense. The wire name is "<kind>.<name>", e.g. account.opened.
type Event interface {
	// eventName is the part of the wire name behind the kind.
	eventName() string
}

// The wire names. They are a storage format: a name or a field is never changed, a new shape gets a new version (upcast.go), and
// the golden files in testdata/events pin each of them.
const (
	EventAccountOpened                  = "account.opened"
	EventAccountActivated               = "account.activated"
	EventAccountLocked                  = "account.locked"
	EventAccountUnlocked                = "account.unlocked"
	EventAccountRenamed                 = "account.renamed"
	EventAccountPositionRecorded        = "account.position_recorded"
	EventAccountCorporateActionRecorded = "account.corporate_action_recorded"
	EventAccountClosingInitiated        = "account.closing_initiated"
	EventAccountClosed                  = "account.closed"
	EventAccountReconciliationRequired  = "account.reconciliation_required"
	EventAccountReconciliationSettled   = "account.reconciliation_settled"
	EventAccountClosureStalled          = "account.closure_stalled"
	EventAccountDomicileRecorded        = "account.domicile_recorded"

	EventOrderPlaced                = "account.order_placed"
	EventOrderRecorded              = "account.order_recorded"
	EventOrderCancellationRequested = "account.order_cancellation_requested"

	EventLiquidationRequested  = "account.liquidation_requested"
	EventLiquidationProcessing = "account.liquidation_processing"
	EventLiquidationFilled     = "account.liquidation_filled"
	EventLiquidationSettled    = "account.liquidation_settled"
	EventLiquidationCancelled  = "account.liquidation_cancelled"

	EventGroupOpened                 = "account_group.opened"
	EventGroupActivated              = "account_group.activated"
	EventGroupLocked                 = "account_group.locked"
	EventGroupUnlocked               = "account_group.unlocked"
	EventGroupAccountLinked          = "account_group.account_linked"
	EventGroupAccountLinkWithdrawn   = "account_group.account_link_withdrawn"
	EventGroupAccountClosureRecorded = "account_group.account_closure_recorded"
	EventGroupCashBalanceRecorded    = "account_group.cash_balance_recorded"
	EventGroupFeeCollectionRecorded  = "account_group.fee_collection_recorded"
	EventGroupWithdrawalRecorded     = "account_group.withdrawal_recorded"
	EventGroupClosureAnnounced       = "account_group.closure_announced"
	EventGroupClosingInitiated       = "account_group.closing_initiated"
	EventGroupClosed                 = "account_group.closed"
	EventGroupReconciliationRequired = "account_group.reconciliation_required"
	EventGroupReportCreated          = "account_group.report_created"
	EventGroupReconciliationSettled  = "account_group.reconciliation_settled"
	EventGroupClosureStalled         = "account_group.closure_stalled"
	EventGroupDomicileChanged        = "account_group.domicile_changed"
	EventGroupTaxBookingRecorded     = "account_group.tax_booking_recorded"
	EventGroupTaxStatementRequested  = "account_group.tax_statement_requested"

	EventUserGroupLinked          = "user.account_group_linked"
	EventUserGroupLinkWithdrawn   = "user.account_group_link_withdrawn"
	EventUserGroupClosureRecorded = "user.account_group_closure_recorded"
	EventUserTaxStatementRecorded = "user.tax_statement_recorded"
	EventUserOffboardingInitiated = "user.offboarding_initiated"
	EventUserOffboarded           = "user.offboarded"
)

// prototypes read the current version of each event, by its wire name. What was before it is in upcast.go.
var prototypes = map[string]reader{
	EventAccountOpened:                  decode[AccountOpened],
	EventAccountActivated:               decode[Activated],
	EventAccountLocked:                  decode[LockApplied],
	EventAccountUnlocked:                decode[Unlocked],
	EventAccountRenamed:                 decode[AccountRenamed],
	EventAccountPositionRecorded:        decode[PositionRecorded],
	EventAccountCorporateActionRecorded: decode[CorporateActionRecorded],
	EventAccountClosingInitiated:        decode[ClosingInitiated],
	EventAccountClosed:                  decode[Closed],
	EventAccountReconciliationRequired:  decode[ReconciliationRequired],
	EventAccountReconciliationSettled:   decode[ReconciliationSettled],
	EventAccountClosureStalled:          decode[ClosureStalled],
	EventAccountDomicileRecorded:        decode[DomicileRecorded],

	EventOrderPlaced:                decode[OrderPlaced],
	EventOrderRecorded:              decode[OrderRecorded],
	EventOrderCancellationRequested: decode[OrderCancellationRequested],

	EventLiquidationRequested:  decode[LiquidationRequested],
	EventLiquidationProcessing: decode[LiquidationProcessing],
	EventLiquidationFilled:     decode[LiquidationFilled],
	EventLiquidationSettled:    decode[LiquidationSettled],
	EventLiquidationCancelled:  decode[LiquidationCancelled],

	EventGroupOpened:                 decode[AccountGroupOpened],
	EventGroupActivated:              decode[Activated],
	EventGroupLocked:                 decode[LockApplied],
	EventGroupUnlocked:               decode[Unlocked],
	EventGroupAccountLinked:          decode[AccountLinked],
	EventGroupAccountLinkWithdrawn:   decode[AccountLinkWithdrawn],
	EventGroupAccountClosureRecorded: decode[AccountClosureRecorded],
	EventGroupCashBalanceRecorded:    decode[CashBalanceRecorded],
	EventGroupFeeCollectionRecorded:  decode[FeeCollectionRecorded],
	EventGroupWithdrawalRecorded:     decode[WithdrawalRecorded],
	EventGroupClosureAnnounced:       decode[ClosureAnnounced],
	EventGroupClosingInitiated:       decode[ClosingInitiated],
	EventGroupClosed:                 decode[Closed],
	EventGroupReconciliationRequired: decode[ReconciliationRequired],
	EventGroupReportCreated:          decode[ReportCreated],
	EventGroupReconciliationSettled:  decode[ReconciliationSettled],
	EventGroupClosureStalled:         decode[ClosureStalled],
	EventGroupDomicileChanged:        decode[DomicileChanged],
	EventGroupTaxBookingRecorded:     decode[TaxBookingRecorded],
	EventGroupTaxStatementRequested:  decode[TaxStatementRequested],

	EventUserGroupLinked:          decode[GroupLinked],
	EventUserGroupLinkWithdrawn:   decode[GroupLinkWithdrawn],
	EventUserGroupClosureRecorded: decode[GroupClosureRecorded],
	EventUserTaxStatementRecorded: decode[TaxStatementRecorded],
	EventUserOffboardingInitiated: decode[OffboardingInitiated],
	EventUserOffboarded:           decode[Offboarded],
}

// ErrUnknownEvent means that the log holds an event, or a version of one, that this version of the engine does not know. The
// reader of that aggregate MUST stop there, and not skip it: a state folded around a gap would be a lie. It goes on with a
// version of the engine that knows the event.
var ErrUnknownEvent = errors.New("unknown event")

// EventTypes lists every wire name, sorted.
func EventTypes() []string { return slices.Sorted(maps.Keys(prototypes)) }

// EventType is the wire name of an event of an aggregate of the kind.
func EventType(kind Kind, e Event) string { return string(kind) + "." + e.eventName() }

// EventVersion is the version in which events with the wire name are written: each has its own. 0 is for a name that there is not.
func EventVersion(name string) int { return len(readers[name]) }

// EncodeEvent gives the data of an event as it is stored, in its current version.
func EncodeEvent(e Event) ([]byte, error) { return json.Marshal(e) }

// DecodeEvent reads a stored event of any version that was ever written, and gives it as it is today. A name or version that
// it does not know is ErrUnknownEvent, never skipped. A member that the version does not have is an error, too.
func DecodeEvent(name string, version int, data []byte) (Event, error) {
	read, err := readerOf(readers, name, version)
	if err != nil {
		return nil, err
	}
	e, err := read(data)
	if err != nil {
		return nil, fmt.Errorf("event %s version %d: %w", name, version, err)
	}
	return e, nil
}

// The events that accounts and account groups share.
type (
	// Activated made the resource ACTIVE.
	Activated struct{}
	// LockApplied laid a lock over the resource.
	LockApplied struct{}
	// Unlocked took the lock away.
	Unlocked struct{}
	// ClosingInitiated started the closure. The actor of its commit is who asked.
	ClosingInitiated struct {
		ClosureReason ClosureReason `json:"closure_reason,omitempty"`
	}
	// Closed ended the closure: it stands in the same commit as what cleared the last blocker.
	Closed struct{}
	// ReconciliationRequired says that a fact came after CLOSED that would have blocked it.
	ReconciliationRequired struct {
		ReconciliationID string      `json:"reconciliation_id"`
		Blocker          BlockerCode `json:"blocker"`
		Item             Item        `json:"item"`
	}
)

func (Activated) eventName() string              { return "activated" }
func (LockApplied) eventName() string            { return "locked" }
func (Unlocked) eventName() string               { return "unlocked" }
func (ClosingInitiated) eventName() string       { return "closing_initiated" }
func (Closed) eventName() string                 { return "closed" }
func (ReconciliationRequired) eventName() string { return "reconciliation_required" }
