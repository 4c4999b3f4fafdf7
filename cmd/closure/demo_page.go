package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"closure/domain"
)

// page is what one step of the demo shows. As JSON it is one line.
type page struct {
	Scenario   string      `json:"scenario"`
	Step       int         `json:"step"`
	Title      string      `json:"title"`
	OK         bool        `json:"ok"`
	Error      string      `json:"error,omitempty"`
	Calls      []call      `json:"calls,omitempty"`
	Checklists []checklist `json:"checklists,omitempty"`
	Webhooks   []received  `json:"webhooks,omitempty"`
	Events     []string    `json:"events,omitempty"`
	Notes      []string    `json:"notes,omitempty"`

	show presenter
}

// call is one request over HTTP or NATS, with its answer in short.
type call struct {
	Request string `json:"request"`
	Answer  string `json:"answer"`
}

// checklist is the closing of one resource as it stands.
type checklist struct {
	Of      string         `json:"of"`
	Closure domain.Closure `json:"closure"`

	name func(id string) string // for people: what an id means in the story
}

func (p *page) on(show presenter) *page { p.show = show; return p }

func (p *page) call(c call)           { p.Calls = append(p.Calls, c); p.show.call(c) }
func (p *page) checklist(c checklist) { p.Checklists = append(p.Checklists, c); p.show.checklist(c) }
func (p *page) webhook(r received)    { p.Webhooks = append(p.Webhooks, r); p.show.webhook(r) }
func (p *page) event(line string)     { p.Events = append(p.Events, line); p.show.line(line) }
func (p *page) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	p.Notes = append(p.Notes, line)
	p.show.line(line)
}

// presenter shows pages: to people as they grow, to programs when they are whole.
type presenter interface {
	scenario(title string)
	begin(*page)
	call(call)
	checklist(checklist)
	webhook(received)
	line(string)
	finish(*page)
	end(steps int, took time.Duration)
}

func newPresenter(w io.Writer, asJSON bool) presenter {
	if asJSON {
		return jsonPresenter{w}
	}
	return textPresenter{w: w, colour: isTerminal(w) && os.Getenv("NO_COLOR") == ""}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// jsonPresenter writes one line a step.
type jsonPresenter struct{ w io.Writer }

func (j jsonPresenter) scenario(string)        {}
func (j jsonPresenter) begin(*page)            {}
func (j jsonPresenter) call(call)              {}
func (j jsonPresenter) checklist(checklist)    {}
func (j jsonPresenter) webhook(received)       {}
func (j jsonPresenter) line(string)            {}
func (j jsonPresenter) end(int, time.Duration) {}

func (j jsonPresenter) finish(p *page) {
	// A page holds nothing that cannot be encoded.
	line, err := json.Marshal(p)
	if err == nil {
		_, _ = fmt.Fprintf(j.w, "%s\n", line)
	}
}

// textPresenter writes for people. Colour is for terminals only.
type textPresenter struct {
	w      io.Writer
	colour bool
}

const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (t textPresenter) paint(code, s string) string {
	if !t.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t textPresenter) print(format string, args ...any) {
	_, _ = fmt.Fprintf(t.w, format+"\n", args...)
}

func (t textPresenter) scenario(title string) { t.print("\n%s", t.paint(bold, "== "+title+" ==")) }

func (t textPresenter) begin(p *page) {
	t.print("\n%s", t.paint(bold, fmt.Sprintf("%2d  %s", p.Step, p.Title)))
}

func (t textPresenter) call(c call) {
	colour := green
	if strings.HasPrefix(c.Answer, "4") {
		colour = yellow
	}
	t.print("    %s  %s", c.Request, t.paint(colour, "-> "+c.Answer))
}

func (t textPresenter) checklist(c checklist) {
	colour := yellow
	if c.Closure.Status == domain.StatusClosed {
		colour = green
	}
	status := t.paint(colour, string(c.Closure.Status))
	if at := c.Closure.NextEligibleAt; at != nil && c.Closure.ClosedAt == nil {
		status += t.paint(dim, ", not before "+at.Format(time.RFC3339))
	}
	t.print("    %-22s %s", c.Of, status)
	for _, b := range c.Closure.Blockers {
		t.print("      %s %-24s %s", t.paint(red, "[ ]"), b.Code, t.paint(dim, items(b.Items, c.name)))
	}
	for _, r := range c.Closure.Reconciliation {
		t.print("      %s to reconcile: %s %s", t.paint(red, "[!]"), r.Code, t.paint(dim, items([]domain.Item{r.Item}, c.name)))
	}
	if len(c.Closure.Blockers) == 0 {
		t.print("      %s nothing stands against closing", t.paint(green, "[x]"))
	}
}

func (t textPresenter) webhook(r received) {
	t.print("    %s %-32s %s", t.paint(cyan, "<- webhook"), r.Type, t.paint(dim, r.Name))
}

func (t textPresenter) line(s string) { t.print("    %s", s) }

func (t textPresenter) finish(p *page) {
	if !p.OK {
		t.print("    %s %s", t.paint(red, "failed:"), p.Error)
	}
}

func (t textPresenter) end(steps int, took time.Duration) {
	t.print("\n%s", t.paint(green, fmt.Sprintf("All %d steps came out right, in %.1f s.", steps, took.Seconds())))
}

// items writes what blocks in a line.
func items(list []domain.Item, name func(id string) string) string {
	var out []string
	for _, i := range list {
		var parts []string
		for _, part := range []struct{ value, unit string }{
			{i.ISIN, ""}, {string(i.Quantity), " pieces"}, {string(i.Balance), ""}, {string(i.Amount), ""}, {i.Currency, ""}, {i.Status, ""},
		} {
			if part.value != "" {
				parts = append(parts, part.value+part.unit)
			}
		}
		if pending := i.PendingSettlement; pending != "" && !pending.IsZero() {
			parts = append(parts, "("+string(pending)+" pending settlement)")
		}
		if len(parts) == 0 {
			parts = append(parts, name(i.ID))
		}
		out = append(out, strings.Join(parts, " "))
	}
	return strings.Join(out, "; ")
}
