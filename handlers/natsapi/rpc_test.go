package natsapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
	"closure/handlers/natsapi"
)

func TestRequestsAreAnsweredWithTheirSequence(t *testing.T) {
	r := serve(t)
	group, account := uuid.NewString(), uuid.NewString()
	open := body(t, personal())

	// The link of the user comes first, and takes sequence 1.
	require.Equal(t, natsapi.Answer{Result: handlers.Accepted, Sequence: 2}, r.request(eventstore.RPCSubject("account_group", group, "open"), open))
	require.Equal(t, natsapi.Answer{Result: handlers.Unchanged, Sequence: 2}, r.request(eventstore.RPCSubject("account_group", group, "open"), open))

	// The link of the group comes first, too, and takes sequence 3.
	require.Equal(t, natsapi.Answer{Result: handlers.Accepted, Sequence: 4}, r.ask("account", account, "open", trading(group)))

	rename := body(t, fields{"name": "Zwei"})
	require.Equal(t, natsapi.Answer{Result: handlers.Accepted, Sequence: 5}, r.request(eventstore.RPCSubject("account", account, "rename"), rename))
	require.Equal(t, natsapi.Answer{Result: handlers.Accepted, Sequence: 6}, r.ask("account", account, "rename", fields{"name": "Drei"}))
	// Again the first one: its id is known, and it does not rename back.
	require.Equal(t, natsapi.Answer{Result: handlers.Unchanged, Sequence: 6}, r.request(eventstore.RPCSubject("account", account, "rename"), rename))
	require.Equal(t, []string{"Zwei", "Drei"}, r.names(account))

	require.Equal(t, natsapi.Answer{Result: handlers.Accepted, Sequence: 7}, r.ask("account", account, "record_position", position(2)))
	require.Equal(t, natsapi.Answer{Result: handlers.Unchanged, Sequence: 7}, r.ask("account", account, "record_position", position(1)))
}

func TestAnAnswerIsWhatTheContractSays(t *testing.T) {
	r := serve(t)
	group := uuid.NewString()
	msg, err := r.nc.Request(eventstore.RPCSubject("account_group", group, "open"), body(t, personal()), patience)
	require.NoError(t, err)
	require.Equal(t, `{"result":"accepted","sequence":2}`, string(msg.Data))

	withdrawal := fields{"withdrawal_id": otherID, "status": "NEW", "amount": "5.00", "currency": "EUR", "revision": 1}
	require.Equal(t, handlers.Accepted, r.ask("account_group", group, "record_withdrawal", withdrawal).Result)
	since := r.commits("account_group", group)[1].Time.Format(time.RFC3339Nano)
	msg, err = r.nc.Request(eventstore.RPCSubject("account_group", group, "request_closure"), body(t, fields{"request_id": requestID}), patience)
	require.NoError(t, err)
	require.Equal(t, `{"result":"rejected","sequence":0,"error":{"type":"https://docs.upvest.co/errors/conflict","status":409,"title":"The present state does not allow it",`+
		`"detail":"OUTSTANDING_WITHDRAWALS: withdrawals are in progress: they have to be confirmed or cancelled","request_id":"`+requestID+`",`+
		`"blockers":[{"code":"OUTSTANDING_WITHDRAWALS","detail":"withdrawals are in progress: they have to be confirmed or cancelled",`+
		`"since":"`+since+`","items":[{"id":"`+otherID+`","currency":"EUR","status":"NEW","amount":"5.00"}]}]}}`, string(msg.Data))
}

