package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// programEnv makes this test binary be the program itself, so that tests can kill it.
const programEnv = "CLOSURE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		os.Exit(program(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// within bounds a wait in a test; it is a bound, not a measure.
const within = 90 * time.Second

// addresses is what serve --json prints when it is ready.
type addresses struct {
	HTTP        string     `json:"http"`
	Ops         string     `json:"ops"`
	NATS        string     `json:"nats"`
	Data        string     `json:"data"`
	Development *developer `json:"development_client"`
}

// at are the flags by which a command finds the engine.
func (a addresses) at() []string { return []string{"--nats-url", a.NATS, "--data", a.Data} }

// connect connects to the engine's NATS server, as the engine may.
func (a addresses) connect(t testing.TB, more ...nats.Option) *nats.Conn {
	t.Helper()
	options, err := natsAuth{}.orEngine(a.Data).options()
	require.NoError(t, err)
	nc, err := nats.Connect(a.NATS, append(options, more...)...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// buffer is a writer that a test may read while the program writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// once runs the program to its end.
func once(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var out, errs buffer
	code = run(ctx, args, streams{in: strings.NewReader(stdin), out: &out, err: &errs})
	return code, out.String(), errs.String()
}

// serving is a program that serves, in this process.
type serving struct {
	addresses
	stop func() (code int)
	out  io.Reader
	logs *buffer
}

// serve starts the program on free ports. stop is what SIGTERM does, and gives the exit code.
func serve(t *testing.T, data string, flags ...string) *serving {
	t.Helper()
	return awaitServing(t, begin(data, flags...))
}

// begin starts the program without waiting until it is ready.
func begin(data string, flags ...string) *serving {
	return beginSpeaking(data, append([]string{"--json"}, flags...)...)
}

// beginSpeaking is begin where the program speaks to people.
func beginSpeaking(data string, flags ...string) *serving {
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	s := &serving{logs: &buffer{}, out: reader}
	exited := make(chan int, 1)
	go func() {
		args := append([]string{"serve", "--http-addr", "127.0.0.1:0", "--nats-addr", "127.0.0.1:0", "--data", data, "--allow-insecure-webhooks", "--client-rate", "1e6", "--client-burst", "1000000"}, flags...)
		exited <- run(ctx, args, streams{in: strings.NewReader(""), out: writer, err: s.logs})
		_ = writer.Close()
	}()
	s.stop = sync.OnceValue(func() int { cancel(); return <-exited })
	return s
}

// awaitServing waits until the program says where it listens.
func awaitServing(t *testing.T, s *serving) *serving {
	t.Helper()
	t.Cleanup(func() { s.stop() })
	if err := json.NewDecoder(s.out).Decode(&s.addresses); err != nil {
		t.Fatalf("serve did not get ready: %v\n%s", err, s.logs.String())
	}
	go func() { _, _ = io.Copy(io.Discard, s.out) }()
	return s
}

func TestVersionAndHelp(t *testing.T) {
	code, out, _ := once(t, "", "version")
	require.Equal(t, exitDone, code)
	require.Regexp(t, `^closure \S+\n$`, out)

	code, out, _ = once(t, "", "version", "--json")
	require.Equal(t, exitDone, code)
	require.Regexp(t, `^\{"version":"[^"]+"\}\n$`, out)

	code, out, _ = once(t, "", "--help")
	require.Equal(t, exitDone, code)
	for _, command := range []string{"serve", "demo", "send", "history", "version"} {
		require.Contains(t, out, command)
	}
}

// A wrong use is exit code 2, and the answer says what would be right.
func TestWrongUse(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"nothing":             {nil, "expected one of"},
		"unknown command":     {[]string{"close"}, "close"},
		"unknown flag":        {[]string{"serve", "--colour"}, "--colour"},
		"open to the network": {[]string{"serve", "--http-addr", "0.0.0.0:8080", "--data", t.TempDir()}, "--http-addr: \"0.0.0.0:8080\" can be reached by others: it needs --tls-cert and --tls-key, or --behind-proxy"},
		"NATS to the network": {[]string{"serve", "--nats-addr", "0.0.0.0:4222", "--data", t.TempDir()}, "--nats-addr: the embedded server listens on a loopback address"},
		"no port":             {[]string{"serve", "--http-addr", "127.0.0.1", "--data", t.TempDir()}, "--http-addr: must be host:port"},
		"two replicas":        {[]string{"serve", "--replicas", "2"}, "--replicas: must be 1, 3 or 5"},
		"replicas alone":      {[]string{"serve", "--replicas", "3"}, "needs --nats-url"},
		"history of what":     {[]string{"history", "order", "9b2d1f34-6c0e-4e0a-8a57-3f1d5c7e9a10"}, "account_group"},
		"sandbox elsewhere":   {[]string{"serve", "--sandbox", "--nats-url", "nats://127.0.0.1:4222"}, "--sandbox: needs the embedded server"},
		"no statement day":    {[]string{"serve", "--tax-statement-day", "02-30"}, "must be a day of every year such as 03-15"},
		"stalled at once":     {[]string{"serve", "--stall-after", "0s"}, "--stall-after: must be above zero"},
		"a story not told":    {[]string{"demo", "--scenario", "fr"}, "liquidation"},
		"history of whom":     {[]string{"history", "account", "seven"}, "must be a uuid"},
		"fields no object":    {[]string{"send", "account", "x", "open", "[1]"}, "must be a JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, stderr := once(t, "", c.args...)
			require.Equal(t, exitUsage, code, stderr)
			require.Empty(t, out)
			require.Contains(t, stderr, c.says)
		})
	}
}

