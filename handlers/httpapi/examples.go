package httpapi

import (
	"encoding/json"
	"time"

	"closure/domain"
	"closure/handlers"
)

// The nouns of ids in a path, as details speak of them.
const (
	nounAccount = "account"
	nounGroup   = "account group"
	nounUser    = "user"
	nounOrder   = "order"
	nounWebhook = "webhook"
	nounReport  = "report"
	nounEvent   = "event"

	nounLiquidation = "liquidation"
)

// The examples of the OpenAPI document: one group, its account, and what becomes of them. They are only read.
const (
	exampleUser = "413715f2-5401-4b97-8055-034a6b879f8c"
	exampleISIN = "US0378331005"
	// exampleEvent is the id of an event that was published.
	exampleEvent = "7f3b2c9e-1d4a-5e86-b0c7-9a2f6e8d1b54"

	exampleRequestID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"

	exampleSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // of the documentation of Standard Webhooks
)

var (
	exampleOpened  = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)
	exampleRequest = time.Date(2026, 9, 14, 8, 5, 12, 0, time.UTC)
	// exampleEligible is the end of the UK tax year in which exampleRequest lies.
	exampleEligible = time.Date(2027, 4, 5, 23, 0, 0, 0, time.UTC)
	exampleClosed   = exampleEligible.Add(2 * time.Second)
	exampleReason   = domain.ClosureReason("user_initiated")
	exampleActor    = "client:ebabcf4d-61c3-4942-875c-e265a7c2d062"
	exampleOwners   = []domain.Party{{ID: exampleUser, Type: domain.Owner}}

	exampleGroup = domain.AccountGroupResource{
		ID: "9d95820d-4333-46b6-98de-04ab7512e76f", CreatedAt: exampleOpened, UpdatedAt: exampleOpened, Users: exampleOwners,
		Status: domain.StatusActive, Type: "PERSONAL", SecuritiesAccountNumber: "1000017",
	}
	exampleAccount = domain.AccountResource{
		ID: exampleID, CreatedAt: exampleOpened, UpdatedAt: exampleOpened, AccountGroupID: exampleGroup.ID, Type: domain.Trading,
		Users: exampleOwners, AccountNumber: 1, Name: "Savings for Zoë", Status: domain.StatusActive,
	}
	exampleBlocker = domain.Blocker{
		Code: domain.OutstandingWithdrawals, Detail: "withdrawals are in progress: they have to be confirmed or cancelled", Since: exampleOpened,
		Items: []domain.Item{{ID: "1f0c7a52-3c1e-4a7b-8f52-9b1d2e3f4a5b", Status: "PROCESSING", Amount: "250.00", Currency: "EUR"}},
	}
	exampleClosure = domain.Closure{
		Status: domain.StatusClosing, RequestedAt: &exampleRequest, RequestedBy: &exampleActor, NextEligibleAt: &exampleEligible,
		Blockers: []domain.Blocker{{
			Code: domain.OpenPositions, Detail: "positions are held, or wait for settlement: sell them, or ask for a liquidation",
			Since: exampleOpened, Items: []domain.Item{{ISIN: exampleISIN, Quantity: "12.5", PendingSettlement: "0"}},
		}, {
			Code: domain.OpenOrders, Detail: "orders are open: each has to be filled or cancelled",
			Since: exampleRequest, Items: []domain.Item{{ID: exampleOrder.ID, ISIN: exampleISIN, Status: string(domain.OrderNew), Quantity: exampleQuantity}},
		}, {
			Code: domain.TaxYearEndBlocker, Detail: "the account's domicile is GB: it closes when the UK tax year ends, at the start of 6 April in London",
			Since: exampleRequest, Items: []domain.Item{},
		}},
		Reconciliation: []domain.Reconciliation{},
	}
	exampleGroupClosure = domain.Closure{
		Status: domain.StatusClosed, RequestedAt: &exampleRequest, Reason: &exampleReason, RequestedBy: &exampleActor, ClosedAt: &exampleClosed,
		Blockers: []domain.Blocker{},
		Reconciliation: []domain.Reconciliation{{
			ID: "8e6f0a1b-2c3d-5e4f-8a9b-0c1d2e3f4a5b", Code: domain.CashBalance, ReceivedAt: exampleClosed.AddDate(0, 0, 9),
			Item: domain.Item{Currency: "EUR", Balance: "4.20", PendingSettlement: "0"},
		}},
	}
	exampleClosures = list[domain.ClosureItem]{
		Meta: closuresMeta(0, domain.DefaultLimit, 2, 2),
		Data: []domain.ClosureItem{
			{Aggregate: domain.KindAccount, ID: exampleAccount.ID, Closure: exampleClosure},
			// Not the account's own group: that one waits for it.
			{Aggregate: domain.KindAccountGroup, ID: "d2b7e9c4-1f35-4a68-9c0d-7e8f6a5b4c32", Closure: exampleGroupClosure},
		},
	}
	exampleQuantity = domain.Decimal("12.5")
	exampleOrder    = domain.OrderResource{
		ID: "6d3c5f0e-8a47-4b1c-9e2f-1a0b9c8d7e6f", CreatedAt: exampleRequest, UpdatedAt: exampleRequest, AccountID: exampleAccount.ID,
		UserID: exampleUser, Side: domain.Sell, InstrumentID: exampleISIN, InstrumentIDType: "ISIN", OrderType: "MARKET",
		Quantity: &exampleQuantity, Status: domain.OrderNew, InitiationFlow: domain.FlowAPI,
	}
	exampleLiquidation = domain.LiquidationResource{
		ID: "3f9a1c72-5e0d-4b86-a7c4-2d1e0f9b8a63", CreatedAt: exampleRequest, UpdatedAt: exampleRequest, UserID: exampleUser,
		AccountID: exampleAccount.ID, Status: domain.LiquidationNew,
		Orders: []domain.LiquidationOrder{{ID: "a4d8e6b2-90c1-5f3e-8b7a-6c5d4e3f2a10", Side: domain.Sell, Status: domain.OrderNew}},
	}
	exampleUserResource = domain.UserResource{
		ID: exampleUser, CreatedAt: exampleOpened, UpdatedAt: exampleOpened, Status: domain.UserActive,
		Blockers: []domain.Blocker{{
			Code: domain.OpenAccountGroups, Detail: "account groups of the user are not CLOSED: close each of them",
			Since: exampleOpened, Items: []domain.Item{{ID: exampleGroup.ID}},
		}},
	}
	exampleReport = domain.ReportResource{
		ID: "0b0e4f3a-6f0f-5b0e-8d5e-2a3c4d5e6f70", CreatedAt: exampleRequest, UserID: exampleUser, Type: domain.ReportAccountClosing,
		Data: domain.ReportData{References: []domain.ReportReference{{ID: exampleGroup.ID, Type: "ACCOUNT_GROUP_ID"}}},
	}
	exampleWebhook = domain.Webhook{
		ID: "5c0b6a52-0f5c-4f6e-9a55-6f7e8d9c0b1a", CreatedAt: exampleOpened, UpdatedAt: exampleOpened, Title: "Closings",
		URL: "https://hooks.example.com/closure", Enabled: true, Type: []domain.WebhookFamily{"ACCOUNT", "ACCOUNT_GROUP"},
		Config: domain.WebhookConfig{Order: domain.WebhookStrict},
	}.WithDefaults()
	exampleAnswer = WebhookAnswer{
		URL: exampleWebhook.URL, Duration: 38,
		Response: &WebhookResponse{Status: 200, Headers: map[string]string{"Content-Type": "text/plain"}, Body: "ok"},
	}
	exampleAttempt = WebhookAttempt{
		ID: "4e1d7c60-93ab-4f58-8d2e-b6a1c0f3e795", WebhookID: exampleWebhook.ID, MessageID: "c1f7a9d2-6b3e-5084-9e7c-5d2b8f4a1e03",
		Time: exampleClosed, Duration: 10_002, Number: 3, Outcome: AttemptFailed, Failure: "timeout_header",
		Detail: "the endpoint did not answer in time", Bytes: 742,
		Events: []AttemptEvent{{ID: exampleEvent, Type: "ACCOUNT.CLOSED", Sequence: 4711}},
	}
	exampleAttempts = list[WebhookAttempt]{Meta: attemptsMeta(0, domain.DefaultLimit, 1, 1), Data: []WebhookAttempt{exampleAttempt}}
	exampleRotation = rotatedSecret{exampleSecret, &exampleEligible}
	exampleKeys     = jwkSet{Keys: []jwk{{
		KeyType: "OKP", Curve: "Ed25519", X: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
		KeyID: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", Algorithm: "EdDSA", Use: "sig",
	}}} // of RFC 8037
	exampleHistory = list[handlers.HistoryItem]{
		Meta: historyMeta(0, domain.DefaultLimit, 1, 1),
		Data: []handlers.HistoryItem{{
			Sequence: 4711, Time: exampleRequest, Type: domain.EventAccountClosingInitiated, Version: 1, Data: json.RawMessage(`{}`),
			Actor: exampleActor, Command: "request_closure", CommandID: "c0a80101-5f0e-4d0b-9a53-0d8a4b1c6e20",
			RequestID: exampleRequestID, CommitID: "e5c2a7f0-1d2e-5f3a-9b4c-5d6e7f8a9b0c",
		}},
	}
)
