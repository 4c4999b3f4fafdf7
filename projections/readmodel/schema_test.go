package readmodel

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"closure/domain"
	"closure/eventstore"
)

// Every page of every list is read off an index in its order: nothing is sorted, and no table is gone through.
func TestPagesAreReadOffAnIndex(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	db, err := createDatabase(ctx, filepath.Join(t.TempDir(), "readmodel.db"), shape{version: schemaVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.close(); err != nil {
			t.Error(err)
		}
	}()
	explain := func(query string, args ...any) string {
		t.Helper()
		found, err := db.read.QueryContext(ctx, "EXPLAIN QUERY PLAN "+query, args...)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		defer func() { _ = found.Close() }() // its error is that of Err below
		var plan []string
		for found.Next() {
			var id, parent, unused int
			var step string
			if err := found.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, step)
		}
		if err := found.Err(); err != nil || len(plan) == 0 {
			t.Fatalf("%s: no plan, %v", query, err)
		}
		return strings.Join(plan, "; ")
	}
	checkClosurePlans(t, explain)
	if plan := explain(orderAccountSQL, "c", "o"); plan != "SEARCH order_account USING PRIMARY KEY (client_id=? AND order_id=?)" {
		t.Errorf("the account of an order: %s", plan)
	}
	wrong := func(plan string) bool { return strings.Contains(plan, "SCAN") || strings.Contains(plan, "TEMP B-TREE") }

	if plan := explain(`SELECT body FROM account WHERE client_id = ? ORDER BY body`, "c"); !wrong(plan) {
		t.Fatalf("a plan that sorts is not recognised: %s", plan)
	}
	for _, of := range listings() {
		for _, sort := range []domain.Sort{domain.SortCreatedAt, domain.SortUpdatedAt, domain.SortID} {
			for _, order := range []domain.SortOrder{domain.Ascending, domain.Descending} {
				page := domain.Page{Sort: sort, Order: order}
				if plan := explain(pageQuery(of, false, page), "c", 10, 10); wrong(plan) {
					t.Errorf("%s by %s %s: %s", of, sort, order, plan)
				}
				if plan := explain(pageQuery(of, true, page), "c", "u", 10, 10); wrong(plan) {
					t.Errorf("%s of a user by %s %s: %s", of, sort, order, plan)
				}
			}
		}
		if plan := explain(countQuery(of, false), "c"); !strings.Contains(plan, "COVERING INDEX") {
			t.Errorf("count of %s: %s", of, plan)
		}
		if plan := explain(countQuery(of, true), "c", "u"); wrong(plan) {
			t.Errorf("count of %s of a user: %s", of, plan)
		}
	}
}

// checkClosurePlans explains the list of closings with every filter: the first step is a search of the index that serves it,
// and nothing is sorted. Only the list of all closings goes through an index from its start: it has all of them.
func checkClosurePlans(t *testing.T, explain func(query string, args ...any) string) {
	t.Helper()
	for n := range 16 {
		var q domain.ClosureQuery
		search := "USING INDEX " // a list reads the rest of its rows from the table
		if n&1 != 0 {
			q.ClientID = "c"
		}
		if n&2 != 0 {
			q.Status = domain.StatusClosing
		}
		if n&4 != 0 {
			q.Blocker = domain.OpenPositions
			search = "USING COVERING INDEX " // and that of a blocker from the other table
		}
		q.Reconciliation = n&8 != 0
		begins := "SEARCH k "
		if q.ClientID == "" && q.Blocker == "" && (q.Status == "" || q.Reconciliation) {
			begins = "SCAN k "
		}
		read := closureQuery(q)
		page, count := explain(read.page, append(read.args, 10, 10)...), explain(read.count, read.args...)
		if !strings.HasPrefix(page, begins+search+closureIndex(q)) || strings.Contains(page, "TEMP B-TREE") {
			t.Errorf("%+v: %s", q, page)
		}
		counts := begins + "USING COVERING INDEX " + closureIndex(q)
		if q == (domain.ClosureQuery{}) {
			counts = "SCAN closure USING COVERING INDEX" // any index will do to count all
		}
		if !strings.HasPrefix(count, counts) {
			t.Errorf("count of %+v: %s", q, count)
		}
		if q.Blocker != "" && !strings.Contains(page, "SEARCH r USING INDEX sqlite_autoindex_closure_1 (kind=? AND id=?)") {
			t.Errorf("%+v: %s", q, page)
		}
	}
}

