package domain

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// update writes golden files that do not exist yet. It never touches one that does: a golden file is what was written to
// logs that will be read in ten years. A new shape gets a new version, and a new file beside the old one.
var update = flag.Bool("update", false, "write the golden files that are missing; existing ones are never changed")

// writeGolden writes a new golden file; it refuses to touch one that exists.
func writeGolden(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// golden compares data with a golden file, and with -update writes the file first when it is missing.
func golden(t *testing.T, path string, data []byte) {
	t.Helper()
	if *update {
		if err := writeGolden(path, data); err != nil {
			require.ErrorIs(t, err, os.ErrExist)
		}
	}
	kept, err := os.ReadFile(path)
	require.NoError(t, err, "a golden file is missing: go test ./domain -update writes it, once")
	// Line by line, so that a failure shows the one that differs.
	want, got := strings.SplitAfter(string(kept), "\n"), strings.SplitAfter(string(data), "\n")
	for i := range min(len(want), len(got)) {
		require.Equal(t, want[i], got[i], "%s:%d pins a format: what is written differs from it. "+
			"The file is never edited; a new shape gets a new version", path, i+1)
	}
	require.Len(t, got, len(want), "%s has another number of lines", path)
}

func TestGoldenFilesAreNeverOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events", "account.opened.v1.json")
	require.NoError(t, writeGolden(path, []byte("first")))
	require.ErrorIs(t, writeGolden(path, []byte("second")), os.ErrExist)
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "first", string(kept))
}

// sample is an event with every field filled, and one with what is optional left out; nil where nothing is.
type sample struct{ full, least Event }

// everyItem has all members, which no real one has: the file pins their names.
var everyItem = Item{
	ID: someWithdrawal, ISIN: basf, Currency: "EUR", Status: "NEW", Amount: "1250.00", Quantity: "-3.5", Balance: "0.01",
	PendingSettlement: "12345678901.123456789012345678901234567",
}

