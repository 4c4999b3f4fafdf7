package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
)

// historyCommand prints the events of one resource, read from the log itself.
type historyCommand struct {
	connection
	Aggregate string `arg:"" enum:"account,account_group,user" help:"account, account_group or user."`
	ID        string `arg:"" help:"The resource's id (uuid)."`
	JSON      bool   `name:"json" help:"Print one JSON line an event."`
}

func (c historyCommand) Run(ctx context.Context, std streams) error {
	id, err := domain.ParseID(c.ID)
	if err != nil {
		return usageError{fmt.Errorf("id: %w", err)}
	}
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	// A look must not create a log where there is none.
	stream, err := js.Stream(ctx, eventstore.StreamLog)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("there is no %s on the NATS server at %s", eventstore.StreamLog, redacted(c.NATSURL))
	}
	if err != nil {
		return err
	}
	log, err := eventstore.Open(ctx, conn, eventstore.Config{Replicas: stream.CachedInfo().Config.Replicas})
	if err != nil {
		return err
	}
	commits, err := log.Load(ctx, c.Aggregate, id, 0)
	if err != nil {
		return err
	}
	if len(commits) == 0 {
		return fmt.Errorf("the log has no %s with the id %s", c.Aggregate, id)
	}
	return printHistory(std.out, commits, c.JSON)
}

func printHistory(w io.Writer, commits []eventstore.Recorded, asJSON bool) error {
	for _, commit := range commits {
		for _, item := range handlers.HistoryOf(commit) {
			if err := printItem(w, item, asJSON); err != nil {
				return err
			}
		}
	}
	return nil
}

func printItem(w io.Writer, item handlers.HistoryItem, asJSON bool) error {
	if asJSON {
		return printJSON(w, item)
	}
	_, err := fmt.Fprintf(w, "%6d.%d  %s  %-40s %s  by %s\n",
		item.Sequence, item.Index, item.Time.Format(time.RFC3339), item.Type, item.Data, item.Actor)
	return err
}
