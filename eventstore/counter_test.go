package eventstore_test

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
)

func TestCounterIsUniqueAmongInstances(t *testing.T) {
	t.Parallel()
	s := embeddedtest.Server(t)
	const instances, workers, each, first = 3, 4, 100, 1_000_000
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var wg sync.WaitGroup
	for range instances {
		c := newCounter(t, openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{}).JetStream(),
			eventstore.CounterConfig{Name: "numbers", First: first, Block: 7})
		for range workers {
			wg.Go(func() {
				before := uint64(0)
				for range each {
					n, err := c.Next(testContext(t))
					mu.Lock()
					if err != nil || n < first || n <= before || seen[n] {
						t.Errorf("got %d after %d, seen %v, %v", n, before, seen[n], err)
					}
					seen[n], before = true, n
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	if len(seen) != instances*workers*each {
		t.Fatalf("%d different numbers, want %d", len(seen), instances*workers*each)
	}
	// The gaps are what the instances have left of their blocks, and no more.
	if high := maxKey(seen); high >= first+instances*workers*each+instances*7 {
		t.Fatalf("the highest number is %d", high)
	}
}

func newCounter(t testing.TB, js jetstream.JetStream, cfg eventstore.CounterConfig) *eventstore.Counter {
	t.Helper()
	c, err := eventstore.NewCounter(testContext(t), js, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func maxKey(m map[uint64]bool) (high uint64) {
	for n := range m {
		high = max(high, n)
	}
	return high
}

// A new instance begins behind the blocks of all that were there before, whatever
// it thinks the first number is.
func TestCounterGoesOn(t *testing.T) {
	t.Parallel()
	js := openLog(t).JetStream()
	for i, want := range []uint64{1, 17, 33} {
		c := newCounter(t, js, eventstore.CounterConfig{Name: "n", First: uint64(i)})
		if n, err := c.Next(testContext(t)); err != nil || n != want {
			t.Fatalf("instance %d: %d, %v; want %d", i, n, err, want)
		}
	}
	other := newCounter(t, js, eventstore.CounterConfig{Name: "other"})
	if n, err := other.Next(testContext(t)); err != nil || n != 1 {
		t.Fatalf("another counter: %d, %v; want 1", n, err)
	}
}

func TestCounterRefuses(t *testing.T) {
	t.Parallel()
	js := openLog(t).JetStream()
	ctx := testContext(t)
	if _, err := eventstore.NewCounter(ctx, js, eventstore.CounterConfig{Name: "a.*"}); err == nil {
		t.Error("a name that is no token: no error")
	}
	last := newCounter(t, js, eventstore.CounterConfig{Name: "last", First: math.MaxUint64 - 3, Block: 4})
	if n, err := last.Next(ctx); err == nil {
		t.Errorf("behind the last number: %d", n)
	}
	kv, err := js.KeyValue(ctx, eventstore.BucketCounters)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(ctx, "odd", "seven"); err != nil {
		t.Fatal(err)
	}
	odd := newCounter(t, js, eventstore.CounterConfig{Name: "odd"})
	if n, err := odd.Next(ctx); err == nil {
		t.Errorf("a stored value that is no number: %d", n)
	}
}

func TestCounterChecksTheBucket(t *testing.T) {
	t.Parallel()
	js := openLog(t).JetStream()
	ctx := testContext(t)
	if _, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: eventstore.BucketCounters, Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	_, err := eventstore.NewCounter(ctx, js, eventstore.CounterConfig{Name: "n"})
	mustBe(t, err, eventstore.ErrWrongStream)
}

// A deleted counter does not begin again: its numbers were given.
func TestCounterThatWasDeletedGivesNothing(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	ctx := testContext(t)
	c := newCounter(t, l.JetStream(), eventstore.CounterConfig{Name: "n", Block: 1})
	if _, err := c.Next(ctx); err != nil {
		t.Fatal(err)
	}
	kv, err := l.JetStream().KeyValue(ctx, eventstore.BucketCounters)
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(ctx, "n"); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	n, err := c.Next(short)
	mustBe(t, err, eventstore.ErrUnavailable)
	if n != 0 {
		t.Fatalf("gave %d", n)
	}
}
