package process

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore/timer"
)

// groupIn opens a group of a domicile, with its owner.
func (s *stage) groupIn(domicile string, users ...domain.Party) string {
	s.t.Helper()
	id := uuid.NewString()
	if len(users) == 0 {
		users = []domain.Party{{ID: uuid.NewString(), Type: domain.Owner}}
	}
	s.accepted(command(domain.KindAccountGroup, id, &domain.OpenAccountGroup{
		Users: users, Type: "PERSONAL", Domicile: domicile, TaxResidencies: []string{domicile},
	}))
	return id
}

func (s *stage) status(id string) domain.Status {
	s.t.Helper()
	a, err := s.engine.Account(testContext(s.t), someClient, id)
	require.NoError(s.t, err)
	return a.Status()
}

func (s *stage) pending(m *Manager) []timer.Timer {
	s.t.Helper()
	pending, err := m.Timers().Pending(testContext(s.t))
	require.NoError(s.t, err)
	return pending
}

// purposes are what the timers of an aggregate are for.
func purposes(timers []timer.Timer, id string) map[string]time.Time {
	out := map[string]time.Time{}
	for _, t := range timers {
		if t.ID == id {
			out[t.Purpose] = t.Due
		}
	}
	return out
}

// The UK's tax year ends while everybody waits: the account closes by itself, not a moment earlier, and once. The schedule
// of the server fires on whole seconds and early; here the time that counts lies between two seconds of the machine.
func TestTheTaxYearEnds(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	due := time.Date(2027, 4, 5, 23, 0, 0, 0, time.UTC)
	s.setClock(due.Add(-2300 * time.Millisecond))
	m := s.manager(nil)
	id := s.openAccount(s.groupIn("GB"))
	s.accepted(command(domain.KindAccount, id, &domain.RequestAccountClosure{}))
	closure, err := s.engine.AccountClosure(testContext(t), someClient, id)
	require.NoError(t, err)
	require.Equal(t, domain.StatusClosing, closure.Status)
	require.Equal(t, due, *closure.NextEligibleAt)
	require.Equal(t, domain.TaxYearEndBlocker, closure.Blockers[0].Code)

	s.eventually("end of the tax year", func() bool { return s.status(id) == domain.StatusClosed })
	commits := s.commits(domain.KindAccount, id)
	last := commits[len(commits)-1]
	require.Equal(t, []string{domain.EventAccountClosed}, eventTypes(last))
	require.False(t, last.Time.Before(due), "it closed at %s", last.Time)
	require.Equal(t, "review_closure", last.Command)
	s.settle(m)
	require.Empty(t, purposes(s.pending(m), id), "no timer is left")
}

