package access_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	// replicas of the streams.
	replicas int
}

// newKeys makes the keys of the roles, and no server yet.
func newKeys(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, seeds: map[string]string{}, keys: map[string]string{}, replicas: 1}
	dir := t.TempDir()
	for _, role := range access.Roles() {
		pair, err := nkeys.CreateUser()
		require.NoError(t, err)
		seed, err := pair.Seed()
		require.NoError(t, err)
		h.seeds[role.Name] = filepath.Join(dir, role.Name+".nk")
		require.NoError(t, os.WriteFile(h.seeds[role.Name], seed, 0o600))
		h.keys[role.Name], err = pair.PublicKey()
		require.NoError(t, err)
	}
	return h
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := newKeys(t)
	s, err := embedded.Start(embedded.Config{
		Dir: t.TempDir(), NoSync: true, Access: access.ServerConfig(h.keys), Account: access.Account,
	})
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

// fill makes the streams as the engine does, and puts a message into each; then it answers commands.
func (h *house) fill(ctx context.Context) jetstream.JetStream {
	h.t.Helper()
	nc, _ := h.as(access.Engine)
	return fill(ctx, h.t, nc, h.replicas)
}

func fill(ctx context.Context, t *testing.T, nc *nats.Conn, replicas int) jetstream.JetStream {
	t.Helper()
	log, err := eventstore.Open(ctx, nc, eventstore.Config{Replicas: replicas})
	require.NoError(t, err)
	js := log.JetStream()
	for _, cfg := range []jetstream.StreamConfig{
		{Name: eventstore.StreamCommands, Subjects: []string{eventstore.CommandSubjects}, Retention: jetstream.WorkQueuePolicy, Replicas: replicas},
		{Name: eventstore.StreamEvents, Subjects: []string{eventstore.EventSubjects}, AllowDirect: true, Replicas: replicas},
	} {
		_, err := js.CreateStream(ctx, cfg)
		require.NoError(t, err)
	}
	clients, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "CLOSURE_CLIENTS", Replicas: replicas})
	require.NoError(t, err)
	_, err = clients.PutString(ctx, "client.a", "{}")
	require.NoError(t, err)
	for _, subject := range []string{
		eventstore.EventSubject("c", "ACCOUNT.CLOSED", "a"), eventstore.EventSubject("c", "COMMAND.REJECTED", "a"), eventstore.LogSubject("account", "a"),
	} {
		_, err = js.Publish(ctx, subject, []byte("{}"))
		require.NoError(t, err)
	}
	_, err = nc.Subscribe(eventstore.RPCSubjects, func(m *nats.Msg) { _ = m.Respond([]byte("answer")) })
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
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
	last := func(subject string) func(*nats.Conn) error {
		return ask("$JS.API.DIRECT.GET."+eventstore.StreamEvents+"."+subject, "")
	}
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
		"read the last event":    {last(eventstore.EventSubject("c", "ACCOUNT.CLOSED", "a")), []string{access.Engine, access.Downstream, access.Audit}},
		"read a rejection":       {last(eventstore.EventSubject("c", "COMMAND.REJECTED", "a")), everything},
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

// attempt is a request that a role may make, in the name of something else.
type attempt struct{ subject, body string }

// attempts are requests that are answered, one at least for each service that the role uses.
func attempts(role string) []attempt {
	api := func(call, stream string) string { return "$JS.API." + call + "." + stream }
	reading := func(stream, subject string) []attempt {
		return []attempt{
			{api("STREAM.INFO", stream), ""},
			{api("STREAM.MSG.GET", stream), `{"seq":1}`},
			{api("DIRECT.GET", stream), `{"seq":1}`},
			{api("DIRECT.GET", stream), `{"seq":1,"batch":5}`},
			{api("DIRECT.GET", stream) + "." + subject, ""},
		}
	}
	const events = eventstore.StreamEvents
	closed := eventstore.EventSubject("c", "ACCOUNT.CLOSED", "a")
	return map[string][]attempt{
		access.Upstream: {
			{eventstore.CommandSubject("account", "a", "lock"), "{}"},
			{eventstore.RPCSubject("account", "a", "lock"), "{}"},
			{api("DIRECT.GET", events) + "." + eventstore.EventSubject("c", "COMMAND.REJECTED", "a"), ""},
		},
		access.Audit: append(reading(eventstore.StreamLog, eventstore.LogSubject("account", "a")), reading(events, closed)...),
	}[role]
}

