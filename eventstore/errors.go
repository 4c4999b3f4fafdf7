package eventstore

import "errors"

// The errors that callers act upon. They are matched with errors.Is; the text
// around them says which aggregate, which sequence and why.
var (
	// ErrConflict: the aggregate moved on since the head that was given, and this
	// commit is not in the log. The caller loads what is new, decides again, and
	// appends the new decision; a bounded number of times.
	ErrConflict = errors.New("the aggregate has moved on")

	// ErrUnavailable: the log did not answer in time. For an append the outcome is
	// unknown; repeating it with the same commit id and the same head is safe.
	// Over HTTP this is 503.
	ErrUnavailable = errors.New("the event log is not available")

	// ErrTooLarge: the commit is larger than the server takes. Repeating it is
	// useless; the caller refuses the command, or makes several commits of it.
	ErrTooLarge = errors.New("the commit is too large")

	// ErrMalformedCommit: these bytes are not a commit, or this commit cannot be
	// written as one. When it comes from the log, it was not written by this
	// engine; nobody may skip it, an operator has to look.
	ErrMalformedCommit = errors.New("malformed commit")

	// ErrBrokenChain: what is stored is not what was written: a hash, a version or
	// a link to the commit before does not fit. Nothing may be decided upon it; an
	// operator has to look.
	ErrBrokenChain = errors.New("the chain of commits is broken")

	// ErrCommitIDTaken: the commit id stands in the log already, on another
	// aggregate. Commit ids have to be unique in the whole log; this is a defect of
	// the caller, and repeating it is useless.
	ErrCommitIDTaken = errors.New("the commit id is taken by another aggregate")

	// ErrWrongStream: the stream exists with settings that break what this package
	// promises. An operator has to change them, or to name another account.
	ErrWrongStream = errors.New("the stream has the wrong settings")
)
