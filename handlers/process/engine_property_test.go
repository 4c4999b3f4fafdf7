package process

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
)

// The numbers of TestAnyInterleavingThroughTheEngine.
const (
	stories    = 24
	leastSteps = 40
	mostSteps  = 80
	stallAfter = 100 * 24 * time.Hour
)

// What is counted beside the events, so that the property does not hold of nothing.
const (
	closedByItself = "closed before the end of its story"
	waited         = "closed in the UK, after the tax year of the request"
	refusedBuy     = "BUY order refused while closing"
	contended      = "given up, since others were quicker"
)

// property is what all stories share: one log with two engines and the process managers, and the clock.
type property struct {
	*stage
	engines []*handlers.Engine
	manager *Manager
	// again does work that is done already.
	again *Manager
	// seeds is by which seed an aggregate came about.
	seeds  map[string]uint64
	counts map[string]int
}

// TestAnyInterleavingThroughTheEngine is the property of package domain once more, with all that runs in production: never
// CLOSED with a blocker, never over an open or unknown account, CLOSED as soon as the last blocker goes, nothing lost that
// came later, and whatever is done twice changes nothing. It reads the answers off the log.
//
// It draws without rapid: what runs at once does not run the same way again, so there is nothing to shrink. A story that
// failed is told again, as the first one, by its seed.
func TestAnyInterleavingThroughTheEngine(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("CLOSURE_TEST_SEED"); s != "" {
		_, err := fmt.Sscan(s, &seed)
		require.NoError(t, err)
	}
	t.Logf("seed %d (CLOSURE_TEST_SEED repeats it)", seed)
	p := newProperty(t)
	for i := range uint64(stories) {
		p.tell(seed + i)
	}
	p.doEverythingAgain()
	t.Logf("%d stories, %d commits; given up %d times", stories, p.last(), p.counts[contended])
	for _, what := range []string{
		domain.EventAccountClosed, domain.EventGroupClosed, domain.EventUserOffboarded, domain.EventAccountReconciliationRequired,
		domain.EventGroupReconciliationRequired, domain.EventLiquidationSettled, domain.EventOrderCancellationRequested,
		domain.EventAccountClosureStalled, domain.EventGroupTaxStatementRequested, closedByItself, waited, refusedBuy,
	} {
		t.Logf("%s: %d", what, p.counts[what])
		require.NotZero(t, p.counts[what], "%s: it never came, and the property holds of nothing", what)
	}
}

func newProperty(t *testing.T) *property {
	t.Helper()
	p := &property{stage: newStage(t), seeds: map[string]uint64{}, counts: map[string]int{}}
	p.setClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	other, _ := p.another()
	p.engines = []*handlers.Engine{p.engine, other}
	p.manager, p.again = p.start(p.worker()), p.worker()
	require.NoError(t, p.again.timers.Start(testContext(t)))
	t.Cleanup(func() { p.stop(p.again) })
	return p
}

// worker is a process manager with an engine of its own.
func (p *property) worker() *Manager {
	engine, log := p.another()
	return New(Config{Engine: engine, Log: log, Now: p.now, StallAfter: stallAfter})
}

// follow sets the manager to work that does work again.
func (p *property) follow(cfg eventstore.FollowerConfig) {
	cfg.Parallel, cfg.Handle = parallel, p.again.handle
	p.again.follower = eventstore.NewFollower(p.again.cfg.Log, cfg)
	require.NoError(p.t, p.again.follower.Start(testContext(p.t)))
}

// forward moves the clock, never back.
func (p *property) forward(to time.Time) {
	if to.After(p.now()) {
		p.setClock(to)
	}
}

// tell tells one story, and checks it.
func (p *property) tell(seed uint64) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*patience)
	defer cancel()
	defer func() {
		if p.t.Failed() {
			p.t.Logf("CLOSURE_TEST_SEED=%d tells this story first", seed)
		}
	}()
	r := &story{property: p, ctx: ctx, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), stated: map[domain.Payload]stated{}}
	// Each begins on its own day of a year: which year it is depends on the stories before.
	r.forward(time.Date(r.now().Year()+1, 1, 1+r.random.IntN(365), r.random.IntN(24), r.random.IntN(60), 0, 0, time.UTC))
	first := r.last() + 1
	r.begin()
	for range leastSteps + r.random.IntN(mostSteps-leastSteps+1) {
		r.step()
	}
	r.pass(r.now()) // what is due comes, and all that follows from it
	r.checkMiddle()
	r.workAgain(first)
	r.end()
	r.late()
	r.offboard()
	r.check()
}

func (r *story) refs() []domain.Ref { return slices.Concat(r.groups, r.accounts) }

// checkMiddle: the highest revision of each fact counts, in whatever order they came.
func (r *story) checkMiddle() {
	for _, ref := range r.refs() {
		state := r.serve(ref, 0)
		if state == nil {
			continue
		}
		h := r.history(ref)
		for _, s := range r.sources {
			if s.of == ref && s.highest > 0 {
				require.Equal(r.t, s.highest, h.ledger.revisions[s.key], "%v: revision of %s", ref, s.key)
				require.Equal(r.t, asRecorded(s.says[s.highest], h.ledger.said[s.key]), h.ledger.said[s.key], "%v: what is known of %s", ref, s.key)
			}
		}
		if state.(closable).Status() == domain.StatusClosed {
			r.counts[closedByItself]++
		}
	}
}

