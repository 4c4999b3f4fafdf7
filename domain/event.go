package domain

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Event is a fact that was decided, in the past tense. The wire name is "<kind>.<name>", e.g. account.opened.
type Event interface {
	// eventName is the part of the wire name behind the kind.
	eventName() string
}

// The wire names. They are a storage format: a name or a field is never changed, a new shape gets a new version, and
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

// prototypes decodes each event by its wire name; every one is at version 1.
var prototypes = map[string]func([]byte) (Event, error){
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

// ErrUnknownEvent means that the log holds an event this version does not know. The reader of that aggregate
// must stop: a state folded around a gap would be a lie. Run a version that knows the event.
var ErrUnknownEvent = errors.New("unknown event")

// EventTypes lists every wire name, sorted.
func EventTypes() []string { return slices.Sorted(maps.Keys(prototypes)) }

// EventType is the wire name of an event of an aggregate of the kind.
func EventType(kind Kind, e Event) string { return string(kind) + "." + e.eventName() }

// EventVersion is the version in which events are written. Readers take every version that was ever written.
const EventVersion = 1

// EncodeEvent gives the data of an event as it is stored.
func EncodeEvent(e Event) ([]byte, error) { return json.Marshal(e) }

// DecodeEvent reads a stored event. A name or version it does not know is ErrUnknownEvent, never skipped.
func DecodeEvent(name string, version int, data []byte) (Event, error) {
	decode, ok := prototypes[name]
	if !ok || version != EventVersion {
		return nil, fmt.Errorf("%w: %s version %d", ErrUnknownEvent, name, version)
	}
	e, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("event %s version %d: %w", name, version, err)
	}
	return e, nil
}

func decode[E Event](data []byte) (Event, error) {
	var e E
	// null would pass as an event with nothing in it.
	if jsontext.Value(data).Kind() != '{' {
		return nil, errors.New("the data is not a JSON object")
	}
	if err := json.Unmarshal(data, &e, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
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
