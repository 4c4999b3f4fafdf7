package process

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
	"closure/handlers"
)

const (
	someClient = "c0000000-0000-4000-8000-000000000001"
	owner      = "00000000-0000-4000-8000-000000000001"
	support    = "support@bank.example"
	basf       = "DE000BASF111"
)

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// stage is an engine on a log of its own; its process managers run once they are started.
type stage struct {
	t      testing.TB
	server *embedded.Server
	log    *eventstore.Log
	engine *handlers.Engine
	// ahead is how far the clock of the stage runs ahead of the machine's, in nanoseconds.
	ahead atomic.Int64
}

func (s *stage) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// setClock lets it be a time now; the clock goes on from there.
func (s *stage) setClock(now time.Time) { s.ahead.Store(int64(time.Until(now))) }

func newStage(t testing.TB) *stage {
	t.Helper()
	s := &stage{t: t, server: embeddedtest.Server(t)}
	s.engine, s.log = s.another()
	return s
}

// another engine on the same log, as another process has it.
func (s *stage) another() (*handlers.Engine, *eventstore.Log) {
	s.t.Helper()
	log, err := eventstore.Open(testContext(s.t), embeddedtest.Connect(s.t, s.server), eventstore.Config{})
	require.NoError(s.t, err)
	numbers, err := eventstore.NewCounter(testContext(s.t), log.JetStream(), eventstore.CounterConfig{Name: "securities_account_number", First: 1_000_000})
	require.NoError(s.t, err)
	return handlers.New(handlers.Config{Log: log, SecuritiesAccountNumbers: numbers, Now: s.now}), log
}

// manager runs in a process of its own until the end of the test.
func (s *stage) manager(logger *slog.Logger) *Manager {
	s.t.Helper()
	engine, log := s.another()
	return s.start(New(Config{Engine: engine, Log: log, Logger: logger, Now: s.now}))
}

func (s *stage) start(m *Manager) *Manager {
	s.t.Helper()
	require.NoError(s.t, m.Start(testContext(s.t)))
	s.t.Cleanup(func() { s.stop(m) })
	return m
}

func (s *stage) stop(m *Manager) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(s.t, m.Stop(ctx))
}

// command wraps a payload; every command has an id of its own.
func command(kind domain.Kind, id string, p domain.Payload) domain.Command {
	return domain.Command{Target: domain.Ref{Kind: kind, ID: id}, ID: uuid.NewString(), ClientID: someClient, Actor: support, Payload: p}
}

func (s *stage) accepted(c domain.Command) handlers.Outcome {
	s.t.Helper()
	out, err := s.engine.Do(testContext(s.t), c)
	require.NoError(s.t, err, c.Payload.CommandName())
	require.Equal(s.t, handlers.Accepted, out.Result, c.Payload.CommandName())
	return out
}

func (s *stage) openGroup() string {
	s.t.Helper()
	id := uuid.NewString()
	s.accepted(command(domain.KindAccountGroup, id, group()))
	return id
}

func group() *domain.OpenAccountGroup {
	return &domain.OpenAccountGroup{Users: []domain.Party{{ID: owner, Type: domain.Owner}}, Type: "PERSONAL"}
}

func (s *stage) openAccount(groupID string) string {
	s.t.Helper()
	id := uuid.NewString()
	s.accepted(command(domain.KindAccount, id, &domain.OpenAccount{AccountGroupID: groupID, Type: domain.Trading, Name: "Depot"}))
	return id
}

func (s *stage) last() uint64 {
	s.t.Helper()
	last, err := s.log.LastSequence(testContext(s.t))
	require.NoError(s.t, err)
	return last
}

// settle waits until the manager has nothing left to do, also not for what it has written itself.
func (s *stage) settle(m *Manager) {
	s.t.Helper()
	for {
		last := s.last()
		require.NoError(s.t, m.follower.WaitFor(testContext(s.t), last))
		if s.last() == last {
			return
		}
	}
}

func (s *stage) commits(kind domain.Kind, id string) []eventstore.Recorded {
	s.t.Helper()
	commits, err := s.log.Load(testContext(s.t), string(kind), id, 0)
	require.NoError(s.t, err)
	return commits
}

func eventTypes(commits ...eventstore.Recorded) []string {
	var types []string
	for _, c := range commits {
		for _, e := range c.Events {
			types = append(types, e.Type)
		}
	}
	return types
}

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.buf.Bytes(), []byte(s))
}

// eventually checks a condition that nothing signals.
func (s *stage) eventually(what string, ok func() bool) {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	ctx := testContext(s.t)
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.FailNow(s.t, "no "+what)
		}
	}
}
