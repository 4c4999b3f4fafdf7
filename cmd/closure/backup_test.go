package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/backup"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
	"closure/handlers/httpapi"
)

// story is what an engine knows when it is backed up, and has to know when it is restored.
type story struct {
	*upstream
	hook *endpoint

	webhook     string
	idempotency string                 // a key
	answered    domain.AccountResource // what was answered to it
	report      domain.ReportResource
	pdf         []byte
	waiting     domain.AccountResource // for its last position
	uk          []string               // accounts that wait for the end of the UK tax year
	liquidation domain.LiquidationResource
	sold        domain.AccountResource // what is liquidated
}

// tellStory makes all that there is to make.
func tellStory(t *testing.T, s *serving) *story {
	t.Helper()
	st := &story{upstream: s.upstream(t, s.caller(t, uuid.NewString())), hook: newEndpoint(t), idempotency: uuid.NewString()}
	st.webhook = call2[domain.Webhook](st.caller, http.MethodPost, "/webhooks",
		map[string]any{"title": "all", "url": st.hook.URL, "type": []string{"ALL"}}, http.StatusCreated).ID

	group, account, err := st.openAccount(t.Context(), "FR")
	require.NoError(t, err)
	require.NoError(t, st.again(group.ID, &st.answered))
	for _, path := range []string{"/accounts/" + account.ID, "/accounts/" + st.answered.ID, "/account_groups/" + group.ID} {
		accepts(t, st.caller, http.MethodDelete, path)
	}
	st.hook.await(t, "the report", func(got []delivery) bool { return has(got, "REPORT.CREATED", "") })
	require.Eventually(t, func() bool {
		all := get[list[domain.ReportResource]](st.caller, "/users/"+group.Users[0].ID+"/reports").Data
		if len(all) > 0 {
			st.report = all[0]
		}
		return len(all) > 0
	}, within, 10*time.Millisecond, "lists may lag by a moment")
	st.pdf = st.file()

	_, st.waiting, err = st.openAccount(t.Context(), "FR")
	require.NoError(t, err)
	st.tell("account", st.waiting.ID, "record_position", holds("3", 1))
	accepts(t, st.caller, http.MethodDelete, "/accounts/"+st.waiting.ID)
	for range 5 {
		group, account, err := st.openAccount(t.Context(), "GB")
		require.NoError(t, err)
		for _, path := range []string{"/accounts/" + account.ID, "/account_groups/" + group.ID} {
			accepts(t, st.caller, http.MethodDelete, path)
		}
		st.uk = append(st.uk, account.ID)
	}
	group, st.sold, err = st.openAccount(t.Context(), "FR")
	require.NoError(t, err)
	st.tell("account", st.sold.ID, "record_position", holds("12.5", 1))
	accepts(t, st.caller, http.MethodDelete, "/accounts/"+st.sold.ID)
	st.liquidation = call2[domain.LiquidationResource](st.caller, http.MethodPost, "/accounts/"+st.sold.ID+"/liquidations",
		map[string]any{"user_id": group.Users[0].ID}, http.StatusAccepted)
	return st
}

func accepts(t *testing.T, c caller, method, path string) {
	t.Helper()
	status, _, body := c.do(method, path, "", nil)
	require.Equal(t, http.StatusAccepted, status, string(body))
}

// again opens an account, with the same idempotency key each time.
func (st *story) again(group string, out *domain.AccountResource) error {
	return st.try(st.t.Context(), http.MethodPost, "/accounts", st.idempotency,
		map[string]any{"account_group_id": group, "type": "TRADING", "name": "once"}, out, http.StatusCreated)
}

func (st *story) file() []byte {
	st.t.Helper()
	status, _, file := st.do(http.MethodGet, "/reports/"+st.report.ID, "application/pdf", nil)
	require.Equal(st.t, http.StatusOK, status, string(file))
	return file
}

