package publisher

import (
	"time"

	"github.com/stretchr/testify/require"

	"closure/domain"
)

// The ids of the other story.
const (
	someOrder       = "04de0000-0000-4000-8000-000000000001"
	buyOrder        = "04de0000-0000-4000-8000-000000000002"
	someLiquidation = "11d00000-0000-4000-8000-000000000001"
	takenBack       = "11d00000-0000-4000-8000-000000000002"
)

// otherStory goes on behind open, and has each published event that wholeStory does not have.
func (a *author) otherStory() {
	a.t.Helper()
	a.write(someGroup, &domain.ChangeDomicile{Domicile: "GB", TaxResidencies: []string{"GB"}})
	a.write(someAccount, &domain.RecordPosition{ISIN: basf, Quantity: "1.5", Revision: 1})
	a.write(someAccount, &domain.PlaceOrder{OrderID: someOrder, UserID: owner, Side: domain.Buy, ISIN: basf, CashAmount: "50.00", Currency: "EUR"})
	a.write(someAccount, &domain.RecordOrder{OrderID: someOrder, Status: domain.OrderProcessing, Revision: 1})
	a.write(someAccount, &domain.RecordOrder{OrderID: someOrder, Status: domain.OrderFilled, Revision: 2})
	a.write(someAccount, &domain.RecordPosition{ISIN: basf, Quantity: "2.25", Revision: 2})
	// The same status again is no news.
	a.write(someAccount, &domain.RecordOrder{OrderID: someOrder, Status: domain.OrderFilled, Revision: 3})
	a.write(someAccount, &domain.RequestLiquidation{LiquidationID: takenBack, UserID: owner})
	a.write(someAccount, &domain.CancelLiquidation{LiquidationID: takenBack})
	withdrawn, _ := a.states[someAccount].(*domain.Account).Liquidation(takenBack)
	a.write(someAccount, &domain.RecordOrder{OrderID: withdrawn.OrderIDs[0], Status: domain.OrderCancelled, Revision: 1})

	a.write(someAccount, &domain.PlaceOrder{OrderID: buyOrder, Side: domain.Buy, ISIN: basf, Quantity: "1"})
	asked := a.write(someAccount, &domain.RequestAccountClosure{Domicile: "GB"})
	a.now = asked.Time.Add(30 * 24 * time.Hour)
	a.write(someAccount, &domain.ReportStall{Number: 1, Period: 30 * 24 * time.Hour})
	a.write(someAccount, &domain.RequestLiquidation{LiquidationID: someLiquidation, UserID: owner})
	liquidation, _ := a.states[someAccount].(*domain.Account).Liquidation(someLiquidation)
	a.write(someAccount, &domain.RecordOrder{OrderID: liquidation.OrderIDs[0], Status: domain.OrderFilled, Revision: 1})
	a.write(someAccount, &domain.RecordPosition{ISIN: basf, Quantity: "0", Revision: 3})

	user := domain.Ref{Kind: domain.KindUser, ID: owner}
	a.write(user, &domain.LinkGroup{AccountGroupID: someGroup.ID, Open: domain.OpenAccountGroup{
		Users: []domain.Party{{ID: owner, Type: domain.Child}}, Type: "CHILD", TaxResidencies: []string{"DE"},
	}})
	a.write(user, &domain.RecordGroupClosure{AccountGroupID: someGroup.ID, ClosedAt: a.now, TaxStatementYear: 2026})
	a.write(user, &domain.RequestOffboarding{})
	left := a.write(user, &domain.RecordTaxStatement{AccountGroupID: someGroup.ID})
	require.Len(a.t, left.Events, 2)
}
