package retry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/eventstore/retry"
)

var errNoLeader = &jetstream.APIError{Code: 503, ErrorCode: 10008}

func TestWhatIsTransient(t *testing.T) {
	for err, want := range map[error]bool{
		context.DeadlineExceeded:                               true,
		nats.ErrTimeout:                                        true,
		nats.ErrNoResponders:                                   true,
		errNoLeader:                                            true,
		fmt.Errorf("x: %w", error(errNoLeader)):                true,
		&jetstream.APIError{Code: 400, ErrorCode: 10005}:       true, // peers are on their way
		&jetstream.APIError{Code: 500, ErrorCode: 10074}:       false,
		&jetstream.APIError{Code: 500, ErrorCode: 10052}:       false,
		&jetstream.APIError{Code: 404, ErrorCode: 10059}:       false,
		context.Canceled:                                       false,
		nats.ErrConnectionClosed:                               false,
		errors.Join(nats.ErrTimeout, nats.ErrConnectionClosed): false,
		errors.New("anything else"):                            false,
	} {
		require.Equal(t, want, retry.Transient(err), "%v", err)
	}
}

func TestInsistUntilItSucceeds(t *testing.T) {
	tries := 0
	got, err := retry.Insist(t.Context(), func(ctx context.Context) (string, error) {
		_, bounded := ctx.Deadline()
		require.True(t, bounded, "one request has a bound of its own")
		if tries++; tries < 3 {
			return "", errNoLeader
		}
		return "done", nil
	})
	require.NoError(t, err)
	require.Equal(t, "done", got)
	require.Equal(t, 3, tries)
}

func TestInsistEndsAtWhatWillNotPass(t *testing.T) {
	tries := 0
	final := errors.New("no")
	_, err := retry.Insist(t.Context(), func(context.Context) (int, error) { tries++; return 0, final })
	require.ErrorIs(t, err, final)
	require.Equal(t, 1, tries)
}

func TestInsistEndsWithTheContextAndSaysWhatWasWrong(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := retry.Insist(ctx, func(context.Context) (int, error) { cancel(); return 0, errNoLeader })
	require.ErrorIs(t, err, errNoLeader)
	require.True(t, retry.Transient(err))
}

func TestBackoffDoublesUpToItsLimit(t *testing.T) {
	b := retry.NewBackoff(time.Second, 5*time.Second)
	require.True(t, b.Untouched())
	for _, want := range []time.Duration{1, 2, 4, 5, 5} {
		require.Equal(t, want*time.Second, b.Step())
	}
	require.True(t, b.Longest())
	require.False(t, b.Untouched())
	b.Reset()
	require.Equal(t, time.Second, b.Step())
}
