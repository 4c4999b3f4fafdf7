package publisher_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/handlers"
	"closure/projections/publisher"
)

// follow hands the events of a consumer to handle, one after the other, until the context ends. An event that handle does not take
// comes again a second later, before those behind it.
func follow(ctx context.Context, consumer jetstream.Consumer, handle func(jetstream.Msg) error) error {
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		if failed := handle(msg); failed != nil {
			log.Printf("event %s: %v", msg.Headers().Get("ce-id"), failed)
			err = msg.NakWithDelay(time.Second)
		} else {
			err = msg.DoubleAck(ctx) // returns when the server has noted it
		}
		if err != nil {
			return err
		}
	}
}

// closedAccounts follows every account that was ever closed, and every one that will be.
func closedAccounts(ctx context.Context, js jetstream.JetStream, handle func(jetstream.Msg) error) error {
	consumer, err := js.CreateOrUpdateConsumer(ctx, "CLOSURE_EVENTS", jetstream.ConsumerConfig{
		Durable:       "closed-accounts", // the server keeps under this name how far it came
		FilterSubject: "closure.event.*.account.closed.>",
		MaxAckPending: 1, // one at a time: an event that failed is not overtaken
	})
	if err != nil {
		return err
	}
	return follow(ctx, consumer, handle)
}

// eventsOf follows all that happens to the resources of one client.
func eventsOf(ctx context.Context, js jetstream.JetStream, clientID string, handle func(jetstream.Msg) error) error {
	consumer, err := js.CreateOrUpdateConsumer(ctx, "CLOSURE_EVENTS", jetstream.ConsumerConfig{
		Durable:       "events-of-" + clientID,
		FilterSubject: "closure.event." + clientID + ".>",
		MaxAckPending: 1,
	})
	if err != nil {
		return err
	}
	return follow(ctx, consumer, handle)
}

// replay reads what happened from a date on once more, and goes on from there; the consumers that are there do not notice.
func replay(ctx context.Context, js jetstream.JetStream, name string, from time.Time, handle func(jetstream.Msg) error) error {
	consumer, err := js.CreateOrUpdateConsumer(ctx, "CLOSURE_EVENTS", jetstream.ConsumerConfig{
		Durable:       name, // a new one: where a consumer begins cannot be changed
		FilterSubject: "closure.event.>",
		MaxAckPending: 1,
		// By the time of storing, which is never before ce-time on a clock that is right.
		DeliverPolicy: jetstream.DeliverByStartTimePolicy,
		OptStartTime:  &from,
	})
	if err != nil {
		return err
	}
	return follow(ctx, consumer, func(msg jetstream.Msg) error {
		happened, err := time.Parse(time.RFC3339Nano, msg.Headers().Get("ce-time"))
		if err == nil && happened.Before(from) {
			return nil // stored late
		}
		return handle(msg)
	})
}

// All closed accounts, of all clients.
func Example_closedAccounts() {
	b := openBank()
	defer b.close()
	err := closedAccounts(b.ctx, b.js, b.until(2, func(msg jetstream.Msg) error {
		var account struct{ Name, Status string }
		if err := json.Unmarshal(msg.Data(), &account); err != nil {
			return err
		}
		fmt.Println(msg.Headers().Get("ce-type"), account.Name, account.Status)
		return nil
	}))
	fmt.Println(err)
	// Output:
	// ACCOUNT.CLOSED Weltreise CLOSED
	// ACCOUNT.CLOSED Ferien CLOSED
	// context canceled
}

// All events of one client. The second one is not taken at first: it comes again before the third.
func Example_eventsOfAClient() {
	b := openBank()
	defer b.close()
	tries := 0
	err := eventsOf(b.ctx, b.js, clientA, b.until(8, func(msg jetstream.Msg) error {
		if tries++; tries == 2 {
			fmt.Println("our database is away")
			return errors.New("try again")
		}
		fmt.Println(msg.Headers().Get("ce-type"))
		return nil
	}))
	fmt.Println(err)
	// Output:
	// ACCOUNT_GROUP.CREATED
	// our database is away
	// ACCOUNT_GROUP.ACTIVATED
	// ACCOUNT.CREATED
	// ACCOUNT.ACTIVATED
	// ACCOUNT.UPDATED
	// ACCOUNT.CLOSING_INITIATED
	// ACCOUNT.CLOSED
	// context canceled
}

