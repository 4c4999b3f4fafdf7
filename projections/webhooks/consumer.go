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
	// ackMargin is what the server waits for an acknowledgement beyond the time that an event may be in hand, before it
	// delivers it again.
	ackMargin = 2 * time.Second
	// metaRevision is the revision of the entry that a consumer was made to fit.
	metaRevision = "closure-revision"
	// metaReplay is the id of the replay that was last begun.
	metaReplay = "closure-replay"
)

// errGone: the subscription was deleted.
var errGone = errors.New("the subscription is gone")

func consumerName(id string) string { return consumerPrefix + id }

// consumerConfig is the consumer of a subscription. It delivers to one process at a time, the pinned one, over any number of
// them that ask; redelivery has no end.
func (s *Service) consumerConfig(sub subscription) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable:        consumerName(sub.ID),
		Description:    "closure: deliveries of a webhook",
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    sub.FromSequence,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        s.ackWait(sub),
		MaxDeliver:     -1,
		MaxAckPending:  maxParcel,
		FilterSubjects: filters(sub),
		PriorityPolicy: jetstream.PriorityPolicyPinned,
		PriorityGroups: []string{pinGroup},
		PinnedTTL:      s.pinTTL(),
		Metadata:       map[string]string{metaRevision: strconv.FormatUint(sub.revision, 10)},
	}
	if sub.Config.Ordering() == domain.WebhookByResource {
		cfg.MaxAckPending = window
	}
	if sub.Replay.ID != "" {
		cfg.Metadata[metaReplay] = sub.Replay.ID
	}
	return cfg
}

// ackWait is when an event is delivered again that was in hand of a process that died: not before it may have waited for
// company, and for the one request that was under way and its own.
func (s *Service) ackWait(sub subscription) time.Duration {
	return sub.Config.Wait() + 2*s.cfg.RequestTimeout + ackMargin
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
		have.MaxAckPending == want.MaxAckPending && have.MaxDeliver == want.MaxDeliver &&
		have.PriorityPolicy == want.PriorityPolicy && slices.Equal(have.PriorityGroups, want.PriorityGroups) &&
		have.PinnedTTL == want.PinnedTTL && replayed(have, want)
}

// replayed tells whether the replay that is wanted was begun.
func replayed(have, want jetstream.ConsumerConfig) bool {
	return want.Metadata[metaReplay] == "" || have.Metadata[metaReplay] == want.Metadata[metaReplay]
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
	consumer, err := retry.Once(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return s.js.Consumer(ctx, eventstore.StreamEvents, consumerName(sub.ID))
	})
	want := s.consumerConfig(sub)
	if err == nil && (fits(consumer.CachedInfo().Config, want) || revisionOf(consumer) > sub.revision) {
		return false, nil
	}
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
		if !replayed(consumer.CachedInfo().Config, want) {
			// First the place, then the note of it: after a crash in between it is done once more.
			if err := s.putBack(ctx, sub, consumer.CachedInfo()); err != nil {
				return false, err
			}
		}
		// One of a former version becomes one that pins by this.
		_, err = retry.Once(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
			return s.js.UpdateConsumer(ctx, eventstore.StreamEvents, want)
		})
	}
	if errors.Is(err, jetstream.ErrConsumerExists) || errors.Is(err, jetstream.ErrConsumerDoesNotExist) {
		return true, nil // by another process, in between
	}
	return true, err
}

// putBack has the consumer begin where the replay does, which is never before the subscription does; nor is it behind what
// still waits, which a reset would pass over.
func (s *Service) putBack(ctx context.Context, sub subscription, info *jetstream.ConsumerInfo) error {
	from := max(min(sub.Replay.From, info.AckFloor.Stream+1), sub.FromSequence, 1)
	_, err := retry.Once(ctx, func(ctx context.Context) (*jetstream.ConsumerResetResponse, error) {
		return s.events.ResetConsumerToSequence(ctx, consumerName(sub.ID), from)
	})
	return err
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
