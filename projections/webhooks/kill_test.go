package webhooks_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/projections/webhooks"
	"closure/projections/webhooks/signing"
)

// In the environment these make the test program the engine that is killed: the folder of its server, and where that listens.
const (
	victimDir  = "CLOSURE_TEST_VICTIM_DIR"
	victimAddr = "CLOSURE_TEST_VICTIM_ADDR"
)

// beVictim is a process as `closure serve` is one, as far as webhooks go: a server that syncs, keys, and deliveries. It says where
// it serves, begins to deliver when it is told to, and ends when it is killed, or nobody is left to do that.
func beVictim() int {
	if err := deliverUntilKilled(); err != nil {
		fmt.Println("failed:", err)
	}
	return 3
}

func deliverUntilKilled() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server, err := embedded.Start(embedded.Config{Dir: os.Getenv(victimDir), Addr: os.Getenv(victimAddr)})
	if err != nil {
		return err
	}
	fmt.Println("serving", server.Addr(), server.ClientURL())
	told := bufio.NewScanner(os.Stdin)
	if !told.Scan() {
		return errors.New("nobody has told it to deliver")
	}
	conn, err := nats.Connect(server.ClientURL())
	if err != nil {
		return err
	}
	log, err := eventstore.Open(ctx, conn, eventstore.Config{})
	if err != nil {
		return err
	}
	keys := signing.New(signing.Config{Log: log})
	s := newLocal(webhooks.Config{
		Log: log, Signer: keys, RequestTimeout: time.Second, Backoff: func(int) time.Duration { return 500 * time.Millisecond },
	})
	if err := errors.Join(keys.Start(ctx), s.Start(ctx)); err != nil {
		return err
	}
	fmt.Println("delivering")
	for told.Scan() {
	}
	return nil
}

// victim is the engine in a process of its own.
type victim struct {
	t    testing.TB
	dir  string
	addr string // of its server: the same after each start
	url  string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
}

func newVictim(t testing.TB) *victim {
	v := &victim{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	v.start()
	t.Cleanup(func() {
		if v.cmd != nil {
			v.kill()
		}
	})
	return v
}

// start returns when the server answers; nothing is delivered yet.
func (v *victim) start() {
	v.t.Helper()
	v.cmd = exec.Command(os.Args[0])
	v.cmd.Env = append(os.Environ(), victimDir+"="+v.dir, victimAddr+"="+v.addr)
	v.cmd.Stderr = os.Stderr
	var err error
	v.in, err = v.cmd.StdinPipe() // closed when this process ends
	require.NoError(v.t, err)
	out, err := v.cmd.StdoutPipe()
	require.NoError(v.t, err)
	v.out = bufio.NewScanner(out)
	require.NoError(v.t, v.cmd.Start())
	said := strings.Fields(v.says("serving "))
	v.addr, v.url = said[1], said[2]
}

// deliver returns when the subscriptions are known.
func (v *victim) deliver() {
	v.t.Helper()
	_, err := fmt.Fprintln(v.in, "deliver")
	require.NoError(v.t, err)
	v.says("delivering")
}

func (v *victim) says(what string) string {
	v.t.Helper()
	require.True(v.t, v.out.Scan(), "it has ended: %v", v.out.Err())
	require.True(v.t, strings.HasPrefix(v.out.Text(), what), v.out.Text())
	return v.out.Text()
}

// kill is SIGKILL: nothing is acknowledged, written down, or handed back.
func (v *victim) kill() {
	v.t.Helper()
	require.NoError(v.t, v.cmd.Process.Kill())
	var exit *exec.ExitError
	require.ErrorAs(v.t, v.cmd.Wait(), &exit)
	require.Equal(v.t, "signal: killed", exit.String(), "it ended by itself")
	v.cmd = nil
}

// verifyAll has every endpoint verify every request that comes, as one does that knows its secret and the engine's keys.
func (c *crowd) verifyAll(keys *signing.Keys) {
	c.t.Helper()
	set, err := keys.JWKSet()
	require.NoError(c.t, err)
	var jwks struct{ Keys []struct{ X string } }
	require.NoError(c.t, json.Unmarshal(set, &jwks))
	require.Len(c.t, jwks.Keys, 1)
	public, err := base64.RawURLEncoding.DecodeString(jwks.Keys[0].X)
	require.NoError(c.t, err)
	for i, to := range c.to {
		id, secret := c.hooks[i].ID, c.secrets[i]
		to.check = func(q request) error {
			if q.webhook != id {
				return fmt.Errorf("it is for the webhook %s", q.webhook)
			}
			return errors.Join(verifies(secret, q), verifiesKey(public, q.header, q.body))
		}
	}
}

// verifiesKey checks v1a, which the library of Standard Webhooks for Go passes over: Ed25519 of what v1 is the HMAC of.
func verifiesKey(public ed25519.PublicKey, header http.Header, body []byte) error {
	content := header.Get("webhook-id") + "." + header.Get("webhook-timestamp") + "." + string(body)
	for one := range strings.FieldsSeq(header.Get("webhook-signature")) {
		encoded, ok := strings.CutPrefix(one, "v1a,")
		if !ok {
			continue
		}
		signature, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return err
		}
		if !ed25519.Verify(public, []byte(content), signature) {
			return errors.New("the v1a signature is wrong")
		}
		return nil
	}
	return errors.New("there is no v1a signature")
}

