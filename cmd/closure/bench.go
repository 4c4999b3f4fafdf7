package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"closure/cmd/closure/bench"
	"closure/eventstore/access"
)

// benchCommand measures the engine beside plain NATS.
type benchCommand struct {
	Quick    bool   `help:"In less than a minute, on smaller logs: not comparable with the table of a full run, which takes up to ten."`
	JSON     bool   `name:"json" help:"Print the figures as one JSON document."`
	NATSURL  string `name:"nats-url" help:"Measure this server or cluster instead of temporary embedded servers: nats://host:port, several with commas. Its account has to be empty."`
	Replicas int    `default:"1" help:"Replicas of each stream: 1, 3 or 5; more than 1 needs --nats-url."`
	natsAuth
	Dir   string `type:"existingdir" placeholder:"DIR" help:"Where to make the temporary folder: on the disk that is to be measured. Defaults to the system's folder for temporary files."`
	Smoke bool   `hidden:"" help:"Only see that every figure can be measured; the values mean nothing."`
}

// Validate is called by kong: a wrong flag is a wrong use.
func (c benchCommand) Validate() error {
	switch {
	case c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return fmt.Errorf("--replicas: must be 1, 3 or 5, got %d", c.Replicas)
	case c.Replicas > 1 && c.NATSURL == "":
		return errors.New("--replicas: more than 1 needs --nats-url, since the embedded server is a single one")
	case c.Dir != "" && c.NATSURL != "":
		return errors.New("--dir: is for embedded servers; with --nats-url nothing is written here")
	}
	return errors.Join(append(c.problems(), checkServers(c.NATSURL))...)
}

func (c benchCommand) Run(ctx context.Context, std streams) error {
	options, err := c.options()
	if err != nil {
		return usageError{err}
	}
	report, err := bench.Run(ctx, bench.Config{
		Dir: c.Dir, URL: c.NATSURL, Options: options, Replicas: c.Replicas, Sizes: c.sizes(), Version: version(), StartEngine: startForBench, Progress: std.err,
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(std.out, report)
	}
	return report.Table(std.out)
}

func (c benchCommand) sizes() bench.Sizes {
	switch {
	case c.Smoke:
		return bench.Smoke()
	case c.Quick:
		return bench.Quick()
	}
	return bench.Full()
}

// startForBench runs what `closure serve` runs, on free ports. It has nothing to say.
func startForBench(ctx context.Context, folder string) (bench.Engine, error) {
	a, err := startApp(ctx, settings{
		HTTPAddr: "127.0.0.1:0", NATSAddr: "127.0.0.1:0", Data: folder, Replicas: 1, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return bench.Engine{}, err
	}
	options, err := natsAuth{NKey: credentialFile(folder, access.Engine)}.options()
	if err != nil {
		return bench.Engine{}, errors.Join(err, a.Stop(ctx))
	}
	return bench.Engine{URL: a.NATSURL, Options: options, Stop: a.Stop}, nil
}
