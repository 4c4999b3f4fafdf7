// Package handlers is the way in: a command becomes a decision becomes a commit. Its subpackages bring commands from
// HTTP (httpapi), from NATS (natsapi), and from what happened (process).
package handlers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
	"closure/eventstore/tracing"
)

// ErrContention means that others kept changing the aggregate while the command was decided, more often than the bound
// allows. Nothing was written: repeat the command later (HTTP 503).
var ErrContention = errors.New("the aggregate changed too often while the command was decided")

// Result is what became of a command that was not refused.
type Result string

// The results. A refused command is an error: a *domain.Refusal.
const (
	// Accepted: a commit was appended, and is safe.
	Accepted Result = "accepted"
	// Unchanged: it was already so.
	Unchanged Result = "unchanged"
)

// Outcome is the answer to a command. Sequence is the stream sequence of its commit, or of the aggregate's last one.
type Outcome struct {
	Result   Result
	Sequence uint64
}

// Numbers gives unique numbers: eventstore.Counter does.
type Numbers interface {
	Next(ctx context.Context) (uint64, error)
}

// Config of an Engine.
type Config struct {
	Log *eventstore.Log
	// SecuritiesAccountNumbers gives the numbers of account groups: 7 to 12 digits.
	SecuritiesAccountNumbers Numbers
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// CacheEntries bounds how many aggregates are kept in memory, those that were used last. Defaults to 10,000.
	CacheEntries int
	// Observe is told of every command that Do was asked for. Defaults to nobody.
	Observe func(Observation)
	// Tracer makes a span of every command. Defaults to none: a trace context that comes is handed on.
	Tracer trace.Tracer
	// Logger for what an operator may want to know. Defaults to none.
	Logger *slog.Logger
}

// Engine executes commands. Any number of engines may run on one log: the guard at append keeps them apart.
type Engine struct {
	log     *eventstore.Log
	numbers Numbers
	now     func() time.Time
	observe func(Observation)
	tracer  trace.Tracer
	logger  *slog.Logger
	seed    maphash.Seed
	turns   []*semaphore.Weighted
	cache   *cache
}

const (
	// attempts bounds load-decide-append. Rivals in this process take turns, so only other engines make it run out.
	attempts = 16
	// stripes is how many aggregates may be written at a time in this process, roughly.
	stripes = 1024
)

