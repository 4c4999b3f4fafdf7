package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/retry"
)

// StreamConfig is how CLOSURE_EVENTS is kept: in files, for ever, so that a consumer that starts a year later gets everything.
func StreamConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        eventstore.StreamEvents,
		Description: "closure: published events (CloudEvents 1.0). Subscribe to it, never write it.",
		Subjects:    []string{eventstore.EventSubjects},
		Retention:   jetstream.LimitsPolicy,
		Storage:     jetstream.FileStorage,
		Replicas:    max(replicas, 1),
		AllowDirect: true,
		// A publisher that is behind writes many events for one fsync.
		AllowAtomicPublish: true,
	}
}

// EnsureStream creates CLOSURE_EVENTS, or checks the one that is there, and changes nothing of it: whoever gave it a limit is
// told, before events go because of it. Settings that would break what consumers are promised are eventstore.ErrWrongStream,
// which names them all. It waits for a cluster that has just started.
func EnsureStream(ctx context.Context, js jetstream.JetStream, replicas int) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, retry.StartWithin)
	defer cancel()
	stream, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.Stream, error) {
		stream, err := js.Stream(ctx, eventstore.StreamEvents)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			stream, err = js.CreateStream(ctx, StreamConfig(replicas))
			// Another instance was faster, with other settings.
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
				stream, err = js.Stream(ctx, eventstore.StreamEvents)
			}
		}
		return stream, err
	})
	if err != nil {
		return nil, eventstore.Unavailable("stream "+eventstore.StreamEvents, err)
	}
	if err := checkStream(stream.CachedInfo().Config, replicas); err != nil {
		return nil, err
	}
	return stream, nil
}

// checkStream names every setting that breaks what consumers, and the publisher itself, rely on.
func checkStream(cfg jetstream.StreamConfig, replicas int) error {
	var wrong []string
	want := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	right := StreamConfig(replicas)
	// Nothing may leave it by itself …
	want(cfg.Storage == right.Storage, "storage is %s, has to be file", cfg.Storage)
	want(cfg.Retention == right.Retention, "retention is %s, has to be limits", cfg.Retention)
	want(cfg.MaxAge == 0, "max_age is %s, has to be 0", cfg.MaxAge)
	want(cfg.MaxMsgs <= 0, "max_msgs is %d, has to be -1", cfg.MaxMsgs)
	want(cfg.MaxBytes <= 0, "max_bytes is %d, has to be -1", cfg.MaxBytes)
	want(cfg.MaxMsgsPerSubject <= 0, "max_msgs_per_subject is %d, has to be -1", cfg.MaxMsgsPerSubject)
	want(!cfg.AllowMsgTTL, "allow_msg_ttl is on, has to be off")
	want(!cfg.AllowRollup, "allow_rollup_hdrs is on, has to be off")
	want(cfg.PersistMode == jetstream.DefaultPersistMode, "persist_mode is not default: acknowledged events could be lost")
	want(cfg.Replicas >= right.Replicas, "num_replicas is %d, has to be %d at least", cfg.Replicas, right.Replicas)
	// … nothing else may come in, or under another subject …
	want(slices.Equal(cfg.Subjects, right.Subjects), "subjects are %q, have to be %q", cfg.Subjects, right.Subjects)
	want(cfg.SubjectTransform == nil, "subject_transform is set")
	want(cfg.Mirror == nil && len(cfg.Sources) == 0, "it mirrors or sources other streams")
	want(!cfg.AllowMsgCounter, "allow_msg_counter is on, has to be off")
	want(!cfg.AllowMsgSchedules, "allow_msg_schedules is on, has to be off")
	// … and writing it and following it have to work.
	want(cfg.MaxMsgSize <= 0, "max_msg_size is %d, has to be -1", cfg.MaxMsgSize)
	want(cfg.MaxConsumers <= 0, "max_consumers is %d, has to be -1", cfg.MaxConsumers)
	want(!cfg.NoAck, "no_ack is on, has to be off")
	want(!cfg.Sealed, "sealed is on, has to be off")
	want(cfg.AllowDirect, "allow_direct is off, has to be on")
	want(cfg.AllowAtomicPublish, "allow_atomic is off, has to be on")
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s: %s", eventstore.ErrWrongStream, eventstore.StreamEvents, strings.Join(wrong, "; "))
	}
	return nil
}

// gapsIn says what somebody removed from the stream; "" when all is there.
func gapsIn(state jetstream.StreamState) string {
	switch {
	case state.FirstSeq > 1:
		return fmt.Sprintf("it begins at sequence %d", state.FirstSeq)
	case state.NumDeleted > 0:
		return fmt.Sprintf("%d messages in its middle", state.NumDeleted)
	}
	return ""
}
