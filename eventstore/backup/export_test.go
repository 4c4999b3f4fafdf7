package backup

import (
	"context"

	"github.com/nats-io/nats.go"
)

// TakePaused is Take with one chunk at a time under way, and a call in each: the server does not go on before it ends.
func TakePaused(ctx context.Context, nc *nats.Conn, folder string, cfg Config, paused func(stream string)) (Manifest, error) {
	c, err := newClient(nc, 0)
	if err != nil {
		return Manifest{}, err
	}
	return take(ctx, &copier{client: c, chunk: 64 << 10, window: 64 << 10, paused: paused}, folder, cfg)
}

// WriteManifest writes the manifest anew, with its hash.
var WriteManifest = writeManifest
