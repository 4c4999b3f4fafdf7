package domain

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The cast of the tests.
const (
	someClient     = "c0000000-0000-4000-8000-000000000001"
	otherClient    = "c0000000-0000-4000-8000-000000000002"
	someGroup      = "90000000-0000-4000-8000-000000000001"
	otherGroup     = "90000000-0000-4000-8000-000000000002"
	firstAccount   = "ac000000-0000-4000-8000-000000000001"
	secondAccount  = "ac000000-0000-4000-8000-000000000002"
	thirdAccount   = "ac000000-0000-4000-8000-000000000003"
	owner          = "00000000-0000-4000-8000-000000000001"
	child          = "00000000-0000-4000-8000-000000000002"
	guardian       = "00000000-0000-4000-8000-000000000003"
	someFee        = "fee00000-0000-4000-8000-000000000001"
	someWithdrawal = "d0000000-0000-4000-8000-000000000001"
	nextWithdrawal = "d0000000-0000-4000-8000-000000000002"
	someAction     = "ca000000-0000-4000-8000-000000000001"

	someOrder        = "0de40000-0000-4000-8000-000000000001"
	nextOrder        = "0de40000-0000-4000-8000-000000000002"
	someLiquidation  = "11900000-0000-4000-8000-000000000001"
	nextLiquidation  = "11900000-0000-4000-8000-000000000002"
	thirdLiquidation = "11900000-0000-4000-8000-000000000003"
	someBooking      = "7a800000-0000-4000-8000-000000000001"

	basf  = "DE000BASF111"
	apple = "US0378331005"
	world = "IE00B4L5Y983"
)

// clock gives each command its own minute, so that every time in a test says which command it came from.
type clock struct {
	now   time.Time
	still bool
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 9, 0, 0, 0, time.UTC)} }

func (c *clock) tick() time.Time {
	if !c.still {
		c.now = c.now.Add(time.Minute)
	}
	return c.now
}

// stop makes everything that follows happen at one instant: what is sent, and what is sent again.
func (c *clock) stop(at time.Time) { c.now, c.still = at, true }

// stage is one aggregate with its log. The log is kept as the bytes that would be stored, so that whatever is folded
// from it has gone through the storage format.
type stage struct {
	agg           Aggregate
	ref           Ref
	client, actor string
	clock         *clock
	sent          int
	lines         [][]byte
	committed     map[string]bool // by the id of the command
	// shared is a log of several aggregates, in the order of their commits; nil for none.
	shared *[][]byte
	// opening is how the aggregate was opened.
	opening Payload
	// next is the state that the last decision leads to; nil when it has no events.
	next Aggregate
	// cause is the id of the commit that made a process manager send what is sent next; "" for none.
	cause string
}

func newStage(kind Kind, id string) *stage {
	ref := Ref{Kind: kind, ID: id}
	return &stage{agg: New(ref), ref: ref, client: someClient, actor: "support@bank.example", clock: newClock(), committed: map[string]bool{}}
}

// command wraps a payload; every command has its own id and its own minute.
func (s *stage) command(p Payload) Command {
	s.sent++
	return Command{
		Target: s.ref, ID: DeriveID("test command", s.ref.ID, strconv.Itoa(s.sent)), ClientID: s.client, Actor: s.actor,
		CausationID: s.cause, Time: s.clock.tick(), Payload: p,
	}
}

// try sends a command twice with its id, and once more with another one. It holds what every command of every table
// has to hold: Decide changes nothing and is a function of its input, what is stored folds to the state that was, and a
// command that comes again does nothing again.
func (s *stage) try(t rapid.TB, c Command) ([]Event, *Refusal) {
	t.Helper()
	require.NoError(t, c.Validate(), "the tables send well-formed commands; what is not is in the validation tables")
	events, refusal := s.decide(t, c)
	repeated := s.committed[c.ID]
	if len(events) > 0 {
		if !s.agg.Exists() {
			s.opening = c.Payload
		}
		s.commit(t, c, events)
	}
	s.again(t, c, events, refusal, repeated)
	return events, refusal
}

// decide asks twice, and compares the aggregate before and after.
func (s *stage) decide(t rapid.TB, c Command) ([]Event, *Refusal) {
	t.Helper()
	before := s.agg.Copy()
	events, err := s.agg.Decide(c)
	require.Equal(t, before, s.agg, "%s: Decide changed the aggregate", c.Payload.CommandName())
	sameEvents, next, sameErr := s.agg.DecideNext(c)
	require.Equal(t, before, s.agg, "%s: DecideNext changed the aggregate", c.Payload.CommandName())
	s.next = next
	require.Equal(t, events, sameEvents, "%s: the same question has two answers", c.Payload.CommandName())
	require.Equal(t, err, sameErr, "%s: the same question has two answers", c.Payload.CommandName())
	require.Equal(t, len(events) > 0, next != nil, "%s: a state without events, or events without one", c.Payload.CommandName())
	if err == nil {
		return events, nil
	}
	var refusal *Refusal
	require.True(t, errors.As(err, &refusal), "%s: an error that is no refusal: %v", c.Payload.CommandName(), err)
	require.Empty(t, events, "%s: refused, and events all the same", c.Payload.CommandName())
	require.NotEmpty(t, refusal.Detail)
	return nil, refusal
}

