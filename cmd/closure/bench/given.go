package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
)

// ErrInUse: the account on the given server has streams of an engine, or of a bench that was killed. The caller names an empty
// account.
var ErrInUse = errors.New("the account is in use")

// ours tells whether a stream has a name that an engine would give: CLOSURE_…, or KV_CLOSURE_… and OBJ_CLOSURE_… of a bucket.
func ours(stream string) bool {
	name := strings.TrimPrefix(strings.TrimPrefix(stream, "KV_"), "OBJ_")
	return strings.HasPrefix(name, "CLOSURE_")
}

// engineStreams lists the streams of an account that an engine may have made, and the one of a bench.
func engineStreams(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	var found []string
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		if ours(name) || name == plainStream {
			found = append(found, name)
		}
	}
	if err := names.Err(); err != nil {
		return nil, fmt.Errorf("list the streams of the account: %w", err)
	}
	return found, nil
}

// mustBeFree refuses an account in which an engine has its streams. Measuring writes a million commits that mean nothing.
func mustBeFree(ctx context.Context, nc *nats.Conn) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	found, err := engineStreams(ctx, js)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("%w: it has %s; measure in an empty account. If they are what a bench that was killed has left (%s and %s, and no other), delete those two",
			ErrInUse, strings.Join(found, ", "), eventstore.StreamLog, plainStream)
	}
	return nil
}

// takeAway deletes the streams that were made on a given server. When there are others by then, an engine was started on our
// log: then it is left as it is.
func takeAway(js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanWithin) // the command may have been interrupted
	defer cancel()
	found, err := engineStreams(ctx, js)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range found {
		switch name {
		case plainStream:
			errs = append(errs, js.DeleteStream(ctx, name))
		case eventstore.StreamLog:
			if len(found) > 2 {
				errs = append(errs, fmt.Errorf("an engine was started in the account while it was measured (%s): %s is left as it is, with the commits of the measurement in it",
					strings.Join(found, ", "), name))
				continue
			}
			errs = append(errs, js.DeleteStream(ctx, name))
		}
	}
	return errors.Join(errs...)
}
