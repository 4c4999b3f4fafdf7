package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
)

const (
	// chunkSize is how many bytes the server sends in one message, and windowSize how many it sends ahead.
	chunkSize  = 256 << 10
	windowSize = 8 << 20
	// silence is after what time without a word of the server a snapshot has failed; the server gives up after 5 s.
	silence = 60 * time.Second
	// tries of a snapshot: its server may be lost on the way.
	tries = 3

	// rounds bounds how often is looked for messages that came meanwhile, and inFlight how many are fetched at a time. Of piece
	// sequences it is noted which are there.
	rounds   = 20
	inFlight = 64
	piece    = 4096
)

// snapshotOf is the answer to a request for a snapshot.
type snapshotOf struct {
	Config json.RawMessage `json:"config"`
	State  state           `json:"state"`
}

// copier copies streams into a folder.
type copier struct {
	*client
	folder   string
	progress func(Progress)
	// chunk and window sizes, smaller in tests. paused is called after each chunk, in tests only.
	chunk, window int
	paused        func(stream string)
}

// stream copies one stream, and says what there is.
func (c *copier) stream(ctx context.Context, name string) (Stream, error) {
	s := Stream{Name: name, File: name + suffix, Taken: time.Now().UTC()}
	path := filepath.Join(c.folder, s.File)
	snapshot, err := c.insist(ctx, name, path)
	if err != nil {
		return s, err
	}
	cfg, err := readSettings(snapshot.Config)
	if err != nil {
		return s, err
	}
	now := snapshot.State
	var there uint64
	if _, err := readArchive(ctx, path, func(message) error { there++; return nil }); err != nil {
		return s, err
	}
	switch missing := there != now.Messages; {
	case missing && cfg.replaces():
		if now, err = c.complete(ctx, name, path, now, cfg); err != nil {
			return s, err
		}
	case missing && cfg.keeps():
		return s, fmt.Errorf("%d messages are in the snapshot, and the stream had %d: somebody removed some", there, now.Messages)
	default:
		now.Messages = there // what was too old, or too much, went meanwhile
	}
	s.Messages, s.Bytes, s.First, s.Last, s.Config = now.Messages, now.Bytes, now.First, now.Last, snapshot.Config
	s.SHA256, s.Size, err = hashOf(path)
	return s, err
}

// insist has a snapshot in the file, in a few tries: in a cluster the server that gives it may be lost on the way.
func (c *copier) insist(ctx context.Context, stream, path string) (s snapshotOf, err error) {
	for range tries {
		err = writeFile(path, func(w io.Writer) (err error) { s, err = c.snapshot(ctx, stream, w); return err })
		if err == nil || ctx.Err() != nil || !errors.Is(err, errLost) {
			return s, err
		}
		if err := os.Remove(path); err != nil {
			return s, err
		}
	}
	return s, err
}

// errLost: the server ended a snapshot before its end.
var errLost = errors.New("the snapshot was not sent to its end")

// snapshot has the server send a stream, and writes it. The server sends no more than the window before it hears that what it sent
// has come, so that a slow disk here slows it down there.
func (c *copier) snapshot(ctx context.Context, stream string, w io.Writer) (s snapshotOf, err error) {
	inbox := c.nc.NewInbox()
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return s, err
	}
	defer func() { _ = sub.Unsubscribe() }() // an error means that the connection is gone
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return s, err
	}
	err = c.ask(ctx, "STREAM.SNAPSHOT."+stream, map[string]any{
		"deliver_subject": inbox, "no_consumers": true, "chunk_size": c.chunk, "window_size": c.window,
	}, &s)
	if err != nil {
		return s, err
	}
	for written := int64(0); ; {
		chunk, err := nextChunk(ctx, sub)
		if err != nil || len(chunk.Data) == 0 {
			return s, err
		}
		if _, err := w.Write(chunk.Data); err != nil {
			return s, err
		}
		if c.paused != nil {
			c.paused(stream)
		}
		if chunk.Reply != "" {
			if err := chunk.Respond(nil); err != nil {
				return s, fmt.Errorf("%w: %w", errLost, err)
			}
		}
		written += int64(len(chunk.Data))
		c.progress(Progress{Stream: stream, Bytes: written})
	}
}

// nextChunk waits for the next part of a snapshot; an empty one is its end.
func nextChunk(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	wait, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	msg, err := sub.NextMsgWithContext(wait)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errLost, err)
	}
	if status := msg.Header.Get("Status"); len(msg.Data) == 0 && status != "" && !strings.HasPrefix(status, "204") {
		return nil, fmt.Errorf("%w: %s %s", errLost, status, msg.Header.Get("Description"))
	}
	return msg, nil
}

// complete adds what came while a stream was copied to its archive. The state is that of the result.
func (c *copier) complete(ctx context.Context, stream, path string, at state, cfg settings) (state, error) {
	late, last, err := c.since(ctx, stream, at.Last)
	if err != nil {
		return at, err
	}
	replaced := map[string]uint64{} // by its subject, the newest
	for _, m := range late {
		replaced[m.subject] = m.sequence
	}
	stays := func(m message) bool { return cfg.MaxMsgsPerSubject != 1 || m.sequence >= replaced[m.subject] }
	all := func(each func(message) error) error {
		some := func(m message) error {
			if !stays(m) {
				return nil
			}
			return each(m)
		}
		if _, err := readArchive(ctx, path, some); err != nil {
			return err
		}
		for _, m := range late {
			if err := some(m); err != nil {
				return err
			}
		}
		return nil
	}
	now := state{First: max(at.First, 1), Last: last}
	if err := all(func(m message) error { now.Messages++; now.Bytes += m.stored(); return nil }); err != nil {
		return at, err
	}
	beside := path + ".new"
	if err := writeFile(beside, func(w io.Writer) error { return writeArchive(w, now, all) }); err != nil {
		return at, err
	}
	return now, os.Rename(beside, path)
}

func writeArchive(w io.Writer, s state, all func(func(message) error) error) error {
	a, err := newArchiveWriter(w, s)
	if err != nil {
		return err
	}
	if err := all(a.message); err != nil {
		return err
	}
	return a.end()
}

// since fetches what a stream got behind a sequence, in rounds: while one is fetched more may come. last is the sequence that the
// stream has reached.
func (c *copier) since(ctx context.Context, stream string, after uint64) (late []message, last uint64, err error) {
	for range rounds {
		info, err := c.info(ctx, stream)
		if err != nil {
			return nil, 0, err
		}
		if info.State.Last <= after {
			break
		}
		for after < info.State.Last {
			to := min(after+piece, info.State.Last)
			more, err := c.fetch(ctx, stream, after+1, to)
			if err != nil {
				return nil, 0, err
			}
			late, after = append(late, more...), to
		}
	}
	return late, after, nil
}

// fetch gets the messages from a sequence to another, those that are there.
func (c *copier) fetch(ctx context.Context, stream string, from, to uint64) ([]message, error) {
	found := make([]message, to-from+1)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(inFlight)
	for i := range found {
		work.Go(func() error {
			m, ok, err := c.message(ctx, stream, from+uint64(i))
			if ok {
				found[i] = m
			}
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	var there []message
	for _, m := range found {
		if m.sequence != 0 {
			there = append(there, m)
		}
	}
	return there, nil
}