// goesOn takes the story to its end on another engine, which knows the client, and whose token is good there.
func (st *story) goesOn(t *testing.T, s *serving) {
	t.Helper()
	st.caller.base = s.HTTP
	st.upstream = s.upstream(t, st.caller)
	var answer domain.AccountResource
	require.NoError(t, st.again(st.answered.AccountGroupID, &answer))
	require.Equal(t, st.answered, answer, "the answer to an idempotency key")
	require.Equal(t, st.report, get[domain.ReportResource](st.caller, "/reports/"+st.report.ID))
	require.Equal(t, st.pdf, st.file(), "the report, byte for byte")
	require.NotEmpty(t, get[list[httpapi.WebhookAttempt]](st.caller, "/webhooks/"+st.webhook+"/attempts").Data)

	require.Equal(t, domain.StatusClosing, get[domain.AccountResource](st.caller, "/accounts/"+st.waiting.ID).Status)
	st.tell("account", st.waiting.ID, "record_position", holds("0", 2))
	st.closes(st.waiting.ID)

	require.Equal(t, st.liquidation, get[domain.LiquidationResource](st.caller, "/accounts/"+st.sold.ID+"/liquidations/"+st.liquidation.ID))
	for _, o := range st.liquidation.Orders {
		st.tell("account", st.sold.ID, "record_order", `"order_id":"`+o.ID+`","status":"PROCESSING","revision":1`)
		st.tell("account", st.sold.ID, "record_order", `"order_id":"`+o.ID+`","status":"FILLED","revision":2`)
	}
	st.tell("account", st.sold.ID, "record_position", holds("0", 2))
	st.closes(st.sold.ID)
}

// closes waits until an account is closed.
func (st *story) closes(id string) {
	st.t.Helper()
	require.Eventually(st.t, func() bool {
		return get[domain.AccountResource](st.caller, "/accounts/"+id).Status == domain.StatusClosed
	}, within, 10*time.Millisecond, "account %s", id)
}

// deliversAll waits until the webhook has each event that is published, in the order of its resource. It may have had more before:
// what was lost with the former engine.
func (st *story) deliversAll(t *testing.T, s *serving) {
	t.Helper()
	want := stream{byResource: map[string][]string{}}
	for _, m := range s.messages(t, eventstore.StreamEvents) {
		id, resource := m.Headers().Get("ce-id"), m.Headers().Get("ce-subject")
		family, _, _ := strings.Cut(m.Headers().Get("ce-type"), ".")
		if slices.Contains(domain.PublicFamilies(), domain.WebhookFamily(family)) { // a subscription to ALL gets no others
			want.public++
			want.byResource[resource] = append(want.byResource[resource], id)
		}
	}
	ours := map[string]bool{}
	for _, ids := range want.byResource {
		for _, id := range ids {
			ours[id] = true
		}
	}
	require.Len(t, ours, want.public, "each event is published once")
	known := func(got []delivery) (out []delivery) {
		for _, d := range firsts(got) {
			if ours[d.ID] {
				out = append(out, d)
			}
		}
		return out
	}
	got := st.hook.await(t, "every event", func(got []delivery) bool { return len(known(got)) >= want.public })
	byResource := map[string][]string{}
	for _, d := range known(got) {
		byResource[d.resource()] = append(byResource[d.resource()], d.ID)
	}
	require.Equal(t, want.byResource, byResource)
}

