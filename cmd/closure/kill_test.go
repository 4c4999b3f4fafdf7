package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"closure/domain"
	"closure/eventstore"
	"closure/projections/reports"
)

// The numbers of TestKill: 50 groups with 3 accounts each are 200 closings.
const (
	killGroups      = 50
	killAccounts    = 3
	killTimes       = 10
	killDrivers     = 8
	callsOfOneGroup = 2 + killAccounts*4 + 3 // what closeGroup counts
)

// TestKill kills the program ten times at random moments of a run with 200 closings, and starts it again on the same folder:
// every closing that was accepted ends CLOSED, every subscriber has each event in the order of its aggregate, and each
// group has exactly one report an owner.
func TestKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("CLOSURE_TEST_SEED"); s != "" {
		_, err := fmt.Sscan(s, &seed)
		require.NoError(t, err)
	}
	t.Logf("seed %d (CLOSURE_TEST_SEED repeats it)", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	v := &victim{t: t, data: t.TempDir(), client: uuid.NewString()}
	v.start()
	t.Cleanup(v.kill)
	c := v.login()
	hooks := []*endpoint{newEndpoint(t), newEndpoint(t)}
	for _, hook := range hooks {
		call2[domain.Webhook](c, http.MethodPost, "/webhooks", map[string]any{"title": "kill", "url": hook.URL, "type": []string{"ALL"}}, http.StatusCreated)
	}
	// A kill falls between two calls of the drivers, or into one: they do not wait for it.
	v.killAt = moments(random)

	groups := make([]closing, killGroups)
	work, ctx := errgroup.WithContext(t.Context())
	work.SetLimit(killDrivers)
	for i := range groups {
		groups[i] = newClosing()
		work.Go(func() error { return v.closeGroup(ctx, groups[i]) })
	}
	require.NoError(t, work.Wait())
	require.Equal(t, killTimes, int(v.kills.Load()), "the kills fell into the run")

	for _, hook := range hooks {
		hook.await(t, "the reports of all groups", func(got []delivery) bool { return count(got, "REPORT.CREATED") >= killGroups })
	}
	checkAfterKills(t, v, groups, hooks)
	code, out, stderr := once(t, "", append([]string{"verify"}, v.now().at()...)...)
	require.Equal(t, exitDone, code, out+stderr)
	v.stop()
}

// moments are the numbers of the calls at which the program is killed.
func moments(random *rand.Rand) map[int64]bool {
	at := map[int64]bool{}
	for len(at) < killTimes {
		at[1+random.Int64N(killGroups*callsOfOneGroup-1)] = true
	}
	return at
}

// count counts the distinct resources for which an event of the type came.
func count(got []delivery, eventType string) int {
	seen := map[string]bool{}
	for _, d := range got {
		if d.Type == eventType {
			seen[d.resource()] = true
		}
	}
	return len(seen)
}

// closing is one group that is opened, filled, emptied and closed.
type closing struct {
	group, user string
	accounts    []string
}

func newClosing() closing {
	c := closing{group: uuid.NewString(), user: uuid.NewString()}
	for range killAccounts {
		c.accounts = append(c.accounts, uuid.NewString())
	}
	return c
}

// victim is the program in a process of its own, that can be killed and started again.
type victim struct {
	t      *testing.T
	data   string
	client string
	token  string
	flags  []string // beside the addresses and the data folder

	calls, kills atomic.Int64
	killAt       map[int64]bool

	killing sync.Mutex   // one kill at a time
	mu      sync.RWMutex // held for writing while the program is down
	process *exec.Cmd
	at      addresses
	conn    *nats.Conn
	logs    buffer
}

// login makes the client, and gets it a token, which is good over all restarts.
func (v *victim) login() caller {
	c := v.now().caller(v.t, v.client)
	v.token = c.token
	return c
}

func (v *victim) caller() caller { return caller{v.t, v.now().HTTP, v.client, v.token} }

// start starts the program and waits until it is ready. The lock is held, or nobody else is there yet.
func (v *victim) start() {
	self, err := os.Executable()
	require.NoError(v.t, err)
	args := []string{"serve", "--http-addr", "127.0.0.1:0", "--nats-addr", "127.0.0.1:0", "--data", v.data, "--json", "--allow-insecure-webhooks", "--log-level", "warn"}
	v.process = exec.Command(self, append(args, v.flags...)...)
	v.process.Env = append(os.Environ(), programEnv+"=1")
	v.process.Stderr = &v.logs
	out, err := v.process.StdoutPipe()
	require.NoError(v.t, err)
	require.NoError(v.t, v.process.Start())
	line, err := bufio.NewReader(out).ReadBytes('\n')
	require.NoError(v.t, err, "the program did not start again:\n%s", &v.logs)
	require.NoError(v.t, json.Unmarshal(line, &v.at))
	options, err := natsAuth{}.orEngine(v.data).options()
	require.NoError(v.t, err)
	v.conn, err = nats.Connect(v.at.NATS, append(options, nats.MaxReconnects(0))...)
	require.NoError(v.t, err)
}

