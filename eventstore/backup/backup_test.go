package backup_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/backup"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
)

// What is restored is what was copied: messages with their sequences, times and headers, settings, and where consumers stood.
func TestRestoredAsItWas(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := newSite(t, newServer(t), 1)
	s.durable(jetstream.ConsumerConfig{Durable: "from-the-first"}, 7)
	s.durable(jetstream.ConsumerConfig{Durable: "untouched"}, 0)
	s.durable(jetstream.ConsumerConfig{Durable: "from-five", DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 5}, 3)
	s.durable(jetstream.ConsumerConfig{Durable: "not-yet", DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 5}, 0)
	s.durable(jetstream.ConsumerConfig{Durable: "newest", DeliverPolicy: jetstream.DeliverLastPolicy}, 1)
	s.durable(jetstream.ConsumerConfig{Name: "ephemeral"}, 1)
	folder, m := s.take()

	require.Equal(t, []string{"KV_CLOSURE_MEMORY"}, m.LeftOut)
	var names []string
	for _, stream := range m.Streams {
		names = append(names, stream.Name)
	}
	require.Equal(t, order, names)
	require.Equal(t, uint64(30), m.Log.Commits)
	checked, err := backup.Check(ctx, folder)
	require.NoError(t, err)
	require.Equal(t, m.Log, checked.Log)

	to := connected(t, newServer(t))
	made, err := backup.Restore(ctx, to.nc, folder, checked, backup.RestoreConfig{})
	require.NoError(t, err)
	require.Equal(t, order, made)
	for _, stream := range order {
		require.Equal(t, s.content(stream), to.content(stream), stream)
		was, err := s.js.Stream(ctx, stream)
		require.NoError(t, err)
		is, err := to.js.Stream(ctx, stream)
		require.NoError(t, err)
		require.Equal(t, was.CachedInfo().Config, is.CachedInfo().Config)
	}
	for name, next := range map[string]uint64{"from-the-first": 8, "untouched": 1, "from-five": 8, "not-yet": 5, "newest": 21} {
		consumer, err := to.js.Consumer(ctx, events, name)
		require.NoError(t, err)
		was, err := s.js.Consumer(ctx, events, name)
		require.NoError(t, err)
		require.Equal(t, was.CachedInfo().NumPending, consumer.CachedInfo().NumPending, name)
		if next == 21 {
			continue
		}
		msg, err := consumer.Next()
		require.NoError(t, err)
		meta, err := msg.Metadata()
		require.NoError(t, err)
		require.Equal(t, next, meta.Sequence.Stream, name)
		// Its owner opens it with the settings that it had.
		_, err = to.js.CreateOrUpdateConsumer(ctx, events, was.CachedInfo().Config)
		require.NoError(t, err, name)
	}
	_, err = to.js.Consumer(ctx, events, "ephemeral")
	require.ErrorIs(t, err, jetstream.ErrConsumerNotFound)

	// The log goes on.
	log, err := eventstore.Open(ctx, to.nc, eventstore.Config{})
	require.NoError(t, err)
	to.log = log
	to.append(1)
	last, err := log.LastSequence(ctx)
	require.NoError(t, err)
	require.Equal(t, uint64(31), last)
}