// TestBackupUnderLoad backs an engine up while everything happens that can, loses it, and goes on with the backup in a fresh folder.
func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	flags := append([]string{"--sandbox", "--stall-after", "87600h", "--early-fact-wait", "87600h"}, unlimited...)
	first := serve(t, t.TempDir(), flags...)
	st := tellStory(t, first)
	load := st.load(t, 6)
	load.await(t, 40)
	accepted := load.accounts()
	before := load.done.Load()
	folder := first.backup(t)
	during := load.done.Load() - before
	require.Positive(t, during, "the clients went on meanwhile")
	load.await(t, 20)
	require.NoError(t, load.stop())
	require.Equal(t, exitDone, first.stop(), first.logs.String())

	fresh := filepath.Join(t.TempDir(), "not", "there", "yet")
	code, out, stderr := once(t, "", "restore", "--from", folder, "--data", fresh)
	require.Equal(t, exitDone, code, stderr)
	require.Regexp(t, `(?s)^restored: .*12 streams.*\nheads [0-9a-f]{64}\n.*This is a sandbox`, out)
	code, _, stderr = once(t, "", "serve", "--http-addr", "127.0.0.1:0", "--nats-addr", "127.0.0.1:0", "--data", fresh)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "is a sandbox", "a sandbox is never taken for a real log")

	second := serve(t, fresh, flags...)
	restoredVerifies(t, second)
	st.goesOn(t, second)
	for _, id := range accepted {
		st.closes(id)
	}
	newNumber(t, st, second)

	require.NotEmpty(t, st.uk)
	due := *get[domain.Closure](st.caller, "/accounts/"+st.uk[0]+"/closure").NextEligibleAt
	for _, id := range st.uk {
		require.Equal(t, domain.StatusClosing, get[domain.AccountResource](st.caller, "/accounts/"+id).Status)
	}
	call2[map[string]time.Time](st.caller, http.MethodPost, "/sandbox/clock", map[string]any{"now": due.Add(time.Second)}, http.StatusOK)
	for _, id := range st.uk {
		closure := get[domain.Closure](st.caller, "/accounts/"+id+"/closure")
		require.NotNil(t, closure.ClosedAt)
		require.False(t, closure.ClosedAt.Before(due), "closed at %s, before its time", closure.ClosedAt)
	}
	again := st.load(t, 2)
	again.await(t, 5)
	require.NoError(t, again.stop())
	for _, id := range again.accounts() {
		st.closes(id)
	}
	settled(t, second)
	st.deliversAll(t, second)
	checkPublishedOnce(t, second.connect(t), publishedOfLog(t, second))
	restoredVerifies(t, second)
	require.Equal(t, exitDone, second.stop(), second.logs.String())
}

func restoredVerifies(t *testing.T, s *serving) {
	t.Helper()
	code, out, stderr := once(t, "", append([]string{"verify"}, s.at()...)...)
	require.Equal(t, exitDone, code, out+stderr)
}

// newNumber opens a group, whose number no group of the log has, nor any that was given to one before.
func newNumber(t *testing.T, st *story, s *serving) {
	t.Helper()
	seen := map[string]bool{}
	for _, m := range s.messages(t, eventstore.StreamLog) {
		commit, err := eventstore.DecodeCommit(m.Data())
		require.NoError(t, err)
		for _, e := range commit.Events {
			if e.Type == domain.EventGroupOpened {
				var opened struct {
					Number string `json:"securities_account_number"`
				}
				require.NoError(t, json.Unmarshal(e.Data, &opened))
				require.NotEmpty(t, opened.Number)
				require.False(t, seen[opened.Number], "the number %s was given twice", opened.Number)
				seen[opened.Number] = true
			}
		}
	}
	group, _, err := st.openAccount(t.Context(), "FR")
	require.NoError(t, err)
	require.NotEmpty(t, group.SecuritiesAccountNumber)
	require.False(t, seen[group.SecuritiesAccountNumber])
}

// settled waits until all that follows the log has done its work.
func settled(t *testing.T, s *serving) {
	t.Helper()
	stream, err := js(t, s.connect(t)).Stream(t.Context(), eventstore.StreamLog)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err := stream.Info(t.Context())
		require.NoError(t, err)
		for _, name := range []string{"process", "publisher", "reports"} {
			consumer, err := stream.Consumer(t.Context(), name)
			require.NoError(t, err)
			if consumer.CachedInfo().AckFloor.Stream < info.State.LastSeq {
				return false
			}
		}
		return true
	}, within, 20*time.Millisecond)
}

