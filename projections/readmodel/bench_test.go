package readmodel_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
	"closure/projections/readmodel"
)

// benchCommits is how many commits the benchmarks read.
const benchCommits = 50_000

// benchLog gives a log of many accounts: each is opened, renamed, asked to close, and gets facts in between, mixed with
// the others' commits as in life.
func benchLog(b *testing.B, accounts int) (w *world, user string) {
	b.Helper()
	w, user = newWorld(b), uuid.NewString()
	fill(b, w, user, accounts, benchCommits)
	return w, user
}

// fill appends commits to the log of a world, of accounts that the world does not know.
func fill(t testing.TB, w *world, user string, accounts, commits int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	const writers = 16
	var group sync.WaitGroup
	for n := range writers {
		group.Go(func() {
			for i, mine := 0, benchAccounts(w.client, user, accounts/writers); i < commits/writers; i++ {
				if err := mine[i%len(mine)].step(ctx, w.log); err != nil {
					t.Errorf("writer %d: %v", n, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// benchAccount is an account that is written without the engine, which would load it for each command.
type benchAccount struct {
	id, client, user string
	head             eventstore.Head
}

func benchAccounts(client, user string, n int) []*benchAccount {
	out := make([]*benchAccount, n)
	for i := range out {
		out[i] = &benchAccount{id: uuid.NewString(), client: client, user: user}
	}
	return out
}

func (a *benchAccount) step(ctx context.Context, log *eventstore.Log) error {
	var events []domain.Event
	switch n := a.head.Version; {
	case n == 0:
		events = []domain.Event{domain.AccountOpened{
			AccountGroupID: uuid.NewString(), Type: domain.Trading, Name: "bench", AccountNumber: 1,
			Users: []domain.Party{{ID: a.user, Type: domain.Owner}},
		}, domain.Activated{}}
	case n%2 == 0:
		events = []domain.Event{domain.AccountRenamed{Name: fmt.Sprint("bench ", n)}}
	default:
		events = []domain.Event{domain.PositionRecorded{ISIN: isin1, Quantity: "1", PendingSettlement: "0", Revision: int64(n)}}
	}
	raw, err := replay.Encode(domain.KindAccount, events)
	if err != nil {
		return err
	}
	recorded, err := log.Append(ctx, eventstore.Commit{
		ID: uuid.NewString(), Aggregate: string(domain.KindAccount), AggregateID: a.id, ClientID: a.client, Actor: "bench",
		Command: "bench", CommandID: uuid.NewString(), Time: time.Now(), Events: raw,
	}, a.head)
	a.head = recorded.Head()
	return err
}

// BenchmarkCatchUp builds the file from a log of 50,000 commits. With more accounts than the model keeps states of
// (10,000), their commits are loaded again one account at a time.
func BenchmarkCatchUp(b *testing.B) {
	for _, accounts := range []int{5_000, 20_000} {
		b.Run(fmt.Sprintf("accounts=%d", accounts), func(b *testing.B) {
			w, _ := benchLog(b, accounts)
			for b.Loop() {
				m := readmodel.New(readmodel.Config{Path: filepath.Join(b.TempDir(), "readmodel.db"), Log: w.log})
				if err := m.Start(context.Background()); err != nil {
					b.Fatal(err)
				}
				if err := m.WaitFor(context.Background(), benchCommits); err != nil {
					b.Fatal(err)
				}
				stop(b, m)
			}
			b.ReportMetric(float64(benchCommits*b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkRead reads from a list of 20,000: pages at its two ends, and the start of the model, which checks the file.
func BenchmarkRead(b *testing.B) {
	w, user := benchLog(b, 20_000)
	path := filepath.Join(b.TempDir(), "readmodel.db")
	m, _ := started(b, w.log, path)
	if err := m.WaitFor(context.Background(), benchCommits); err != nil {
		b.Fatal(err)
	}
	for _, bm := range []struct {
		name, user string
		page       domain.Page
	}{
		{"first", "", domain.Page{}},
		{"last", "", domain.Page{Offset: 19_900, Sort: domain.SortUpdatedAt}},
		{"last of a user", user, domain.Page{Offset: 19_900, Sort: domain.SortUpdatedAt}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			for b.Loop() {
				if _, total, err := m.Accounts(context.Background(), w.client, bm.user, bm.page); err != nil || total != 20_000 {
					b.Fatal(total, err)
				}
			}
		})
	}
	stop(b, m)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			m := readmodel.New(readmodel.Config{Path: path, Log: w.log})
			if err := m.Start(context.Background()); err != nil {
				b.Fatal(err)
			}
			stop(b, m)
		}
		b.ReportMetric(float64(info.Size())/(1<<20), "MiB")
	})
}
