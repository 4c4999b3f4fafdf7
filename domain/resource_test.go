package domain

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEnumsOfTheContract compares the values that the documents list with those that there are.
func TestEnumsOfTheContract(t *testing.T) {
	enum := func(resource any, field string) string {
		f, ok := reflect.TypeOf(resource).FieldByName(field)
		require.True(t, ok)
		return f.Tag.Get("enum")
	}
	statuses := strings.ReplaceAll(list(Statuses()), ", ", ",")
	for _, resource := range []any{AccountResource{}, AccountGroupResource{}, Closure{}} {
		require.Equal(t, statuses, enum(resource, "Status"))
	}
	require.Equal(t, strings.ReplaceAll(list(GroupTypes()), ", ", ","), enum(AccountGroupResource{}, "Type"))
	codes := strings.Split(enum(Blocker{}, "Code"), ",")
	require.ElementsMatch(t, slices.Collect(maps.Keys(blockerDetails)), []BlockerCode{
		OpenPositions, ExpectedCorporateActions, OpenOrders, TaxYearEndBlocker, OpenAccounts, OutstandingFees, OutstandingWithdrawals, CashBalance,
		Locked, OpenAccountGroups, PendingTaxStatements})
	require.ElementsMatch(t, append(BlockerCodes(), OpenAccountGroups, PendingTaxStatements), slices.Collect(maps.Keys(blockerDetails)),
		"all but those of a user are found by GET /closures?blocker=")
	require.Len(t, codes, len(blockerDetails))
	for _, code := range codes {
		require.NotEmpty(t, blockerDetails[BlockerCode(code)], code)
	}
	for _, resource := range []any{ReconciliationNotice{}, StallNotice{}, ClosureItem{}} {
		require.Equal(t, strings.ReplaceAll(list(closableKinds()), ", ", ","), enum(resource, "Aggregate"))
	}
	require.Equal(t, "ACTIVE,OFFBOARDING,OFFBOARDED", enum(UserResource{}, "Status"))
	require.Equal(t, "NEW,PROCESSING,FILLED,CANCELLED", enum(OrderResource{}, "Status"))
	require.Equal(t, "NEW,PROCESSING,FILLED,CANCELLED", enum(LiquidationOrder{}, "Status"))
	require.Equal(t, "NEW,PROCESSING,FILLED,SETTLED,CANCELLED", enum(LiquidationResource{}, "Status"))
	require.Equal(t, "API,ACCOUNT_LIQUIDATION", enum(OrderResource{}, "InitiationFlow"))
	require.Equal(t, "ACCOUNT_CLOSING,ANNUAL_TAX_STATEMENT", enum(ReportResource{}, "Type"))
}

// TestResourcesInJSON pins the members that clients see, in their order, with null and [] for what is absent.
func TestResourcesInJSON(t *testing.T) {
	s := activeGroup(t)
	show := func(v any) string {
		data, err := json.Marshal(v)
		require.NoError(t, err)
		return string(data)
	}
	require.Equal(t, `{"id":"`+someGroup+`","created_at":"2026-01-02T09:01:00Z","updated_at":"2026-01-02T09:01:00Z","users":[{"id":"`+owner+
		`","type":"OWNER"}],"status":"ACTIVE","type":"PERSONAL","securities_account_number":"1000001"}`, show(groupOf(s).Resource()))
	require.Equal(t, `{"status":"ACTIVE","requested_at":null,"reason":null,"requested_by":null,"announced_at":null,"next_eligible_at":null,`+
		`"closed_at":null,"blockers":[],"reconciliation":[]}`, show(s.closure()))
	s.does(t, cash("EUR", "1.50", 1), "cash_balance_recorded")
	s.does(t, &Lock{}, "locked")
	require.Equal(t, `[{"code":"CASH_BALANCE","detail":"cash is left, owed, or waits for settlement: every balance has to be zero",`+
		`"since":"2026-01-02T09:03:00Z","items":[{"currency":"EUR","balance":"1.50","pending_settlement":"0"}]},`+
		`{"code":"LOCKED","detail":"the resource is locked: it has to be unlocked","since":"2026-01-02T09:05:00Z","items":[]}]`, show(s.closure().Blockers))

	account := activeAccount(t).agg.(*Account)
	require.Equal(t, `{"id":"`+firstAccount+`","created_at":"2026-01-02T09:01:00Z","updated_at":"2026-01-02T09:01:00Z","account_group_id":"`+someGroup+
		`","type":"TRADING","users":[{"id":"`+owner+`","type":"OWNER"}],"account_number":1,"name":"Savings","status":"ACTIVE"}`, show(account.Resource()))
	require.Equal(t, `{"id":"r","created_at":"0001-01-01T00:00:00Z","user_id":"u","type":"ACCOUNT_CLOSING","substituted_report_id":null,`+
		`"data":{"account":null,"references":[{"id":"`+someGroup+`","type":"ACCOUNT_GROUP_ID"}]}}`,
		show(groupOf(s).ReportResource(Report{ID: "r", UserID: "u", Type: ReportAccountClosing})))
}

