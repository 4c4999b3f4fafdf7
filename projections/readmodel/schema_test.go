package readmodel

import (
	"context"
	"encoding/json"
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
	db, err := createDatabase(ctx, filepath.Join(t.TempDir(), "readmodel.db"))
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
	wrong := func(plan string) bool { return strings.Contains(plan, "SCAN") || strings.Contains(plan, "TEMP B-TREE") }

	if plan := explain(`SELECT body FROM account WHERE client_id = ? ORDER BY body`, "c"); !wrong(plan) {
		t.Fatalf("a plan that sorts is not recognised: %s", plan)
	}
	for _, of := range listings() {
		for _, sort := range []domain.Sort{domain.SortCreatedAt, domain.SortUpdatedAt, domain.SortID} {
			for _, order := range []domain.Order{domain.Ascending, domain.Descending} {
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

// What stands in the files of version 1. When this fails because a resource or a table was changed on purpose, raise
// schemaVersion, and put the new text here: files that were written before are then built anew.
func TestStoredShape(t *testing.T) {
	if schemaVersion != 1 {
		t.Fatalf("version %d: put its shape here", schemaVersion)
	}
	account, end := "a", "s"
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
	} {
		got, err := json.Marshal(resource)
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v\nwant %s", got, err, want)
		}
	}
	const tables = "c3184e9edd9ec62eea846c5f481b4b5402f7e74effe0792f678e3bcd024397e2"
	if got := eventstore.HashOf([]byte(strings.Join(schema(), "\n"))); got != tables {
		t.Errorf("the schema has the hash %s, and had %s", got, tables)
	}
}