// A message that is replaced, or moves on within its stream, while the stream is copied is in the backup as it was before, or as it
// is then. The copy is held at each part of a stream; meanwhile each key that the server has not sent yet is changed.
func TestReplacedWhileCopied(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := newSite(t, newServer(t), 1)
	// The server compresses in blocks of 1 MiB, several at a time: so much it reads ahead.
	long := 4 * (runtime.GOMAXPROCS(0) + 8)
	for i := range long {
		s.put(fmt.Sprint("key-", i), string(noise(256<<10)))
	}
	worker, err := s.js.CreateConsumer(ctx, queue, jetstream.ConsumerConfig{Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy})
	require.NoError(t, err)
	for i := range long {
		_, err := s.js.Publish(ctx, fmt.Sprint("test.queue.long.", i), noise(256<<10))
		require.NoError(t, err)
	}
	changed, moved := false, false
	folder := filepath.Join(t.TempDir(), "backup")
	m, err := backup.TakePaused(ctx, s.nc, folder, backup.Config{Order: order}, func(stream string) {
		switch {
		case stream == "KV_"+bucketName && !changed:
			changed = true
			for i := range long {
				s.put(fmt.Sprint("key-", i), fmt.Sprint("new value ", i))
			}
			s.put("key-0", "newest value")
			require.NoError(t, s.kv.Purge(ctx, "key-1"))
		case stream == queue && !moved:
			moved = true
			for range 10 + long {
				msg, err := worker.Next()
				require.NoError(t, err)
				_, err = s.js.Publish(ctx, "test.queue.aside."+strings.TrimPrefix(msg.Subject(), "test.queue."), msg.Data())
				require.NoError(t, err)
				require.NoError(t, msg.DoubleAck(ctx))
			}
		}
	})
	require.NoError(t, err)
	require.True(t, changed && moved)

	to := connected(t, newServer(t))
	checked, err := backup.Check(ctx, folder)
	require.NoError(t, err)
	_, err = backup.Restore(ctx, to.nc, folder, checked, backup.RestoreConfig{})
	require.NoError(t, err)
	// All of the keys came after the copy began, so it is as the bucket is.
	require.Equal(t, s.content("KV_"+bucketName), to.content("KV_"+bucketName))
	seen := map[string]bool{}
	for _, line := range to.content(queue)[1:] {
		subject := strings.TrimPrefix(strings.Fields(line)[1], "test.queue.")
		seen[strings.TrimPrefix(subject, "aside.")] = true
	}
	require.Len(t, seen, 10+long, "each command is there, in the queue or aside")
	for _, stream := range m.Streams {
		if stream.Name == "KV_"+bucketName {
			info, err := to.js.Stream(ctx, stream.Name)
			require.NoError(t, err)
			require.Equal(t, stream.Messages, info.CachedInfo().State.Msgs)
			require.Equal(t, stream.Bytes, info.CachedInfo().State.Bytes)
		}
	}
}

// A backup that fails leaves nothing, and one that is there is not touched.
func TestNothingHalf(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := newSite(t, newServer(t), 1)
	parent := t.TempDir()
	folder := filepath.Join(parent, "backup")
	failed := errors.New("failed")
	_, err := backup.Take(ctx, s.nc, folder, backup.Config{Finish: func(*backup.Manifest) error { return failed }})
	require.ErrorIs(t, err, failed)
	ended, cancel := context.WithCancel(ctx)
	_, err = backup.TakePaused(ended, s.nc, folder, backup.Config{Order: order}, func(string) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	_, err = backup.Take(ctx, newServer(t), folder, backup.Config{})
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
	require.Empty(t, entries(t, parent))

	require.NoError(t, os.Mkdir(folder, 0o700))
	_, err = backup.Take(ctx, s.nc, folder, backup.Config{})
	require.ErrorIs(t, err, backup.ErrExists)
	require.NoError(t, os.Remove(folder))
	_, err = backup.Take(ctx, s.nc, folder, backup.Config{Order: order})
	require.NoError(t, err)
	require.Equal(t, []string{"backup"}, entries(t, parent))
	_, err = backup.Take(ctx, s.nc, folder, backup.Config{})
	require.ErrorIs(t, err, backup.ErrExists)
	require.NoError(t, filepath.WalkDir(parent, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == parent {
			return err
		}
		info, err := d.Info()
		require.Zero(t, info.Mode().Perm()&0o077, "%s can be read by others", path)
		return err
	}))
}

func entries(t testing.TB, folder string) (names []string) {
	t.Helper()
	found, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range found {
		names = append(names, e.Name())
	}
	return names
}