func samples() map[string]sample {
	family := []Party{{ID: child, Type: Child}, {ID: guardian, Type: Guardian}}
	reconciliation := func(code BlockerCode, item Item) sample {
		id := "5ec0c11e-0000-5000-8000-000000000001"
		return sample{ReconciliationRequired{ReconciliationID: id, Blocker: OutstandingWithdrawals, Item: everyItem},
			ReconciliationRequired{ReconciliationID: id, Blocker: code, Item: item}}
	}
	initiated := sample{ClosingInitiated{ClosureReason: "user_initiated"}, ClosingInitiated{}}
	sum := strings.Repeat("0123456789abcdef", 4)
	settled := sample{ReconciliationSettled{ReconciliationID: "5ec0c11e-0000-5000-8000-000000000001", Note: "Zurück an die Hausbank, Beleg 4711"}, nil}
	return map[string]sample{
		EventAccountOpened: {AccountOpened{AccountGroupID: someGroup, Type: Trading, Name: "Zoë’s Ersparnisse & <Œuvres> – Ωμέγα, Łódź",
			AccountNumber: 2, Users: family}, nil},
		EventAccountActivated:               {Activated{}, nil},
		EventAccountLocked:                  {LockApplied{}, nil},
		EventAccountUnlocked:                {Unlocked{}, nil},
		EventAccountRenamed:                 {AccountRenamed{Name: "Ferien \"2027\""}, nil},
		EventAccountPositionRecorded:        {PositionRecorded{ISIN: basf, Quantity: "-10.500", PendingSettlement: "0", Revision: 9007199254740993}, nil},
		EventAccountCorporateActionRecorded: {CorporateActionRecorded{CorporateActionID: someAction, ISIN: apple, Status: CorporateActionExpected, Revision: 1}, nil},
		EventAccountClosingInitiated:        initiated,
		EventAccountClosed:                  {Closed{}, nil},
		EventAccountReconciliationRequired:  reconciliation(OpenPositions, Item{ISIN: basf, Quantity: "1", PendingSettlement: "0"}),
		EventAccountReconciliationSettled:   settled,
		EventAccountClosureStalled:          {ClosureStalled{Number: 3}, nil},
		EventAccountDomicileRecorded:        {DomicileRecorded{Domicile: "GB"}, nil},

		EventOrderPlaced: {OrderPlaced{OrderID: someOrder, UserID: owner, Side: Sell, ISIN: basf, Quantity: "0.000001", CashAmount: "99.99", Currency: "EUR",
			LiquidationID: someLiquidation},
			OrderPlaced{OrderID: someOrder, UserID: owner, Side: Buy, ISIN: apple}},
		EventOrderRecorded: {OrderRecorded{OrderID: someOrder, Status: OrderCancelled, PreviousStatus: OrderProcessing, FilledQuantity: "2.5", Revision: 2},
			OrderRecorded{OrderID: someOrder, Status: OrderFilled, PreviousStatus: OrderNew, Revision: 1}},
		EventOrderCancellationRequested: {OrderCancellationRequested{OrderID: someOrder}, nil},
		EventLiquidationRequested:       {LiquidationRequested{LiquidationID: someLiquidation, UserID: owner}, nil},
		EventLiquidationProcessing:      {LiquidationProcessing{LiquidationID: someLiquidation}, nil},
		EventLiquidationFilled:          {LiquidationFilled{LiquidationID: someLiquidation}, nil},
		EventLiquidationSettled:         {LiquidationSettled{LiquidationID: someLiquidation}, nil},
		EventLiquidationCancelled:       {LiquidationCancelled{LiquidationID: someLiquidation}, nil},

		EventGroupOpened: {AccountGroupOpened{Users: family, Type: "CHILD", Domicile: "DE", TaxResidencies: []string{"DE", "FR"},
			SecuritiesAccountNumber: "1000001"},
			AccountGroupOpened{Users: users(), Type: "PERSONAL", TaxResidencies: []string{}, SecuritiesAccountNumber: "1000002"}},
		EventGroupActivated:              {Activated{}, nil},
		EventGroupLocked:                 {LockApplied{}, nil},
		EventGroupUnlocked:               {Unlocked{}, nil},
		EventGroupAccountLinked:          {AccountLinked{AccountID: firstAccount, AccountNumber: 1, Type: Portfolio, Name: "Savings", Status: StatusPendingApproval}, nil},
		EventGroupAccountLinkWithdrawn:   {AccountLinkWithdrawn{AccountID: firstAccount}, nil},
		EventGroupAccountClosureRecorded: {AccountClosureRecorded{AccountID: firstAccount, ClosedAt: time.Date(2026, 1, 2, 9, 30, 0, 123456789, time.UTC)}, nil},
		EventGroupCashBalanceRecorded:    {CashBalanceRecorded{Currency: "EUR", Balance: "-0.05", PendingSettlement: "250.00", Revision: 3}, nil},
		EventGroupFeeCollectionRecorded:  {FeeCollectionRecorded{FeeCollectionID: someFee, Status: FeeProcessing, Amount: "4.90", Currency: "EUR", Revision: 1}, nil},
		EventGroupWithdrawalRecorded:     {WithdrawalRecorded{WithdrawalID: someWithdrawal, Status: WithdrawalConfirmed, Amount: "1250.00", Currency: "EUR", Revision: 2}, nil},
		EventGroupClosureAnnounced:       {ClosureAnnounced{ClosureReason: "risk_based"}, ClosureAnnounced{}},
		EventGroupClosingInitiated:       initiated,
		EventGroupClosed:                 {Closed{}, nil},
		EventGroupReconciliationRequired: reconciliation(CashBalance, Item{Currency: "EUR", Balance: "0.37", PendingSettlement: "0"}),
		EventGroupReportCreated:          {ReportCreated{ReportID: "4e904700-0000-5000-8000-000000000001", UserID: owner, Type: ReportAccountClosing, SHA256: sum, Size: 48211}, nil},
		EventGroupReconciliationSettled:  settled,
		EventGroupClosureStalled:         {ClosureStalled{Number: 1}, nil},
		EventGroupDomicileChanged: {DomicileChanged{Domicile: "GB", TaxResidencies: []string{"GB", "DE"}},
			DomicileChanged{Domicile: "GB", TaxResidencies: []string{}}},
		EventGroupTaxBookingRecorded: {TaxBookingRecorded{TaxBookingID: someBooking, Year: 2026, Kind: "CAPITAL_GAINS_TAX", Amount: "-12.34", Currency: "EUR",
			Revision: 2}, nil},
		EventGroupTaxStatementRequested: {TaxStatementRequested{Year: 2026}, nil},

		EventUserGroupLinked: {GroupLinked{AccountGroupID: someGroup, Users: family, Type: "CHILD", Domicile: "DE", TaxResidencies: []string{"DE", "FR"},
			Status: StatusPendingApproval},
			GroupLinked{AccountGroupID: someGroup, Users: users(), Type: "PERSONAL", TaxResidencies: []string{}, Status: StatusActive}},
		EventUserGroupLinkWithdrawn: {GroupLinkWithdrawn{AccountGroupID: someGroup}, nil},
		EventUserGroupClosureRecorded: {GroupClosureRecorded{AccountGroupID: someGroup, ClosedAt: time.Date(2026, 1, 2, 9, 30, 0, 123456789, time.UTC),
			TaxStatementYear: 2026},
			GroupClosureRecorded{AccountGroupID: someGroup, ClosedAt: time.Date(2026, 1, 2, 9, 30, 0, 123456789, time.UTC)}},
		EventUserTaxStatementRecorded: {TaxStatementRecorded{AccountGroupID: someGroup}, nil},
		EventUserOffboardingInitiated: {OffboardingInitiated{}, nil},
		EventUserOffboarded:           {Offboarded{}, nil},
	}
}

