// Command closure closes investment accounts and account groups: an event-sourced engine on NATS JetStream.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes of the program.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(program(os.Args[1:])) }

// program is the process around run: its streams, and the signals that ask it to stop.
func program(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once: the stop takes its time to finish what is in hand.
	context.AfterFunc(ctx, stop)
	defer stop()
	return run(ctx, args, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr})
}

// streams are where the program reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is a wrong use of the program: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// cli is the command line. Each flag has an environment variable: CLOSURE_ and the flag's name in capitals.
type cli struct {
	Serve      serveCommand      `cmd:"" help:"Run the engine."`
	Demo       demoCommand       `cmd:"" help:"Close an account group, from the request to the report, in a temporary folder."`
	Send       sendCommand       `cmd:"" help:"Send a command or a fact over NATS, and print the answer."`
	List       listCommand       `cmd:"" help:"List the closings with what stands against them, the oldest first."`
	History    historyCommand    `cmd:"" help:"Print the history of an account, an account group or a user."`
	Verify     verifyCommand     `cmd:"" help:"Verify the whole event log, or an export of it: every hash, every link, every event."`
	Export     exportCommand     `cmd:"" help:"Write the event log, or a part of it, as JSON lines that verify on their own."`
	Bench      benchCommand      `cmd:"" help:"Measure the engine beside plain NATS: throughput, loads, replay, memory, disk."`
	Status     statusCommand     `cmd:"" help:"Tell how the engines and the streams are. Exit code 1 when something is wrong, and why."`
	Clients    clientsCommand    `cmd:"" help:"Add, list and disable the clients that may call the engine, rotate their secrets, register their keys."`
	NATSConfig natsConfigCommand `cmd:"" name:"nats-config" help:"Print the users and permissions for the servers of a NATS cluster, with keys of their own."`
	Backup     backupCommand     `cmd:"" help:"Copy everything that the engine keeps on NATS into a folder, while it runs."`
	Restore    restoreCommand    `cmd:"" help:"Make the streams of a backup anew, in a fresh data folder or on NATS servers that have none."`
	Webhooks   webhooksCommand   `cmd:"" help:"List and test webhooks, look at attempts, have events delivered again, rotate secrets."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
}

// errExit ends kong's own exits (--help) without leaving the process.
var errExit = errors.New("exit")

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, std streams) int {
	var c cli
	exited := false
	parser, err := newParser(ctx, &c, std, func() { exited = true })
	if err != nil {
		_, _ = fmt.Fprintln(std.err, "closure:", err)
		return exitFailed
	}
	if err := configure(parser.Model, args); err != nil {
		return exitCode(usageError{err}, std.err)
	}
	parsed, err := parse(parser, args)
	if exited {
		return exitDone
	}
	if err == nil {
		err = parsed.Run()
	} else {
		err = usageError{err}
	}
	return exitCode(err, std.err)
}

// newParser makes the parser of the command line. exiting is called when kong would leave the process.
func newParser(ctx context.Context, c *cli, std streams, exiting func()) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("closure"),
		kong.Description("closure closes investment accounts and account groups: event-sourced, on NATS JetStream."),
		kong.DefaultEnvars("CLOSURE"),
		kong.Writers(std.out, std.err),
		kong.Exit(func(int) { exiting(); panic(errExit) }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
	)
}

// parse turns kong's exit after --help into a return.
func parse(parser *kong.Kong, args []string) (parsed *kong.Context, err error) {
	defer func() {
		if r := recover(); r != nil && r != any(errExit) {
			panic(r)
		}
	}()
	return parser.Parse(args)
}

func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return exitDone
	}
	_, _ = fmt.Fprintln(stderr, "closure:", err)
	if errors.As(err, &usageError{}) {
		_, _ = fmt.Fprintln(stderr, "closure: see 'closure --help'")
		return exitUsage
	}
	return exitFailed
}

type versionCommand struct {
	JSON bool `help:"Print one JSON line." name:"json"`
}

func (c versionCommand) Run(std streams) error {
	if c.JSON {
		return printJSON(std.out, map[string]string{"version": version()})
	}
	_, err := fmt.Fprintln(std.out, "closure", version())
	return err
}

// release is the version that a build from a checkout without version information says.
const release = "0.1.0"

// version is the module's version when it was built as one; else the release, and the commit when that is known.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return strings.TrimPrefix(v, "v")
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return release + "+" + s.Value[:12]
		}
	}
	return release
}

// redacted is a URL, or a list of them, without a password.
func redacted(urls string) string {
	parts := strings.Split(urls, ",")
	for i, part := range parts {
		if u, err := url.Parse(strings.TrimSpace(part)); err == nil {
			parts[i] = u.Redacted()
		}
	}
	return strings.Join(parts, ",")
}
