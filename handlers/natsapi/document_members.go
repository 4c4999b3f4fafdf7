package natsapi

import "closure/domain"

// memberForms describes the members of commands by their names; "command.member" is for one that is otherwise in a
// command, and "kind.command.member" for one that is otherwise in the command of one kind.
var memberForms = map[string]form{
	"command_id":     {text: "The command's own: one that comes again with the same changes nothing.", example: exampleCommand},
	"client_id":      {text: "The tenant.", example: exampleClient},
	"actor":          {text: "Who asks: the history keeps it.", example: exampleActor, low: 1, high: 100},
	"request_id":     {text: "Of the request that this comes with, for tracing.", example: exampleRequest},
	"correlation_id": {text: "What belongs together has the same, for tracing.", example: exampleRequest},

	"account_group_id":    {text: "The group that the account belongs to.", example: exampleGroup},
	"user_id":             {text: "One of the account's users.", example: exampleUser},
	"order_id":            {text: "The order; within its account.", example: exampleOrder},
	"liquidation_id":      {text: "The liquidation; within its account.", example: exampleLiquidation},
	"corporate_action_id": {text: "The corporate action.", example: exampleOther},
	"reconciliation_id":   {text: "What is settled: it stands on the closure.", example: exampleOther},
	"fee_collection_id":   {text: "The fee collection.", example: exampleOther},
	"withdrawal_id":       {text: "The withdrawal.", example: exampleOther},
	"tax_booking_id":      {text: "The booking.", example: exampleOther},

	"name":     {text: "The name that the user gives it.", example: "Savings for Zoë", low: 1, high: 100},
	"note":     {text: "How it was settled, for whoever reads the history.", example: "paid out by hand", low: 1, high: 1000},
	"isin":     {text: "The instrument (ISO 6166).", example: exampleISIN, pattern: patternISIN},
	"currency": {text: "ISO 4217, in capitals.", example: "EUR", pattern: patternCurrency},
	"revision": {text: "Of the fact at its source, increasing: one that is not above the last one seen changes nothing.", example: 7},

	"quantity":                       {text: "The pieces that are held; it may be negative.", example: "12.5"},
	"place_order.quantity":           {text: "How many pieces, above zero. Give either quantity or cash_amount.", example: "12.5"},
	"cash_amount":                    {text: "How much cash, above zero. Give either quantity or cash_amount.", example: "250.00"},
	"place_order.currency":           {text: "Of the cash amount; ISO 4217, in capitals.", example: "EUR", pattern: patternCurrency},
	"filled_quantity":                {text: "How much was bought or sold up to now; without it nothing was of what is CANCELLED, and of any other order nobody knows.", example: "12.5"},
	"balance":                        {text: "The cash that is there; it may be negative.", example: "62.40"},
	"pending_settlement":             {text: "What waits for settlement. Defaults to 0.", example: "0"},
	"amount":                         {text: "How much.", example: "4.90"},
	"place_order.user_id":            {text: "Whose order it is, one of the account's users. Defaults to the first that owns the account.", example: exampleUser},
	"year":                           {text: "The tax year.", example: 2026, low: 1900, high: 9999},
	"kind":                           {text: "The kind of booking, in capitals.", example: "DIVIDEND", pattern: patternTaxKind},
	"notification_only":              {text: "Only announce the closing. Defaults to false.", example: false},
	"users":                          {text: "Who the group belongs to, and who acts for them: one OWNER or CHILD at least.", example: exampleOwners(), low: 1, high: 10},
	"domicile":                       {text: "ISO 3166-1 alpha-2, in capitals.", example: "DE", pattern: patternCountry},
	"tax_residencies":                {text: "ISO 3166-1 alpha-2, in capitals, each once.", example: []string{"DE"}, items: patternCountry, high: 10},
	"side":                           {text: "What the order does.", example: domain.Sell, enum: anys(domain.Buy, domain.Sell)},
	"closure_reason":                 {text: "Why: only aml is kept from the user.", example: domain.ClosureReason("user_initiated"), enum: anys(domain.ClosureReasons()...)},
	"record_order.status":            {text: "How far the order is.", example: domain.OrderFilled, enum: anys(domain.OrderProcessing, domain.OrderFilled, domain.OrderCancelled)},
	"record_corporate_action.status": {text: "How far it is.", example: domain.CorporateActionSettled, enum: anys(domain.CorporateActionExpected, domain.CorporateActionSettled, domain.CorporateActionCancelled)},
	"record_fee_collection.status":   {text: "How far it is.", example: domain.FeeFinalised, enum: anys(domain.FeeProcessing, domain.FeeFinalised, domain.FeeCancelled)},
	"record_withdrawal.status":       {text: "How far it is.", example: domain.WithdrawalConfirmed, enum: anys(domain.WithdrawalNew, domain.WithdrawalProcessing, domain.WithdrawalConfirmed, domain.WithdrawalCancelled)},
	"open.status":                    {text: "In which it begins. Defaults to that of the group, for a group to ACTIVE.", example: domain.StatusActive, enum: anys(domain.StatusActive, domain.StatusPendingApproval)},
	"account.open.type":              {text: "The type of the account.", example: domain.Trading, enum: anys(domain.Trading, domain.Portfolio)},
	"account_group.open.type":        {text: "The type of the group.", example: domain.GroupType("PERSONAL"), enum: anys(domain.GroupTypes()...)},
}
