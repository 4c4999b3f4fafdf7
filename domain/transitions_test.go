package domain

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// situation is a state in which a command may find a resource, and how it gets there.
type situation struct {
	name string
	make func(t rapid.TB) *stage
}

// after continues a stage with commands that have to be accepted.
func after(begin func(rapid.TB) *stage, payloads ...Payload) func(rapid.TB) *stage {
	return func(t rapid.TB) *stage {
		s := begin(t)
		for _, p := range payloads {
			events, refusal := s.try(t, s.command(p))
			require.Nil(t, refusal)
			require.NotEmpty(t, events)
		}
		return s
	}
}

func unopened(kind Kind, id string) func(rapid.TB) *stage {
	return func(rapid.TB) *stage { return newStage(kind, id) }
}

func situations(kind Kind) []situation {
	if kind == KindAccount {
		none := unopened(kind, firstAccount)
		return []situation{
			{"not existing", none},
			{"PENDING_APPROVAL", after(none, openAccount(StatusPendingApproval))},
			{"ACTIVE", activeAccount},
			{"ACTIVE, a position is held", after(activeAccount, holds(basf, "10", 1))},
			{"CLOSING, a position is held", closingAccount},
			{"CLOSED", closedAccount},
			{"LOCKED", after(activeAccount, &Lock{})},
			{"LOCKED, a closure in progress", after(closingAccount, &Lock{})},
			{"LOCKED, a closure in progress with nothing else against it", after(closingAccount, &Lock{}, holds(basf, "0", 2))},
			{"LOCKED, not yet approved", after(none, openAccount(StatusPendingApproval), &Lock{})},
		}
	}
	none, pending := unopened(kind, someGroup), openGroup()
	pending.Status = StatusPendingApproval
	return []situation{
		{"not existing", none},
		{"PENDING_APPROVAL", after(none, pending, link(firstAccount))},
		{"ACTIVE", after(activeGroup, link(firstAccount), closureOf(firstAccount))},
		{"ACTIVE, an account is open", after(activeGroup, link(firstAccount))},
		{"ACTIVE, a withdrawal is outstanding", after(activeGroup, link(firstAccount), closureOf(firstAccount), withdrawal(someWithdrawal, WithdrawalNew, 1))},
		{"CLOSING, an account is open", closingGroup},
		{"CLOSED", closedGroup},
		{"LOCKED", after(activeGroup, link(firstAccount), &Lock{})},
		{"LOCKED, a closure in progress", after(closingGroup, &Lock{})},
		{"LOCKED, a closure in progress with nothing else against it", after(closingGroup, &Lock{}, closureOf(firstAccount))},
		{"LOCKED, not yet approved", after(none, pending, link(firstAccount), &Lock{})},
	}
}

// commands are the payloads behind the headings of the table.
func commands(kind Kind) map[string]func(*stage) Payload {
	send := func(p Payload) func(*stage) Payload { return func(*stage) Payload { return p } }
	common := map[string]func(*stage) Payload{"activate": send(&Activate{}), "lock": send(&Lock{}), "unlock": send(&Unlock{})}
	own := map[string]func(*stage) Payload{}
	switch kind {
	case KindAccount:
		renamed := openAccount(StatusActive)
		renamed.Name, renamed.Link.Name = "Holidays", "Holidays"
		out := &Blocker{Code: OutstandingWithdrawals, Detail: "one is", Items: []Item{{ID: someWithdrawal}}}
		own = map[string]func(*stage) Payload{
			"open: the same again":                     asOpened(openAccount(StatusActive)),
			"open: with another name":                  send(renamed),
			"rename":                                   send(&RenameAccount{Name: "Holidays"}),
			"record_position: everything is sold":      send(holds(basf, "0", 9)),
			"record_position: more is held":            send(holds(basf, "25", 9)),
			"record_corporate_action: one is expected": send(action(CorporateActionExpected, 9)),
			"record_corporate_action: one is settled":  send(action(CorporateActionSettled, 9)),
			"request_closure":                          send(&RequestAccountClosure{}),
			"request_closure: while its group has a withdrawal outstanding": send(&RequestAccountClosure{Withdrawals: out}),
		}
	case KindAccountGroup:
		joint, renamed := openGroup(), link(firstAccount)
		joint.Type, renamed.Name = "JOINT", "Holidays"
		own = map[string]func(*stage) Payload{
			"open: the same again":                                        asOpened(openGroup()),
			"open: of another type":                                       send(joint),
			"link_account: a new account":                                 send(link(secondAccount)),
			"link_account: its own account again":                         send(link(firstAccount)),
			"link_account: its own account with another name":             send(renamed),
			"withdraw_account_link: of its account":                       send(&WithdrawAccountLink{AccountID: firstAccount}),
			"record_account_closure: of its account":                      send(closureOf(firstAccount)),
			"record_account_closure: of an account that it does not know": send(closureOf(thirdAccount)),
			"record_cash_balance: cash is left":                           send(cash("EUR", "250.00", 9)),
			"record_cash_balance: nothing is left":                        send(cash("EUR", "0.00", 9)),
			"record_fee_collection: one is in progress":                   send(fee(FeeProcessing, 9)),
			"record_withdrawal: a new one":                                send(withdrawal(nextWithdrawal, WithdrawalNew, 9)),
			"record_withdrawal: the outstanding one is confirmed":         send(withdrawal(someWithdrawal, WithdrawalConfirmed, 9)),
			"request_closure":                                             send(closeGroup("")),
			"request_closure: notification only":                          send(announce("")),
			"record_report":                                               send(report(owner)),
		}
	}
	maps.Copy(own, common)
	return own
}

