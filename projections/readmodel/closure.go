package readmodel

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"closure/domain"
)

// Closures lists the closings that fit the query, the oldest request first, and says how many there are in all; ties are
// broken by the id, then by the kind. A closing is shown as it was right after the last commit of its resource. A query that
// cannot be is a *domain.Refusal (Invalid). Without a client it lists those of every client: that is for operators only.
func (m *Model) Closures(ctx context.Context, q domain.ClosureQuery) ([]domain.ClosureItem, int, error) {
	if q.Limit == 0 {
		q.Limit = domain.DefaultLimit
	}
	if err := checkClosureQuery(q); err != nil {
		return nil, 0, err
	}
	return read(ctx, m, closureQuery(q), func(found *sql.Rows) (item domain.ClosureItem, err error) {
		var body []byte
		if err := found.Scan(&item.Aggregate, &item.ID, &item.ClientID, &body); err != nil {
			return item, err
		}
		if q.ClientID != "" {
			item.ClientID = "" // the client knows who it is
		}
		return item, json.Unmarshal(body, &item.Closure)
	})
}

func checkClosureQuery(q domain.ClosureQuery) error {
	if q.Status != "" && !slices.Contains(domain.Statuses(), q.Status) {
		return refuseValue("status", string(q.Status), domain.Statuses())
	}
	if q.Blocker != "" && !slices.Contains(domain.BlockerCodes(), q.Blocker) {
		return refuseValue("blocker", string(q.Blocker), domain.BlockerCodes())
	}
	return checkRange(q.Offset, q.Limit)
}

func refuseValue[T ~string](field, value string, allowed []T) error {
	names := make([]string, 0, len(allowed))
	for _, a := range allowed {
		names = append(names, string(a))
	}
	return refuse("%s: must be one of %s, got %s", field, strings.Join(names, ", "), domain.Quote(value))
}

// closing is a resource whose closing was asked for.
type closing struct {
	kind         domain.Kind
	id, clientID string
	requestedAt  time.Time
	closure      domain.Closure
}

// closingOf is the closing of an aggregate as of its last commit; ok is false when none was asked for, or there can be none.
func closingOf(state domain.Aggregate) (c closing, ok bool) {
	a, ok := state.(domain.Closable)
	if !ok || a.RequestedAt() == nil {
		return closing{}, false
	}
	return closing{
		kind: a.Kind(), id: a.AggregateID(), clientID: a.Client(), requestedAt: *a.RequestedAt(),
		closure: a.Closure(domain.Outlook{Now: a.LastChange()}),
	}, true
}

// closureSchema has a table of the closings, and one of the blockers that stand against them. What a list is filtered and
// sorted by stands in both, so that each list, and its count, is read off one index (see closureIndex). Client and time of a
// request never change; status and reconciliation do, and the blockers of a closing are written anew with it.
func closureSchema() []string {
	return []string{
		`CREATE TABLE closure (
			kind TEXT NOT NULL, id TEXT NOT NULL, client_id TEXT NOT NULL,
			requested_at TEXT NOT NULL, status TEXT NOT NULL,
			reconciliation INTEGER NOT NULL CHECK (reconciliation IN (0, 1)), -- whether there is something to settle
			body TEXT NOT NULL, -- the closure as clients see it, JSON
			PRIMARY KEY (kind, id)
		) STRICT`,
		`CREATE INDEX closure_any ON closure (requested_at, id, kind)`,
		`CREATE INDEX closure_status ON closure (status, requested_at, id, kind)`,
		`CREATE INDEX closure_client ON closure (client_id, requested_at, id, kind)`,
		`CREATE INDEX closure_client_status ON closure (client_id, status, requested_at, id, kind)`,
		`CREATE INDEX closure_reconciliation ON closure (requested_at, id, kind, status) WHERE reconciliation = 1`,
		`CREATE INDEX closure_client_reconciliation ON closure (client_id, requested_at, id, kind, status) WHERE reconciliation = 1`,
		`CREATE TABLE closure_blocker (
			kind TEXT NOT NULL, id TEXT NOT NULL, code TEXT NOT NULL, client_id TEXT NOT NULL,
			requested_at TEXT NOT NULL, status TEXT NOT NULL, reconciliation INTEGER NOT NULL,
			PRIMARY KEY (kind, id, code)
		) STRICT, WITHOUT ROWID`,
		`CREATE INDEX closure_blocker_code ON closure_blocker (code, requested_at, id, kind, status, reconciliation)`,
		`CREATE INDEX closure_blocker_client ON closure_blocker (client_id, code, requested_at, id, kind, status, reconciliation)`,
	}
}

