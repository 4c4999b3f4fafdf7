package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"closure/eventstore"
	"closure/eventstore/backup"
	"closure/handlers/auth"
	"closure/handlers/idempotency"
	"closure/projections/reports"
	"closure/projections/webhooks"
	"closure/projections/webhooks/signing"
)

// backupOrder is the order in which a backup takes the streams. Package backup says why it is this one.
func backupOrder() []string {
	kv := func(bucket string) string { return "KV_" + bucket }
	return []string{
		webhooks.StreamAttempts,
		eventstore.StreamCommands,
		kv(webhooks.Bucket),
		kv(webhooks.StateBucket),
		eventstore.StreamEvents,
		eventstore.StreamTimers,
		kv(idempotency.Bucket),
		eventstore.StreamLog,
		kv(eventstore.BucketCounters),
		"OBJ_" + reports.Bucket,
		kv(auth.Bucket),
		kv(signing.Bucket),
	}
}

// backupCommand copies the streams of an engine, which may run meanwhile.
type backupCommand struct {
	connection
	To   string `required:"" type:"path" placeholder:"FOLDER" help:"The folder to make. It must not exist. There will be keys and secrets in it: keep it where nobody else can read it."`
	JSON bool   `name:"json" help:"Print what was copied as one JSON object."`
}

// Help is what --help says beyond the flags.
func (backupCommand) Help() string {
	return `Everything that the engine keeps on NATS is copied while it runs: the log, commands that wait, published events, timers, reports,
webhooks, clients and keys. The folder is readable for its owner only, and has to stay so: the signing keys of the engine and the secrets
of webhooks are in it. The lists (readmodel.db) are not in it, since they are built from the log.`
}

func (c backupCommand) Run(ctx context.Context, std streams) error {
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	show := newCopying(std.err)
	m, err := backup.Take(ctx, conn, c.To, backup.Config{
		Order: backupOrder(), Engine: version(), Timeout: c.Timeout, Progress: show.show, Finish: c.markSandbox,
	})
	show.end()
	if errors.Is(err, backup.ErrExists) {
		return fmt.Errorf("--to: %w: a backup never replaces what is there", err)
	}
	if err != nil {
		return c.noLog(err)
	}
	return printBackup(std.out, c.JSON, "backed up", "", c.To, m)
}

// markSandbox says in the backup of a sandbox that it is one. It is done when the log is copied: the clock is then where the log says,
// or ahead.
func (c backupCommand) markSandbox(m *backup.Manifest) error {
	if c.given() {
		return nil // a sandbox has its own server, with the credentials in its folder
	}
	data, err := os.ReadFile(filepath.Join(c.Data, sandboxFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var state sandboxState
	if err == nil {
		err = json.Unmarshal(data, &state)
	}
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	ahead := time.Duration(state.AheadNanoseconds)
	m.SandboxAhead = &ahead
	return nil
}

// printBackup says what is in a backup, and what was done with it; to is where it was restored, "" for nowhere.
func printBackup(w io.Writer, asJSON bool, done, to, folder string, m backup.Manifest) error {
	var messages uint64
	var size int64
	for _, s := range m.Streams {
		messages, size = messages+s.Messages, size+s.Size
	}
	if asJSON {
		return printJSON(w, map[string]any{
			"result": done, "folder": folder, "to": to, "begun": m.Begun, "ended": m.Ended, "log": m.Log, "streams": len(m.Streams), "messages": messages,
			"bytes": size, "left_out": m.LeftOut, "sandbox": m.SandboxAhead != nil,
		})
	}
	where := folder
	if to != "" {
		where += " to " + to
	}
	text := fmt.Sprintf("%s: %s, %d streams, %d messages, %d bytes\nverified: %d commits, %d aggregates, to sequence %d\nheads %s\n",
		done, where, len(m.Streams), messages, size, m.Log.Commits, m.Log.Aggregates, m.Log.Last, m.Log.Heads)
	if len(m.LeftOut) > 0 {
		text += fmt.Sprintf("left out, since in memory only: %s\n", strings.Join(m.LeftOut, ", "))
	}
	if m.SandboxAhead != nil {
		text += "This is a sandbox: nothing in it is real.\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// copying tells on standard error what is copied: a line for each stream, and on a terminal how far the one is that is under way.
type copying struct {
	w        io.Writer
	terminal bool
	shown    time.Time
	dirty    bool
}

func newCopying(w io.Writer) *copying { return &copying{w: w, terminal: isTerminal(w)} }

func (p *copying) show(at backup.Progress) {
	switch {
	case at.Done:
		p.end()
		_, _ = fmt.Fprintf(p.w, "%-26s %10d messages %12d bytes\n", at.Stream, at.Messages, at.Bytes) // progress that cannot be shown hinders nothing
	case p.terminal && time.Since(p.shown) > 200*time.Millisecond:
		p.shown, p.dirty = time.Now(), true
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s: %d bytes", at.Stream, at.Bytes)
	}
}

// end takes the line away.
func (p *copying) end() {
	if p.dirty {
		p.dirty = false
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}
