package handlers

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
)

// The group learns of the account before the account begins, and the link carries all that the account needs.
func TestOpenAccountLinksFirst(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	groupID := s.someGroup()
	open := command(account(uuid.NewString()), &domain.OpenAccount{AccountGroupID: groupID, Type: domain.Portfolio, Name: "Zoë’s Depot"})
	open.RequestID, open.CorrelationID = uuid.NewString(), uuid.NewString()
	out := s.accepted(open)

	link, opened := s.lastCommit(group(groupID)), s.lastCommit(open.Target)
	require.Less(t, link.Sequence, opened.Sequence)
	require.Equal(t, opened.Sequence, out.Sequence)
	require.Equal(t, []string{domain.EventGroupAccountLinked}, eventTypes(link))
	require.Equal(t, []string{domain.EventAccountOpened, domain.EventAccountActivated}, eventTypes(opened))
	require.Equal(t, open.ID, link.CausationID, "a process manager finds the command by it")
	require.Equal(t, opened.Time, link.Time)
	require.JSONEq(t, `{"account_id":"`+open.Target.ID+`","account_number":1,"type":"PORTFOLIO","name":"Zoë’s Depot","status":"ACTIVE"}`,
		string(link.Events[0].Data))

	got, err := s.engine.Account(testContext(t), someClient, open.Target.ID)
	require.NoError(t, err)
	require.Equal(t, domain.AccountResource{
		ID: open.Target.ID, CreatedAt: opened.Time, UpdatedAt: opened.Time, AccountGroupID: groupID, Type: domain.Portfolio,
		Users: openGroup().Users, AccountNumber: 1, Name: "Zoë’s Depot", Status: domain.StatusActive,
	}, got.Resource())
	second, err := s.engine.Account(testContext(t), someClient, s.someAccount(groupID))
	require.NoError(t, err)
	require.Equal(t, 2, second.Number)
}

func TestOpenAccountInAGroupThatIsNotThere(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	unknown := uuid.NewString()
	s.refused(command(account(uuid.NewString()), openAccount(unknown)), domain.NotFound)

	// Another client's group is answered with the same words.
	groupID := s.someGroup()
	theirs := command(account(uuid.NewString()), openAccount(groupID))
	theirs.ClientID = otherClient
	require.Equal(t, domain.Missing(domain.KindAccountGroup, groupID), s.refused(theirs, domain.NotFound))
	require.Len(t, s.commits(group(groupID)), 1)
}

func TestOpenAccountTwice(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	groupID, elsewhere := s.someGroup(), s.someGroup()
	id := s.someAccount(groupID)

	out := s.unchanged(command(account(id), openAccount(groupID)))
	require.Equal(t, s.lastCommit(account(id)).Sequence, out.Sequence)
	named := openAccount(groupID)
	named.Name = "Another"
	s.refused(command(account(id), named), domain.Conflict)
	s.refused(command(account(id), openAccount(elsewhere)), domain.Conflict)
	theirs := command(account(id), openAccount(groupID))
	theirs.ClientID = otherClient
	s.refused(theirs, domain.Conflict)

	// The content that counts is the one it was opened with.
	s.accepted(command(account(id), &domain.RenameAccount{Name: "Savings"}))
	s.unchanged(command(account(id), openAccount(groupID)))
	renamed := openAccount(groupID)
	renamed.Name = "Savings"
	s.refused(command(account(id), renamed), domain.Conflict)
}

func TestOpenAccountByTheStatusOfItsGroup(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	pending := openGroup()
	pending.Status = domain.StatusPendingApproval
	groups := map[domain.Status]string{}
	for _, status := range domain.Statuses() {
		groups[status] = uuid.NewString()
		open := openGroup()
		if status == domain.StatusPendingApproval {
			open = pending
		}
		s.accepted(command(group(groups[status]), open))
	}
	s.accepted(command(group(groups[domain.StatusLocked]), &domain.Lock{}))
	s.accepted(command(group(groups[domain.StatusClosing]), &domain.RecordCashBalance{Currency: "EUR", Balance: "1", Revision: 1}))
	s.accepted(command(group(groups[domain.StatusClosing]), &domain.RequestAccountGroupClosure{}))
	s.accepted(command(group(groups[domain.StatusClosed]), &domain.RequestAccountGroupClosure{}))

	cases := []struct {
		group, asked, got domain.Status // got "": refused
	}{
		{domain.StatusPendingApproval, "", domain.StatusPendingApproval},
		{domain.StatusPendingApproval, domain.StatusPendingApproval, domain.StatusPendingApproval},
		{domain.StatusPendingApproval, domain.StatusActive, ""},
		{domain.StatusActive, "", domain.StatusActive},
		{domain.StatusActive, domain.StatusActive, domain.StatusActive},
		{domain.StatusActive, domain.StatusPendingApproval, domain.StatusPendingApproval},
		{domain.StatusLocked, "", ""},
		{domain.StatusClosing, "", ""},
		{domain.StatusClosed, "", ""},
	}
	for _, c := range cases {
		t.Run(string(c.group)+" "+string(c.asked), func(t *testing.T) {
			open := openAccount(groups[c.group])
			open.Status = c.asked
			cmd := command(account(uuid.NewString()), open)
			if c.got == "" {
				require.Contains(t, s.refused(cmd, domain.Conflict).Detail, string(c.group))
				return
			}
			s.accepted(cmd)
			got, err := s.engine.Account(testContext(t), someClient, cmd.Target.ID)
			require.NoError(t, err)
			require.Equal(t, c.got, got.Status())
		})
	}
}

