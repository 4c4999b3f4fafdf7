package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"closure/eventstore"
	"closure/eventstore/verify"
)

// ErrExists: there is something under the name that the backup is to have. Nothing is ever written over.
var ErrExists = errors.New("it is there already")

// Config of a backup.
type Config struct {
	// Order are the names of streams, in the order in which they are to be taken; see the package for what has to come before what.
	// Streams that are not there are passed over, and those that it does not name are taken first.
	Order []string
	// Engine is the version of the program, for the manifest.
	Engine string
	// Timeout bounds the wait for one answer of the server. Defaults to 10s.
	Timeout time.Duration
	// Finish is called when all streams are copied, and may add to the manifest. Defaults to nothing.
	Finish func(*Manifest) error
	// Progress is told what is copied. Defaults to nobody.
	Progress func(Progress)
}

// Progress is how far a stream is copied.
type Progress struct {
	Stream string
	// Bytes that went over the wire so far, and Messages once it is Done.
	Bytes    int64
	Messages uint64
	Done     bool
}

// Take writes a backup of all streams of the engine into a new folder, and returns when it is on disk, verified. Nothing is left
// under the name of the folder when it fails. Errors: ErrExists; eventstore.ErrUnavailable; jetstream.ErrStreamNotFound when there
// is no log.
func Take(ctx context.Context, nc *nats.Conn, folder string, cfg Config) (m Manifest, err error) {
	c, err := newClient(nc, cfg.Timeout)
	if err != nil {
		return m, err
	}
	return take(ctx, &copier{client: c, chunk: chunkSize, window: windowSize}, folder, cfg)
}

func take(ctx context.Context, c *copier, folder string, cfg Config) (m Manifest, err error) {
	folder = filepath.Clean(folder)
	if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
		return m, errors.Join(fmt.Errorf("%s: %w", folder, ErrExists), err)
	}
	if c.progress = cfg.Progress; c.progress == nil {
		c.progress = func(Progress) {}
	}
	// A name of its own: another backup to the same folder may be under way.
	if c.folder, err = os.MkdirTemp(filepath.Dir(folder), filepath.Base(folder)+".partial-"); err != nil {
		return m, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(c.folder))
		}
	}()
	if m, err = c.all(ctx, cfg); err != nil {
		return m, err
	}
	if err := errors.Join(writeManifest(c.folder, m), Sync(c.folder)); err != nil {
		return m, err
	}
	// A folder that is there and empty would be replaced: it was not there a moment ago.
	if err := os.Rename(c.folder, folder); err != nil {
		return m, err
	}
	return m, Sync(filepath.Dir(folder))
}

// all copies all streams.
func (c *copier) all(ctx context.Context, cfg Config) (Manifest, error) {
	m := Manifest{Format: Format, Engine: cfg.Engine, Server: c.nc.ConnectedServerVersion(), Begun: time.Now().UTC()}
	names, memory, err := c.streams(ctx)
	if err != nil {
		return m, err
	}
	m.LeftOut = append([]string{}, memory...)
	if _, err := c.info(ctx, eventstore.StreamLog); err != nil {
		return m, eventstore.Unavailable("the stream "+eventstore.StreamLog, err)
	}
	positions, err := c.positions(ctx, names)
	if err != nil {
		return m, err
	}
	for _, name := range ordered(names, cfg.Order) {
		s, err := c.stream(ctx, name)
		if err != nil {
			return m, eventstore.Unavailable("copy "+name, err)
		}
		c.progress(Progress{Stream: name, Bytes: s.Size, Messages: s.Messages, Done: true})
		s.Consumers = positions[name]
		m.Streams = append(m.Streams, s)
	}
	if m.Log, err = verifyLog(ctx, c.folder, m); err != nil {
		return m, err
	}
	m.Ended = time.Now().UTC()
	if cfg.Finish != nil {
		err = cfg.Finish(&m)
	}
	return m, err
}

// positions are the durable consumers of each stream that has any to keep. What waits in a work queue stands in it: its consumers
// begin anew.
func (c *copier) positions(ctx context.Context, names []string) (map[string][]Consumer, error) {
	all := map[string][]Consumer{}
	for _, name := range names {
		info, err := c.info(ctx, name)
		if err != nil {
			return nil, eventstore.Unavailable("the stream "+name, err)
		}
		cfg, err := readSettings(info.Config)
		if err != nil {
			return nil, err
		}
		if !cfg.limits() {
			continue
		}
		if all[name], err = c.consumers(ctx, name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ordered are the names in an order; those that it does not name come first.
func ordered(names, order []string) []string {
	names = slices.Clone(names)
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(slices.Index(order, a), slices.Index(order, b)) })
	return names
}

// verifyLog checks the chains of the log in a folder, and that nothing in it is ahead of the log: what follows from commits that are not
// there would be a lie after a restore. In the right order that cannot be; it is what a server gives that takes itself for the leader
// of a stream, and is not any more.
func verifyLog(ctx context.Context, folder string, m Manifest) (LogState, error) {
	log := m.stream(eventstore.StreamLog)
	report, err := verify.Run(ctx, logFile{path: filepath.Join(folder, log.File), last: log.Last}, verify.Config{})
	if err != nil {
		return LogState{}, err
	}
	for _, s := range m.Streams {
		for _, one := range s.Consumers {
			if one.Next > s.Last+1 {
				return LogState{}, fmt.Errorf("the consumer %s of %s is at sequence %d, and the stream ends at %d", one.Name, s.Name, one.Next, s.Last)
			}
		}
	}
	if events := m.stream(eventstore.StreamEvents); events.File != "" {
		last, err := publishedIn(ctx, filepath.Join(folder, events.File))
		if err != nil {
			return LogState{}, err
		}
		if last > log.Last {
			return LogState{}, fmt.Errorf("an event of sequence %d is in %s, and the log ends at %d", last, events.Name, log.Last)
		}
	}
	return logState(report)
}

// logState is what a report says of a whole log without a fault.
func logState(r verify.Report) (LogState, error) {
	if !r.OK {
		return LogState{}, fmt.Errorf("the log is not what was written, 'closure verify' says more: %s", r.Problems[0])
	}
	return LogState{Last: r.Last, Commits: r.Commits, Aggregates: r.Aggregates, Heads: r.Heads}, nil
}
