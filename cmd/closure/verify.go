package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
	"closure/eventstore/verify"
)

// verifyCommand walks a whole log, or an export of one.
type verifyCommand struct {
	connection
	FromExport  string `name:"from-export" type:"existingfile" placeholder:"FILE" help:"Verify an export (closure export) instead of the log on a server."`
	To          uint64 `placeholder:"SEQ" help:"Verify only up to this sequence: what an earlier audit has seen."`
	Expect      string `placeholder:"DIGEST" help:"The digest of the heads that an earlier audit printed, up to --to; another one is a failure."`
	MaxProblems int    `name:"max-problems" default:"100" help:"Stop when so many problems are found."`
	States      int    `default:"100000" help:"How many aggregates to hold in memory with their state. With more aggregates in the log, it is walked several times."`
	JSON        bool   `name:"json" help:"Print the report as one JSON object."`
}

// Validate is called by kong: a wrong flag is a wrong use.
func (c verifyCommand) Validate() error {
	switch {
	case c.MaxProblems < 1:
		return fmt.Errorf("--max-problems: must be 1 at least, got %d", c.MaxProblems)
	case c.States < 1:
		return fmt.Errorf("--states: must be 1 at least, got %d", c.States)
	case c.To > 0 && c.FromExport != "":
		return errors.New("--to: is for a log on a server; an export is verified as a whole")
	}
	return nil
}

// errBroken is the outcome of a verification that found something. What it is stands in the report.
var errBroken = errors.New("the log is not what was written")

func (c verifyCommand) Run(ctx context.Context, std streams) error {
	src, done, err := c.source(ctx)
	if err != nil {
		return err
	}
	defer done()
	progress := newProgress(std.err, src.Scope())
	report, err := verify.Run(ctx, src, verify.Config{
		Judge: judge, States: c.States, MaxProblems: c.MaxProblems, Expect: c.Expect, Progress: progress.show,
	})
	progress.end()
	if err != nil {
		return err
	}
	if err := c.print(std.out, report); err != nil {
		return err
	}
	if !report.OK {
		return fmt.Errorf("%w: %s", errBroken, counted(report))
	}
	return nil
}

// judge is replay.Judge without its types.
func judge(before any, c eventstore.Recorded) (any, error) {
	state, _ := before.(domain.Aggregate)
	after, err := replay.Judge(state, c)
	if errors.Is(err, domain.ErrUnknownEvent) {
		err = fmt.Errorf("%w: %w", verify.ErrUnknownEvent, err)
	}
	return after, err
}

// source is what is verified, and how to let go of it.
func (c verifyCommand) source(ctx context.Context) (src verify.Source, done func(), err error) {
	if c.FromExport != "" {
		file, err := os.Open(c.FromExport)
		if err != nil {
			return nil, nil, err
		}
		src, err := verify.OpenExport(file)
		if err != nil {
			_ = file.Close() // it was only read
			return nil, nil, fmt.Errorf("%s: %w", c.FromExport, err)
		}
		return src, func() { _ = file.Close() }, nil
	}
	return c.openLog(ctx, verify.Scope{To: c.To})
}

// openLog opens the log on the server, as it is: whatever is wrong with it is for the verification to say.
func (c connection) openLog(ctx context.Context, scope verify.Scope) (src verify.Source, done func(), err error) {
	conn, err := c.connect()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	log, err := verify.OpenStream(ctx, conn, scope)
	if err != nil {
		conn.Close()
		return nil, nil, c.noLog(err)
	}
	return log, conn.Close, nil
}

func (c verifyCommand) print(w io.Writer, r verify.Report) error {
	if c.JSON {
		return printJSON(w, r)
	}
	var b strings.Builder
	for i, p := range r.Problems {
		switch i {
		case 0:
			b.WriteString("The first problem:\n")
		case 1:
			fmt.Fprintf(&b, "And %d more:\n", len(r.Problems)-1)
		}
		fmt.Fprintf(&b, "  %s\n", p)
	}
	_, err := io.WriteString(w, b.String()+summary(r))
	return err
}

// summary is the report in a few lines for people.
func summary(r verify.Report) string {
	verdict := "ok"
	if !r.OK {
		verdict = "BROKEN: " + counted(r)
	}
	s := fmt.Sprintf("%s: %d commits, %d events, %d aggregates, sequences %d to %d\nheads %s\n",
		verdict, r.Commits, r.Events, r.Aggregates, r.First, r.Last, r.Heads)
	if !r.Whole {
		s += "This is a part of the log: nothing is said of the rest.\n"
	}
	if r.Unjudged > 0 {
		s += fmt.Sprintf("Aggregates whose events were not judged to the end: %d. They begin before this part, or a problem stands in the way.\n", r.Unjudged)
	}
	return s
}

func counted(r verify.Report) string {
	switch {
	case r.GaveUp:
		return fmt.Sprintf("%d problems or more", r.Count)
	case r.Count == 1:
		return "1 problem"
	}
	return fmt.Sprintf("%d problems", r.Count)
}

// progress tells on standard error how far a walk is: again and again on one line of a terminal, else once in a while.
type progress struct {
	w        io.Writer
	terminal bool
	last     uint64
	every    time.Duration
	shown    time.Time
	dirty    bool
}

func newProgress(w io.Writer, scope verify.Scope) *progress {
	p := &progress{w: w, terminal: isTerminal(w), last: scope.To, every: 10 * time.Second, shown: time.Now()}
	if p.terminal {
		p.every = 200 * time.Millisecond
	}
	return p
}

func (p *progress) show(walk, walks int, seq uint64) {
	if time.Since(p.shown) < p.every {
		return
	}
	p.shown = time.Now()
	text := fmt.Sprintf("walk %d of %d: sequence %d of %d", walk, max(walk, walks), seq, p.last)
	if p.terminal {
		p.dirty = true
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", text) // progress that cannot be shown hinders nothing
		return
	}
	_, _ = fmt.Fprintln(p.w, text)
}

// end takes the line away.
func (p *progress) end() {
	if p.dirty {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}
