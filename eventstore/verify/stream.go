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

	"closure/eventstore"
	"closure/eventstore/retry"
)

const (
	// pullMessages and pullBytes bound what is on its way from the server, and with it the memory that a walk takes.
	pullMessages = 2048
	pullBytes    = 16 << 20
	// lookAgain is how long nothing may come before the server is asked whether there is something to come.
	lookAgain = 5 * time.Second

	// lagWithin bounds how long a walk waits for a server that lags; the pauses between its looks grow.
	lagWithin    = 30 * time.Second
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second

	// headerLogSequence of a published event is the sequence in the log that it came from. Some events come from none, so
	// the last lookBack events are looked at.
	headerLogSequence = "ce-logsequence"
	lookBack          = 64
)

// Stream is the log on a server, as far as it went when the Stream was made.
type Stream struct {
	js    jetstream.JetStream
	scope Scope
	// published is the sequence that the last published event came from; 0 when that is not known.
	published uint64
	// consumer opens the one that a pass reads with.
	consumer func(context.Context, jetstream.OrderedConsumerConfig) (jetstream.Consumer, error)
}

// OpenStream looks at the log on a server. It changes nothing there, and a log in any state can be walked. With a scope
// that has no end, it ends where the log ends now.
func OpenStream(ctx context.Context, nc *nats.Conn, scope Scope) (*Stream, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	info, err := streamInfo(ctx, js)
	if err != nil {
		return nil, err
	}
	s := &Stream{js: js, scope: scope}
	s.consumer = func(ctx context.Context, cfg jetstream.OrderedConsumerConfig) (jetstream.Consumer, error) {
		return js.OrderedConsumer(ctx, eventstore.StreamLog, cfg)
	}
	s.scope.Cut = scope.To > 0 && scope.To < info.State.LastSeq
	if scope.To == 0 {
		s.scope.To = info.State.LastSeq
		if s.published, err = published(ctx, js); err != nil {
			return nil, err
		}
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

// Walk reads the log once, with a consumer that the server forgets afterwards.
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

// read walks to the end of the scope in as many passes as it takes. In a cluster the consumer may be on a server that lags:
// where that one has no more, the leader may well have. So a walk ends short of its end only when the leader says so.
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

// pass reads what one consumer gives behind a position, and says how far that was.
func (s *Stream) pass(ctx context.Context, position uint64, handle func(Message) error) (uint64, error) {
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: position + 1}
	// A filter by kind would make the server scan its subjects; whole kinds are filtered here.
	if s.scope.ID != "" {
		cfg.FilterSubjects = []string{s.subject()}
	}
	consumer, err := s.consumer(ctx, cfg)
	if err != nil {
		return position, eventstore.Unavailable("read the log", err)
	}
	if consumer.CachedInfo().NumPending == 0 {
		return position, nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(pullMessages, pullBytes))
	if err != nil {
		return position, eventstore.Unavailable("read the log", err)
	}
	defer messages.Stop()
	for {
		msg, err := nextMessage(ctx, messages)
		if err != nil || msg == nil {
			return position, err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return position, err
		}
		position = meta.Sequence.Stream
		if position > s.scope.To {
			return position, nil
		}
		if s.scope.has(msg.Subject()) {
			if err := handle(stored(msg, meta)); err != nil {
				return position, err
			}
		}
		if position == s.scope.To || meta.NumPending == 0 {
			return position, nil
		}
	}
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

func stored(msg jetstream.Msg, meta *jetstream.MsgMetadata) Message {
	return Message{
		Sequence: meta.Sequence.Stream, Subject: msg.Subject(), Time: meta.Timestamp.UTC(),
		Hash: msg.Headers().Get(eventstore.HeaderHash), ID: msg.Headers().Get(nats.MsgIdHdr), Body: msg.Data(),
	}
}

// nextMessage waits; nil means that nothing came. The last messages of a log may have been lost while it was walked, or the
// server cannot read them: then nothing comes, and nothing is said.
func nextMessage(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	try, cancel := context.WithTimeout(ctx, lookAgain)
	defer cancel()
	msg, err := messages.Next(jetstream.NextContext(try))
	switch {
	case err == nil:
		return msg, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout):
		return nil, nil
	}
	return nil, eventstore.Unavailable("read the log", err)
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
	consumer, err := js.OrderedConsumer(ctx, eventstore.StreamLog, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &at, HeadersOnly: true,
	})
	if err != nil {
		return 0, eventstore.Unavailable("read the log", err)
	}
	msg, err := consumer.Next(jetstream.FetchMaxWait(lookAgain))
	if err != nil {
		return 0, eventstore.Unavailable("read the log", err)
	}
	meta, err := msg.Metadata()
	if err != nil {
		return 0, err
	}
	return meta.Sequence.Stream, nil
}
