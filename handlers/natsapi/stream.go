package natsapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/retry"
)

// streamConfig is how CLOSURE_COMMANDS is kept: in files, until each command is settled.
func streamConfig(replicas int) jetstream.StreamConfig {
	source, destination := eventstore.InboxTransform()
	return jetstream.StreamConfig{
		Name:             eventstore.StreamCommands,
		Description:      "closure: the inbox of durable commands and facts. Publish to " + eventstore.CommandForm + ", and never read it.",
		Subjects:         []string{eventstore.CommandSubjects, eventstore.AsideSubjects},
		Retention:        jetstream.WorkQueuePolicy,
		Storage:          jetstream.FileStorage,
		Replicas:         replicas,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: source, Destination: destination},
	}
}

// openStream creates the stream, or checks the one that is there.
func (s *Service) openStream(ctx context.Context) (jetstream.Stream, error) {
	stream, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.Stream, error) {
		stream, err := s.js.Stream(ctx, eventstore.StreamCommands)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			stream, err = s.js.CreateStream(ctx, streamConfig(s.cfg.Replicas))
			// Another instance was faster, with other settings.
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
				stream, err = s.js.Stream(ctx, eventstore.StreamCommands)
			}
		}
		return stream, err
	})
	if err != nil {
		return nil, eventstore.Unavailable("open the stream "+eventstore.StreamCommands, err)
	}
	return stream, checkStream(stream.CachedInfo().Config, s.cfg.Replicas)
}

// checkStream names every setting that would lose or reorder commands.
func checkStream(cfg jetstream.StreamConfig, replicas int) error {
	var wrong []string
	want := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	right := streamConfig(replicas)
	want(cfg.Storage == right.Storage, "storage is %s, has to be file", cfg.Storage)
	want(cfg.Retention == right.Retention, "retention is %s, has to be work queue", cfg.Retention)
	want(slices.Equal(cfg.Subjects, right.Subjects), "subjects are %q, have to be %q", cfg.Subjects, right.Subjects)
	want(cfg.SubjectTransform != nil && *cfg.SubjectTransform == *right.SubjectTransform,
		"subject_transform has to be from %s to %s", right.SubjectTransform.Source, right.SubjectTransform.Destination)
	want(cfg.MaxAge == 0, "max_age is %s, has to be 0", cfg.MaxAge)
	// A full inbox may refuse a command, whose sender then knows; it may not throw one away.
	want(cfg.Discard == jetstream.DiscardNew || (cfg.MaxMsgs <= 0 && cfg.MaxBytes <= 0), "it has limits, and discards old commands at them")
	want(cfg.MaxMsgsPerSubject <= 0, "max_msgs_per_subject is %d, has to be -1", cfg.MaxMsgsPerSubject)
	want(!cfg.AllowRollup, "allow_rollup_hdrs is on, has to be off")
	want(!cfg.AllowMsgTTL, "allow_msg_ttl is on, has to be off")
	want(!cfg.NoAck, "no_ack is on, has to be off")
	want(!cfg.Sealed, "sealed is on, has to be off")
	want(cfg.PersistMode == jetstream.DefaultPersistMode, "persist_mode is not default: acknowledged commands could be lost")
	want(cfg.Mirror == nil && len(cfg.Sources) == 0, "it mirrors or sources other streams")
	want(cfg.Replicas >= replicas, "num_replicas is %d, has to be %d at least", cfg.Replicas, replicas)
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s: %s", eventstore.ErrWrongStream, eventstore.StreamCommands, strings.Join(wrong, "; "))
	}
	return nil
}

// requestTime bounds one request to JetStream: in a cluster without a leader nobody answers it.
const requestTime = 5 * time.Second

// forRequest is the context of one request of a worker.
func (s *Service) forRequest() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.working, requestTime)
}

// Waiting is how many commands of the inbox are not settled, and how many of those that came before what they are about wait aside.
// Both are of all engines.
func (s *Service) Waiting(ctx context.Context) (inbox, aside uint64, err error) {
	stream, err := s.js.Stream(ctx, eventstore.StreamCommands)
	if err != nil {
		return 0, 0, eventstore.Unavailable("look at the inbox", err)
	}
	consumer, err := stream.Consumer(ctx, asideConsumer)
	if err != nil {
		return 0, 0, eventstore.Unavailable("look at the commands that wait", err)
	}
	info := consumer.CachedInfo()
	aside = info.NumPending + uint64(max(info.NumAckPending, 0))
	return stream.CachedInfo().State.Msgs - min(stream.CachedInfo().State.Msgs, aside), aside, nil
}
