package verify

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// exportFormat is the version of the shape of an export.
const exportFormat = 1

// exportHead is the first line of an export: what it holds.
type exportHead struct {
	Export    string    `json:"export"` // name of the stream
	Format    int       `json:"format"`
	Aggregate string    `json:"aggregate"` // "" for all kinds
	ID        string    `json:"id"`        // "" for all of the kind
	From      uint64    `json:"from"`
	To        uint64    `json:"to"`
	Complete  bool      `json:"complete"` // the whole log, as it was then
	Time      time.Time `json:"time"`     // when it was begun
}

// exportLine is one message.
type exportLine struct {
	Sequence uint64    `json:"sequence"`
	Subject  string    `json:"subject"`
	Time     time.Time `json:"time"` // when the server stored it
	Hash     string    `json:"hash"` // as the message's header has it
	// Commit is the body, byte for byte. Body is the body in base64 where it is no JSON in its shortest form: then it is not
	// a commit, but an export shows it all the same.
	Commit json.RawMessage `json:"commit,omitempty"`
	Body   []byte          `json:"body,omitempty"`
}

// exportEnd is the last line. An export without it is cut off.
type exportEnd struct {
	End   bool   `json:"end"`
	Count uint64 `json:"count"`
	First uint64 `json:"first"` // sequences; 0 for none
	Last  uint64 `json:"last"`
	// Complete: it is the whole log, of all aggregates, as it was when the export began.
	Complete bool `json:"complete"`
	// Digest is the hex SHA-256 of all lines before this one, with their line feeds.
	Digest string `json:"digest"`
}

// Exported is what an export holds.
type Exported struct {
	Count       uint64
	First, Last uint64
	Complete    bool
	Digest      string
}

// exporter writes lines, and their digest.
type exporter struct {
	w    *bufio.Writer
	sum  hash.Hash
	done Exported
}

// Export writes a source as JSON lines: a head, a line for each message, an end. Nothing is judged: a broken log is exported
// as it is. The stream is the name of the log. What is written MUST NOT be used when there was an error.
func Export(ctx context.Context, w io.Writer, src Source, stream string, now time.Time) (Exported, error) {
	e := &exporter{w: bufio.NewWriterSize(w, 1<<16), sum: sha256.New()}
	s := src.Scope()
	e.done.Complete = s.whole()
	head := exportHead{Export: stream, Format: exportFormat, Aggregate: s.Aggregate, ID: s.ID, From: s.first(), To: s.To, Complete: s.whole(), Time: now.UTC()}
	if err := e.object(head); err != nil {
		return Exported{}, err
	}
	if err := src.Walk(ctx, e.message); err != nil {
		return Exported{}, err
	}
	e.done.Digest = hex.EncodeToString(e.sum.Sum(nil))
	d := e.done
	if err := e.object(exportEnd{End: true, Count: d.Count, First: d.First, Last: d.Last, Complete: d.Complete, Digest: d.Digest}); err != nil {
		return Exported{}, err
	}
	return e.done, e.w.Flush()
}

func (e *exporter) object(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return e.line(line)
}