// A log whose chain is broken is no backup.
func TestBrokenLog(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	nc := newServer(t)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: eventstore.StreamLog, Subjects: []string{eventstore.LogSubjects}})
	require.NoError(t, err)
	_, err = js.Publish(ctx, eventstore.LogSubject("account", "a"), []byte("no commit"))
	require.NoError(t, err)
	_, err = backup.Take(ctx, nc, filepath.Join(t.TempDir(), "backup"), backup.Config{})
	require.ErrorContains(t, err, "the log is not what was written")
	require.ErrorContains(t, err, "MALFORMED")
}

// What is ahead of the log would be a lie after a restore. Here the order is the wrong one, and something happens in between.
func TestNothingIsAheadOfTheLog(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := newSite(t, newServer(t), 1)
	event := nats.NewMsg("test.event.late")
	event.Header.Set("ce-logsequence", "31")
	folder := filepath.Join(t.TempDir(), "backup")
	wrong := backup.Config{Order: []string{eventstore.StreamLog, events}}
	_, err := backup.TakePaused(ctx, s.nc, folder, wrong, func(stream string) {
		if stream == eventstore.StreamLog {
			s.append(1)
			_, err := s.js.PublishMsg(ctx, event)
			require.NoError(t, err)
		}
	})
	require.ErrorContains(t, err, "an event of sequence 31 is in CLOSURE_EVENTS, and the log ends at 30")
	_, m := s.take()
	require.Equal(t, uint64(31), m.Log.Last)

	// Likewise a consumer: here somebody has put one in by hand.
	folder, m = s.take()
	m.Streams[0].Consumers = []backup.Consumer{{Name: "ahead", Next: m.Streams[0].Last + 2, Config: []byte(`{"durable_name":"ahead"}`)}}
	rewrite(t, folder, m)
	_, err = backup.Check(ctx, folder)
	require.ErrorContains(t, err, "the consumer ahead of CLOSURE_EVENTS is at sequence 23, and the stream ends at 21")
}

// Whatever happened to a backup is found without a server.
func TestDamaged(t *testing.T) {
	t.Parallel()
	s := newSite(t, newServer(t), 1)
	whole, m := s.take()
	copied := func(t *testing.T) string {
		folder := filepath.Join(t.TempDir(), "copy")
		require.NoError(t, os.CopyFS(folder, os.DirFS(whole)))
		_, err := backup.Check(testContext(t), folder)
		require.NoError(t, err)
		return folder
	}
	for _, name := range entries(t, whole) {
		for how, change := range map[string]func([]byte) []byte{
			"a bit":    flip,
			"cut":      func(text []byte) []byte { return text[:len(text)-1] },
			"empty":    func([]byte) []byte { return nil },
			"longer":   func(text []byte) []byte { return append(text, 'x') },
			"replaced": func(text []byte) []byte { return slices.Repeat([]byte("x"), len(text)) },
		} {
			// A line of the hashes counts for what it is for; the file has it again.
			if name == "SHA256SUMS" && (how == "a bit" || how == "longer") {
				continue
			}
			folder := copied(t)
			damage(t, filepath.Join(folder, name), change)
			_, err := backup.Check(testContext(t), folder)
			require.Error(t, err, "%s: %s", name, how)
		}
		folder := copied(t)
		require.NoError(t, os.Remove(filepath.Join(folder, name)))
		_, err := backup.Check(testContext(t), folder)
		require.ErrorContains(t, err, name)
	}

	// Somebody who writes the hashes anew does not get past the chain of the log.
	folder := copied(t)
	forged := m
	forged.Log.Heads = strings.Repeat("0", 64)
	rewrite(t, folder, forged)
	_, err := backup.Check(testContext(t), folder)
	require.ErrorContains(t, err, "the log in it is not the one that was verified")
	for name, change := range map[string]func(*backup.Manifest){
		"the format 2":                  func(m *backup.Manifest) { m.Format = 2 },
		"is no stream of an engine":     func(m *backup.Manifest) { m.Streams[0].File = "../" + m.Streams[0].File },
		"or is there twice":             func(m *backup.Manifest) { m.Streams[0] = m.Streams[1] },
		"there is no CLOSURE_LOG":       func(m *backup.Manifest) { m.Streams = m.Streams[:1] },
		"it has 20 messages, and had 9": func(m *backup.Manifest) { m.Streams[0].Messages = 9 },
	} {
		forged := m
		forged.Streams = slices.Clone(m.Streams)
		change(&forged)
		rewrite(t, folder, forged)
		_, err := backup.Check(testContext(t), folder)
		require.ErrorContains(t, err, name)
	}
}

