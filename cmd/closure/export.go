package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/verify"
)

// exportCommand writes the log, or a part of it, as JSON lines that verify on their own.
type exportCommand struct {
	connection
	Aggregate string `enum:",account,account_group,user" default:"" help:"Only this kind: account, account_group or user."`
	ID        string `help:"Only this one resource (uuid); with --aggregate."`
	From      point  `placeholder:"SEQ|TIME" help:"From this sequence on, or from what was stored at this time (RFC 3339) or later."`
	To        point  `placeholder:"SEQ|TIME" help:"Up to this sequence, or to what was stored at this time; both inclusive."`
	Out       string `type:"path" placeholder:"FILE" help:"Write into this new file, and say what was written. Defaults to standard output."`
	JSON      bool   `name:"json" help:"With --out: print what was written as one JSON object."`
}

// Validate is called by kong: a wrong flag is a wrong use.
func (c exportCommand) Validate() error {
	if c.ID == "" {
		return nil
	}
	if c.Aggregate == "" {
		return errors.New("--id: needs --aggregate, which says whose id it is")
	}
	if _, err := domain.ParseID(c.ID); err != nil {
		return fmt.Errorf("--id: %w", err)
	}
	return nil
}

func (c exportCommand) Run(ctx context.Context, std streams) error {
	scope, err := c.scope(ctx)
	if err != nil {
		return err
	}
	src, done, err := c.openLog(ctx, scope)
	if err != nil {
		return err
	}
	defer done()
	if c.Out == "" {
		_, err := verify.Export(ctx, std.out, src, eventstore.StreamLog, time.Now())
		return err
	}
	exported, err := exportToFile(ctx, c.Out, src)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(std.out, map[string]any{
			"file": c.Out, "count": exported.Count, "first": exported.First, "last": exported.Last, "complete": exported.Complete, "digest": exported.Digest,
		})
	}
	_, err = fmt.Fprintf(std.out, "%s: %d commits, sequences %d to %d, complete: %t, digest %s\n",
		c.Out, exported.Count, exported.First, exported.Last, exported.Complete, exported.Digest)
	return err
}

// exportToFile never leaves a file behind that looks like an export and is none, and never writes over one that is there.
func exportToFile(ctx context.Context, path string, src verify.Source) (verify.Exported, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return verify.Exported{}, err
	}
	exported, err := verify.Export(ctx, file, src, eventstore.StreamLog, time.Now())
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err != nil {
		return verify.Exported{}, errors.Join(err, os.Remove(path))
	}
	return exported, nil
}

// scope is the part of the log that was asked for. Times are those at which the server stored, which are in the order of the
// log on one server.
func (c exportCommand) scope(ctx context.Context) (verify.Scope, error) {
	s := verify.Scope{From: c.From.sequence, To: c.To.sequence, Aggregate: c.Aggregate}
	if c.ID != "" {
		s.ID, _ = domain.ParseID(c.ID) // Validate has checked it
	}
	if c.From.at.IsZero() && c.To.at.IsZero() {
		return s, checkRange(s)
	}
	conn, err := c.connect()
	if err != nil {
		return s, err
	}
	defer conn.Close()
	if s.From, err = c.resolve(ctx, conn, c.From, 0); err != nil {
		return s, err
	}
	if s.To, err = c.resolve(ctx, conn, c.To, 1); err != nil {
		return s, err
	}
	return s, checkRange(s)
}

// resolve gives the sequence of a point; plus 1 gives the last one that was stored at its time, or before.
func (c exportCommand) resolve(ctx context.Context, conn *nats.Conn, p point, plus int) (uint64, error) {
	if p.at.IsZero() {
		return p.sequence, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	seq, err := verify.SequenceAt(ctx, conn, p.at.Add(time.Duration(plus)))
	if err != nil {
		return 0, c.noLog(err)
	}
	if seq == uint64(plus) {
		return 0, fmt.Errorf("the log has nothing that was stored at %s or before", p.at.Format(time.RFC3339Nano))
	}
	return seq - uint64(plus), nil
}

func checkRange(s verify.Scope) error {
	if s.To > 0 && s.From > s.To {
		return fmt.Errorf("there is nothing from sequence %d to sequence %d", s.From, s.To)
	}
	return nil
}

// noLog says where there is no log, in place of an error of the stream.
func (c connection) noLog(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("there is no %s on the NATS server at %s", eventstore.StreamLog, redacted(c.NATSURL))
	}
	return err
}

// point is a place in the log: a sequence, or a time.
type point struct {
	sequence uint64
	at       time.Time
}

// UnmarshalText reads a sequence or a time.
func (p *point) UnmarshalText(text []byte) error {
	if seq, err := strconv.ParseUint(string(text), 10, 64); err == nil && seq > 0 {
		p.sequence = seq
		return nil
	}
	var at instant
	if err := at.UnmarshalText(text); err != nil {
		return fmt.Errorf("must be a sequence from 1, or a time in RFC 3339 such as 2027-04-06T00:00:00Z, got %q", text)
	}
	p.at = at.Time
	return nil
}

// instant is a time on the command line.
type instant struct{ time.Time }

// UnmarshalText reads RFC 3339.
func (i *instant) UnmarshalText(text []byte) error {
	at, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return fmt.Errorf("must be a time in RFC 3339 such as 2027-04-06T00:00:00Z, got %q", text)
	}
	i.Time = at.UTC()
	return nil
}
