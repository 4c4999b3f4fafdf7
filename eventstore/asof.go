package eventstore

import (
	"context"
	"fmt"
	"time"
)

// LoadUpTo returns the commits of one aggregate up to a sequence of the log,
// inclusive, oldest first: the aggregate as it was when the log ended there. For a
// sequence that the log has reached the answer never changes; for one behind its
// end it is all there is. Like LoadCurrent it misses nothing that was acknowledged,
// and like Load it verifies hashes and links.
func (l *Log) LoadUpTo(ctx context.Context, aggregate, id string, seq uint64) ([]Recorded, error) {
	return l.loadWhile(ctx, aggregate, id, func(r Recorded) bool { return r.Sequence <= seq })
}

// LoadAsOf is LoadUpTo by time: the commits that were decided (Commit.Time) up to at,
// inclusive. Clocks of engines differ, so a later commit may have an earlier time;
// since a history with a hole is none, the answer ends before the first commit that
// was decided after at.
func (l *Log) LoadAsOf(ctx context.Context, aggregate, id string, at time.Time) ([]Recorded, error) {
	return l.loadWhile(ctx, aggregate, id, func(r Recorded) bool { return !r.Time.After(at) })
}

// loadWhile loads an aggregate from its beginning up to, and without, the first
// commit that is not within. It asks for nothing more once it has met that one.
func (l *Log) loadWhile(ctx context.Context, aggregate, id string, within func(Recorded) bool) ([]Recorded, error) {
	subject, err := literal(aggregate, id)
	if err != nil {
		return nil, err
	}
	out, ended, err := l.directWhile(ctx, subject, within)
	if err != nil {
		return nil, l.readError(fmt.Sprintf("load the past of %s", subject), err)
	}
	// A replica has what it has without a hole, so only its end may be too early.
	for from := behind(out); !ended && l.replicas > 1; from = behind(out) {
		next, err := l.leaderNext(ctx, subject, from)
		if err != nil {
			return nil, l.readError(fmt.Sprintf("load the past of %s", subject), err)
		}
		if ended = next == nil || !within(*next); !ended {
			out = append(out, *next)
		}
	}
	return out, checkChain(out, 0)
}

// directWhile is loadWhile from any replica; ended tells that it met a commit that
// is not within.
func (l *Log) directWhile(ctx context.Context, subject string, within func(Recorded) bool) (out []Recorded, ended bool, err error) {
	for {
		batch, pending, err := l.direct(ctx, getRequest{Seq: behind(out), NextFor: subject, Batch: loadBatch, MaxBytes: readBytes})
		for _, r := range batch {
			if !within(r) {
				return out, true, nil
			}
			out = append(out, r)
		}
		if err != nil || pending == 0 || len(batch) == 0 {
			return out, false, err
		}
	}
}

// behind is the first sequence that may follow on the commits.
func behind(commits []Recorded) uint64 {
	if len(commits) == 0 {
		return 1
	}
	return commits[len(commits)-1].Sequence + 1
}
