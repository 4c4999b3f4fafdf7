package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/access"
	"closure/eventstore/embedded"
	"closure/eventstore/replay"
)

// startApp on free ports, for tests that look inside.
func startEngine(tb testing.TB, data string, noSync bool) *app {
	tb.Helper()
	a, err := startApp(tb.Context(), settings{
		HTTPAddr: "127.0.0.1:0", NATSAddr: "127.0.0.1:0", Data: data, Replicas: 1, noSync: noSync, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(tb, err)
	return a
}

func stopEngine(tb testing.TB, a *app) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	require.NoError(tb, a.Stop(ctx))
}

// commitsOfOne is how many commits the accounts of a filled log have each.
const commitsOfOne = 10

// fillLog fills the log of a data folder past the engine, and has everything that follows the log done with it. Of twenty
// accounts one is closing, and has a timer.
func fillLog(tb testing.TB, data string, commits int) {
	tb.Helper()
	a := startEngine(tb, data, true)
	work, ctx := errgroup.WithContext(tb.Context())
	work.SetLimit(16)
	client := uuid.NewString()
	for n := range commits / commitsOfOne {
		work.Go(func() error { return fillAccount(ctx, a.log, client, n%20 == 0) })
	}
	require.NoError(tb, work.Wait())
	settle(tb, a)
	stopEngine(tb, a)
}

func fillAccount(ctx context.Context, log *eventstore.Log, client string, closes bool) error {
	var head eventstore.Head
	id := uuid.NewString()
	for n := range commitsOfOne {
		events := []domain.Event{domain.PositionRecorded{ISIN: "US0378331005", Quantity: domain.Decimal(strconv.Itoa(n)), PendingSettlement: "0", Revision: int64(n)}}
		switch {
		case n == 0:
			events = []domain.Event{domain.AccountOpened{
				AccountGroupID: uuid.NewString(), Type: domain.Trading, Name: "filled", AccountNumber: 1,
				Users: []domain.Party{{ID: uuid.NewString(), Type: domain.Owner}},
			}, domain.Activated{}}
		case n == commitsOfOne-1 && closes:
			events = []domain.Event{domain.ClosingInitiated{}}
		}
		raw, err := replay.Encode(domain.KindAccount, events)
		if err != nil {
			return err
		}
		commit := eventstore.Commit{
			ID: uuid.NewString(), Aggregate: string(domain.KindAccount), AggregateID: id, ClientID: client,
			Command: "fill", CommandID: uuid.NewString(), Actor: "test", Time: time.Now().UTC(), Events: raw,
		}
		recorded, err := log.Append(ctx, commit, head)
		for errors.Is(err, eventstore.ErrUnavailable) && ctx.Err() == nil { // a machine with much else to do
			recorded, err = log.Append(ctx, commit, head)
		}
		if err != nil {
			return err
		}
		head = recorded.Head()
	}
	return nil
}

// settle waits until everything that follows the log is done with it.
func settle(tb testing.TB, a *app) {
	tb.Helper()
	last, err := a.log.LastSequence(tb.Context())
	require.NoError(tb, err)
	for _, part := range a.started {
		if f, ok := part.(follower); ok {
			require.NoError(tb, f.WaitFor(tb.Context(), last))
		}
	}
}

// A start reads nothing of a log that everything was done with before, however long it is. A stop that could not store all
// progress in its time has some of it read once more, so not every start has to.
func TestStartDoesNotReadTheLog(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	const commits = 5000
	fillLog(t, data, commits)
	var read []uint64
	for range 5 {
		a := startEngine(t, data, true)
		require.NoError(t, a.Ready(t.Context()))
		settle(t, a)
		read = append(read, a.log.Conn().Stats().InMsgs)
		stopEngine(t, a)
		if read[len(read)-1] < commits/10 {
			return
		}
	}
	t.Errorf("the starts read %d messages, of a log of %d that was worked off", read, commits)
}

// While the lists are built for the first time the engine is not ready, says so, and does all that needs no list. The
// last commit is one of a version to come, so that the lists never get there.
func TestOtherCallsAreServedWhileTheListsAreBuilt(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	a := startEngine(t, data, true)
	c := addresses{HTTP: a.HTTPURL, NATS: a.NATSURL, Data: data}.caller(t, uuid.NewString())
	group := call2[domain.AccountGroupResource](c, http.MethodPost, "/account_groups", map[string]any{"user_id": uuid.NewString(), "type": "PERSONAL"}, http.StatusCreated)
	settle(t, a)
	_, err := a.log.Append(t.Context(), eventstore.Commit{
		ID: uuid.NewString(), Aggregate: "account", AggregateID: uuid.NewString(), ClientID: c.client, Command: "paint",
		CommandID: uuid.NewString(), Actor: "test", Time: time.Now().UTC(),
		Events: []eventstore.Event{{Type: "account.painted", Version: 1, Data: []byte(`{"colour":"blue"}`)}},
	}, eventstore.Head{})
	require.NoError(t, err)
	stopEngine(t, a)
	require.NoError(t, os.Remove(filepath.Join(data, "readmodel.db")))

	a = startEngine(t, data, true)
	defer stopEngine(t, a)
	c.base = a.HTTPURL
	status, header, body := c.do(http.MethodGet, "/readyz", "", nil)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.NotEmpty(t, header.Get("retry-after"))
	require.Contains(t, string(body), "not ready: the lists are being built\"") // how far is for operators: metrics and the log
	require.Equal(t, group, get[domain.AccountGroupResource](c, "/account_groups/"+group.ID))
	status, _, body = c.do(http.MethodDelete, "/account_groups/"+group.ID, "", nil)
	require.Equal(t, http.StatusAccepted, status, string(body))
	get[list[domain.AccountGroupResource]](c, "/account_groups") // as far as it is
}

// BenchmarkStart starts the server alone, and the whole engine until it is ready, in turn on the same folder. CLOSURE_BENCH_COMMITS
// is how long its log is, 200,000 by default.
func BenchmarkStart(b *testing.B) {
	commits := 200_000
	if s := os.Getenv("CLOSURE_BENCH_COMMITS"); s != "" {
		_, err := fmt.Sscan(s, &commits)
		require.NoError(b, err)
	}
	data := b.TempDir()
	fillLog(b, data, commits)
	var server, engine []time.Duration
	for b.Loop() {
		users, err := natsAccess(data)
		require.NoError(b, err)
		begin := time.Now()
		s, err := embedded.Start(embedded.Config{Addr: "127.0.0.1:0", Dir: filepath.Join(data, natsFolder), Access: users, Account: access.Account})
		server = append(server, time.Since(begin))
		require.NoError(b, err)
		s.Shutdown()

		begin = time.Now()
		a := startEngine(b, data, false)
		require.NoError(b, a.Ready(b.Context()))
		engine = append(engine, time.Since(begin))
		stopEngine(b, a)
	}
	alone, whole := median(server), median(engine)
	b.ReportMetric(0, "ns/op") // of both together: it says nothing
	b.ReportMetric(float64(alone.Microseconds())/1000, "ms/server")
	b.ReportMetric(float64(whole.Microseconds())/1000, "ms/engine")
	b.ReportMetric(float64(whole)/float64(alone), "ratio")
}

func median(of []time.Duration) time.Duration {
	slices.Sort(of)
	return of[len(of)/2]
}
