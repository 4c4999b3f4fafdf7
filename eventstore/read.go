package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/tracing"
)

const (
	directGetSubject = "$JS.API.DIRECT.GET." + StreamLog
	leaderGetSubject = "$JS.API.STREAM.MSG.GET." + StreamLog

	// loadBatch and readBytes bound what one request asks for, so that the answers
	// fit into what server and client buffer for a connection (64 MiB).
	loadBatch = 512
	readBytes = 8 << 20

	// Headers of the server's answers that nats.go does not name.
	headerStatus       = "Status"
	headerPending      = "Nats-Num-Pending"
	headerLastSequence = "Nats-Last-Sequence"
)

// getRequest is the body of a direct get, and of a get from the leader.
type getRequest struct {
	Seq      uint64   `json:"seq,omitempty"`
	NextFor  string   `json:"next_by_subj,omitempty"`
	LastFor  []string `json:"multi_last,omitempty"`
	Batch    int      `json:"batch,omitempty"`
	MaxBytes int      `json:"max_bytes,omitempty"`
}

// Load returns the commits of one aggregate with a sequence above after, oldest
// first; none is no error. Their hashes are verified, and how they follow on each
// other: ErrBrokenChain or ErrMalformedCommit name subject and sequence.
//
// It MAY read from a replica that is behind, and miss the newest commits; an
// append based on it is then refused, and LoadFromLeader shows them.
func (l *Log) Load(ctx context.Context, aggregate, id string, after uint64) ([]Recorded, error) {
	subject, err := literal(aggregate, id)
	if err != nil {
		return nil, err
	}
	var out []Recorded
	for from := after + 1; ; {
		batch, pending, err := l.direct(ctx, getRequest{Seq: from, NextFor: subject, Batch: loadBatch, MaxBytes: readBytes})
		if err != nil {
			return nil, l.readError("load "+subject, err)
		}
		if out == nil {
			out = batch // mostly that is all
		} else {
			out = append(out, batch...)
		}
		if pending == 0 || len(batch) == 0 {
			break
		}
		from = batch[len(batch)-1].Sequence + 1
	}
	return out, checkChain(out, after)
}

// LoadFromLeader is Load from the leader of the stream, which is never behind. It
// costs a request for each commit: for what is new after a conflict.
func (l *Log) LoadFromLeader(ctx context.Context, aggregate, id string, after uint64) ([]Recorded, error) {
	subject, err := literal(aggregate, id)
	if err != nil {
		return nil, err
	}
	var out []Recorded
	for from := after + 1; ; {
		next, err := l.leaderNext(ctx, subject, from)
		if err != nil {
			return nil, l.readError("load "+subject, err)
		}
		if next == nil {
			break
		}
		out = append(out, *next)
		from = next.Sequence + 1
	}
	return out, checkChain(out, after)
}

// LoadCurrent is Load that misses nothing that was acknowledged before it began, whoever
// appended it: the reads of what was just written. On one replica it is Load. On
// more, the leader is asked for what the replica that answered has not seen, which
// is one request more. JetStream asks no quorum for a read: a leader that is cut off
// from the others still answers, for some ten seconds, while another one appends. What
// is decided on such an answer the guard refuses.
func (l *Log) LoadCurrent(ctx context.Context, aggregate, id string, after uint64) ([]Recorded, error) {
	out, err := l.Load(ctx, aggregate, id, after)
	if err != nil || l.replicas == 1 {
		return out, err
	}
	last := after
	if len(out) > 0 {
		last = out[len(out)-1].Sequence
	}
	newer, err := l.LoadFromLeader(ctx, aggregate, id, last)
	if err != nil || len(newer) == 0 {
		return out, err
	}
	out = append(out, newer...)
	return out, checkChain(out, after)
}

