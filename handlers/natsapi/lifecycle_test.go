package natsapi_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
	"closure/handlers"
	"closure/handlers/natsapi"
)

func TestStopMayComeAtAnyTime(t *testing.T) {
	r := newRig(t)
	s := natsapi.New(r.config())
	require.NoError(t, s.Stop(r.ctx), "before Start")
	require.NoError(t, s.Start(r.ctx))
	require.Error(t, s.Start(r.ctx), "it is started already")
	require.NoError(t, s.Stop(r.ctx))
	require.NoError(t, s.Stop(r.ctx), "again")
	require.Error(t, s.Start(r.ctx), "it has been stopped")
	_, err := r.nc.Request("closure.rpc.x", nil, patience)
	require.ErrorIs(t, err, nats.ErrNoResponders)
}

// stopsOnlyAfter stops a service that has something in hand, and lets that go only when nothing new is taken any more.
func stopsOnlyAfter(t *testing.T, r *rig, s *natsapi.Service, h *holder) {
	t.Helper()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(r.ctx) }()
	r.until("nothing new is taken", func() bool {
		_, err := r.nc.Request("closure.rpc.x", nil, patience)
		return err != nil
	})
	select {
	case err := <-stopped:
		t.Fatalf("stopped with something in hand: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	h.release()
	require.NoError(t, <-stopped)
}

func TestStopAnswersTheRequestsInHand(t *testing.T) {
	r := newRig(t)
	h := newHolder()
	cfg := r.config()
	cfg.Engine = throughGate{cfg.Engine, h.hold}
	s := r.start(cfg)
	replies, err := r.nc.SubscribeSync(nats.NewInbox())
	require.NoError(t, err)
	require.NoError(t, r.nc.PublishRequest(eventstore.RPCSubject("account_group", uuid.NewString(), "open"), replies.Subject, body(t, personal())))
	h.wait(t)
	stopsOnlyAfter(t, r, s, h)
	msg, err := replies.NextMsg(patience)
	require.NoError(t, err)
	require.Equal(t, handlers.Accepted, answer(t, msg).Result)
}

func TestStopSettlesTheCommandsInHand(t *testing.T) {
	r := newRig(t)
	h := newHolder()
	cfg := r.config()
	cfg.Engine = throughGate{cfg.Engine, h.hold}
	s := r.start(cfg)
	sent := uuid.NewString()
	r.send("account_group", sent, "open", personal())
	h.wait(t)
	// One more stands behind in the same partition; it is not in hand.
	behind := inPartition(sent, true)
	r.send("account_group", behind, "open", personal())
	stopsOnlyAfter(t, r, s, h)
	require.Len(t, r.commits("account_group", sent), 1)
	require.Empty(t, r.commits("account_group", behind))
	r.until("only the one behind is left", func() bool { return r.waiting() == 1 })
	consumer, err := r.js.Consumer(r.ctx, eventstore.StreamCommands, natsapi.ConsumerOf(behind))
	require.NoError(t, err)
	require.Zero(t, consumer.CachedInfo().NumAckPending, "it was not handed out, so nobody has to wait until it is missed")
	r.start(r.config())
	r.settled()
	require.Len(t, r.commits("account_group", behind), 1)
}

func TestStopThatRunsOutOfTime(t *testing.T) {
	r := newRig(t)
	r.keepEvents(1)
	h := newHolder()
	cfg := r.config()
	cfg.Engine = throughGate{cfg.Engine, h.hold}
	s := natsapi.New(cfg)
	require.NoError(t, s.Start(r.ctx))
	sent := uuid.NewString()
	r.send("account_group", sent, "open", personal())
	replies, err := r.nc.SubscribeSync(nats.NewInbox())
	require.NoError(t, err)
	require.NoError(t, r.nc.PublishRequest(eventstore.RPCSubject("account_group", uuid.NewString(), "open"), replies.Subject, body(t, personal())))
	h.wait(t)
	h.wait(t)
	r.start(r.config()) // gets what comes back
	ctx, cancel := context.WithTimeout(r.ctx, 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	require.ErrorIs(t, s.Stop(ctx), context.DeadlineExceeded)
	msg, err := replies.NextMsg(patience)
	require.NoError(t, err)
	require.Equal(t, 503, answer(t, msg).Error.Status)

	// The command went back, and nobody has to wait until it is missed.
	r.settled()
	require.Less(t, time.Since(begin), 4*time.Second)
	require.Len(t, r.commits("account_group", sent), 1)
	require.Zero(t, r.events())
}

// TestStopWithoutAServer does not wait for one.
func TestStopWithoutAServer(t *testing.T) {
	server := embeddedtest.Server(t)
	r := newRigAt(t, server.ClientURL(), 1)
	cfg := r.config()
	s := natsapi.New(cfg)
	require.NoError(t, s.Start(r.ctx))
	server.Shutdown()
	r.until("the connection is lost", func() bool { return !cfg.Log.Conn().IsConnected() })
	begin := time.Now()
	require.NoError(t, s.Stop(r.ctx))
	require.Less(t, time.Since(begin), 3*time.Second)
}

// TestAnEngineThatDies: its connection goes away with hundreds of commands on their way, as with a process that is killed. Another
// one finishes them, and nothing is lost, done twice or out of order.
func TestAnEngineThatDies(t *testing.T) {
	t.Parallel() // it waits until the dead one is missed
	r := newRig(t)
	r.keepEvents(1)
	cfg := r.config()
	dying := natsapi.New(cfg)
	require.NoError(t, dying.Start(r.ctx))
	accounts := r.openAccounts(20)
	names := r.renames(accounts, 25)
	r.until("some are done", func() bool { return r.waiting() < 450 })
	cfg.Log.Conn().Close()
	require.NotZero(t, r.waiting())

	begin := time.Now()
	r.start(r.config())
	r.settled()
	t.Logf("settled %s after the death", time.Since(begin).Round(time.Millisecond))
	for _, id := range accounts {
		require.Equal(t, names, r.names(id))
	}
	require.Zero(t, r.events(), "nothing was rejected")
	// What is left of the dead one ends by itself.
	require.NoError(t, dying.Stop(r.ctx))
}

func TestEnginesShareTheInbox(t *testing.T) {
	r := newRig(t)
	r.keepEvents(1)
	shares := make([]chan struct{}, 2)
	for i := range shares {
		shares[i] = make(chan struct{}, 10_000)
		cfg := r.config()
		cfg.Engine = throughGate{cfg.Engine, func(context.Context, domain.Command) error {
			shares[i] <- struct{}{}
			return nil
		}}
		r.start(cfg)
	}
	accounts := r.openAccounts(20)
	names := r.renames(accounts, 25)
	r.settled()
	for _, id := range accounts {
		require.Equal(t, names, r.names(id))
	}
	require.NotEmpty(t, shares[0])
	require.NotEmpty(t, shares[1])
}

func TestAConsumerThatIsDeletedComesBack(t *testing.T) {
	t.Parallel() // it waits until the consumer is missed
	r := serve(t)
	group := uuid.NewString()
	require.NoError(t, r.js.DeleteConsumer(r.ctx, eventstore.StreamCommands, natsapi.ConsumerOf(group)))
	r.send("account_group", group, "open", personal())
	r.settled()
	require.Len(t, r.commits("account_group", group), 1)
}

func TestAStreamWithOtherSettingsIsNotUsed(t *testing.T) {
	r := newRig(t)
	s := natsapi.New(r.config())
	require.NoError(t, s.Start(r.ctx))
	require.NoError(t, s.Stop(r.ctx))
	stream, err := r.js.Stream(r.ctx, eventstore.StreamCommands)
	require.NoError(t, err)
	right := stream.CachedInfo().Config
	for name, test := range map[string]struct {
		change func(*jetstream.StreamConfig)
		says   string
	}{
		"memory":        {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "storage is Memory, has to be file"},
		"limits":        {func(c *jetstream.StreamConfig) { c.Retention = jetstream.LimitsPolicy }, "retention is Limits, has to be work queue"},
		"no partitions": {func(c *jetstream.StreamConfig) { c.SubjectTransform = nil }, "subject_transform has to be from closure.command.*.*.* to"},
		"ages":          {func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, "max_age is 1h0m0s, has to be 0"},
		"throws away":   {func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 }, "it has limits, and discards old commands at them"},
		"one subject":   {func(c *jetstream.StreamConfig) { c.Subjects = c.Subjects[:1] }, "subjects are"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, r.js.DeleteStream(r.ctx, eventstore.StreamCommands))
			wrong := right
			test.change(&wrong)
			_, err := r.js.CreateStream(r.ctx, wrong)
			require.NoError(t, err)
			err = natsapi.New(r.config()).Start(r.ctx)
			require.ErrorIs(t, err, eventstore.ErrWrongStream)
			require.ErrorContains(t, err, test.says)
		})
	}
}

