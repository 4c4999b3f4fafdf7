package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/handlers"
	"closure/handlers/natsapi"
)

// said is what an error says.
type said struct {
	Type   string `json:"type"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

const typeUnavailable = "https://docs.upvest.co/errors/unavailable"

// outage is an engine on a cluster whose servers come and go, and those who ask it.
type outage struct {
	caller
	cluster *embedded.Cluster
	nc      *nats.Conn
	user    string // the owner of all groups
}

func newOutage(t *testing.T) *outage {
	t.Helper()
	cluster, err := embedded.StartCluster(3, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(cluster.Shutdown)
	s := serve(t, t.TempDir(), "--nats-url", cluster.ClientURL(), "--replicas", "3")
	nc := s.connect(t, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	return &outage{caller: s.caller(t, uuid.NewString()), cluster: cluster, nc: nc, user: uuid.NewString()}
}

// pair is a group with an account that holds something.
type pair struct{ group, account string }

func (o *outage) newPair() pair {
	o.t.Helper()
	p := pair{uuid.NewString(), uuid.NewString()}
	for _, c := range []command{
		o.command("account_group."+p.group+".open", `"type":"PERSONAL","users":[{"id":"`+o.user+`","type":"OWNER"}]`),
		o.openAccount(p.group, p.account),
		o.position(p.account, 1),
	} {
		require.Equal(o.t, handlers.Accepted, o.ask(c).Result)
	}
	return p
}

// command is a command over NATS, which may be sent again.
type command struct {
	tokens, id string
	body       []byte
}

func (o *outage) command(tokens, fields string) command {
	id := uuid.NewString()
	return command{tokens, id, []byte(`{"command_id":"` + id + `","client_id":"` + o.client + `","actor":"upstream",` + fields + `}`)}
}

func (o *outage) openAccount(group, id string) command {
	return o.command("account."+id+".open", `"account_group_id":"`+group+`","type":"TRADING","name":"bound"`)
}

func (o *outage) position(id string, revision int) command {
	return o.command("account."+id+".record_position", fmt.Sprintf(`"isin":"US0378331005","quantity":"%d","revision":%[1]d`, revision))
}

// ask sends a command for an answer at once, and again when none comes: when the connection of the engine or of this client is
// lost, so is what was on its way.
func (o *outage) ask(c command) natsapi.Answer {
	o.t.Helper()
	for deadline := time.Now().Add(within); ; {
		reply, err := o.nc.Request("closure.rpc."+c.tokens, c.body, 15*time.Second) // longer than a command may take
		if err != nil {
			require.True(o.t, time.Now().Before(deadline), "%s: %v", c.tokens, err)
			continue
		}
		var a natsapi.Answer
		require.NoError(o.t, json.Unmarshal(reply.Data, &a), string(reply.Data))
		return a
	}
}

// leave puts a command into the inbox.
func (o *outage) leave(ctx context.Context, c command) error {
	_, err := js(o.t, o.nc).Publish(ctx, "closure.command."+c.tokens, c.body)
	return err
}

// until repeats a request for as long as it is answered 503, as a client may, and gives the first other answer.
func (o *outage) until(method, path string) int {
	o.t.Helper()
	for {
		status, header, body := o.do(method, path, "", nil)
		if status != http.StatusServiceUnavailable {
			return status
		}
		o.checkUnavailable(header, body)
		require.NoError(o.t, o.t.Context().Err())
	}
}

func (o *outage) checkUnavailable(header http.Header, body []byte) {
	o.t.Helper()
	require.Equal(o.t, "application/problem+json", header.Get("content-type"))
	require.NotEmpty(o.t, header.Get("retry-after"))
	var p said
	require.NoError(o.t, json.Unmarshal(body, &p), string(body))
	require.Equal(o.t, said{typeUnavailable, http.StatusServiceUnavailable, p.Detail}, p)
	require.NotEmpty(o.t, p.Detail)
}

// TestUnavailableBeyondTheBound loses one server of three, and then a second one. With two servers all is done; with one,
// everything that needs the log is answered 503 after the bound, and nothing is answered with a success that it is not.
// When the servers are back the same is asked again, and is there once.
func TestUnavailableBeyondTheBound(t *testing.T) {
	t.Parallel()
	o := newOutage(t)
	var pairs []pair // each for something else: commands for one aggregate wait for each other
	for range 7 {
		pairs = append(pairs, o.newPair())
	}
	first, last := pairs[0].account, pairs[1].account

	o.cluster.Stop(o.leader(eventstore.StreamLog))
	require.Equal(t, http.StatusAccepted, o.until(http.MethodDelete, "/accounts/"+first))
	require.Equal(t, http.StatusOK, o.until(http.MethodGet, "/accounts/"+first))
	require.Equal(t, domain.StatusClosing, get[domain.AccountResource](o.caller, "/accounts/"+first).Status)

	sent := o.leaveMany(pairs[2].account)
	o.cluster.Stop(o.leader(eventstore.StreamLog))
	asked, left := o.openAccount(pairs[3].group, uuid.NewString()), o.position(pairs[3].account, 2)
	o.checkOutage(pairs, asked, left)

	for i := range 3 {
		_ = o.cluster.Restart(i) // an error: it is running
	}
	require.NoError(t, o.cluster.WaitReady(within))
	require.Equal(t, http.StatusAccepted, o.until(http.MethodDelete, "/accounts/"+last))
	require.Equal(t, http.StatusOK, o.until(http.MethodGet, "/readyz"))
	o.askUntilDone(asked)
	o.leaveUntilSafe(left)
	o.checkOnce(append(sent, asked, left), first, last)
}

// askUntilDone repeats a command for as long as it is unavailable.
func (o *outage) askUntilDone(c command) {
	o.t.Helper()
	for a := o.ask(c); a.Result == natsapi.Rejected; a = o.ask(c) {
		require.Equal(o.t, typeUnavailable, a.Error.Type)
		require.NoError(o.t, o.t.Context().Err())
	}
}

func (o *outage) leaveUntilSafe(c command) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), within)
	defer cancel()
	for o.leave(ctx, c) != nil {
		require.NoError(o.t, ctx.Err())
	}
}

// leader is the number of the server that leads a stream, once there is one.
func (o *outage) leader(stream string) int {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), within)
	defer cancel()
	for {
		leader, err := o.leaderOf(ctx, stream)
		for i := range 3 {
			if err == nil && leader == o.cluster.MemberName(i) {
				return i
			}
		}
		require.NoError(o.t, ctx.Err(), "%s has no leader: %v", stream, err)
	}
}

// leaveMany leaves facts in the inbox that are safe there, whether they are worked off by now or not.
func (o *outage) leaveMany(account string) []command {
	o.t.Helper()
	var all []command
	for n := range 60 {
		all = append(all, o.position(account, n+2))
		o.leaveUntilSafe(all[n])
	}
	return all
}

// asking is a request, and the status that it has to be answered with.
type asking struct {
	method, path string
	body         map[string]any
	want         int
}

// checkOutage asks while there is no majority: first for changes, when the server that is left may not yet know and take
// them on, and then for reads, when it knows that it may be behind. Lists come from the engine's own file.
func (o *outage) checkOutage(pairs []pair, ask, leave command) {
	o.t.Helper()
	const gone, there = http.StatusServiceUnavailable, http.StatusOK
	var nats sync.WaitGroup
	nats.Go(func() {
		if a := o.ask(ask); a.Result != natsapi.Rejected || a.Error == nil || a.Error.Type != typeUnavailable || a.Error.Status != gone {
			o.t.Errorf("over NATS: got %+v, %+v", a, a.Error)
		}
	})
	nats.Go(func() {
		ctx, cancel := context.WithTimeout(o.t.Context(), 3*time.Second)
		defer cancel()
		if o.leave(ctx, leave) == nil {
			o.t.Error("the inbox says that a command is safe")
		}
	})
	o.check([]asking{
		{"DELETE", "/accounts/" + pairs[1].account, nil, gone},
		{"DELETE", "/account_groups/" + pairs[4].group, nil, gone},
		{"PATCH", "/accounts/" + pairs[4].account, map[string]any{"name": "out"}, gone},
		{"POST", "/accounts", map[string]any{"account_group_id": pairs[5].group, "type": "TRADING", "name": "out"}, gone},
		{"POST", "/account_groups", map[string]any{"user_id": uuid.NewString(), "type": "PERSONAL"}, gone},
		{"POST", "/orders", map[string]any{
			"account_id": pairs[6].account, "user_id": o.user, "side": "BUY", "instrument_id": "US0378331005",
			"instrument_id_type": "ISIN", "order_type": "MARKET", "quantity": "1",
		}, gone},
	})
	nats.Wait()
	o.awaitNoLeader(eventstore.StreamLog)
	o.check([]asking{
		{"GET", "/accounts/" + pairs[4].account, nil, gone},
		{"GET", "/accounts/" + pairs[4].account + "/closure", nil, gone},
		{"GET", "/orders/" + uuid.NewString(), nil, gone},
		{"GET", "/accounts/" + pairs[4].account + "/history", nil, gone},
		{"GET", "/account_groups/" + pairs[4].group, nil, gone},
		{"GET", "/users/" + o.user, nil, gone},
		{"DELETE", "/accounts/" + pairs[1].account, nil, gone},
		{"GET", "/accounts", nil, there},
		{"GET", "/healthz", nil, there},
		{"GET", "/readyz", nil, gone},
	})
	o.checkNotReady("not ready: the event log does not answer, or has no leader")
}

// checkNotReady looks at what the probe, the metrics and the status say of an engine that cannot serve.
func (o *outage) checkNotReady(detail string) {
	o.t.Helper()
	status, _, body := o.do(http.MethodGet, "/readyz", "", nil)
	require.Equal(o.t, http.StatusServiceUnavailable, status)
	var p said
	require.NoError(o.t, json.Unmarshal(body, &p), string(body))
	require.Equal(o.t, detail, p.Detail)
	families, _ := scrape(o.t, o.base)
	require.Zero(o.t, value(o.t, families, "closure_ready"))
	require.Nil(o.t, families["closure_log_last_sequence"], "nobody knows, so nothing is said")
	require.NotNil(o.t, families["closure_closings"], "the lists are there")
	code, out, stderr := once(o.t, "", "status", "--nats-url", o.cluster.ClientURL(), "--json")
	require.Equal(o.t, exitFailed, code, stderr)
	var s systemStatus
	require.NoError(o.t, json.Unmarshal([]byte(out), &s), out)
	require.False(o.t, s.Healthy)
	require.Contains(o.t, stderr, "is not ready: the event log does not answer, or has no leader")
}

// check makes all requests at once.
func (o *outage) check(all []asking) {
	o.t.Helper()
	var asked sync.WaitGroup
	for _, c := range all {
		asked.Go(func() {
			status, header, body := o.do(c.method, c.path, "", orNil(c.body))
			if status != c.want {
				o.t.Errorf("%s %s: got %d, want %d: %s", c.method, c.path, status, c.want, body)
			} else if status == http.StatusServiceUnavailable {
				o.checkUnavailable(header, body)
			}
		})
	}
	asked.Wait()
}

// awaitNoLeader waits until a stream has no leader: a server that is left alone gives up after a while. It answers even then,
// and says that there is none.
func (o *outage) awaitNoLeader(stream string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), within)
	defer cancel()
	for {
		leader, err := o.leaderOf(ctx, stream)
		if err == nil && leader == "" {
			return
		}
		require.NoError(o.t, ctx.Err(), "%s has a leader", stream)
	}
}

// leaderOf is the name of the server that leads a stream. Nobody may answer that, ever, while it changes.
func (o *outage) leaderOf(ctx context.Context, stream string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	info, err := js(o.t, o.nc).Stream(ctx, stream)
	if err != nil {
		return "", err
	}
	return info.CachedInfo().Cluster.Leader, nil
}

// orNil has no body where there is none.
func orNil(body map[string]any) any {
	if body == nil {
		return nil
	}
	return body
}

// checkOnce waits until all commands are in the log, and looks for any that is there twice, and for the closings.
func (o *outage) checkOnce(sent []command, closing ...string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), within)
	defer cancel()
	log, err := eventstore.Open(ctx, o.nc, eventstore.Config{Replicas: 3})
	require.NoError(o.t, err)
	missing, times, closings := map[string]bool{}, map[string]int{}, map[string]int{}
	for _, c := range sent {
		missing[c.id] = true
	}
	next := uint64(1)
	read := func() {
		commits, err := log.Read(ctx, next, 1000)
		require.NoError(o.t, ctx.Err(), "%d of %d commands are not in the log: %v", len(missing), len(sent), err)
		for _, c := range commits {
			delete(missing, c.CommandID)
			times[c.CommandID]++
			for _, e := range c.Events {
				if e.Type == domain.EventAccountClosingInitiated {
					closings[c.AggregateID]++
				}
			}
			next = c.Sequence + 1
		}
	}
	for len(missing) > 0 {
		read()
	}
	end, err := log.LastSequence(ctx)
	require.NoError(o.t, err)
	for next <= end { // a second one may stand behind
		read()
	}
	for _, c := range sent {
		require.Equal(o.t, 1, times[c.id], c.tokens)
	}
	for _, id := range closing {
		require.Equal(o.t, 1, closings[id], "closings of %s", id)
	}
	require.Len(o.t, closings, len(closing))
}