// What happened from a date on: here the instant at which the second account was opened. Each event shows its account as it was
// then, before it was renamed and after.
func Example_replayFromADate() {
	b := openBank()
	defer b.close()
	err := replay(b.ctx, b.js, "audit-2026", b.date, b.until(5, func(msg jetstream.Msg) error {
		var resource struct{ Name string }
		if err := json.Unmarshal(msg.Data(), &resource); err != nil {
			return err
		}
		fmt.Println(msg.Headers().Get("ce-type"), resource.Name)
		return nil
	}))
	fmt.Println(err)
	// Output:
	// ACCOUNT.CREATED New
	// ACCOUNT.ACTIVATED New
	// ACCOUNT.UPDATED Ferien
	// ACCOUNT.CLOSING_INITIATED Ferien
	// ACCOUNT.CLOSED Ferien
	// context canceled
}

const (
	clientA = "aaaaaaaa-0000-4000-8000-000000000001"
	clientB = "bbbbbbbb-0000-4000-8000-000000000002"
)

// bank is an engine with two clients, each of which has closed an account: Weltreise, and after it Ferien.
type bank struct {
	ctx    context.Context
	cancel context.CancelFunc
	js     jetstream.JetStream // of a consumer, with a connection of its own
	date   time.Time           // when the account of the second client was opened
	ends   []func()
}

func openBank() *bank {
	b := &bank{}
	b.ctx, b.cancel = context.WithTimeout(context.Background(), time.Minute)
	b.ends = append(b.ends, b.cancel)
	dir := must(os.MkdirTemp("", "closure-example-"))
	b.ends = append(b.ends, func() { _ = os.RemoveAll(dir) })
	server := must(embedded.Start(embedded.Config{Dir: dir, NoSync: true}))
	b.ends = append(b.ends, server.Shutdown)
	connect := func() *nats.Conn {
		nc := must(nats.Connect(server.ClientURL()))
		b.ends = append(b.ends, nc.Close)
		return nc
	}
	journal := must(eventstore.Open(b.ctx, connect(), eventstore.Config{}))
	events := publisher.New(publisher.Config{Log: journal})
	b.ends = append(b.ends, func() { _ = events.Stop(context.Background()) })
	if err := events.Start(b.ctx); err != nil {
		panic(err)
	}
	numbers := must(eventstore.NewCounter(b.ctx, journal.JetStream(), eventstore.CounterConfig{Name: "securities_account_number", First: 1_000_000}))
	engine := handlers.New(handlers.Config{Log: journal, SecuritiesAccountNumbers: numbers})
	b.js = must(jetstream.New(connect()))
	for i, client := range []string{clientA, clientB} {
		id := func(kind string) string { return domain.DeriveID("example", client, kind) }
		group, account := domain.Ref{Kind: domain.KindAccountGroup, ID: id("group")}, domain.Ref{Kind: domain.KindAccount, ID: id("account")}
		do := func(ref domain.Ref, p domain.Payload) {
			must(engine.Do(b.ctx, domain.Command{Target: ref, ID: id(p.CommandName() + string(ref.Kind)), ClientID: client, Actor: "example", Payload: p}))
		}
		do(group, &domain.OpenAccountGroup{Users: []domain.Party{{ID: id("user"), Type: domain.Owner}}, Type: "PERSONAL"})
		do(account, &domain.OpenAccount{AccountGroupID: group.ID, Type: domain.Trading, Name: "New"})
		do(account, &domain.RenameAccount{Name: []string{"Weltreise", "Ferien"}[i]})
		do(account, &domain.RequestAccountClosure{})
	}
	if err := events.WaitFor(b.ctx, must(journal.LastSequence(b.ctx))); err != nil {
		panic(err)
	}
	stream := must(b.js.Stream(b.ctx, eventstore.StreamEvents))
	opened := must(stream.GetLastMsgForSubject(b.ctx, eventstore.EventSubject(clientB, domain.PublishedAccountCreated, "*")))
	b.date = must(time.Parse(time.RFC3339Nano, opened.Header.Get("ce-time")))
	return b
}

// until ends the context with the n-th event.
func (b *bank) until(n int, handle func(jetstream.Msg) error) func(jetstream.Msg) error {
	return func(msg jetstream.Msg) error {
		if n--; n == 0 {
			defer b.cancel()
		}
		return handle(msg)
	}
}

func (b *bank) close() {
	for _, end := range slices.Backward(b.ends) {
		end()
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
