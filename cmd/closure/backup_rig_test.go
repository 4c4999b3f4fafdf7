package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"closure/domain"
)

const isin = "US0378331005"

// unlimited lets the clients of a test ask as often as they can.
var unlimited = []string{"--client-rate", "1000000", "--client-burst", "1000000"}

// try is a call that may run beside others: it ends no test.
func (c caller) try(ctx context.Context, method, path, key string, in, out any, want int) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	c.identify(req)
	if in != nil {
		req.Header.Set("content-type", "application/json")
	}
	if key != "" {
		req.Header.Set("idempotency-key", key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != want {
		err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, answer)
	}
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

// upstream sends facts and commands, by the durable inbox or as requests.
type upstream struct {
	caller
	nc *nats.Conn
	js jetstream.JetStream
}

func (s *serving) upstream(t *testing.T, c caller) *upstream {
	nc := s.connect(t, nats.MaxReconnects(-1))
	return &upstream{caller: c, nc: nc, js: js(t, nc)}
}

func (u *upstream) body(fields string) []byte {
	return []byte(`{"command_id":"` + uuid.NewString() + `","client_id":"` + u.client + `","actor":"upstream",` + fields + `}`)
}

// leave puts a fact into the durable inbox.
func (u *upstream) leave(ctx context.Context, kind, id, command, fields string) error {
	_, err := u.js.Publish(ctx, "closure.command."+kind+"."+id+"."+command, u.body(fields))
	return err
}

// tell waits until a fact is recorded.
func (u *upstream) tell(kind, id, command, fields string) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), within)
	defer cancel()
	reply, err := u.nc.RequestWithContext(ctx, "closure.rpc."+kind+"."+id+"."+command, u.body(fields))
	require.NoError(u.t, err)
	require.Regexp(u.t, `"result":"(accepted|unchanged)"`, string(reply.Data))
}

func holds(quantity string, revision int) string {
	return fmt.Sprintf(`"isin":%q,"quantity":%q,"revision":%d`, isin, quantity, revision)
}

// openAccount opens a group with an account.
func (u *upstream) openAccount(ctx context.Context, domicile string) (group domain.AccountGroupResource, account domain.AccountResource, err error) {
	err = u.try(ctx, http.MethodPost, "/account_groups", "", map[string]any{"user_id": uuid.NewString(), "type": "PERSONAL", "domicile": domicile}, &group, http.StatusCreated)
	if err == nil {
		err = u.try(ctx, http.MethodPost, "/accounts", "", map[string]any{"account_group_id": group.ID, "type": "TRADING", "name": "backup"}, &account, http.StatusCreated)
	}
	return group, account, err
}

// load is clients that open accounts, fill them, close them and empty them, without end.
type load struct {
	stop   func() error
	failed <-chan struct{}
	done   atomic.Int64

	mu sync.Mutex
	// closed are the accounts of which everything was accepted: each is closed, or will be.
	closed []string
	more   chan struct{}
}

func (u *upstream) load(t *testing.T, clients int) *load {
	l := &load{more: make(chan struct{}, 1)}
	ending, end := context.WithCancel(context.Background())
	work, ctx := errgroup.WithContext(t.Context())
	l.failed = ctx.Done()
	for range clients {
		work.Go(func() error {
			for ending.Err() == nil {
				if err := l.one(ctx, u); err != nil {
					return err
				}
			}
			return nil
		})
	}
	l.stop = sync.OnceValue(func() error { end(); return work.Wait() })
	t.Cleanup(func() { _ = l.stop() }) // a test that goes well has looked at the error
	return l
}

// one closes an account.
func (l *load) one(ctx context.Context, u *upstream) error {
	group, account, err := u.openAccount(ctx, "FR")
	if err != nil {
		return err
	}
	err = errors.Join(
		u.leave(ctx, "account", account.ID, "record_position", holds("7", 1)),
		u.leave(ctx, "account_group", group.ID, "record_cash_balance", `"currency":"EUR","balance":"5.00","revision":1`),
		// A fact that comes before its account waits aside, for as long as it takes.
		u.leave(ctx, "account", uuid.NewString(), "record_position", holds("1", 1)))
	if err != nil {
		return err
	}
	// An account whose position is not recorded yet closes at once.
	if err := u.try(ctx, http.MethodDelete, "/accounts/"+account.ID, "", nil, nil, http.StatusAccepted); err != nil {
		return err
	}
	if err := u.leave(ctx, "account", account.ID, "record_position", holds("0", 2)); err != nil {
		return err
	}
	l.done.Add(1)
	l.mu.Lock()
	l.closed = append(l.closed, account.ID)
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return nil
}

// await waits until so many accounts more went through.
func (l *load) await(t *testing.T, more int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for want := l.done.Load() + more; l.done.Load() < want; {
		select {
		case <-l.more:
			continue
		case <-l.failed:
		case <-ctx.Done():
		}
		t.Fatalf("the load stands still: %v", l.stop())
	}
}

// accounts of which everything was accepted so far.
func (l *load) accounts() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, l.closed...)
}

// backup makes a backup in a folder of the test.
func (s *serving) backup(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "backup")
	code, out, stderr := once(t, "", append([]string{"backup", "--to", folder}, s.at()...)...)
	require.Equal(t, exitDone, code, out+stderr)
	return folder
}

// messages are all of a stream. In a cluster the reader may lose its server on the way, and goes on with another.
func (s *serving) messages(t *testing.T, name string) (all []jetstream.Msg) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	from, err := js(t, s.connect(t)).Stream(ctx, name)
	require.NoError(t, err)
	consumer, err := from.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	require.NoError(t, err)
	messages, err := consumer.Messages()
	require.NoError(t, err)
	defer messages.Stop()
	for uint64(len(all)) < from.CachedInfo().State.Msgs {
		m, err := messages.Next(jetstream.NextContext(ctx))
		require.NoError(t, err)
		all = append(all, m)
	}
	return all
}
