package verify

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"unique"

	"closure/eventstore"
)

const (
	defaultStates      = 100_000
	defaultMaxProblems = 100
	progressEvery      = 1000
)

// Judge folds the commits of one aggregate, and says whether each could have been decided where it stands. The state before
// the first commit is nil. After an error the rest of the aggregate is not judged.
type Judge func(before any, c eventstore.Recorded) (after any, err error)

// ErrUnknownEvent is what a Judge returns, wrapped, for events that it does not know: that says nothing against them.
var ErrUnknownEvent = errors.New("nothing is known against it")

// Config of a verification.
type Config struct {
	// Judge checks what the events mean. Defaults to none: only the chains are checked.
	Judge Judge
	// States is how many states the judge may keep at a time. Defaults to 100,000.
	States int
	// Expect is the digest that an earlier verification of the same part gave. Defaults to none.
	Expect string
	// MaxProblems ends the walk. Defaults to 100.
	MaxProblems int
	// Progress is called now and then: in which walk of how many, as far as that is known, at which sequence. Defaults to none.
	Progress func(walk, walks int, seq uint64)
}

// chain is what is kept of each aggregate.
type chain struct {
	hash    [32]byte
	version int
	client  unique.Handle[string]
	// unjudged: nothing more can be said of its events.
	unjudged bool
}

// verifier is one verification.
type verifier struct {
	cfg      Config
	scope    Scope
	chains   map[string]*chain
	report   Report
	problems problems
	next     uint64 // the sequence that is expected

	// Each walk judges the aggregates of one part; together they are all.
	parts, part uint32
	states      map[string]*judged
}

// judged is how far an aggregate is judged.
type judged struct {
	version int
	state   any
}

// mostParts bounds the walks.
const mostParts = 1 << 16

// errFull ends a walk: there are enough problems.
var errFull = errors.New("enough problems")

// Run verifies a source. The error says that it could not be read; what is wrong with the log is in the report.
func Run(ctx context.Context, src Source, cfg Config) (Report, error) {
	if cfg.States < 1 {
		cfg.States = defaultStates
	}
	if cfg.MaxProblems < 1 {
		cfg.MaxProblems = defaultMaxProblems
	}
	v := &verifier{
		cfg: cfg, scope: src.Scope(), chains: map[string]*chain{}, problems: problems{limit: cfg.MaxProblems},
		parts: 1, states: map[string]*judged{},
	}
	v.next = v.scope.first()
	err := v.walk(ctx, src, v.take)
	if err != nil && !errors.Is(err, errFull) {
		return Report{}, err
	}
	v.report.GaveUp = errors.Is(err, errFull)
	v.end()
	for v.part = 1; v.part < v.parts; v.part++ {
		clear(v.states)
		if err := v.walk(ctx, src, v.takeAgain); err != nil && !errors.Is(err, errFull) {
			return Report{}, err
		}
	}
	return v.finish(), nil
}

func (v *verifier) walk(ctx context.Context, src Source, take func(Message)) error {
	v.report.Walks++
	limit := len(v.problems.list) + v.cfg.MaxProblems
	taken := 0
	return src.Walk(ctx, func(m Message) error {
		take(m)
		if taken++; v.cfg.Progress != nil && taken%progressEvery == 0 {
			v.cfg.Progress(v.report.Walks, int(v.parts), m.Sequence)
		}
		if len(v.problems.list) >= limit {
			return errFull
		}
		return nil
	})
}

func (v *verifier) finish() Report {
	r := &v.report
	r.Aggregates, r.Heads = len(v.chains), headsDigest(v.chains)
	if want := v.cfg.Expect; want != "" && want != r.Heads {
		v.problems.add(Damaged, 0, "", "the digest of the heads is not %s as expected: what was there then was changed since", want)
	}
	for _, c := range v.chains {
		if c.unjudged || v.cfg.Judge == nil {
			r.Unjudged++
		}
	}
	r.Problems, r.Count = v.problems.sorted(), len(v.problems.list)
	r.OK = r.Count == 0
	r.Whole = v.scope.whole() && !r.GaveUp
	return *r
}

// end looks for what is missing behind the last message.
func (v *verifier) end() {
	if to := v.scope.To; !v.report.GaveUp && !v.scope.filtered() && v.next <= to {
		v.problems.add(Missing, v.next, "", "%s", missing(v.next, to))
	}
}

func missing(from, to uint64) string {
	if from == to {
		return "it is missing"
	}
	return fmt.Sprintf("it is missing, and all up to sequence %d", to)
}

// take checks one message in the first walk.
func (v *verifier) take(m Message) {
	if m.Fault != "" {
		v.problems.add(Damaged, m.Sequence, m.Subject, "%s", m.Fault)
		return
	}
	late := v.order(m)
	c, ok := v.alone(m)
	if !ok {
		v.lost(m.Subject)
		return
	}
	known, wrong := v.link(c, m.Subject)
	if wrong != "" && late {
		return // that it stands in the wrong place is said already; the chain goes on where it was
	}
	if wrong != "" {
		v.problems.add(BrokenLink, m.Sequence, m.Subject, "%s", wrong)
		known.unjudged = true
	}
	v.report.Commits++
	v.report.Events += uint64(len(c.Events))
	v.follow(known, c, m)
	v.judge(known, c, m.Subject)
}

// order checks the sequence; late tells that it is one that came before, or should have come.
func (v *verifier) order(m Message) (late bool) {
	switch {
	case m.Sequence < v.next && v.report.Last >= m.Sequence:
		v.problems.add(Repeated, m.Sequence, m.Subject, "it stands behind sequence %d: it is there twice, or in the wrong place", v.report.Last)
		return true
	case m.Sequence < v.next:
		v.problems.add(Repeated, m.Sequence, m.Subject, "it does not belong here: this part begins at sequence %d", v.next)
		return true
	case m.Sequence > v.next && !v.scope.filtered():
		v.problems.add(Missing, v.next, "", "%s", missing(v.next, m.Sequence-1))
	}
	v.next = m.Sequence + 1
	if v.report.First == 0 {
		v.report.First = m.Sequence
	}
	v.report.Last = m.Sequence
	return false
}

