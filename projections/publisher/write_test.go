package publisher

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
)

// A crash anywhere between two publishes: what is there is skipped, what is missing follows.
func TestACrashBetweenPublishes(t *testing.T) {
	t.Parallel()
	crashAfter := func(crashed int) (done bool) {
		a := newAuthor(t)
		a.wholeStory()
		wanted := a.wanted()
		p := a.publisher()
		require.NoError(t, p.publishSingly(testContext(t), a.events(p)[:crashed], map[string]published{}))
		require.Len(t, a.published(), crashed)

		require.NoError(t, a.publisher().handle(testContext(t), a.all))
		require.Equal(t, wanted, a.published(), "crashed after %d", crashed)
		return crashed == len(wanted)
	}
	for crashed := 0; !crashAfter(crashed); crashed++ {
	}
}

// The server takes an id that it has seen within two minutes for a repetition and stores nothing. When the event is not
// there all the same (somebody purged the stream), that is no success.
func TestWhatTheServerTakesForARepetitionIsNotPublished(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	a.open()
	p := a.publisher()
	require.NoError(t, p.handle(testContext(t), a.all))
	require.NoError(t, p.stream.Purge(testContext(t)))
	require.Error(t, p.handle(testContext(t), a.all))
	require.Error(t, p.publishBatch(testContext(t), a.events(p), map[string]published{}))
	require.Empty(t, a.out())
}

// A flood of refused commands in the same stream does not hold up the publisher: its guards are its own subjects.
func TestOthersWriteInBetween(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	a.wholeStory()
	p := a.publisher()
	a.reject()
	for _, c := range a.all {
		// The events are decided, something comes in between, and they are published on what was seen before.
		events, err := p.eventsOf(testContext(t), c)
		require.NoError(t, err)
		last, err := p.lastOf(testContext(t), events)
		require.NoError(t, err)
		a.reject()
		if c.Sequence%2 == 0 && len(events) > 0 {
			require.NoError(t, p.publishBatch(testContext(t), events, last))
		} else {
			require.NoError(t, p.publishSingly(testContext(t), events, last))
		}
		a.reject()
	}
	require.Equal(t, a.wanted(), a.published())
	require.Len(t, a.out(), len(a.wanted())+1+2*len(a.all))
}

// The guards alone keep out what rests on an old look-up; that the server may also know an id is not relied upon. A batch is
// refused as a whole.
func TestTheGuards(t *testing.T) {
	t.Parallel()
	type publish func(*Publisher, context.Context, []event, map[string]published) error
	for name, publish := range map[string]publish{"singly": (*Publisher).publishSingly, "batch": (*Publisher).publishBatch} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthor(t)
			a.open()
			for i := range 3 {
				a.write(someAccount, &domain.RenameAccount{Name: fmt.Sprintf("Depot %d", i)})
			}
			p := a.publisher()
			events := a.events(p)
			for _, e := range events {
				e.msg.Header.Del(jetstream.MsgIDHeader)
			}
			last, err := p.lastOf(testContext(t), events)
			require.NoError(t, err)
			// Another publisher is quicker with the first event, or with one of the renames.
			other := a.publisher()
			quick := []event{a.events(other)[0]}
			if name == "batch" {
				quick = a.events(other)[len(events)-3 : len(events)-2]
			}
			require.NoError(t, other.publishSingly(testContext(t), quick, map[string]published{}))
			require.Error(t, publish(p, testContext(t), events, last))
			require.Len(t, a.out(), 1)
			if name == "singly" {
				require.NoError(t, p.publish(testContext(t), events))
				require.Equal(t, a.wanted(), a.published())
			}
		})
	}
}

// What stands on a subject of the publisher and is not from a publisher is an error, and never overwritten or overlooked.
func TestAMessageThatNoPublisherWrote(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	a.open()
	p := a.publisher()
	for _, headers := range []nats.Header{{}, {headerLogSequence: {"1"}}, {headerLogSequence: {"x"}, headerIndex: {"0"}}} {
		msg := nats.NewMsg(eventstore.EventSubject(someClient, domain.PublishedAccountCreated, someAccount.ID))
		msg.Header = headers
		_, err := p.js.PublishMsg(testContext(t), msg)
		require.NoError(t, err)
		require.ErrorContains(t, p.handle(testContext(t), a.all[2:]), "not written by a publisher")
	}
	require.Len(t, a.out(), 3)
}