// asOpened repeats how the resource was opened, whatever its situation is.
func asOpened(first Payload) func(*stage) Payload {
	return func(s *stage) Payload {
		if s.opening != nil {
			return s.opening
		}
		return first
	}
}

// transition is a line of the table.
type transition struct {
	line                        int
	answer, status, recorded    string
	kind                        Kind
	command, situation, blocker string
}

func (r transition) key() string { return string(r.kind) + " | " + r.command + " | " + r.situation }

var answers = regexp.MustCompile(`^(accepted|unchanged|not_found|conflict)(?:, ([A-Z_]+))?$`)

// readTransitions parses the table; it is strict, so that a slip of the pen is found.
func readTransitions(text string) (rows []transition, err error) {
	var kind Kind
	var command string
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "|")
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		if !strings.HasPrefix(line, "  ") {
			if len(fields) != 2 {
				return nil, fmt.Errorf("line %d: a heading is: kind | command", i+1)
			}
			kind, command = Kind(fields[0]), fields[1]
			continue
		}
		answer := answers.FindStringSubmatch(fields[min(1, len(fields)-1)])
		if accepted := len(fields) == 4; answer == nil || accepted != (answer[1] == "accepted") || !accepted && len(fields) != 2 {
			return nil, fmt.Errorf("line %d: %q is neither accepted with a status and what is recorded, nor another answer alone", i+1, line)
		}
		r := transition{line: i + 1, kind: kind, command: command, situation: fields[0], answer: answer[1], blocker: answer[2]}
		if len(fields) == 4 {
			r.status, r.recorded = fields[2], fields[3]
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// gaps compares the table with what has to be in it: each command in each situation, once.
func gaps(rows []transition) (out []string) {
	seen := map[string]int{}
	for _, r := range rows {
		if first, twice := seen[r.key()]; twice {
			out = append(out, fmt.Sprintf("line %d: is in line %d already: %s", r.line, first, r.key()))
		}
		seen[r.key()] = r.line
	}
	for _, kind := range Kinds() {
		for _, command := range slices.Sorted(maps.Keys(commands(kind))) {
			for _, s := range situations(kind) {
				key := transition{kind: kind, command: command, situation: s.name}.key()
				if _, ok := seen[key]; !ok {
					out = append(out, "missing: "+key)
				}
				delete(seen, key)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(seen)) {
		out = append(out, fmt.Sprintf("line %d: the tests know no such command or situation: %s", seen[key], key))
	}
	return out
}

func transitionTable(t *testing.T) (string, []transition) {
	t.Helper()
	text, err := os.ReadFile("testdata/transitions.txt")
	require.NoError(t, err)
	rows, err := readTransitions(string(text))
	require.NoError(t, err)
	return string(text), rows
}

func TestTransitionsAreComplete(t *testing.T) {
	text, rows := transitionTable(t)
	require.Empty(t, gaps(rows))

	// The check itself has to find what is missing, what is there twice, and what nobody knows.
	lines := strings.Split(text, "\n")
	row := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "  CLOSED") })
	for _, spoilt := range [][]string{
		slices.Delete(slices.Clone(lines), row, row+1),
		slices.Insert(slices.Clone(lines), row, lines[row]),
		slices.Insert(slices.Clone(lines), row, "  ON HOLIDAY | unchanged"),
	} {
		rows, err := readTransitions(strings.Join(spoilt, "\n"))
		require.NoError(t, err)
		require.Len(t, gaps(rows), 1)
	}
	for _, bad := range []string{"account", "  ACTIVE | accepted", "  ACTIVE | fine", "  ACTIVE | unchanged | ACTIVE | locked", "  ACTIVE"} {
		_, err := readTransitions(bad)
		require.Error(t, err, bad)
	}
}