// One id, two groups, the same moment: one of them gets the account, and the other knows nothing of it afterwards.
func TestOpenAccountInTwoGroupsAtTheSameMoment(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	other, _ := s.another()
	engines := []*Engine{s.engine, other}
	withdrawn := 0
	for range 25 {
		groups := []string{s.someGroup(), s.someGroup()}
		id := uuid.NewString()
		answers := atOnce(t, func(i int) (Outcome, error) {
			return engines[i].Do(testContext(t), command(account(id), openAccount(groups[i])))
		}, 2)
		opened, err := s.engine.Account(testContext(t), someClient, id)
		require.NoError(t, err)
		for i, a := range answers {
			if groups[i] == opened.GroupID {
				require.NoError(t, a.err)
				require.Equal(t, Accepted, a.Result)
				require.Equal(t, []string{id}, s.linked(groups[i]))
				continue
			}
			mustRefuse(t, a.err, domain.Conflict)
			require.Empty(t, s.linked(groups[i]), "the group waits for an account that it will never have")
			if len(s.commits(group(groups[i]))) > 1 {
				require.Equal(t, []string{domain.EventGroupAccountLinkWithdrawn}, eventTypes(s.lastCommit(group(groups[i]))))
				withdrawn++
			}
		}
	}
	require.NotZero(t, withdrawn, "the two never met; the test shows nothing")
}

// linked lists the accounts that a group knows.
func (s *stage) linked(groupID string) []string {
	s.t.Helper()
	g, err := s.engine.AccountGroup(testContext(s.t), someClient, groupID)
	require.NoError(s.t, err)
	return g.AccountIDs()
}

// link writes only the first half of an open, as a crash leaves it.
func (s *stage) link(open domain.Command) eventstore.Recorded {
	s.t.Helper()
	p := open.Payload.(*domain.OpenAccount)
	link := taken(open)
	link.ID, link.CausationID = uuid.NewString(), open.ID
	link.Target = group(p.AccountGroupID)
	link.Payload = &domain.LinkAccount{AccountID: open.Target.ID, Type: p.Type, Name: p.Name, Status: p.Status}
	s.accepted(link)
	return s.lastCommit(link.Target)
}

func TestFinishOpenWithdrawsTheLinkToAnAccountElsewhere(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	here, there := s.someGroup(), s.someGroup()
	id := uuid.NewString()
	link := s.link(command(account(id), openAccount(here)))
	s.accepted(command(account(id), openAccount(there)))

	for range 2 {
		require.NoError(t, s.engine.FinishOpen(testContext(t), link.Commit, id))
		require.Empty(t, s.linked(here))
		require.Equal(t, []string{id}, s.linked(there))
		require.Len(t, s.commits(group(here)), 3, "opened, linked, withdrawn: once")
		require.Len(t, s.commits(account(id)), 1)
	}
}

// As long as the link is not withdrawn the open is not over: nobody may take the conflict for its end.
func TestALinkThatCannotBeWithdrawnIsNoRefusal(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	here, there := s.someGroup(), s.someGroup()
	id := uuid.NewString()
	open := taken(command(account(id), openAccount(here)))
	s.link(open)
	seen, err := s.engine.AccountGroup(testContext(t), someClient, here)
	require.NoError(t, err)
	s.accepted(command(account(id), openAccount(there)))
	s.appendRaw(group(here), time.Now(), teleported(domain.KindAccountGroup))

	_, err = s.engine.openLinked(testContext(t), open, seen)
	require.ErrorIs(t, err, domain.ErrUnknownEvent)
	mustNotRefuse(t, err)
}

