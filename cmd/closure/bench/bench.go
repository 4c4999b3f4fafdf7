// Package bench measures the engine: each figure beside a plain one that is written directly on nats.go, in the same run, in
// turn, on the same server. Figures travel badly between machines; ratios do better.
//
// Each side has a TCP connection of its own over loopback, and writes the same bytes under the same guards with as many in
// flight, to a stream with the same settings. The engine and an embedded server share the process, as they do in `closure serve`.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Config of a measurement.
type Config struct {
	// Dir is where the temporary folder is made: on the disk that is to be measured. Defaults to the system's.
	Dir string
	// URL of a NATS server to measure instead of embedded ones; its account has to be empty. Defaults to none.
	URL string
	// Options of the connections to it: who the bench is.
	Options []nats.Option
	// Replicas of the streams; more than 1 needs a URL. Defaults to 1.
	Replicas int
	// Sizes says how much is measured. Required.
	Sizes Sizes
	// Version of the program, for the document.
	Version string
	// StartEngine runs a whole engine, with its embedded server, on a folder. Defaults to none: what needs it is not measured.
	StartEngine func(ctx context.Context, folder string) (Engine, error)
	// Progress gets a line for each step. Defaults to none.
	Progress io.Writer
}

// Engine is a whole engine that runs.
type Engine struct {
	URL     string // of its NATS server
	Options []nats.Option
	Stop    func(context.Context) error
}

// Sizes says how much is measured.
type Sizes struct {
	// Name of the sizes, and whether what they give can be compared with what others have measured.
	Name       string
	Comparable bool
	// Rounds of each figure, and ReplayRounds of the replay; no more are begun when Within is over, so that a slow machine gets
	// to the end, too. Slice is how long each side is measured in a round.
	Rounds, ReplayRounds int
	Within               time.Duration
	Slice                time.Duration
	// Subjects is how many aggregates, or plain subjects, are written in turn; as many as are in flight at least.
	Subjects int
	// LargeAccounts and SmallAccounts are in the long log and in the short one, with CommitsEach commits.
	LargeAccounts, SmallAccounts, CommitsEach int
	// Cohort is how many accounts are written in turn, before the next ones are.
	Cohort int
	// Verified is how many commits of the long log are verified.
	Verified int
	// GrowthAppends are appended to both in a round.
	GrowthAppends int
	// CachedAccounts are held in the cache of which the memory is measured. Closings is how many accounts are closed for the disk.
	CachedAccounts, Closings int
	// Fsyncs is how often the disk is asked.
	Fsyncs int
	// NoSync leaves out what takes the time in the rows that sync always: then they only show that they can be measured.
	NoSync bool
}

// Full are the sizes of the table in the README.
func Full() Sizes {
	return Sizes{
		Name: "full", Comparable: true, Rounds: 5, ReplayRounds: 3, Within: 45 * time.Second, Slice: time.Second, Subjects: 1024,
		LargeAccounts: 20_000, SmallAccounts: 200, CommitsEach: 50, Cohort: 20, Verified: 200_000,
		GrowthAppends: 2000, CachedAccounts: 1000, Closings: 200, Fsyncs: 300,
	}
}

// Quick takes less than a minute, on a smaller log.
func Quick() Sizes {
	return Sizes{
		Name: "quick", Rounds: 3, ReplayRounds: 3, Within: 4 * time.Second, Slice: 200 * time.Millisecond, Subjects: 1024,
		LargeAccounts: 600, SmallAccounts: 60, CommitsEach: 50, Cohort: 20, Verified: 10_000,
		GrowthAppends: 1000, CachedAccounts: 300, Closings: 20, Fsyncs: 100,
	}
}

// Smoke only shows that every figure can be measured.
func Smoke() Sizes {
	return Sizes{
		Name: "smoke", Rounds: 2, ReplayRounds: 2, Within: time.Minute, Slice: 5 * time.Millisecond, Subjects: 16,
		LargeAccounts: 300, SmallAccounts: 30, CommitsEach: 4, Cohort: 10, Verified: 1200,
		GrowthAppends: 100, CachedAccounts: 300, Closings: 3, Fsyncs: 5, NoSync: true,
	}
}

