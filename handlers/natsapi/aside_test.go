package natsapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
	"closure/handlers/natsapi"
)

// aside waits until so many commands have been set aside.
func (r *rig) aside(n int) {
	r.t.Helper()
	r.until(fmt.Sprintf("%d commands are set aside", n), func() bool {
		stream, err := r.js.Stream(r.ctx, eventstore.StreamCommands)
		require.NoError(r.t, err)
		consumer, err := stream.Consumer(r.ctx, "aside")
		require.NoError(r.t, err)
		info := consumer.CachedInfo()
		return int(info.NumPending)+info.NumAckPending == n && stream.CachedInfo().State.Msgs == uint64(n)
	})
}

func TestAnEarlyFactWaitsForItsAccount(t *testing.T) {
	r := newRig(t)
	r.keepEvents(1)
	first := r.start(r.config())
	group, account := r.openGroup(), uuid.NewString()

	// In the wrong order: revisions put that right.
	for _, revision := range []int{3, 1, 2} {
		r.send("account", account, "record_position", position(revision))
	}
	r.aside(3)
	// A later command of the same id is not held up; this one has nothing to act upon.
	rejected := r.rejections()
	r.send("account", account, "rename", fields{"name": "Zwei"})
	_, body := rejected.next()
	require.Equal(t, 404, body.Error.Status)
	require.Equal(t, eventstore.CommandSubject("account", account, "rename"), body.Subject)

	// They wait in the stream, not in the engine.
	require.NoError(t, first.Stop(r.ctx))
	r.start(r.config())
	r.send("account", account, "open", trading(group))
	r.settled()
	commits := r.commits("account", account)
	require.Equal(t, "open", commits[0].Command)
	require.Equal(t, "record_position", commits[len(commits)-1].Command)
	require.Contains(t, string(commits[len(commits)-1].Events[0].Data), `"revision":3`)
	require.EqualValues(t, 1, r.events(), "none of the facts was rejected")
}

func TestAnEarlyFactIsRejectedInTheEnd(t *testing.T) {
	t.Parallel() // it waits most of the time
	r := newRig(t)
	r.keepEvents(1)
	cfg := r.config()
	cfg.EarlyFactWait = 2 * time.Second
	// The engine's clock has nothing to do with how long a fact waits.
	cfg.Now = func() time.Time { return time.Now().AddDate(1, 0, 0) }
	r.start(cfg)
	sent := time.Now()
	id := uuid.NewString()
	seq := r.send("account", someID, "record_position", fields{"isin": "US0378331005", "quantity": "1", "revision": 1, "command_id": id})
	msg, body := r.rejections().next()
	require.GreaterOrEqual(t, time.Since(sent), cfg.EarlyFactWait)
	require.Equal(t, "closure.event."+clientID+".command.rejected."+someID, msg.Subject())
	require.Equal(t, domain.DeriveID("command_rejected", "CLOSURE_COMMANDS", fmt.Sprint(seq)), body.ID, "the id is that of the command as it was sent")
	require.Equal(t, eventstore.CommandSubject("account", someID, "record_position"), body.Subject)
	require.Equal(t, id, *body.CommandID)
	require.Equal(t, []any{"https://docs.upvest.co/errors/not_found", 404}, []any{body.Error.Type, body.Error.Status})
	r.settled()
}

// TestAnEarlyFactOfTheLargestSize: with the headers that say where it came from it would be too large to be set aside.
func TestAnEarlyFactOfTheLargestSize(t *testing.T) {
	r := serve(t)
	group, account := r.openGroup(), uuid.NewString()
	fact := body(t, position(1))
	fact = append(fact, bytes.Repeat([]byte(" "), int(r.nc.MaxPayload())-len(fact))...)
	r.publish(eventstore.CommandSubject("account", account, "record_position"), fact)
	r.aside(1)
	r.send("account", account, "open", trading(group))
	r.settled()
	require.Len(t, r.commits("account", account), 2)
}

