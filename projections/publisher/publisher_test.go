package publisher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
)

// The whole log handled again, by a publisher that knows nothing of the one before it, adds no message.
func TestPublishedAgainIsPublishedOnce(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	a.wholeStory()
	first := a.start(Config{})
	a.caughtUp(first)
	before := a.out()
	stop(t, first)

	require.NoError(t, a.log.JetStream().DeleteConsumer(testContext(t), eventstore.StreamLog, "publisher"))
	again := a.start(Config{})
	require.Zero(t, again.Position())
	a.caughtUp(again)
	require.Equal(t, before, a.out())
	require.Equal(t, a.wanted(), a.published())
	lag, err := again.Lag(testContext(t))
	require.NoError(t, err)
	require.Zero(t, lag)

	a.write(someAccount, &domain.RecordPosition{ISIN: basf, Quantity: "7", Revision: 10})
	a.caughtUp(again)
	require.Equal(t, a.wanted(), a.published(), "and it goes on behind")
}

// Several publishers work on the same log at once, as happens when one was paused and wakes up. Each is refused where
// another one was quicker, and repeats itself; the events stand there once and in order all the same.
func TestPublishersAtOnce(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	a.open()
	for i := range 150 {
		a.write(someAccount, &domain.RenameAccount{Name: fmt.Sprintf("Depot %d", i)})
		if i%10 == 0 {
			a.openAccount(domain.Ref{Kind: domain.KindAccount, ID: fmt.Sprintf("ac000000-0000-4000-8000-%012d", 100+i)})
		}
	}
	var wg sync.WaitGroup
	refused := make([]int, 4)
	for i := range refused {
		p := a.publisher()
		random := rand.New(rand.NewPCG(uint64(i), 7))
		wg.Go(func() {
			for next := 0; next < len(a.all); {
				// Runs of any length, so that single publishes and batches meet.
				n := min(1+random.IntN(80), len(a.all)-next)
				if err := p.handle(testContext(t), a.all[next:next+n]); err != nil {
					refused[i]++
					continue
				}
				next += n
			}
		})
	}
	wg.Wait()
	require.Equal(t, a.wanted(), a.published())
	total := 0
	for _, n := range refused {
		total += n
	}
	require.NotZero(t, total, "they never met; the test shows nothing")
}

// A publisher that is far behind writes in batches, and each event shows its resource as it was at its commit.
func TestABacklog(t *testing.T) {
	t.Parallel()
	const backlog = 2000
	a := newAuthor(t)
	a.open()
	for i := len(a.all); i < backlog; i++ {
		a.write(someAccount, &domain.RenameAccount{Name: fmt.Sprintf("Depot %d", i)})
	}
	p := a.start(Config{})
	a.caughtUp(p)
	require.Equal(t, a.wanted(), a.published())

	batches := map[string]int{}
	singly := 0
	for _, msg := range a.out() {
		if id := msg.Header.Get("Nats-Batch-Id"); id != "" {
			batches[id]++
		} else {
			singly++
		}
		if msg.Header.Get(headerType) != domain.PublishedAccountUpdated {
			continue
		}
		var body domain.AccountResource
		require.NoError(t, json.Unmarshal(msg.Data, &body))
		var sequence int
		require.NoError(t, json.Unmarshal([]byte(msg.Header.Get(headerLogSequence)), &sequence))
		require.Equal(t, fmt.Sprintf("Depot %d", sequence-1), body.Name)
		require.Equal(t, a.all[sequence-1].Time, body.UpdatedAt)
	}
	require.Less(t, len(batches), 40, "%d events in batches: %v", backlog, batches)
	require.Less(t, singly, backlog/10, "events that went singly")
}

