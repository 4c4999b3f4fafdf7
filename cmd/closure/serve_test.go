package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/ledongthuc/pdf"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/handlers"
)

// The whole program, driven as a client would: over HTTP and plain NATS, none of the engine's own code on this side.
func TestCloseEndToEnd(t *testing.T) {
	s := serve(t, t.TempDir())
	closeEndToEnd(t, s)
	require.Equal(t, exitDone, s.stop(), s.logs.String())
}

// closeEndToEnd opens a group with two accounts, closes all three, and looks at everything that comes of it.
func closeEndToEnd(t *testing.T, s *serving) {
	t.Helper()
	c := s.caller(t, uuid.NewString())
	hook := newEndpoint(t)
	call2[domain.Webhook](c, http.MethodPost, "/webhooks", map[string]any{"title": "all", "url": hook.URL, "type": []string{"ALL"}}, http.StatusCreated)

	user := uuid.NewString()
	group := call2[domain.AccountGroupResource](c, http.MethodPost, "/account_groups",
		map[string]any{"user_id": user, "type": "PERSONAL", "domicile": "DE"}, http.StatusCreated)
	require.Equal(t, domain.StatusActive, group.Status)
	names := []string{"Für später", "Κατοικία Łódź"}
	var accounts []domain.AccountResource
	for _, name := range names {
		accounts = append(accounts, call2[domain.AccountResource](c, http.MethodPost, "/accounts",
			map[string]any{"account_group_id": group.ID, "type": "TRADING", "name": name}, http.StatusCreated))
	}
	nc := s.connect(t)
	send := func(subject, fields string) {
		t.Helper()
		body := `{"command_id":"` + uuid.NewString() + `","client_id":"` + c.client + `","actor":"custody",` + fields + `}`
		reply, err := nc.Request("closure.rpc."+subject, []byte(body), 10*time.Second)
		require.NoError(t, err)
		require.Contains(t, string(reply.Data), `"result":"accepted"`, string(reply.Data))
	}
	send("account."+accounts[0].ID+".record_position", `"isin":"US0378331005","quantity":"3","revision":1`)
	send("account_group."+group.ID+".record_cash_balance", `"currency":"EUR","balance":"10.00","revision":1`)

	for _, path := range []string{"/accounts/" + accounts[0].ID, "/accounts/" + accounts[1].ID, "/account_groups/" + group.ID + "?closure_reason=user_initiated"} {
		status, header, body := c.do(http.MethodDelete, path, "", nil)
		require.Equal(t, http.StatusAccepted, status, string(body))
		require.Empty(t, body)
		require.NoError(t, uuid.Validate(header.Get("upvest-request-id")))
	}
	// What was just accepted shows at once.
	require.Equal(t, domain.StatusClosing, get[domain.AccountResource](c, "/accounts/"+accounts[0].ID).Status)
	require.Equal(t, domain.StatusClosed, get[domain.AccountResource](c, "/accounts/"+accounts[1].ID).Status)
	closure := get[domain.Closure](c, "/accounts/"+accounts[0].ID+"/closure")
	require.Len(t, closure.Blockers, 1)
	require.Equal(t, domain.OpenPositions, closure.Blockers[0].Code)

	send("account."+accounts[0].ID+".record_position", `"isin":"US0378331005","quantity":"0","revision":2`)
	require.Equal(t, domain.StatusClosed, get[domain.AccountResource](c, "/accounts/"+accounts[0].ID).Status)
	send("account_group."+group.ID+".record_cash_balance", `"currency":"EUR","balance":"0","revision":2`)

	got := hook.await(t, "REPORT.CREATED", func(got []delivery) bool { return has(got, "REPORT.CREATED", "") })
	require.True(t, has(got, "ACCOUNT_GROUP.CLOSED", group.ID))
	checkReport(t, c, user, group, accounts)

	// Lists may lag by a moment; the webhook of the report came behind everything that they show.
	history := get[list[handlers.HistoryItem]](c, "/account_groups/"+group.ID+"/history")
	require.Equal(t, domain.EventGroupOpened, history.Data[0].Type)
	require.Equal(t, domain.EventGroupReportCreated, history.Data[len(history.Data)-1].Type)

	code, out, stderr := once(t, "", append([]string{"history", "account_group", group.ID, "--json"}, s.at()...)...)
	require.Equal(t, exitDone, code, stderr)
	require.Equal(t, len(history.Data), strings.Count(out, "\n"))
}

