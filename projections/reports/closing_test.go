package reports

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/projections/reports/statement"
)

// The text is read back from the file: group, owner, accounts, positions sold and when, fees, cash, withdrawals, reason.
func TestWhatAReportSays(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	c.close()
	s := a.start(Config{})
	a.settle(s)
	said := text(t, s.mustPDF(t, c.report(child)))

	closedAt := c.closed().Time.Format(time.DateTime)
	for _, want := range []string{
		"ACCOUNT_CLOSING", c.report(child), c.group, "7654321", "CHILD " + child, "OWNER " + owner, "GUARDIAN " + guardian,
		"Prepared for child", closedAt + " UTC", "Requested by the user (user_initiated)", "support@bank.example",
		"Account 1 – Zoë’s Ersparnisse", c.accounts[0], "Account 2 – Łódź Ωμέγα", c.accounts[1],
		basf, apple, world, "Sold out", "0.333",
		c.fee, "9.88", "FINALISED", c.cancelledFee, "CANCELLED",
		c.withdrawal, "1224.68", "CONFIRMED",
		"1234.56", "0.00",
		"2 accounts, 7 position movements, 2 cash movements, 2 fee collections, 1 withdrawal.",
		fmt.Sprintf("Report %s for CHILD %s.", c.report(child), child),
	} {
		require.Contains(t, said, squeeze(want))
	}
	// What was replaced by a later revision of the same collection or withdrawal is not a second one.
	for _, id := range []string{c.fee, c.cancelledFee, c.withdrawal} {
		require.Equal(t, 1, strings.Count(said, id))
	}
	require.NotContains(t, said, "PROCESSING")
	require.NotContains(t, said, "9.87")
	// Each copy says whom it is for.
	theirs := text(t, s.mustPDF(t, c.report(owner)))
	require.Contains(t, theirs, squeeze("Prepared for owner"))
	require.Contains(t, theirs, squeeze(fmt.Sprintf("Report %s for OWNER %s.", c.report(owner), owner)))
	require.NotContains(t, theirs, c.report(child))
}

// Positions are what was sold, from what to what, in their order.
func TestContentIsWhatTheLogSays(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	c.close()
	read, err := a.service().readClosing(testContext(t), c.closed())
	require.NoError(t, err)
	content := read.(*statement.Closing)

	require.Len(t, content.Accounts, 2)
	require.Equal(t, []int{1, 2}, []int{content.Accounts[0].Number, content.Accounts[1].Number})
	var moves []string
	for _, p := range content.Accounts[0].Positions {
		moves = append(moves, fmt.Sprintf("%s %s>%s %t", p.ISIN, p.From, p.To, p.SoldOut))
	}
	require.Equal(t, []string{
		basf + " >1.5 false", apple + " >20 false", basf + " 1.5>0.5 false", basf + " 0.5>0 true", apple + " 20>0 true",
	}, moves)
	var cash []string
	for _, m := range content.Cash {
		cash = append(cash, fmt.Sprintf("%s %s>%s %s", m.Currency, m.BalanceBefore, m.BalanceAfter, m.PendingSettlement))
	}
	require.Equal(t, []string{"EUR >1234.56 0", "EUR 1234.56>0.00 0"}, cash)
	require.Equal(t, []string{c.fee, c.cancelledFee}, []string{content.Fees[0].ID, content.Fees[1].ID})
	require.Equal(t, "FINALISED", content.Fees[0].Status)
	require.True(t, content.Fees[0].At.Before(content.Fees[1].At), "the time is that of the last status")
	require.Equal(t, c.closed().Time, content.CreatedAt)
	require.Equal(t, c.closed().Time, content.Group.ClosedAt)
	require.Equal(t, "user_initiated", content.Reason)
}

// Facts that came after CLOSED are not in the report, also when it is made long after.
func TestWhatCameAfterClosedIsNotInTheReport(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	c.close()
	atOnce := a.render(a.service(), c, domain.EventGroupClosed, owner)

	c.cash("-777.77", 3)
	c.position(0, basf, "888.88", 4)
	c.recordFee(c.fee, domain.FeeProcessing, "999.99", 3)
	late := uuid.NewString()
	c.recordFee(late, domain.FeeProcessing, "666.66", 1)
	s := a.start(Config{})
	a.settle(s)
	file := s.mustPDF(t, c.report(owner))
	require.Equal(t, atOnce, file)
	said := text(t, file)
	for _, never := range []string{"777.77", "888.88", "999.99", "666.66", late} {
		require.NotContains(t, said, never)
	}
}

// Nobody may tell a user of a suspicion of money laundering; neither the reason nor who asked stands in the report.
func TestAReportDoesNotTipOff(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	for _, reason := range []domain.ClosureReason{domain.ReasonAML, "dunning"} {
		c := &closing{a: a, group: uuid.NewString()}
		a.write(domain.KindAccountGroup, c.group, &domain.OpenAccountGroup{Users: []domain.Party{{ID: owner, Type: domain.Owner}}, Type: "PERSONAL"})
		a.write(domain.KindAccountGroup, c.group, &domain.RequestAccountGroupClosure{ClosureReason: reason})
		said := strings.ToLower(text(t, a.render(a.service(), c, domain.EventGroupClosed, owner)))
		tipsOff := strings.Contains(said, "aml") || strings.Contains(said, "launder") || reason == domain.ReasonAML && strings.Contains(said, "support@")
		require.False(t, tipsOff, said)
		require.Equal(t, reason == domain.ReasonAML, strings.Contains(said, squeeze("not stated")))
		require.Equal(t, reason, c.state().Reason(), "the log keeps it")
	}
}

func TestAGroupWithoutAccounts(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := &closing{a: a, group: uuid.NewString()}
	a.write(domain.KindAccountGroup, c.group, &domain.OpenAccountGroup{Users: []domain.Party{{ID: owner, Type: domain.Owner}}, Type: "PERSONAL"})
	s := a.start(Config{})
	a.write(domain.KindAccountGroup, c.group, &domain.RequestAccountGroupClosure{})
	a.settle(s)
	require.Len(t, c.records(), 1)
	require.Contains(t, text(t, s.mustPDF(t, c.report(owner))), squeeze("The account group had no account."))
}