// contents are how many messages there are of each subject, and the last sequence of each stream.
func contents(ctx context.Context, t *testing.T, js jetstream.JetStream) map[string]uint64 {
	t.Helper()
	held := map[string]uint64{}
	list := js.ListStreams(ctx)
	for info := range list.Info() {
		stream, err := js.Stream(ctx, info.Config.Name)
		require.NoError(t, err)
		all, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
		require.NoError(t, err)
		held[info.Config.Name] = all.State.LastSeq
		for subject, n := range all.State.Subjects {
			held[subject] = n
		}
	}
	require.NoError(t, list.Err())
	return held
}

// No role with an account of its own can have the server put what it answers where the role may not write, by naming that as the place
// for the answer.
func TestAnswersAreNotStored(t *testing.T) {
	t.Parallel()
	for _, role := range access.Roles() {
		if role.Account == access.Account {
			continue
		}
		t.Run(role.Name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			h := newHouse(t)
			engine := h.fill(ctx)
			tried := attempts(role.Name)
			for _, s := range role.Uses {
				require.True(t, slices.ContainsFunc(tried, func(a attempt) bool { return server.SubjectsCollide(a.subject, s.Subject) }), s.Subject)
			}
			nc, denied := h.as(role.Name)
			places := []string{"closure.log.account.forged", "$KV.CLOSURE_CLIENTS.client.x", "closure.command.account.forged.lock", "closure.event.c.account.closed.forged"}
			for range 2 * len(places) { // a consumer reads one event each time
				_, err := engine.Publish(ctx, eventstore.EventSubject("c", "ACCOUNT.CLOSED", "b"), []byte("{}"))
				require.NoError(t, err)
			}
			before := contents(ctx, t, engine)
			for _, a := range tried {
				for _, place := range places {
					// Twice: what is said of the second request was done to the first.
					require.NoError(t, nc.PublishRequest(a.subject, place, []byte(a.body)))
					answer, err := nc.RequestWithContext(ctx, a.subject, []byte(a.body))
					require.NoError(t, err, a.subject)
					require.NotContains(t, string(answer.Data), `"error"`, a.subject)
					require.Contains(t, []string{"", "204"}, answer.Header.Get("Status"), a.subject)
				}
			}
			// Nor where it wants to be told which way its request went. That may be where it may write itself.
			for _, place := range places {
				if slices.ContainsFunc(role.Uses, func(s access.Service) bool { return server.SubjectsCollide(place, s.Subject) }) {
					continue
				}
				request := nats.NewMsg(tried[len(tried)-1].subject)
				request.Header.Set(server.MsgTraceDest, place)
				request.Header.Set(server.MsgTraceOnly, "true")
				require.NoError(t, nc.PublishMsg(request))
			}
			require.NoError(t, nc.Flush())
			for len(denied) > 0 {
				<-denied
			}
			if role.Name == access.Upstream {
				before[eventstore.StreamCommands] += uint64(2 * len(places))
				before[tried[0].subject] += uint64(2 * len(places))
			}
			// Whatever is still under way comes before what the engine writes.
			_, err := engine.Publish(ctx, eventstore.LogSubject("account", "b"), []byte("{}"))
			require.NoError(t, err)
			before[eventstore.StreamLog]++
			before[eventstore.LogSubject("account", "b")]++
			require.Equal(t, before, contents(ctx, t, engine))
			// An answer for the server itself is not even taken: it would acknowledge what the engine has not read.
			for _, place := range []string{"$JS.ACK.CLOSURE_LOG.process.1.1.1.1.0", "_R_.forged"} {
				require.NoError(t, nc.PublishRequest(tried[0].subject, place, nil))
				require.NoError(t, nc.Flush())
				require.Eventually(t, func() bool { return len(denied) > 0 }, 5*time.Second, time.Millisecond, place)
				require.ErrorContains(t, <-denied, "Permissions Violation")
			}
		})
	}
}

