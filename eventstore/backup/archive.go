package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server/archive"
	"github.com/nats-io/nats.go"

	"closure/eventstore"
	"closure/eventstore/verify"
)

// stateEntry is the first entry of an archive: the state of the stream.
const stateEntry = "state.json"

// state of a stream, as far as a restore goes by it.
type state struct {
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	First    uint64 `json:"first_seq"`
	Last     uint64 `json:"last_seq"`
}

// message of a stream as it is stored. header is as it goes over the wire.
type message struct {
	subject      string
	sequence     uint64
	time         int64 // nanoseconds since 1970
	header, body []byte
}

var (
	errTruncated = errors.New("the archive is cut off")
	errFormat    = errors.New("this is no archive of NATS 2.15 or later")
)

// readArchive hands over each message of a stream's archive, in their order. The bytes of a message are good until the next one. The
// error is errTruncated, errFormat, the one of each, or that of the file.
func readArchive(ctx context.Context, path string, each func(message) error) (s state, err error) {
	file, err := os.Open(path)
	if err != nil {
		return s, err
	}
	defer func() { _ = file.Close() }() // it was only read
	r := archive.NewReader(s2.NewReader(file))
	first, err := r.Next()
	if errors.Is(err, archive.ErrInvalidArchive) || err == nil && first.Name != stateEntry {
		return s, errFormat
	}
	if err != nil {
		return s, broken(err)
	}
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		return s, fmt.Errorf("%s: %w", stateEntry, err)
	}
	var buffer []byte
	for ctx.Err() == nil {
		h, err := r.Next()
		if err != nil {
			return s, broken(err)
		}
		if h.Sequence == 0 {
			return s, readEnd(r, h)
		}
		size := int(h.HeaderSize + h.PayloadSize)
		if cap(buffer) < size {
			buffer = make([]byte, size)
		}
		buffer = buffer[:size]
		if _, err := io.ReadFull(r, buffer); err != nil && size > 0 {
			return s, broken(err)
		}
		m := message{subject: h.Name, sequence: h.Sequence, time: h.Timestamp, header: buffer[:h.HeaderSize], body: buffer[h.HeaderSize:]}
		if err := each(m); err != nil {
			return s, err
		}
	}
	return s, ctx.Err()
}

// readEnd takes the entry that ends an archive; nothing may follow it.
func readEnd(r *archive.Reader, h *archive.Header) error {
	if *h != (archive.Header{}) {
		return fmt.Errorf("the archive has the entry %q, which is no message", h.Name)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		return errors.New("the archive goes on behind its end")
	}
	return nil
}

func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, archive.ErrInvalidArchive) {
		return errTruncated
	}
	return err
}

// archiveWriter writes what readArchive, and the server, read.
type archiveWriter struct {
	compressed *s2.Writer
	entries    *archive.Writer
}

func newArchiveWriter(w io.Writer, s state) (*archiveWriter, error) {
	a := &archiveWriter{compressed: s2.NewWriter(w)}
	a.entries = archive.NewWriter(a.compressed)
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return a, a.entry(&archive.Header{Name: stateEntry, PayloadSize: int64(len(text))}, text)
}

func (a *archiveWriter) entry(h *archive.Header, content ...[]byte) error {
	if err := a.entries.WriteHeader(h); err != nil {
		return err
	}
	for _, part := range content {
		if _, err := a.entries.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func (a *archiveWriter) message(m message) error {
	return a.entry(&archive.Header{
		Name: m.subject, Sequence: m.sequence, Timestamp: m.time, HeaderSize: int64(len(m.header)), PayloadSize: int64(len(m.body)),
	}, m.header, m.body)
}

// end says that it is whole.
func (a *archiveWriter) end() error {
	if err := a.entry(&archive.Header{}); err != nil {
		return err
	}
	return errors.Join(a.entries.Close(), a.compressed.Close())
}

// stored is how many bytes the server counts for a message in a file.
func (m message) stored() uint64 {
	record := 30 // lengths, sequence, time and hash
	if len(m.header) > 0 {
		record += 4
	}
	return uint64(record + len(m.subject) + len(m.header) + len(m.body))
}

// logFile is the log in an archive, for package verify.
type logFile struct {
	path string
	last uint64
}

// Scope is the whole log.
func (f logFile) Scope() verify.Scope { return verify.Scope{To: f.last} }

// Walk hands over each commit.
func (f logFile) Walk(ctx context.Context, handle func(verify.Message) error) error {
	_, err := readArchive(ctx, f.path, func(m message) error {
		header, err := headerOf(m.header)
		if err != nil {
			return handle(verify.Message{Sequence: m.sequence, Subject: m.subject, Fault: fmt.Sprintf("its header cannot be read: %v", err)})
		}
		return handle(verify.Message{
			Sequence: m.sequence, Subject: m.subject, Time: time.Unix(0, m.time).UTC(),
			Hash: header.Get(eventstore.HeaderHash), ID: header.Get(nats.MsgIdHdr), Body: m.body,
		})
	})
	return err
}

// headerLogSequence of a published event is the sequence in the log that it came from.
const headerLogSequence = "ce-logsequence"

// publishedIn is the highest sequence of the log that an event in an archive came from; 0 for none.
func publishedIn(ctx context.Context, path string) (last uint64, err error) {
	_, err = readArchive(ctx, path, func(m message) error {
		header, err := headerOf(m.header)
		if err != nil {
			return fmt.Errorf("the header of event %d: %w", m.sequence, err)
		}
		// Some events come from no commit.
		if sequence, err := strconv.ParseUint(header.Get(headerLogSequence), 10, 64); err == nil {
			last = max(last, sequence)
		}
		return nil
	})
	return last, err
}

func headerOf(raw []byte) (nats.Header, error) {
	if len(raw) == 0 {
		return nats.Header{}, nil
	}
	return nats.DecodeHeadersMsg(raw)
}
