package publisher

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
)

// BenchmarkPublish measures what fewEvents rests on: n events, each on a subject of its own, one by one and as one batch.
//
//	go test ./projections/publisher -run '^$' -bench BenchmarkPublish
func BenchmarkPublish(b *testing.B) {
	for _, sync := range []bool{true, false} {
		for _, n := range []int{1, 4, 8, 16, 32, 64, 256} {
			b.Run(fmt.Sprintf("sync=%t/singly/%d", sync, n), func(b *testing.B) {
				benchmarkPublish(b, sync, n, (*Publisher).publishSingly)
			})
			b.Run(fmt.Sprintf("sync=%t/batch/%d", sync, n), func(b *testing.B) {
				benchmarkPublish(b, sync, n, (*Publisher).publishBatch)
			})
		}
	}
}

// BenchmarkCatchUp measures how fast a publisher gets through a backlog of 2000 commits, by the disk's part in it.
func BenchmarkCatchUp(b *testing.B) {
	const backlog = 2000
	for _, sync := range []bool{true, false} {
		b.Run(fmt.Sprintf("sync=%t", sync), func(b *testing.B) {
			dir := b.TempDir()
			server, err := embedded.Start(embedded.Config{Dir: dir, NoSync: true})
			if err != nil {
				b.Fatal(err)
			}
			a := authorOn(b, server)
			a.open()
			for i := len(a.all); i < backlog; i++ {
				a.write(someAccount, &domain.RenameAccount{Name: fmt.Sprintf("Depot %d", i)})
			}
			a.log.Conn().Close()
			server.Shutdown()
			if a.server, err = embedded.Start(embedded.Config{Dir: dir, NoSync: !sync}); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(a.server.Shutdown)
			a.log = a.connect()
			for b.Loop() {
				b.StopTimer()
				// From the beginning, into a stream that is empty.
				_ = a.log.JetStream().DeleteConsumer(b.Context(), eventstore.StreamLog, "publisher")
				_ = a.log.JetStream().DeleteStream(b.Context(), eventstore.StreamEvents)
				p := New(Config{Log: a.connect()})
				b.StartTimer()
				if err := p.Start(b.Context()); err != nil {
					b.Fatal(err)
				}
				if err := p.WaitFor(b.Context(), backlog); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				stop(b, p)
				b.StartTimer()
			}
			b.ReportMetric(float64(b.N)*backlog/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

func benchmarkPublish(b *testing.B, sync bool, n int, publish func(*Publisher, context.Context, []event, map[string]published) error) {
	server, err := embedded.Start(embedded.Config{Dir: b.TempDir(), NoSync: !sync})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Shutdown)
	js, err := jetstream.New(embeddedtest.Connect(b, server))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := EnsureStream(b.Context(), js, 1); err != nil {
		b.Fatal(err)
	}
	p := &Publisher{js: js}
	sequence := uint64(0)
	for b.Loop() {
		events := make([]event, n)
		for i := range events {
			sequence++
			commit := eventstore.Recorded{Commit: eventstore.Commit{ID: uuid.NewString(), ClientID: uuid.NewString()}, Sequence: sequence}
			// About what an account weighs.
			body := strings.Repeat("x", 400)
			if events[i], err = cloudEvent(commit, domain.Publication{Type: domain.PublishedAccountClosed, ResourceID: uuid.NewString(), Body: body}); err != nil {
				b.Fatal(err)
			}
		}
		if err := publish(p, b.Context(), events, map[string]published{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/event")
}
