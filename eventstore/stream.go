package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/retry"
)

// duplicateWindow is how long Append recognises a commit on a head that is not
// before it.
const duplicateWindow = 2 * time.Minute

// logStream is the configuration of CLOSURE_LOG.
func logStream(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        StreamLog,
		Description: "closure: the event log. Read it, never write it.",
		Subjects:    []string{LogSubjects},
		Retention:   jetstream.LimitsPolicy,
		Storage:     jetstream.FileStorage,
		Replicas:    replicas,
		DenyDelete:  true,
		DenyPurge:   true,
		AllowDirect: true,
		Duplicates:  duplicateWindow,
		// For the group commit.
		AllowAtomicPublish: true,
	}
}

// ensureStream creates the log, or checks the one that is there. It tells how many
// replicas the stream has: those asked for at least.
func ensureStream(ctx context.Context, js jetstream.JetStream, replicas int) (int, error) {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, retry.StartWithin)
		defer cancel()
	}
	stream, err := retry.Insist(ctx, func(ctx context.Context) (jetstream.Stream, error) {
		stream, err := js.Stream(ctx, StreamLog)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			stream, err = js.CreateStream(ctx, logStream(replicas))
			// Somebody else created it in between, with other settings.
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
				stream, err = js.Stream(ctx, StreamLog)
			}
		}
		return stream, err
	})
	if err != nil {
		return 0, Unavailable("open the stream "+StreamLog, err)
	}
	info := awaitReplicas(ctx, stream)
	return info.Config.Replicas, checkStream(info, replicas)
}

// replicasWithin bounds the wait for the replicas of a new log; when a server is
// down, the log begins without it.
const replicasWithin = 5 * time.Second

// awaitReplicas gives the state of the stream. For a moment after it was created not
// every server of a cluster knows it, and one that does not may answer that there is
// no such stream. So a log without commits is waited for.
func awaitReplicas(ctx context.Context, stream jetstream.Stream) *jetstream.StreamInfo {
	ctx, cancel := context.WithTimeout(ctx, replicasWithin)
	defer cancel()
	for wait := retry.NewBackoff(10*time.Millisecond, 250*time.Millisecond); ; {
		info := stream.CachedInfo()
		if info.State.LastSeq > 0 || everywhere(info) || wait.Wait(ctx) != nil {
			return info
		}
		// An error leaves the information as it was; it is asked for again.
		_, _ = stream.Info(ctx)
	}
}

// everywhere: all replicas of the stream are there, and up to date with its leader.
func everywhere(info *jetstream.StreamInfo) bool {
	if info.Cluster == nil { // a server on its own
		return true
	}
	for _, r := range info.Cluster.Replicas {
		if !r.Current || r.Offline {
			return false
		}
	}
	return info.Cluster.Leader != "" && len(info.Cluster.Replicas) == info.Config.Replicas-1
}

// checkStream names every setting, and every sign in the state, that breaks what
// this package promises.
func checkStream(info *jetstream.StreamInfo, replicas int) error {
	cfg := info.Config
	var wrong []string
	want := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	// Nothing may leave the log …
	want(cfg.Storage == jetstream.FileStorage, "storage is %s, has to be file", cfg.Storage)
	want(cfg.Retention == jetstream.LimitsPolicy, "retention is %s, has to be limits", cfg.Retention)
	want(cfg.DenyDelete, "deny_delete is off, has to be on")
	want(cfg.DenyPurge, "deny_purge is off, has to be on")
	want(!cfg.AllowRollup, "allow_rollup_hdrs is on, has to be off")
	want(cfg.MaxAge == 0, "max_age is %s, has to be 0", cfg.MaxAge)
	want(cfg.MaxMsgs <= 0, "max_msgs is %d, has to be -1", cfg.MaxMsgs)
	want(cfg.MaxBytes <= 0, "max_bytes is %d, has to be -1", cfg.MaxBytes)
	want(cfg.MaxMsgsPerSubject <= 0, "max_msgs_per_subject is %d, has to be -1", cfg.MaxMsgsPerSubject)
	want(!cfg.AllowMsgTTL, "allow_msg_ttl is on, has to be off")
	want(cfg.PersistMode == jetstream.DefaultPersistMode, "persist_mode is not default: acknowledged commits could be lost")
	want(cfg.Replicas >= replicas, "num_replicas is %d, has to be %d at least", cfg.Replicas, replicas)
	// … nothing may come in but what this package writes …
	want(len(cfg.Subjects) == 1 && cfg.Subjects[0] == LogSubjects, "subjects are %q, has to be %q alone", cfg.Subjects, LogSubjects)
	want(cfg.Mirror == nil && len(cfg.Sources) == 0, "it mirrors or sources other streams")
	want(cfg.FirstSeq <= 1, "first_seq is %d, has to be 1", cfg.FirstSeq)
	want(cfg.SubjectTransform == nil, "subject_transform is set")
	want(!cfg.AllowMsgCounter, "allow_msg_counter is on, has to be off")
	want(!cfg.AllowMsgSchedules, "allow_msg_schedules is on, has to be off")
	// … and writing and reading have to work.
	want(cfg.Duplicates >= duplicateWindow, "duplicate_window is %s, has to be %s at least", cfg.Duplicates, duplicateWindow)
	want(cfg.MaxConsumers <= 0, "max_consumers is %d, has to be -1", cfg.MaxConsumers)
	want(!cfg.NoAck, "no_ack is on, has to be off")
	want(!cfg.Sealed, "sealed is on, has to be off")
	want(cfg.AllowDirect, "allow_direct is off, has to be on")
	want(cfg.AllowAtomicPublish, "allow_atomic is off, has to be on")
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s: %s", ErrWrongStream, StreamLog, strings.Join(wrong, "; "))
	}
	return checkGaps(info.State)
}

// checkGaps: the log has no deletions, so a gap is a commit that was lost. Every
// follower would wait for it for ever; better to say so at the start.
func checkGaps(state jetstream.StreamState) error {
	if state.LastSeq > 0 && state.FirstSeq > 1 {
		return fmt.Errorf("%w: %s begins at sequence %d: what was before is missing", ErrBrokenChain, StreamLog, state.FirstSeq)
	}
	if state.NumDeleted > 0 {
		return fmt.Errorf("%w: %d messages are missing within %s", ErrBrokenChain, state.NumDeleted, StreamLog)
	}
	return nil
}

// Codes of the server that nats.go does not name.
const (
	// codeDuplicateInProcess: a message with the same id is on its way into a
	// replicated stream. Its fate is not known yet.
	codeDuplicateInProcess jetstream.ErrorCode = 10158
)
