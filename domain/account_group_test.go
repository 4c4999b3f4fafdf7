package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func groupOf(s *stage) *AccountGroup { return s.agg.(*AccountGroup) }

// TestLinkFirst has how a group learns of its accounts.
func TestLinkFirst(t *testing.T) {
	s := activeGroup(t)
	events := s.does(t, link(secondAccount), "account_linked")
	require.Equal(t, AccountLinked{AccountID: secondAccount, AccountNumber: 1, Type: Trading, Name: "Savings", Status: StatusActive}, events[0])
	s.does(t, link(firstAccount), "account_linked")
	require.Equal(t, []string{secondAccount, firstAccount}, groupOf(s).AccountIDs(), "in the order of their numbers")
	given, ok := groupOf(s).Link(firstAccount)
	require.True(t, ok)
	require.Equal(t, AccountLink{Number: 2, Type: Trading, Name: "Savings", Status: StatusActive, Users: users()}, given)
	_, ok = groupOf(s).Link(thirdAccount)
	require.False(t, ok)

	account := newStage(KindAccount, firstAccount)
	opened := account.does(t, &OpenAccount{AccountGroupID: someGroup, Type: Trading, Name: "Savings", Link: &given}, "opened, activated")
	require.Equal(t, AccountOpened{AccountGroupID: someGroup, Type: Trading, Name: "Savings", AccountNumber: 2, Users: users()}, opened[0],
		"the number and the users are the group's")

	refusal := newStage(KindAccount, thirdAccount).refuses(t, &OpenAccount{AccountGroupID: someGroup, Type: Trading, Name: "Savings"}, Conflict)
	require.Contains(t, refusal.Detail, "it is linked before it is opened")
}

// TestCloseLast has the other end: a group is told of what is CLOSED, once, and only of what is its own.
func TestCloseLast(t *testing.T) {
	s := activeGroup(t)
	s.does(t, link(firstAccount), "account_linked")
	told := closureOf(firstAccount)
	s.does(t, told, "account_closure_recorded")
	given, _ := groupOf(s).Link(firstAccount)
	require.Equal(t, told.ClosedAt, *given.ClosedAt)
	later := *told
	later.ClosedAt = told.ClosedAt.Add(minute)
	s.does(t, &later, "")
	given, _ = groupOf(s).Link(firstAccount)
	require.Equal(t, told.ClosedAt, *given.ClosedAt, "the first closing stays")
	s.does(t, &WithdrawAccountLink{AccountID: firstAccount}, "")
	refusal := s.refuses(t, closureOf(secondAccount), Conflict)
	require.Contains(t, refusal.Detail, secondAccount)
}

// TestLinkContent has an id that is taken: the same content is unchanged, other content a conflict.
func TestLinkContent(t *testing.T) {
	s := activeGroup(t)
	first := &LinkAccount{AccountID: firstAccount, Type: Trading, Name: "Savings", Status: StatusPendingApproval}
	s.does(t, first, "account_linked")
	for _, same := range []*LinkAccount{first, link(firstAccount)} {
		s.does(t, same, "")
	}
	for what, other := range map[string]*LinkAccount{
		"type":   {AccountID: firstAccount, Type: Portfolio, Name: "Savings"},
		"name":   {AccountID: firstAccount, Type: Trading, Name: "savings"},
		"status": {AccountID: firstAccount, Type: Trading, Name: "Savings", Status: StatusActive},
	} {
		refusal := s.refuses(t, other, Conflict)
		require.Contains(t, refusal.Detail, "the id "+firstAccount+" is taken by an account with other content", what)
	}
	require.Len(t, groupOf(s).AccountIDs(), 1)
}