const goldenEvents = "testdata/events"

// TestGoldenEvents pins the bytes of each event in its current version, both ways.
func TestGoldenEvents(t *testing.T) {
	all := samples()
	for _, name := range EventTypes() {
		s, ok := all[name]
		require.True(t, ok, "%s has no sample, and so no golden file", name)
		current := filepath.Join(goldenEvents, fmt.Sprintf("%s.v%d", name, EventVersion(name)))
		t.Run(name, func(t *testing.T) {
			unfilled := empty(reflect.ValueOf(s.full), name)
			require.Empty(t, unfilled, "the sample leaves fields empty, so the file would not pin them")
			checkGolden(t, name, current+".json", s.full)
		})
		if s.least != nil {
			t.Run(name+" at least", func(t *testing.T) {
				checkGolden(t, name, current+".least.json", s.least)
			})
		}
	}
	require.Len(t, all, len(EventTypes()), "a sample of an event that is none")
}

func checkGolden(t *testing.T, name, path string, e Event) {
	t.Helper()
	data, err := EncodeEvent(e)
	require.NoError(t, err)
	golden(t, path, append(data, '\n'))

	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	kept = bytes.TrimSuffix(kept, []byte("\n"))
	decoded, err := DecodeEvent(name, EventVersion(name), kept)
	require.NoError(t, err)
	require.Equal(t, e, decoded)
	again, err := EncodeEvent(decoded)
	require.NoError(t, err)
	require.Equal(t, string(kept), string(again))
	require.Equal(t, name, EventType(kindOf(name), decoded))
}

func kindOf(name string) Kind {
	kind, _, _ := strings.Cut(name, ".")
	return Kind(kind)
}

// empty lists the fields that are zero, also in structs and lists inside.
func empty(v reflect.Value, at string) (out []string) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		if v.IsZero() {
			out = append(out, at)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			out = append(out, empty(v.Field(i), at+"."+v.Type().Field(i).Name)...)
		}
	case v.Kind() == reflect.Slice && v.Len() > 0:
		for i := range v.Len() {
			out = append(out, empty(v.Index(i), at)...)
		}
	case v.IsZero() || v.Kind() == reflect.Slice:
		out = append(out, at)
	}
	return out
}

// TestDecodeEventRefuses holds what a reader of the log must not pass over.
func TestDecodeEventRefuses(t *testing.T) {
	for _, unknown := range []struct {
		name    string
		version int
		does    string // what the reader of the error is to do
	}{
		{"account.vanished", 1, "this version of the engine has no event of that name; use one that knows it"}, {"opened", 1, "no event of that name"},
		{"", 1, "no event of that name"}, {"ACCOUNT.OPENED", 1, "no event of that name"},
		{"account.opened", 2, "account.opened version 2: this version of the engine knows it up to version 1; use a later one"},
		{EventOrderRecorded, 3, "knows it up to version 2; use a later one"}, {"account.opened", 0, "versions begin at 1"},
		{EventOrderRecorded, -1, "versions begin at 1"},
	} {
		e, err := DecodeEvent(unknown.name, unknown.version, []byte(`{}`))
		require.Nil(t, e)
		require.ErrorIs(t, err, ErrUnknownEvent, unknown)
		require.ErrorContains(t, err, unknown.name)
		require.ErrorContains(t, err, unknown.does)
	}
	for _, data := range []string{"", "null", "[]", `"x"`, "{", `{"name":"a"} {}`, `{"name":"a","nickname":"b"}`, `{"Name":"a"}`,
		`{"name":"a","name":"b"}`, `{"name":1}`, "{\"name\":\"\xff\"}", `{"name":"\ud800"}`} {
		_, err := DecodeEvent(EventAccountRenamed, 1, []byte(data))
		require.Error(t, err, "%q", data)
		require.NotErrorIs(t, err, ErrUnknownEvent)
		require.ErrorContains(t, err, EventAccountRenamed)
	}
}