// Report is what was measured: the JSON document.
type Report struct {
	Version string `json:"version"`
	// NATSServer is the version of the server that was measured.
	NATSServer string `json:"nats_server"`
	// Server is "embedded", or "given" with --nats-url.
	Server   string `json:"server"`
	Replicas int    `json:"replicas"`
	// Size is "full" or "quick". Comparable tells whether it is the table of the README, as far as the size goes.
	Size       string  `json:"size"`
	Comparable bool    `json:"comparable"`
	Machine    Machine `json:"machine"`
	// TookSeconds is how long it took in all.
	TookSeconds float64  `json:"took_seconds"`
	Figures     []Result `json:"figures"`
}

// bench is one measurement.
type bench struct {
	cfg     Config
	dir     string // temporary
	ids     *idSource
	machine Machine
	arenas  map[string]*arena
}

func (b *bench) given() bool { return b.cfg.URL != "" }

func (b *bench) slice() amount { return amount{lasting: b.cfg.Sizes.Slice} }

// subjects is how many aggregates one side writes with so many in flight: none has two in flight at a time.
func (b *bench) subjects(inFlight int) int { return max(b.cfg.Sizes.Subjects, inFlight) }

// syncName is how a server syncs: as it is told, or as a given one does.
func (b *bench) syncName(told string) string {
	if b.given() {
		return "server's own sync"
	}
	return told
}

// judgedHere takes the target away where nobody knows how the server syncs.
func (b *bench) judgedHere(f Figure) Figure {
	if b.given() {
		f.Target = nil
	}
	return f
}

// say tells of progress; that it cannot be told hinders nothing.
func (b *bench) say(format string, args ...any) {
	if b.cfg.Progress != nil {
		_, _ = fmt.Fprintf(b.cfg.Progress, format+"\n", args...)
	}
}

// Run measures all figures. Whatever happens, it leaves nothing behind: no folder, and no stream on a given server. A figure
// that is not reached is no error; one that could not be measured is.
func Run(ctx context.Context, cfg Config) (report Report, err error) {
	begin := time.Now()
	b, err := open(ctx, cfg)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	report = Report{
		Version: cfg.Version, Server: "embedded", Replicas: b.cfg.Replicas, Size: cfg.Sizes.Name, Comparable: cfg.Sizes.Comparable, Machine: b.machine,
	}
	if b.given() {
		report.Server = "given"
	}
	figures := b.figures()
	for i, f := range figures {
		result, err := b.figure(ctx, f)
		if err != nil {
			return Report{}, fmt.Errorf("%s: %w", f.Name, err)
		}
		report.Figures = append(report.Figures, result)
		for _, a := range b.arenas {
			report.NATSServer = a.engine.ConnectedServerVersion()
		}
		if err := b.keepFor(figures[i+1:]); err != nil {
			return Report{}, err
		}
	}
	report.TookSeconds = time.Since(begin).Seconds()
	return report, nil
}

// open makes the temporary folder and looks at the machine.
func open(ctx context.Context, cfg Config) (*bench, error) {
	if cfg.Replicas == 0 {
		cfg.Replicas = 1
	}
	b := &bench{cfg: cfg, ids: newIDSource(), machine: look(), arenas: map[string]*arena{}}
	if b.given() {
		return b, nil
	}
	var err error
	if b.dir, err = os.MkdirTemp(cfg.Dir, "closure-bench-"); err != nil {
		return nil, err
	}
	b.machine.Filesystem = filesystem(b.dir)
	if b.machine.FsyncSeconds, err = fsyncTime(ctx, b.dir, cfg.Sizes.Fsyncs); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bench) close() error {
	err := b.closeArenas()
	if b.dir != "" {
		err = errors.Join(err, os.RemoveAll(b.dir))
	}
	return err
}

// figure measures one row.
func (b *bench) figure(ctx context.Context, f Figure) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	s, err := f.prepare(ctx, b)
	var reason notHere
	if errors.As(err, &reason) {
		b.say("%s: not measured: %s", f.Name, reason)
		return Result{ID: f.ID, Name: f.Name, Unit: f.Unit, NotMeasured: string(reason)}, nil
	}
	if err != nil {
		return Result{}, err
	}
	if f.Rounds == 0 {
		f.Rounds = b.cfg.Sizes.Rounds
	}
	rounds, err := alternate(ctx, f.Rounds, b.cfg.Sizes.Within, s)
	if err != nil {
		return Result{}, err
	}
	result := f.sum(rounds, b.machine)
	if s.note != nil {
		result.Note = s.note()
	}
	b.say("%s", result)
	return result, nil
}

// thousands writes 1000000 as 1,000,000.
func thousands(n int) string {
	digits := strconv.Itoa(n)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