// TestAnAccountWaitsForTheGroupBeforeIt: the group's open was sent first but is held up in its partition for longer than
// anybody is patient; the account and what follows on it keep their places.
func TestAnAccountWaitsForTheGroupBeforeIt(t *testing.T) {
	r := newRig(t)
	r.keepEvents(1)
	group := uuid.NewString()
	account := inPartition(group, false)
	h := newHolder()
	cfg := r.config()
	tried := make(chan time.Time, 10_000)
	cfg.Engine = throughGate{cfg.Engine, func(ctx context.Context, c domain.Command) error {
		switch c.Target.ID {
		case group:
			return h.hold(ctx, c)
		case account:
			tried <- time.Now()
		}
		return nil
	}}
	r.start(cfg)
	r.send("account_group", group, "open", personal())
	h.wait(t)
	r.send("account", account, "open", trading(group))
	r.send("account", account, "rename", fields{"name": "Zwei"})
	r.send("account", account, "request_closure", fields{})
	for begin := <-tried; time.Since(begin) < 2*natsapi.GroupPatience; {
		select {
		case <-tried:
		case <-r.ctx.Done():
			t.Fatal("the account's open is not tried again")
		}
	}
	h.release()
	r.settled()
	var done []string
	for _, c := range r.commits("account", account) {
		done = append(done, c.Command)
	}
	require.Equal(t, []string{"open", "rename", "request_closure"}, done)
	require.Zero(t, r.events(), "nothing was rejected")
}

// TestAnAccountMakesWayForItsGroup: the group's open stands behind the account's in the same
// partition, so the account's has to make way.
func TestAnAccountMakesWayForItsGroup(t *testing.T) {
	r := serve(t)
	group := uuid.NewString()
	account := inPartition(group, true)
	r.send("account", account, "open", trading(group))
	r.send("account_group", group, "open", personal())
	r.settled()
	require.Len(t, r.commits("account", account), 1)
	require.Zero(t, r.events(), "nothing was rejected")
}

func TestAnAccountWithoutAGroupIsSetAside(t *testing.T) {
	t.Parallel() // it waits most of the time
	r := newRig(t)
	r.keepEvents(1)
	cfg := r.config()
	cfg.EarlyFactWait = 3 * time.Second
	r.start(cfg)
	group, account, orphan := uuid.NewString(), uuid.NewString(), uuid.NewString()
	r.send("account", account, "open", trading(group))
	r.send("account", orphan, "open", trading(someID))
	r.aside(2)
	require.Equal(t, handlers.Accepted, r.ask("account_group", group, "open", personal()).Result)
	r.until("the account is open", func() bool { return len(r.commits("account", account)) == 1 })
	_, body := r.rejections().next()
	require.Equal(t, eventstore.CommandSubject("account", orphan, "open"), body.Subject)
	require.Equal(t, "there is no account group with the id "+someID, body.Error.Detail)
	r.settled()
	require.EqualValues(t, 1, r.events())
}

// TestWhatIsPublishedWhereCommandsWait: anybody can, so it must do no harm.
func TestWhatIsPublishedWhereCommandsWait(t *testing.T) {
	r := serve(t)
	account := r.openAccount(r.openGroup())
	rejected := r.rejections()
	r.publish("closure.aside.x", nil)
	_, body := rejected.next()
	require.Equal(t, "closure.command.x", body.Subject)
	require.Contains(t, body.Error.Detail, "subject: must be closure.command.<aggregate>.<id>.<command>")
	r.publish("closure.aside.account."+account+".rename", []byte("{"))
	_, body = rejected.next()
	require.Contains(t, body.Error.Detail, "body: must be whole JSON")
	r.settled()
}

// TestAFactThatWaitsOutlastsTrouble: its time is up while nobody can tell whether its account is there. It is not rejected.
func TestAFactThatWaitsOutlastsTrouble(t *testing.T) {
	t.Parallel() // it waits most of the time
	r := newRig(t)
	r.keepEvents(1)
	cfg := r.config()
	cfg.EarlyFactWait = time.Second
	trouble := make(chan struct{}) // until it is closed
	tries := make(chan struct{}, 10_000)
	engine := cfg.Engine
	cfg.Engine = throughGate{engine, func(_ context.Context, c domain.Command) error {
		if !domain.IsFact(c.Payload) {
			return nil
		}
		tries <- struct{}{}
		if len(tries) == 1 {
			return nil // it is set aside
		}
		select {
		case <-trouble:
			return nil
		default:
			return errors.Join(eventstore.ErrUnavailable, errors.New("no leader"))
		}
	}}
	r.start(cfg)
	sent := time.Now()
	account := uuid.NewString()
	r.send("account", account, "record_position", position(1))
	r.until("its time is up", func() bool { return time.Since(sent) > 2*cfg.EarlyFactWait && len(tries) > 2 })
	require.Equal(t, handlers.Accepted, r.ask("account", account, "open", trading(r.openGroup())).Result)
	close(trouble)
	r.settled()
	require.Len(t, r.commits("account", account), 2)
	require.Zero(t, r.events(), "nothing was rejected")
}