const (
	putClosureSQL = `INSERT INTO closure (kind, id, client_id, requested_at, status, reconciliation, body) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (kind, id) DO UPDATE SET status = excluded.status, reconciliation = excluded.reconciliation, body = excluded.body
		WHERE body <> excluded.body`
	dropBlockersSQL = `DELETE FROM closure_blocker WHERE kind = ? AND id = ?`
	putBlockerSQL   = `INSERT INTO closure_blocker (kind, id, code, client_id, requested_at, status, reconciliation)
		VALUES (?, ?, ?, ?, ?, ?, ?)`
)

// putClosing writes a closing, and its blockers in the place of those that it had. All that is written follows from the
// body, so when that is as it was there is nothing to do.
func (d *database) putClosing(ctx context.Context, tx *sql.Tx, c closing) error {
	body, err := json.Marshal(c.closure)
	if err != nil {
		return err
	}
	requested, status, reconciliation := c.requestedAt.UTC().Format(sortable), string(c.closure.Status), 0
	if len(c.closure.Reconciliation) > 0 {
		reconciliation = 1
	}
	done, err := tx.StmtContext(ctx, d.putClosure).
		ExecContext(ctx, string(c.kind), c.id, c.clientID, requested, status, reconciliation, string(body))
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return err
	}
	if _, err := tx.StmtContext(ctx, d.dropBlockers).ExecContext(ctx, string(c.kind), c.id); err != nil {
		return err
	}
	for _, b := range c.closure.Blockers {
		_, err := tx.StmtContext(ctx, d.putBlocker).
			ExecContext(ctx, string(c.kind), c.id, string(b.Code), c.clientID, requested, status, reconciliation)
		if err != nil {
			return err
		}
	}
	return nil
}

// closureQuery reads the index that has the closings in their order, of the client, of the blocker, of those to reconcile
// or of the status. It is named, so that SQLite does not choose another one and sort.
func closureQuery(q domain.ClosureQuery) query {
	key, join := `closure`, ``
	if q.Blocker != "" {
		// CROSS JOIN: see pageQuery.
		key, join = `closure_blocker`, ` CROSS JOIN closure AS r ON r.kind = k.kind AND r.id = k.id`
	}
	where, args := []string{}, []any{}
	equal := func(column, value string) {
		if value != "" {
			where, args = append(where, `k.`+column+` = ?`), append(args, value)
		}
	}
	equal("client_id", q.ClientID)
	equal("code", string(q.Blocker))
	equal("status", string(q.Status))
	if q.Reconciliation {
		where = append(where, `k.reconciliation = 1`)
	}
	filter := ``
	if len(where) > 0 {
		filter = ` WHERE ` + strings.Join(where, ` AND `)
	}
	from, of := fmt.Sprintf(`%s AS k INDEXED BY %s`, key, closureIndex(q)), `k`
	if join != "" {
		of = `r`
	}
	return query{
		list: "closures", args: args, limit: q.Limit, offset: q.Offset,
		count: fmt.Sprintf(`SELECT count(*) FROM %s%s`, from, filter),
		page: fmt.Sprintf(`SELECT k.kind, k.id, %[1]s.client_id, %[1]s.body FROM %s%s%s ORDER BY k.requested_at, k.id, k.kind LIMIT ? OFFSET ?`,
			of, from, join, filter),
	}
}

// closureIndex is the index with the fewest closings beside those that are asked for. What blocks and what is to be
// reconciled are few at any time; those of a status may be all.
func closureIndex(q domain.ClosureQuery) string {
	index := func(ofAll, ofClient string) string {
		if q.ClientID == "" {
			return ofAll
		}
		return ofClient
	}
	switch {
	case q.Blocker != "":
		return index("closure_blocker_code", "closure_blocker_client")
	case q.Reconciliation:
		return index("closure_reconciliation", "closure_client_reconciliation")
	case q.Status != "":
		return index("closure_status", "closure_client_status")
	}
	return index("closure_any", "closure_client")
}
