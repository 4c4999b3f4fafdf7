package natsapi

import (
	"time"

	"closure/domain"
)

// The examples of the AsyncAPI document: one account of one group, and what becomes of them.
const (
	exampleClient      = "ebabcf4d-61c3-4942-875c-e265a7c2d062"
	exampleUser        = "413715f2-5401-4b97-8055-034a6b879f8c"
	exampleGroup       = "9d95820d-4333-46b6-98de-04ab7512e76f"
	exampleAccount     = "9b2d1f34-6c0e-4e0a-8a57-3f1d5c7e9a10"
	exampleOrder       = "6d3c5f0e-8a47-4b1c-9e2f-1a0b9c8d7e6f"
	exampleLiquidation = "3f9a1c72-5e0d-4b86-a7c4-2d1e0f9b8a63"
	exampleWebhook     = "5c0b6a52-0f5c-4f6e-9a55-6f7e8d9c0b1a"
	exampleOther       = "1f0c7a52-3c1e-4a7b-8f52-9b1d2e3f4a5b"
	exampleEvent       = "183bfac5-e172-5514-ba51-600405204a43"
	exampleCommand     = "c0a80101-5f0e-4d0b-9a53-0d8a4b1c6e20"
	exampleCommitID    = "e5c2a7f0-1d2e-5f3a-9b4c-5d6e7f8a9b0c"
	exampleRequest     = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
	exampleISIN        = "US0378331005"
	exampleActor       = "custody"
)

var (
	exampleOpened    = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)
	exampleRequested = time.Date(2026, 9, 14, 8, 5, 12, 345678901, time.UTC)
)

func ptr[T any](v T) *T { return &v }

func exampleOwners() []domain.Party { return []domain.Party{{ID: exampleUser, Type: domain.Owner}} }

func accountIn(status domain.Status) domain.AccountResource {
	return domain.AccountResource{
		ID: exampleAccount, CreatedAt: exampleOpened, UpdatedAt: exampleRequested, AccountGroupID: exampleGroup, Type: domain.Trading,
		Users: exampleOwners(), AccountNumber: 1, Name: "Savings for Zoë", Status: status,
	}
}

func groupIn(status domain.Status) domain.AccountGroupResource {
	return domain.AccountGroupResource{
		ID: exampleGroup, CreatedAt: exampleOpened, UpdatedAt: exampleRequested, Users: exampleOwners(), Status: status, Type: "PERSONAL",
		SecuritiesAccountNumber: "1000017",
	}
}

func orderIn(status domain.OrderStatus) domain.OrderResource {
	return domain.OrderResource{
		ID: exampleOrder, CreatedAt: exampleRequested, UpdatedAt: exampleRequested, AccountID: exampleAccount, UserID: exampleUser, Side: domain.Sell,
		InstrumentID: exampleISIN, InstrumentIDType: "ISIN", OrderType: "MARKET", Quantity: ptr(domain.Decimal("12.5")), Status: status,
		InitiationFlow: domain.FlowAPI,
	}
}

func liquidationIn(status domain.LiquidationStatus) domain.LiquidationResource {
	return domain.LiquidationResource{
		ID: exampleLiquidation, CreatedAt: exampleRequested, UpdatedAt: exampleRequested, UserID: exampleUser, AccountID: exampleAccount, Status: status,
		Orders: []domain.LiquidationOrder{{ID: exampleOrder, Side: domain.Sell, Status: domain.OrderNew}},
	}
}

func userIn(status domain.UserStatus) domain.UserResource {
	return domain.UserResource{ID: exampleUser, CreatedAt: exampleOpened, UpdatedAt: exampleRequested, Status: status, Blockers: []domain.Blocker{}}
}

func exampleReport() domain.ReportResource {
	return domain.ReportResource{
		ID: exampleOther, CreatedAt: exampleRequested, UserID: exampleUser, Type: domain.ReportAccountClosing,
		Data: domain.ReportData{References: []domain.ReportReference{{ID: exampleGroup, Type: "ACCOUNT_GROUP_ID"}}},
	}
}

func exampleClosure(status domain.Status) domain.Closure {
	c := domain.Closure{
		Status: status, RequestedAt: &exampleRequested, RequestedBy: ptr(exampleActor), Blockers: []domain.Blocker{}, Reconciliation: []domain.Reconciliation{},
	}
	if status == domain.StatusClosed {
		c.ClosedAt = &exampleRequested
		return c
	}
	c.Blockers = append(c.Blockers, domain.Blocker{
		Code: domain.OpenPositions, Detail: "positions are held, or wait for settlement: sell them, or ask for a liquidation",
		Since: exampleOpened, Items: []domain.Item{{ISIN: exampleISIN, Quantity: "12.5", PendingSettlement: "0"}},
	})
	return c
}

func exampleReconciliation() domain.ReconciliationNotice {
	n := domain.ReconciliationNotice{
		Aggregate: domain.KindAccountGroup, ID: exampleGroup, Closure: exampleClosure(domain.StatusClosed),
		Reconciliation: domain.Reconciliation{
			ID: exampleOther, Code: domain.CashBalance, ReceivedAt: exampleRequested.AddDate(0, 0, 9),
			Item: domain.Item{Currency: "EUR", Balance: "4.20", PendingSettlement: "0"},
		},
	}
	n.Closure.Reconciliation = append(n.Closure.Reconciliation, n.Reconciliation)
	return n
}

func exampleNotice(level domain.WebhookLevel, disabled string) domain.WebhookNotice {
	return domain.WebhookNotice{
		ID: exampleEvent, Level: level, FailingSince: &exampleRequested, Attempts: 14, LastFailure: "status 503",
		Webhook: domain.Webhook{
			ID: exampleWebhook, CreatedAt: exampleOpened, UpdatedAt: exampleOpened, Title: "Closings", URL: "https://hooks.example.com/closure",
			Enabled: disabled == "", DisabledReason: disabled, Type: []domain.WebhookFamily{"ACCOUNT", "ACCOUNT_GROUP"},
		}.WithDefaults(),
	}
}
