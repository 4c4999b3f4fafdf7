package domain

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// transition is a line of the table.
type transition struct {
	line                        int
	answer, status, recorded    string
	kind                        Kind
	command, situation, blocker string
}

func (r transition) key() string { return string(r.kind) + " | " + r.command + " | " + r.situation }

var answers = regexp.MustCompile(`^(accepted|unchanged|not_found|conflict|invalid_request|unprocessable_entity)(?:, ([A-Z_]+))?$`)

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
			require.Equal(t, before, wordOf(s.agg), "the situation is not what its name says")
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
		got.answer, got.status, got.recorded = "accepted", wordOf(s.agg), names(events)
	}
	require.Equal(t, r, got, "testdata/transitions.txt:%d", r.line)
	if got.answer != "accepted" {
		require.Equal(t, before, s.agg, "nothing was recorded, and the state is another")
	}
}

// wordOf is the status as the table has it.
func wordOf(a Aggregate) string {
	if !a.Exists() {
		return "not existing"
	}
	return string(statusOf(a))
}

// TestCommandsOfAnotherKind sends each kind what only another one has.
func TestCommandsOfAnotherKind(t *testing.T) {
	for _, s := range []*stage{closedAccount(t), closedGroup(t), activeUser(t)} {
		own := map[string]bool{}
		for _, payload := range commands(s.ref.Kind) {
			own[reflect.TypeOf(payload(s)).String()] = true
		}
		for _, kind := range Kinds() {
			for _, payload := range commands(kind) {
				p := payload(s)
				if own[reflect.TypeOf(p).String()] {
					continue
				}
				refusal := s.refuses(t, p, Invalid)
				require.Contains(t, refusal.Detail, s.ref.Kind.WithArticle()+" has no command \""+p.CommandName()+"\"")
			}
		}
	}
}
