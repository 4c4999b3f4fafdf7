package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore/verify"
)

// told is a group with a closed account, made by a program that serves, as clients make it.
type told struct {
	*serving
	t              *testing.T
	client         string
	group, account string
}

func tell(t *testing.T) *told {
	t.Helper()
	s := &told{serving: serve(t, t.TempDir()), t: t, client: uuid.NewString()}
	c := s.caller(t, s.client)
	s.group = call2[domain.AccountGroupResource](c, http.MethodPost, "/account_groups",
		map[string]any{"user_id": uuid.NewString(), "type": "PERSONAL", "domicile": "DE"}, http.StatusCreated).ID
	s.account = call2[domain.AccountResource](c, http.MethodPost, "/accounts",
		map[string]any{"account_group_id": s.group, "type": "TRADING", "name": "Für <später> & mehr"}, http.StatusCreated).ID
	s.send("account", s.account, "record_position", `{"isin":"US0378331005","quantity":"3","revision":1}`)
	s.send("account_group", s.group, "record_withdrawal", `{"withdrawal_id":"`+uuid.NewString()+`","status":"CONFIRMED","amount":"1","currency":"EUR","revision":1}`)
	status, _, body := c.do(http.MethodDelete, "/accounts/"+s.account, "", nil)
	require.Equal(t, http.StatusAccepted, status, string(body))
	s.send("account", s.account, "record_position", `{"isin":"US0378331005","quantity":"0","revision":2}`)
	return s
}

func (s *told) send(args ...string) {
	s.t.Helper()
	s.ok(append([]string{"send", "--client-id", s.client}, args...)...)
}

// ok runs a command against the server, which has to succeed, and gives what it prints.
func (s *told) ok(args ...string) string {
	s.t.Helper()
	code, out, stderr := once(s.t, "", append(args, s.at()...)...)
	require.Equal(s.t, exitDone, code, stderr)
	return out
}

// fails runs a command that has to fail with exit code 1.
func (s *told) fails(args ...string) (out, stderr string) {
	s.t.Helper()
	code, out, stderr := once(s.t, "", append(args, "--data", s.Data)...)
	require.Equal(s.t, exitFailed, code, out+stderr)
	return out, stderr
}

func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }

// A log that an engine wrote verifies, on the server and as an export; an export that was edited does not.
func TestVerifyAndExport(t *testing.T) {
	t.Parallel()
	s := tell(t)
	var r verify.Report
	require.NoError(t, json.Unmarshal([]byte(s.ok("verify", "--json")), &r))
	require.True(t, r.OK && r.Whole)
	require.Equal(t, r.Last, r.Commits)
	require.Equal(t, 3, r.Aggregates)
	require.Zero(t, r.Unjudged)
	require.Regexp(t, `^ok: \d+ commits, \d+ events, 3 aggregates, sequences 1 to \d+\nheads [0-9a-f]{64}\n$`, s.ok("verify"))

	file := filepath.Join(t.TempDir(), "log.jsonl")
	require.Contains(t, s.ok("export", "--out", file), "complete: true, digest ")
	_, stderr := s.fails("export", "--out", file, "--nats-url", s.NATS)
	require.Contains(t, stderr, "file exists")
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, lines(string(whole))[1:3], lines(s.ok("export"))[1:3], "without --out it goes to standard output")
	code, out, stderr := once(t, "", "verify", "--from-export", file)
	require.Equal(t, exitDone, code, stderr)
	require.Contains(t, out, "ok: ")

	edited := strings.Replace(string(whole), `"quantity":"3"`, `"quantity":"4"`, 1)
	require.NoError(t, os.WriteFile(file, []byte(edited), 0o600))
	out, stderr = s.fails("verify", "--from-export", file)
	require.Regexp(t, `^The first problem:\n  WRONG_HASH    sequence \d+ closure\.log\.account\.`+s.account+`: `, out)
	require.Contains(t, stderr, "the log is not what was written: 3 problems")
	out, _ = s.fails("verify", "--from-export", file, "--json", "--max-problems", "1")
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.False(t, r.OK)
	require.True(t, r.GaveUp)
	require.Equal(t, verify.WrongHash, r.Problems[0].Code)
}

// What an audit has printed can be asked for again later, when the log has grown.
func TestVerifyAgainstAnEarlierAudit(t *testing.T) {
	t.Parallel()
	s := tell(t)
	var early verify.Report
	require.NoError(t, json.Unmarshal([]byte(s.ok("verify", "--to", "5", "--json")), &early))
	require.False(t, early.Whole)
	require.Equal(t, uint64(5), early.Last)
	require.Contains(t, s.ok("verify", "--to", "5", "--expect", early.Heads), "This is a part of the log")
	out, _ := s.fails("verify", "--to", "6", "--expect", early.Heads, "--nats-url", s.NATS)
	require.Contains(t, out, "was changed since")
	out, _ = s.fails("verify", "--to", "500", "--nats-url", s.NATS)
	require.Regexp(t, `MISSING       sequence \d+: it is missing, and all up to sequence 500`, out)
}

