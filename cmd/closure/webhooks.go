package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"closure/domain"
	"closure/handlers/httpapi"
	"closure/projections/webhooks/signing"
)

// webhooksCommand looks after the webhooks of one client, over the engine's HTTP API. The engine's own keys are the operator's:
// they are rotated over NATS.
type webhooksCommand struct {
	List         webhooksList     `cmd:"" help:"List the subscriptions."`
	Attempts     webhooksAttempts `cmd:"" help:"List the attempts to deliver, the newest first."`
	Replay       webhooksReplay   `cmd:"" help:"Have events delivered again, from a time or an event on."`
	Test         webhooksTest     `cmd:"" help:"Post a test event, and print what the endpoint answers."`
	Resend       webhooksResend   `cmd:"" help:"Deliver one event again, now, and print what the endpoint answers."`
	RotateSecret webhooksRotate   `cmd:"" name:"rotate-secret" help:"Get a new secret, and print it this once."`
	RotateKeys   webhooksKeys     `cmd:"" name:"rotate-keys" help:"For operators: put a new key in front of the engine's keys, which all webhooks are signed with."`
}

// ofWebhook is the subscription that a command is about.
type ofWebhook struct {
	webhookClient
	ID uuidText `arg:"" help:"The webhook's id (uuid)."`
}

func (c ofWebhook) path(rest string) string { return "/webhooks/" + string(c.ID) + rest }

// pageFlags are which part of a list is printed.
type pageFlags struct {
	Offset int `default:"0" help:"How many to pass over."`
	Limit  int `default:"100" help:"How many to print at most: 1 to 1000."`
}

func (p pageFlags) query() url.Values {
	return url.Values{"offset": {strconv.Itoa(p.Offset)}, "limit": {strconv.Itoa(p.Limit)}}
}

type webhooksList struct {
	webhookClient
	pageFlags
}

func (c webhooksList) Run(ctx context.Context, std streams) error {
	return printPage(ctx, c.webhookClient, std.out, "/webhooks", c.query(), "ID\tTITLE\tSTATE\tORDER\tTYPE\tURL", webhookRow)
}

func webhookRow(w domain.Webhook) []string {
	state := "enabled"
	if !w.Enabled {
		state = "disabled"
	}
	if w.DisabledReason != "" {
		state += " (" + w.DisabledReason + ")"
	}
	var types []string
	for _, t := range w.Type {
		types = append(types, string(t))
	}
	for _, t := range w.ExcludeType {
		types = append(types, "-"+string(t))
	}
	return []string{w.ID, w.Title, state, string(w.Config.Ordering()), strings.Join(types, ","), w.URL}
}

type webhooksAttempts struct {
	ofWebhook
	pageFlags
	Outcome string   `default:"" enum:",succeeded,failed" help:"Only those that succeeded, or failed."`
	Event   uuidText `placeholder:"ID" help:"Only those that had the event with this id (uuid) in them."`
}

func (c webhooksAttempts) Run(ctx context.Context, std streams) error {
	query := c.query()
	if c.Outcome != "" {
		query.Set("outcome", c.Outcome)
	}
	if c.Event != "" {
		query.Set("event", string(c.Event))
	}
	return printPage(ctx, c.webhookClient, std.out, c.path("/attempts"), query, "TIME\tOUTCOME\tSTATUS\tMS\tATTEMPT\tEVENTS\tFAILURE", attemptRow)
}

func attemptRow(a httpapi.WebhookAttempt) []string {
	status, number := "-", strconv.Itoa(a.Number)
	if a.Status != 0 {
		status = strconv.Itoa(a.Status)
	}
	if a.Resent {
		number = "resent"
	}
	events := ""
	if len(a.Events) > 0 {
		events = a.Events[0].Type + " " + a.Events[0].ID
	}
	if more := len(a.Events) - 1; more > 0 {
		events += fmt.Sprintf(" and %d more", more)
	}
	return []string{
		a.Time.UTC().Format(time.RFC3339), string(a.Outcome), status, strconv.FormatInt(a.Duration, 10), number, events,
		describe(a.Failure, a.Detail),
	}
}

// describe is a failure in words; "" for none.
func describe(failure, detail string) string {
	if detail == "" {
		return failure
	}
	return failure + ": " + detail
}