// The process manager sees the link at once and may be quicker than the engine that wrote it. Whoever asked is told all the
// same that the account was opened.
func TestOpenAccountFinishedByTheProcessManager(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	other, _ := s.another()
	groupID := s.someGroup()
	linked := s.lastCommit(group(groupID)).Sequence + 1
	open := command(account(uuid.NewString()), openAccount(groupID))
	for s.engine.turn(open.Target.ID) == s.engine.turn(groupID) {
		open.Target.ID = uuid.NewString()
	}

	// Hold the account's turn in this engine, so that its open waits after the link.
	turn := s.engine.turn(open.Target.ID)
	require.NoError(t, turn.Acquire(testContext(t), 1))
	answered := make(chan answer, 1)
	go func() {
		out, err := s.engine.Do(testContext(t), open)
		answered <- answer{out, err}
	}()
	finished := make(chan error, 1)
	follower := eventstore.NewFollower(s.log, eventstore.FollowerConfig{From: linked, Handle: func(ctx context.Context, commits []eventstore.Recorded) error {
		if commits[0].Sequence == linked {
			finished <- other.FinishOpen(ctx, commits[0].Commit, open.Target.ID)
		}
		return nil
	}})
	require.NoError(t, follower.Start(testContext(t)))
	t.Cleanup(func() { require.NoError(t, follower.Stop(context.Background())) })
	require.NoError(t, receive(t, finished, "link"))
	turn.Release(1)

	a := receive(t, answered, "answer")
	require.NoError(t, a.err)
	commits := s.commits(open.Target)
	require.Len(t, commits, 1)
	require.Equal(t, Outcome{Accepted, commits[0].Sequence}, a.Outcome)
	require.Equal(t, open.ID, commits[0].CommandID)
}

func TestCloseAccountWithAWithdrawalOutstanding(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	groupID := s.someGroup()
	id := s.someAccount(groupID)
	withdrawal := domain.RecordWithdrawal{WithdrawalID: uuid.NewString(), Status: domain.WithdrawalNew, Amount: "100.00", Currency: "EUR", Revision: 1}
	s.accepted(command(group(groupID), &withdrawal))

	refusal := s.refused(command(account(id), &domain.RequestAccountClosure{}), domain.Conflict)
	require.Len(t, refusal.Blockers, 1)
	require.Equal(t, domain.OutstandingWithdrawals, refusal.Blockers[0].Code)
	require.Equal(t, []domain.Item{{ID: withdrawal.WithdrawalID, Status: "NEW", Amount: "100.00", Currency: "EUR"}}, refusal.Blockers[0].Items)
	require.Equal(t, s.lastCommit(group(groupID)).Time, refusal.Blockers[0].Since)
	// The checklist shows beforehand what would refuse.
	preview, err := s.engine.AccountClosure(testContext(t), someClient, id)
	require.NoError(t, err)
	require.Equal(t, refusal.Blockers, preview.Blockers)

	s.accepted(command(account(id), &domain.RecordPosition{ISIN: basf, Quantity: "1", Revision: 1}))
	withdrawal.Status, withdrawal.Revision = domain.WithdrawalConfirmed, 2
	s.accepted(command(group(groupID), &withdrawal))
	s.accepted(command(account(id), &domain.RequestAccountClosure{}))

	// One that comes later neither undoes the request nor holds up the account's exit.
	later := domain.RecordWithdrawal{WithdrawalID: uuid.NewString(), Status: domain.WithdrawalNew, Amount: "5", Currency: "EUR", Revision: 1}
	s.accepted(command(group(groupID), &later))
	s.unchanged(command(account(id), &domain.RequestAccountClosure{}))
	closure, err := s.engine.AccountClosure(testContext(t), someClient, id)
	require.NoError(t, err)
	require.Equal(t, domain.StatusClosing, closure.Status)
	require.Len(t, closure.Blockers, 1)
	require.Equal(t, domain.OpenPositions, closure.Blockers[0].Code)
	s.accepted(command(account(id), &domain.RecordPosition{ISIN: basf, Quantity: "0", Revision: 2}))
	closure, err = s.engine.AccountClosure(testContext(t), someClient, id)
	require.NoError(t, err)
	require.Equal(t, domain.StatusClosed, closure.Status)
	require.Empty(t, closure.Blockers)
}

// A request for an account that is not there, or is another client's, is the same answer, whatever its group has.
func TestCloseAnAccountOfSomebodyElse(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	groupID := s.someGroup()
	id := s.someAccount(groupID)
	s.accepted(command(group(groupID), &domain.RecordWithdrawal{WithdrawalID: uuid.NewString(), Status: domain.WithdrawalNew, Amount: "1", Currency: "EUR", Revision: 1}))
	for _, ref := range []domain.Ref{account(id), account(uuid.NewString())} {
		theirs := command(ref, &domain.RequestAccountClosure{})
		theirs.ClientID = otherClient
		require.Equal(t, domain.Missing(domain.KindAccount, ref.ID), s.refused(theirs, domain.NotFound))
	}
}
