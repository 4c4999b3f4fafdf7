package process

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/replay"
	"closure/eventstore/timer"
)

// history is one aggregate as the log has it.
type history struct {
	ref     domain.Ref
	commits []eventstore.Recorded
	events  [][]domain.Event
	states  []domain.Aggregate // after each commit
	ledger  *ledger            // nil for a user
}

// history folds the commits of an aggregate one by one, and compares each state with what the ledger says.
func (s *stage) history(ref domain.Ref) *history {
	s.t.Helper()
	h := &history{ref: ref, commits: s.commits(ref.Kind, ref.ID)}
	state := domain.New(ref)
	if ref.Kind != domain.KindUser {
		h.ledger = newLedger(s.t, ref)
	}
	for _, c := range h.commits {
		require.NoError(s.t, replay.Apply(state, []eventstore.Recorded{c}))
		events, err := replay.Events(c.Commit)
		require.NoError(s.t, err)
		h.events, h.states = append(h.events, events), append(h.states, state.Copy())
		if h.ledger == nil {
			continue
		}
		h.ledger.enter(c, events)
		var stands []domain.BlockerCode
		for _, b := range state.(domain.Closable).Closure(domain.Outlook{Now: c.Time}).Blockers {
			stands = append(stands, b.Code)
		}
		slices.Sort(stands)
		require.Equal(s.t, h.ledger.codes(c.Time), stands, "%v, version %d: what stands against closing", ref, c.Version)
	}
	return h
}

// when is the sequence of the first commit with an event of the type that the condition takes; 0 for none.
func (h *history) when(eventType string, takes func(domain.Event) bool) uint64 {
	for i, c := range h.commits {
		for j, e := range c.Events {
			if e.Type == eventType && (takes == nil || takes(h.events[i][j])) {
				return c.Sequence
			}
		}
	}
	return 0
}

// accepted is a command that was accepted, and where its commit is said to stand.
type accepted struct {
	domain.Command
	sequence uint64
}

// served is a state that an engine gave to a reader, who knew of a sequence before.
type served struct {
	state domain.Aggregate
	after uint64
}

// serve reads an aggregate as a client does, and keeps what it was for the end; nil for what does not exist. A reader who
// knows of a commit sees it.
func (r *story) serve(ref domain.Ref, after uint64) domain.Aggregate {
	var state domain.Aggregate
	var err error
	switch ref.Kind {
	case domain.KindAccount:
		state, err = r.engine().Account(r.ctx, someClient, ref.ID)
	case domain.KindAccountGroup:
		state, err = r.engine().AccountGroup(r.ctx, someClient, ref.ID)
	default:
		state, err = r.engine().User(r.ctx, someClient, ref.ID)
	}
	var refusal *domain.Refusal
	if errors.As(err, &refusal) && refusal.Kind == domain.NotFound {
		require.Zero(r.t, after, "%v has a commit, and is not found", ref)
		return nil
	}
	require.NoError(r.t, err)
	r.served = append(r.served, served{state, after})
	if account, ok := state.(*domain.Account); ok {
		for _, l := range account.Liquidations() {
			for _, id := range l.OrderIDs {
				r.addOrder(ref, id)
			}
		}
	}
	return state
}

// checkQuiet holds when all is done that there was to do up to a time: what is CLOSING has something that stands against it, an
// account goes by the domicile that its group has, and there are just the timers that are needed.
func (r *story) checkQuiet(at time.Time, pending []timer.Timer) {
	for _, ref := range r.refs() {
		state, exists := r.serve(ref, 0).(closable)
		if !exists {
			continue
		}
		timers := purposes(pending, ref.ID)
		account, isAccount := state.(*domain.Account)
		if isAccount && state.InProgress() {
			require.Equal(r.t, r.serve(r.groups[0], 0).(*domain.AccountGroup).Domicile, account.Domicile, "%v: its domicile", ref)
		}
		if state.Status() == domain.StatusClosing {
			require.NotEmpty(r.t, state.Closure(domain.Outlook{Now: at}).Blockers, "%v is CLOSING, and nothing stands against it", ref)
		}
		want := map[string]bool{}
		if state.InProgress() {
			want[purposeStall] = true
			want[purposeTaxYearEnd] = isAccount && account.EligibleAt() != nil && account.EligibleAt().After(at)
		} else if group, isGroup := state.(*domain.AccountGroup); isGroup && group.TaxStatementYear() != 0 {
			want[purposeTaxStatement] = domain.TaxStatementDue(group.TaxStatementYear(), domain.DefaultTaxStatementDay).After(at)
		}
		for _, purpose := range []string{purposeStall, purposeTaxYearEnd, purposeTaxStatement} {
			due, set := timers[purpose]
			require.Equal(r.t, want[purpose], set, "%v is %s: the timer %s, due %s", ref, state.Status(), purpose, due)
		}
	}
}

// checkEnd holds what an aggregate has come to: it is closed, what came afterwards stands there, no command has done
// something twice, and an engine serves what the log folds to.
func (r *story) checkEnd(h *history) {
	for i, c := range h.commits {
		for _, e := range c.Events {
			r.counts[e.Type]++
		}
		again := slices.ContainsFunc(h.commits[:i], func(before eventstore.Recorded) bool { return before.CommandID == c.CommandID })
		require.False(r.t, again && h.ledger != nil, "%v: the command %s has two commits", h.ref, c.CommandID)
	}
	served := r.serve(h.ref, 0)
	if len(h.commits) == 0 {
		require.Nil(r.t, served)
		return
	}
	require.Equal(r.t, h.states[len(h.states)-1].Copy(), served.Copy(), "%v: what is served is not what the log folds to", h.ref)
	switch state := served.(type) {
	case *domain.User:
		require.Equal(r.t, domain.UserOffboarded, state.Status(), "user %s", state.ID)
	case closable:
		r.checkClosed(h, state)
	}
}

