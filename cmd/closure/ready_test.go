package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/eventstore/embedded"
)

// An engine that is asked to stop says first that it is not ready, and goes on until it was heard.
func TestDrain(t *testing.T) {
	t.Parallel()
	a := startEngine(t, t.TempDir(), false)
	status, _, _ := fetch(t, a.HTTPURL+"/readyz")
	require.Equal(t, http.StatusOK, status)

	waiting, heard := context.WithCancel(t.Context())
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		a.drain(waiting, time.Hour)
	}()
	require.Eventually(t, func() bool {
		status, _, body := fetch(t, a.HTTPURL+"/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "not ready: the engine is stopping")
	}, within, time.Millisecond)
	status, _, _ = fetch(t, a.HTTPURL+"/healthz")
	require.Equal(t, http.StatusOK, status, "it is alive")
	status, _, _ = fetch(t, a.HTTPURL+"/accounts")
	require.Equal(t, http.StatusBadRequest, status, "it answers whoever comes all the same")
	families, _ := scrape(t, a.HTTPURL)
	require.Zero(t, value(t, families, "closure_ready"))
	select {
	case <-drained:
		t.Fatal("it did not wait")
	default:
	}
	heard()
	<-drained
	stopEngine(t, a)
}

func TestWrongDrain(t *testing.T) {
	code, _, stderr := once(t, "", "serve", "--drain-delay=-1s", "--data", t.TempDir())
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "--drain-delay: must not be negative")
}

// Without NATS an engine is alive, and not ready; when it comes back, so does the engine.
func TestReadyNeedsNATS(t *testing.T) {
	t.Parallel()
	at := embedded.Config{Addr: "127.0.0.1:0", Dir: t.TempDir()}
	server, err := embedded.Start(at)
	require.NoError(t, err)
	at.Addr = strings.TrimPrefix(server.ClientURL(), "nats://")
	s := serve(t, t.TempDir(), "--nats-url", server.ClientURL(), "--ops-addr", "127.0.0.1:0")
	probe := func() (status int, body string) {
		status, _, body = fetch(t, s.Ops+"/readyz")
		return status, body
	}
	status, _ := probe()
	require.Equal(t, http.StatusOK, status)
	server.Shutdown()
	require.Eventually(t, func() bool {
		status, body := probe()
		return status == http.StatusServiceUnavailable && strings.Contains(body, "not ready: there is no connection to NATS")
	}, within, time.Millisecond)
	status, _, _ = fetch(t, s.Ops+"/healthz")
	require.Equal(t, http.StatusOK, status)
	families, _ := scrape(t, s.Ops)
	require.Zero(t, value(t, families, "closure_nats_connected"))

	server, err = embedded.Start(at)
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	require.Eventually(t, func() bool { status, _ := probe(); return status == http.StatusOK }, within, 10*time.Millisecond)
	families, _ = scrape(t, s.Ops)
	require.EqualValues(t, 1, value(t, families, "closure_nats_reconnects_total"))
	require.EqualValues(t, 1, value(t, families, "closure_nats_connected"))
	require.Equal(t, exitDone, s.stop(), s.logs.String())
}