// printPage prints a part of a list: as a table, or as one JSON line an item.
func printPage[T any](ctx context.Context, c webhookClient, w io.Writer, path string, query url.Values, head string, row func(T) []string) error {
	raw, err := c.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	if c.JSON {
		return printItems(w, raw)
	}
	var page listPage[T]
	if err := decodeAnswer(raw, &page); err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(page.Data) > 0 {
		_, _ = fmt.Fprintln(table, head)
	}
	for _, item := range page.Data {
		cells := row(item)
		for i, cell := range cells {
			cells[i] = printable(cell)
		}
		_, _ = fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	if err := table.Flush(); err != nil { // also of the lines above
		return err
	}
	_, err = fmt.Fprintf(w, "%d of %d\n", len(page.Data), page.Meta.TotalCount)
	return err
}

type webhooksReplay struct {
	ofWebhook
	From string `required:"" placeholder:"TIME|EVENT" help:"Where to begin: a time (RFC 3339), or the id of an event."`
}

func (c webhooksReplay) Run(ctx context.Context, std streams) error {
	if _, err := c.call(ctx, http.MethodPost, c.path("/replay"), map[string]string{"from": c.From}); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(std.out, map[string]string{"result": "accepted", "webhook_id": string(c.ID), "from": c.From})
	}
	_, err := fmt.Fprintf(std.out, "accepted: the events of webhook %s come again from %s on\n", c.ID, c.From)
	return err
}

type webhooksTest struct {
	ofWebhook
}

func (c webhooksTest) Run(ctx context.Context, std streams) error {
	return c.post(ctx, std.out, c.path("/test"))
}

type webhooksResend struct {
	ofWebhook
	Event uuidText `arg:"" help:"The event's id (uuid), as in the payload."`
}

func (c webhooksResend) Run(ctx context.Context, std streams) error {
	return c.post(ctx, std.out, c.path("/events/"+string(c.Event)+"/resend"))
}

// post prints what the endpoint answered. That the endpoint failed is an error, for scripts.
func (c ofWebhook) post(ctx context.Context, w io.Writer, path string) error {
	raw, err := c.call(ctx, http.MethodPost, path, nil)
	if err != nil {
		return err
	}
	var answer httpapi.WebhookAnswer
	if err := decodeAnswer(raw, &answer); err != nil {
		return err
	}
	if c.JSON {
		_, err = fmt.Fprintf(w, "%s\n", raw)
	} else {
		_, err = io.WriteString(w, answerText(answer))
	}
	if err == nil && answer.Failure != "" {
		return fmt.Errorf("the endpoint failed: %s", printable(describe(answer.Failure, answer.Detail)))
	}
	return err
}

// answerText shows an answer as it came: the status, the headers, the body.
func answerText(a httpapi.WebhookAnswer) string {
	var b strings.Builder
	if a.Response == nil {
		fmt.Fprintf(&b, "%s: no answer, after %d ms\n", printable(a.URL), a.Duration)
		return b.String()
	}
	fmt.Fprintf(&b, "%s: %d %s, after %d ms\n", printable(a.URL), a.Response.Status, http.StatusText(a.Response.Status), a.Duration)
	var names []string
	for name := range a.Response.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "  %s: %s\n", printable(name), printable(a.Response.Headers[name]))
	}
	if a.Response.Body != "" {
		b.WriteString("\n")
		for line := range strings.Lines(a.Response.Body) {
			fmt.Fprintf(&b, "  %s\n", printable(strings.TrimRight(line, "\r\n")))
		}
	}
	return b.String()
}

// printable keeps what endpoints and clients write from commanding a terminal, or from breaking a table.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

type webhooksRotate struct {
	ofWebhook
	Overlap time.Duration `default:"24h" help:"For how long the secret before signs as well: 0s to 168h. 0s ends it at once."`
}

func (c webhooksRotate) Run(ctx context.Context, std streams) error {
	raw, err := c.call(ctx, http.MethodPost, c.path("/rotate_secret"), map[string]string{"overlap": c.Overlap.String()})
	if err != nil {
		return err
	}
	if c.JSON {
		_, err = fmt.Fprintf(std.out, "%s\n", raw)
		return err
	}
	var rotated struct {
		Secret string     `json:"secret"`
		Until  *time.Time `json:"previous_valid_until"`
	}
	if err := decodeAnswer(raw, &rotated); err != nil {
		return err
	}
	before := "the one before has ended"
	if rotated.Until != nil {
		before = "the one before signs as well until " + stamp(rotated.Until)
	}
	_, err = fmt.Fprintf(std.out, "%s\nIt is not shown again; %s.\n", rotated.Secret, before)
	return err
}

// webhooksKeys rotates the keys that webhooks are signed with.
type webhooksKeys struct{ keysRotation }

func (c webhooksKeys) Run(ctx context.Context, std streams) error {
	return c.rotate(ctx, std, signing.ForWebhooks)
}
