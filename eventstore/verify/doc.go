// Package verify walks a whole event log, or an export of it, and names every place where it is not what was written.
//
// What it checks, in this order:
//
//   - the sequences: from the first to the last, none missing, none twice, none out of order;
//   - each message by itself: it stands under the subject of its aggregate, decodes, is written as this package would write
//     it, byte for byte, and has the hash that its header says;
//   - each aggregate: versions 1, 2, … without a gap, each commit with the hash of the one before it, all of one client;
//   - what only the domain can know, by a [Judge]: whether the events could have been decided where they stand.
//
// It does not check the order of times: clocks of different machines differ, so a later commit MAY have an earlier time.
//
// What it cannot find: somebody who rewrites an aggregate from one commit to its end, with all the hashes, leaves a chain that
// fits; and a log whose end was cut off is whole up to there. Both change the digest of the heads. So an audit SHOULD keep
// [Report.Heads] with [Report.Last] outside the log: a later audit up to the same sequence has to give the same digest.
//
// Memory: about 300 bytes for each aggregate (its subject, version, hash and client), whatever the number of commits, and the
// states of at most [Config.States] aggregates: some 2 kB each for accounts with a short life, 20 kB for those with a long one.
// Where there are more aggregates the log is walked several times, and each walk judges a part of them.
//
// The package knows nothing of what the events mean.
package verify