// A reader of events cannot have the server write the log for it, by a consumer that delivers there: the consumer is made, and
// waits for somebody to subscribe to that very subject.
func TestConsumerDoesNotWriteTheLog(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h := newHouse(t)
	engine := h.fill(ctx)
	nc, _ := h.as(access.Downstream)
	own := access.Inbox(access.Downstream) + ".pushed"
	mine, err := nc.SubscribeSync(own)
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	before := contents(ctx, t, engine)
	// Its own comes last: once that has delivered, the others had their time.
	for i, subject := range []string{"closure.log.account.a", "closure.log.account.forged", "closure.command.account.a.lock", "$KV.CLOSURE_CLIENTS.client.x", own} {
		name := fmt.Sprintf("evil-%d", i)
		reply, err := nc.RequestWithContext(ctx, "$JS.API.CONSUMER.CREATE."+eventstore.StreamEvents+"."+name, []byte(
			`{"stream_name":"CLOSURE_EVENTS","config":{"name":"`+name+`","deliver_subject":"`+subject+`","deliver_policy":"all","ack_policy":"none"}}`))
		require.NoError(t, err)
		var made struct {
			Error  any                      `json:"error"`
			Config jetstream.ConsumerConfig `json:"config"`
		}
		require.NoError(t, json.Unmarshal(reply.Data, &made))
		require.Nil(t, made.Error)
		require.Equal(t, subject, made.Config.DeliverSubject)
	}
	msg, err := mine.NextMsgWithContext(ctx)
	require.NoError(t, err)
	require.Equal(t, "{}", string(msg.Data))
	_, err = engine.Publish(ctx, eventstore.LogSubject("account", "b"), []byte("{}"))
	require.NoError(t, err)
	before[eventstore.StreamLog]++
	before[eventstore.LogSubject("account", "b")]++
	require.Equal(t, before, contents(ctx, t, engine))
	stream, err := engine.Stream(ctx, eventstore.StreamEvents)
	require.NoError(t, err)
	for i := range 4 {
		consumer, err := stream.PushConsumer(ctx, fmt.Sprintf("evil-%d", i))
		require.NoError(t, err)
		require.Zero(t, consumer.CachedInfo().Delivered.Consumer)
		require.False(t, consumer.CachedInfo().PushBound)
	}
}

// What the client library has for consumers works for downstream services: pulled in all ways, in order, and pushed.
func TestConsumers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h := newHouse(t)
	engine := h.fill(ctx)
	const events = 300
	for i := range events - 2 {
		_, err := engine.Publish(ctx, eventstore.EventSubject("c", "ACCOUNT.CLOSED", strconv.Itoa(i)), []byte("{}"))
		require.NoError(t, err)
	}
	consume(ctx, t, h, events)
}

// consume reads the events in all ways.
func consume(ctx context.Context, t *testing.T, h *house, events int) {
	t.Helper()
	nc, denied := h.as(access.Downstream)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.Stream(ctx, eventstore.StreamEvents)
	require.NoError(t, err)
	read := func(c jetstream.Consumer, handle func(jetstream.Msg)) {
		messages, err := c.Messages(jetstream.PullMaxMessages(7))
		require.NoError(t, err)
		defer messages.Stop()
		for range events {
			msg, err := messages.Next()
			require.NoError(t, err)
			handle(msg)
		}
	}
	durable, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: "durable", AckPolicy: jetstream.AckExplicitPolicy})
	require.NoError(t, err)
	first, err := durable.Next()
	require.NoError(t, err)
	require.NoError(t, first.Nak())
	read(durable, func(msg jetstream.Msg) { require.NoError(t, msg.DoubleAck(ctx)) })
	info, err := durable.Info(ctx)
	require.NoError(t, err)
	require.EqualValues(t, events, info.AckFloor.Stream)

	filtered, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: eventstore.EventFilter("c", ""),
	})
	require.NoError(t, err)
	seen := make(chan jetstream.Msg, events)
	context, err := filtered.Consume(func(msg jetstream.Msg) { seen <- msg })
	require.NoError(t, err)
	for range events {
		select {
		case m := <-seen:
			require.NoError(t, m.Ack())
		case <-ctx.Done():
			require.NoError(t, ctx.Err())
		}
	}
	context.Stop()

	ordered, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	require.NoError(t, err)
	next := uint64(1)
	read(ordered, func(msg jetstream.Msg) {
		at, err := msg.Metadata()
		require.NoError(t, err)
		require.Equal(t, next, at.Sequence.Stream)
		next++
	})

	pushing, err := nc.JetStream()
	require.NoError(t, err)
	pushed, err := pushing.SubscribeSync(eventstore.EventSubjects, nats.BindStream(eventstore.StreamEvents), nats.OrderedConsumer())
	require.NoError(t, err)
	for range events {
		_, err := pushed.NextMsgWithContext(ctx)
		require.NoError(t, err)
	}

	// The library removes consumers that nobody needs any more. They go by themselves as well.
	for len(denied) > 0 {
		require.ErrorContains(t, <-denied, "$JS.API.CONSUMER.DELETE.")
	}
}

