// Package embeddedtest gives tests a NATS server and connections to it, which
// go away with the test.
package embeddedtest

import (
	"testing"

	"github.com/nats-io/nats.go"

	"closure/eventstore/embedded"
)

// Server starts a server on a free port, with a folder of the test. It does not
// sync: tests of the engine's logic do not wait for the disk.
func Server(t testing.TB) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), NoSync: true})
	if err != nil {
		t.Fatalf("start the NATS server: %v", err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// Connect connects to the server. The connection reconnects for ever, and is
// closed at the end of the test.
func Connect(t testing.TB, s *embedded.Server) *nats.Conn {
	t.Helper()
	return ConnectURL(t, s.ClientURL())
}

// ConnectURL connects to any server.
func ConnectURL(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, append([]nats.Option{nats.MaxReconnects(-1)}, opts...)...)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}
