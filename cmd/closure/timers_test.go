package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
)

// TestKillWithTimersPending kills the program while accounts wait for the end of the UK tax year, and starts it again after
// that moment: each timer fires once in effect, and nothing happens before its time.
func TestKillWithTimersPending(t *testing.T) {
	t.Parallel()
	v := &victim{t: t, data: t.TempDir(), client: uuid.NewString(), flags: []string{"--sandbox", "--stall-after", "87600h"}}
	v.start()
	t.Cleanup(v.kill)
	c := v.login()
	var accounts []string
	for range 10 {
		group := call2[domain.AccountGroupResource](c, http.MethodPost, "/account_groups",
			map[string]any{"user_id": uuid.NewString(), "type": "PERSONAL", "domicile": "GB"}, http.StatusCreated)
		account := call2[domain.AccountResource](c, http.MethodPost, "/accounts",
			map[string]any{"account_group_id": group.ID, "type": "TRADING", "name": "kill"}, http.StatusCreated)
		for _, path := range []string{"/accounts/" + account.ID, "/account_groups/" + group.ID} {
			status, _, body := c.do(http.MethodDelete, path, "", nil)
			require.Equal(t, http.StatusAccepted, status, string(body))
		}
		accounts = append(accounts, account.ID)
	}
	due := *get[domain.Closure](c, "/accounts/"+accounts[0]+"/closure").NextEligibleAt
	call2[map[string]time.Time](c, http.MethodPost, "/sandbox/clock", map[string]any{"now": due.Add(-4 * time.Second)}, http.StatusOK)
	moved := time.Now()
	for _, id := range accounts {
		require.Equal(t, domain.StatusClosing, get[domain.AccountResource](c, "/accounts/"+id).Status)
	}
	v.kill()
	<-time.After(time.Until(moved.Add(5 * time.Second))) // the moment passes while nothing runs
	v.start()

	c.base = v.now().HTTP
	for _, id := range accounts {
		require.Eventually(t, func() bool {
			closure := get[domain.Closure](c, "/accounts/"+id+"/closure")
			require.True(t, closure.ClosedAt == nil || !closure.ClosedAt.Before(due), "closed at %s, before its time", closure.ClosedAt)
			return closure.ClosedAt != nil
		}, within, 20*time.Millisecond)
	}
	closed := map[string]int{}
	for _, m := range wholeStream(t, v.conn, eventstore.StreamLog) {
		commit, err := eventstore.DecodeCommit(m.Data())
		require.NoError(t, err)
		for _, e := range commit.Events {
			if e.Type == domain.EventAccountClosed {
				closed[commit.AggregateID]++
			}
		}
	}
	for _, id := range accounts {
		require.Equal(t, 1, closed[id], "each account is closed once")
	}
	v.stop()
}

// A sandbox tells of times that have not come: its folder and a real one are never taken for each other, and its clock goes
// forwards only, also over a restart.
func TestSandboxIsKeptApart(t *testing.T) {
	t.Parallel()
	real, play := t.TempDir(), t.TempDir()
	require.Equal(t, exitDone, serve(t, real).stop())
	args := []string{"serve", "--http-addr", "127.0.0.1:0", "--nats-addr", "127.0.0.1:0", "--data"}
	code, _, stderr := once(t, "", append(args, real, "--sandbox")...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "holds a real log")

	first := serve(t, play, "--sandbox")
	c := first.caller(t, uuid.NewString())
	to := time.Now().Add(1000 * time.Hour).UTC().Truncate(time.Second)
	moved := call2[struct{ Now time.Time }](c, http.MethodPost, "/sandbox/clock", map[string]any{"now": to}, http.StatusOK)
	require.False(t, moved.Now.Before(to))
	status, _, body := c.do(http.MethodPost, "/sandbox/clock", "", map[string]any{"now": to.Add(-time.Hour)})
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, string(body), "forwards only")
	require.Equal(t, exitDone, first.stop())

	code, _, stderr = once(t, "", append(args, play)...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "is a sandbox")
	second := serve(t, play, "--sandbox")
	c.base = second.HTTP
	ready := get[struct {
		Sandbox bool
		Now     time.Time
	}](c, "/readyz")
	require.True(t, ready.Sandbox)
	require.False(t, ready.Now.Before(to), "the clock went back to %s", ready.Now)

	plain := serve(t, real).caller(t, c.client)
	status, _, _ = plain.do(http.MethodPost, "/sandbox/clock", "", map[string]any{"now": to})
	require.Equal(t, http.StatusNotFound, status, "without --sandbox there is no such call")
}

// Operators see the closings of all clients, with what stands against them.
func TestList(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir())
	var groups []string
	for range 2 {
		c := s.caller(t, uuid.NewString())
		group := call2[domain.AccountGroupResource](c, http.MethodPost, "/account_groups", map[string]any{"user_id": uuid.NewString(), "type": "PERSONAL"}, http.StatusCreated)
		call2[domain.AccountResource](c, http.MethodPost, "/accounts", map[string]any{"account_group_id": group.ID, "type": "TRADING", "name": "list"}, http.StatusCreated)
		status, _, _ := c.do(http.MethodDelete, "/account_groups/"+group.ID, "", nil)
		require.Equal(t, http.StatusAccepted, status)
		groups = append(groups, group.ID)
	}
	at := append([]string{"list"}, s.at()...)
	var out string
	require.Eventually(t, func() bool {
		var code int
		var stderr string
		code, out, stderr = once(t, "", at...)
		require.Equal(t, exitDone, code, stderr)
		return len(out) > 0 && out[len(out)-7:] == "2 of 2\n"
	}, within, 20*time.Millisecond, "lists may lag by a moment")
	for _, id := range groups {
		require.Contains(t, out, id)
	}
	require.Contains(t, out, "OPEN_ACCOUNTS")
	code, out, _ := once(t, "", append(at, "--blocker", "CASH_BALANCE")...)
	require.Equal(t, exitDone, code)
	require.Equal(t, "0 of 0\n", out)
	code, _, stderr := once(t, "", append(at, "--blocker", "RAIN")...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "blocker: must be one of OPEN_POSITIONS")
	code, _, stderr = once(t, "", append(at, "--limit", "5000")...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "--limit: must be 1 to 1000")
}