// publishedOfLog are the ids of the events that come from the log; others tell of commands that were rejected.
func publishedOfLog(t *testing.T, s *serving) (ids []string) {
	t.Helper()
	for _, m := range s.messages(t, eventstore.StreamEvents) {
		if m.Headers().Get("ce-logsequence") != "" {
			ids = append(ids, m.Headers().Get("ce-id"))
		}
	}
	return ids
}

// After a restore nothing reads the whole log again: the followers go on where they were.
func TestRestoreKeepsPositions(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	fillLog(t, data, 3000)
	first := serve(t, data)
	settled(t, first)
	folder := first.backup(t)
	fresh := t.TempDir()
	code, _, stderr := once(t, "", "restore", "--from", folder, "--data", fresh)
	require.Equal(t, exitDone, code, stderr)
	server, err := embedded.Start(embedded.Config{Dir: filepath.Join(fresh, natsFolder)})
	require.NoError(t, err)
	defer server.Shutdown()
	stream, err := js(t, embeddedtest.Connect(t, server)).Stream(t.Context(), eventstore.StreamLog)
	require.NoError(t, err)
	for _, name := range []string{"process", "publisher", "reports"} {
		consumer, err := stream.Consumer(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, stream.CachedInfo().State.LastSeq, consumer.CachedInfo().AckFloor.Stream, name)
	}
}

// The order has every stream that an engine makes.
func TestBackupOrder(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir())
	tellStory(t, s)
	var names []string
	for info := range js(t, s.connect(t)).ListStreams(t.Context()).Info() {
		if info.Config.Storage == jetstream.FileStorage {
			names = append(names, info.Config.Name)
		}
	}
	require.ElementsMatch(t, names, backupOrder())
	at := func(name string) int { return slices.Index(backupOrder(), name) }
	require.IsIncreasing(t, []int{at(eventstore.StreamCommands), at("KV_CLOSURE_WEBHOOKS"), at(eventstore.StreamEvents), at(eventstore.StreamTimers),
		at("KV_CLOSURE_IDEMPOTENCY"), at(eventstore.StreamLog), at("KV_CLOSURE_COUNTERS"), at("OBJ_CLOSURE_REPORTS")})
}

// A backup that is damaged, or a place that is taken, is refused before anything is touched.
func TestRestoreIsRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir())
	c := s.caller(t, uuid.NewString())
	call2[domain.AccountGroupResource](c, http.MethodPost, "/account_groups", map[string]any{"user_id": uuid.NewString(), "type": "PERSONAL"}, http.StatusCreated)
	folder := s.backup(t)

	code, out, stderr := once(t, "", "restore", "--from", folder, "--check", "--json")
	require.Equal(t, exitDone, code, stderr)
	var checked struct {
		Result string
		Log    backup.LogState
	}
	require.NoError(t, json.Unmarshal([]byte(out), &checked))
	require.Equal(t, "checked", checked.Result)
	require.Positive(t, checked.Log.Commits)
	code, _, stderr = once(t, "", append([]string{"backup", "--to", folder}, s.at()...)...)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "a backup never replaces what is there")

	code, _, stderr = once(t, "", "restore", "--from", folder, "--data", s.Data)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "is in use by another closure server")
	code, _, stderr = once(t, "", "restore", "--from", folder, "--nats-url", s.NATS, "--nats-nkey", credentialFile(s.Data, "engine"))
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "there are streams of an engine already: CLOSURE_ATTEMPTS, ")
	require.NotContains(t, stderr, "have to be removed")
	require.Equal(t, exitDone, s.stop(), s.logs.String())
	before := tree(t, s.Data)
	code, _, stderr = once(t, "", "restore", "--from", folder, "--data", s.Data)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "restore into a fresh folder")
	require.Equal(t, before, tree(t, s.Data))

	for name, change := range map[string]func(path string) error{
		"CLOSURE_LOG.arc.s2": func(path string) error {
			text, err := os.ReadFile(path)
			text[len(text)/2] ^= 1
			return errors.Join(err, os.WriteFile(path, text, 0o600))
		},
		"KV_CLOSURE_KEYS.arc.s2": os.Remove,
		"CLOSURE_EVENTS.arc.s2":  func(path string) error { return os.Truncate(path, 100) },
	} {
		damaged, fresh := filepath.Join(t.TempDir(), "damaged"), filepath.Join(t.TempDir(), "fresh")
		require.NoError(t, os.CopyFS(damaged, os.DirFS(folder)))
		require.NoError(t, change(filepath.Join(damaged, name)))
		for _, to := range [][]string{{"--data", fresh}, {"--nats-url", "nats://127.0.0.1:1"}, {"--check"}} {
			code, _, stderr := once(t, "", append([]string{"restore", "--from", damaged}, to...)...)
			require.Equal(t, exitFailed, code)
			require.Contains(t, stderr, "the backup is damaged, nothing was restored: ")
			require.Contains(t, stderr, name)
		}
		require.NoDirExists(t, fresh)
	}
	plain := embeddedtest.Server(t)
	code, _, stderr = once(t, "", "restore", "--from", folder, "--nats-url", plain.ClientURL(), "--replicas", "3")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "restore CLOSURE_ATTEMPTS")
}