func TestRequestsThatAreRefused(t *testing.T) {
	r := serve(t)
	account := r.openAccount(r.openGroup())
	good := body(t, fields{"name": "Zwei"})
	for name, test := range map[string]struct {
		subject string
		body    []byte
		status  int
		detail  string
	}{
		"unknown account":      {eventstore.RPCSubject("account", someID, "rename"), good, 404, "there is no account with the id " + someID},
		"fact, at once":        {eventstore.RPCSubject("account", someID, "record_position"), body(t, position(1)), 404, "there is no account with the id " + someID},
		"another client's":     {eventstore.RPCSubject("account", account, "rename"), body(t, fields{"name": "x", "client_id": otherID}), 404, "there is no account with the id " + account},
		"open without a group": {eventstore.RPCSubject("account", someID, "open"), body(t, trading(otherID)), 404, "there is no account group with the id " + otherID},
		"conflict":             {eventstore.RPCSubject("account", account, "open"), body(t, trading(otherID)), 409, "the id " + account + " is taken"},
		"unknown command":      {eventstore.RPCSubject("account", account, "close"), good, 400, "command: must be one of open, "},
		"unknown aggregate":    {eventstore.RPCSubject("depot", account, "rename"), good, 400, "aggregate: must be one of account, account_group"},
		"malformed id":         {eventstore.RPCSubject("account", "7", "rename"), good, 400, "account id: must be a uuid"},
		"one token":            {"closure.rpc.account", good, 400, `subject: must be closure.rpc.<aggregate>.<id>.<command>, got "closure.rpc.account"`},
		"two tokens":           {"closure.rpc.account." + account, good, 400, "subject: must be closure.rpc.<aggregate>.<id>.<command>"},
		"four tokens":          {eventstore.RPCSubject("account", account, "rename") + ".x", good, 400, "subject: must be closure.rpc.<aggregate>.<id>.<command>"},
		"broken JSON":          {eventstore.RPCSubject("account", account, "rename"), good[1:], 400, "body: must be "},
		"no body":              {eventstore.RPCSubject("account", account, "rename"), nil, 400, "body: must be a JSON object"},
		"name of 100 kB":       {eventstore.RPCSubject("account", account, "rename"), body(t, fields{"name": strings.Repeat("x", 100_000)}), 400, "name: must be 1 to 100 characters, got 100000"},
	} {
		t.Run(name, func(t *testing.T) {
			a := r.request(test.subject, test.body)
			require.Equal(t, natsapi.Rejected, a.Result)
			require.Equal(t, test.status, a.Error.Status)
			require.True(t, strings.HasPrefix(a.Error.Detail, test.detail), a.Error.Detail)
		})
	}
	require.Len(t, r.commits("account", account), 1, "nothing of it changed anything")
	require.Empty(t, r.commits("account", someID))
}

func TestARequestWithoutReplyIsDropped(t *testing.T) {
	r := newRig(t)
	r.keepEvents(1)
	s := r.start(r.config())
	group := uuid.NewString()
	require.NoError(t, r.nc.Publish(eventstore.RPCSubject("account_group", group, "open"), body(t, personal())))
	r.openGroup() // comes behind it on the same connection
	require.NoError(t, s.Stop(r.ctx))
	require.Empty(t, r.commits("account_group", group))
}

func TestTheServiceIsFoundByItsName(t *testing.T) {
	r := serve(t)
	msg, err := r.nc.Request("$SRV.INFO.closure", nil, patience)
	require.NoError(t, err)
	var info micro.Info
	require.NoError(t, json.Unmarshal(msg.Data, &info))
	require.Equal(t, []string{"closure", "1.2.3"}, []string{info.Name, info.Version})
	require.NotEmpty(t, info.Description)
	require.Len(t, info.Endpoints, 1)
	require.Equal(t, []string{"closure.rpc.>", "q"}, []string{info.Endpoints[0].Subject, info.Endpoints[0].QueueGroup})
}

func TestTooManyRequestsAreTurnedAwayAtOnce(t *testing.T) {
	r := newRig(t)
	r.keepEvents(1)
	cfg := r.config()
	h := newHolder()
	cfg.Engine = throughGate{cfg.Engine, h.hold}
	r.start(cfg)
	replies, err := r.nc.SubscribeSync(nats.NewInbox())
	require.NoError(t, err)
	for range natsapi.MaxRequests {
		r.askAs(uuid.NewString(), replies.Subject)
	}
	for range natsapi.MaxRequests {
		h.wait(t)
	}
	a := r.ask("account_group", uuid.NewString(), "open", personal())
	require.Equal(t, natsapi.Rejected, a.Result)
	require.Equal(t, &natsapi.Problem{
		Type: "https://docs.upvest.co/errors/unavailable", Status: 503, Title: "The service cannot answer at present",
		Detail: "the command could not be carried out now; send it again with the same command_id",
	}, a.Error)
	h.release()
	for range natsapi.MaxRequests {
		msg, err := replies.NextMsg(patience)
		require.NoError(t, err)
		require.Equal(t, handlers.Accepted, answer(t, msg).Result)
	}
	r.openGroup() // there is room again
}

// The engine may publish everywhere, and whoever asks may not: a reply subject that is no inbox is not answered on.
func TestAnswersGoToInboxesOnly(t *testing.T) {
	r := newRig(t)
	r.keepEvents(1)
	r.start(r.config())
	before, err := r.log.LastSequence(r.ctx)
	require.NoError(t, err)
	for _, reply := range []string{eventstore.LogSubject("account", someID), "$KV.CLOSURE_KEYS.webhooks", eventstore.InboxSubject("account", someID, "lock")} {
		require.NoError(t, r.nc.PublishRequest(eventstore.RPCSubject("account", someID, "lock"), reply, body(t, fields{})))
		require.NoError(t, r.nc.PublishRequest(eventstore.QueryClosures, reply, nil))
	}
	r.openGroup() // it is answered behind all of them
	commits, err := r.log.Read(r.ctx, before+1, 100)
	require.NoError(t, err)
	for _, c := range commits {
		require.NotEqual(t, someID, c.AggregateID)
	}
	stream, err := r.log.JetStream().Stream(r.ctx, eventstore.StreamCommands)
	require.NoError(t, err)
	require.Zero(t, stream.CachedInfo().State.LastSeq)
}

