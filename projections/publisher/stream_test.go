package publisher

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
)

// A stream that would lose events, take in others or refuse some is not used, and not changed either: whoever set it up that
// way is told by name.
func TestAStreamWithWrongSettings(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]struct {
		change func(*jetstream.StreamConfig)
		says   string
	}{
		"events grow old":        {func(c *jetstream.StreamConfig) { c.MaxAge = 30 * 24 * time.Hour }, "max_age is 720h0m0s, has to be 0"},
		"a number of messages":   {func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 }, "max_msgs is 1000, has to be -1"},
		"a size":                 {func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }, "max_bytes is 1048576, has to be -1"},
		"the last of a subject":  {func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }, "max_msgs_per_subject is 1, has to be -1"},
		"in memory":              {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "storage is Memory, has to be file"},
		"read once":              {func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, "retention is WorkQueue, has to be limits"},
		"read by all":            {func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, "retention is Interest, has to be limits"},
		"a message may say when": {func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }, "allow_msg_ttl is on, has to be off"},
		"roll up":                {func(c *jetstream.StreamConfig) { c.AllowRollup = true }, "allow_rollup_hdrs is on, has to be off"},
		"small messages only":    {func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 }, "max_msg_size is 1000, has to be -1"},
		"few consumers":          {func(c *jetstream.StreamConfig) { c.MaxConsumers = 5 }, "max_consumers is 5, has to be -1"},
		"other subjects":         {func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "more.>") }, `subjects are ["closure.event.>" "more.>"], have to be ["closure.event.>"]`},
		"no answers":             {func(c *jetstream.StreamConfig) { c.NoAck, c.AllowAtomicPublish = true, false }, "no_ack is on, has to be off"},
		"no batches":             {func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false }, "allow_atomic is off, has to be on"},
		"no direct reads":        {func(c *jetstream.StreamConfig) { c.AllowDirect = false }, "allow_direct is off, has to be on"},
		"other names": {func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "closure.event.*.>", Destination: "closure.event.x.>"}
		}, "subject_transform is set"},
		"a copy": {func(c *jetstream.StreamConfig) {
			c.Sources = []*jetstream.StreamSource{{Name: eventstore.StreamLog}}
		}, "it mirrors or sources other streams"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthor(t)
			cfg := StreamConfig(1)
			wrong.change(&cfg)
			before, err := a.log.JetStream().CreateStream(testContext(t), cfg)
			require.NoError(t, err)
			p := New(Config{Log: a.connect()})
			err = p.Start(testContext(t))
			require.ErrorIs(t, err, eventstore.ErrWrongStream)
			require.ErrorContains(t, err, "CLOSURE_EVENTS: ")
			require.ErrorContains(t, err, wrong.says)
			stop(t, p)
			after, err := a.log.JetStream().Stream(testContext(t), eventstore.StreamEvents)
			require.NoError(t, err)
			require.Equal(t, before.CachedInfo().Config, after.CachedInfo().Config)
		})
	}
}

// All that is wrong is said at once, and fewer replicas than asked for are, too.
func TestAllWrongSettingsAreNamed(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	cfg := StreamConfig(1)
	cfg.MaxAge, cfg.AllowAtomicPublish = time.Hour, false
	_, err := a.log.JetStream().CreateStream(testContext(t), cfg)
	require.NoError(t, err)
	_, err = EnsureStream(testContext(t), a.log.JetStream(), 3)
	require.EqualError(t, err, eventstore.ErrWrongStream.Error()+": CLOSURE_EVENTS: max_age is 1h0m0s, has to be 0; "+
		"num_replicas is 1, has to be 3 at least; allow_atomic is off, has to be on")
}

// What is nobody's promise may be otherwise, and stays so.
func TestAStreamWithOtherSettings(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	cfg := StreamConfig(1)
	cfg.Description, cfg.Duplicates, cfg.Metadata, cfg.DenyDelete = "mine", time.Minute, map[string]string{"owner": "me"}, true
	_, err := a.log.JetStream().CreateStream(testContext(t), cfg)
	require.NoError(t, err)
	stream, err := EnsureStream(testContext(t), a.log.JetStream(), 1)
	require.NoError(t, err)
	require.Equal(t, "mine", stream.CachedInfo().Config.Description)
	require.Equal(t, "me", stream.CachedInfo().Config.Metadata["owner"])
}

// Engines that start at the same time make one stream.
func TestEnginesCreateTheStreamAtOnce(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Server(t)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		js, err := jetstream.New(embeddedtest.Connect(t, server))
		require.NoError(t, err)
		wg.Go(func() { _, errs[i] = EnsureStream(testContext(t), js, 1) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

// Somebody purged events. The engine goes on, and says in its log what consumers will not get.
func TestEventsThatAreGoneAreSpokenOf(t *testing.T) {
	t.Parallel()
	said := func(a *author) string {
		var logged bytes.Buffer
		p := a.start(Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		a.caughtUp(p)
		stop(t, p) // nobody writes to the buffer any more
		return logged.String()
	}
	a := newAuthor(t)
	a.wholeStory()
	require.NotContains(t, said(a), "are missing")
	stream, err := a.log.JetStream().Stream(testContext(t), eventstore.StreamEvents)
	require.NoError(t, err)
	require.NotContains(t, said(a), "are missing")
	require.NoError(t, stream.DeleteMsg(testContext(t), 3))
	require.Contains(t, said(a), "events are missing in CLOSURE_EVENTS, and no consumer gets them any more\" gaps=\"1 messages in its middle\"")
	require.NoError(t, stream.Purge(testContext(t), jetstream.WithPurgeSequence(5)))
	require.Contains(t, said(a), "it begins at sequence 5")
}
