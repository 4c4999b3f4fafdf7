package timer

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

// subjects of CLOSURE_TIMERS.
var subjects = []string{eventstore.TimerSetSubjects, eventstore.TimerWakeSubjects, eventstore.TimerDueSubjects}

// streamConfig is how CLOSURE_TIMERS is kept: in files. It is a work queue for the sake of what schedules fire, which goes
// when it is acknowledged; timers and schedules have no consumer, and stay until they are removed.
func streamConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              eventstore.StreamTimers,
		Description:       "closure: timers that are set, and the schedules that wake them. Read it, never write it.",
		Subjects:          subjects,
		Retention:         jetstream.WorkQueuePolicy,
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		MaxMsgsPerSubject: 1, // a timer that is set again replaces the former one
		AllowMsgSchedules: true,
		AllowRollup:       true, // schedules need it
	}
}

func openStream(ctx context.Context, js jetstream.JetStream, replicas int) (jetstream.Stream, error) {
	stream, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.Stream, error) {
		stream, err := js.Stream(ctx, eventstore.StreamTimers)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			stream, err = js.CreateStream(ctx, streamConfig(replicas))
			// Another instance was faster, with other settings.
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
				stream, err = js.Stream(ctx, eventstore.StreamTimers)
			}
		}
		return stream, err
	})
	if err != nil {
		return nil, eventstore.Unavailable("open the stream "+eventstore.StreamTimers, err)
	}
	return stream, checkStream(stream.CachedInfo().Config, replicas)
}

// checkStream names every setting that would lose timers.
func checkStream(cfg jetstream.StreamConfig, replicas int) error {
	var wrong []string
	want := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	// Nothing may leave but what is handled …
	want(cfg.Storage == jetstream.FileStorage, "storage is %s, has to be file", cfg.Storage)
	want(cfg.Retention == jetstream.WorkQueuePolicy, "retention is %s, has to be work queue", cfg.Retention)
	want(cfg.MaxAge == 0, "max_age is %s, has to be 0", cfg.MaxAge)
	want(cfg.MaxMsgs <= 0, "max_msgs is %d, has to be -1", cfg.MaxMsgs)
	want(cfg.MaxBytes <= 0, "max_bytes is %d, has to be -1", cfg.MaxBytes)
	want(!cfg.AllowMsgTTL, "allow_msg_ttl is on, has to be off")
	want(cfg.PersistMode == jetstream.DefaultPersistMode, "persist_mode is not default: timers that were set could be lost")
	want(cfg.Replicas >= replicas, "num_replicas is %d, has to be %d at least", cfg.Replicas, replicas)
	// … nothing may come in but what this package writes …
	want(slices.Equal(cfg.Subjects, subjects), "subjects are %q, have to be %q", cfg.Subjects, subjects)
	want(cfg.SubjectTransform == nil, "subject_transform is set")
	want(cfg.Mirror == nil && len(cfg.Sources) == 0, "it mirrors or sources other streams")
	// … and setting, replacing, handling and removing have to work. Direct gets are answered by replicas that may lag.
	want(cfg.AllowMsgSchedules, "allow_msg_schedules is off, has to be on")
	want(cfg.AllowRollup, "allow_rollup_hdrs is off, has to be on")
	want(cfg.MaxMsgsPerSubject == 1, "max_msgs_per_subject is %d, has to be 1", cfg.MaxMsgsPerSubject)
	want(!cfg.AllowDirect, "allow_direct is on, has to be off")
	want(!cfg.DenyPurge, "deny_purge is on, has to be off")
	want(!cfg.NoAck, "no_ack is on, has to be off")
	want(!cfg.Sealed, "sealed is on, has to be off")
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s: %s", eventstore.ErrWrongStream, eventstore.StreamTimers, strings.Join(wrong, "; "))
	}
	return nil
}
