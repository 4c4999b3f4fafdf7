package publisher

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded"
)

const day = 24 * time.Hour

// quarter goes on for three months: accounts are opened, renamed, bought into, sold out of and closed.
func (a *author) quarter(n int) {
	a.t.Helper()
	for month := range 3 {
		ref := domain.Ref{Kind: domain.KindAccount, ID: fmt.Sprintf("ac000000-0000-4000-8000-%012d", 100*n+month)}
		a.openAccount(ref)
		for week := range 4 {
			a.now = a.now.Add(7 * day)
			a.write(ref, &domain.RenameAccount{Name: fmt.Sprintf("Depot %d", a.now.Unix())})
			for i := range 3 {
				a.write(ref, &domain.RecordPosition{ISIN: basf, Quantity: domain.Decimal(fmt.Sprint(week + i + 1)), Revision: int64(3*week + i + 1)})
			}
			a.write(someGroup, &domain.Lock{})
			a.write(someGroup, &domain.Unlock{})
			a.write(ref, &domain.Lock{})
			a.write(ref, &domain.Unlock{})
		}
		a.write(ref, &domain.RequestAccountClosure{})
		a.now = a.now.Add(3 * day)
		closed := a.write(ref, &domain.RecordPosition{ISIN: basf, Quantity: "0", Revision: 100})
		a.write(someGroup, &domain.RecordAccountClosure{AccountID: ref.ID, ClosedAt: closed.Time})
	}
}

// aYear is a server on which the engine ran for a year, each quarter with another publisher, with a restart in the middle.
func aYear(t *testing.T) *author {
	t.Helper()
	dir := t.TempDir()
	boot := func() *embedded.Server {
		server, err := embedded.Start(embedded.Config{Dir: dir, NoSync: true})
		require.NoError(t, err)
		return server
	}
	a := authorOn(t, boot())
	a.open()
	for n := range 4 {
		p := a.start(Config{})
		a.quarter(n + 1)
		a.caughtUp(p)
		stop(t, p)
		if n == 1 {
			a.log.Conn().Close()
			a.server.Shutdown()
			a.server = boot()
			a.log = a.connect()
		}
	}
	t.Cleanup(func() { a.server.Shutdown() })
	require.GreaterOrEqual(t, a.now.Sub(a.all[0].Time), 365*day)
	return a
}

// received is what a consumer got of one event.
type received struct {
	from     place
	time     time.Time
	resource string
	name     string
}

func receive(t *testing.T, h nats.Header) received {
	t.Helper()
	sequence, err := strconv.ParseUint(h.Get("ce-logsequence"), 10, 64)
	require.NoError(t, err)
	index, err := strconv.Atoi(h.Get("closure-index"))
	require.NoError(t, err)
	at, err := time.Parse(time.RFC3339Nano, h.Get("ce-time"))
	require.NoError(t, err)
	return received{place{sequence, index}, at, h.Get("ce-subject"), h.Get("ce-type")}
}

// follow is a consumer of somebody else, with nothing of ours but the address: it handles what there is, and loses its connection
// in between, after it has handled an event and before it could say so.
func follow(t *testing.T, url, name, filter string, crashes int) []received {
	t.Helper()
	var got []received
	for done := false; !done; crashes-- {
		nc, err := nats.Connect(url)
		require.NoError(t, err)
		js, err := jetstream.New(nc)
		require.NoError(t, err)
		consumer, err := js.CreateOrUpdateConsumer(testContext(t), eventstore.StreamEvents, jetstream.ConsumerConfig{
			Durable: name, FilterSubject: filter, MaxAckPending: 1, AckWait: 500 * time.Millisecond,
		})
		require.NoError(t, err)
		for handled := 0; crashes <= 0 || handled < 40; handled++ {
			msg, err := next(testContext(t), consumer)
			require.NoError(t, err)
			if done = msg == nil; done {
				break
			}
			// What comes again is recognised by its id.
			if e := receive(t, msg.Headers()); len(got) == 0 || got[len(got)-1] != e {
				got = append(got, e)
			}
			if crashes > 0 && handled == 39 {
				break // without a word
			}
			require.NoError(t, msg.DoubleAck(testContext(t)))
		}
		nc.Close()
	}
	return got
}

// next waits for the next event; nil when the consumer has them all.
func next(ctx context.Context, consumer jetstream.Consumer) (jetstream.Msg, error) {
	for {
		info, err := consumer.Info(ctx)
		if err != nil {
			return nil, err
		}
		if info.NumPending == 0 && info.NumAckPending == 0 {
			return nil, nil
		}
		msg, err := consumer.Next(jetstream.FetchMaxWait(time.Second))
		if !errors.Is(err, nats.ErrTimeout) {
			return msg, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// Somebody begins a year later, and gets everything, in the order of the log: all of it, or what the filter asks for.
func TestAConsumerThatStartsAYearLater(t *testing.T) {
	t.Parallel()
	a := aYear(t)
	got := follow(t, a.server.ClientURL(), "late", "closure.event.>", 3)
	require.Greater(t, len(got), 250)

	var places []place
	closed := []received{}
	last := map[string]received{}
	for _, e := range got {
		places = append(places, e.from)
		require.Equal(t, a.all[e.from.sequence-1].Time, e.time)
		before, known := last[e.resource]
		require.True(t, !known || before.from.before(e.from), "%v after %v", e, before)
		require.False(t, known && e.time.Before(before.time))
		last[e.resource] = e
		if e.name == domain.PublishedAccountClosed {
			closed = append(closed, e)
		}
	}
	require.Equal(t, a.wanted(), places, "everything, once, in the order of the log")
	require.GreaterOrEqual(t, got[len(got)-1].time.Sub(got[0].time), 365*day)

	require.Len(t, closed, 12)
	require.Equal(t, closed, follow(t, a.server.ClientURL(), "closed", "closure.event.*.account.closed.>", 0))
	// And who was there from the beginning has got the same.
	require.Equal(t, got, follow(t, a.server.ClientURL(), "late-again", "closure.event."+someClient+".>", 0))
}