func (e *exporter) line(parts ...[]byte) error {
	for _, part := range append(parts, []byte("\n")) {
		_, _ = e.sum.Write(part) // a hash never fails
		if _, err := e.w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// message writes one line. A commit is spliced in as it is: an encoder would write some of its characters in another way.
func (e *exporter) message(m Message) error {
	if m.Fault != "" {
		return nil // it says what is not there
	}
	if e.done.Count++; e.done.First == 0 {
		e.done.First = m.Sequence
	}
	e.done.Last = m.Sequence
	line := exportLine{Sequence: m.Sequence, Subject: m.Subject, Time: m.Time, Hash: m.Hash}
	if !spliceable(m.Body) {
		line.Body = m.Body
		return e.object(line)
	}
	around, err := json.Marshal(line)
	if err != nil {
		return err
	}
	return e.line(around[:len(around)-1], []byte(`,"commit":`), m.Body, []byte("}"))
}

// spliceable tells whether a body can stand in a line of JSON and be read out of it byte for byte, by any reader.
func spliceable(body []byte) bool {
	var compact bytes.Buffer
	return utf8.Valid(body) && json.Compact(&compact, body) == nil && bytes.Equal(compact.Bytes(), body)
}

// ErrNoExport means that what was given is no export of a log.
var ErrNoExport = errors.New("this is no export of a log")

// File is an export that can be walked.
type File struct {
	r    io.ReadSeeker
	head exportHead
}

// OpenExport reads the head of an export. The reader stays the caller's.
func OpenExport(r io.ReadSeeker) (*File, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	f := &File{r: r}
	if err := strict(line, &f.head); err != nil || f.head.Export == "" {
		return nil, fmt.Errorf("%w: its first line is not the head that 'closure export' writes", ErrNoExport)
	}
	if f.head.Format != exportFormat {
		return nil, fmt.Errorf("%w that this version reads: its format is %d, not %d", ErrNoExport, f.head.Format, exportFormat)
	}
	return f, nil
}

// Scope is the part of the log that the export says it has.
func (f *File) Scope() Scope {
	return Scope{From: f.head.From, To: f.head.To, Aggregate: f.head.Aggregate, ID: f.head.ID, Cut: !f.head.Complete}
}

// Walk reads the file once. Lines that cannot be read, and an end that is not there or does not fit, are faults.
func (f *File) Walk(ctx context.Context, handle func(Message) error) error {
	if _, err := f.r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	w := &fileWalk{scope: f.Scope(), sum: sha256.New(), handle: handle}
	lines := bufio.NewReaderSize(f.r, 1<<20)
	for ctx.Err() == nil {
		line, err := lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(line) > 0 {
			if err := w.line(line); err != nil {
				return err
			}
		}
		if err != nil {
			return w.finish()
		}
	}
	return ctx.Err()
}

// fileWalk is one walk through an export.
type fileWalk struct {
	scope  Scope
	handle func(Message) error
	sum    hash.Hash
	number int
	count  uint64
	first  uint64
	last   uint64
	ended  bool
}

func (w *fileWalk) fault(format string, args ...any) error {
	return w.handle(Message{Fault: fmt.Sprintf("line %d: ", w.number) + fmt.Sprintf(format, args...)})
}

func (w *fileWalk) line(line []byte) error {
	w.number++
	if w.ended {
		return w.fault("it stands behind the end")
	}
	if isEnd(line) {
		return w.end(line)
	}
	_, _ = w.sum.Write(line) // a hash never fails
	if w.number == 1 {
		return nil // OpenExport has read it
	}
	var l exportLine
	if err := strict(line, &l); err != nil {
		// It most likely is the message behind the one before it.
		return w.handle(Message{Sequence: w.last + 1, Fault: fmt.Sprintf("line %d: it cannot be read: %v", w.number, err)})
	}
	if w.count++; w.first == 0 {
		w.first = l.Sequence
	}
	w.last = l.Sequence
	body := l.Body
	if l.Commit != nil {
		body = l.Commit
	}
	if !w.scope.has(l.Subject) {
		return w.fault("%s does not belong into this export", l.Subject)
	}
	return w.handle(Message{Sequence: l.Sequence, Subject: l.Subject, Time: l.Time, Hash: l.Hash, Body: body})
}

func isEnd(line []byte) bool { return bytes.HasPrefix(line, []byte(`{"end":`)) }

func (w *fileWalk) end(line []byte) error {
	w.ended = true
	var e exportEnd
	if err := strict(line, &e); err != nil {
		return w.fault("the end cannot be read: %v", err)
	}
	if e.Count != w.count || e.First != w.first || e.Last != w.last {
		if err := w.fault("the end counts %d messages from sequence %d to %d, and there are %d from %d to %d",
			e.Count, e.First, e.Last, w.count, w.first, w.last); err != nil {
			return err
		}
	}
	if digest := hex.EncodeToString(w.sum.Sum(nil)); e.Digest != digest {
		return w.fault("the lines were changed after the export: their digest is %s, the end says %q", digest, e.Digest)
	}
	if e.Complete != !w.scope.Cut {
		return w.fault("the end says complete: %t, and the first line %t", e.Complete, !w.scope.Cut)
	}
	return nil
}

func (w *fileWalk) finish() error {
	if w.ended {
		return nil
	}
	return w.fault("the export is cut off behind this line: its end is missing")
}

// strict reads one line; an unknown member is an error, and so is what follows.
func strict(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one value in it")
	}
	return nil
}
