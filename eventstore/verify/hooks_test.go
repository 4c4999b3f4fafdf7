package verify

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

// ReadBehind lets the first passes of a walk read another stream: what a server has that lags behind the leader.
func (s *Stream) ReadBehind(stream string, passes int) {
	log := s.consumer
	s.consumer = func(ctx context.Context, cfg jetstream.OrderedConsumerConfig) (jetstream.Consumer, error) {
		if passes--; passes < 0 {
			return log(ctx, cfg)
		}
		return s.js.OrderedConsumer(ctx, stream, cfg)
	}
}
