package bench

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
)

// smoke is the smallest measurement on a given server.
func smoke(url string) Config { return Config{URL: url, Sizes: Smoke(), Version: "test"} }

func streamNames(t *testing.T, js jetstream.JetStream) []string {
	t.Helper()
	found, err := engineStreams(t.Context(), js)
	require.NoError(t, err)
	return found
}

// On a given server what can be measured is, what cannot be says why, and nothing stays behind.
func TestGivenServer(t *testing.T) {
	server := embeddedtest.Server(t)
	report, err := Run(t.Context(), smoke(server.ClientURL()))
	require.NoError(t, err)
	require.Equal(t, "given", report.Server)
	require.Zero(t, report.Machine.FsyncSeconds)
	missing := map[string]string{}
	for _, f := range report.Figures {
		if f.NotMeasured != "" {
			missing[f.ID] = f.NotMeasured
			continue
		}
		require.Positive(t, f.Value, f.Name)
		require.NotContains(t, f.Name, "sync always")
		require.NotContains(t, f.Name, "default sync")
		if strings.HasPrefix(f.ID, "append_sync") {
			require.Nil(t, f.Reached, "nobody knows how the server syncs")
		}
	}
	require.Equal(t, map[string]string{
		"disk_per_closed_account": "the files of a given server are not here",
		"append_growth":           "it needs two logs at the same time, and an account has one",
		"cold_load_growth":        "it needs two logs at the same time, and an account has one",
	}, missing)
	js, err := jetstream.New(embeddedtest.Connect(t, server))
	require.NoError(t, err)
	require.Empty(t, streamNames(t, js))
}

// An account with an engine in it is left alone.
func TestGivenServerInUse(t *testing.T) {
	server := embeddedtest.Server(t)
	conn := embeddedtest.Connect(t, server)
	log, err := eventstore.Open(t.Context(), conn, eventstore.Config{})
	require.NoError(t, err)
	_, err = Run(t.Context(), smoke(server.ClientURL()))
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, "it has CLOSURE_LOG; measure in an empty account")
	require.Equal(t, []string{eventstore.StreamLog}, streamNames(t, log.JetStream()), "and nothing else was made")
}

// An engine that was started on the log that is measured keeps it.
func TestGivenServerTakenMeanwhile(t *testing.T) {
	server := embeddedtest.Server(t)
	b, err := open(t.Context(), smoke(server.ClientURL()))
	require.NoError(t, err)
	a, err := b.arena(t.Context(), ordinary)
	require.NoError(t, err)
	js := a.plainJS
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: eventstore.StreamEvents, Subjects: []string{eventstore.EventSubjects}})
	require.NoError(t, err)
	require.ErrorContains(t, b.close(), "CLOSURE_LOG is left as it is")
	after, err := jetstream.New(embeddedtest.Connect(t, server))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{eventstore.StreamLog, eventstore.StreamEvents}, streamNames(t, after))
}

// Ctrl-C ends it at once and leaves nothing behind, wherever it is.
func TestInterrupted(t *testing.T) {
	for _, at := range []string{"append, sync always, 16", "writing a log of 1,200", "replay"} {
		t.Run(at, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			dir := t.TempDir()
			_, err := Run(ctx, Config{Dir: dir, Sizes: Smoke(), Progress: &tripwire{at: at, cut: cancel}})
			require.ErrorIs(t, err, context.Canceled)
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// tripwire cancels when a line of the progress begins like this.
type tripwire struct {
	at  string
	cut context.CancelFunc
}

func (w *tripwire) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), w.at) {
		w.cut()
	}
	return len(p), nil
}

// The log that is measured is a true one: the smallest is verified by the figure of closure verify, which fails if it is not.
func TestMeasuredLogIsTrue(t *testing.T) {
	b, err := open(t.Context(), Config{Dir: t.TempDir(), Sizes: Smoke()})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.close()) }()
	s, err := verifyAll(t.Context(), b)
	require.NoError(t, err)
	_, err = s.engine(t.Context())
	require.NoError(t, err)

	// And a commit that was never decided is found.
	b.cfg.Sizes.Verified = 0 // to the end
	w, err := b.newWriter(b.arenas[large.name], 1)
	require.NoError(t, err)
	require.NoError(t, w.append(t.Context(), 0, 0))
	_, err = s.engine(t.Context())
	require.ErrorContains(t, err, "the log that was measured is broken")
}

func TestMountOf(t *testing.T) {
	const mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\nproc /proc proc rw 0 0\n/dev/vdb /tmp/disk xfs rw 0 0\n"
	for folder, want := range map[string]string{"/tmp/disk/x": "xfs", "/tmp/disks": "tmpfs", "/tmp": "tmpfs", "/home/x": "ext4"} {
		require.Equal(t, want, mountOf(folder, mounts), folder)
	}
	require.Empty(t, mountOf("/x", ""))
}

func TestPart(t *testing.T) {
	for path, want := range map[string]string{
		"nats/jetstream/CLOSURE/streams/CLOSURE_LOG/msgs/1.blk": "CLOSURE_LOG", "readmodel.db-wal": "readmodel", "readmodel.db": "readmodel", "closure.lock": "closure",
	} {
		require.Equal(t, want, part("data", filepath.Join("data", path)))
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		require.Equal(t, want, thousands(n))
	}
}

// Ids are uuids in their stored form, and no two are the same.
func TestIDs(t *testing.T) {
	s, seen := newIDSource(), map[string]bool{}
	for range 10_000 {
		id := s.next()
		parsed, err := domain.ParseID(id)
		require.NoError(t, err)
		require.Equal(t, parsed, id)
		require.False(t, seen[id], id)
		seen[id] = true
	}
	require.NotEqual(t, s.next()[24:], newIDSource().next()[24:], "of another run")
}
