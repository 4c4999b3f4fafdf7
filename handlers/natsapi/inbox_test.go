package natsapi_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
	"closure/handlers/natsapi"
)

// rename publishes n renames of each account without waiting for one, and gives the names in their order.
func (r *rig) renames(accounts []string, n int) (names []string) {
	r.t.Helper()
	for i := range n {
		name := fmt.Sprintf("Name %d", i)
		names = append(names, name)
		for _, id := range accounts {
			_, err := r.js.PublishAsync(eventstore.CommandSubject("account", id, "rename"), body(r.t, fields{"name": name}))
			require.NoError(r.t, err)
		}
	}
	select {
	case <-r.js.PublishAsyncComplete():
	case <-r.ctx.Done():
		r.t.Fatal("the inbox did not take the commands")
	}
	return names
}

// openAccounts opens some accounts of one group.
func (r *rig) openAccounts(n int) (ids []string) {
	r.t.Helper()
	group := r.openGroup()
	for range n {
		ids = append(ids, r.openAccount(group))
	}
	return ids
}

// inPartition gives an id whose partition is, or is not, that of another.
func inPartition(of string, same bool) string {
	for {
		if id := uuid.NewString(); (natsapi.PartitionOf(id) == natsapi.PartitionOf(of)) == same {
			return id
		}
	}
}

func TestCommandsOfOneAccountKeepTheirOrder(t *testing.T) {
	r := serve(t)
	accounts := r.openAccounts(1)
	names := r.renames(accounts, 250)
	r.settled()
	require.Equal(t, names, r.names(accounts[0]))
	require.Zero(t, r.events(), "nothing was rejected")
}

func TestTheServerPartitionsAsThisPackageDoes(t *testing.T) {
	r := newRig(t)
	r.keepEvents(1)
	cfg := r.config()
	h := newHolder()
	cfg.Engine = throughGate{cfg.Engine, h.hold} // so that the commands stay
	r.start(cfg)
	stream, err := r.js.Stream(r.ctx, eventstore.StreamCommands)
	require.NoError(t, err)
	for range 100 {
		id := uuid.NewString()
		seq := r.send("account_group", id, "open", personal())
		msg, err := stream.GetMsg(r.ctx, seq)
		require.NoError(t, err)
		require.Equal(t, natsapi.InboxSubject("account_group", id, "open"), msg.Subject)
	}
	h.release()
	r.settled()
}

func TestCommandsOfDifferentAccountsDoNotWaitForEachOther(t *testing.T) {
	r := newRig(t)
	r.keepEvents(1)
	held := uuid.NewString()
	h := newHolder()
	cfg := r.config()
	cfg.Engine = throughGate{cfg.Engine, func(ctx context.Context, c domain.Command) error {
		if c.Target.ID == held {
			return h.hold(ctx, c)
		}
		return nil
	}}
	r.start(cfg)
	r.send("account_group", held, "open", personal())
	h.wait(t)
	other := inPartition(held, false)
	r.send("account_group", other, "open", personal())
	r.until("the other group is open", func() bool { return len(r.commits("account_group", other)) == 1 })
	require.Empty(t, r.commits("account_group", held))
	h.release()
	r.settled()
	require.Len(t, r.commits("account_group", held), 1)
}

func TestARefusedCommandIsPublished(t *testing.T) {
	r := newRig(t)
	r.keepEvents(1)
	cfg := r.config()
	now := time.Date(2026, 5, 4, 3, 2, 1, 123456789, time.FixedZone("CEST", 7200))
	cfg.Now = func() time.Time { return now }
	r.start(cfg)
	group := r.openGroup()
	withdrawal := fields{"withdrawal_id": otherID, "status": "NEW", "amount": "5.00", "currency": "EUR", "revision": 1}
	require.Equal(t, handlers.Accepted, r.ask("account_group", group, "record_withdrawal", withdrawal).Result)
	since := r.commits("account_group", group)[1].Time.Format(time.RFC3339Nano)

	id := uuid.NewString()
	seq := r.send("account_group", group, "request_closure", fields{"command_id": id, "request_id": requestID, "closure_reason": "aml"})
	msg, _ := r.rejections().next()
	eventID := domain.DeriveID("command_rejected", "CLOSURE_COMMANDS", fmt.Sprint(seq))
	require.Equal(t, "closure.event."+clientID+".command.rejected."+group, msg.Subject())
	require.Equal(t, nats.Header{
		"ce-specversion":       {"1.0"},
		"ce-id":                {eventID},
		"ce-source":            {"/closure"},
		"ce-type":              {"COMMAND.REJECTED"},
		"ce-subject":           {group},
		"ce-time":              {"2026-05-04T01:02:01.123456789Z"},
		"ce-clientid":          {clientID},
		"ce-datacontenttype":   {"application/json"},
		"content-type":         {"application/json"},
		"Nats-Msg-Id":          {eventID},
		"Nats-Expected-Stream": {"CLOSURE_EVENTS"},
	}, msg.Headers())
	require.Equal(t, `{"id":"`+eventID+`","subject":"closure.command.account_group.`+group+`.request_closure","command_id":"`+id+`",`+
		`"error":{"type":"https://docs.upvest.co/errors/conflict","status":409,"title":"The present state does not allow it",`+
		`"detail":"OUTSTANDING_WITHDRAWALS: withdrawals are in progress: they have to be confirmed or cancelled","request_id":"`+requestID+`",`+
		`"blockers":[{"code":"OUTSTANDING_WITHDRAWALS","detail":"withdrawals are in progress: they have to be confirmed or cancelled",`+
		`"since":"`+since+`","items":[{"id":"`+otherID+`","currency":"EUR","status":"NEW","amount":"5.00"}]}]}}`, string(msg.Data()))
	r.settled()
}