// A start that cannot be is exit code 1, says why, and leaves nothing behind that would hinder the next one.
func TestServeRefusesToStart(t *testing.T) {
	data := t.TempDir()
	first := serve(t, data)
	busy := strings.TrimPrefix(first.HTTP, "http://")

	code, _, stderr := once(t, "", "serve", "--http-addr", "127.0.0.1:0", "--nats-addr", "127.0.0.1:0", "--data", data)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "is in use by another closure server")

	other := t.TempDir()
	code, _, stderr = once(t, "", "serve", "--http-addr", busy, "--nats-addr", "127.0.0.1:0", "--data", other)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "HTTP cannot listen on "+busy)

	nats := strings.TrimPrefix(first.NATS, "nats://")
	code, _, stderr = once(t, "", "serve", "--http-addr", "127.0.0.1:0", "--nats-addr", nats, "--data", other)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, nats)

	require.Equal(t, exitDone, serve(t, other).stop(), "the folder of the failed starts is free again")
	require.Equal(t, exitDone, first.stop())
	require.Equal(t, exitDone, serve(t, data).stop(), "the folder of a stopped server is free again")
}

// The demo is the first thing that anyone runs: each step is a line that says ok.
func TestDemo(t *testing.T) {
	t.Parallel()
	for name, reports := range map[string]int{"closing": 1, "uk": 1, "de": 2, "liquidation": 0, "offboarding": 0, "late-cash": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := t.TempDir()
			code, stdout, stderr := once(t, "", "demo", "--scenario", name, "--json", "--out", out)
			require.Equal(t, exitDone, code, stderr)
			lines := strings.Split(strings.TrimSpace(stdout), "\n")
			for i, line := range lines {
				var p page
				require.NoError(t, json.Unmarshal([]byte(line), &p), line)
				require.True(t, p.OK, line)
				require.Equal(t, name, p.Scenario)
				require.Equal(t, i+1, p.Step)
			}
			require.GreaterOrEqual(t, len(lines), 6)
			files, err := os.ReadDir(out)
			require.NoError(t, err)
			require.Len(t, files, reports, "the PDFs are where the demo said")
		})
	}
}

func TestDemoForPeople(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	code, stdout, stderr := once(t, "", "demo", "--out", out)
	require.Equal(t, exitDone, code, stderr)
	require.Contains(t, stdout, "All 10 steps came out right")
	require.NotContains(t, stdout, "\x1b[", "colour is for terminals")

	code, stdout, stderr = once(t, "", "demo", "--scenario", "all", "--out", out)
	require.Equal(t, exitDone, code, stderr)
	require.Equal(t, len(scenarios()), strings.Count(stdout, "\n== "), "a heading for each story")
	require.Contains(t, stdout, "steps came out right")
}