// alone checks what can be checked of a message by itself; ok when there is a commit to go on with.
func (v *verifier) alone(m Message) (c eventstore.Recorded, ok bool) {
	commit, err := eventstore.DecodeCommit(m.Body)
	if err != nil {
		v.problems.add(Malformed, m.Sequence, m.Subject, "%v", err)
		return eventstore.Recorded{}, false
	}
	hash := eventstore.HashOf(m.Body)
	if m.Hash != hash {
		v.problems.add(WrongHash, m.Sequence, m.Subject, "the body has the hash %s, its header %s says %q", hash, eventstore.HeaderHash, m.Hash)
	}
	if body, err := commit.Encode(); err != nil || !bytes.Equal(body, m.Body) {
		v.problems.add(Malformed, m.Sequence, m.Subject, "the commit is not written as the log writes it, byte for byte")
	}
	if m.ID != "" && m.ID != commit.ID {
		v.problems.add(WrongID, m.Sequence, m.Subject, "the message has the id %q, its commit %q", m.ID, commit.ID)
	}
	if own := eventstore.LogSubject(commit.Aggregate, commit.AggregateID); own != m.Subject {
		v.problems.add(WrongSubject, m.Sequence, m.Subject, "it holds a commit of %s", own)
		return eventstore.Recorded{}, false
	}
	return eventstore.Recorded{Commit: commit, Sequence: m.Sequence, Hash: hash, Size: len(m.Body)}, true
}

// lost: a commit of the aggregate cannot be read, so nothing behind it can be judged. Its chain breaks at the next one.
func (v *verifier) lost(subject string) {
	if c := v.chains[subject]; c != nil {
		c.unjudged = true
		delete(v.states, subject)
	}
}

// link checks how a commit follows on the one before it; what does not fit is said.
func (v *verifier) link(c eventstore.Recorded, subject string) (known *chain, wrong string) {
	known = v.chains[subject]
	if known == nil {
		known = &chain{client: unique.Make(c.ClientID)}
		if c.Version == 1 {
			return known, ""
		}
		known.unjudged = true
		if v.scope.first() > 1 {
			return known, "" // what came before is not in this part
		}
		return known, fmt.Sprintf("its aggregate begins with version %d: what was before is missing", c.Version)
	}
	if c.Version != known.version+1 || c.PrevHash != hex.EncodeToString(known.hash[:]) {
		wrong = fmt.Sprintf("version %d with prev_hash %q follows on version %d with the hash %x", c.Version, c.PrevHash, known.version, known.hash)
	}
	return known, wrong
}

// follow makes the commit the head of its aggregate.
func (v *verifier) follow(known *chain, c eventstore.Recorded, m Message) {
	if known.version == 0 {
		v.chains[strings.Clone(m.Subject)] = known
	} else if client := unique.Make(c.ClientID); client != known.client {
		v.problems.add(WrongClient, m.Sequence, m.Subject, "the commit is of client %q, the aggregate of %q", c.ClientID, known.client.Value())
		known.client = client
		known.unjudged = true
	}
	known.version = c.Version
	// HashOf gives 64 hex digits.
	_, _ = hex.Decode(known.hash[:], []byte(c.Hash))
}

// judge asks whether the events could have been decided, when the aggregate is in the part of this walk.
func (v *verifier) judge(known *chain, c eventstore.Recorded, subject string) {
	if v.cfg.Judge == nil {
		return
	}
	if known.unjudged {
		delete(v.states, subject)
		return
	}
	if v.partOf(subject) != v.part {
		return
	}
	at := v.states[subject]
	if at == nil {
		at = &judged{}
		v.states[strings.Clone(subject)] = at
	}
	if c.Version != at.version+1 {
		return // it stands here again: the first walk has said so
	}
	after, err := v.cfg.Judge(at.state, c)
	if err != nil {
		code := Implausible
		if errors.Is(err, ErrUnknownEvent) {
			code = UnknownEvent
		}
		v.problems.add(code, c.Sequence, subject, "%v", err)
		known.unjudged = true
		delete(v.states, subject)
		return
	}
	at.version, at.state = c.Version, after
	for v.part == 0 && len(v.states) > v.cfg.States && v.parts < mostParts {
		v.split()
	}
}

// split judges in twice as many walks, each half as many aggregates. A part of twice as many is within the part of as many,
// so the states that stay are whole.
func (v *verifier) split() {
	v.parts *= 2
	for subject := range v.states {
		if v.partOf(subject) != v.part {
			delete(v.states, subject)
		}
	}
}

func (v *verifier) partOf(subject string) uint32 {
	if v.parts == 1 {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(subject)) // a hash never fails
	return (h.Sum32() ^ h.Sum32()>>15) % v.parts
}

// takeAgain judges the aggregates of a later part. All else about them is known from the first walk; one whose chain broke
// somewhere is not judged at all.
func (v *verifier) takeAgain(m Message) {
	if m.Fault != "" || v.partOf(m.Subject) != v.part {
		return
	}
	known := v.chains[m.Subject]
	if known == nil || known.unjudged {
		return
	}
	c, err := eventstore.DecodeCommit(m.Body)
	if err != nil {
		return // then its chain would be unjudged
	}
	v.judge(known, eventstore.Recorded{Commit: c, Sequence: m.Sequence, Hash: eventstore.HashOf(m.Body), Size: len(m.Body)}, m.Subject)
}
