package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"closure/eventstore/embedded"
)

// Two engines on a cluster of three. They are started while the cluster has no majority, as everything is in a compose file
// that comes up at once: they wait, and get ready when it does. Then a server and an engine are lost, and the others go on.
func TestTwoEnginesOnACluster(t *testing.T) {
	t.Parallel()
	cluster, err := embedded.StartCluster(3, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(cluster.Shutdown)
	cluster.Stop(1)
	cluster.Stop(2)
	flags := []string{"--nats-url", cluster.ClientURL(), "--replicas", "3"}
	starting := []*serving{begin(t.TempDir(), flags...), begin(t.TempDir(), flags...)}
	require.NoError(t, cluster.Restart(1))
	require.NoError(t, cluster.Restart(2))
	first, second := awaitServing(t, starting[0]), awaitServing(t, starting[1])
	closeEndToEnd(t, first)
	closeEndToEnd(t, second)

	cluster.Stop(0)
	require.Equal(t, exitDone, first.stop(), first.logs.String())
	closeEndToEnd(t, second)
	require.Equal(t, exitDone, second.stop(), second.logs.String())
}
