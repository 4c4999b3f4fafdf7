// Package eventstore keeps the event log: an append-only sequence of commits in
// one JetStream stream, CLOSURE_LOG.
//
// What it promises:
//
//   - A commit is one message of one or more events. It is stored as a whole or
//     not at all.
//   - Commits of one aggregate (a subject of the log) form a chain: versions 1, 2, …
//     without a gap, each one carrying the hash of the one before it. [Log.Append]
//     MUST be given the head that the decision was based on; it refuses with
//     [ErrConflict] when the aggregate has moved on.
//   - A commit is recognised by its id. Appending it again MAY be done at any time,
//     and never stores it twice on the same head: the caller gets the commit as it
//     was stored the first time.
//   - An acknowledged commit is on disk as far as the server promises it: the
//     embedded server syncs before it answers (package embedded); a cluster MUST
//     be configured with sync_interval: always.
//   - Nothing is ever deleted, so the sequence of the log has no gaps, and a
//     [Follower] can prove that it has skipped nothing.
//
// What it does not promise: [Log.Load] MAY read from a replica that lags, so a
// decision relies on the guard of the append, never on the read.
//
// The package knows nothing of what the events mean.
package eventstore