// What fails on the way leaves a folder as it was, and says what it left on servers.
func TestRestoreThatFails(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir())
	folder := s.backup(t)
	// A backup that somebody has made up: the log has the subjects of the events, which one stream only can have.
	manifest, sums := filepath.Join(folder, "manifest.json"), filepath.Join(folder, "SHA256SUMS")
	text, err := os.ReadFile(manifest)
	require.NoError(t, err)
	changed := bytes.Replace(text, []byte(`"closure.log.\u003e"`), []byte(`"closure.event.\u003e"`), 1)
	require.NotEqual(t, text, changed)
	require.NoError(t, os.WriteFile(manifest, changed, 0o600))
	all, err := os.ReadFile(sums)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(sums, bytes.Replace(all, hashed(text), hashed(changed), 1), 0o600))

	parent := t.TempDir()
	fresh, given := filepath.Join(parent, "fresh"), filepath.Join(parent, "given")
	require.NoError(t, os.CopyFS(filepath.Join(given, credentialsFolder), os.DirFS(filepath.Join(s.Data, credentialsFolder))))
	require.NoError(t, os.MkdirAll(filepath.Join(given, restoringFolder, "left"), 0o700), "what a restore left that was killed")
	for _, data := range []string{fresh, given} {
		code, out, stderr := once(t, "", "restore", "--from", folder, "--data", data)
		require.Equal(t, exitFailed, code)
		require.Empty(t, out)
		require.Contains(t, stderr, "restore CLOSURE_LOG: ")
		require.Contains(t, stderr, "subjects overlap")
	}
	require.NoDirExists(t, fresh)
	left, err := os.ReadDir(given)
	require.NoError(t, err)
	require.Len(t, left, 2)
	require.Equal(t, []string{folderLock, credentialsFolder}, []string{left[0].Name(), left[1].Name()})

	server := embeddedtest.Server(t)
	code, _, stderr := once(t, "", "restore", "--from", folder, "--nats-url", server.ClientURL())
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "these streams were made, and have to be removed before another try: CLOSURE_ATTEMPTS, ")
	for name := range js(t, embeddedtest.Connect(t, server)).StreamNames(t.Context()).Name() {
		require.Contains(t, stderr, name)
	}

	// With the credentials that are there, whoever had them goes on.
	require.NoError(t, os.WriteFile(manifest, text, 0o600))
	require.NoError(t, os.WriteFile(sums, all, 0o600))
	code, out, stderr := once(t, "", "restore", "--from", folder, "--data", given)
	require.Equal(t, exitDone, code, stderr)
	require.Contains(t, out, "restored: "+folder+" to "+given+", 12 streams")
	second := serve(t, given)
	require.Equal(t, s.Development.Secret, second.Development.Secret)
	code, _, stderr = once(t, "", append([]string{"verify", "--nats-url", second.NATS}, "--data", s.Data)...)
	require.Equal(t, exitDone, code, stderr)
}