// What stands in the files of version 2. When this fails because a resource or a table was changed on purpose, raise
// schemaVersion, and put the new text here: beside files that were written before new ones are then built. Say in readableSince
// whether those still say to the lists what they mean.
func TestStoredShape(t *testing.T) {
	if schemaVersion != 2 {
		t.Fatalf("version %d: put its shape here", schemaVersion)
	}
	account, end, reason := "a", "s", domain.ClosureReason("dunning")
	at := time.Date(2026, 3, 1, 8, 0, 0, 5, time.UTC)
	users := []domain.Party{{ID: "u", Type: domain.Owner}}
	for want, resource := range map[string]any{
		`{"id":"a","created_at":"2026-03-01T08:00:00.000000005Z","updated_at":"2026-03-01T08:00:00.000000005Z","account_group_id":"g",` +
			`"type":"TRADING","users":[{"id":"u","type":"OWNER"}],"account_number":1,"name":"n","status":"ACTIVE"}`: domain.AccountResource{
			ID: "a", CreatedAt: at, UpdatedAt: at, AccountGroupID: "g", Type: domain.Trading, Users: users, AccountNumber: 1, Name: "n",
			Status: domain.StatusActive,
		},
		`{"id":"g","created_at":"2026-03-01T08:00:00.000000005Z","updated_at":"2026-03-01T08:00:00.000000005Z",` +
			`"users":[{"id":"u","type":"OWNER"}],"status":"ACTIVE","type":"PERSONAL","securities_account_number":"1000000"}`: domain.AccountGroupResource{
			ID: "g", CreatedAt: at, UpdatedAt: at, Users: users, Status: domain.StatusActive, Type: "PERSONAL", SecuritiesAccountNumber: "1000000",
		},
		`{"id":"r","created_at":"2026-03-01T08:00:00.000000005Z","user_id":"u","type":"ACCOUNT_CLOSING","substituted_report_id":"s",` +
			`"data":{"account":"a","references":[{"id":"g","type":"ACCOUNT_GROUP_ID"}]}}`: domain.ReportResource{
			ID: "r", CreatedAt: at, UserID: "u", Type: domain.ReportAccountClosing, SubstitutedReportID: &end,
			Data: domain.ReportData{Account: &account, References: []domain.ReportReference{{ID: "g", Type: "ACCOUNT_GROUP_ID"}}},
		},
		`{"status":"CLOSING","requested_at":"2026-03-01T08:00:00.000000005Z","reason":"dunning","requested_by":"a","announced_at":null,` +
			`"next_eligible_at":null,"closed_at":null,"blockers":[{"code":"LOCKED","detail":"d","since":"2026-03-01T08:00:00.000000005Z",` +
			`"items":[{"id":"i","isin":"x","currency":"EUR","status":"NEW","amount":"1","quantity":"2","balance":"3","pending_settlement":"4"}]}],` +
			`"reconciliation":[{"id":"r","code":"CASH_BALANCE","item":{"currency":"EUR"},"received_at":"2026-03-01T08:00:00.000000005Z"}]}`: domain.Closure{
			Status: domain.StatusClosing, RequestedAt: &at, Reason: &reason, RequestedBy: &account,
			Blockers: []domain.Blocker{{Code: domain.Locked, Detail: "d", Since: at, Items: []domain.Item{{
				ID: "i", ISIN: "x", Currency: "EUR", Status: "NEW", Amount: "1", Quantity: "2", Balance: "3", PendingSettlement: "4",
			}}}},
			Reconciliation: []domain.Reconciliation{{ID: "r", Code: domain.CashBalance, Item: domain.Item{Currency: "EUR"}, ReceivedAt: at}},
		},
	} {
		got, err := json.Marshal(resource)
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v\nwant %s", got, err, want)
		}
	}
	const tables = "5c3639da9b05661fadb26aa3dacf2a9621b9c26fbc184561288756d6a624238e"
	if got := eventstore.HashOf([]byte(strings.Join(append(schema(), setStampSQL(stamp{created: schemaVersion})), "\n"))); got != tables {
		t.Errorf("the schema has the hash %s, and had %s", got, tables)
	}
}

func TestWhichFilesAreRead(t *testing.T) {
	for userVersion, want := range map[int]bool{
		2:         false, // before what is declared
		3:         true,
		4:         true,
		5:         false, // its own
		6:         false, // of a newer program
		5<<16 | 3: true,  // continued by itself
		4<<16 | 3: true,  // continued by one before
		6<<16 | 3: false, // continued by a newer one
		6<<16 | 5: false,
	} {
		of := stampOf(userVersion)
		if got := (shape{version: 5, since: 3}).reads(of); got != want {
			t.Errorf("%s is read: %v", of, got)
		}
		if again := setStampSQL(of); again != fmt.Sprintf("PRAGMA user_version = %d", userVersion) {
			t.Errorf("%d is written as %s", userVersion, again)
		}
	}
}
