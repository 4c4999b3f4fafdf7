// Package natsapi is the way in over NATS: commands and facts are requested and answered at once on closure.rpc.>, or left
// in the durable inbox on closure.command.>. Both take the same commands, as ParseCommand reads them.
//
// # The micro service: closure.rpc.<aggregate>.<id>.<command>
//
// Each request is answered with an [Answer]. Requests run concurrently, up to 256 at a time in each engine; one more is
// answered as unavailable at once, and one that takes longer than 10 s as a gateway time-out. After either, sending the
// same command again (the same command_id) is safe. What does not exist is not found at once, for facts, too. A request
// without a reply subject is dropped: nobody would learn that it was refused. A command that must not be lost goes to
// the inbox.
//
// # The inbox: closure.command.<aggregate>.<id>.<command>
//
// JetStream's acknowledgement means that the command is safe in CLOSURE_COMMANDS, and will be settled: it is carried out,
// or published as COMMAND.REJECTED. Commands of one aggregate are settled in the order in which they were stored, whatever
// crashes in between and however many engines share the inbox; commands of different aggregates run in parallel.
//
// The server does that: it stores each command under one of 16 partitions by the hash of its aggregate's id
// (closure.inbox.<partition>.<aggregate>.<id>.<command>), and each partition has a durable consumer that hands out the next
// command only after the one before it was acknowledged (MaxAckPending 1). A command in the hands of an engine that died
// is handed out again after 5 s (at once when the server was in the same process), before those behind it. So a command
// may be executed twice; the engine's commands are idempotent. One that was published as rejected just before the crash
// is decided again, and may be accepted by then.
//
// What becomes of a command:
//
//   - Accepted or unchanged: acknowledged after its commit is in the log.
//   - Refused, too large, or malformed (its subject or its body): published as COMMAND.REJECTED, then acknowledged. Those
//     behind it go on.
//   - The log or its counters are unavailable, others keep changing the aggregate, or 10 s are over: tried again in its
//     place, after 50 ms up to 5 s, for as long as it takes. Those behind it in its partition wait.
//   - It fails for an internal reason: tried 5 times in its place, then rejected as internal, with the cause in the log.
//   - A fact (record_…) for an aggregate that does not exist for this client: set aside for up to Config.EarlyFactWait,
//     counted from when it was stored, and tried again after 0.25 s up to every 5 s; then rejected as not_found. Later
//     commands of that aggregate go on meanwhile. Facts that wait are tried in any order: their revisions order them. Any
//     number may wait.
//   - The open of an account whose group does not exist: it waits in its place as long as an open of that group stands
//     before it in the inbox, and for about 300 ms in any case; then it is set aside as a fact is.
//   - Any other command for an aggregate that does not exist: rejected as not_found. So is a command for an account whose
//     open has been set aside: who opens a group and its account has to publish the group's open first.
//
// A rejection goes to closure.event.<client_id or _>.command.rejected.<aggregate id or _>. Its id is derived from the
// place of the command in the stream, so that one that is published again after a crash is recognised.
package natsapi
