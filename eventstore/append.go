package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/retry"
	"closure/eventstore/tracing"
)

// attemptTimeout bounds one publish, and one look into the log, within an append:
// there is time for more than one of both.
func (l *Log) attemptTimeout() time.Duration { return l.cfg.AppendTimeout * 2 / 5 }

// verdict of one try to append.
type verdict int

const (
	unknown    verdict = iota // nobody can say yet: look, then try again
	refused                   // for good; the error says why
	conflicted                // the guard refused it: look whose commit is there
	stored
)

// Append writes the commit behind the head, and returns it as it stands in the
// log. It sets Version and PrevHash from the head.
//
// The head MUST be the one that the decision was based on. When the aggregate has
// moved on the commit is not written: ErrConflict. When the very same commit (by
// its id) is in the log behind that head already, because it was appended before
// and the acknowledgement got lost, the append is a success, even if other commits
// have followed; what is returned is the commit that was stored. When the head
// given is that commit or a later one, it is recognised for two minutes only (the
// duplicate window of the stream): who decides again has to look at the state.
//
// Append retries within Config.AppendTimeout; then, or when the context ends, the
// outcome is unknown: ErrUnavailable. Repeating it with the same commit id and
// head is safe. Other errors: ErrTooLarge, ErrMalformedCommit, ErrCommitIDTaken.
//
// The trace context of ctx is stored beside the commit.
func (l *Log) Append(ctx context.Context, c Commit, head Head) (Recorded, error) {
	begin := time.Now()
	done, err := l.append(ctx, c, head)
	if l.cfg.Appended != nil {
		l.cfg.Appended(time.Since(begin), err)
	}
	return done, err
}

func (l *Log) append(ctx context.Context, c Commit, head Head) (Recorded, error) {
	if err := head.check(); err != nil {
		return Recorded{}, fmt.Errorf("append: %w", err)
	}
	c.Version = head.Version + 1
	c.PrevHash = head.Hash
	c, body, err := c.encode()
	if err != nil {
		return Recorded{}, fmt.Errorf("append: %w", err)
	}
	rec := Recorded{Commit: c, Hash: HashOf(body), Size: len(body), Trace: tracing.Of(ctx)}

	// 1. Publish under the guard: mostly that settles it. 2. Unless it does, look into
	// the log for our own commit, and for others that took its place. 3. Again, until it
	// is settled or the time is up.
	deadline := time.Now().Add(l.cfg.AppendTimeout)
	p := newPublication(rec, body, head)
	done, v, err := l.publish(ctx, deadline, p)
	if v == stored || v == refused {
		return done, err
	}
	return l.insist(ctx, deadline, p, v, err)
}

// insist goes on with an append that was tried once, which did not settle it: v and err
// are what came of the try.
func (l *Log) insist(ctx context.Context, deadline time.Time, p *publication, v verdict, err error) (Recorded, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	behind := &search{id: p.rec.ID, subject: p.subject, head: p.head.Sequence}
	wait := retry.NewBackoff(5*time.Millisecond, 250*time.Millisecond)
	var odd error // what was found, and does not settle it
	for {
		found, settled, lookErr := l.settle(ctx, behind)
		if settled {
			return found, lookErr
		}
		// The guard refused the commit and yet nobody else's is there: one is on
		// its way into a replicated stream. Or nobody answers at all.
		if v == conflicted && lookErr == nil {
			odd = fmt.Errorf("nothing stands behind the head at sequence %d, and yet it is refused: is it of another log?", p.head.Sequence)
		}
		if waitErr := wait.Wait(ctx); waitErr != nil {
			return Recorded{}, fmt.Errorf("%w: append %s to %s: %w",
				ErrUnavailable, behind.id, behind.subject, errors.Join(odd, err, lookErr, waitErr))
		}
		var done Recorded
		p = newPublication(p.rec, p.body, p.head) // the one before may still be in a batch
		if done, v, err = l.publish(ctx, deadline, p); v == stored || v == refused {
			return done, err
		}
	}
}

// publish tries once, in company where that pays, and judges the answer. When it is
// stored, the commit as it stands in the log is returned.
func (l *Log) publish(ctx context.Context, deadline time.Time, p *publication) (Recorded, verdict, error) {
	if !l.group.join(p) {
		return l.publishAlone(ctx, deadline, p)
	}
	waiting, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	select {
	case a := <-p.answer:
		switch {
		case a.alone:
			return l.publishAlone(ctx, deadline, p)
		case a.verdict == stored:
			return p.recorded(a.sequence), stored, nil
		}
		return Recorded{}, a.verdict, a.err
	case <-waiting.Done():
		// It may be in a batch on its way.
		l.group.leave(p)
		return Recorded{}, unknown, waiting.Err()
	}
}

