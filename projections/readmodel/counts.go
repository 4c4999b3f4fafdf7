package readmodel

import (
	"context"
	"database/sql"

	"closure/domain"
)

// ClosureCounts is how many closings there are, of all clients: for operators.
type ClosureCounts struct {
	ByStatus  map[domain.Status]int      // a status that none is in is not there
	ByBlocker map[domain.BlockerCode]int // likewise; a closing with two blockers counts for both
}

// The counts are read off the indexes alone: of a million closings they take about a tenth of a second.
const (
	countStatusesSQL = `SELECT status, count(*) FROM closure INDEXED BY closure_status GROUP BY status`
	countBlockersSQL = `SELECT code, count(*) FROM closure_blocker INDEXED BY closure_blocker_code GROUP BY code`
)

// ClosureCounts counts the closings that were asked for, by their status and by what stands against them. Both are of one moment.
func (m *Model) ClosureCounts(ctx context.Context) (ClosureCounts, error) {
	l, release, err := m.reading()
	if err != nil {
		return ClosureCounts{}, err
	}
	defer release()
	tx, err := l.db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return ClosureCounts{}, l.failed("count the closings", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	out := ClosureCounts{ByStatus: map[domain.Status]int{}, ByBlocker: map[domain.BlockerCode]int{}}
	err = countBy(ctx, tx, countStatusesSQL, func(name string, n int) { out.ByStatus[domain.Status(name)] = n })
	if err == nil {
		err = countBy(ctx, tx, countBlockersSQL, func(name string, n int) { out.ByBlocker[domain.BlockerCode(name)] = n })
	}
	if err != nil {
		return ClosureCounts{}, l.failed("count the closings", err)
	}
	return out, nil
}

func countBy(ctx context.Context, tx *sql.Tx, query string, add func(name string, n int)) error {
	found, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = found.Close() }() // its error is that of Err below
	for found.Next() {
		var name string
		var n int
		if err := found.Scan(&name, &n); err != nil {
			return err
		}
		add(name, n)
	}
	return found.Err()
}

// CaughtUp tells whether the lists show all of the log up to a sequence but so many commits, or will not for now since a file of
// a former version serves that stands still.
func (m *Model) CaughtUp(last, within uint64) bool {
	m.gate.RLock()
	defer m.gate.RUnlock()
	return m.shown.position()+within >= last || m.serves != nil && m.serves.db.former
}
