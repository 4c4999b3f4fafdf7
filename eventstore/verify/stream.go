package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"closure/eventstore"
	"closure/eventstore/retry"
)

const (
	// fetchMessages and fetchBytes bound what one request asks for. With the batch that is handled and the one that waits, that
	// is the memory that a walk takes.
	fetchMessages = 2048
	fetchBytes    = 8 << 20

	// headerLastSequence of an answer is the sequence of the answer before it.
	headerLastSequence = "Nats-Last-Sequence"

	// lagWithin bounds how long a walk waits for a server that lags; the pauses between its looks grow.
	lagWithin    = 30 * time.Second
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second

	// headerLogSequence of a published event is the sequence in the log that it came from. Some events come from none, so
	// the last lookBack events are looked at.
	headerLogSequence = "ce-logsequence"
	lookBack          = 64
)

// ErrNoDirectGet: the stream does not allow what the walk reads by. The engine sets it; somebody has changed it.
var ErrNoDirectGet = errors.New("the stream " + eventstore.StreamLog + " does not allow direct gets (allow_direct), by which it is read; the engine has it so: who has changed it?")

// Stream is the log on a server, as far as it went when the Stream was made.
type Stream struct {
	js    jetstream.JetStream
	scope Scope
	// published is the sequence that the last published event came from; 0 when that is not known.
	published uint64
	// stream is what is read, and fetch reads of it.
	stream string
	fetch  func(ctx context.Context, from uint64) ([]*jetstream.RawStreamMsg, error)
}

// OpenStream looks at the log on a server. It changes nothing there, needs no consumer, and a log in any state can be walked.
// With a scope that has no end, it ends where the log ends now. Errors: ErrNoDirectGet, eventstore.ErrUnavailable.
func OpenStream(ctx context.Context, nc *nats.Conn, scope Scope) (*Stream, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	var last uint64
	if scope.To == 0 { // before the end of the log is looked at: what is published by then is in it
		if last, err = published(ctx, js); err != nil {
			return nil, err
		}
	}
	info, err := streamInfo(ctx, js)
	if err != nil {
		return nil, err
	}
	if !info.Config.AllowDirect {
		return nil, ErrNoDirectGet
	}
	s := &Stream{js: js, scope: scope, stream: eventstore.StreamLog, published: last}
	s.fetch = s.fetchBatch
	s.scope.Cut = scope.To > 0 && scope.To < info.State.LastSeq
	if scope.To == 0 {
		s.scope.To = info.State.LastSeq
	}
	return s, nil
}

func streamInfo(ctx context.Context, js jetstream.JetStream) (*jetstream.StreamInfo, error) {
	stream, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.Stream, error) {
		return js.Stream(ctx, eventstore.StreamLog)
	})
	if err != nil {
		return nil, eventstore.Unavailable("the stream "+eventstore.StreamLog, err)
	}
	return stream.CachedInfo(), nil
}

// Scope is the part of the log that is walked.
func (s *Stream) Scope() Scope { return s.scope }

// published is the sequence of the log that the last published event came from; 0 when that is not known. The log alone
// cannot tell that its end was cut off.
func published(ctx context.Context, js jetstream.JetStream) (uint64, error) {
	events, err := js.Stream(ctx, eventstore.StreamEvents)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, eventstore.Unavailable("the stream "+eventstore.StreamEvents, err)
	}
	last := events.CachedInfo().State.LastSeq
	for back := uint64(0); back < min(last, lookBack); back++ {
		msg, err := events.GetMsg(ctx, last-back)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return 0, eventstore.Unavailable("the last published event", err)
		}
		if seq, err := strconv.ParseUint(msg.Header.Get(headerLogSequence), 10, 64); err == nil {
			return seq, nil
		}
	}
	return 0, nil
}

// Walk reads the log once.
func (s *Stream) Walk(ctx context.Context, handle func(Message) error) error {
	if err := s.read(ctx, handle); err != nil {
		return err
	}
	if s.published <= s.scope.To {
		return nil
	}
	return handle(Message{Fault: fmt.Sprintf("the log ends at sequence %d, but an event of sequence %d is published in %s: the end of the log is lost",
		s.scope.To, s.published, eventstore.StreamEvents)})
}