// TestWhatIsMalformedIsRejectedAndHoldsUpNothing: behind each of them stands a command of the same partition that has to be done.
func TestWhatIsMalformedIsRejectedAndHoldsUpNothing(t *testing.T) {
	r := serve(t)
	account := r.openAccount(r.openGroup())
	rejected := r.rejections()
	to := eventstore.CommandSubject("account", account, "rename")
	ids := `"command_id":"` + commandID + `","client_id":"` + clientID + `"`
	for i, test := range []struct {
		name, subject, body string
		client, resource    string // tokens of the rejection's subject
		command             string // its command_id
		detail              string
	}{
		{"empty body", to, ``, "_", account, "", "body: must be a JSON object"},
		{"broken JSON", to, `{` + ids + `,`, clientID, account, commandID, "body: must be whole JSON"},
		{"not JSON", to, "\xff\xfe", "_", account, "", "body: must be JSON in UTF-8"},
		{"unknown member", to, `{` + ids + `,"secret":"s3cret"}`, clientID, account, commandID, `"secret": not known`},
		{"no client", to, `{"command_id":"` + commandID + `","actor":"a","name":"x"}`, "_", account, commandID, "client_id: missing"},
		{"client with a wildcard", to, `{"command_id":">","client_id":"*","actor":"a","name":"x"}`, "_", account, "", "command_id: must be a uuid"},
		{"one token", "closure.command.account", `{` + ids + `}`, clientID, "_", commandID, `subject: must be closure.command.<aggregate>.<id>.<command>, got "closure.command.account"`},
		{"four tokens", to + ".x", `{` + ids + `}`, clientID, "_", commandID, "subject: must be closure.command.<aggregate>.<id>.<command>"},
		{"wildcards", "closure.command.account.*.rename", `{` + ids + `,"actor":"a","name":"x"}`, clientID, "_", commandID, "account id: must be a uuid"},
		{"no UTF-8 in the subject", "closure.command.\xff", ``, "_", "_", "", "subject: must be closure.command.<aggregate>.<id>.<command>"},
		{"malformed id", "closure.command.account.7.rename", `{` + ids + `,"actor":"a","name":"x"}`, clientID, "_", commandID, "account id: must be a uuid"},
		{"id in capitals", "closure.command.account." + strings.ToUpper(account) + ".rename", `{` + ids + `,"actor":"a","name":"x"}`, clientID, "_", commandID, "account id: must be in lower case"},
		{"unknown aggregate", "closure.command.depot." + account + ".rename", `{` + ids + `}`, clientID, account, commandID, "aggregate: must be one of"},
		{"unknown command", "closure.command.account." + account + ".close", `{` + ids + `}`, clientID, account, commandID, "command: must be one of"},
		{"a body of 7 MB", to, `{` + ids + `,"actor":"a","name":"` + strings.Repeat("s3cret", 1<<20) + `"}`, clientID, account, commandID, "name: must be 1 to 100 characters"},
	} {
		t.Run(test.name, func(t *testing.T) {
			seq := r.publish(test.subject, []byte(test.body))
			name := fmt.Sprintf("Name %d", i)
			r.send("account", account, "rename", fields{"name": name})

			msg, body := rejected.next()
			require.Equal(t, "closure.event."+test.client+".command.rejected."+test.resource, msg.Subject())
			require.Equal(t, domain.DeriveID("command_rejected", "CLOSURE_COMMANDS", fmt.Sprint(seq)), body.ID)
			require.Equal(t, body.ID, msg.Headers().Get("ce-id"))
			require.Equal(t, strings.ToValidUTF8(test.subject, "\ufffd"), body.Subject)
			require.Equal(t, "https://docs.upvest.co/errors/invalid_request", body.Error.Type)
			require.True(t, strings.HasPrefix(body.Error.Detail, test.detail), body.Error.Detail)
			require.NotContains(t, string(msg.Data()), "s3cret")
			require.Equal(t, test.client != "_", msg.Headers().Get("ce-clientid") == clientID)
			require.Equal(t, test.resource != "_", msg.Headers().Get("ce-subject") == account)
			if test.command == "" {
				require.Nil(t, body.CommandID)
				require.Contains(t, string(msg.Data()), `"command_id":null`)
			} else {
				require.Equal(t, test.command, *body.CommandID)
			}
			r.settled()
			names := r.names(account)
			require.Equal(t, name, names[len(names)-1])
		})
	}
}

