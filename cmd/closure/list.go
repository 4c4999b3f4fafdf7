package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
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
	Status         string `help:"Only those with the status: CLOSING, LOCKED or CLOSED; open for CLOSING and LOCKED, all for any. Defaults to open, and to all with --reconciliation." default:"" enum:",open,CLOSING,LOCKED,CLOSED,all"`
	Blocker        string `help:"Only those that the blocker stands against, such as OPEN_POSITIONS."`
	Reconciliation bool   `help:"Only those with something to reconcile."`
	ClientID       string `name:"client-id" help:"Only those of the client (uuid)."`
	Offset         int    `default:"0" help:"How many to pass over."`
	Limit          int    `default:"100" help:"How many to print at most: 1 to 1000."`
	JSON           bool   `name:"json" help:"Print one JSON line a closing."`
}

// Validate is called by kong: a wrong flag is a wrong use.
func (c listCommand) Validate() error {
	switch {
	case c.Offset < 0:
		return fmt.Errorf("--offset: must be 0 or more, got %d", c.Offset)
	case c.Limit < 1 || c.Limit > domain.MaxLimit:
		return fmt.Errorf("--limit: must be 1 to %d, got %d", domain.MaxLimit, c.Limit)
	}
	return nil
}

func (c listCommand) Run(ctx context.Context, std streams) error {
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	answer, err := c.ask(ctx, conn)
	if err != nil {
		return err
	}
	return c.print(std.out, answer)
}

// statuses are those that are asked for; "" is any.
func (c listCommand) statuses() []domain.Status {
	switch {
	case c.Status == "all" || c.Status == "" && c.Reconciliation:
		return []domain.Status{""}
	case c.Status == "open" || c.Status == "":
		return []domain.Status{domain.StatusClosing, domain.StatusLocked}
	}
	return []domain.Status{domain.Status(c.Status)}
}

// ask asks for each status, and puts the answers together: a list of the oldest is made of the oldest of each.
func (c listCommand) ask(ctx context.Context, conn *nats.Conn) (natsapi.ClosuresAnswer, error) {
	statuses := c.statuses()
	if len(statuses) == 1 {
		return c.page(ctx, conn, statuses[0], c.Offset, c.Limit)
	}
	var all natsapi.ClosuresAnswer
	for _, status := range statuses {
		part, err := c.page(ctx, conn, status, 0, min(c.Offset+c.Limit, domain.MaxLimit))
		if err != nil {
			return all, err
		}
		all.TotalCount += part.TotalCount
		all.Data = append(all.Data, part.Data...)
	}
	slices.SortStableFunc(all.Data, func(a, b domain.ClosureItem) int { return a.Closure.RequestedAt.Compare(*b.Closure.RequestedAt) })
	from := min(c.Offset, len(all.Data))
	all.Data = all.Data[from:min(from+c.Limit, len(all.Data))]
	return all, nil
}

func (c listCommand) page(ctx context.Context, conn *nats.Conn, status domain.Status, offset, limit int) (a natsapi.ClosuresAnswer, err error) {
	body, err := json.Marshal(natsapi.ClosuresRequest{
		ClientID: c.ClientID, Status: status, Blocker: domain.BlockerCode(c.Blocker), Reconciliation: c.Reconciliation, Offset: offset, Limit: limit,
	})
	if err != nil {
		return a, err
	}
	reply, err := conn.RequestWithContext(ctx, eventstore.QueryClosures, body)
	if errors.Is(err, nats.ErrNoResponders) {
		return a, errors.New("no engine is running at this NATS server: start one with 'closure serve'")
	}
	if err != nil {
		return a, fmt.Errorf("no answer: %w", err)
	}
	if err := json.Unmarshal(reply.Data, &a); err != nil {
		return a, fmt.Errorf("the answer cannot be read: %w", err)
	}
	switch {
	case a.Error == nil:
		return a, nil
	case a.Error.Status == http.StatusBadRequest:
		return a, usageError{errors.New(a.Error.Detail)}
	}
	return a, errors.New(a.Error.Detail)
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
