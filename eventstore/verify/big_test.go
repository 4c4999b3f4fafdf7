package verify_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/verify"
)

// paper is a log that is in no server: it costs nothing to walk.
type paper []verify.Message

func (p paper) Scope() verify.Scope { return verify.Scope{To: uint64(len(p))} }

func (p paper) Walk(_ context.Context, handle func(verify.Message) error) error {
	for _, m := range p {
		if err := handle(m); err != nil {
			return err
		}
	}
	return nil
}

// chainsOnly are n aggregates of one commit each, which nobody can judge.
func chainsOnly(t testing.TB, n int) paper {
	t.Helper()
	log := make(paper, n)
	for i := range log {
		log[i] = messageOf(t, eventstore.Commit{
			ID: uuid.NewString(), Aggregate: "account", AggregateID: uuid.NewString(), ClientID: someClient, Version: 1,
			Time: newScribe(t).now, Events: []eventstore.Event{event("account.opened", `{}`)},
		})
		log[i].Sequence = uint64(i + 1)
	}
	return log
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Memory is what the documentation says for each aggregate.
func TestMemory(t *testing.T) {
	const aggregates = 20_000
	log := chainsOnly(t, aggregates)
	before, at := heap(), uint64(0)
	_, err := verify.Run(testContext(t), log, verify.Config{Judge: func(_ any, c eventstore.Recorded) (any, error) {
		if c.Sequence == aggregates {
			at = heap()
		}
		return nil, nil
	}})
	require.NoError(t, err)
	// The judge's own entry, without its state, is counted in.
	perAggregate := (at - before) / aggregates
	t.Logf("%d bytes an aggregate", perAggregate)
	require.Less(t, perAggregate, uint64(500))
}

func BenchmarkVerify(b *testing.B) {
	s := newScribe(b)
	for range 2000 {
		s.life(uuid.NewString(), uuid.NewString(), uuid.NewString())
	}
	for name, cfg := range map[string]verify.Config{"chains": {}, "judged": {Judge: judge}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := verify.Run(context.Background(), paper(s.log), cfg)
				require.NoError(b, err)
				require.True(b, r.OK)
			}
			b.ReportMetric(float64(b.N*len(s.log))/b.Elapsed().Seconds(), "commits/s")
		})
	}
}