func checkReport(t *testing.T, c caller, user string, group domain.AccountGroupResource, accounts []domain.AccountResource) {
	t.Helper()
	var reports list[domain.ReportResource]
	require.Eventually(t, func() bool {
		reports = get[list[domain.ReportResource]](c, "/users/"+user+"/reports")
		return reports.Meta.TotalCount == 1
	}, within, 10*time.Millisecond, "the list of reports catches up")
	report := reports.Data[0]
	require.Equal(t, domain.ReportAccountClosing, report.Type)
	require.Equal(t, group.ID, report.Data.References[0].ID)
	require.Equal(t, report, get[domain.ReportResource](c, "/reports/"+report.ID))

	status, header, file := c.do(http.MethodGet, "/reports/"+report.ID, "application/pdf", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "application/pdf", header.Get("content-type"))
	text := pdfText(t, file)
	for _, want := range []string{group.ID, user, accounts[0].ID, accounts[1].ID, accounts[0].Name, accounts[1].Name, "US0378331005"} {
		require.Contains(t, text, strings.Join(strings.Fields(want), ""), "the PDF names it")
	}
	status, _, _ = c.do(http.MethodGet, "/reports/"+report.ID, "text/html", nil)
	require.Equal(t, http.StatusNotAcceptable, status)
}

// pdfText is the text of a PDF without its spaces: where a reader sees one is a matter of layout.
func pdfText(t *testing.T, file []byte) string {
	t.Helper()
	reader, err := pdf.NewReader(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	plain, err := reader.GetPlainText()
	require.NoError(t, err)
	text, err := io.ReadAll(plain)
	require.NoError(t, err)
	return strings.Join(strings.Fields(string(text)), "")
}

// The command line sends what upstream services send.
func TestSend(t *testing.T) {
	s := serve(t, t.TempDir())
	client, group, user := uuid.NewString(), uuid.NewString(), uuid.NewString()
	at := append(s.at(), "--client-id", client)
	send := func(args ...string) (int, string, string) {
		t.Helper()
		return once(t, `{"currency":"EUR","balance":"1","revision":1}`, append(append([]string{"send"}, args...), at...)...)
	}
	open := `{"users":[{"id":"` + user + `","type":"OWNER"}],"type":"PERSONAL"}`
	code, out, stderr := send("account_group", group, "open", open)
	require.Equal(t, exitDone, code, stderr)
	require.Contains(t, out, "accepted: account_group "+group+" open, sequence ")

	code, out, _ = send("account_group", group, "open", open, "--json")
	require.Equal(t, exitDone, code)
	var a answer
	require.NoError(t, json.Unmarshal([]byte(out), &a), out)
	require.Equal(t, "unchanged", a.Result)

	code, _, stderr = send("account_group", group, "record_cash_balance", "-")
	require.Equal(t, exitDone, code, stderr)

	code, _, stderr = send("account_group", group, "open", `{"users":[],"type":"PERSONAL"}`)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "rejected: users: must be 1 to 10 users")

	code, out, stderr = send("account_group", group, "lock", "--durable")
	require.Equal(t, exitDone, code, stderr)
	require.Contains(t, out, "stored: ")
	c := s.caller(t, client)
	require.Eventually(t, func() bool {
		return get[domain.AccountGroupResource](c, "/account_groups/"+group).Status == domain.StatusLocked
	}, within, 10*time.Millisecond)
}

// Servers of a cluster may come with passwords, which are never printed.
func TestServersWithPasswords(t *testing.T) {
	for urls, want := range map[string]struct {
		code int
		says string
	}{
		"nats://u:secret@127.0.0.1:1,nats://u:secret@127.0.0.1:2": {exitFailed, "connect to NATS at nats://u:xxxxx@127.0.0.1:1,nats://u:xxxxx@127.0.0.1:2"},
		"nats://127.0.0.1:1, nats://u:secret%@127.0.0.1:2":        {exitUsage, "--nats-url: must be nats://host:port, several with commas; the one at place 2 is not"},
		"u:secret@127.0.0.1:1":                                    {exitUsage, "the one at place 1 is not"},
		"nats://u:secret@127.0.0.1:1,":                            {exitUsage, "the one at place 2 is not"},
	} {
		code, out, stderr := once(t, "", "serve", "--http-addr", "127.0.0.1:0", "--data", t.TempDir(), "--nats-url", urls)
		require.Equal(t, want.code, code, stderr)
		require.Contains(t, stderr, want.says)
		require.NotContains(t, out+stderr, "secret")
	}
}
