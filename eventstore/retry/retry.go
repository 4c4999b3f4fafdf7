// Package retry says which failures of JetStream pass by themselves, and repeats what met one.
package retry

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// StartWithin bounds what is opened at a start: a cluster that has just started needs some seconds to elect its leaders.
	StartWithin = 30 * time.Second
	// requestWithin bounds one request: in a cluster that is electing a leader nobody may answer it, ever.
	requestWithin = 5 * time.Second

	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

// Once makes a request within its bound.
func Once[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, requestWithin)
	defer cancel()
	return request(ctx)
}

// Insist repeats a request that may well succeed in a moment, until the context ends; then the error is the last one of
// the request, which is Transient. The request has to be one that may be made twice.
func Insist[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	for wait := NewBackoff(firstPause, longestPause); ; {
		v, err := Once(ctx, request)
		if err == nil || !Transient(err) || wait.Wait(ctx) != nil {
			return v, err
		}
	}
}

// Transient tells whether a request to JetStream failed for a reason that may be gone in a moment. Codes, never texts. That
// the caller has given up (context.Canceled), or closed the connection, is not transient.
func Transient(err error) bool {
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, context.Canceled) {
		return false
	}
	for _, passing := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected,
		nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, jetstream.ErrNoStreamResponse,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode {
	case codeNoPeers:
		return true
	case codeNoReplicas, codeInvalidStream, jetstream.JSErrCodeConsumerCreate:
		return false
	}
	return api.Code >= 500
}

// Codes of the server that nats.go does not name.
const (
	// codeNoPeers: too few servers are there for the replicas. While a cluster starts, the others are on their way.
	codeNoPeers jetstream.ErrorCode = 10005
	// codeNoReplicas: more than one replica, on a server that is in no cluster. It comes with a status of 500, and no time
	// will change it.
	codeNoReplicas jetstream.ErrorCode = 10074
	// codeInvalidStream: so does this one.
	codeInvalidStream jetstream.ErrorCode = 10052
)