// TestOpenContent has the same for the opening of an account and of a group. A later rename does not count: what is
// compared is how it was opened.
func TestOpenContent(t *testing.T) {
	account := activeAccount(t)
	account.does(t, &RenameAccount{Name: "Holidays"}, "renamed")
	account.does(t, openAccount(StatusActive), "")
	change := func(f func(*OpenAccount)) *OpenAccount { p := openAccount(StatusActive); f(p); return p }
	account.does(t, change(func(p *OpenAccount) { p.Status = StatusActive }), "")
	account.does(t, change(func(p *OpenAccount) { p.Link = nil }), "")
	for _, other := range []*OpenAccount{
		change(func(p *OpenAccount) { p.Name = "Holidays" }),
		change(func(p *OpenAccount) { p.AccountGroupID = otherGroup }),
		change(func(p *OpenAccount) { p.Type = Portfolio }),
		change(func(p *OpenAccount) { p.Status = StatusPendingApproval }),
	} {
		account.refuses(t, other, Conflict)
	}

	group := activeGroup(t)
	alter := func(f func(*OpenAccountGroup)) *OpenAccountGroup { p := openGroup(); f(p); return p }
	group.does(t, alter(func(p *OpenAccountGroup) { p.Status = StatusActive }), "")
	group.does(t, alter(func(p *OpenAccountGroup) { p.SecuritiesAccountNumber = "1000009" }), "")
	require.Equal(t, "1000001", groupOf(group).SecuritiesAccountNumber, "a number is given once")
	for _, other := range []*OpenAccountGroup{
		alter(func(p *OpenAccountGroup) { p.Type = "JOINT" }),
		alter(func(p *OpenAccountGroup) { p.Domicile = "GB" }),
		alter(func(p *OpenAccountGroup) { p.Domicile = "" }),
		alter(func(p *OpenAccountGroup) { p.TaxResidencies = nil }),
		alter(func(p *OpenAccountGroup) { p.TaxResidencies = []string{"DE", "FR"} }),
		alter(func(p *OpenAccountGroup) { p.Status = StatusPendingApproval }),
		alter(func(p *OpenAccountGroup) { p.Users = []Party{{ID: child, Type: Owner}} }),
		alter(func(p *OpenAccountGroup) { p.Users = []Party{{ID: owner, Type: Child}} }),
		alter(func(p *OpenAccountGroup) { p.Users = append(users(), Party{ID: guardian, Type: Guardian}) }),
	} {
		group.refuses(t, other, Conflict)
	}
}

// TestAccountNumbers has numbers that are given once, also when a link was withdrawn and came back.
func TestAccountNumbers(t *testing.T) {
	s := activeGroup(t)
	number := func(id string) int { l, _ := groupOf(s).Link(id); return l.Number }
	s.does(t, link(firstAccount), "account_linked")
	s.does(t, link(secondAccount), "account_linked")
	require.Equal(t, []int{1, 2}, []int{number(firstAccount), number(secondAccount)})
	s.does(t, &WithdrawAccountLink{AccountID: secondAccount}, "account_link_withdrawn")
	s.does(t, &WithdrawAccountLink{AccountID: secondAccount}, "")
	s.does(t, link(thirdAccount), "account_linked")
	require.Equal(t, 3, number(thirdAccount), "the number of a withdrawn link is not given again")
	renamed := link(secondAccount)
	renamed.Name = "Another account"
	s.does(t, renamed, "account_linked")
	require.Equal(t, 4, number(secondAccount), "a link that comes again is a new one")
	require.Equal(t, []string{firstAccount, thirdAccount, secondAccount}, groupOf(s).AccountIDs())
}