// kill is SIGKILL: nothing is finished, nothing is flushed.
func (v *victim) kill() {
	if v.process == nil {
		return
	}
	_ = v.process.Process.Kill()
	_ = v.process.Wait()
	v.conn.Close()
	v.process = nil
}

// stop is SIGTERM, which must end well.
func (v *victim) stop() {
	v.conn.Close()
	require.NoError(v.t, v.process.Process.Signal(os.Interrupt))
	require.NoError(v.t, v.process.Wait(), &v.logs)
	v.process = nil
}

func (v *victim) now() addresses {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.at
}

// call counts one call, and kills the program when its moment has come, while the other drivers are in the middle of theirs.
func (v *victim) call() {
	if !v.killAt[v.calls.Add(1)] {
		return
	}
	v.killing.Lock()
	defer v.killing.Unlock()
	_ = v.process.Process.Kill()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.kill()
	v.kills.Add(1)
	v.start()
}

// closeGroup does what upstream services and a client do, and repeats each call until it is answered.
func (v *victim) closeGroup(ctx context.Context, c closing) error {
	if err := v.rpc(ctx, "account_group", c.group, "open", `"type":"PERSONAL","users":[{"id":"`+c.user+`","type":"OWNER"}]`); err != nil {
		return err
	}
	if err := v.leave(ctx, "account_group", c.group, "record_cash_balance", `"currency":"EUR","balance":"5.00","revision":1`); err != nil {
		return err
	}
	for _, id := range c.accounts {
		err := errors.Join(
			v.rpc(ctx, "account", id, "open", `"account_group_id":"`+c.group+`","type":"TRADING","name":"kill"`),
			v.leave(ctx, "account", id, "record_position", `"isin":"US0378331005","quantity":"7","revision":1`),
			v.remove(ctx, "/accounts/"+id),
			v.leave(ctx, "account", id, "record_position", `"isin":"US0378331005","quantity":"0","revision":2`))
		if err != nil {
			return err
		}
	}
	return errors.Join(
		v.remove(ctx, "/account_groups/"+c.group),
		v.leave(ctx, "account_group", c.group, "record_fee_collection", `"fee_collection_id":"`+c.group+`","status":"FINALISED","amount":"1","currency":"EUR","revision":1`),
		v.leave(ctx, "account_group", c.group, "record_cash_balance", `"currency":"EUR","balance":"0","revision":2`))
}

// until repeats a call that the kill may cut off; each try sees the program as it runs then.
func (v *victim) until(ctx context.Context, what string, try func(addresses, *nats.Conn) error) error {
	v.call()
	var err error
	for range 100 {
		v.mu.RLock()
		err = try(v.at, v.conn)
		v.mu.RUnlock()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (v *victim) envelope(fields string) []byte {
	return []byte(`{"command_id":"` + uuid.NewString() + `","client_id":"` + v.client + `","actor":"upstream",` + fields + `}`)
}

func (v *victim) rpc(ctx context.Context, kind, id, command, fields string) error {
	body := v.envelope(fields)
	return v.until(ctx, command, func(_ addresses, nc *nats.Conn) error {
		reply, err := nc.Request("closure.rpc."+kind+"."+id+"."+command, body, 5*time.Second)
		if err != nil {
			return err
		}
		if !strings.Contains(string(reply.Data), `"result":"accepted"`) && !strings.Contains(string(reply.Data), `"result":"unchanged"`) {
			return fmt.Errorf("got %s", reply.Data)
		}
		return nil
	})
}

// leave puts a fact into the durable inbox.
func (v *victim) leave(ctx context.Context, kind, id, command, fields string) error {
	body := v.envelope(fields)
	return v.until(ctx, command, func(_ addresses, nc *nats.Conn) error {
		js, err := jetstream.New(nc)
		if err != nil {
			return err
		}
		_, err = js.Publish(ctx, "closure.command."+kind+"."+id+"."+command, body)
		return err
	})
}

func (v *victim) remove(ctx context.Context, path string) error {
	return v.until(ctx, path, func(at addresses, _ *nats.Conn) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodDelete, at.HTTP+path, nil)
		if err != nil {
			return err
		}
		caller{v.t, at.HTTP, v.client, v.token}.identify(req)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		// A repeated request may meet what it did itself: an account without positions closes at once.
		if res.StatusCode != http.StatusAccepted && res.StatusCode != http.StatusConflict {
			return fmt.Errorf("got %s", res.Status)
		}
		return nil
	})
}