// New makes an engine.
func New(cfg Config) *Engine {
	e := &Engine{
		log: cfg.Log, numbers: cfg.SecuritiesAccountNumbers, now: cfg.Now, observe: cfg.Observe, tracer: cfg.Tracer, logger: cfg.Logger,
		seed: maphash.MakeSeed(),
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.logger == nil {
		e.logger = slog.New(slog.DiscardHandler)
	}
	if e.tracer == nil {
		e.tracer = tracing.None()
	}
	if cfg.CacheEntries <= 0 {
		cfg.CacheEntries = defaultCacheEntries
	}
	e.cache = newCache(cfg.CacheEntries)
	for range stripes {
		e.turns = append(e.turns, semaphore.NewWeighted(1))
	}
	return e
}

// Do validates and executes a command. The error is a *domain.Refusal when the domain says no; otherwise one of
// ErrContention, eventstore.ErrUnavailable, eventstore.ErrTooLarge, a context's error, or an internal one.
func (e *Engine) Do(ctx context.Context, c domain.Command) (Outcome, error) {
	begin := time.Now()
	ctx, span := e.traced(ctx, c)
	out, err := e.do(ctx, c)
	e.observed(c, out, err, time.Since(begin))
	endTraced(span, out, err)
	return out, err
}

func (e *Engine) do(ctx context.Context, c domain.Command) (Outcome, error) {
	if c.Time.IsZero() {
		c.Time = e.now()
	}
	c.Time = c.Time.UTC()
	if err := c.Validate(); err != nil {
		return Outcome{}, err
	}
	switch p := c.Payload.(type) {
	case *domain.OpenAccountGroup:
		return e.openAccountGroup(ctx, c, p)
	case *domain.OpenAccount:
		return e.openAccount(ctx, c, p)
	case *domain.RequestAccountClosure:
		return e.requestAccountClosure(ctx, c, p)
	}
	done, err := e.execute(ctx, c, nil)
	return done.Outcome, err
}

// done is an outcome with the state that it left.
type done struct {
	Outcome
	state domain.Aggregate
}

// prepare reads what a decision needs beside its aggregate, and puts it on the command. It runs before each attempt.
type prepare func(ctx context.Context, state domain.Aggregate) error

// execute is load-decide-append:
//
//  1. wait for the aggregate's turn in this process;
//  2. take its state from the cache, or load it: all of its commits;
//  3. prepare the command and decide;
//  4. append one commit, guarded by the head that the decision was based on;
//  5. on a conflict load what is new, and go back to 3, a bounded number of times;
//  6. no events, or a refusal: no guard has checked what it rests on. The cache, or a replica that lags, may have shown an old
//     state, so ask the leader once whether anything is new, and if so, go back to 3.
func (e *Engine) execute(ctx context.Context, c domain.Command, prepare prepare) (done, error) {
	turn := e.turn(c.Target.ID)
	if err := turn.Acquire(ctx, 1); err != nil {
		// Others change it one after the other, or the first of them waits for the log: nothing was done of this one.
		return done{}, fmt.Errorf("%w: %s %s: no turn: %w", ErrContention, c.Target.Kind, c.Target.ID, err)
	}
	defer turn.Release(1)

	state, head, err := e.known(ctx, c.Target)
	if err != nil {
		return done{}, err
	}
	fresh := false
	for range attempts {
		d, err := e.attempt(ctx, c, prepare, state, head)
		conflict := errors.Is(err, eventstore.ErrConflict)
		if !conflict && (fresh || d.Result == Accepted || !settled(err)) {
			return d, err
		}
		newer, next, loadErr := e.refresh(ctx, c.Target, state, head)
		if loadErr != nil {
			return done{}, loadErr
		}
		if next == head && !conflict {
			return d, err
		}
		state, head, fresh = newer, next, true
	}
	e.logger.Warn("gave up on a command: the aggregate keeps changing", "aggregate", c.Target.Kind, "id", c.Target.ID, "attempts", attempts)
	return done{}, fmt.Errorf("%w: %s %s, %d attempts", ErrContention, c.Target.Kind, c.Target.ID, attempts)
}

// turn is who may write the aggregate in this process: rivals wait in the order in which they came. Aggregates may share one.
func (e *Engine) turn(aggregateID string) *semaphore.Weighted {
	return e.turns[maphash.String(e.seed, aggregateID)%stripes]
}

// settled tells whether an attempt came to an answer: unchanged, or a refusal.
func settled(err error) bool {
	var refusal *domain.Refusal
	return err == nil || errors.As(err, &refusal)
}

func (e *Engine) attempt(ctx context.Context, c domain.Command, prepare prepare, state domain.Aggregate, head eventstore.Head) (done, error) {
	if prepare != nil {
		if err := prepare(ctx, state); err != nil {
			return done{}, err
		}
	}
	events, next, err := e.decide(ctx, c, state)
	if err != nil {
		return done{}, err
	}
	if len(events) == 0 {
		return done{Outcome{Unchanged, head.Sequence}, state}, nil
	}
	commit, err := commitOf(c, head, events)
	if err != nil {
		return done{}, err
	}
	recorded, err := e.append(ctx, commit, head)
	if err != nil {
		return done{}, err
	}
	// What stands in the log counts: when this append was a retry, it may have another time than the command has now.
	if !saysTheSame(recorded.Commit, commit) {
		next = state.Copy()
		if err := replay.Apply(next, []eventstore.Recorded{recorded}); err != nil {
			return done{}, err
		}
	}
	e.cache.put(c.Target, entry{next, recorded.Head()})
	return done{Outcome{Accepted, recorded.Sequence}, next}, nil
}

// commitOf writes a decision down. The commit's id follows from the command and from the version that it becomes, so an append
// that is retried is recognised, and a command id that a client uses twice never hides a second commit.
func commitOf(c domain.Command, head eventstore.Head, events []domain.Event) (eventstore.Commit, error) {
	raw, err := replay.Encode(c.Target.Kind, events)
	if err != nil {
		return eventstore.Commit{}, err
	}
	return eventstore.Commit{
		ID:        replay.CommitID(c.Target.Kind, c.Target.ID, head.Version+1, c.ID),
		Aggregate: string(c.Target.Kind), AggregateID: c.Target.ID, ClientID: c.ClientID,
		Command: c.Payload.CommandName(), CommandID: c.ID, Actor: c.Actor,
		RequestID: c.RequestID, CorrelationID: c.CorrelationID, CausationID: c.CausationID,
		Time: c.Time, Events: raw,
	}, nil
}

// saysTheSame tells whether the commit that was stored is the one that was decided, in all that a state follows from.
func saysTheSame(stored, decided eventstore.Commit) bool {
	return stored.ID == decided.ID && stored.ClientID == decided.ClientID && stored.Command == decided.Command &&
		stored.CommandID == decided.CommandID && stored.Actor == decided.Actor && stored.Time.Equal(decided.Time) &&
		slices.EqualFunc(stored.Events, decided.Events, func(a, b eventstore.Event) bool {
			return a.Type == b.Type && a.Version == b.Version && bytes.Equal(a.Data, b.Data)
		})
}

// load reads a resource for a client. Another client's is not found, and so is one that does not exist. What was just
// accepted is in it.
func (e *Engine) load(ctx context.Context, clientID string, ref domain.Ref) (domain.Aggregate, error) {
	state, _, err := e.latest(ctx, ref)
	if err != nil {
		return nil, err
	}
	if !state.Exists() || state.Client() != clientID {
		return nil, domain.Missing(ref.Kind, ref.ID)
	}
	return state, nil
}

// State reads an aggregate as it is right now, whoever's it is: for the engine's own work, never for an answer to a client.
func (e *Engine) State(ctx context.Context, ref domain.Ref) (domain.Aggregate, error) {
	state, _, err := e.latest(ctx, ref)
	return state, err
}
