package readmodel

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

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
	q := query{
		list: string(of), count: countQuery(of, userID != ""), page: pageQuery(of, userID != "", page),
		args: []any{clientID}, limit: page.Limit, offset: page.Offset,
	}
	if userID != "" {
		q.args = append(q.args, userID)
	}
	return read(ctx, m, q, func(found *sql.Rows) (resource T, err error) {
		var body []byte
		if err := found.Scan(&body); err != nil {
			return resource, err
		}
		return resource, json.Unmarshal(body, &resource)
	})
}

// query is how a page is read, and the number of all. Both take the arguments, and the page then limit and offset.
type query struct {
	list          string // its name, for errors
	count, page   string // SQL
	args          []any
	limit, offset int
}

// read reads a page and the number of all from one snapshot. scan makes an item of a row.
func read[T any](ctx context.Context, m *Model, q query, scan func(*sql.Rows) (T, error)) ([]T, int, error) {
	l, release, err := m.reading()
	if err != nil {
		return nil, 0, err
	}
	defer release()
	// Read-only transactions are deferred: they take no lock, and see what was there at their first SELECT.
	tx, err := l.db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, 0, l.failed("list "+q.list, err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	var total int
	if err := tx.QueryRowContext(ctx, q.count, q.args...).Scan(&total); err != nil {
		return nil, 0, l.failed("count "+q.list, err)
	}
	data, err := readPage(ctx, tx, q, scan)
	if err != nil {
		return nil, 0, l.failed("list "+q.list, err)
	}
	return data, total, nil
}

func readPage[T any](ctx context.Context, tx *sql.Tx, q query, scan func(*sql.Rows) (T, error)) ([]T, error) {
	found, err := tx.QueryContext(ctx, q.page, append(slices.Clone(q.args), q.limit, q.offset)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }() // its error is that of Err below
	data := []T{}
	for found.Next() {
		item, err := scan(found)
		if err != nil {
			return nil, err
		}
		data = append(data, item)
	}
	return data, found.Err()
}

// check refuses a page that cannot be. Whoever takes pages in from outside does so before; here it also keeps anything
// but the known names out of the SQL.
func check(p domain.Page) error {
	if err := checkRange(p.Offset, p.Limit); err != nil {
		return err
	}
	switch {
	case p.Sort != domain.SortCreatedAt && p.Sort != domain.SortUpdatedAt && p.Sort != domain.SortID:
		return refuse("sort: must be one of created_at, updated_at, id, got %s", domain.Quote(string(p.Sort)))
	case p.Order != domain.Ascending && p.Order != domain.Descending:
		return refuse("order: must be ASC or DESC, got %s", domain.Quote(string(p.Order)))
	}
	return nil
}

func checkRange(offset, limit int) error {
	switch {
	case offset < 0:
		return refuse("offset: must be 0 or more, got %d", offset)
	case limit < 1 || limit > domain.MaxLimit:
		return refuse("limit: must be 1 to %d, got %d", domain.MaxLimit, limit)
	}
	return nil
}

func refuse(format string, args ...any) error {
	return &domain.Refusal{Kind: domain.Invalid, Detail: fmt.Sprintf(format, args...)}
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