// checkAttempts: what an endpoint was seen to answer has come to it, and what was acknowledged has its attempt. Only what a kill
// has cut off may have come without one, and that came again.
func (c *crowd) checkAttempts(s *webhooks.Service, i, kills int) {
	c.t.Helper()
	came := map[string]int{}
	for _, q := range c.to[i].requests() {
		came[fmt.Sprint(q.messageID, q.size, q.ids)]++
	}
	requests := len(c.to[i].requests())
	kept, settled := 0, map[string]bool{}
	for offset := 0; ; offset += domain.MaxLimit {
		all, total := c.attempts(s, c.hooks[i].ID, webhooks.AttemptFilter{}, domain.Page{Offset: offset, Limit: domain.MaxLimit})
		for _, a := range all {
			var ids []string
			for _, e := range a.Events {
				ids = append(ids, e.ID)
				settled[e.ID] = settled[e.ID] || a.Outcome == webhooks.AttemptSucceeded
			}
			if a.Status == 0 {
				continue // nothing was answered: it may not have come either
			}
			kept++
			key := fmt.Sprint(a.MessageID, a.Bytes, ids)
			came[key]--
			require.GreaterOrEqual(c.t, came[key], 0, "an attempt that the endpoint has not seen: %+v", a)
			require.Equal(c.t, a.Outcome == webhooks.AttemptSucceeded, a.Status/100 == 2)
		}
		if offset+len(all) >= total {
			break
		}
	}
	for _, id := range firstOf(events(c.to[i].requests())) {
		require.True(c.t, settled[id], "an event was acknowledged without an attempt that succeeded")
	}
	if !c.bad(i) {
		require.LessOrEqual(c.t, requests-kept, kills*(webhooks.Unsettled+webhooks.Parallel), "requests without an attempt")
	}
}

// trial says how much is delivered to whom.
type trial struct {
	endpoints, events, kills int
}

// run: of a hundred endpoints ten fail, five hang and one is slow; the engine is killed on the way. The others get everything
// while that is so; and when the bad ones are well again, nothing was lost for them either. Every request verifies.
func (size trial) run(t *testing.T) {
	v := newVictim(t)
	r := newRigOn(t, v.url, 1)
	setUp := r.start(webhooks.Config{})
	c := newCrowd(r, setUp, size.endpoints, true)
	c.verifyAll(r.keys())
	for _, to := range c.to {
		to.slim = true
	}
	r.stop(setUp) // the victim is the only one that delivers
	v.deliver()
	began := time.Now()
	var all []string
	of := map[string][]string{}
	round := size.events / (size.kills + 1)
	for kill := range size.kills + 1 {
		more, moreOf := r.publishFast(round, 50, 0)
		all = append(all, more...)
		for resource, ids := range moreOf {
			of[resource] = append(of[resource], ids...)
		}
		c.to[size.endpoints-1].awaitEvents(len(all) - round/2)
		t.Logf("round %d after %s", kill, time.Since(began).Round(time.Millisecond))
		if kill < size.kills {
			v.kill()
			v.start()
			v.deliver()
		}
	}
	c.awaitAll(all, of, false)
	t.Logf("the healthy ones have all after %s", time.Since(began).Round(time.Millisecond))
	close(c.heal)
	c.awaitAll(all, of, true)
	t.Logf("the others after %s", time.Since(began).Round(time.Millisecond))
	watch := r.start(webhooks.Config{}) // it asks, and the victim delivers
	eventually(t, "settlement of all", func() bool {
		stats, err := watch.Stats(testContext(t))
		require.NoError(t, err)
		return stats.Waiting == 0 && stats.Failing == 0
	})
	requests := 0
	for i, to := range c.to {
		c.checkAttempts(watch, i, size.kills)
		requests += len(to.requests())
	}
	t.Logf("%d requests, each verified, with %d events for each of %d endpoints", requests, len(all), size.endpoints)
}

// awaitAll: the endpoints of a kind have every event, in order.
func (c *crowd) awaitAll(all []string, of map[string][]string, bad bool) {
	c.t.Helper()
	for i, to := range c.to {
		if c.bad(i) != bad {
			continue
		}
		to.awaitUntil("all events", func(_, n int) bool { return n >= len(all) && len(firstOf(c.idsOf(i))) == len(all) })
		checkAll(c.t, c.idsOf(i), all, of)
		if c.hooks[i].Config.Order == domain.WebhookStrict {
			require.Equal(c.t, all, firstOf(c.idsOf(i)))
		}
	}
}

func TestBadEndpointsDelayNobodyElse(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		trial{endpoints: 32, events: 400, kills: 3}.run(t)
		return
	}
	trial{endpoints: 100, events: 2000, kills: 3}.run(t)
}
