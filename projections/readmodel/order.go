package readmodel

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// OrderAccount says which account of the client an order is in; ok is false when the client has no such order, also when
// another client has it. An order that was accepted before the call is found: when it is not there yet, the call waits until
// the model shows the log as it was at the call, or until the context ends, which is an error.
//
// An order is unique within its account. Should a client have used an id in two accounts, the first one in the log is it.
func (m *Model) OrderAccount(ctx context.Context, clientID, orderID string) (accountID string, ok bool, err error) {
	accountID, ok, err = m.orderAccount(ctx, clientID, orderID)
	if err != nil || ok {
		return accountID, ok, err
	}
	last, err := m.cfg.Log.LastSequence(ctx)
	if err != nil {
		return "", false, fmt.Errorf("read model: order %s: %w", orderID, err)
	}
	if err := m.WaitFor(ctx, last); err != nil {
		return "", false, fmt.Errorf("read model: order %s: %w", orderID, err)
	}
	return m.orderAccount(ctx, clientID, orderID)
}

// order is an order that was placed.
type order struct{ clientID, id, accountID string }

func orderSchema() []string {
	return []string{
		`CREATE TABLE order_account (
			client_id TEXT NOT NULL, order_id TEXT NOT NULL, account_id TEXT NOT NULL,
			PRIMARY KEY (client_id, order_id)
		) STRICT, WITHOUT ROWID`,
	}
}

const (
	// The first one stays, however the commits come in batches.
	putOrderSQL = `INSERT INTO order_account (client_id, order_id, account_id) VALUES (?, ?, ?)
		ON CONFLICT (client_id, order_id) DO NOTHING`
	orderAccountSQL = `SELECT account_id FROM order_account WHERE client_id = ? AND order_id = ?`
)

func (m *Model) orderAccount(ctx context.Context, clientID, orderID string) (accountID string, ok bool, err error) {
	l, release, err := m.reading()
	if err != nil {
		return "", false, err
	}
	defer release()
	err = l.db.read.QueryRowContext(ctx, orderAccountSQL, clientID, orderID).Scan(&accountID)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, l.failed("order "+orderID, err)
	}
	return accountID, true, nil
}
