package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ack is the answer to a publish: where the commit stands.
type ack struct {
	sequence  uint64
	duplicate bool
}

// ackBegin is how the server begins an answer that says nothing but the sequence.
const ackBegin = `{"stream":"` + StreamLog + `","seq":`

// request publishes one message and waits for the answer, once. Its errors are those of jetstream's PublishMsg, which reads each
// answer with encoding/json: of a publish, that was a tenth.
func (l *Log) request(ctx context.Context, m *nats.Msg) (ack, error) {
	answer, err := l.nc.RequestMsgWithContext(ctx, m)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return ack{}, jetstream.ErrNoStreamResponse
	case err != nil:
		return ack{}, err
	}
	return readAck(answer.Data)
}

func readAck(data []byte) (ack, error) {
	if seq, ok := plainAck(string(data)); ok {
		return ack{sequence: seq}, nil
	}
	var got struct {
		Error *jetstream.APIError `json:"error"`
		jetstream.PubAck
	}
	switch err := json.Unmarshal(data, &got); {
	case err != nil:
		return ack{}, jetstream.ErrInvalidJSAck
	case got.Error != nil:
		return ack{}, fmt.Errorf("nats: %w", got.Error)
	case got.Stream == "":
		return ack{}, jetstream.ErrInvalidJSAck
	}
	return ack{got.Sequence, got.Duplicate}, nil
}

// plainAck reads an answer that says nothing but the sequence; any other is not ok.
func plainAck(data string) (seq uint64, ok bool) {
	rest, ok := strings.CutPrefix(data, ackBegin)
	if !ok {
		return 0, false
	}
	digits, ok := strings.CutSuffix(rest, "}")
	if !ok {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil
}