// A domicile that changes while accounts are closing holds from then on, for those that are closing and for those to come.
func TestADomicileThatChanges(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.setClock(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
	m := s.manager(nil)
	groupID := s.groupIn("GB")
	waits, holds, closed := s.openAccount(groupID), s.openAccount(groupID), s.openAccount(groupID)
	s.accepted(command(domain.KindAccount, holds, &domain.RecordPosition{ISIN: basf, Quantity: "1", Revision: 1}))
	for _, id := range []string{waits, holds} {
		s.accepted(command(domain.KindAccount, id, &domain.RequestAccountClosure{}))
	}
	s.settle(m)
	due := time.Date(2027, 4, 5, 23, 0, 0, 0, time.UTC)
	require.Equal(t, due, purposes(s.pending(m), waits)[purposeTaxYearEnd])

	s.accepted(command(domain.KindAccountGroup, groupID, &domain.ChangeDomicile{Domicile: "DE", TaxResidencies: []string{"DE"}}))
	s.settle(m)
	require.Equal(t, domain.StatusClosed, s.status(waits), "only the tax year stood against it")
	require.Empty(t, purposes(s.pending(m), waits), "no timer is left")
	require.Equal(t, domain.StatusClosing, s.status(holds))
	require.NotContains(t, purposes(s.pending(m), holds), purposeTaxYearEnd)
	s.accepted(command(domain.KindAccount, closed, &domain.RequestAccountClosure{}))
	require.Equal(t, domain.StatusClosed, s.status(closed), "a request after the change goes by the new domicile")

	// And back: the account that is closing waits for the end of the tax year of its request.
	s.accepted(command(domain.KindAccountGroup, groupID, &domain.ChangeDomicile{Domicile: "GB", TaxResidencies: []string{"GB"}}))
	s.settle(m)
	require.Equal(t, due, purposes(s.pending(m), holds)[purposeTaxYearEnd])
	s.accepted(command(domain.KindAccount, holds, &domain.RecordPosition{ISIN: basf, Quantity: "0", Revision: 2}))
	require.Equal(t, domain.StatusClosing, s.status(holds))
}

// A closure that does not end is reported, again and again, until it does.
func TestAStalledClosureIsReported(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	m := s.manager(nil)
	id := s.openAccount(s.groupIn("DE"))
	s.accepted(command(domain.KindAccount, id, &domain.RecordPosition{ISIN: basf, Quantity: "1", Revision: 1}))
	s.accepted(command(domain.KindAccount, id, &domain.RequestAccountClosure{}))
	asked := s.commits(domain.KindAccount, id)
	requestedAt := asked[len(asked)-1].Time
	for n := 1; n <= 3; n++ {
		s.settle(m)
		due := purposes(s.pending(m), id)[purposeStall]
		require.Equal(t, requestedAt.Add(time.Duration(n)*30*24*time.Hour), due)
		s.setClock(due)
		fires := timer.Timer{Aggregate: "account", ID: id, Purpose: purposeStall, Due: due}
		for range 2 { // a timer may fire twice
			require.NoError(t, m.Timers().Expire(testContext(t), fires))
		}
		a, err := s.engine.Account(testContext(t), someClient, id)
		require.NoError(t, err)
		require.Equal(t, n, a.Stalls())
	}
	s.accepted(command(domain.KindAccount, id, &domain.RecordPosition{ISIN: basf, Quantity: "0", Revision: 2}))
	s.settle(m)
	require.Empty(t, purposes(s.pending(m), id), "a closed account is not stalled")
}

// Who owns what was in a group with a German tax resident is offboarded only after the tax statement of the closing year.
func TestATaxStatementIsAskedForInMarch(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.setClock(time.Date(2027, 1, 1, 10, 0, 0, 0, time.UTC))
	m := s.manager(nil)
	holder, guardian := uuid.NewString(), uuid.NewString()
	groupID := s.groupIn("DE", domain.Party{ID: holder, Type: domain.Child}, domain.Party{ID: guardian, Type: domain.Guardian})
	s.accepted(command(domain.KindAccountGroup, groupID, &domain.RequestAccountGroupClosure{}))
	s.settle(m)
	due := purposes(s.pending(m), groupID)[purposeTaxStatement]
	require.Equal(t, time.Date(2028, 3, 14, 23, 0, 0, 0, time.UTC), due, "15 March in Berlin, of the year after the closing year")

	for _, id := range []string{holder, guardian} {
		s.accepted(command(domain.KindUser, id, &domain.RequestOffboarding{}))
	}
	require.Equal(t, domain.UserOffboarding, s.user(holder).Status())
	require.Equal(t, domain.PendingTaxStatements, s.user(holder).Blockers()[0].Code)
	require.Equal(t, domain.UserOffboarded, s.user(guardian).Status(), "a guardian owns nothing, and gets no statement")

	s.setClock(due)
	require.NoError(t, m.Timers().Expire(testContext(t), timer.Timer{Aggregate: "account_group", ID: groupID, Purpose: purposeTaxStatement, Due: due}))
	commits := s.commits(domain.KindAccountGroup, groupID)
	require.Equal(t, []string{domain.EventGroupTaxStatementRequested}, eventTypes(commits[len(commits)-1]))

	// The report is made by a projection, which records it.
	group, err := s.engine.AccountGroup(testContext(t), someClient, groupID)
	require.NoError(t, err)
	s.accepted(command(domain.KindAccountGroup, groupID, &domain.RecordReport{
		ReportID: group.ReportID(holder, domain.ReportAnnualTaxStatement), UserID: holder, Type: domain.ReportAnnualTaxStatement, SHA256: "aa", Size: 1,
	}))
	s.settle(m)
	require.Equal(t, domain.UserOffboarded, s.user(holder).Status())
}

// An engine that runs with another configuration than the one that set a timer: the timer comes by the former day, and is set
// again by the new one.
func TestATimerOfAnotherConfiguration(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.setClock(time.Date(2027, 1, 1, 10, 0, 0, 0, time.UTC))
	before := s.manager(nil)
	groupID := s.groupIn("DE")
	s.accepted(command(domain.KindAccountGroup, groupID, &domain.RequestAccountGroupClosure{}))
	id := s.openAccount(s.groupIn("DE"))
	s.accepted(command(domain.KindAccount, id, &domain.RecordPosition{ISIN: basf, Quantity: "1", Revision: 1}))
	s.accepted(command(domain.KindAccount, id, &domain.RequestAccountClosure{}))
	s.settle(before)
	statement, stalled := purposes(s.pending(before), groupID)[purposeTaxStatement], purposes(s.pending(before), id)[purposeStall]
	s.stop(before)

	engine, log := s.another()
	after := s.start(New(Config{
		Engine: engine, Log: log, Now: s.now, StallAfter: 45 * 24 * time.Hour, TaxStatementDay: domain.MonthDay{Month: time.March, Day: 20},
	}))
	s.setClock(stalled)
	require.NoError(t, after.Timers().Expire(testContext(t), timer.Timer{Aggregate: "account", ID: id, Purpose: purposeStall, Due: stalled}))
	require.Equal(t, stalled.Add(15*24*time.Hour), purposes(s.pending(after), id)[purposeStall])
	s.setClock(statement)
	require.NoError(t, after.Timers().Expire(testContext(t), timer.Timer{Aggregate: "account_group", ID: groupID, Purpose: purposeTaxStatement, Due: statement}))
	require.Equal(t, statement.Add(5*24*time.Hour), purposes(s.pending(after), groupID)[purposeTaxStatement])

	// Long after: one report for all the periods in which nobody was there.
	due := purposes(s.pending(after), id)[purposeStall]
	s.setClock(due.Add(100 * 24 * time.Hour))
	require.NoError(t, after.Timers().Expire(testContext(t), timer.Timer{Aggregate: "account", ID: id, Purpose: purposeStall, Due: due}))
	a, err := s.engine.Account(testContext(t), someClient, id)
	require.NoError(t, err)
	require.GreaterOrEqual(t, a.Stalls(), 3)
	commits := s.commits(domain.KindAccount, id)
	require.Equal(t, []string{domain.EventAccountClosureStalled}, eventTypes(commits[len(commits)-1]))
	require.NotContains(t, eventTypes(commits[:len(commits)-1]...), domain.EventAccountClosureStalled)
}

// A group that a former version opened, which told no user of it, closes all the same.
func TestAGroupThatItsUsersDoNotKnow(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	groupID := s.groupIn("DE")
	group, err := s.engine.AccountGroup(testContext(t), someClient, groupID)
	require.NoError(t, err)
	s.accepted(command(domain.KindUser, group.Users[0].ID, &domain.WithdrawGroupLink{AccountGroupID: groupID}))
	s.accepted(command(domain.KindAccountGroup, groupID, &domain.RequestAccountGroupClosure{}))
	m := s.manager(nil)
	s.settle(m)
	require.Equal(t, s.last(), m.Position())
}

func (s *stage) user(id string) *domain.User {
	s.t.Helper()
	u, err := s.engine.User(testContext(s.t), someClient, id)
	require.NoError(s.t, err)
	return u
}
