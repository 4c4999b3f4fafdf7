package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// openWithin bounds Open when the caller's context has no deadline: a cluster
// that has just started needs some seconds to elect its leaders.
const openWithin = 30 * time.Second

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
		// Nothing uses batches yet; a stream that has them denied would have to be
		// changed by an operator once it does.
		AllowAtomicPublish: true,
	}
}

// ensureStream creates the log, or checks the one that is there.
func ensureStream(ctx context.Context, js jetstream.JetStream, replicas int) error {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, openWithin)
		defer cancel()
	}
	for pause := newBackoff(100*time.Millisecond, 2*time.Second); ; {
		err := tryEnsureStream(ctx, js, replicas)
		if err == nil || !transient(err) {
			return err
		}
		if waitErr := pause.wait(ctx); waitErr != nil {
			return fmt.Errorf("%w: open the stream %s: %w", ErrUnavailable, StreamLog, err)
		}
	}
}

func tryEnsureStream(ctx context.Context, js jetstream.JetStream, replicas int) error {
	// Each try has its own bound: a request to a cluster without a leader is
	// answered by nobody.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, StreamLog)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, logStream(replicas))
		// Somebody else created it in between, with other settings.
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = js.Stream(ctx, StreamLog)
		}
	}
	if err != nil {
		return fmt.Errorf("open the stream %s: %w", StreamLog, err)
	}
	return checkStream(stream.CachedInfo(), replicas)
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
	// … and writing and reading have to work.
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

// transient: the same request may well succeed in a moment.
func transient(err error) bool {
	if errors.Is(err, nats.ErrConnectionClosed) {
		return false
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrConnectionReconnecting) ||
		errors.Is(err, nats.ErrReconnectBufExceeded) {
		return true
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode {
	case codeNoPeers:
		return true
	case codeNoReplicas, codeInvalidStream, jetstream.JSErrCodeConsumerCreate:
		return false
	}
	return api.Code >= 500
}

// Codes of the server that nats.go does not name.
const (
	// codeNoPeers: too few servers are there for the replicas. While a cluster
	// starts, the others are on their way.
	codeNoPeers jetstream.ErrorCode = 10005
	// codeNoReplicas: more than one replica, on a server that is in no cluster. It
	// comes with a status of 500, and no time will change it.
	codeNoReplicas jetstream.ErrorCode = 10074
	// codeInvalidStream: so does this one.
	codeInvalidStream jetstream.ErrorCode = 10052
	// codeDuplicateInProcess: a message with the same id is on its way into a
	// replicated stream. Its fate is not known yet.
	codeDuplicateInProcess jetstream.ErrorCode = 10158
)
