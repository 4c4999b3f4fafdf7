package readmodel

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
)

// store writes changes and checkpoint in one transaction. first is the sequence of the first commit that the changes are of.
func (d *database) store(ctx context.Context, first uint64, to checkpoint, changed changes) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	at, err := scanCheckpoint(tx.StmtContext(ctx, d.readCheckpoint).QueryRowContext(ctx))
	if err != nil {
		return err
	}
	switch {
	case at.position >= to.position:
		// They came again, although they were written (d.at does not know after a commit whose answer was an error).
		d.at = at
		return nil
	case at.position+1 < first:
		return fmt.Errorf("the commits begin at %d, and the file ends at %d", first, at.position)
	}
	if err := d.putChanges(ctx, tx, changed); err != nil {
		return err
	}
	if _, err := tx.StmtContext(ctx, d.moveCheckpoint).ExecContext(ctx, to.position, to.hash); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	d.at = to
	return nil
}

func (d *database) putChanges(ctx context.Context, tx *sql.Tx, changed changes) error {
	for _, r := range changed.rows {
		if err := d.putRow(ctx, tx, r); err != nil {
			return fmt.Errorf("write %s %s: %w", r.of, r.id, err)
		}
	}
	for _, c := range changed.closings {
		if err := d.putClosing(ctx, tx, c); err != nil {
			return fmt.Errorf("write the closing of %s %s: %w", c.kind, c.id, err)
		}
	}
	for _, o := range changed.orders {
		if _, err := tx.StmtContext(ctx, d.putOrder).ExecContext(ctx, o.clientID, o.id, o.accountID); err != nil {
			return fmt.Errorf("write order %s: %w", o.id, err)
		}
	}
	return nil
}

func (d *database) putRow(ctx context.Context, tx *sql.Tx, r row) error {
	body, err := json.Marshal(r.resource)
	if err != nil {
		return err
	}
	created, updated := r.createdAt.UTC().Format(sortable), r.updatedAt.UTC().Format(sortable)
	done, err := tx.StmtContext(ctx, d.put[r.of]).ExecContext(ctx, r.id, r.clientID, created, updated, string(body))
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return err
	}
	for _, user := range r.users {
		if _, err := tx.StmtContext(ctx, d.putUser).ExecContext(ctx, string(r.of), r.clientID, user, r.id, created, updated); err != nil {
			return err
		}
	}
	return nil
}
