package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"closure/eventstore/backup"
	"closure/eventstore/embedded"
)

// restoringFolder in the data folder is where a restore works: what is in it is no engine's until it gets its name.
const restoringFolder = natsFolder + ".restoring"

// folderLock in the data folder is what holds it; type folder locks it.
const folderLock = "closure.lock"

// restoreCommand makes the streams of a backup anew, where there are none.
type restoreCommand struct {
	From    string `required:"" type:"existingdir" placeholder:"FOLDER" help:"The backup: a folder that 'closure backup' made."`
	Data    string `type:"path" placeholder:"FOLDER" help:"A fresh data folder for 'closure serve'. No engine may run on it."`
	NATSURL string `name:"nats-url" help:"NATS servers (2.15 or later) with no streams of an engine: nats://host:port, several with commas."`
	natsAuth
	Replicas int           `default:"0" help:"With --nats-url, the replicas of each stream: 1, 3 or 5. 0: as many as it had."`
	Timeout  time.Duration `default:"10s" help:"How long to wait for one answer of the server."`
	Check    bool          `help:"Check the backup, and restore nothing."`
	JSON     bool          `name:"json" help:"Print what was restored as one JSON object."`
}

// Help is what --help says beyond the flags.
func (restoreCommand) Help() string {
	return `The whole backup is checked before anything is made: every file by its hash, and the log by its chain. Then the streams are made anew, with
their sequences and times, and the log is verified once more where it was restored. When something fails, a data folder is as it was before;
on NATS servers the streams stay that were made, and are named.
The credentials of an embedded server (credentials/*.nk, and the development client's secret) are not in a backup: the engine makes new ones
when it starts, unless the folder has them already.`
}

// Validate is called by kong: a wrong flag is a wrong use.
func (c restoreCommand) Validate() error {
	found := append(c.problems(), checkServers(c.NATSURL))
	wrong := func(when bool, format string, args ...any) {
		if when {
			found = append(found, fmt.Errorf(format, args...))
		}
	}
	wrong(!c.Check && (c.Data == "") == (c.NATSURL == ""), "--data, --nats-url: give one of them: a data folder, or NATS servers")
	wrong(c.given() && c.NATSURL == "", "--nats-nkey, --nats-creds, --nats-tls-cert: are for --nats-url")
	wrong(!slices.Contains([]int{0, 1, 3, 5}, c.Replicas), "--replicas: must be 1, 3 or 5, got %d", c.Replicas)
	wrong(c.Replicas > 1 && c.NATSURL == "", "--replicas: more than 1 needs --nats-url, since the embedded server is a single one")
	return errors.Join(found...)
}

func (c restoreCommand) Run(ctx context.Context, std streams) error {
	m, err := backup.Check(ctx, c.From)
	if err != nil {
		return fmt.Errorf("the backup is damaged, nothing was restored: %w", err)
	}
	done, to := "checked", ""
	if !c.Check {
		done, to = "restored", c.Data+redacted(c.NATSURL) // one of them
		show := newCopying(std.err)
		if c.Data != "" {
			err = c.intoFolder(ctx, m, show)
		} else {
			err = c.intoServers(ctx, m, show)
		}
		show.end()
	}
	if err != nil {
		return err
	}
	return printBackup(std.out, c.JSON, done, to, c.From, m)
}

// intoServers restores to NATS servers that are there.
func (c restoreCommand) intoServers(ctx context.Context, m backup.Manifest, show *copying) error {
	if m.SandboxAhead != nil {
		return errors.New("this is the backup of a sandbox, which is for one engine alone: restore it with --data")
	}
	conn, err := connection{NATSURL: c.NATSURL, natsAuth: c.natsAuth, Timeout: c.Timeout}.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	made, err := backup.Restore(ctx, conn, c.From, m, backup.RestoreConfig{Replicas: c.Replicas, Timeout: c.Timeout, Progress: show.show})
	if err != nil && len(made) > 0 {
		return fmt.Errorf("%w; these streams were made, and have to be removed before another try: %s", err, strings.Join(made, ", "))
	}
	return err
}

// intoFolder restores into a data folder. All happens beside the place where an engine looks; a rename ends it.
func (c restoreCommand) intoFolder(ctx context.Context, m backup.Manifest, show *copying) (err error) {
	_, err = os.Stat(c.Data)
	fresh := errors.Is(err, fs.ErrNotExist)
	held := &folder{path: c.Data}
	if err := held.Start(ctx); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, held.Stop(ctx))
		if err != nil && fresh {
			err = errors.Join(err, os.RemoveAll(c.Data))
		}
	}()
	if err := checkFresh(c.Data); err != nil {
		return err
	}
	work, mark := filepath.Join(c.Data, restoringFolder), filepath.Join(c.Data, sandboxFile)
	if err := os.RemoveAll(work); err != nil { // of a restore that was killed
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(work), os.RemoveAll(mark))
		}
	}()
	if err := c.embedded(ctx, work, m, show); err != nil {
		return err
	}
	if err := backup.SyncTree(work); err != nil {
		return err
	}
	if m.SandboxAhead != nil {
		// Before the streams have their name: they must never be taken for real ones.
		var at clock
		at.ahead.Store(int64(*m.SandboxAhead))
		if err := writeSandbox(mark, &at); err != nil {
			return err
		}
	}
	if err := os.Rename(work, filepath.Join(c.Data, natsFolder)); err != nil {
		return err
	}
	return backup.Sync(c.Data)
}

// checkFresh refuses a data folder that an engine has worked in. Credentials may be there already, for those who have copies.
func checkFresh(data string) error {
	entries, err := os.ReadDir(data)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains([]string{folderLock, credentialsFolder, restoringFolder}, e.Name()) {
			return fmt.Errorf("--data: the folder %s is in use, it holds %s: restore into a fresh folder", data, e.Name())
		}
	}
	return nil
}

// embedded restores to a server in this process, for nobody else.
func (c restoreCommand) embedded(ctx context.Context, dir string, m backup.Manifest, show *copying) error {
	user, public, err := oneUser()
	if err != nil {
		return err
	}
	// It need not sync: when all is there, all is synced, once.
	server, err := embedded.Start(embedded.Config{
		Dir: dir, NoSync: true, Users: []embedded.User{{PublicKey: public, Publish: []string{">"}, Subscribe: []string{">"}}},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer server.Shutdown()
	conn, err := nats.Connect(server.ClientURL(), user, nats.Name("closure restore"), nats.Timeout(c.Timeout))
	if err != nil {
		return fmt.Errorf("connect to the embedded server: %w", err)
	}
	defer conn.Close()
	_, err = backup.Restore(ctx, conn, c.From, m, backup.RestoreConfig{Replicas: 1, Timeout: c.Timeout, Progress: show.show})
	return err
}

// oneUser is a user with a key that nobody else knows, and that nobody keeps.
func oneUser() (option nats.Option, public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, "", err
	}
	if public, err = pair.PublicKey(); err != nil {
		return nil, "", err
	}
	return nats.Nkey(public, pair.Sign), public, nil
}