// hashed is the SHA-256 in hex.
func hashed(text []byte) []byte { return fmt.Appendf(nil, "%x", sha256.Sum256(text)) }

// tree is what a folder holds.
func tree(t *testing.T, folder string) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		names = append(names, path)
		return err
	}))
	return names
}

// From a cluster into one server, and from there into a cluster.
func TestBackupOfACluster(t *testing.T) {
	t.Parallel()
	cluster, err := embedded.StartCluster(3, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(cluster.Shutdown)
	flags := append([]string{"--nats-url", cluster.ClientURL(), "--replicas", "3"}, unlimited...)
	first := serve(t, t.TempDir(), flags...)
	st := tellStory(t, first)
	load := st.load(t, 2)
	load.await(t, 5)
	accepted := load.accounts()
	folder := first.backup(t)
	require.NoError(t, load.stop())
	require.Equal(t, exitDone, first.stop(), first.logs.String())

	alone := t.TempDir()
	code, out, stderr := once(t, "", "restore", "--from", folder, "--data", alone)
	require.Equal(t, exitDone, code, out+stderr)
	second := serve(t, alone, unlimited...)
	folder = second.backup(t)
	require.Equal(t, exitDone, second.stop(), second.logs.String())

	admin := js(t, embeddedtest.ConnectURL(t, cluster.ClientURL()))
	for name := range admin.StreamNames(t.Context()).Name() {
		require.NoError(t, admin.DeleteStream(t.Context(), name))
	}
	code, out, stderr = once(t, "", "restore", "--from", folder, "--nats-url", cluster.ClientURL(), "--replicas", "3")
	require.Equal(t, exitDone, code, out+stderr)
	third := serve(t, t.TempDir(), flags...)
	st.goesOn(t, third)
	for _, id := range accepted {
		st.closes(id)
	}
	restoredVerifies(t, third)
	settled(t, third)
	st.deliversAll(t, third)
	require.Equal(t, exitDone, third.stop(), third.logs.String())
}

func TestWrongUseOfBackups(t *testing.T) {
	folder := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"backup to nowhere":    {[]string{"backup"}, "missing flags: --to"},
		"restore from nowhere": {[]string{"restore", "--data", folder}, "missing flags: --from"},
		"no such backup":       {[]string{"restore", "--from", filepath.Join(folder, "no"), "--data", folder}, "no such file"},
		"restore to nothing":   {[]string{"restore", "--from", folder}, "--data, --nats-url: give one of them"},
		"restore to both":      {[]string{"restore", "--from", folder, "--data", folder, "--nats-url", "nats://127.0.0.1:1"}, "give one of them"},
		"replicas alone":       {[]string{"restore", "--from", folder, "--data", folder, "--replicas", "3"}, "--replicas: more than 1 needs --nats-url"},
		"two replicas":         {[]string{"restore", "--from", folder, "--nats-url", "nats://127.0.0.1:1", "--replicas", "2"}, "--replicas: must be 1, 3 or 5"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, stderr := once(t, "", c.args...)
			require.Equal(t, exitUsage, code, stderr)
			require.Empty(t, out)
			require.Contains(t, stderr, c.says)
		})
	}
	code, _, stderr := once(t, "", "restore", "--from", folder, "--check")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "this is no complete backup")
	require.Equal(t, 1, strings.Count(stderr, "\n"))
}
