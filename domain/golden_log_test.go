package domain

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/eventstore"
)

// A golden log is a whole log as an engine of its time wrote it, and what it folds to. Later versions get logs of their
// own beside it (golden_log_2.jsonl with golden_states_2.json); all of them have to be readable for ever. The states are what
// clients see of it today: when a resource gets a new member, they are written anew and the difference is looked at. The log is not.
//
// A log whose events are all written in the same version today is told again byte for byte (golden); one that holds a former
// version of an event is told again by what it says (saysTheSame).
const (
	goldenLog    = "testdata/golden_log.jsonl"
	goldenStates = "testdata/golden_states.json"
)

// company is several aggregates on one clock, with one log.
type company struct {
	log                      [][]byte
	clock                    *clock
	group, mistaken          *stage
	savings, holidays, youth *stage
	user                     *stage
}

func newCompany() *company {
	c := &company{clock: newClock()}
	add := func(kind Kind, id string) *stage {
		s := newStage(kind, id)
		s.clock, s.shared = c.clock, &c.log
		return s
	}
	c.group, c.mistaken = add(KindAccountGroup, someGroup), add(KindAccountGroup, otherGroup)
	c.user = add(KindUser, owner)
	c.savings, c.holidays, c.youth = add(KindAccount, firstAccount), add(KindAccount, secondAccount), add(KindAccount, thirdAccount)
	return c
}

// causes makes the next command of to one that the engine sends because of the last commit of from.
func causes(from, to *stage) *stage {
	to.cause, to.actor = from.lastCommit(), "closure engine"
	return to
}

// asks makes the next commands ones that a client sends.
func asks(s *stage) *stage {
	s.cause, s.actor = "", "support@bank.example"
	return s
}

// closureIs is what the engine tells the group of an account that is CLOSED.
func closureIs(account *stage) *RecordAccountClosure {
	return &RecordAccountClosure{AccountID: account.ref.ID, ClosedAt: *account.agg.(*Account).ClosedAt()}
}

// openIn opens an account link first.
func openIn(t *testing.T, group, account *stage, p *LinkAccount, want string) {
	t.Helper()
	asks(group).does(t, p, "account_linked")
	given, _ := group.agg.(*AccountGroup).Link(account.ref.ID)
	causes(group, account).does(t, &OpenAccount{AccountGroupID: group.ref.ID, Type: p.Type, Name: p.Name, Link: &given}, want)
	asks(account)
}

// firstLog is the story of the golden log.
func firstLog(t *testing.T) [][]byte {
	t.Helper()
	c := newCompany()
	c.beginnings(t)
	c.business(t)
	c.closings(t)
	c.aftermath(t)
	return c.log
}

// beginnings opens two groups and three accounts; the second group claims an account of the first, and has to give it back.
func (c *company) beginnings(t *testing.T) {
	t.Helper()
	c.group.does(t, openGroup(), "opened, activated")
	openIn(t, c.group, c.savings, &LinkAccount{AccountID: firstAccount, Type: Trading, Name: "Savings"}, "opened, activated")
	openIn(t, c.group, c.holidays, &LinkAccount{AccountID: secondAccount, Type: Portfolio, Name: "Zoë & Łukasz – Ωκεανός"}, "opened, activated")

	c.mistaken.does(t, &OpenAccountGroup{
		Users: []Party{{ID: child, Type: Child}, {ID: guardian, Type: Guardian}}, Type: "CHILD", Status: StatusPendingApproval,
		SecuritiesAccountNumber: "1000002",
	}, "opened")
	c.mistaken.does(t, link(firstAccount), "account_linked")
	taken, _ := c.mistaken.agg.(*AccountGroup).Link(firstAccount)
	c.savings.refuses(t, &OpenAccount{AccountGroupID: otherGroup, Type: Trading, Name: "Savings", Link: &taken}, Conflict)
	causes(c.mistaken, c.mistaken).does(t, &WithdrawAccountLink{AccountID: firstAccount}, "account_link_withdrawn")

	openIn(t, c.mistaken, c.youth, &LinkAccount{AccountID: thirdAccount, Type: Trading, Name: "Youth"}, "opened")
	c.mistaken.does(t, &Activate{}, "activated")
	c.youth.does(t, &Activate{}, "activated")
	c.mistaken.does(t, &Lock{}, "locked")
	c.mistaken.does(t, &Unlock{}, "unlocked")
	c.youth.does(t, &Lock{}, "locked")
}