// read walks to the end of the scope in as many passes as it takes. In a cluster any server may answer, and one that lags has
// no more where the leader has. So a walk ends short of its end only when the leader says so.
func (s *Stream) read(ctx context.Context, handle func(Message) error) error {
	position := max(s.scope.first(), 1) - 1
	wait := retry.NewBackoff(firstPause, longestPause)
	stuck := time.Now()
	for position < s.scope.To {
		reached, err := s.pass(ctx, position, handle)
		if err != nil || reached >= s.scope.To {
			return err
		}
		if reached > position {
			position, stuck = reached, time.Now()
			wait.Reset()
		}
		more, err := s.leaderHas(ctx, position+1)
		if err != nil || !more {
			return err
		}
		if time.Since(stuck) > lagWithin {
			return fmt.Errorf("%w: the server gives nothing behind sequence %d, and there is more", eventstore.ErrUnavailable, position)
		}
		if err := wait.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pass reads what one server gives behind a position, and says how far that was. The next batch is on its way while one is
// handled.
func (s *Stream) pass(ctx context.Context, position uint64, handle func(Message) error) (uint64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches, failed := make(chan []*jetstream.RawStreamMsg), make(chan error, 1)
	go func() {
		defer close(batches)
		failed <- s.fetchAll(ctx, position+1, batches)
	}()
	for batch := range batches {
		for _, msg := range batch {
			if position = msg.Sequence; s.scope.has(msg.Subject) {
				if err := handle(stored(msg)); err != nil {
					return position, err
				}
			}
		}
	}
	return position, <-failed
}

// fetchAll fetches batches up to the end of the scope, or of what the server has.
func (s *Stream) fetchAll(ctx context.Context, from uint64, into chan<- []*jetstream.RawStreamMsg) error {
	for from <= s.scope.To {
		batch, err := retry.Insist(ctx, func(ctx context.Context) ([]*jetstream.RawStreamMsg, error) { return s.fetch(ctx, from) })
		if err != nil {
			return eventstore.Unavailable("read the log", err)
		}
		if len(batch) == 0 {
			return nil
		}
		from = batch[len(batch)-1].Sequence + 1
		select {
		case into <- batch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// fetchBatch makes one batched direct get. Its answers are plain messages, and a lost connection loses some: each one names the
// one before it.
func (s *Stream) fetchBatch(ctx context.Context, from uint64) ([]*jetstream.RawStreamMsg, error) {
	options := []jetstreamext.GetBatchOpt{jetstreamext.GetBatchSeq(from), jetstreamext.GetBatchMaxBytes(fetchBytes)}
	// A filter by kind would make the server scan its subjects; whole kinds are filtered here.
	if s.scope.ID != "" {
		options = append(options, jetstreamext.GetBatchSubject(s.subject()))
	}
	answers, err := jetstreamext.GetBatch(ctx, s.js, s.stream, fetchMessages, options...)
	if err != nil {
		return nil, err
	}
	var batch []*jetstream.RawStreamMsg
	last := "0"
	for msg, err := range answers {
		switch {
		case errors.Is(err, jetstreamext.ErrNoMessages):
			return nil, nil
		case err != nil:
			return nil, err
		case msg.Header.Get(headerLastSequence) != last:
			return nil, fmt.Errorf("%w: an answer got lost", nats.ErrTimeout)
		case msg.Sequence > s.scope.To:
			return batch, nil
		}
		last = strconv.FormatUint(msg.Sequence, 10)
		batch = append(batch, msg)
	}
	return batch, nil
}

// subject is the one of the scope's aggregate, or all of the log.
func (s *Stream) subject() string {
	if s.scope.ID == "" {
		return eventstore.LogSubjects
	}
	return eventstore.LogSubject(s.scope.Aggregate, s.scope.ID)
}

// leaderHas asks the stream's leader whether the scope has more from a sequence on. The log allows direct gets, so nats.go would
// ask any replica, and one that lags is what this is about.
func (s *Stream) leaderHas(ctx context.Context, from uint64) (bool, error) {
	body, err := json.Marshal(map[string]any{"seq": from, "next_by_subj": s.subject()})
	if err != nil {
		return false, err
	}
	var answer struct {
		Message *struct {
			Sequence uint64 `json:"seq"`
		} `json:"message"`
		Error *jetstream.APIError `json:"error"`
	}
	_, err = retry.Insist(ctx, func(ctx context.Context) (*nats.Msg, error) {
		msg, err := s.js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+eventstore.StreamLog, body)
		if err != nil {
			return nil, err
		}
		answer.Message, answer.Error = nil, nil
		if err := json.Unmarshal(msg.Data, &answer); err != nil {
			return nil, fmt.Errorf("answer of the stream's leader: %w", err)
		}
		if answer.Error != nil && answer.Error.ErrorCode != jetstream.JSErrCodeMessageNotFound {
			return nil, answer.Error
		}
		return msg, nil
	})
	if err != nil {
		return false, eventstore.Unavailable("read the log", err)
	}
	return answer.Message != nil && answer.Message.Sequence <= s.scope.To, nil
}

func stored(msg *jetstream.RawStreamMsg) Message {
	return Message{
		Sequence: msg.Sequence, Subject: msg.Subject, Time: msg.Time.UTC(),
		Hash: msg.Header.Get(eventstore.HeaderHash), ID: msg.Header.Get(nats.MsgIdHdr), Body: msg.Data,
	}
}

// SequenceAt is the sequence of the first message that was stored at a time or later; one behind the last when there is none.
func SequenceAt(ctx context.Context, nc *nats.Conn, at time.Time) (uint64, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return 0, err
	}
	info, err := streamInfo(ctx, js)
	if err != nil {
		return 0, err
	}
	if info.State.Msgs == 0 || at.After(info.State.LastTime) {
		return info.State.LastSeq + 1, nil
	}
	answers, err := jetstreamext.GetBatch(ctx, js, eventstore.StreamLog, 1, jetstreamext.GetBatchStartTime(at))
	if err != nil {
		return 0, eventstore.Unavailable("read the log", err)
	}
	for msg, err := range answers {
		if err != nil {
			return 0, eventstore.Unavailable("read the log", err)
		}
		return msg.Sequence, nil
	}
	return info.State.LastSeq + 1, nil
}
