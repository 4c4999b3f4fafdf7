// Package backup copies the streams of an engine into a folder while the engine works, and makes them anew from such a folder on
// a server that has none of them.
//
// # One moment out of many
//
// Each stream is a snapshot of its own (the JetStream API $JS.API.STREAM.SNAPSHOT), and nothing stops meanwhile. What makes one
// backup of them is the order in which they are taken, which [Config] gives, and what is true of each:
//
//   - The log is the truth. It is never changed, so its snapshot is the log as it was at one moment.
//   - The positions of the durable consumers are read first of all. What a follower had acknowledged by then it had written by
//     then, so each stream that is taken later has it. After a restore the follower goes on from there: what it does a second time
//     changes nothing, and the rest of the log is not read again. In a snapshot of its own stream, which ends later, a position
//     could be ahead of what the follower had written when that was taken, and the work in between would be lost.
//   - Commands that wait are taken before the log. One that is carried out in between is carried out once more after a restore, and
//     is known by its id. In the other order it would be in neither of the two.
//   - Subscriptions are taken before the published events: each begins at a sequence of the events that the snapshot of the events
//     reaches. Else it would pass over events that get a lower sequence after a restore.
//   - Published events are taken before the log. Those that are missing are published again, since the publisher looks up what is
//     there. In the other order there would be events of commits that are not in the log.
//   - Timers are taken before the log. One that fires in between fires once more, and finds its work done. In the other order it
//     would be gone, and the log would not know that it fired.
//   - Answers to idempotency keys are taken right before the log, so that there is none for what is not in the log. A request that
//     was carried out in the moment between the two is carried out again if its client repeats it after a restore.
//   - Counters are taken after the log, so that no number is given twice.
//   - Files of reports are taken after the log: a report that is recorded has its file. A file that is ahead of the log is shown to
//     nobody, and is made again, with the same name and the same bytes.
//   - Clients and keys may be taken at any time; after the log they are the newest that can be had.
//
// A stream that is in no order is taken first of all, as what is derived from the log may be. Streams in memory are left out: what
// they hold does not outlive a restart, either.
//
// # What changes while it is copied
//
// The server copies the messages that are there when it begins, up to the last one of that moment. A message that is replaced
// meanwhile (the new value of a key, a timer that is set anew, a command that is put aside) is in the snapshot neither as it was
// nor as it is. So the messages are counted, and when some are missing in a stream whose messages replace each other, those that came
// later are fetched as well, until nothing new comes. A message could be lost only by being replaced again in each of the rounds
// that this takes. What was removed for good while it was copied may be in the backup: a command that was settled, a timer that was
// cancelled; the engine finds nothing to do for it.
//
// # The folder
//
// A backup is a folder with one file a stream, in the format of NATS 2.15 (what 'nats stream backup' writes as stream.arc.s2), with
// manifest.json, which says what there is, and with SHA256SUMS, in the format of sha256sum, which has the manifest as well. It appears
// under its name when it is complete and on disk. There are keys and secrets in it: nobody but its owner may read it.
package backup