// commit stores and applies, and compares the state with the fold of all that is stored.
func (s *stage) commit(t rapid.TB, c Command, events []Event) {
	t.Helper()
	before, kept, next := s.replay(t, len(s.lines)), s.agg.Copy(), s.next.Copy()
	s.store(t, c, events)
	s.committed[c.ID] = true
	s.agg.Apply(c.Meta(), events)
	require.Equal(t, before, kept, "%s: Apply changed a copy that was taken before", c.Payload.CommandName())
	require.Equal(t, s.agg, s.replay(t, len(s.lines)), "%s: what is stored does not fold to the state", c.Payload.CommandName())
	require.Equal(t, s.agg, next, "%s: it leads to another state than what is stored", c.Payload.CommandName())
}

// again is the rule of idempotency. The one documented refusal: a command may ask for a status that it has itself ended, with
// the commit in which the closing came to its end, and CLOSED is final.
//
// A command that itself came again is only sent with its own id: with another one it is a new command.
func (s *stage) again(t rapid.TB, c Command, did []Event, first *Refusal, repeated bool) {
	t.Helper()
	name := c.Payload.CommandName()
	c.Time = s.clock.tick()
	events, refusal := s.decide(t, c)
	require.Empty(t, names(events), "%s did something again when it came again with its id", name)
	require.Equal(t, first, refusal, "%s: another answer when it came again with its id", name)

	if repeated {
		return
	}
	c.ID = DeriveID("another id", c.ID)
	events, refusal = s.decide(t, c)
	require.Empty(t, names(events), "%s did something again under another id", name)
	if first == nil && refusal != nil {
		documented := s.status() == StatusClosed && slices.Contains(did, Event(Closed{}))
		require.True(t, documented, "%s was refused when it came again: %v", name, refusal)
		require.Equal(t, Conflict, refusal.Kind)
		return
	}
	require.Equal(t, first, refusal, "%s: another answer under another id", name)
}

// names are the names of events without the kind, as the tables have them.
func names(events []Event) string {
	var out []string
	for _, e := range events {
		out = append(out, e.eventName())
	}
	return strings.Join(out, ", ")
}

// codes are the codes of what blocks.
func codes(blockers []Blocker) string {
	var out []string
	for _, b := range blockers {
		out = append(out, string(b.Code))
	}
	return strings.Join(out, ", ")
}

// does sends a command that must be accepted with these events ("" for none: unchanged).
func (s *stage) does(t rapid.TB, p Payload, want string) []Event {
	t.Helper()
	events, refusal := s.try(t, s.command(p))
	require.Nil(t, refusal, "%s was refused", p.CommandName())
	require.Equal(t, want, names(events), "the events of %s", p.CommandName())
	return events
}

// refuses sends a command that must be refused, and gives the refusal.
func (s *stage) refuses(t rapid.TB, p Payload, kind RefusalKind) *Refusal {
	t.Helper()
	events, refusal := s.try(t, s.command(p))
	require.NotNil(t, refusal, "%s was not refused; events: %s", p.CommandName(), names(events))
	require.Equal(t, kind, refusal.Kind, refusal.Detail)
	return refusal
}

// closure is the checklist at the time of the last command. A user has none: of it there is only what stands against offboarding.
func (s *stage) closure() Closure {
	if u, ok := s.agg.(*User); ok {
		return Closure{Blockers: u.Blockers()}
	}
	return s.preview(Outlook{})
}

// preview is the checklist with what the engine knows beside the aggregate.
func (s *stage) preview(o Outlook) Closure {
	o.Now = s.clock.now
	return s.agg.(Closable).Closure(o)
}

// status is the one word that clients see, of each kind of aggregate; "" for what does not exist.
func (s *stage) status() Status { return statusOf(s.agg) }

func statusOf(a Aggregate) Status {
	if u, ok := a.(*User); ok {
		return Status(u.Status())
	}
	return a.(Closable).Status()
}

// closableKinds are the kinds that are closed; a user is offboarded.
func closableKinds() []Kind { return []Kind{KindAccount, KindAccountGroup} }