// TestMoreResourcesInJSON pins those of orders, liquidations and users, and a closing that waits for a date.
func TestMoreResourcesInJSON(t *testing.T) {
	show := func(v any) string {
		data, err := json.Marshal(v)
		require.NoError(t, err)
		return string(data)
	}
	s := liquidating(t, holds(basf, "10", 1))
	sale := saleOf(someLiquidation, basf)
	require.Equal(t, `{"id":"`+sale+`","created_at":"2026-01-02T09:05:00Z","updated_at":"2026-01-02T09:05:00Z","account_id":"`+firstAccount+`","user_id":"`+owner+
		`","side":"SELL","instrument_id":"DE000BASF111","instrument_id_type":"ISIN","order_type":"MARKET","quantity":"10","cash_amount":null,"currency":null,`+
		`"status":"NEW","initiation_flow":"ACCOUNT_LIQUIDATION","liquidation_id":"`+someLiquidation+`","client_reference":null}`,
		show(accountOf(s).OrderResource(orderOf(t, s, sale))))
	require.Equal(t, `{"id":"`+someLiquidation+`","created_at":"2026-01-02T09:05:00Z","updated_at":"2026-01-02T09:05:00Z","user_id":"`+owner+`","account_id":"`+
		firstAccount+`","status":"NEW","orders":[{"id":"`+sale+`","side":"SELL","status":"NEW"}]}`,
		show(accountOf(s).LiquidationResource(liquidationOf(t, s, someLiquidation))))
	require.Contains(t, show(accountOf(s).LiquidationResource(Liquidation{})), `"orders":[]`)

	waits := british(t, at(0))
	waits.does(t, holds(basf, "0", 2), "position_recorded")
	require.Equal(t, `{"status":"CLOSING","requested_at":"2026-01-02T09:00:00Z","reason":null,"requested_by":"support@bank.example","announced_at":null,`+
		`"next_eligible_at":"2026-04-05T23:00:00Z","closed_at":null,"blockers":[{"code":"TAX_YEAR_END","detail":"the account's domicile is GB: it closes when `+
		`the UK tax year ends, at the start of 6 April in London","since":"2026-01-02T09:00:00Z","items":[]}],"reconciliation":[]}`, show(waits.closure()))

	user := after(activeUser, groupIsClosed(someGroup, 2026))(t)
	require.Equal(t, `{"id":"`+owner+`","created_at":"2026-01-02T09:01:00Z","updated_at":"2026-01-02T09:01:00Z","status":"ACTIVE","blockers":[{`+
		`"code":"PENDING_TAX_STATEMENTS","detail":"annual tax statements of the user's closed account groups are still to be made",`+
		`"since":"2026-01-02T09:03:00Z","items":[{"id":"`+someGroup+`"}]}]}`, show(userOf(user).Resource()))
}