// Read returns the commits of all aggregates in the order of the log, without a
// gap, from a sequence on; at most limit, and at most some megabytes. None is no
// error: there is nothing yet, or the replica that answered is behind.
//
// A commit that cannot be read is an error when it is the first one; else what is
// before it is returned, and the next Read meets it.
func (l *Log) Read(ctx context.Context, from uint64, limit int) ([]Recorded, error) {
	if limit < 1 {
		return nil, fmt.Errorf("event log: cannot read %d commits", limit)
	}
	// Without a subject the server walks the sequences; with closure.log.> it would
	// first count what matches.
	from = max(from, 1)
	batch, _, err := l.direct(ctx, getRequest{Seq: from, Batch: limit, MaxBytes: readBytes})
	if len(batch) == 0 {
		if err != nil {
			return nil, l.readError(fmt.Sprintf("read from sequence %d", from), err)
		}
		return nil, nil
	}
	for i, r := range batch {
		if r.Sequence == from+uint64(i) {
			continue
		}
		if i > 0 {
			return batch[:i], nil
		}
		return nil, fmt.Errorf("%w: sequence %d is missing in %s", ErrBrokenChain, from, StreamLog)
	}
	return batch, nil
}

// literal is the subject of one aggregate; a wildcard would make the server scan
// the whole log, and mix aggregates.
func literal(aggregate, id string) (string, error) {
	if !ValidToken(aggregate) || !ValidToken(id) {
		return "", fmt.Errorf("event log: aggregate %q with id %q has no subject", aggregate, id)
	}
	return LogSubject(aggregate, id), nil
}

// checkChain: each commit follows on the one before it. Only from the beginning
// of an aggregate on can the first one be checked too.
func checkChain(commits []Recorded, after uint64) error {
	for i := range commits {
		c := &commits[i]
		version, hash := 0, ""
		switch {
		case i > 0:
			version, hash = commits[i-1].Version, commits[i-1].Hash
		case after > 0:
			continue
		}
		if c.Version != version+1 || c.PrevHash != hash {
			return fmt.Errorf("%w: %s at sequence %d: version %d with prev_hash %q follows on version %d with hash %q",
				ErrBrokenChain, LogSubject(c.Aggregate, c.AggregateID), c.Sequence, c.Version, c.PrevHash, version, hash)
		}
	}
	return nil
}

// direct makes one batched direct get. It returns what came, in order, and how
// many are left. With an error it returns what came before the commit that could
// not be read.
func (l *Log) direct(ctx context.Context, req getRequest) (batch []Recorded, pending uint64, err error) {
	pending, err = l.answers(ctx, req, func(msg *nats.Msg, seq uint64) error {
		rec, err := decodeStored(msg.Header.Get(jetstream.SubjectHeader), seq, msg.Header, msg.Data)
		if err == nil && batch == nil {
			// Each answer tells how many follow it in the log.
			batch = make([]Recorded, 0, 1+min(number(msg, headerPending), uint64(req.Batch)))
		}
		if err == nil {
			batch = append(batch, rec)
		}
		return err
	})
	return batch, pending, err
}

// lastSequences tells where the last commits of aggregates stand; one without commits
// is not in it. The subjects are literal, and a thousand at most.
func (l *Log) lastSequences(ctx context.Context, subjects []string) (map[string]uint64, error) {
	last := make(map[string]uint64, len(subjects))
	pending, err := l.answers(ctx, getRequest{LastFor: subjects, MaxBytes: readBytes}, func(msg *nats.Msg, seq uint64) error {
		last[msg.Header.Get(jetstream.SubjectHeader)] = seq
		return nil
	})
	if err == nil && pending > 0 {
		err = fmt.Errorf("%d of the last commits of %d aggregates are over %d bytes", pending, len(subjects), readBytes)
	}
	return last, err
}

// answers makes a direct get with many answers, and tells how many it has left out.
func (l *Log) answers(ctx context.Context, req getRequest, each func(*nats.Msg, uint64) error) (pending uint64, err error) {
	body, err := json.Marshal(req)
	if err != nil {
		return 0, err
	}
	sub, err := l.inboxes.take(l.nc)
	if err != nil {
		return 0, err
	}
	ended := false
	defer func() { l.inboxes.giveBack(sub, ended) }()
	if err := l.nc.PublishRequest(directGetSubject, sub.Subject, body); err != nil {
		return 0, err
	}
	var last uint64
	for {
		msg, err := l.nextAnswer(ctx, sub)
		if err != nil {
			return 0, err
		}
		if msg.Header.Get(headerStatus) != "" {
			ended = true
			return endOfBatch(msg, last)
		}
		// Answers are plain messages, and a lost connection loses some: each one
		// names the one before it.
		if prev := number(msg, headerLastSequence); prev != last {
			return 0, fmt.Errorf("%w: an answer got lost: %d follows on %d", ErrUnavailable, prev, last)
		}
		last = number(msg, jetstream.SequenceHeader)
		if err := each(msg, last); err != nil {
			return 0, err
		}
	}
}

