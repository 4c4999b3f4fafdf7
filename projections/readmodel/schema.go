package readmodel

import "fmt"

const (
	// schemaVersion stands in the file (PRAGMA user_version); beside a file with another one a new one is built. It MUST go
	// up with any change of the tables, of the JSON of a resource, or of what a commit does to a row.
	schemaVersion = 2
	// readableSince is the oldest version whose rows the lists of this one read rightly: they serve until the new file is
	// built. It MUST go up to schemaVersion with a change by which an old row would be read as something that it does not
	// say: a member with another name or another meaning, a column that is sorted by otherwise. What is new beside the old
	// (a table, a column, a member that may be absent) leaves it; a list that needs it is not served until then.
	readableSince = 2
)

// shape is what a program knows of files: the version that it makes, and the oldest one whose rows it reads.
type shape struct{ version, since int }

// reads tells whether a file of a former version can be read. One that a newer version has made or written to cannot:
// nobody knows what will be in it.
func (s shape) reads(of stamp) bool {
	return s.since <= of.created && of.created < s.version && of.wrote <= s.version
}

// stamp is the version of a file, and of the newest program that has gone on with it, 0 for none but its own version. It
// keeps an older program from taking the rows of a newer one for its own.
type stamp struct{ created, wrote int }

const stampBits = 16

// stampOf splits what stands in PRAGMA user_version.
func stampOf(userVersion int) stamp {
	return stamp{created: userVersion & (1<<stampBits - 1), wrote: userVersion >> stampBits}
}

func setStampSQL(s stamp) string {
	return fmt.Sprintf(`PRAGMA user_version = %d`, s.wrote<<stampBits|s.created)
}

func (s stamp) String() string {
	if s.wrote == 0 {
		return fmt.Sprint(s.created)
	}
	return fmt.Sprintf("%d, continued by %d", s.created, s.wrote)
}

// sortable is how times are stored: UTC at a fixed width, so that the order of the text is that of the times.
const sortable = "2006-01-02T15:04:05.000000000Z"

// schema is the file as it is created: for each list a table of resources, one table with whose lists they stand in
// besides the client's, the closings with their blockers, which account an order is in, and how far the log is in it.
func schema() []string {
	statements := []string{
		`CREATE TABLE checkpoint (
			one INTEGER PRIMARY KEY CHECK (one = 1),
			position INTEGER NOT NULL CHECK (position >= 0), -- sequence of the last commit that is in the file, 0 for none
			hash TEXT NOT NULL -- its hash: by this the log is recognised
		) STRICT`,
		`INSERT INTO checkpoint (one, position, hash) VALUES (1, 0, '')`,
		// The sort members stand here once more, so that the page of a user is read off an index, too. The users of a
		// resource are given when it is opened and never change; if ever they do, rows of former users have to go.
		`CREATE TABLE resource_user (
			list TEXT NOT NULL, client_id TEXT NOT NULL, user_id TEXT NOT NULL, id TEXT NOT NULL,
			created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
			PRIMARY KEY (list, client_id, user_id, id)
		) STRICT, WITHOUT ROWID`,
		`CREATE INDEX resource_user_created_at ON resource_user (list, client_id, user_id, created_at, id)`,
		`CREATE INDEX resource_user_updated_at ON resource_user (list, client_id, user_id, updated_at, id)`,
	}
	for _, of := range listings() {
		statements = append(statements,
			fmt.Sprintf(`CREATE TABLE %s (
				id TEXT NOT NULL PRIMARY KEY, client_id TEXT NOT NULL,
				created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
				body TEXT NOT NULL -- the resource as clients see it, JSON
			) STRICT`, of),
			fmt.Sprintf(`CREATE INDEX %[1]s_id ON %[1]s (client_id, id)`, of),
			fmt.Sprintf(`CREATE INDEX %[1]s_created_at ON %[1]s (client_id, created_at, id)`, of),
			fmt.Sprintf(`CREATE INDEX %[1]s_updated_at ON %[1]s (client_id, updated_at, id)`, of),
		)
	}
	statements = append(statements, closureSchema()...)
	return append(statements, orderSchema()...)
}

const (
	readCheckpointSQL = `SELECT position, hash FROM checkpoint WHERE one = 1`
	moveCheckpointSQL = `UPDATE checkpoint SET position = ?, hash = ? WHERE one = 1`

	putUserSQL = `INSERT INTO resource_user (list, client_id, user_id, id, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (list, client_id, user_id, id) DO UPDATE SET updated_at = excluded.updated_at`
)

// putSQL writes a resource. Most commits are facts that do not show on it: then no row is affected, and no page written.
func putSQL(of listing) string {
	return fmt.Sprintf(`INSERT INTO %s (id, client_id, created_at, updated_at, body) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET updated_at = excluded.updated_at, body = excluded.body WHERE body <> excluded.body`, of)
}