// business is what comes in while everything is ACTIVE.
func (c *company) business(t *testing.T) {
	t.Helper()
	c.savings.does(t, &RenameAccount{Name: "Rainy days"}, "renamed")
	c.savings.does(t, holds(basf, "10.5", 1), "position_recorded")
	c.savings.does(t, holds(apple, "3", 7), "position_recorded")
	c.savings.does(t, holds(apple, "4", 6), "")
	c.holidays.does(t, &RecordPosition{ISIN: world, Quantity: "120.000001", PendingSettlement: "2", Revision: 1}, "position_recorded")
	c.holidays.does(t, action(CorporateActionExpected, 1), "corporate_action_recorded")
	c.group.does(t, &RecordCashBalance{Currency: "EUR", Balance: "250.00", PendingSettlement: "-12.30", Revision: 1}, "cash_balance_recorded")
	c.group.does(t, cash("USD", "-0.01", 1), "cash_balance_recorded")
	c.group.does(t, fee(FeeProcessing, 1), "fee_collection_recorded")
	c.group.does(t, withdrawal(someWithdrawal, WithdrawalNew, 1), "withdrawal_recorded")
}

// closings closes both accounts and the group of the first.
func (c *company) closings(t *testing.T) {
	t.Helper()
	c.group.refuses(t, closeGroup("user_initiated"), Conflict)
	c.group.does(t, withdrawal(someWithdrawal, WithdrawalConfirmed, 2), "withdrawal_recorded")
	c.group.does(t, announce("user_initiated"), "closure_announced")
	c.savings.does(t, &RequestAccountClosure{}, "closing_initiated")
	request := c.group.command(closeGroup(""))
	request.RequestID, request.CorrelationID = "4e900000-0000-4000-8000-000000000001", "c0440000-0000-4000-8000-000000000001"
	events, refusal := c.group.try(t, request)
	require.Nil(t, refusal)
	require.Equal(t, "closing_initiated", names(events))
	c.savings.does(t, holds(basf, "0", 2), "position_recorded")
	c.savings.does(t, &Lock{}, "locked")
	c.savings.does(t, holds(apple, "0", 8), "position_recorded")
	c.savings.does(t, &Unlock{}, "unlocked, closed")
	causes(c.savings, c.group).does(t, closureIs(c.savings), "account_closure_recorded")
	asks(c.group).does(t, fee(FeeFinalised, 2), "fee_collection_recorded")
	c.holidays.does(t, &RequestAccountClosure{}, "closing_initiated")
	c.holidays.does(t, holds(world, "0", 2), "position_recorded")
	c.holidays.does(t, action(CorporateActionSettled, 2), "corporate_action_recorded, closed")
	c.group.does(t, cash("USD", "0", 2), "cash_balance_recorded")
	c.group.does(t, cash("EUR", "0.00", 2), "cash_balance_recorded")
	causes(c.holidays, c.group).does(t, closureIs(c.holidays), "account_closure_recorded, closed")
}

// aftermath is what follows CLOSED.
func (c *company) aftermath(t *testing.T) {
	t.Helper()
	causes(c.group, c.group).does(t, report(owner), "report_created")
	asks(c.group).does(t, cash("EUR", "0.37", 3), "cash_balance_recorded, reconciliation_required")
	c.holidays.does(t, action(CorporateActionExpected, 3), "corporate_action_recorded, reconciliation_required")
	c.group.does(t, cash("EUR", "0", 4), "cash_balance_recorded")
}

// TestGoldenLogIsWhatIsWritten tells the story again: what is written now is what was written then.
func TestGoldenLogIsWhatIsWritten(t *testing.T) {
	golden(t, goldenLog, append(bytes.Join(firstLog(t), []byte("\n")), '\n'))
}

// saysTheSame compares a story with a golden log that holds former versions of events: an engine of today decides the same commits,
// with the same events as they are read today. The bytes differ in these events, and so in the hashes.
func saysTheSame(t *testing.T, path string, told [][]byte) {
	t.Helper()
	lines, former := readLog(t, path), 0
	require.Len(t, told, len(lines))
	for i, line := range lines {
		kept, events := readCommit(t, line)
		now, decided := readCommit(t, told[i])
		require.Equal(t, events, decided, "%s:%d", path, i+1)
		for n, e := range kept.Events {
			require.Equal(t, e.Type, now.Events[n].Type)
			require.Equal(t, EventVersion(e.Type), now.Events[n].Version, "what is written has the current version")
			if e.Version < now.Events[n].Version {
				former++
			}
		}
		kept.Events, now.Events, kept.PrevHash, now.PrevHash = nil, nil, "", ""
		require.Equal(t, kept, now, "%s:%d", path, i+1)
	}
	require.NotZero(t, former, "%s holds no former version: compare it byte for byte", path)
}