// TestEveryCommandIsInTheTable reads the names of the commands in the source, so that none can be added without a row, the
// engine's own ones included.
func TestEveryCommandIsInTheTable(t *testing.T) {
	inTable, inSource := map[string]bool{}, map[string]bool{}
	for _, kind := range Kinds() {
		known := map[string]bool{}
		for heading := range commands(kind) {
			name, _, _ := strings.Cut(heading, ":")
			inTable[name], known[name] = true, true
		}
		for _, name := range CommandNames(kind) {
			require.True(t, known[name], "%s %s has no row", kind, name)
		}
	}
	declared := regexp.MustCompile(`\) CommandName\(\) string +\{ return "([a-z_]+)" \}`)
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		source, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		matches := declared.FindAllStringSubmatch(string(source), -1)
		require.Len(t, matches, strings.Count(string(source), ") CommandName() string"), "%s: a name that this test cannot read", f.Name())
		for _, m := range matches {
			inSource[m[1]] = true
		}
	}
	require.Equal(t, slices.Sorted(maps.Keys(inSource)), slices.Sorted(maps.Keys(inTable)))
}

func TestTransitions(t *testing.T) {
	_, rows := transitionTable(t)
	for _, r := range rows {
		t.Run(r.key(), func(t *testing.T) {
			i := slices.IndexFunc(situations(r.kind), func(s situation) bool { return s.name == r.situation })
			s := situations(r.kind)[i].make(t)
			before, _, _ := strings.Cut(r.situation, ",")
			require.Equal(t, before, statusOf(s.agg), "the situation is not what its name says")
			checkTransition(t, r, s, commands(r.kind)[r.command](s))
		})
	}
}

func checkTransition(t *testing.T, r transition, s *stage, p Payload) {
	t.Helper()
	before := s.agg.Copy()
	events, refusal := s.try(t, s.command(p))
	got := transition{line: r.line, kind: r.kind, command: r.command, situation: r.situation, answer: "unchanged"}
	switch {
	case refusal != nil:
		got.answer, got.blocker = string(refusal.Kind), codes(refusal.Blockers)
	case len(events) > 0:
		got.answer, got.status, got.recorded = "accepted", statusOf(s.agg), names(events)
	}
	require.Equal(t, r, got, "testdata/transitions.txt:%d", r.line)
	if got.answer != "accepted" {
		require.Equal(t, before, s.agg, "nothing was recorded, and the state is another")
	}
}

func statusOf(a Aggregate) string {
	if !a.Exists() {
		return "not existing"
	}
	return string(a.Status())
}

// TestCommandsOfTheOtherKind sends each kind what only the other one has.
func TestCommandsOfTheOtherKind(t *testing.T) {
	for kind, s := range map[Kind]*stage{KindAccount: closedGroup(t), KindAccountGroup: closedAccount(t)} {
		own := commands(s.ref.Kind)
		for heading, payload := range commands(kind) {
			name, _, _ := strings.Cut(heading, ":")
			if _, shared := own[name]; shared || name == "open" || name == "request_closure" {
				continue
			}
			refusal := s.refuses(t, payload(s), Invalid)
			require.Contains(t, refusal.Detail, "has no command \""+name+"\"")
		}
	}
	closedAccount(t).refuses(t, openGroup(), Invalid)
	closedAccount(t).refuses(t, closeGroup(""), Invalid)
	closedGroup(t).refuses(t, openAccount(StatusActive), Invalid)
	closedGroup(t).refuses(t, &RequestAccountClosure{}, Invalid)
}
