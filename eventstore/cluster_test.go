package eventstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
)

// clustered gives three servers, and a log with three replicas on each of them.
func clustered(t *testing.T) (*embedded.Cluster, []*eventstore.Log) {
	t.Helper()
	c, err := embedded.StartCluster(3, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Shutdown)
	var logs []*eventstore.Log
	for i := range 3 {
		// Each client begins at a server of its own, and may go to the others.
		nc := embeddedtest.ConnectURL(t, c.MemberURL(i), nats.ReconnectWait(50*time.Millisecond))
		logs = append(logs, openLogOn(t, nc, eventstore.Config{Replicas: 3, AppendTimeout: 20 * time.Second}))
	}
	return c, logs
}

// While the leader of the stream goes away and comes back, appends wait, and none is
// lost or stored twice; both kinds of followers see all of them in order.
func TestClusterLosesItsLeader(t *testing.T) {
	t.Parallel()
	c, logs := clustered(t)
	ctx := testContext(t)
	leader := streamLeader(t, ctx, c, logs[0])
	l := logs[(leader+1)%3]
	got := map[string]*collector{"": {}, "leader": {}}
	followers := map[string]*eventstore.Follower{}
	for name, h := range got {
		followers[name] = startFollower(t, l, eventstore.FollowerConfig{Name: name, Handle: h.handle})
	}
	w := newWriter(t, l)
	w.spread(50, 5)
	begin := time.Now()
	c.Stop(leader)
	w.spread(50, 5)
	t.Logf("without its leader the log went on after %s", time.Since(begin))
	if err := c.Restart(leader); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitReady(patience); err != nil {
		t.Fatal(err)
	}
	w.spread(50, 5)
	for name, f := range followers {
		waitFor(t, f, 150)
		mustRun(t, got[name].sequences(), 1, 150)
	}
	for i := range 5 {
		all, err := l.LoadFromLeader(ctx, "account", fmt.Sprintf("a%d", i), 0)
		if err != nil || len(all) != 30 {
			t.Fatalf("account %d: %d commits, %v; want 30", i, len(all), err)
		}
	}
}

// streamLeader is the index of the server that leads the log.
func streamLeader(t *testing.T, ctx context.Context, c *embedded.Cluster, l *eventstore.Log) int {
	t.Helper()
	stream, err := l.JetStream().Stream(ctx, eventstore.StreamLog)
	if err != nil {
		t.Fatal(err)
	}
	info := stream.CachedInfo()
	if info.Config.Replicas != 3 || len(info.Cluster.Replicas) != 2 {
		t.Fatalf("the log has %d replicas: %+v", info.Config.Replicas, info.Cluster)
	}
	for i := range 3 {
		if c.MemberName(i) == info.Cluster.Leader {
			return i
		}
	}
	t.Fatalf("no server is called %q", info.Cluster.Leader)
	return 0
}
