package access_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/access"
	"closure/eventstore/embedded"
)

// house is a server with the roles, its streams, and one message in each.
type house struct {
	t     *testing.T
	url   string
	seeds map[string]string // files by role
	keys  map[string]string // public keys by role
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, seeds: map[string]string{}, keys: map[string]string{}}
	dir := t.TempDir()
	var users []embedded.User
	for _, role := range access.Roles() {
		pair, err := nkeys.CreateUser()
		require.NoError(t, err)
		seed, err := pair.Seed()
		require.NoError(t, err)
		h.seeds[role.Name] = filepath.Join(dir, role.Name+".nk")
		require.NoError(t, os.WriteFile(h.seeds[role.Name], seed, 0o600))
		h.keys[role.Name], err = pair.PublicKey()
		require.NoError(t, err)
		users = append(users, embedded.User{PublicKey: h.keys[role.Name], Publish: role.Publish, Subscribe: role.Subscribe})
	}
	s, err := embedded.Start(embedded.Config{Dir: filepath.Join(dir, "nats"), Users: users})
	require.NoError(t, err)
	t.Cleanup(s.Shutdown)
	h.url = s.ClientURL()
	return h
}

// as connects as a role. denied gets what the server does not let it do.
func (h *house) as(role string) (nc *nats.Conn, denied chan error) {
	h.t.Helper()
	option, err := nats.NkeyOptionFromSeed(h.seeds[role])
	require.NoError(h.t, err)
	denied = make(chan error, 100)
	nc, err = nats.Connect(h.url, option, nats.CustomInboxPrefix(access.Inbox(role)),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	require.NoError(h.t, err)
	h.t.Cleanup(nc.Close)
	return nc, denied
}

// fill makes the streams as the engine does, and puts a message into each.
func (h *house) fill(ctx context.Context) jetstream.JetStream {
	h.t.Helper()
	nc, _ := h.as(access.Engine)
	log, err := eventstore.Open(ctx, nc, eventstore.Config{})
	require.NoError(h.t, err)
	js := log.JetStream()
	for _, cfg := range []jetstream.StreamConfig{
		{Name: eventstore.StreamCommands, Subjects: []string{eventstore.CommandSubjects}, Retention: jetstream.WorkQueuePolicy},
		{Name: eventstore.StreamEvents, Subjects: []string{eventstore.EventSubjects}, AllowDirect: true},
	} {
		_, err := js.CreateStream(ctx, cfg)
		require.NoError(h.t, err)
	}
	_, err = js.Publish(ctx, eventstore.EventSubject("c", "ACCOUNT.CLOSED", "a"), []byte("{}"))
	require.NoError(h.t, err)
	_, err = js.Publish(ctx, eventstore.LogSubject("account", "a"), []byte("{}"))
	require.NoError(h.t, err)
	_, err = nc.Subscribe(eventstore.RPCSubjects, func(m *nats.Msg) { _ = m.Respond([]byte("answer")) })
	require.NoError(h.t, err)
	require.NoError(h.t, nc.Flush())
	return js
}

// Every role may do what it is for, and nothing else.
func TestRoles(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h := newHouse(t)
	engine := h.fill(ctx)

	ask := func(subject, body string) func(*nats.Conn) error {
		return func(nc *nats.Conn) error {
			_, err := nc.RequestWithContext(ctx, subject, []byte(body))
			return err
		}
	}
	read := func(stream string) func(*nats.Conn) error { return ask("$JS.API.DIRECT.GET."+stream, `{"seq":1}`) }
	subscribe := func(subject string) func(*nats.Conn) error {
		return func(nc *nats.Conn) error {
			_, err := nc.SubscribeSync(subject)
			return err
		}
	}
	consume := func(stream string) func(*nats.Conn) error {
		return func(nc *nats.Conn) error {
			js, err := jetstream.New(nc)
			require.NoError(t, err)
			c, err := js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{Durable: uuid.NewString(), AckPolicy: jetstream.AckExplicitPolicy})
			if err != nil {
				return err
			}
			msg, err := c.Next()
			if err != nil {
				return err
			}
			return msg.DoubleAck(ctx)
		}
	}
	everything := []string{access.Engine, access.Upstream, access.Downstream, access.Audit}
	for name, c := range map[string]struct {
		do  func(*nats.Conn) error
		may []string
	}{
		"send a command":         {ask("closure.rpc.account.a.lock", "{}"), []string{access.Engine, access.Upstream}},
		"leave a command":        {ask("closure.command.account.a.lock", "{}"), []string{access.Engine, access.Upstream}},
		"write the log":          {ask("closure.log.account.a", "{}"), []string{access.Engine}},
		"write an event":         {ask("closure.event.c.account.closed.b", "{}"), []string{access.Engine}},
		"read the log":           {read(eventstore.StreamLog), []string{access.Engine, access.Audit}},
		"read the events":        {read(eventstore.StreamEvents), []string{access.Engine, access.Downstream, access.Audit}},
		"read the last event":    {ask("$JS.API.DIRECT.GET."+eventstore.StreamEvents+".closure.event.c.account.closed.a", ""), everything},
		"look at the log":        {ask("$JS.API.STREAM.INFO."+eventstore.StreamLog, ""), []string{access.Engine, access.Audit}},
		"consume the events":     {consume(eventstore.StreamEvents), []string{access.Engine, access.Downstream}},
		"consume the log":        {consume(eventstore.StreamLog), []string{access.Engine}},
		"delete a stream":        {ask("$JS.API.STREAM.DELETE.NOSUCH", ""), []string{access.Engine}},
		"purge the log":          {ask("$JS.API.STREAM.PURGE."+eventstore.StreamLog, `{"filter":"closure.log.nobody"}`), []string{access.Engine}},
		"change the log":         {ask("$JS.API.STREAM.UPDATE."+eventstore.StreamLog, `{}`), []string{access.Engine}},
		"delete a message":       {ask("$JS.API.STREAM.MSG.DELETE."+eventstore.StreamLog, `{"seq":99}`), []string{access.Engine}},
		"make a stream":          {ask("$JS.API.STREAM.CREATE.OTHER", `{"name":"OTHER","subjects":["other"],"sources":[{"name":"CLOSURE_LOG"}]}`), []string{access.Engine}},
		"delete a consumer":      {ask("$JS.API.CONSUMER.DELETE."+eventstore.StreamEvents+".nosuch", ""), []string{access.Engine}},
		"read a bucket":          {ask("$JS.API.STREAM.MSG.GET.KV_CLOSURE_KEYS", `{"seq":1}`), []string{access.Engine}},
		"see all that goes by":   {subscribe(">"), []string{access.Engine}},
		"see what others get":    {subscribe("_INBOX.>"), []string{access.Engine}},
		"see others' answers":    {subscribe(access.Inbox(access.Engine) + ".>"), []string{access.Engine}},
		"see events as they are": {subscribe(eventstore.EventSubjects), []string{access.Engine}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, role := range everything {
				nc, denied := h.as(role)
				done := make(chan error, 1)
				go func() { done <- c.do(nc) }()
				allowed := strings.Contains(strings.Join(c.may, " "), role)
				select {
				case err := <-denied:
					require.ErrorIs(t, err, nats.ErrPermissionViolation)
					require.False(t, allowed, "%s may not: %v", role, err)
				case err := <-done:
					require.NoError(t, err, role)
					// A subscription is denied without an answer; what was said of it stands before the answer to the flush.
					require.NoError(t, nc.Flush())
					require.Equal(t, allowed, !errors.Is(nc.LastError(), nats.ErrPermissionViolation), "%s: %v", role, nc.LastError())
				}
				nc.Close()
			}
		})
	}
	info, err := engine.Stream(ctx, eventstore.StreamLog)
	require.NoError(t, err)
	require.EqualValues(t, 2, info.CachedInfo().State.LastSeq, "only the engine wrote the log")

	_, err = nats.Connect(h.url)
	require.ErrorIs(t, err, nats.ErrAuthorization, "without a key there is no way in")
}

