package webhooks

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/retry"
)

const (
	// consumerPrefix and the subscription's id make the name of its consumer.
	consumerPrefix = "webhook-"
	// ackMargin is what the server waits for an acknowledgement beyond RequestTimeout, before it delivers the event again:
	// enough for the way there and back, and little, for it is how long an event waits whose process died.
	ackMargin = 2 * time.Second
	// metaRevision is the revision of the entry that a consumer was made to fit.
	metaRevision = "closure-revision"
)

// errGone: the subscription was deleted.
var errGone = errors.New("the subscription is gone")

func consumerName(id string) string { return consumerPrefix + id }

// consumerConfig is the consumer of a subscription. One event at a time keeps the order over failures, and over any number
// of processes that ask; redelivery has no end.
func (s *Service) consumerConfig(sub subscription) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:        consumerName(sub.ID),
		Description:    "closure: deliveries of a webhook",
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    sub.FromSequence,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        s.cfg.RequestTimeout + ackMargin,
		MaxDeliver:     -1,
		MaxAckPending:  1,
		FilterSubjects: filters(sub),
		Metadata:       map[string]string{metaRevision: strconv.FormatUint(sub.revision, 10)},
	}
}

// filters are the subjects of the subscription's families. A family is one token of a subject, and each is there once, so
// they cannot overlap.
func filters(sub subscription) []string {
	var out []string
	for _, family := range sub.Families() {
		out = append(out, eventstore.EventFilter(sub.clientID, string(family)))
	}
	slices.Sort(out)
	return out
}

// fits tells whether a consumer is as it has to be, in what can be changed about it.
func fits(have, want jetstream.ConsumerConfig) bool {
	subjects := slices.Clone(have.FilterSubjects)
	if have.FilterSubject != "" {
		subjects = append(subjects, have.FilterSubject)
	}
	slices.Sort(subjects)
	return slices.Equal(subjects, want.FilterSubjects) && have.AckWait == want.AckWait &&
		have.MaxAckPending == want.MaxAckPending && have.MaxDeliver == want.MaxDeliver
}

// ensureConsumer makes the consumer fit the subscription, and returns when it does. It may be done any number of times, by
// any number of processes. One that fits a newer revision is left as it is: narrowing it again, even for a moment, could
// make it pass over an event. errGone: the subscription was deleted, and nothing was made.
func (s *Service) ensureConsumer(ctx context.Context, sub subscription) error {
	for try, p := 1, newPause(); ; try++ {
		// In a cluster the word that it was changed may come before the server that delivers knows of it. Only what that
		// one says of its consumer counts, so it is asked once more, and again if need be.
		if try > 2 && p.Wait(ctx) != nil {
			return ctx.Err()
		}
		if changed, err := s.fitConsumer(ctx, sub); err != nil || !changed {
			return err
		}
	}
}

// fitConsumer makes or changes the consumer, if that has to be.
func (s *Service) fitConsumer(ctx context.Context, sub subscription) (changed bool, err error) {
	fitting, err := s.fitting(ctx, sub)
	if fitting {
		return false, nil
	}
	want := s.consumerConfig(sub)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		// Making a consumer for a deleted subscription would deliver everything from its beginning on.
		if _, err := s.read(ctx, sub.clientID, sub.ID); isMissing(err) {
			return false, errGone
		} else if err != nil {
			return false, err
		}
		_, err = retry.Once(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
			return s.js.CreateConsumer(ctx, eventstore.StreamEvents, want)
		})
	case err == nil:
		_, err = retry.Once(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
			return s.js.UpdateConsumer(ctx, eventstore.StreamEvents, want)
		})
	}
	if errors.Is(err, jetstream.ErrConsumerExists) || errors.Is(err, jetstream.ErrConsumerDoesNotExist) {
		return true, nil // by another process, in between
	}
	return true, err
}

// fitting asks the server whether the consumer fits the subscription, or a newer revision of it.
func (s *Service) fitting(ctx context.Context, sub subscription) (bool, error) {
	consumer, err := retry.Once(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return s.js.Consumer(ctx, eventstore.StreamEvents, consumerName(sub.ID))
	})
	if err != nil {
		return false, err
	}
	return fits(consumer.CachedInfo().Config, s.consumerConfig(sub)) || revisionOf(consumer) > sub.revision, nil
}

func revisionOf(c jetstream.Consumer) uint64 {
	revision, err := strconv.ParseUint(c.CachedInfo().Config.Metadata[metaRevision], 10, 64)
	if err != nil {
		return 0 // somebody else made it
	}
	return revision
}

// removeConsumer removes the consumer of a subscription that was deleted. One that is not there is no error.
func (s *Service) removeConsumer(ctx context.Context, id string) error {
	_, err := retry.Once(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.js.DeleteConsumer(ctx, eventstore.StreamEvents, consumerName(id))
	})
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	return err
}

// consumerIDs are the ids of the subscriptions that have a consumer.
func consumerIDs(ctx context.Context, stream jetstream.Stream) ([]string, error) {
	var ids []string
	names := stream.ConsumerNames(ctx)
	for name := range names.Name() {
		id, ours := strings.CutPrefix(name, consumerPrefix)
		if _, err := domain.ParseID(id); ours && err == nil {
			ids = append(ids, id)
		}
	}
	return ids, names.Err()
}