// end brings everything to its end, as operators do: round by round, since withdrawals refuse a closing, and a tax year has
// to pass.
func (r *story) end() {
	for range 5 {
		for _, ref := range r.refs() {
			r.send(r.command(ref, &domain.Unlock{}))
			r.send(r.command(ref, &domain.Activate{}))
			if ref.Kind == domain.KindAccount && r.random.IntN(2) == 0 {
				r.send(r.command(ref, &domain.RequestLiquidation{LiquidationID: r.id(), UserID: r.users[0].ID}))
			}
			r.send(r.clearing(ref)...)
			r.send(r.clearing(ref)...) // what a BUY order bought, when it is filled
		}
		for _, ref := range r.refs() {
			var p domain.Payload = &domain.RequestAccountClosure{}
			if ref.Kind == domain.KindAccountGroup {
				p = &domain.RequestAccountGroupClosure{}
			}
			r.send(r.command(ref, p))
		}
		r.pass(r.now())
		if r.allClosed() {
			return
		}
		r.pass(time.Date(r.now().Year()+1, time.April, 7, 0, 0, 0, 0, time.UTC))
	}
	require.True(r.t, r.allClosed(), "a closing does not come to its end")
}

func (r *story) allClosed() bool {
	return !slices.ContainsFunc(r.refs(), func(ref domain.Ref) bool {
		state := r.serve(ref, 0)
		return state != nil && state.(closable).Status() != domain.StatusClosed
	})
}

// late sends what comes after CLOSED, and settles some of it.
func (r *story) late() {
	for range 8 {
		r.send(r.fact(oneOf(r, r.sources...)))
		ref := oneOf(r, r.refs()...)
		state := r.serve(ref, 0)
		if state == nil || r.random.IntN(4) > 0 {
			continue
		}
		if open := state.(closable).Closure(domain.Outlook{Now: r.now()}).Reconciliation; len(open) > 0 {
			r.send(r.command(ref, &domain.SettleReconciliation{ReconciliationID: oneOf(r, open...).ID, Note: "sent back"}))
		}
	}
}

// offboard ends the relation with the users, once the tax statements are made: the reports are a projection's work, which is
// done here by hand.
func (r *story) offboard() {
	for _, user := range slices.Backward(r.users) {
		r.send(r.command(domain.Ref{Kind: domain.KindUser, ID: user.ID}, &domain.RequestOffboarding{}))
		r.send(r.openGroup()) // refused, and those who were told of it before have to forget it
		r.settle(r.manager)   // a process manager that would finish the open may tell them again, and take it back again
	}
	r.pass(time.Date(r.now().Year()+1, time.March, 20, 0, 0, 0, 0, time.UTC))
	for _, ref := range r.groups {
		h := r.history(ref)
		if h.when(domain.EventGroupTaxStatementRequested, nil) == 0 {
			continue
		}
		group := h.states[len(h.states)-1].(*domain.AccountGroup)
		for _, user := range group.Users {
			if user.Owns() {
				made := &domain.RecordReport{UserID: user.ID, Type: domain.ReportAnnualTaxStatement, SHA256: "aa", Size: 1}
				made.ReportID = group.ReportID(made.UserID, made.Type)
				r.send(r.command(ref, made))
			}
		}
	}
	r.pass(r.now())
}

// check reads the whole story off the log.
func (r *story) check() {
	histories := map[domain.Ref]*history{}
	refs := r.refs()
	for _, user := range r.users {
		refs = append(refs, domain.Ref{Kind: domain.KindUser, ID: user.ID})
	}
	for _, ref := range refs {
		r.seeds[ref.ID] = r.seed
		histories[ref] = r.history(ref)
		r.checkEnd(histories[ref])
	}
	for _, s := range r.served {
		r.checkServed(histories[domain.Ref{Kind: s.state.Kind(), ID: s.state.AggregateID()}], s)
	}
	for _, c := range r.accepted {
		r.checkAccepted(histories[c.Target], c)
	}
	r.checkOrder(histories)
}

// workAgain does all the work of the story so far once more, in the middle of it. One thing may come of it: an account that
// was opened after its group had moved is told of the move. That means nothing to it: its close request asks the group itself.
func (r *story) workAgain(first uint64) {
	last := r.last()
	r.follow(eventstore.FollowerConfig{From: first})
	require.NoError(r.t, r.again.WaitFor(r.ctx, last))
	require.NoError(r.t, r.again.follower.Stop(r.ctx))
	r.pass(r.now()) // with the timers that it has set anew
	added, err := r.log.Read(r.ctx, last+1, 100)
	require.NoError(r.t, err)
	for _, c := range added {
		require.Equal(r.t, []string{domain.EventAccountDomicileRecorded}, eventTypes(c), "work done twice, %s %s", c.Aggregate, c.AggregateID)
		state := r.serve(domain.Ref{Kind: domain.KindAccount, ID: c.AggregateID}, c.Sequence).(closable)
		require.Nil(r.t, state.RequestedAt(), "work done twice, account %s", c.AggregateID)
	}
}

// doEverythingAgain does all the work of all stories again, from the first commit on and under another name, as if nobody
// had ever done it. Nothing comes of it.
func (p *property) doEverythingAgain() {
	p.stop(p.manager)
	last := p.last()
	p.follow(eventstore.FollowerConfig{Name: "again"})
	p.settle(p.again)
	for _, t := range p.pending(p.again) {
		p.forward(t.Due)
		require.NoError(p.t, p.again.Timers().Expire(testContext(p.t), t))
	}
	p.stop(p.again)
	added, err := p.log.Read(testContext(p.t), last+1, 10)
	require.NoError(p.t, err)
	for _, c := range added {
		p.t.Errorf("work done twice: %s %s, %v (CLOSURE_TEST_SEED=%d)", c.Aggregate, c.AggregateID, eventTypes(c), p.seeds[c.AggregateID])
	}
}
