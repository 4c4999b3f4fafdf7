package eventstore_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
)

// A cluster that loses each server in turn, and then its leader to a broken network, while many write, loses nothing that it
// acknowledged, and has nothing twice; the writers go on each time. In the end all servers have the same on their disks.
//
// With -short there are fewer writers.
func TestClusterLosesServersDuringWrites(t *testing.T) {
	t.Parallel()
	writers := 64
	if testing.Short() {
		writers = 16
	}
	n := newNetwork(t)
	var logs []*eventstore.Log
	var places []place
	for i := range 3 {
		logs = append(logs, n.openLog(i, time.Second))
		places = append(places, place{log: logs[i]})
	}
	r := startTrial(t, writers, places...)
	for i := range 3 {
		r.progress(writers)
		n.Stop(i)
		r.progress(writers)
		require.NoError(t, n.Restart(i))
		require.NoError(t, n.WaitReady(patience))
	}
	r.progress(writers)
	leader := n.leader(logs[0])
	n.cut(leader)
	r.lost(1) // the leader is gone, and nobody knows yet
	r.progress(writers)
	require.NotEqual(t, leader, n.leader(logs[0]), "the leader is cut off, and yet it leads")
	bytes := n.heal(leader)
	require.Positive(t, bytes, "bytes that the cut swallowed")
	require.NoError(t, n.WaitReady(patience))
	r.progress(writers)
	r.finish()
	for _, l := range logs { // a commit that a writer gave up may still be on its way
		require.NoError(t, l.Conn().Flush())
	}
	log := readWhole(t, logs[0])
	r.compare(t, log)
	n.awaitReplicas(logs[0])
	n.Shutdown()
	for i := range 3 {
		require.Equal(t, log, onDisk(t, filepath.Join(n.dir, n.MemberName(i))), "the log of %s", n.MemberName(i))
	}
	t.Logf("%d bytes lost when %s led and was cut off; %s; %d of those given up are among the %d in the log",
		bytes, n.MemberName(leader), r, r.foundAbandoned(log), len(log))
}

// leader waits until the log has one, and gives its index.
func (n *network) leader(l *eventstore.Log) (member int) {
	n.t.Helper()
	eventually(n.t, "leader of the log", func() bool {
		stream, err := l.JetStream().Stream(testContext(n.t), eventstore.StreamLog)
		if err != nil {
			return false
		}
		for i := range 3 {
			if n.MemberName(i) == stream.CachedInfo().Cluster.Leader {
				member = i
				return true
			}
		}
		return false
	})
	return member
}

// awaitReplicas waits until all servers have what the leader has.
func (n *network) awaitReplicas(l *eventstore.Log) {
	n.t.Helper()
	eventually(n.t, "replicas that are up to date", func() bool {
		stream, err := l.JetStream().Stream(testContext(n.t), eventstore.StreamLog)
		if err != nil || len(stream.CachedInfo().Cluster.Replicas) != 2 {
			return false
		}
		for _, peer := range stream.CachedInfo().Cluster.Replicas {
			if !peer.Current || peer.Offline || peer.Lag > 0 {
				return false
			}
		}
		return true
	})
}

// onDisk is the log that stands in the folder of a server, as a server on its own reads it.
func onDisk(t testing.TB, dir string) []eventstore.Recorded {
	t.Helper()
	s, err := embedded.Start(embedded.Config{Dir: dir})
	require.NoError(t, err)
	defer s.Shutdown()
	return readWhole(t, openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{}))
}

// quiet keeps a client from printing each write that met the end of a server.
var quiet = nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