// publishAlone is publish by a message of its own.
func (l *Log) publishAlone(ctx context.Context, deadline time.Time, p *publication) (Recorded, verdict, error) {
	begin := time.Now()
	end := begin.Add(l.attemptTimeout())
	if end.After(deadline) {
		end = deadline
	}
	try, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	ack, err := l.request(try, p.message()) // once: Append retries by itself, and looks in between
	l.group.published(begin, err == nil)
	if err == nil && ack.duplicate {
		return l.duplicate(ctx, deadline, p.rec, ack.sequence)
	}
	if err == nil {
		return p.recorded(ack.sequence), stored, nil
	}
	v, err := judge(err, len(p.body), l.nc.MaxPayload())
	if v == refused {
		err = fmt.Errorf("append %s to %s: %w", p.rec.ID, p.subject, err)
	}
	return Recorded{}, v, err
}

// judge an error of a publish. Codes, never texts.
func judge(err error, size int, limit int64) (verdict, error) {
	if errors.Is(err, nats.ErrMaxPayload) {
		return refused, fmt.Errorf("%w: %d bytes and its headers, the server takes %d", ErrTooLarge, size, limit)
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		if errors.Is(err, nats.ErrConnectionClosed) {
			return refused, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return unknown, err
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return conflicted, err
	case codeDuplicateInProcess:
		return unknown, err
	case jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return refused, fmt.Errorf("%w: %d bytes and its headers are over the limit of the stream: %w", ErrTooLarge, size, err)
	}
	if api.Code >= 500 { // no leader, no disk left, …: may pass
		return unknown, err
	}
	return refused, err
}

// duplicate: the guard let the commit pass, but its id is in the log already. The
// server did not store it again, and told where the first one stands. So the
// caller's head is that commit, or a later one: it was decided twice.
func (l *Log) duplicate(ctx context.Context, deadline time.Time, rec Recorded, seq uint64) (Recorded, verdict, error) {
	subject := LogSubject(rec.Aggregate, rec.AggregateID)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	try, cancelTry := context.WithTimeout(ctx, l.attemptTimeout())
	defer cancelTry()
	first, err := l.leaderNext(try, subject, seq)
	if err != nil {
		return Recorded{}, unknown, err
	}
	if first == nil || first.Sequence != seq {
		return Recorded{}, refused, fmt.Errorf("append to %s: %w: %s stands at sequence %d", subject, ErrCommitIDTaken, rec.ID, seq)
	}
	return *first, stored, nil
}

// search for a commit in its aggregate behind a head. It remembers how far it has
// come: what is stored does not change.
type search struct {
	id, subject string
	head        uint64    // sequence that it began behind
	last        *Recorded // the last commit that was looked at; nil: none is there
}

func (s *search) next() uint64 {
	if s.last == nil {
		return s.head + 1
	}
	return s.last.Sequence + 1
}

// settle goes on with the search. It is settled when the commit is found, or when
// others have taken its place: then the guard keeps it out for good, and that is the
// conflict. The leader is asked in the end; a replica may be behind.
func (l *Log) settle(ctx context.Context, s *search) (Recorded, bool, error) {
	try, cancel := context.WithTimeout(ctx, l.attemptTimeout())
	defer cancel()
	found, err := l.look(try, s)
	switch {
	case err != nil:
		// What is stored is broken: nothing to wait for. Else the log could not be
		// read to its end, and nothing is known.
		broken := errors.Is(err, ErrMalformedCommit) || errors.Is(err, ErrBrokenChain)
		return Recorded{}, broken, err
	case found != nil:
		return *found, true, nil
	case s.last == nil:
		return Recorded{}, false, nil
	}
	return Recorded{}, true, fmt.Errorf("append %s to %s: %w: its last commit is %s at sequence %d, the head given was at %d",
		s.id, s.subject, ErrConflict, s.last.ID, s.last.Sequence, s.head)
}

// look walks on through the aggregate's commits until it finds the one with the
// id; nil when the leader has no more.
func (l *Log) look(ctx context.Context, s *search) (*Recorded, error) {
	for {
		next, err := l.leaderNext(ctx, s.subject, s.next())
		if err != nil || next == nil {
			return nil, err
		}
		if s.last = next; next.ID == s.id {
			return next, nil
		}
		// A head may be behind by many commits, and the leader gives them one by
		// one. Whatever a replica has of the rest is good as well.
		rest, _, err := l.direct(ctx, getRequest{Seq: s.next(), NextFor: s.subject, Batch: loadBatch, MaxBytes: readBytes})
		for _, r := range rest {
			if s.last = &r; r.ID == s.id {
				return &r, nil
			}
		}
		if err != nil {
			return nil, err
		}
	}
}