func TestExportParts(t *testing.T) {
	t.Parallel()
	s := tell(t)
	file := filepath.Join(t.TempDir(), "part.jsonl")
	for _, flags := range [][]string{
		{"--from", "3", "--to", "6"}, {"--aggregate", "account"}, {"--aggregate", "account_group", "--id", strings.ToUpper(s.group)},
		{"--from", "2020-01-01T00:00:00Z", "--to", "6"}, {"--aggregate", "account", "--to", "2090-01-01T00:00:00+01:00"},
	} {
		part := s.ok(append([]string{"export"}, flags...)...)
		require.NoError(t, os.WriteFile(file, []byte(part), 0o600))
		require.Greater(t, len(lines(part)), 3, flags)
		code, out, stderr := once(t, "", "verify", "--from-export", file)
		require.Equal(t, exitDone, code, stderr)
		require.Contains(t, out, "This is a part of the log")
	}
	_, stderr := s.fails("export", "--to", "2020-01-01T00:00:00Z", "--nats-url", s.NATS)
	require.Contains(t, stderr, "the log has nothing that was stored at 2020-01-01T00:00:00Z or before")
	_, stderr = s.fails("export", "--from", "4", "--to", "3", "--nats-url", s.NATS)
	require.Contains(t, stderr, "there is nothing from sequence 4 to sequence 3")
}

// The history up to a point, and the resource as it was then.
func TestHistoryAsItWas(t *testing.T) {
	t.Parallel()
	s := tell(t)
	history := lines(s.ok("history", "account", s.account, "--json"))
	type item struct {
		Sequence uint64
		Time     string
		Type     string
	}
	items := make([]item, len(history))
	for i, line := range history {
		require.NoError(t, json.Unmarshal([]byte(line), &items[i]), line)
	}
	require.Equal(t, domain.EventAccountClosed, items[len(items)-1].Type)
	position := items[2] // behind opened and activated
	require.Equal(t, domain.EventAccountPositionRecorded, position.Type)
	type shown struct {
		State struct {
			Sequence uint64
			Resource domain.AccountResource
			Closure  domain.Closure
		}
	}
	for _, flags := range [][]string{{"--sequence", jsonOf(t, position.Sequence)}, {"--as-of", position.Time}} {
		then := lines(s.ok(append([]string{"history", "account", s.account, "--json"}, flags...)...))
		require.Equal(t, history[:3], then[:3])
		require.Len(t, then, 4)
		var got shown
		require.NoError(t, json.Unmarshal([]byte(then[3]), &got), then[3])
		require.Equal(t, position.Sequence, got.State.Sequence)
		require.Equal(t, domain.StatusActive, got.State.Resource.Status)
		require.Equal(t, "3", string(got.State.Closure.Blockers[0].Items[0].Quantity))
	}
	now := s.ok("history", "account", s.account, "--state")
	require.Contains(t, now, `"status": "CLOSED"`)
	require.Contains(t, now, "Für <später> & mehr\",\n")
	require.Contains(t, s.ok("history", "account_group", s.group, "--sequence", jsonOf(t, position.Sequence)), "OPEN_ACCOUNTS")

	_, stderr := s.fails("history", "account", s.account, "--sequence", "1", "--nats-url", s.NATS)
	require.Contains(t, stderr, "began later")
	_, stderr = s.fails("history", "account", uuid.NewString(), "--nats-url", s.NATS)
	require.Contains(t, stderr, "the log has no account")
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

func TestWrongUseOfProof(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.jsonl")
	require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o600))
	id := uuid.NewString()
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"no problems":          {[]string{"verify", "--max-problems", "0"}, "--max-problems: must be 1 at least"},
		"no states":            {[]string{"verify", "--states", "0"}, "--states: must be 1 at least"},
		"no such file":         {[]string{"verify", "--from-export", file + ".gz"}, "no such file"},
		"an export to":         {[]string{"verify", "--from-export", file, "--to", "3"}, "an export is verified as a whole"},
		"an id of what":        {[]string{"export", "--id", id}, "--id: needs --aggregate"},
		"an id that is none":   {[]string{"export", "--aggregate", "user", "--id", "x"}, "must be a uuid"},
		"a kind that is none":  {[]string{"export", "--aggregate", "order"}, "account_group"},
		"a point that is none": {[]string{"export", "--from", "yesterday"}, "must be a sequence from 1, or a time in RFC 3339"},
		"the sequence zero":    {[]string{"export", "--to", "0"}, "must be a sequence from 1"},
		"two points":           {[]string{"history", "user", id, "--sequence", "1", "--as-of", "2026-01-01T00:00:00Z"}, "give one of them"},
		"no time":              {[]string{"history", "user", id, "--as-of", "2026"}, "must be a time in RFC 3339"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, stderr := once(t, "", c.args...)
			require.Equal(t, exitUsage, code, stderr)
			require.Empty(t, out)
			require.Contains(t, stderr, c.says)
		})
	}
	code, _, stderr := once(t, "", "verify", "--from-export", file)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "this is no export of a log")
}
