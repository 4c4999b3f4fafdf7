package eventstore_test

import (
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/eventstoretest"
)

func TestConformanceOnOneServer(t *testing.T) {
	t.Parallel()
	s := embeddedtest.Server(t)
	eventstoretest.Run(t, func(t testing.TB) *eventstore.Log {
		return openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{AppendTimeout: patience})
	})
}

func TestConformanceOnACluster(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	var n atomic.Int32
	eventstoretest.Run(t, func(t testing.TB) *eventstore.Log {
		// Each client begins at another server, and may go to the others.
		nc := embeddedtest.ConnectURL(t, c.MemberURL(int(n.Add(1)%3)))
		return openLogOn(t, nc, eventstore.Config{Replicas: 3, AppendTimeout: patience})
	})
}

// shared is the cluster of all tests that only append to aggregates of their own, and
// stop no server: to start one takes seconds.
var shared sharedCluster

type sharedCluster struct {
	mu      sync.Mutex
	dir     string
	cluster *embedded.Cluster
}

// get starts the cluster for the first one that asks.
func (s *sharedCluster) get(t testing.TB) *embedded.Cluster {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster != nil {
		return s.cluster
	}
	var err error
	if s.dir == "" { // it outlives the test, so it cannot be a folder of the test
		s.dir, err = os.MkdirTemp("", "closure-cluster-")
		require.NoError(t, err)
	}
	s.cluster, err = embedded.StartCluster(3, s.dir)
	require.NoError(t, err)
	return s.cluster
}

// shutdown when all tests are over.
func (s *sharedCluster) shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster != nil {
		s.cluster.Shutdown()
	}
	_ = os.RemoveAll(s.dir) // the system clears its temporary files in the end
}

// Who asks for one replica of a log that has three reads what was just written all the
// same: it is what the stream has that counts.
func TestLoadCurrentAsksTheLeaderOfAReplicatedStream(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	id := uuid.NewString()
	writer := openLogOn(t, embeddedtest.ConnectURL(t, c.ClientURL()), eventstore.Config{Replicas: 3, AppendTimeout: patience})
	_, err := writer.Append(testContext(t), commitOf("account", id), eventstore.Head{})
	require.NoError(t, err)

	reader := openLogOn(t, embeddedtest.ConnectURL(t, c.ClientURL()), eventstore.Config{})
	requests, err := reader.Conn().SubscribeSync("$JS.API.STREAM.MSG.GET." + eventstore.StreamLog)
	require.NoError(t, err)
	for _, load := range []func() ([]eventstore.Recorded, error){
		func() ([]eventstore.Recorded, error) { return reader.LoadCurrent(testContext(t), "account", id, 0) },
		func() ([]eventstore.Recorded, error) { return reader.LoadUpTo(testContext(t), "account", id, 1<<40) },
	} {
		got, err := load()
		require.NoError(t, err)
		require.Len(t, got, 1)
		_, err = requests.NextMsgWithContext(testContext(t))
		require.NoError(t, err, "the leader was not asked")
	}
}
