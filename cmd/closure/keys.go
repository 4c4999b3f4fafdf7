package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/projections/webhooks/signing"
)

// keysRotation rotates keys of the engines at a NATS server, whether one is running or not.
type keysRotation struct {
	connection
	Overlap time.Duration `default:"168h" help:"For how long the key before is good as well: 0s to 2160h. 0s ends it at once."`
	JSON    bool          `name:"json" help:"Print one JSON line."`
}

// Validate is called by kong: a wrong flag is a wrong use.
func (c keysRotation) Validate() error {
	if c.Overlap < 0 || c.Overlap > signing.MaxOverlap {
		return fmt.Errorf("--overlap: must be 0s to %s, got %s", signing.MaxOverlap, c.Overlap)
	}
	return nil
}

func (c keysRotation) rotate(ctx context.Context, std streams, entry string) error {
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	rotated, err := signing.Rotate(ctx, js, entry, c.Overlap)
	if err != nil {
		return err
	}
	return c.print(std.out, rotated)
}

func (c keysRotation) print(w io.Writer, rotated signing.Rotated) error {
	if c.JSON {
		out := map[string]any{"kid": rotated.KeyID, "previous_kid": nil, "previous_valid_until": nil}
		if rotated.PreviousID != "" {
			out["previous_kid"], out["previous_valid_until"] = rotated.PreviousID, rotated.PreviousUntil
		}
		return printJSON(w, out)
	}
	before := "the one before has ended"
	if rotated.PreviousID != "" {
		before = "the one before, " + rotated.PreviousID + ", signs as well until " + stamp(&rotated.PreviousUntil)
	}
	_, err := fmt.Fprintf(w, "the key %s signs from now on; %s\n", rotated.KeyID, before)
	return err
}