func checkAfterKills(t *testing.T, v *victim, groups []closing, hooks []*endpoint) {
	t.Helper()
	c := v.caller()
	for _, g := range groups {
		require.Equal(t, domain.StatusClosed, get[domain.AccountGroupResource](c, "/account_groups/"+g.group).Status)
		for _, id := range g.accounts {
			require.Equal(t, domain.StatusClosed, get[domain.AccountResource](c, "/accounts/"+id).Status)
		}
	}
	events := published(t, v.conn)
	for _, hook := range hooks {
		got := hook.await(t, "every event", func(got []delivery) bool { return len(firsts(got)) >= events.public })
		byResource := map[string][]string{}
		for _, d := range firsts(got) {
			byResource[d.resource()] = append(byResource[d.resource()], d.ID)
		}
		require.Equal(t, events.byResource, byResource, "each subscriber has each event, in the order of its aggregate")
	}
	checkPublishedOnce(t, v.conn, events.ids)
	bucket, err := js(t, v.conn).ObjectStore(t.Context(), reports.Bucket)
	require.NoError(t, err)
	files, err := bucket.List(t.Context())
	require.NoError(t, err)
	require.Len(t, files, killGroups, "one file an owner")
	for _, g := range groups {
		require.Eventually(t, func() bool {
			return get[list[domain.ReportResource]](c, "/users/"+g.user+"/reports").Meta.TotalCount == 1
		}, within, 10*time.Millisecond)
	}
}

// firsts are the first deliveries of each event: deliveries come at least once.
func firsts(got []delivery) []delivery {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(got), func(d delivery) bool {
		again := seen[d.ID]
		seen[d.ID] = true
		return again
	})
}

// stream is what CLOSURE_EVENTS holds: all ids, and those of the public families by resource.
type stream struct {
	ids        []string
	public     int
	byResource map[string][]string
}

func published(t *testing.T, nc *nats.Conn) stream {
	t.Helper()
	s := stream{byResource: map[string][]string{}}
	for _, m := range wholeStream(t, nc, eventstore.StreamEvents) {
		id, resource := m.Headers().Get("ce-id"), m.Headers().Get("ce-subject")
		s.ids = append(s.ids, id)
		if family, _, _ := strings.Cut(m.Headers().Get("ce-type"), "."); !slices.Contains(domain.PublicFamilies(), domain.WebhookFamily(family)) {
			continue // operators' events: a subscription to ALL does not get them
		}
		s.public++
		s.byResource[resource] = append(s.byResource[resource], id)
	}
	return s
}

// checkPublishedOnce compares what was published with what the log says must be.
func checkPublishedOnce(t *testing.T, nc *nats.Conn, ids []string) {
	t.Helper()
	want := 0
	for _, m := range wholeStream(t, nc, eventstore.StreamLog) {
		commit, err := eventstore.DecodeCommit(m.Data())
		require.NoError(t, err)
		for _, e := range commit.Events {
			event, err := domain.DecodeEvent(e.Type, e.Version, e.Data)
			require.NoError(t, err)
			if _, ok := domain.PublishedType(domain.Kind(commit.Aggregate), event); ok {
				want++
			}
		}
	}
	require.Len(t, ids, want, "each event of the log is published once")
	slices.Sort(ids)
	require.Len(t, slices.Compact(ids), want, "no id is there twice")
}

func wholeStream(t *testing.T, nc *nats.Conn, name string) []jetstream.Msg {
	t.Helper()
	info, err := js(t, nc).Stream(t.Context(), name)
	require.NoError(t, err)
	consumer, err := js(t, nc).OrderedConsumer(t.Context(), name, jetstream.OrderedConsumerConfig{})
	require.NoError(t, err)
	var all []jetstream.Msg
	for uint64(len(all)) < info.CachedInfo().State.Msgs {
		m, err := consumer.Next(jetstream.FetchMaxWait(10 * time.Second))
		require.NoError(t, err)
		all = append(all, m)
	}
	return all
}

func js(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return js
}