// TestPendingGroup opens PENDING_APPROVAL accounts; an ACTIVE one opens either.
func TestPendingGroup(t *testing.T) {
	pending := openGroup()
	pending.Status = StatusPendingApproval
	s := newStage(KindAccountGroup, someGroup)
	s.does(t, pending, "opened")
	status := func(id string) Status { l, _ := groupOf(s).Link(id); return l.Status }
	asks := func(id string, status Status) *LinkAccount { p := link(id); p.Status = status; return p }
	refusal := s.refuses(t, asks(firstAccount, StatusActive), Conflict)
	require.Contains(t, refusal.Detail, "PENDING_APPROVAL only")
	s.does(t, asks(firstAccount, ""), "account_linked")
	s.does(t, asks(secondAccount, StatusPendingApproval), "account_linked")
	require.Equal(t, []Status{StatusPendingApproval, StatusPendingApproval}, []Status{status(firstAccount), status(secondAccount)})
	given, _ := groupOf(s).Link(firstAccount)
	account := newStage(KindAccount, firstAccount)
	account.does(t, &OpenAccount{AccountGroupID: someGroup, Type: Trading, Name: "Savings", Link: &given}, "opened")
	require.Equal(t, StatusPendingApproval, account.status())

	s.does(t, &Activate{}, "activated")
	require.Equal(t, StatusPendingApproval, status(firstAccount), "its accounts are activated one by one")
	require.Equal(t, StatusPendingApproval, account.status())
	s.does(t, asks(thirdAccount, StatusPendingApproval), "account_linked")
	s.does(t, asks(otherGroup, ""), "account_linked")
	require.Equal(t, []Status{StatusPendingApproval, StatusActive}, []Status{status(thirdAccount), status(otherGroup)})
}

// TestTenancy has another client's resource: it is not found, never forbidden, and in the words for one that does not exist.
func TestTenancy(t *testing.T) {
	for _, kind := range Kinds() {
		for _, situation := range situations(kind) {
			if situation.name == "not existing" {
				continue
			}
			s := situation.make(t)
			require.Equal(t, someClient, s.agg.Client())
			unknown := newStage(kind, s.ref.ID)
			s.client, unknown.client = otherClient, otherClient
			for heading, payload := range commands(kind) {
				p := payload(s)
				switch p.CommandName() {
				case "open":
					refusal := s.refuses(t, p, Conflict)
					require.Contains(t, refusal.Detail, "is taken by", "an id is taken, whoever has it")
					continue
				case "link_account_group":
					refusal := s.refuses(t, p, Conflict)
					require.Equal(t, "the user id "+owner+" is taken", refusal.Detail, "nothing is said of the groups of the other client's user")
					continue
				}
				refusal := s.refuses(t, p, NotFound)
				require.Equal(t, unknown.refuses(t, p, NotFound), refusal, heading)
				noun := map[Kind]string{KindAccount: "account", KindAccountGroup: "account group", KindUser: "user"}[kind]
				require.Equal(t, "there is no "+noun+" with the id "+s.ref.ID, refusal.Detail)
				require.Empty(t, refusal.Blockers)
			}
		}
	}
}

// TestReportsOfAGroup has one report for each user and type, and only of what is over.
func TestReportsOfAGroup(t *testing.T) {
	s := closingGroup(t)
	refusal := s.refuses(t, report(owner), Conflict)
	require.Contains(t, refusal.Detail, "the status is CLOSING")
	s.does(t, closureOf(firstAccount), "account_closure_recorded, closed")
	created := s.clock.now.Add(minute)
	s.does(t, report(owner), "report_created")
	again := report(owner)
	again.SHA256, again.Size = "another rendering", 1
	s.does(t, again, "")
	id := groupOf(s).ReportID(owner, ReportAccountClosing)
	kept, ok := groupOf(s).Report(id)
	require.True(t, ok)
	require.Equal(t, Report{ID: id, UserID: owner, Type: ReportAccountClosing, CreatedAt: created, SHA256: report(owner).SHA256, Size: 48211}, kept)
	require.NotEqual(t, id, groupOf(s).ReportID(child, ReportAccountClosing))
	require.NotEqual(t, id, NewAccountGroup(otherGroup).ReportID(owner, ReportAccountClosing))
	s.does(t, report(child), "report_created")
	_, ok = groupOf(s).Report(otherGroup)
	require.False(t, ok)
}