func readLog(t *testing.T, path string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
}

// folded is an aggregate of a golden log and where its chain ends.
type folded struct {
	agg     Aggregate
	version int
	hash    string
}

// fold reads a log as an auditor would: checks the chain of each aggregate, and folds it.
func fold(lines [][]byte) (map[Ref]folded, error) {
	all := map[Ref]folded{}
	ids := map[string]bool{}
	for i, line := range lines {
		w, events, err := parseCommit(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		ref := Ref{Kind: w.Aggregate, ID: w.AggregateID}
		f, ok := all[ref]
		if !ok {
			f.agg = New(ref)
		}
		switch {
		case w.Version != f.version+1:
			return nil, fmt.Errorf("line %d: version %d follows version %d of %v", i+1, w.Version, f.version, ref)
		case w.PrevHash != f.hash:
			return nil, fmt.Errorf("line %d: the chain of %v is broken", i+1, ref)
		case ids[w.ID]:
			return nil, fmt.Errorf("line %d: the commit id is there twice", i+1)
		}
		ids[w.ID] = true
		f.agg.Apply(w.meta(), events)
		all[ref] = folded{f.agg, w.Version, hashOf(line)}
	}
	return all, nil
}

func TestGoldenLogFolds(t *testing.T) {
	logs, err := filepath.Glob("testdata/golden_log*.jsonl")
	require.NoError(t, err)
	require.NotEmpty(t, logs)
	for _, path := range logs {
		t.Run(path, func(t *testing.T) {
			states := strings.NewReplacer("golden_log", "golden_states", ".jsonl", ".json").Replace(path)
			all, err := fold(readLog(t, path))
			require.NoError(t, err)
			golden(t, states, showStates(t, all))
		})
	}
}

func TestGoldenLogsHoldEveryEventOfEveryVersion(t *testing.T) {
	logs, err := filepath.Glob("testdata/golden_log*.jsonl")
	require.NoError(t, err)
	var seen, all []string
	for _, path := range logs {
		for _, line := range readLog(t, path) {
			w, _ := readCommit(t, line)
			for _, e := range w.Events {
				seen = append(seen, fmt.Sprintf("%s version %d", e.Type, e.Version))
			}
		}
	}
	for _, name := range EventTypes() {
		for version := range EventVersion(name) {
			all = append(all, fmt.Sprintf("%s version %d", name, version+1))
		}
	}
	slices.Sort(seen)
	slices.Sort(all)
	require.Equal(t, all, slices.Compact(seen))
}

// TestGoldenLogChainIsChecked spoils the log in ways that an auditor has to see.
func TestGoldenLogChainIsChecked(t *testing.T) {
	lines := readLog(t, goldenLog)
	whole, err := fold(lines)
	require.NoError(t, err)
	digit := slices.Clone(lines)
	digit[0] = bytes.Replace(lines[0], []byte("1000001"), []byte("1000009"), 1)
	require.NotEqual(t, lines[0], digit[0])
	for name, spoilt := range map[string][][]byte{
		"a digit is another":  digit,
		"a commit is missing": slices.Delete(slices.Clone(lines), 1, 2),
		"a commit is twice":   slices.Insert(slices.Clone(lines), 1, lines[1]),
		"the first is gone":   lines[1:],
	} {
		_, err := fold(spoilt)
		require.Error(t, err, name)
	}
	// No commit follows the last one: its hash is in the golden states, and a change of it shows there.
	last := len(lines) - 1
	digit = slices.Clone(lines)
	digit[last] = bytes.Replace(lines[last], []byte(`"balance":"0"`), []byte(`"balance":"9"`), 1)
	changed, err := fold(digit)
	require.NoError(t, err)
	require.NotEqual(t, showStates(t, whole), showStates(t, changed))
}

// TestGoldenLogIsReadByTheStore holds the two readings of the contract against each other: the one of these tests, and the
// one that writes the log.
func TestGoldenLogIsReadByTheStore(t *testing.T) {
	for _, line := range slices.Concat(readLog(t, goldenLog), readLog(t, secondGoldenLog), readLog(t, thirdGoldenLog), readLog(t, fourthGoldenLog)) {
		c, err := eventstore.DecodeCommit(line)
		require.NoError(t, err)
		body, err := c.Encode()
		require.NoError(t, err)
		require.Equal(t, string(line), string(body))
		require.Equal(t, hashOf(line), eventstore.HashOf(line))
		_, events := readCommit(t, line)
		require.Len(t, c.Events, len(events))
	}
}
