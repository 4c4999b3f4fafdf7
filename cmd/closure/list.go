package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers/natsapi"
)

// listCommand prints the closings of all clients, the oldest request first: what operators look at first.
type listCommand struct {
	connection
	Status         string `help:"Only those with the status: CLOSING, LOCKED or CLOSED; all for any." default:"CLOSING" enum:"CLOSING,LOCKED,CLOSED,all"`
	Blocker        string `help:"Only those that the blocker stands against, such as OPEN_POSITIONS."`
	Reconciliation bool   `help:"Only those with something to reconcile; with --status all or CLOSED."`
	ClientID       string `name:"client-id" help:"Only those of the client (uuid)."`
	Offset         int    `default:"0" help:"How many to pass over."`
	Limit          int    `default:"100" help:"How many to print at most: 1 to 1000."`
	JSON           bool   `name:"json" help:"Print one JSON line a closing."`
}

func (c listCommand) Run(ctx context.Context, std streams) error {
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request := natsapi.ClosuresRequest{
		ClientID: c.ClientID, Status: domain.Status(c.Status), Blocker: domain.BlockerCode(c.Blocker), Reconciliation: c.Reconciliation,
		Offset: c.Offset, Limit: c.Limit,
	}
	if c.Status == "all" {
		request.Status = ""
	}
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	reply, err := conn.RequestWithContext(ctx, eventstore.QueryClosures, body)
	if errors.Is(err, nats.ErrNoResponders) {
		return errors.New("no engine is running at this NATS server: start one with 'closure serve'")
	}
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	var answer natsapi.ClosuresAnswer
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return fmt.Errorf("the answer cannot be read: %w", err)
	}
	if answer.Error != nil {
		return usageError{errors.New(answer.Error.Detail)}
	}
	return c.print(std.out, answer)
}

func (c listCommand) print(w io.Writer, answer natsapi.ClosuresAnswer) error {
	for _, item := range answer.Data {
		err := error(nil)
		if c.JSON {
			err = printJSON(w, item)
		} else {
			_, err = io.WriteString(w, closingLines(item))
		}
		if err != nil {
			return err
		}
	}
	if c.JSON {
		return nil
	}
	_, err := fmt.Fprintf(w, "%d of %d\n", len(answer.Data), answer.TotalCount)
	return err
}

// closingLines is a closing for people: a line of its own, and one for each thing that stands against it.
func closingLines(item domain.ClosureItem) string {
	var b strings.Builder
	closure := item.Closure
	fmt.Fprintf(&b, "%-13s %s  %-8s asked %s", item.Aggregate, item.ID, closure.Status, stamp(closure.RequestedAt))
	if closure.NextEligibleAt != nil && closure.ClosedAt == nil {
		fmt.Fprintf(&b, ", not before %s", stamp(closure.NextEligibleAt))
	}
	if closure.ClosedAt != nil {
		fmt.Fprintf(&b, ", closed %s", stamp(closure.ClosedAt))
	}
	b.WriteString("\n")
	for _, blocker := range closure.Blockers {
		fmt.Fprintf(&b, "    %-26s since %s  %s\n", blocker.Code, stamp(&blocker.Since), items(blocker.Items, plainID))
	}
	for _, r := range closure.Reconciliation {
		fmt.Fprintf(&b, "    to reconcile %-13s since %s  %s  %s\n", r.Code, stamp(&r.ReceivedAt), items([]domain.Item{r.Item}, plainID), r.ID)
	}
	return b.String()
}

func stamp(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// plainID shows an id as it is: nobody has given it a name here.
func plainID(id string) string { return id }
