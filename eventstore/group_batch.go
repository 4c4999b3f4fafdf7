package eventstore

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// fits tells whether a commit may share a batch. One message of a batch that the server
// does not take fails them all, and the server tells of it at the end only.
func (l *Log) fits(p *publication) bool {
	// The headers hold the id of the commit, the hash, some numbers, and a trace context.
	const headers = 2 << 10
	size := len(p.body) + len(p.rec.ID) + len(p.subject) + headers
	return len(p.body) <= companyBytes && int64(size) <= l.nc.MaxPayload()
}

// publishBatch publishes commits of different aggregates by one atomic batch, each under
// its own guard: all of them are stored, or none. One that the server refuses is
// answered, and its neighbours are given back, for a batch without it. The context of
// none of the callers counts: they share the batch.
func (l *Log) publishBatch(batch []*publication) batchResult {
	ctx, cancel := context.WithTimeout(context.Background(), l.attemptTimeout())
	defer cancel()
	messages := make([]*nats.Msg, len(batch))
	for i, p := range batch {
		messages[i] = p.message()
	}
	// Without flow control: the whole batch is on its way before the first answer.
	ack, err := jetstreamext.PublishMsgBatch(ctx, l.js, messages, jetstreamext.BatchFlowControl{})
	if err == nil {
		// A batch takes sequences without a gap; the answer has its last one.
		first := ack.Sequence - uint64(len(batch)) + 1
		for i, p := range batch {
			p.answer <- answer{verdict: stored, sequence: first + uint64(i)}
		}
		return batchResult{stored: len(batch)}
	}
	switch v, err := judge(err, 0, l.nc.MaxPayload()); v {
	case conflicted:
		return batchResult{refused: true, again: l.withoutRefused(ctx, batch, err)}
	case refused:
		// What is wrong with which of them, each one learns alone. A commit id that
		// the server knows already is refused like this, too.
		for _, p := range batch {
			p.refusals = batchAttempts
		}
		return batchResult{refused: true, again: batch}
	default:
		// The batch may be in the log or not, or come in later: each one looks.
		for _, p := range batch {
			p.answer <- answer{verdict: unknown, err: err}
		}
		return batchResult{}
	}
}

// withoutRefused answers those whose aggregate has moved on, and gives the others. Of a
// refused batch the server does not say which guard it was; what stands there does.
func (l *Log) withoutRefused(ctx context.Context, batch []*publication, why error) (others []*publication) {
	subjects := make([]string, len(batch))
	for i, p := range batch {
		subjects[i] = p.subject
	}
	last, err := l.lastSequences(ctx, subjects)
	if err != nil {
		return batch // they go alone in the end
	}
	for _, p := range batch {
		if last[p.subject] == p.head.Sequence {
			others = append(others, p)
			continue
		}
		p.answer <- answer{verdict: conflicted, err: why}
	}
	return others
}