// The same holds in a cluster, whichever server the roles and the streams are on.
func TestCluster(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	h := newKeys(t)
	cluster, err := embedded.StartClusterWith(3, t.TempDir(), embedded.Config{NoSync: true, Access: access.ServerConfig(h.keys), Account: access.Account})
	require.NoError(t, err)
	t.Cleanup(cluster.Shutdown)
	h.url, h.replicas = cluster.ClientURL(), 3
	engine := h.fill(ctx)
	before := contents(ctx, t, engine)
	for i := range 3 {
		h.url = cluster.MemberURL(i)
		audit, _ := h.as(access.Audit)
		for range 3 {
			require.NoError(t, audit.PublishRequest("$JS.API.DIRECT.GET."+eventstore.StreamLog, "closure.log.account.forged", []byte(`{"seq":1}`)))
			answer, err := audit.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+eventstore.StreamLog, []byte(`{"seq":1}`))
			require.NoError(t, err)
			require.Equal(t, "{}", string(answer.Data))
		}
		upstream, _ := h.as(access.Upstream)
		answer, err := upstream.RequestWithContext(ctx, eventstore.RPCSubject("account", "a", "lock"), nil)
		require.NoError(t, err)
		require.Equal(t, "answer", string(answer.Data))
	}
	require.Equal(t, before, contents(ctx, t, engine))
	consume(ctx, t, h, 2)
}

// The configuration for a cluster is one that a NATS server takes, with each role in its account.
func TestServerConfig(t *testing.T) {
	t.Parallel()
	h := newKeys(t)
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, []byte(access.ServerConfig(h.keys)), 0o600))
	options, err := server.ProcessConfigFile(file)
	require.NoError(t, err)
	require.Len(t, options.Nkeys, len(access.Roles()))
	for _, role := range access.Roles() {
		i := slices.IndexFunc(options.Nkeys, func(u *server.NkeyUser) bool { return u.Nkey == h.keys[role.Name] })
		require.GreaterOrEqual(t, i, 0, role.Name)
		require.Equal(t, role.Account, options.Nkeys[i].Account.Name)
		require.Equal(t, role.Publish, options.Nkeys[i].Permissions.Publish.Allow)
		require.Equal(t, role.Subscribe, options.Nkeys[i].Permissions.Subscribe.Allow)
	}
}

// What was written before there were accounts is the engine's, and stays it.
func TestFolderWithoutAccounts(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h := newKeys(t)
	dir := t.TempDir()
	old, err := embedded.Start(embedded.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(old.Shutdown)
	nc, err := nats.Connect(old.ClientURL())
	require.NoError(t, err)
	written := fill(ctx, t, nc, 1)
	_, err = written.CreateConsumer(ctx, eventstore.StreamEvents, jetstream.ConsumerConfig{Durable: "theirs"})
	require.NoError(t, err)
	before := contents(ctx, t, written)
	nc.Close()
	old.Shutdown()
	for range 2 {
		s, err := embedded.Start(embedded.Config{Dir: dir, Access: access.ServerConfig(h.keys), Account: access.Account})
		require.NoError(t, err)
		t.Cleanup(s.Shutdown)
		h.url = s.ClientURL()
		nc, _ := h.as(access.Engine)
		js, err := jetstream.New(nc)
		require.NoError(t, err)
		require.Equal(t, before, contents(ctx, t, js))
		_, err = js.Consumer(ctx, eventstore.StreamEvents, "theirs")
		require.NoError(t, err)
		_, err = js.Publish(ctx, eventstore.LogSubject("account", "b"), []byte("{}"))
		require.NoError(t, err)
		before = contents(ctx, t, js)
		nc.Close()
		s.Shutdown()
	}
}