func (r *story) checkClosed(h *history, state closable) {
	closure, err := r.closure(h.ref)
	require.NoError(r.t, err)
	require.Equal(r.t, domain.StatusClosed, closure.Status, "%v", h.ref)
	require.Empty(r.t, closure.Blockers, "%v", h.ref)
	require.Equal(r.t, state.Closure(domain.Outlook{Now: r.now()}), closure)
	raised := map[string]bool{}
	for _, open := range closure.Reconciliation {
		raised[open.ID] = true
	}
	require.Equal(r.t, h.ledger.raised, raised, "%v: what came after CLOSED, and nobody has settled", h.ref)
	if account, ok := state.(*domain.Account); ok && account.Domicile == "GB" && *account.ClosedAt() != *account.RequestedAt() {
		r.counts[waited]++
	}
}

func (r *story) closure(ref domain.Ref) (domain.Closure, error) {
	if ref.Kind == domain.KindAccount {
		return r.engine().AccountClosure(r.ctx, someClient, ref.ID)
	}
	return r.engine().AccountGroupClosure(r.ctx, someClient, ref.ID)
}

// checkServed: what a reader was given is a prefix of the log, and not an older one than the reader knew of.
func (r *story) checkServed(h *history, s served) {
	for i, c := range h.commits {
		if c.Sequence >= s.after && reflect.DeepEqual(h.states[i].Copy(), s.state.Copy()) {
			return
		}
	}
	require.Fail(r.t, "a state that the log never was in", "%v, read after sequence %d: %+v", h.ref, s.after, s.state)
}

// checkAccepted: the commit that was promised is there. An open may have been finished by somebody else.
func (r *story) checkAccepted(h *history, c accepted) {
	i := slices.IndexFunc(h.commits, func(x eventstore.Recorded) bool { return x.Sequence == c.sequence })
	require.GreaterOrEqual(r.t, i, 0, "%v: %s was accepted, and is lost", h.ref, c.Payload.CommandName())
	if c.Payload.CommandName() != "open" {
		require.Equal(r.t, c.ID, h.commits[i].CommandID, "%v: %s was accepted as another's commit", h.ref, c.Payload.CommandName())
	}
}

// checkOrder holds what goes across aggregates: link first, close last, by the sequences of the log.
func (r *story) checkOrder(histories map[domain.Ref]*history) {
	group := histories[r.groups[0]]
	for _, ref := range r.accounts {
		account := histories[ref]
		linked := group.when(domain.EventGroupAccountLinked, func(e domain.Event) bool {
			return e.(domain.AccountLinked).AccountID == ref.ID
		})
		told := group.when(domain.EventGroupAccountClosureRecorded, func(e domain.Event) bool {
			return e.(domain.AccountClosureRecorded).AccountID == ref.ID
		})
		if linked == 0 {
			require.Empty(r.t, account.commits, "%v was opened, and its group does not know it", ref)
			continue
		}
		r.inOrder(ref, "linked", linked, "opened", account.when(domain.EventAccountOpened, nil))
		closed := account.when(domain.EventAccountClosed, nil)
		r.inOrder(ref, "closed", closed, "told to its group", told)
		r.inOrder(ref, "closed", closed, "its group closed", group.when(domain.EventGroupClosed, nil))
	}
	for _, user := range r.users {
		for _, of := range r.groups {
			r.checkUser(user, histories[domain.Ref{Kind: domain.KindUser, ID: user.ID}], histories[of])
		}
	}
}

// checkUser holds what goes between a user and one of the groups.
func (r *story) checkUser(user domain.Party, u, group *history) {
	known, ok := u.states[len(u.states)-1].(*domain.User).Group(group.ref.ID)
	if !ok {
		require.Empty(r.t, group.commits, "%v was opened, and its user does not know it", group.ref)
		return
	}
	linked := u.when(domain.EventUserGroupLinked, func(e domain.Event) bool {
		return e.(domain.GroupLinked).AccountGroupID == group.ref.ID
	})
	told := u.when(domain.EventUserGroupClosureRecorded, func(e domain.Event) bool {
		return e.(domain.GroupClosureRecorded).AccountGroupID == group.ref.ID
	})
	offboarded := u.when(domain.EventUserOffboarded, nil)
	r.inOrder(group.ref, "linked", linked, "opened", group.when(domain.EventGroupOpened, nil))
	r.inOrder(group.ref, "closed", group.when(domain.EventGroupClosed, nil), "told to its user", told)
	r.inOrder(group.ref, "told to its user", told, "its user was offboarded", offboarded)
	if slices.Contains(group.states[len(group.states)-1].(*domain.AccountGroup).TaxResidencies, "DE") && user.Owns() {
		require.True(r.t, known.TaxStatementMade, "the user %s is offboarded without a tax statement of %v", user.ID, group.ref)
		asked := group.when(domain.EventGroupTaxStatementRequested, nil)
		r.inOrder(group.ref, "asked for a statement", asked, "its user was offboarded", offboarded)
	}
}

// inOrder holds that both happened, the one before the other.
func (r *story) inOrder(ref domain.Ref, first string, a uint64, then string, b uint64) {
	require.NotZero(r.t, a, "%v was never %s", ref, first)
	require.Less(r.t, a, b, "%v: %s, and only then %s", ref, then, first)
}
