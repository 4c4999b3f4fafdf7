package readmodel

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"closure/domain"
)

// listing is a kind of list; it is the name of its table, too.
type listing string

const (
	accounts      listing = "account"
	accountGroups listing = "account_group"
	reports       listing = "report"
)

// listings lists them all.
func listings() []listing { return []listing{accounts, accountGroups, reports} }

// list reads one page of a list, and how many there are in all, from one snapshot: the two fit however much is written
// in between.
func list[T any](ctx context.Context, m *Model, of listing, clientID, userID string, page domain.Page) ([]T, int, error) {
	page = page.WithDefaults()
	if err := check(page); err != nil {
		return nil, 0, err
	}
	r := m.running.Load()
	if r == nil {
		return nil, 0, errNotRunning
	}
	// Read-only transactions are deferred: they take no lock, and see what was there at their first SELECT.
	tx, err := r.db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, 0, fmt.Errorf("read model: list %s: %w", of, err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	where := []any{clientID}
	if userID != "" {
		where = append(where, userID)
	}
	var total int
	if err := tx.QueryRowContext(ctx, countQuery(of, userID != ""), where...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("read model: count %s: %w", of, err)
	}
	data, err := readPage[T](ctx, tx, pageQuery(of, userID != "", page), append(where, page.Limit, page.Offset))
	if err != nil {
		return nil, 0, fmt.Errorf("read model: list %s: %w", of, err)
	}
	return data, total, nil
}

func readPage[T any](ctx context.Context, tx *sql.Tx, query string, args []any) ([]T, error) {
	found, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }() // its error is that of Err below
	data := []T{}
	for found.Next() {
		var body []byte
		if err := found.Scan(&body); err != nil {
			return nil, err
		}
		var resource T
		if err := json.Unmarshal(body, &resource); err != nil {
			return nil, err
		}
		data = append(data, resource)
	}
	return data, found.Err()
}

// check refuses a page that cannot be. Whoever takes pages in from outside does so before; here it also keeps anything
// but the known names out of the SQL.
func check(p domain.Page) error {
	refuse := func(format string, args ...any) error {
		return &domain.Refusal{Kind: domain.Invalid, Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case p.Offset < 0:
		return refuse("offset: must be 0 or more, got %d", p.Offset)
	case p.Limit < 1 || p.Limit > domain.MaxLimit:
		return refuse("limit: must be 1 to %d, got %d", domain.MaxLimit, p.Limit)
	case p.Sort != domain.SortCreatedAt && p.Sort != domain.SortUpdatedAt && p.Sort != domain.SortID:
		return refuse("sort: must be one of created_at, updated_at, id, got %s", domain.Quote(string(p.Sort)))
	case p.Order != domain.Ascending && p.Order != domain.Descending:
		return refuse("order: must be ASC or DESC, got %s", domain.Quote(string(p.Order)))
	}
	return nil
}

// countQuery takes the client, and the user.
func countQuery(of listing, byUser bool) string {
	if byUser {
		return fmt.Sprintf(`SELECT count(*) FROM resource_user WHERE list = '%s' AND client_id = ? AND user_id = ?`, of)
	}
	return fmt.Sprintf(`SELECT count(*) FROM %s WHERE client_id = ?`, of)
}

// pageQuery takes the client, the user, limit and offset. The id breaks ties, in the direction of the rest, so that
// pages never overlap; an index has each of the orders ready.
func pageQuery(of listing, byUser bool, p domain.Page) string {
	from, where := fmt.Sprintf(`%s AS k`, of), `k.client_id = ?`
	body := `k.body`
	if byUser {
		// CROSS JOIN is SQLite's way to say which table comes first: the one with the order.
		from = fmt.Sprintf(`resource_user AS k CROSS JOIN %s AS r ON r.id = k.id`, of)
		where = fmt.Sprintf(`k.list = '%s' AND k.client_id = ? AND k.user_id = ?`, of)
		body = `r.body`
	}
	order := fmt.Sprintf(`k.id %s`, p.Order)
	if p.Sort != domain.SortID {
		order = fmt.Sprintf(`k.%s %s, %s`, p.Sort, p.Order, order)
	}
	return fmt.Sprintf(`SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT ? OFFSET ?`, body, from, where, order)
}