// askAs asks for a new group of a client, without waiting for the answer.
func (r *rig) askAs(client, reply string) {
	r.t.Helper()
	open := personal()
	open["client_id"], open["users"] = client, []fields{{"id": uuid.NewString(), "type": "OWNER"}} // a user is one client's
	require.NoError(r.t, r.nc.PublishRequest(eventstore.RPCSubject("account_group", uuid.NewString(), "open"), reply, body(r.t, open)))
}

// One client cannot have all the room: there is some left for the others.
func TestAClientHasItsShare(t *testing.T) {
	r := newRig(t)
	r.keepEvents(1)
	cfg := r.config()
	h := newHolder()
	cfg.Engine = throughGate{cfg.Engine, h.hold}
	r.start(cfg)
	replies, err := r.nc.SubscribeSync(nats.NewInbox())
	require.NoError(t, err)
	flood := uuid.NewString()
	for range natsapi.MaxOfClient {
		r.askAs(flood, replies.Subject)
	}
	for range natsapi.MaxOfClient {
		h.wait(t)
	}
	r.askAs(flood, replies.Subject)
	msg, err := replies.NextMsg(patience)
	require.NoError(t, err)
	refused := answer(t, msg)
	require.Equal(t, natsapi.Rejected, refused.Result)
	require.Equal(t, "https://docs.upvest.co/errors/too_many_requests", refused.Error.Type)
	r.askAs(uuid.NewString(), replies.Subject)
	h.wait(t) // another client's is carried out
	h.release()
	for range natsapi.MaxOfClient + 1 {
		msg, err := replies.NextMsg(patience)
		require.NoError(t, err)
		require.Equal(t, handlers.Accepted, answer(t, msg).Result)
	}
	r.askAs(flood, replies.Subject) // there is room again
	msg, err = replies.NextMsg(patience)
	require.NoError(t, err)
	require.Equal(t, handlers.Accepted, answer(t, msg).Result)
}

// TestTroubleIsToldInGeneral: the client gets the slug that says what to do, and the operator the cause.
func TestTroubleIsToldInGeneral(t *testing.T) {
	secret := errors.New("disk sda1 of host db7")
	for name, test := range map[string]struct {
		err    error
		slug   string
		status int
		logged bool
	}{
		"unavailable": {fmt.Errorf("%w: %w", eventstore.ErrUnavailable, secret), "unavailable", 503, true},
		"contention":  {fmt.Errorf("%w: %w", handlers.ErrContention, secret), "unavailable", 503, true},
		"too large":   {fmt.Errorf("%w: %w", eventstore.ErrTooLarge, secret), "payload_too_large", 413, false},
		"broken log":  {fmt.Errorf("%w: %w", eventstore.ErrBrokenChain, secret), "internal", 500, true},
		"other":       {secret, "internal", 500, true},
		"refusal with trouble": {errors.Join(&domain.Refusal{Kind: domain.Conflict}, fmt.Errorf("%w: %w", eventstore.ErrUnavailable, secret)),
			"unavailable", 503, true},
		"panic": {nil, "internal", 500, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			cfg := r.config()
			lines := newLogged()
			cfg.Logger = slog.New(lines)
			cfg.Engine = throughGate{cfg.Engine, func(context.Context, domain.Command) error {
				if test.err == nil {
					panic(secret)
				}
				return test.err
			}}
			r.start(cfg)
			msg, err := r.nc.Request(eventstore.RPCSubject("account", someID, "lock"), body(t, fields{"request_id": requestID}), patience)
			require.NoError(t, err)
			require.NotContains(t, string(msg.Data), "sda1")
			a := answer(t, msg)
			require.Equal(t, []any{natsapi.Rejected, "https://docs.upvest.co/errors/" + test.slug, test.status, requestID},
				[]any{a.Result, a.Error.Type, a.Error.Status, a.Error.RequestID})
			require.NotEmpty(t, a.Error.Title)
			require.NotEmpty(t, a.Error.Detail)
			if test.logged {
				line := lines.wait(t)
				require.Contains(t, line, "sda1")
				require.Contains(t, line, eventstore.RPCSubject("account", someID, "lock"))
			}
		})
	}
}

func TestARequestThatTakesTooLong(t *testing.T) {
	r := newRig(t)
	cfg := r.config()
	cfg.Engine = throughGate{cfg.Engine, newHolder().hold} // never let go
	s := natsapi.New(cfg)
	s.SetCommandTime(50 * time.Millisecond)
	require.NoError(t, s.Start(r.ctx))
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	a := r.ask("account_group", uuid.NewString(), "open", personal())
	require.Equal(t, []any{natsapi.Rejected, "https://docs.upvest.co/errors/gateway_timeout", 504}, []any{a.Result, a.Error.Type, a.Error.Status})
}