// nextAnswer waits for one answer; each may take the whole read timeout.
func (l *Log) nextAnswer(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	if waiting, _, err := sub.Pending(); err == nil && waiting > 0 {
		return sub.NextMsgWithContext(ctx) // it is there: no time has to be taken
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.ReadTimeout)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}

// endOfBatch reads the status message that ends the answers.
func endOfBatch(msg *nats.Msg, last uint64) (pending uint64, err error) {
	switch status := msg.Header.Get(headerStatus); status {
	case strconv.Itoa(http.StatusNoContent):
		if got := number(msg, headerLastSequence); got != last {
			return 0, fmt.Errorf("%w: an answer got lost: the last was %d, not %d", ErrUnavailable, got, last)
		}
		return number(msg, headerPending), nil
	case strconv.Itoa(http.StatusNotFound):
		return 0, nil
	case strconv.Itoa(http.StatusServiceUnavailable):
		return 0, nats.ErrNoResponders
	default:
		return 0, fmt.Errorf("direct get: %s %s", status, msg.Header.Get("Description"))
	}
}

func number(msg *nats.Msg, header string) uint64 {
	// The server wrote it. If it did not, 0 fits nothing, and is found by whoever
	// compares it.
	n, _ := strconv.ParseUint(msg.Header.Get(header), 10, 64)
	return n
}

// storedMsg is a message as the leader's answer has it.
type storedMsg struct {
	Message *struct {
		Subject  string    `json:"subject"`
		Sequence uint64    `json:"seq"`
		Header   []byte    `json:"hdrs"`
		Data     []byte    `json:"data"`
		Time     time.Time `json:"time"`
	} `json:"message"`
	Error *jetstream.APIError `json:"error"`
}

// leaderNext asks the leader for the first commit of a subject from a sequence
// on; nil when there is none.
func (l *Log) leaderNext(ctx context.Context, subject string, from uint64) (*Recorded, error) {
	body, err := json.Marshal(getRequest{Seq: from, NextFor: subject})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.ReadTimeout)
	defer cancel()
	answer, err := l.nc.RequestWithContext(ctx, leaderGetSubject, body)
	if err != nil {
		return nil, err
	}
	var got storedMsg
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		return nil, fmt.Errorf("answer of the stream's leader: %w", err)
	}
	switch {
	case got.Error != nil && got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, nil
	case got.Error != nil:
		return nil, got.Error
	case got.Message == nil:
		return nil, errors.New("answer of the stream's leader: no message in it")
	}
	header, err := nats.DecodeHeadersMsg(got.Message.Header)
	if err != nil && len(got.Message.Header) > 0 {
		return nil, fmt.Errorf("headers of sequence %d: %w", got.Message.Sequence, err)
	}
	rec, err := decodeStored(got.Message.Subject, got.Message.Sequence, header, got.Message.Data)
	if err != nil {
		return nil, err
	}
	return &rec, nil
}

// decodeStored makes a commit of a stored message, and verifies what can be
// verified of it alone. Its errors name subject and sequence.
func decodeStored(subject string, seq uint64, header nats.Header, body []byte) (Recorded, error) {
	c, err := DecodeCommit(body)
	if err != nil {
		return Recorded{}, fmt.Errorf("%s at sequence %d: %w", subject, seq, err)
	}
	stated := header.Get(HeaderHash)
	if !hasHash(body, stated) {
		return Recorded{}, fmt.Errorf("%w: %s at sequence %d: the body has the hash %s, its header %s says %q",
			ErrBrokenChain, subject, seq, HashOf(body), HeaderHash, stated)
	}
	if !isLogSubject(subject, c.Aggregate, c.AggregateID) {
		return Recorded{}, fmt.Errorf("%w: %s at sequence %d holds a commit of %s", ErrBrokenChain, subject, seq, LogSubject(c.Aggregate, c.AggregateID))
	}
	return Recorded{Commit: c, Sequence: seq, Hash: stated, Size: len(body), Trace: tracing.Stored(header)}, nil
}
