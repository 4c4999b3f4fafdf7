package eventstore_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
)

// What the server and the stream take may be less than usual: the error names the limit,
// and an operator may raise it later.
func TestAppendOverALimit(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), NoSync: true, MaxPayload: 64 << 10})
	require.NoError(t, err)
	t.Cleanup(s.Shutdown)
	l := openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{})
	c := commitOf("account", "a")
	c.Events[0].Data = json.RawMessage(`{"x":"` + strings.Repeat("x", 64<<10) + `"}`)
	_, err = l.Append(testContext(t), c, eventstore.Head{})
	require.ErrorIs(t, err, eventstore.ErrTooLarge)
	require.ErrorContains(t, err, "65536")

	cfg := goodStream()
	cfg.MaxMsgSize = 10 << 10
	_, err = l.JetStream().UpdateStream(testContext(t), cfg)
	require.NoError(t, err)
	c.Events[0].Data = json.RawMessage(`{"x":"` + strings.Repeat("x", 10<<10) + `"}`)
	_, err = l.Append(testContext(t), c, eventstore.Head{})
	require.ErrorIs(t, err, eventstore.ErrTooLarge)
	require.ErrorContains(t, err, "limit of the stream")
	cfg.MaxMsgSize = -1
	_, err = l.JetStream().UpdateStream(testContext(t), cfg)
	require.NoError(t, err)
	_, err = l.Append(testContext(t), c, eventstore.Head{})
	require.NoError(t, err)
}

// More replicas than there are servers: at once, and not after a long wait.
func TestOpenWithTooManyReplicas(t *testing.T) {
	t.Parallel()
	nc := embeddedtest.Connect(t, embeddedtest.Server(t))
	begin := time.Now()
	_, err := eventstore.Open(testContext(t), nc, eventstore.Config{Replicas: 3})
	if err == nil || errors.Is(err, eventstore.ErrUnavailable) {
		t.Fatalf("%v, want an error that is not ErrUnavailable", err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Fatalf("it took %s", took)
	}
}

func TestOpenChecksTheStream(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*jetstream.StreamConfig)
		cfg    eventstore.Config
		later  bool // the server takes the change of a stream that exists only
	}{
		"":                     {change: func(*jetstream.StreamConfig) {}},
		"storage":              {change: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }},
		"retention":            {change: func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }},
		"deny_delete":          {change: func(c *jetstream.StreamConfig) { c.DenyDelete = false }},
		"deny_purge":           {change: func(c *jetstream.StreamConfig) { c.DenyPurge = false }},
		"allow_rollup_hdrs":    {change: func(c *jetstream.StreamConfig) { c.DenyPurge = false; c.AllowRollup = true }},
		"max_age":              {change: func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		"max_msgs":             {change: func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 }},
		"max_bytes":            {change: func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }},
		"max_msgs_per_subject": {change: func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 10 }},
		"allow_msg_ttl":        {change: func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }},
		"persist_mode": {change: func(c *jetstream.StreamConfig) {
			c.PersistMode, c.AllowAtomicPublish = jetstream.AsyncPersistMode, false
		}},
		"num_replicas": {change: func(*jetstream.StreamConfig) {}, cfg: eventstore.Config{Replicas: 3}},
		"subjects":     {change: func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "other.>") }},
		"subject_transform": {change: func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "closure.log.*.*", Destination: "closure.log.{{wildcard(2)}}.{{wildcard(1)}}"}
		}},
		"allow_msg_counter": {change: func(c *jetstream.StreamConfig) { c.AllowMsgCounter = true }},
		"sources":           {change: func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "OTHER"}} }},
		"no_ack":            {change: func(c *jetstream.StreamConfig) { c.NoAck, c.AllowAtomicPublish = true, false }},
		"allow_direct":      {change: func(c *jetstream.StreamConfig) { c.AllowDirect = false }},
		"allow_atomic":      {change: func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false }},
		"first_seq":         {change: func(c *jetstream.StreamConfig) { c.FirstSeq = 100 }},
		"sealed":            {change: func(c *jetstream.StreamConfig) { c.Sealed = true }, later: true},
		"duplicate_window":  {change: func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute }},
		"max_consumers":     {change: func(c *jetstream.StreamConfig) { c.MaxConsumers = 1 }},
		"mirrors": {change: func(c *jetstream.StreamConfig) {
			c.Subjects, c.AllowAtomicPublish, c.Mirror = nil, false, &jetstream.StreamSource{Name: "OTHER"}
		}},
		"allow_msg_schedules": {change: func(c *jetstream.StreamConfig) { c.AllowMsgSchedules = true }},
		// All of them are named at once, not one after each start.
		"storage is Memory, has to be file; deny_delete is off, has to be on; deny_purge": {change: func(c *jetstream.StreamConfig) {
			c.Storage, c.DenyDelete, c.DenyPurge = jetstream.MemoryStorage, false, false
		}},
	} {
		t.Run("wrong="+name, func(t *testing.T) {
			t.Parallel()
			checkOpen(t, name, c.change, c.later, c.cfg)
		})
	}
}

// goodStream has the settings that the log needs.
func goodStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: eventstore.StreamLog, Subjects: []string{"closure.log.>"}, Storage: jetstream.FileStorage,
		DenyDelete: true, DenyPurge: true, AllowDirect: true, AllowAtomicPublish: true,
	}
}

func checkOpen(t *testing.T, name string, change func(*jetstream.StreamConfig), later bool, open eventstore.Config) {
	nc := embeddedtest.Connect(t, embeddedtest.Server(t))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	cfg := goodStream()
	if later {
		_, err := js.CreateStream(testContext(t), cfg)
		require.NoError(t, err)
	}
	change(&cfg)
	_, err = js.CreateOrUpdateStream(testContext(t), cfg)
	require.NoError(t, err)
	_, err = eventstore.Open(testContext(t), nc, open)
	if name == "" {
		require.NoError(t, err)
		return
	}
	require.ErrorIs(t, err, eventstore.ErrWrongStream)
	require.ErrorContains(t, err, eventstore.StreamLog)
	require.ErrorContains(t, err, name)
}

// A log that has lost messages is not opened: nobody could tell what is missing.
func TestOpenFindsGaps(t *testing.T) {
	t.Parallel()
	nc := embeddedtest.Connect(t, embeddedtest.Server(t))
	ctx := testContext(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := jetstream.StreamConfig{
		Name: eventstore.StreamLog, Subjects: []string{"closure.log.>"}, Storage: jetstream.FileStorage,
		DenyPurge: true, AllowDirect: true, AllowAtomicPublish: true,
	}
	stream, err := js.CreateStream(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := js.Publish(ctx, "closure.log.account.a", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.DeleteMsg(ctx, 3); err != nil {
		t.Fatal(err)
	}
	cfg.DenyDelete = true
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	_, err = eventstore.Open(ctx, nc, eventstore.Config{})
	mustBe(t, err, eventstore.ErrBrokenChain)
}