func TestAVersionThatIsNone(t *testing.T) {
	r := newRig(t)
	cfg := r.config()
	cfg.Version = "next"
	s := natsapi.New(cfg)
	require.ErrorContains(t, s.Start(r.ctx), "version")
	// What had been started before is stopped again.
	require.NoError(t, s.Stop(r.ctx))
}

// TestAServerThatComesBack: the consumers are gone with it, and the commands are not.
func TestAServerThatComesBack(t *testing.T) {
	t.Parallel() // it waits for the server to be missed
	cfg := embedded.Config{Dir: t.TempDir(), NoSync: true}
	server, err := embedded.Start(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { server.Shutdown() })
	cfg.Addr = server.Addr()
	r := newRigAt(t, server.ClientURL(), 1)
	r.keepEvents(1)
	r.start(r.config())
	accounts := r.openAccounts(10)
	names := r.renames(accounts, 20)
	require.NotZero(t, r.waiting())
	server.Shutdown()
	server, err = embedded.Start(cfg)
	require.NoError(t, err)
	r.until("the inbox is empty", func() bool { n, err := r.tryWaiting(); return err == nil && n == 0 })
	for _, id := range accounts {
		require.Equal(t, names, r.names(id))
	}
	require.Zero(t, r.events(), "nothing was rejected")
}

// TestAClusterThatLosesAServer: three replicas, two engines, and the server that leads the inbox goes away.
func TestAClusterThatLosesAServer(t *testing.T) {
	t.Parallel() // it waits for elections
	cluster, err := embedded.StartCluster(3, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(cluster.Shutdown)
	r := newRigAt(t, cluster.ClientURL(), 3)
	r.keepEvents(3)
	for range 2 {
		cfg := r.config()
		cfg.Replicas = 3
		r.start(cfg)
	}
	accounts := r.openAccounts(10)
	names := r.renames(accounts, 20)
	stream, err := r.js.Stream(r.ctx, eventstore.StreamCommands)
	require.NoError(t, err)
	require.NotZero(t, stream.CachedInfo().State.Msgs)
	for i := range 3 {
		if cluster.MemberName(i) == stream.CachedInfo().Cluster.Leader {
			cluster.Stop(i)
		}
	}
	r.until("the inbox is empty", func() bool { n, err := r.tryWaiting(); return err == nil && n == 0 })
	for _, id := range accounts {
		require.Equal(t, names, r.names(id))
	}
	require.Zero(t, r.events(), "nothing was rejected")
}
