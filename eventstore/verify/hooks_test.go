package verify

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

// ReadBehind lets the first fetches of a walk read another stream: what a server has that lags behind the leader.
func (s *Stream) ReadBehind(stream string, fetches int) {
	s.fetch = func(ctx context.Context, from uint64) ([]*jetstream.RawStreamMsg, error) {
		s.stream = stream
		if fetches--; fetches < 0 {
			s.stream = "CLOSURE_LOG"
		}
		return s.fetchBatch(ctx, from)
	}
}