// A reader of events cannot have the server write the log for it, by a consumer that delivers there.
func TestConsumerDoesNotWriteTheLog(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h := newHouse(t)
	engine := h.fill(ctx)
	nc, _ := h.as(access.Downstream)
	for _, subject := range []string{"closure.log.account.a", "closure.log.account.forged", "closure.command.account.a.lock"} {
		reply, err := nc.RequestWithContext(ctx, "$JS.API.CONSUMER.CREATE."+eventstore.StreamEvents+".evil", []byte(
			`{"stream_name":"CLOSURE_EVENTS","config":{"name":"evil","deliver_subject":"`+subject+`","deliver_policy":"all","ack_policy":"none"}}`))
		require.NoError(t, err)
		t.Logf("%s", reply.Data)
	}
	// Whatever the consumer was going to do, a message of the engine behind it comes later.
	_, err := engine.Publish(ctx, eventstore.LogSubject("account", "b"), []byte("{}"))
	require.NoError(t, err)
	for stream, want := range map[string]uint64{eventstore.StreamLog: 2, eventstore.StreamCommands: 0} {
		info, err := engine.Stream(ctx, stream)
		require.NoError(t, err)
		require.Equal(t, want, info.CachedInfo().State.LastSeq, stream)
	}
}

// The configuration for a cluster is one that a NATS server takes, with the same users.
func TestServerConfig(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, []byte(access.ServerConfig(h.keys)), 0o600))
	options, err := server.ProcessConfigFile(file)
	require.NoError(t, err)
	require.Len(t, options.Nkeys, len(access.Roles()))
	for i, role := range access.Roles() {
		require.Equal(t, h.keys[role.Name], options.Nkeys[i].Nkey)
		require.Equal(t, role.Publish, options.Nkeys[i].Permissions.Publish.Allow)
		require.Equal(t, role.Subscribe, options.Nkeys[i].Permissions.Subscribe.Allow)
	}
}