func rewrite(t testing.TB, folder string, m backup.Manifest) {
	t.Helper()
	for _, name := range []string{"manifest.json", "SHA256SUMS"} {
		require.NoError(t, os.Remove(filepath.Join(folder, name)))
	}
	require.NoError(t, backup.WriteManifest(folder, m))
}

// A restore touches no stream that is there, and says when what it made is not what it was to be.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := newSite(t, newServer(t), 1)
	folder, m := s.take()
	made, err := backup.Restore(ctx, s.nc, folder, m, backup.RestoreConfig{})
	require.ErrorIs(t, err, backup.ErrInUse)
	require.Empty(t, made)
	memory := connected(t, newServer(t))
	_, err = memory.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "CLOSURE_NONCES", Storage: jetstream.MemoryStorage})
	require.NoError(t, err)
	_, err = backup.Restore(ctx, memory.nc, folder, m, backup.RestoreConfig{})
	require.ErrorIs(t, err, backup.ErrInUse)
	require.ErrorContains(t, err, "KV_CLOSURE_NONCES")

	other := m
	other.Log.Heads = "another"
	made, err = backup.Restore(ctx, newServer(t), folder, other, backup.RestoreConfig{})
	require.ErrorContains(t, err, "the log that was restored has the heads "+m.Log.Heads)
	require.Equal(t, order, made)

	damage(t, filepath.Join(folder, "KV_"+bucketName+".arc.s2"), flip)
	made, err = backup.Restore(ctx, newServer(t), folder, m, backup.RestoreConfig{})
	require.ErrorContains(t, err, "restore KV_"+bucketName)
	require.Equal(t, order[:3], made)

	_, err = backup.Restore(ctx, newServer(t), folder, m, backup.RestoreConfig{Replicas: 3})
	var api *jetstream.APIError
	require.ErrorAs(t, err, &api, "a server on its own has no replicas")
}

// From three servers to one, and from one to three.
func TestClusters(t *testing.T) {
	t.Parallel()
	cluster, err := embedded.StartCluster(3, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(cluster.Shutdown)
	three := newSite(t, embeddedtest.ConnectURL(t, cluster.ClientURL()), 3)
	three.durable(jetstream.ConsumerConfig{Durable: "seven", AckPolicy: jetstream.AckAllPolicy}, 7)
	want := map[string][]string{}
	for _, stream := range order {
		want[stream] = three.content(stream)
	}
	ctx := testContext(t)
	folder, m := three.take()

	one := connected(t, newServer(t))
	_, err = backup.Restore(ctx, one.nc, folder, m, backup.RestoreConfig{Replicas: 1})
	require.NoError(t, err)
	check := func(s *site, replicas int) {
		for _, stream := range order {
			require.Equal(t, want[stream], s.content(stream), stream)
			info, err := s.js.Stream(ctx, stream)
			require.NoError(t, err)
			require.Equal(t, replicas, info.CachedInfo().Config.Replicas)
		}
		consumer, err := s.js.Consumer(ctx, events, "seven")
		require.NoError(t, err)
		// On a cluster whoever leads the consumer by now may still have to count.
		require.Eventually(t, func() bool {
			info, err := consumer.Info(ctx)
			return err == nil && info.AckFloor.Stream == 7 && info.NumPending == 13
		}, 30*time.Second, 10*time.Millisecond)
	}
	check(one, 1)
	folder, m = one.take()
	for _, stream := range append(slices.Clone(order), "KV_CLOSURE_MEMORY") {
		require.NoError(t, three.js.DeleteStream(ctx, stream))
	}
	_, err = backup.Restore(ctx, three.nc, folder, m, backup.RestoreConfig{Replicas: 3})
	require.NoError(t, err)
	check(three, 3)
}
