package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/retry"
)

// HeaderHash is the header of a commit that carries its hash.
const HeaderHash = "Closure-Hash"

// Config of the log.
type Config struct {
	// Replicas of the stream when it is created; one that exists has to have as
	// many at least. Defaults to 1.
	Replicas int
	// AppendTimeout bounds one Append with all its retries. Defaults to 5s.
	AppendTimeout time.Duration
	// ReadTimeout bounds the wait for one answer of a read. Defaults to 5s.
	ReadTimeout time.Duration
	// Appended is told of every append: how long it took with all its tries, and its
	// error. Defaults to nobody.
	Appended func(took time.Duration, err error)
	// Logger for what an operator may want to know. Defaults to none.
	Logger *slog.Logger
}

func (cfg Config) withDefaults() Config {
	if cfg.Replicas == 0 {
		cfg.Replicas = 1
	}
	if cfg.AppendTimeout == 0 {
		cfg.AppendTimeout = 5 * time.Second
	}
	if cfg.ReadTimeout == 0 {
		cfg.ReadTimeout = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Log is the event log. It may be used from many goroutines, and by many
// processes at once: the guard of each append keeps them apart.
type Log struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	cfg Config
	// replicas that the stream has; cfg asks for so many at least.
	replicas int
	group    *group
	inboxes  inboxes
}

// Open creates the stream CLOSURE_LOG, or checks the one that exists. Settings
// that would break a promise of this package are ErrWrongStream, which names
// them all; missing messages are ErrBrokenChain. The connection stays the
// caller's, who closes it.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Log, error) {
	cfg = cfg.withDefaults()
	if cfg.Replicas < 0 || cfg.AppendTimeout < 0 || cfg.ReadTimeout < 0 {
		return nil, errors.New("event log: replicas and times cannot be negative")
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	has, err := ensureStream(ctx, js, cfg.Replicas)
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	l := &Log{nc: nc, js: js, cfg: cfg, replicas: has}
	// A replicated stream groups by itself: its Raft log writes what waits at once.
	l.group = newGroup(has == 1, l.fits, l.publishBatch)
	return l, nil
}

// JetStream of the connection, for those who keep other streams beside the log.
func (l *Log) JetStream() jetstream.JetStream { return l.js }

// Conn is the connection that was given to Open.
func (l *Log) Conn() *nats.Conn { return l.nc }

// LastSequence is the sequence of the last commit in the log, 0 when it is
// empty. The stream's leader answers, so it is never behind.
func (l *Log) LastSequence(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.ReadTimeout)
	defer cancel()
	// Stream asks the server each time; the information is as of now.
	stream, err := l.js.Stream(ctx, StreamLog)
	if err != nil {
		return 0, l.readError("last sequence", err)
	}
	info := stream.CachedInfo()
	// In a group without a leader any member answers, with what it has, and says that
	// there is none.
	if info.Cluster != nil && info.Cluster.Leader == "" {
		return 0, fmt.Errorf("%w: event log: last sequence: %s has no leader", ErrUnavailable, StreamLog)
	}
	return info.State.LastSeq, nil
}

// readError is Unavailable, for what was read of the log.
func (l *Log) readError(what string, err error) error {
	if errors.Is(err, ErrMalformedCommit) || errors.Is(err, ErrBrokenChain) {
		return err
	}
	return Unavailable("event log: "+what, err)
}

// Unavailable says what failed, and marks as ErrUnavailable what may pass: no
// answer, no leader, no connection, or a caller who gave up.
func Unavailable(what string, err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	if retry.Transient(err) || errors.Is(err, context.Canceled) || errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
