package backup_test

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/backup"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/eventstoretest"
)

// The streams of the tests that the engine has, too: keys, a queue, and published events.
const (
	bucketName = "CLOSURE_TEST"
	events     = "CLOSURE_EVENTS"
	queue      = "CLOSURE_QUEUE"
)

// order is log last: what is derived from it before it.
var order = []string{events, queue, "KV_" + bucketName, eventstore.StreamLog}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// site is a server with the streams of an engine.
type site struct {
	t   testing.TB
	nc  *nats.Conn
	js  jetstream.JetStream
	log *eventstore.Log
	kv  jetstream.KeyValue
}

func connected(t testing.TB, nc *nats.Conn) *site {
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return &site{t: t, nc: nc, js: js}
}

// newSite makes the streams, with something in each.
func newSite(t testing.TB, nc *nats.Conn, replicas int) *site {
	t.Helper()
	ctx := testContext(t)
	s := connected(t, nc)
	var err error
	s.log, err = eventstore.Open(ctx, nc, eventstore.Config{Replicas: replicas})
	require.NoError(t, err)
	s.append(30)
	s.kv, err = s.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucketName, Replicas: replicas})
	require.NoError(t, err)
	s.put("a", "1")
	s.put("gone", "1")
	require.NoError(t, s.kv.Delete(ctx, "gone"))
	s.put("b", "1")
	s.put("b", "2")
	_, err = s.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "CLOSURE_MEMORY", Storage: jetstream.MemoryStorage})
	require.NoError(t, err)
	for _, cfg := range []jetstream.StreamConfig{
		{Name: events, Subjects: []string{"test.event.>"}, Replicas: replicas, AllowDirect: true},
		{Name: queue, Subjects: []string{"test.queue.>"}, Replicas: replicas, Retention: jetstream.WorkQueuePolicy},
	} {
		_, err = s.js.CreateStream(ctx, cfg)
		require.NoError(t, err)
	}
	s.publish("test.event.", 20)
	s.publish("test.queue.", 10)
	return s
}

func newServer(t testing.TB) *nats.Conn { return embeddedtest.Connect(t, embeddedtest.Server(t)) }

func (s *site) append(n int) {
	s.t.Helper()
	for range n {
		_, err := s.log.Append(testContext(s.t), eventstoretest.CommitOf("account", uuid.NewString()), eventstore.Head{})
		require.NoError(s.t, err)
	}
}

func (s *site) put(key, value string) {
	s.t.Helper()
	_, err := s.kv.PutString(testContext(s.t), key, value)
	require.NoError(s.t, err)
}

func (s *site) publish(prefix string, n int) {
	s.t.Helper()
	for i := range n {
		msg := nats.NewMsg(prefix + fmt.Sprint(i))
		msg.Header["X-Order"] = []string{"b", "a"}
		msg.Data = []byte(fmt.Sprint("content ", i))
		_, err := s.js.PublishMsg(testContext(s.t), msg)
		require.NoError(s.t, err)
	}
}

// durable makes a consumer of the events, and has it settle what it gets first.
func (s *site) durable(cfg jetstream.ConsumerConfig, settled int) {
	s.t.Helper()
	consumer, err := s.js.CreateConsumer(testContext(s.t), events, cfg)
	require.NoError(s.t, err)
	for range settled {
		msg, err := consumer.Next(jetstream.FetchMaxWait(20 * time.Second))
		require.NoError(s.t, err)
		require.NoError(s.t, msg.DoubleAck(testContext(s.t)))
	}
}

// take makes a backup, in a folder of the test.
func (s *site) take() (string, backup.Manifest) {
	s.t.Helper()
	folder := filepath.Join(s.t.TempDir(), "backup")
	m, err := backup.Take(testContext(s.t), s.nc, folder, backup.Config{Order: order, Engine: "test"})
	require.NoError(s.t, err)
	return folder, m
}

// content of a stream, message by message.
func (s *site) content(stream string) []string {
	s.t.Helper()
	ctx := testContext(s.t)
	from, err := s.js.Stream(ctx, stream)
	require.NoError(s.t, err)
	state := from.CachedInfo().State
	out := []string{fmt.Sprint("last ", state.LastSeq)}
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		msg, err := from.GetMsg(ctx, seq)
		if err != nil {
			require.ErrorIs(s.t, err, jetstream.ErrMsgNotFound)
			continue
		}
		out = append(out, fmt.Sprintf("%d %s %s %v %x", msg.Sequence, msg.Subject, msg.Time.UTC().Format(time.RFC3339Nano), msg.Header, sha256.Sum256(msg.Data)))
	}
	return out
}

// damage changes a file of a backup.
func damage(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	changed := change(bytes.Clone(text))
	require.NotEqual(t, text, changed)
	require.NoError(t, os.WriteFile(path, changed, 0o600))
}

// flip one bit anywhere.
func flip(text []byte) []byte {
	text[rand.IntN(len(text))] ^= 1 << rand.IntN(8)
	return text
}

// noise does not compress.
func noise(n int) []byte {
	out := make([]byte, n)
	_, _ = crand.Read(out) // it never fails
	return out
}