// Also a publisher that begins in the middle, knowing nothing, shows each resource as it was at the commit, not as it is.
func TestTheBodyIsAsOfTheCommit(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	a.open()
	for i := len(a.all); i < 15; i++ {
		a.write(someAccount, &domain.RenameAccount{Name: fmt.Sprintf("Depot %d", i+1)})
	}
	for i := range a.all {
		require.NoError(t, a.publisher().handle(testContext(t), a.all[i:i+1]))
	}
	for _, msg := range a.out() {
		if msg.Header.Get(headerType) == domain.PublishedAccountUpdated {
			require.Contains(t, string(msg.Data), `"name":"Depot `+msg.Header.Get(headerLogSequence)+`"`)
		}
	}
	require.Equal(t, a.wanted(), a.published())
}

// A commit that cannot be read is not skipped: all before it is published, and nothing behind it.
func TestACommitThatCannotBeReadStopsThePublisher(t *testing.T) {
	t.Parallel()
	other := domain.Ref{Kind: domain.KindAccountGroup, ID: "90000000-0000-4000-8000-000000000002"}
	behind := func(a *author) {
		// Of another aggregate, too: the order of the log holds for all.
		a.write(other, &domain.OpenAccountGroup{Users: []domain.Party{{ID: owner, Type: domain.Owner}}, Type: "PERSONAL"})
		a.write(someGroup, &domain.Lock{})
	}
	cases := map[string]func(a *author){
		"an event that is not known": func(a *author) { a.teleport(someAccount) },
		"no commit at all": func(a *author) {
			_, err := a.log.JetStream().Publish(testContext(a.t), eventstore.LogSubject("account", "somebody"), []byte("hello"))
			require.NoError(a.t, err)
			a.all = append(a.all, eventstore.Recorded{})
		},
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthor(t)
			a.open()
			wanted := a.wanted()
			bad := uint64(len(a.all) + 1)
			spoil(a)
			behind(a)
			tried := make(chan string, 100)
			p := a.start(Config{Logger: slog.New(slog.NewTextHandler(writerFunc(func(line []byte) {
				select {
				case tried <- string(line):
				default: // enough is known
				}
			}), nil))})
			// It has tried, and tried again.
			for tries := 0; tries < 3; {
				select {
				case line := <-tried:
					if bytes.Contains([]byte(line), []byte("again")) || bytes.Contains([]byte(line), []byte("staying")) {
						tries++
					}
				case <-time.After(patience):
					require.FailNow(t, "the log says nothing")
				}
			}
			require.Equal(t, wanted, a.published())
			require.Less(t, p.Position(), bad)
			lag, err := p.Lag(testContext(t))
			require.NoError(t, err)
			require.GreaterOrEqual(t, lag, uint64(3))
		})
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(line []byte) (int, error) {
	f(line)
	return len(line), nil
}

// Of two publishers one is active; the other follows its progress, and takes over.
func TestTwoPublishers(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	publishers := []*Publisher{a.start(Config{}), a.start(Config{})}
	a.wholeStory()
	for _, p := range publishers {
		a.caughtUp(p)
	}
	stop(t, publishers[0])
	a.write(someAccount, &domain.RecordPosition{ISIN: basf, Quantity: "7", Revision: 10})
	a.caughtUp(publishers[1])
	require.Equal(t, a.wanted(), a.published())
}

// Nothing expires from the stream, and a second start does not touch it.
func TestEnsureStream(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	for range 2 {
		stream, err := EnsureStream(testContext(t), a.log.JetStream(), 0)
		require.NoError(t, err)
		cfg := stream.CachedInfo().Config
		require.Equal(t, jetstream.FileStorage, cfg.Storage)
		require.Equal(t, jetstream.LimitsPolicy, cfg.Retention)
		require.Zero(t, cfg.MaxAge)
		require.EqualValues(t, -1, cfg.MaxMsgs)
		require.Equal(t, 1, cfg.Replicas)
		require.Equal(t, []string{"closure.event.>"}, cfg.Subjects)
	}
}

func TestStopBeforeStartAndTwice(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	p := New(Config{Log: a.log})
	stop(t, p)
	stop(t, p)
	p = a.start(Config{})
	stop(t, p)
	stop(t, p)
}
