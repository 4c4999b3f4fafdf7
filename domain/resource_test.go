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
		OpenPositions, ExpectedCorporateActions, OpenAccounts, OutstandingFees, OutstandingWithdrawals, CashBalance, Locked})
	require.Len(t, codes, len(blockerDetails))
	for _, code := range codes {
		require.NotEmpty(t, blockerDetails[BlockerCode(code)], code)
	}
	require.Equal(t, strings.ReplaceAll(list(Kinds()), ", ", ","), enum(ReconciliationNotice{}, "Aggregate"))
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
