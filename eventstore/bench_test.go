package eventstore_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"closure/eventstore"
)

// BenchmarkAppend: one commit after the other, on many aggregates, without sync.
func BenchmarkAppend(b *testing.B) {
	l := openLog(b)
	w := newWriter(b, l)
	b.ResetTimer()
	w.spread(b.N, 1000)
}

// BenchmarkLoad: an aggregate of ten commits in a log of 20 000.
func BenchmarkLoad(b *testing.B) {
	l := openLog(b)
	newWriter(b, l).spread(20_000, 2000)
	ctx := context.Background()
	for i := 0; b.Loop(); i++ {
		if got, err := l.Load(ctx, "account", fmt.Sprintf("a%d", i%2000), 0); err != nil || len(got) != 10 {
			b.Fatalf("%d commits, %v", len(got), err)
		}
	}
}

// BenchmarkRead: the log in its order, 256 commits a request.
func BenchmarkRead(b *testing.B) {
	l := openLog(b)
	newWriter(b, l).spread(20_000, 2000)
	ctx, from, n := context.Background(), uint64(1), 0
	for b.Loop() {
		got, err := l.Read(ctx, from, 256)
		if err != nil {
			b.Fatal(err)
		}
		n += len(got)
		if from += uint64(len(got)); len(got) == 0 {
			from = 1
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "commits/s")
}

// BenchmarkFollower: a log of 50 000 commits from its start to its end.
func BenchmarkFollower(b *testing.B) {
	l := openLog(b)
	newWriter(b, l).spread(50_000, 2000)
	for _, c := range []struct {
		name     string
		parallel int
	}{{"", 0}, {"", 8}, {"durable", 0}, {"durable", 8}} {
		b.Run(fmt.Sprintf("name=%s,parallel=%d", c.name, c.parallel), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				name := c.name
				if name != "" {
					name = fmt.Sprintf("%s-%d-%d-%d", name, c.parallel, b.N, i)
				}
				var n atomic.Int64
				f := startFollower(b, l, eventstore.FollowerConfig{Name: name, Parallel: c.parallel,
					Handle: func(_ context.Context, commits []eventstore.Recorded) error {
						n.Add(int64(len(commits)))
						return nil
					}})
				waitFor(b, f, 50_000)
				if err := f.Stop(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*50_000/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkCommit: encode and decode a commit of two events.
func BenchmarkCommit(b *testing.B) {
	c := goldenCommit()
	body, err := c.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.Encode(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := eventstore.DecodeCommit(body); err != nil {
				b.Fatal(err)
			}
		}
	})
}
