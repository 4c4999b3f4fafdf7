package verify

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// Code names a kind of problem. Codes are stable.
type Code string

// The kinds of problem.
const (
	// Missing: sequences are not there.
	Missing Code = "MISSING"
	// Repeated: a sequence comes again, or behind a later one.
	Repeated Code = "REPEATED"
	// Malformed: the message is not a commit, or is written in another way than the log writes it.
	Malformed Code = "MALFORMED"
	// WrongHash: the body is not the one that the header Closure-Hash was made of.
	WrongHash Code = "WRONG_HASH"
	// WrongSubject: the commit stands under the subject of another aggregate.
	WrongSubject Code = "WRONG_SUBJECT"
	// WrongID: the message id is not the commit's.
	WrongID Code = "WRONG_ID"
	// BrokenLink: the commit does not follow on the one before it.
	BrokenLink Code = "BROKEN_LINK"
	// WrongClient: the aggregate belonged to another client before.
	WrongClient Code = "WRONG_CLIENT"
	// Implausible: the events could never have been decided where they stand.
	Implausible Code = "IMPLAUSIBLE"
	// UnknownEvent: this version of the program knows no such event, or no such version of it. A later one may.
	UnknownEvent Code = "UNKNOWN_EVENT"
	// Damaged: the export is cut off, or was changed after it was written; or the log ends before what is known of it.
	Damaged Code = "DAMAGED"
)

// Problem is one place where the log is not what was written.
type Problem struct {
	Code     Code   `json:"code"`
	Sequence uint64 `json:"sequence"`          // 0 when it is not known
	Subject  string `json:"subject,omitempty"` // "" when it is not known
	Detail   string `json:"detail"`
}

func (p Problem) String() string {
	at := fmt.Sprintf("sequence %d", p.Sequence)
	if p.Sequence == 0 {
		at = "no sequence"
	}
	if p.Subject != "" {
		at += " " + p.Subject
	}
	return fmt.Sprintf("%-13s %s: %s", p.Code, at, p.Detail)
}

// Report is the outcome of a verification.
type Report struct {
	OK bool `json:"ok"`
	// Whole tells that every commit from the first sequence on was checked, of all aggregates. Else it was a part.
	Whole bool `json:"whole"`
	// First and Last are the lowest and the highest sequence that is there; 0 for none.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`

	Commits    uint64 `json:"commits"`
	Events     uint64 `json:"events"`
	Aggregates int    `json:"aggregates"`
	// Unjudged are aggregates whose events were not judged to their end: they begin before the part, or a problem ended it.
	Unjudged int `json:"unjudged"`
	// Heads is the digest of the last commit of every aggregate: the hex SHA-256 of a line "<subject> <version> <hash>\n"
	// for each, sorted by subject, byte by byte.
	Heads string `json:"heads"`

	// Problems are ordered by sequence. Count is how many there are; more than Config.MaxProblems are not looked for.
	Problems []Problem `json:"problems"`
	Count    int       `json:"problem_count"`
	GaveUp   bool      `json:"gave_up"`

	// Walks is how often the log was walked.
	Walks int `json:"walks"`
}

// headsDigest is Report.Heads.
func headsDigest(chains map[string]*chain) string {
	sum := sha256.New()
	for _, subject := range slices.Sorted(maps.Keys(chains)) {
		c := chains[subject]
		_, _ = fmt.Fprintf(sum, "%s %d %s\n", subject, c.version, hex.EncodeToString(c.hash[:])) // a hash never fails
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// problems collects up to a bound.
type problems struct {
	limit int
	list  []Problem
}

func (p *problems) add(code Code, seq uint64, subject, format string, args ...any) {
	p.list = append(p.list, Problem{Code: code, Sequence: seq, Subject: subject, Detail: fmt.Sprintf(format, args...)})
}

// sorted are the problems by their sequences; those of which none is known come last.
func (p *problems) sorted() []Problem {
	list := slices.Clone(p.list)
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Compare(a.Sequence-1, b.Sequence-1) // 0 becomes the largest
	})
	return append([]Problem{}, list[:min(len(list), p.limit)]...)
}
