package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"closure/domain"
	"closure/eventstore/embedded"
)

// balancer sends each request to an engine that says that it is ready, as a load balancer does. It repeats what is answered 503
// with Retry-After, under the same idempotency key, and nothing else.
type balancer struct {
	caller
	mu       sync.Mutex
	engines  []string
	turn     int
	requests atomic.Int64
	repeated atomic.Int64
}

func (b *balancer) set(i int, url string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.engines[i] = url
}

// pick gives an engine that is ready.
func (b *balancer) pick(ctx context.Context) (string, error) {
	for ctx.Err() == nil {
		b.mu.Lock()
		b.turn++
		url := b.engines[b.turn%len(b.engines)]
		b.mu.Unlock()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
		if err != nil {
			return "", err
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			continue // it is down: a balancer looks at the next one
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return url, nil
		}
	}
	return "", ctx.Err()
}

// do makes one request until it is answered other than with a 503. An answer that is neither that nor a success fails the test.
func (b *balancer) do(ctx context.Context, method, path string, body any) ([]byte, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	key := uuid.NewString()
	for {
		engine, err := b.pick(ctx)
		if err != nil {
			return nil, err
		}
		var reader io.Reader
		if body != nil {
			reader = bytes.NewReader(data)
		}
		r, err := http.NewRequestWithContext(ctx, method, engine+path, reader)
		if err != nil {
			return nil, err
		}
		b.identify(r)
		if method == http.MethodPost {
			r.Header.Set("idempotency-key", key)
		}
		if body != nil {
			r.Header.Set("content-type", "application/json")
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, fmt.Errorf("%s %s broke off: %w", method, path, err)
		}
		answer, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		b.requests.Add(1)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s %s broke off: %w", method, path, err)
		case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
			b.repeated.Add(1)
		case res.StatusCode >= 300:
			return nil, fmt.Errorf("%s %s: %s: %s", method, path, res.Status, answer)
		default:
			return answer, nil
		}
	}
}

// closeOne is the life of a group with an account.
func (b *balancer) closeOne(ctx context.Context) (group, account string, err error) {
	var made struct {
		ID string `json:"id"`
	}
	answer, err := b.do(ctx, http.MethodPost, "/account_groups", map[string]any{"user_id": uuid.NewString(), "type": "PERSONAL"})
	if err == nil {
		err = json.Unmarshal(answer, &made)
	}
	if err != nil {
		return "", "", err
	}
	group = made.ID
	answer, err = b.do(ctx, http.MethodPost, "/accounts", map[string]any{"account_group_id": group, "type": "TRADING", "name": "rolling"})
	if err == nil {
		err = json.Unmarshal(answer, &made)
	}
	if err != nil {
		return "", "", err
	}
	account = made.ID
	for _, path := range []string{"/accounts/" + account, "/account_groups/" + group} {
		if _, err := b.do(ctx, http.MethodDelete, path, nil); err != nil {
			return "", "", err
		}
	}
	return group, account, nil
}

// Two engines on a cluster of three are restarted one after the other, and each server, while clients come: no request fails but with
// a 503 that says when to come again, nothing is lost, and the log is whole.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	const workers = 8
	cluster, err := embedded.StartCluster(3, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(cluster.Shutdown)
	data := []string{t.TempDir(), t.TempDir()}
	start := func(i int) *serving {
		return serve(t, data[i], "--nats-url", cluster.ClientURL(), "--replicas", "3", "--drain-delay", "500ms")
	}
	engines := []*serving{start(0), start(1)}
	b := &balancer{caller: engines[0].caller(t, uuid.NewString()), engines: []string{engines[0].HTTP, engines[1].HTTP}}

	var (
		stop   = make(chan struct{})
		mu     sync.Mutex
		closed [][2]string
		done   = make(chan struct{}, 1)
	)
	work, ctx := errgroup.WithContext(t.Context())
	for range workers {
		work.Go(func() error {
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				group, account, err := b.closeOne(ctx)
				if err != nil {
					return err
				}
				mu.Lock()
				closed = append(closed, [2]string{group, account})
				mu.Unlock()
				select {
				case done <- struct{}{}:
				default:
				}
			}
		})
	}
	// progress waits until more was closed than now.
	progress := func() {
		for range 2 * workers {
			select {
			case <-done:
			case <-ctx.Done():
				return
			}
		}
	}
	progress()
	for i := range engines {
		require.Equal(t, exitDone, engines[i].stop(), engines[i].logs.String())
		progress()
		engines[i] = start(i)
		b.set(i, engines[i].HTTP)
		progress()
	}
	for i := range 3 {
		cluster.Stop(i)
		progress()
		require.NoError(t, cluster.Restart(i))
		require.NoError(t, cluster.WaitReady(within))
		progress()
	}
	close(stop)
	require.NoError(t, work.Wait())
	t.Logf("%d groups, %d requests, %d of them answered 503 and repeated", len(closed), b.requests.Load(), b.repeated.Load())

	c := b.caller
	c.base = engines[0].HTTP
	for _, pair := range closed {
		require.Equal(t, domain.StatusClosed, get[domain.AccountResource](c, "/accounts/"+pair[1]).Status)
		require.Eventually(t, func() bool {
			return get[domain.AccountGroupResource](c, "/account_groups/"+pair[0]).Status == domain.StatusClosed
		}, within, 20*time.Millisecond)
	}
	// Nothing was made twice: each repetition under its key found what was there.
	require.Equal(t, len(closed), get[list[domain.AccountGroupResource]](c, "/account_groups?limit=1").Meta.TotalCount)
	require.Equal(t, len(closed), get[list[domain.AccountResource]](c, "/accounts?limit=1").Meta.TotalCount)
	code, out, stderr := once(t, "", append([]string{"verify"}, engines[0].at()...)...)
	require.Equal(t, exitDone, code, out+stderr)
}