// TestARejectionIsSafeBeforeTheCommandGoes: without the stream of the events the command stays in the inbox, and so
// do those behind it.
func TestARejectionIsSafeBeforeTheCommandGoes(t *testing.T) {
	r := newRig(t)
	cfg := r.config()
	lines := newLogged()
	cfg.Logger = slog.New(lines)
	r.start(cfg)
	account := r.openAccount(r.openGroup())
	r.publish(eventstore.CommandSubject("account", account, "rename"), nil)
	r.send("account", account, "rename", fields{"name": "Zwei"})
	require.Contains(t, lines.wait(t), "could not be stored")
	require.EqualValues(t, 2, r.waiting())
	require.Empty(t, r.names(account))
	r.keepEvents(1)
	_, body := r.rejections().next()
	require.Contains(t, body.Error.Detail, "body: must be a JSON object")
	r.settled()
	require.Equal(t, []string{"Zwei"}, r.names(account))
}

// TestTroubleThatMayPassIsWaitedFor: the command keeps its place, however often it takes.
func TestTroubleThatMayPassIsWaitedFor(t *testing.T) {
	for name, trouble := range map[string]error{
		"unavailable": fmt.Errorf("%w: no leader", eventstore.ErrUnavailable),
		"contention":  fmt.Errorf("%w: 16 attempts", handlers.ErrContention),
		"time":        nil, // it takes too long
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits most of the time
			r := newRig(t)
			r.keepEvents(1)
			opener := r.start(r.config())
			accounts := r.openAccounts(1)
			require.NoError(t, opener.Stop(r.ctx))
			cfg := r.config()
			failures := natsapi.InternalAttempts + 1 // more than what is internal would get; only one worker counts them
			cfg.Engine = throughGate{cfg.Engine, func(ctx context.Context, c domain.Command) error {
				p, ok := c.Payload.(*domain.RenameAccount)
				if !ok || p.Name != "Name 0" || failures == 0 {
					return nil
				}
				failures--
				if trouble == nil {
					<-ctx.Done()
					return fmt.Errorf("append: %w", ctx.Err())
				}
				return trouble
			}}
			s := natsapi.New(cfg)
			s.SetCommandTime(100 * time.Millisecond)
			require.NoError(t, s.Start(r.ctx))
			t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
			names := r.renames(accounts, 3)
			r.settled()
			require.Equal(t, names, r.names(accounts[0]))
			require.Zero(t, failures)
			require.Zero(t, r.events(), "nothing was rejected")
		})
	}
}

// TestACommandThatTakesLongIsNotGivenToAnother: whoever has it shows the server that it is in hand.
func TestACommandThatTakesLongIsNotGivenToAnother(t *testing.T) {
	t.Parallel() // it waits most of the time
	r := newRig(t)
	r.keepEvents(1)
	h := newHolder()
	for range 2 {
		cfg := r.config()
		cfg.Engine = throughGate{cfg.Engine, h.hold}
		r.start(cfg)
	}
	group := uuid.NewString()
	r.send("account_group", group, "open", personal())
	h.wait(t)
	select {
	case <-h.held:
		t.Fatal("it was handed out twice")
	case <-time.After(natsapi.AckWait * 3 / 2):
	}
	h.release()
	r.settled()
	require.Len(t, r.commits("account_group", group), 1)
}

func TestACommandThatFailsInternallyIsRejectedInTheEnd(t *testing.T) {
	r := newRig(t)
	r.keepEvents(1)
	cfg := r.config()
	lines := newLogged()
	cfg.Logger = slog.New(lines)
	tries := make(chan struct{}, 100)
	cfg.Engine = throughGate{cfg.Engine, func(_ context.Context, c domain.Command) error {
		if p, ok := c.Payload.(*domain.RenameAccount); ok && p.Name == "Name 0" {
			tries <- struct{}{}
			panic(errors.New("disk sda1"))
		}
		return nil
	}}
	r.start(cfg)
	accounts := r.openAccounts(1)
	r.renames(accounts, 2)
	msg, body := r.rejections().next()
	require.Equal(t, []any{"https://docs.upvest.co/errors/internal", 500}, []any{body.Error.Type, body.Error.Status})
	require.NotContains(t, string(msg.Data()), "sda1")
	require.Contains(t, lines.wait(t), "sda1")
	require.Len(t, tries, natsapi.InternalAttempts)
	r.settled()
	require.Equal(t, []string{"Name 1"}, r.names(accounts[0]))
}
