package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
)

// statusOf runs the command, and gives what it says and its exit code.
func statusOf(t *testing.T, args ...string) (s systemStatus, code int, stderr string) {
	t.Helper()
	code, out, stderr := once(t, "", append([]string{"status", "--json"}, args...)...)
	require.NoError(t, json.Unmarshal([]byte(out), &s), "%s %s", out, stderr)
	require.Equal(t, s.Healthy, code == exitDone)
	require.Equal(t, s.Healthy, len(s.Problems) == 0)
	return s, code, stderr
}

// A healthy engine says so, with what it does; and for people there is a table.
func TestStatus(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir())
	closeEndToEnd(t, s)
	var got systemStatus
	require.Eventually(t, func() bool { // some figures are kept for a while
		got, _, _ = statusOf(t, s.at()...)
		return got.Healthy && got.Engines[0].Closings != nil && got.Engines[0].Closings.ByStatus[domain.StatusClosed] == 3 &&
			got.Engines[0].Webhooks != nil && got.Engines[0].Webhooks.Subscriptions == 1
	}, within, 100*time.Millisecond)
	require.Len(t, got.Engines, 1)
	e := got.Engines[0]
	require.Equal(t, version(), e.Version)
	require.True(t, e.Ready)
	require.Positive(t, *e.Last)
	var names []string
	for _, p := range e.Projections {
		names = append(names, p.Name)
		require.NotNil(t, p.Lag)
	}
	require.ElementsMatch(t, []string{"publisher", "readmodel", "process", "reports"}, names)
	streams := map[string]streamStatus{}
	for _, stream := range got.Streams {
		require.Equal(t, 1, stream.Current)
		streams[stream.Name] = stream
	}
	require.Equal(t, *e.Last, streams["CLOSURE_LOG"].Messages)
	require.Contains(t, streams, "KV_CLOSURE_WEBHOOKS")

	code, out, stderr := once(t, "", append([]string{"status"}, s.at()...)...)
	require.Equal(t, exitDone, code, stderr)
	require.Regexp(t, `^healthy\n`, out)
	for _, want := range []string{"engine ", "publisher", "CLOSURE_LOG", "closings", "1 of 1 replicas current"} {
		require.Contains(t, out, want)
	}
	require.Equal(t, exitDone, s.stop())
	code, _, stderr = once(t, "", append([]string{"status"}, s.at()...)...)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "connect to NATS")
}

// Servers without an engine are not healthy.
func TestStatusWithoutAnEngine(t *testing.T) {
	t.Parallel()
	got, code, stderr := statusOf(t, "--nats-url", embeddedtest.Server(t).ClientURL())
	require.Equal(t, exitFailed, code)
	require.Equal(t, []string{"no engine answers"}, got.Problems)
	require.Contains(t, stderr, "something is wrong: no engine answers")
	require.Empty(t, got.Engines)
}

// Of a cluster, each engine answers for itself, and a server that is down is told of, by the streams that miss it.
func TestStatusOfACluster(t *testing.T) {
	t.Parallel()
	cluster, err := embedded.StartCluster(3, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(cluster.Shutdown)
	flags := []string{"--nats-url", cluster.ClientURL(), "--replicas", "3"}
	serve(t, t.TempDir(), flags...)
	serve(t, t.TempDir(), flags...)
	at := []string{"--nats-url", cluster.ClientURL()}
	var got systemStatus
	healthy := func() bool {
		got, _, _ = statusOf(t, at...)
		return got.Healthy && len(got.Engines) == 2
	}
	require.Eventually(t, healthy, within, 100*time.Millisecond)
	for _, stream := range got.Streams {
		require.Equal(t, 3, stream.Replicas, stream.Name)
		require.NotEmpty(t, stream.Leader, stream.Name)
	}
	cluster.Stop(2)
	require.Eventually(t, func() bool {
		var code int
		var stderr string
		got, code, stderr = statusOf(t, at...)
		return code == exitFailed && len(got.Engines) == 2 && got.Engines[0].Ready && got.Engines[1].Ready &&
			strings.Contains(stderr, "of the stream CLOSURE_LOG 2 of 3 replicas are current")
	}, within, 100*time.Millisecond)
	require.NoError(t, cluster.Restart(2))
	require.Eventually(t, healthy, within, 100*time.Millisecond)
}
