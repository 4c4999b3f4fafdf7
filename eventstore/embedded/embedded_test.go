package embedded_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore/embedded"
)

func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t *testing.T, url string) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// What is stored is there again after a restart on the folder, on another port.
func TestServerKeepsWhatIsStored(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	for round := range uint64(3) {
		s := start(t, embedded.Config{Dir: dir})
		nc, js := connect(t, s.ClientURL())
		if nc.MaxPayload() != 8<<20 {
			t.Fatalf("max payload %d, want 8 MiB", nc.MaxPayload())
		}
		if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(ctx, "s", nil)
		if err != nil || ack.Sequence != round+1 {
			t.Fatalf("round %d: sequence %d, %v", round, ack.Sequence, err)
		}
		s.Shutdown()
		s.Shutdown()
		if _, err := net.Dial("tcp", strings.TrimPrefix(nc.ConnectedUrl(), "nats://")); err == nil {
			t.Fatal("the server takes connections after its shutdown")
		}
	}
}

func TestFolderInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, embedded.Config{Dir: dir, NoSync: true})
	if _, err := embedded.Start(embedded.Config{Dir: dir}); !errors.Is(err, embedded.ErrFolderInUse) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("%v, want ErrFolderInUse naming %s", err, dir)
	}
	// The failed start has not taken the folder from the first server.
	if _, err := embedded.Start(embedded.Config{Dir: dir}); !errors.Is(err, embedded.ErrFolderInUse) {
		t.Fatalf("%v, want ErrFolderInUse again", err)
	}
	s.Shutdown()
	start(t, embedded.Config{Dir: dir, NoSync: true})
}

func TestAddrInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	if _, err := embedded.Start(embedded.Config{Dir: dir, Addr: l.Addr().String()}); !errors.Is(err, embedded.ErrAddrInUse) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Fatalf("%v, want ErrAddrInUse naming %s", err, l.Addr())
	}
	// The failed start has let go of the folder.
	start(t, embedded.Config{Dir: dir, NoSync: true})
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for _, cfg := range []embedded.Config{
		{},
		{Dir: t.TempDir(), Addr: "127.0.0.1"},
		{Dir: t.TempDir(), Addr: "127.0.0.1:nats"},
		{Dir: t.TempDir(), Addr: "127.0.0.1:65536"},
		{Dir: t.TempDir(), Addr: "127.0.0.1:-1"},
		{Dir: filepath.Join("/dev/null", "x")},
		{Dir: t.TempDir(), Access: "accounts { A { jetstream: enabled } }"},
		{Dir: t.TempDir(), Account: "A"},
		{Dir: t.TempDir(), Access: "accounts { A { jetstream: perhaps } }", Account: "A"},
		{Dir: t.TempDir(), Access: "accounts { A { jetstream: enabled } }", Account: "A", Users: []embedded.User{{}}},
	} {
		if s, err := embedded.Start(cfg); err == nil {
			s.Shutdown()
			t.Errorf("%+v: no error", cfg)
		}
	}
}

func TestAllInterfaces(t *testing.T) {
	t.Parallel()
	s := start(t, embedded.Config{Addr: ":0", Dir: t.TempDir(), NoSync: true})
	if !strings.HasPrefix(s.ClientURL(), "nats://127.0.0.1:") {
		t.Fatalf("client URL %s", s.ClientURL())
	}
	connect(t, s.ClientURL())
}

// An account takes over what a server without accounts has stored, once: streams of its own stay as they are.
func TestAccountTakesOver(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	dir := t.TempDir()
	named := embedded.Config{Dir: dir, NoSync: true, Account: "A", Access: "accounts { A { jetstream: enabled, users: [ { user: a, password: a } ] } }"}
	common := embedded.Config{Dir: dir, NoSync: true}
	for _, round := range []struct {
		cfg     embedded.Config
		user    string
		want    uint64 // what is stored so far
		present bool
	}{
		{common, "", 0, false},
		{named, "a:a@", 1, true},
		{common, "", 0, false}, // what was taken over is not there any more
		{named, "a:a@", 2, true},
	} {
		s := start(t, round.cfg)
		_, js := connect(t, "nats://"+round.user+s.Addr())
		stream, err := js.Stream(ctx, "S")
		if present := err == nil; present != round.present {
			t.Fatalf("the stream: %v, want it to be there: %v", err, round.present)
		}
		if round.present && stream.CachedInfo().State.LastSeq != round.want {
			t.Fatalf("last sequence %d, want %d", stream.CachedInfo().State.LastSeq, round.want)
		}
		if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(ctx, "s", nil); err != nil {
			t.Fatal(err)
		}
		s.Shutdown()
	}
}

// lines is a log handler that keeps the levels of what it gets.
type lines struct {
	slog.Handler
	mu     sync.Mutex
	levels map[slog.Level]int
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.levels[r.Level]++
	return nil
}

func TestLog(t *testing.T) {
	t.Parallel()
	got := &lines{levels: map[slog.Level]int{}}
	s := start(t, embedded.Config{Dir: t.TempDir(), NoSync: true, Logger: slog.New(got)})
	s.Shutdown()
	got.mu.Lock()
	defer got.mu.Unlock()
	if got.levels[slog.LevelDebug] == 0 || got.levels[slog.LevelInfo] != 0 || got.levels[slog.LevelError] != 0 {
		t.Fatalf("lines by level: %v; want notices at debug, nothing at info or error", got.levels)
	}
}

// A member of a cluster can be stopped and comes back on its addresses; the others
// go on without it.
func TestCluster(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	c, err := embedded.StartCluster(3, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Shutdown)
	_, js := connect(t, c.ClientURL())
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(0); err == nil {
		t.Fatal("restart of a running member: no error")
	}
	for i := range 3 {
		c.Stop(i)
		c.Stop(i)
		publish(t, ctx, js)
		if err := c.Restart(i); err != nil {
			t.Fatal(err)
		}
		if err := c.WaitReady(20 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := embedded.StartCluster(0, t.TempDir()); err == nil {
		t.Fatal("a cluster of none: no error")
	}
}

// publish until the stream has a leader again.
func publish(t *testing.T, ctx context.Context, js jetstream.JetStream) {
	t.Helper()
	for {
		try, cancel := context.WithTimeout(ctx, time.Second)
		_, err := js.Publish(try, "s", nil)
		cancel()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}
