package natsapi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/retry"
)

const (
	// ackWait is after what time without a sign of life a command goes to another worker: so long does a crash delay it.
	ackWait = 5 * time.Second
	// heartbeat is how often a worker shows that it lives.
	heartbeat = ackWait / 4
	// pullHeartbeat is how often the server shows that it has a consumer. When it is silent for twice as long, as after it
	// was started anew, the consumer is created again.
	pullHeartbeat = 2 * time.Second
	// asideWorkers is how many of the commands that wait are tried at a time.
	asideWorkers = 8
	// asideConsumer is the consumer of the commands that wait.
	asideConsumer = "aside"
)

// lane is one consumer of the inbox, and the workers on it.
type lane struct {
	name, filter string
	// pending is how many commands may be in hand at a time, among all engines; -1 for any number. With 1 the server gives
	// out the next command only when the one before it is settled, whatever happens to whoever had it: that is the order.
	pending int
	workers int
	handle  func(delivery)
}

// lanes lists all consumers: one a partition, one for malformed subjects, one for commands that wait.
func (s *Service) lanes() []lane {
	all := []lane{
		{name: "malformed", filter: eventstore.CommandSubjects, pending: 1, workers: 1, handle: s.handleInbox},
		{name: asideConsumer, filter: eventstore.AsideSubjects, pending: -1, workers: asideWorkers, handle: s.handleAside},
	}
	for p := range eventstore.InboxPartitions {
		all = append(all, lane{name: partitionConsumer(p), filter: eventstore.InboxFilter(p), pending: 1, workers: 1, handle: s.handleInbox})
	}
	return all
}

// partitionConsumer is the name of a partition's consumer.
func partitionConsumer(partition int) string { return fmt.Sprintf("inbox-%02d", partition) }

// startInbox creates the consumers that are missing, and starts the workers.
func (s *Service) startInbox(ctx context.Context) error {
	lanes := s.lanes()
	consumers := make([]jetstream.Consumer, len(lanes))
	for i, l := range lanes {
		var err error
		if consumers[i], err = s.consumer(ctx, l); err != nil {
			return err
		}
	}
	for i, l := range lanes {
		for range l.workers {
			s.workers.Go(func() { s.work(l, consumers[i]) })
		}
	}
	return nil
}

// consumer creates the consumer of a lane when it is missing.
func (s *Service) consumer(ctx context.Context, l lane) (jetstream.Consumer, error) {
	consumer, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return s.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
			Durable:       l.name,
			Description:   "closure: works off " + l.filter,
			FilterSubject: l.filter,
			DeliverPolicy: jetstream.DeliverAllPolicy,
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       ackWait,
			MaxAckPending: l.pending,
			MaxDeliver:    -1,
			// What is not settled stands in the stream, in its order; the rest of the state may go with the server. In a file
			// it would be synced ten times a second for each of the consumers.
			MemoryStorage: true,
		})
	})
	if err != nil {
		return nil, eventstore.Unavailable("consumer "+l.name, err)
	}
	return consumer, nil
}

// work takes commands off a lane until Stop. Whatever happens to the consumer or its connection, it starts over.
func (s *Service) work(l lane, consumer jetstream.Consumer) {
	for wait := retry.NewBackoff(100*time.Millisecond, 5*time.Second); ; {
		err := s.drain(l, consumer)
		if s.stopping.Err() != nil {
			return
		}
		if s.nc.IsClosed() {
			s.gone.Do(func() { s.log.Error("the inbox is not worked off any more: the connection is closed") })
			return
		}
		s.log.Warn("the inbox could not be read, trying again", "consumer", l.name, "error", err)
		if !s.pause(wait.Step()) {
			return
		}
		// Somebody may have deleted the consumer.
		again, err := s.consumer(s.stopping, l)
		if err == nil {
			consumer = again
			wait.Reset()
		} else if s.stopping.Err() == nil {
			s.log.Error("the inbox has no consumer", "consumer", l.name, "error", err)
		}
	}
}

// drain handles what comes until Stop, or until nothing comes any more. What the server has handed out before Stop is
// handled, too.
func (s *Service) drain(l lane, consumer jetstream.Consumer) error {
	// One at a time: what lies in a client's buffer nobody works on, and the server would give it to somebody else.
	messages, err := consumer.Messages(jetstream.PullMaxMessages(1), jetstream.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(s.stopping, func() {
		if s.nc.IsConnected() {
			messages.Drain()
		} else {
			messages.Stop() // nothing comes; draining would wait for the server
		}
	})()
	for {
		msg, err := messages.Next()
		if err != nil {
			return err
		}
		d, err := deliveryOf(msg)
		if err != nil {
			return err
		}
		s.alive(d, l.handle)
	}
}

// alive handles a delivery and shows the server that it is in hand.
func (s *Service) alive(d delivery, handle func(delivery)) {
	done := make(chan struct{})
	var beats sync.WaitGroup
	defer beats.Wait()
	defer close(done)
	beats.Go(func() {
		beat := time.NewTicker(heartbeat)
		defer beat.Stop()
		for {
			select {
			case <-done:
				return
			case <-beat.C:
				if err := d.msg.InProgress(); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
					s.log.Debug("no sign of life could be given", "subject", d.subject, "error", err)
				}
			}
		}
	})
	handle(d)
}
