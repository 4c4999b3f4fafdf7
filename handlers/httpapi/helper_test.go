package httpapi

import (
	"bytes"
	"context"
	stdjson "encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	pathpkg "path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
	"closure/handlers"
	"closure/handlers/auth"
	"closure/handlers/idempotency"
	"closure/projections/readmodel"
)

const (
	alice = "aaaaaaaa-0000-4000-8000-000000000001" // a client
	bob   = "bbbbbbbb-0000-4000-8000-000000000002" // another one
	zoe   = "cccccccc-0000-4000-8000-000000000003" // a user
)

// service is the API on a real port, over a real engine and a real NATS server.
type service struct {
	t        testing.TB
	api      *api
	url      string
	log      *eventstore.Log
	engine   *handlers.Engine
	clock    *testClock
	auth     *auth.Authenticator
	tokens   map[string]string // by client
	nats     *embedded.Server
	lists    *memoryLists
	webhooks *memoryWebhooks
	reports  *memoryReports
	logged   *lockedBuffer
	http     *http.Client
}

// start starts the API. change may adjust the configuration.
func start(t testing.TB, change ...func(*Config)) *service {
	t.Helper()
	return startWith(t, func(_ *service, cfg *Config) {
		for _, c := range change {
			c(cfg)
		}
	})
}

// startWith is start for a change that needs the parts of the service.
func startWith(t testing.TB, change func(*service, *Config)) *service {
	t.Helper()
	s := &service{
		t: t, nats: embeddedtest.Server(t), clock: &testClock{}, lists: &memoryLists{}, webhooks: newMemoryWebhooks(t), reports: &memoryReports{},
		logged: &lockedBuffer{},
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	log, err := eventstore.Open(ctx, embeddedtest.Connect(t, s.nats), eventstore.Config{ReadTimeout: 500 * time.Millisecond, AppendTimeout: 5 * time.Second})
	require.NoError(t, err)
	numbers, err := eventstore.NewCounter(ctx, log.JetStream(), eventstore.CounterConfig{Name: "securities_account_number", First: 1_000_000})
	require.NoError(t, err)
	s.log, s.engine = log, handlers.New(handlers.Config{Log: log, SecuritiesAccountNumbers: numbers, Now: s.clock.Now})
	s.lists.Model = readmodel.New(readmodel.Config{Path: filepath.Join(t.TempDir(), "readmodel.db"), Log: log})
	require.NoError(t, s.lists.Start(ctx))
	t.Cleanup(func() { require.NoError(t, s.lists.Stop(context.Background())) })
	s.auth = newAuth(t, log)
	s.tokens = map[string]string{}
	for _, client := range []string{alice, bob} {
		s.tokens[client] = s.register(client, auth.Scopes()...)
	}
	keys := idempotency.New(idempotency.Config{Log: log})
	require.NoError(t, keys.Start(ctx))
	cfg := Config{
		Auth: s.auth, Idempotency: keys, Rate: Rate{PerSecond: 1e6, Burst: 1e6},
		Engine: s.engine, Lists: s.lists, Webhooks: s.webhooks, Reports: s.reports, VerifyKeys: s.webhooks.verifyKeys, Now: s.clock.Now, Version: "1.2.3",
		Logger: slog.New(slog.NewJSONHandler(s.logged, nil)),
	}
	change(s, &cfg)
	s.api, err = newAPI(cfg)
	require.NoError(t, err)
	s.serve()
	return s
}

// startBeside starts another instance on the server of the first one.
func startBeside(t testing.TB, first *service) *service {
	t.Helper()
	s := *first
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	log, err := eventstore.Open(ctx, embeddedtest.Connect(t, s.nats), eventstore.Config{})
	require.NoError(t, err)
	keys := idempotency.New(idempotency.Config{Log: log})
	require.NoError(t, keys.Start(ctx))
	numbers, err := eventstore.NewCounter(ctx, log.JetStream(), eventstore.CounterConfig{Name: "securities_account_number", First: 1_000_000})
	require.NoError(t, err)
	s.log, s.engine = log, handlers.New(handlers.Config{Log: log, SecuritiesAccountNumbers: numbers, Now: s.clock.Now})
	s.api, err = newAPI(Config{
		Auth: s.auth, Idempotency: keys, Rate: Rate{PerSecond: 1e6, Burst: 1e6},
		Engine: s.engine, Lists: s.lists, Webhooks: s.webhooks, Reports: s.reports, Now: s.clock.Now,
	})
	require.NoError(t, err)
	s.serve()
	return &s
}

// in is the service within a subtest.
func (s *service) in(t testing.TB) *service {
	c := *s
	c.t = t
	return &c
}

func (s *service) serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	server := NewServer(s.api)
	// What the server itself complains of is part of what the tests look at.
	server.ErrorLog = slog.NewLogLogger(slog.NewJSONHandler(s.logged, nil), slog.LevelError)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	s.url, s.http = "http://"+listener.Addr().String(), &http.Client{Transport: transport, Timeout: 30 * time.Second}
	s.t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(s.t, server.Shutdown(ctx))
		require.ErrorIs(s.t, <-served, http.ErrServerClosed)
	})
}

// answer is an answer that was checked against the contract.
type answer struct {
	status int
	header http.Header
	body   []byte
	id     string // of the request
}

// call is a request to be sent. Its client is alice unless said otherwise.
type call struct {
	method, path string
	body         string
	header       map[string]string // "" removes one
	chunked      bool
	forced       bool // an error that the seam was made to give, which the call need not be documented to answer
}

func (s *service) do(method, path, body string) answer {
	s.t.Helper()
	return s.send(call{method: method, path: path, body: body})
}

// send sends a request, and checks what holds for every answer.
func (s *service) send(c call) answer {
	s.t.Helper()
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	if c.chunked {
		body = io.MultiReader(strings.NewReader(c.body)) // hides the length
	}
	r, err := http.NewRequest(c.method, s.url+c.path, body)
	require.NoError(s.t, err)
	r.Header.Set(headerClientID, alice)
	if c.method == http.MethodPost {
		r.Header.Set(headerIdempotencyKey, uuid.NewString())
	}
	if c.body != "" {
		r.Header.Set("Content-Type", mediaJSON)
	}
	for name, value := range c.header {
		r.Header.Del(name)
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	if _, given := c.header[headerAuthorization]; !given {
		token, ok := s.tokens[r.Header.Get(headerClientID)]
		if !ok {
			token = s.tokens[alice]
		}
		r.Header.Set(headerAuthorization, "Bearer "+token)
	}
	resp, err := s.http.Do(r)
	require.NoError(s.t, err)
	a := s.check(r, resp)
	if !c.forced {
		s.checkDocumented(r, a)
	}
	return a
}

// check is what holds for every answer.
func (s *service) check(r *http.Request, resp *http.Response) answer {
	s.t.Helper()
	defer func() { require.NoError(s.t, resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	a := answer{status: resp.StatusCode, header: resp.Header, body: body, id: resp.Header.Get(headerRequestID)}
	_, err = uuid.Parse(a.id)
	require.NoError(s.t, err, "the header %s of %s %s", headerRequestID, r.Method, r.URL)
	require.Equal(s.t, "no-store", resp.Header.Get("Cache-Control"))
	if r.Method == http.MethodHead {
		require.Empty(s.t, body)
		return a
	}
	if a.status >= 400 {
		s.checkProblem(r, a)
	}
	return a
}

// checkProblem: every error answer is a well-formed problem of this request.
func (s *service) checkProblem(r *http.Request, a answer) {
	s.t.Helper()
	require.Equal(s.t, mediaProblem, a.header.Get("Content-Type"), "%s", a.body)
	var p problem
	require.NoError(s.t, json.Unmarshal(a.body, &p, json.RejectUnknownMembers(true)), "%s", a.body)
	slug, ok := strings.CutPrefix(p.Type, "https://docs.upvest.co/errors/")
	require.True(s.t, ok, p.Type)
	kind, known := kindOf(slug)
	require.True(s.t, known, p.Type)
	require.Equal(s.t, a.status, kind)
	require.Equal(s.t, a.status, p.Status)
	require.NotEmpty(s.t, p.Title)
	require.NotEmpty(s.t, p.Detail)
	require.LessOrEqual(s.t, len(p.Detail), (maxDetails+1)*(maxText+10), "the detail is bounded")
	require.Equal(s.t, a.id, p.RequestID)
	require.True(s.t, strings.HasPrefix(r.URL.EscapedPath(), p.Instance), "%s is not the path %s", p.Instance, r.URL.EscapedPath())
	require.Equal(s.t, a.status == http.StatusConflict, p.Blockers != nil, "blockers stand in a conflict, and only there: %s", a.body)
	if a.status == http.StatusServiceUnavailable {
		require.Equal(s.t, "1", a.header.Get("Retry-After"))
	}
}

// kindOf restates the contract's list of slugs, apart from the code's.
func kindOf(slug string) (int, bool) {
	status, ok := map[string]int{
		"invalid_request": 400, "missing_client_id": 400, "missing_idempotency_key": 400, "unauthorised": 401, "forbidden": 403,
		"too_many_requests": 429, "not_found": 404, "method_not_allowed": 405, "not_acceptable": 406,
		"conflict": 409, "payload_too_large": 413, "unsupported_media_type": 415, "unprocessable_entity": 422,
		"internal": 500, "unavailable": 503, "gateway_timeout": 504,
	}[slug]
	return status, ok
}

// checkDocumented: the OpenAPI document has this answer of this call, and the body fits it.
func (s *service) checkDocumented(r *http.Request, a answer) {
	s.t.Helper()
	_, pattern := s.api.mux.Handler(r)
	_, path, _ := strings.Cut(pattern, " ")
	item := s.api.huma.OpenAPI().Paths[path]
	if item == nil || pathpkg.Clean(r.URL.EscapedPath()) != r.URL.EscapedPath() {
		require.Contains(s.t, []int{http.StatusNotFound, http.StatusMethodNotAllowed}, a.status, "%s %s", r.Method, r.URL)
		return
	}
	op := map[string]*huma.Operation{"GET": item.Get, "HEAD": item.Get, "POST": item.Post, "PATCH": item.Patch, "DELETE": item.Delete}[r.Method]
	require.NotNil(s.t, op)
	documented := op.Responses[strconv.Itoa(a.status)]
	require.NotNil(s.t, documented, "%s %s answers %d, which is not documented: %s", r.Method, path, a.status, a.body)
	if name, ok := strings.CutPrefix(documented.Ref, "#/components/responses/"); ok {
		documented = s.api.huma.OpenAPI().Components.Responses[name]
	}
	if len(a.body) == 0 {
		require.True(s.t, r.Method == http.MethodHead || len(documented.Content) == 0, "%s %s", r.Method, path)
		return
	}
	media := documented.Content[a.header.Get("Content-Type")]
	require.NotNil(s.t, media, "%s of %s %s is not documented", a.header.Get("Content-Type"), r.Method, path)
	if media.Schema != nil {
		var value any
		require.NoError(s.t, stdjson.Unmarshal(a.body, &value))
		require.Empty(s.t, misfits(s.api, media.Schema, value), "%s %s: %s", r.Method, path, a.body)
		require.Empty(s.t, undocumented(s.api, media.Schema, value), "%s %s: %s", r.Method, path, a.body)
	}
}

// misfits is what of a value does not fit the schema.
func misfits(a *api, schema *huma.Schema, value any) []error {
	var result huma.ValidateResult
	huma.Validate(a.huma.OpenAPI().Components.Schemas, schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, value, &result)
	return result.Errors
}

// undocumented are the members of a value that the schema does not have.
func undocumented(a *api, schema *huma.Schema, value any) []string {
	schema = resolve(a.huma.OpenAPI().Components.Schemas, schema)
	var names []string
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			names = append(names, undocumented(a, schema.Items, item)...)
		}
	case map[string]any:
		for name, member := range value {
			property := schema.Properties[name]
			if property == nil && schema.Properties != nil {
				names = append(names, name)
			}
			if property != nil && property.Type+property.Ref != "" {
				names = append(names, undocumented(a, property, member)...)
			}
		}
	}
	return names
}

// problem reads the problem of an answer.
func (a answer) problem(t testing.TB) problem {
	t.Helper()
	var p problem
	require.NoError(t, json.Unmarshal(a.body, &p), "%s", a.body)
	return p
}

func decode[T any](t testing.TB, a answer, status int) T {
	t.Helper()
	require.Equal(t, status, a.status, "%s", a.body)
	var v T
	require.NoError(t, json.Unmarshal(a.body, &v, json.RejectUnknownMembers(true)), "%s", a.body)
	return v
}

// refused sends a request that must be refused with the slug, and a detail that holds each of the texts.
func (s *service) refused(c call, slug handlers.Slug, texts ...string) answer {
	s.t.Helper()
	a := s.send(c)
	require.Equal(s.t, slug.Status(), a.status, "%s", a.body)
	p := a.problem(s.t)
	require.Equal(s.t, slug.Type(), p.Type)
	for _, text := range texts {
		require.Contains(s.t, p.Detail, text)
	}
	return a
}

func (s *service) newGroup() domain.AccountGroupResource {
	s.t.Helper()
	return decode[domain.AccountGroupResource](s.t, s.do("POST", "/account_groups", `{"user_id": "`+zoe+`", "type": "PERSONAL"}`), http.StatusCreated)
}

func (s *service) newAccount(groupID string) domain.AccountResource {
	s.t.Helper()
	body := `{"account_group_id": "` + groupID + `", "type": "TRADING", "name": "Savings"}`
	return decode[domain.AccountResource](s.t, s.do("POST", "/accounts", body), http.StatusCreated)
}

// tell executes a command as it would come in on NATS.
func (s *service) tell(kind domain.Kind, id string, p domain.Payload) {
	s.t.Helper()
	_, err := s.engine.Do(context.Background(), domain.Command{
		Target: domain.Ref{Kind: kind, ID: id}, ID: uuid.NewString(), ClientID: alice, Actor: "test", Payload: p,
	})
	require.NoError(s.t, err)
}

// lockedBuffer is a log that a test reads while the server writes it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// settled waits until the read model shows all that is in the log.
func (s *service) settled() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	last, err := s.log.LastSequence(ctx)
	require.NoError(s.t, err)
	require.NoError(s.t, s.lists.WaitFor(ctx, last))
}

// memoryLists, memoryWebhooks and memoryReports are the seams, in memory. hook, when set, comes first: an error of it is
// the answer. Closings and orders are those of the real read model.
type memoryLists struct {
	*readmodel.Model
	accounts map[string][]domain.AccountResource // by client
	groups   map[string][]domain.AccountGroupResource
	reports  map[string][]domain.ReportResource
	hook     func(ctx context.Context, clientID, userID string, page domain.Page) error
}

func listed[T any](l *memoryLists, ctx context.Context, all []T, clientID, userID string, page domain.Page, of func(T) bool) ([]T, int, error) {
	if l.hook != nil {
		if err := l.hook(ctx, clientID, userID, page); err != nil {
			return nil, 0, err
		}
	}
	var items []T
	for _, item := range all {
		if userID == "" || of(item) {
			items = append(items, item)
		}
	}
	from := min(page.Offset, len(items))
	return items[from:min(from+page.Limit, len(items))], len(items), nil
}

func (l *memoryLists) Accounts(ctx context.Context, clientID, userID string, page domain.Page) ([]domain.AccountResource, int, error) {
	return listed(l, ctx, l.accounts[clientID], clientID, userID, page, func(a domain.AccountResource) bool { return a.Users[0].ID == userID })
}

func (l *memoryLists) AccountGroups(ctx context.Context, clientID, userID string, page domain.Page) ([]domain.AccountGroupResource, int, error) {
	return listed(l, ctx, l.groups[clientID], clientID, userID, page, func(g domain.AccountGroupResource) bool { return g.Users[0].ID == userID })
}

func (l *memoryLists) Reports(ctx context.Context, clientID, userID string, page domain.Page) ([]domain.ReportResource, int, error) {
	return listed(l, ctx, l.reports[clientID], clientID, userID, page, func(r domain.ReportResource) bool { return r.UserID == userID })
}

type memoryWebhooks struct {
	mu       sync.Mutex
	all      []owned[domain.Webhook]
	fail     error
	attempts []WebhookAttempt // of all subscriptions, the newest first
	answer   WebhookAnswer    // of every request that is made at once
	replays  []ReplayFrom
	rotated  []time.Duration
	keys     string
	// hook, when set, comes before Attempts, Resend and Replay: an error of it is the answer.
	hook func(ctx context.Context) error
}

func newMemoryWebhooks(t testing.TB) *memoryWebhooks {
	t.Helper()
	keys, err := stdjson.Marshal(exampleKeys)
	require.NoError(t, err)
	return &memoryWebhooks{answer: exampleAnswer, keys: string(keys)}
}

type owned[T any] struct {
	client string
	value  T
}

func (m *memoryWebhooks) at(clientID, id string) (int, error) {
	for i, o := range m.all {
		if o.client == clientID && o.value.ID == id {
			return i, m.fail
		}
	}
	return 0, errors.Join(m.fail, &domain.Refusal{Kind: domain.NotFound, Detail: "there is no webhook with the id " + id})
}

func (m *memoryWebhooks) Create(_ context.Context, clientID string, w domain.Webhook) (domain.Webhook, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w.ID, w.CreatedAt = uuid.NewString(), time.Now().UTC()
	w.UpdatedAt = w.CreatedAt
	m.all = append(m.all, owned[domain.Webhook]{clientID, w})
	return w, exampleSecret, m.fail
}

func (m *memoryWebhooks) Get(_ context.Context, clientID, id string) (domain.Webhook, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.at(clientID, id)
	if err != nil {
		return domain.Webhook{}, err
	}
	return m.all[i].value, nil
}

func (m *memoryWebhooks) List(_ context.Context, clientID string, page domain.Page) ([]domain.Webhook, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var mine []domain.Webhook
	for _, o := range m.all {
		if o.client == clientID {
			mine = append(mine, o.value)
		}
	}
	from := min(page.Offset, len(mine))
	return mine[from:min(from+page.Limit, len(mine))], len(mine), m.fail
}

func (m *memoryWebhooks) Update(_ context.Context, clientID, id string, change func(domain.Webhook) (domain.Webhook, error)) (domain.Webhook, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.at(clientID, id)
	if err != nil {
		return domain.Webhook{}, err
	}
	w, err := change(m.all[i].value)
	if err != nil {
		return domain.Webhook{}, err
	}
	w.UpdatedAt = time.Now().UTC()
	m.all[i].value = w
	return w, nil
}

func (m *memoryWebhooks) Delete(_ context.Context, clientID, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.at(clientID, id)
	if err != nil {
		return err
	}
	m.all = append(m.all[:i], m.all[i+1:]...)
	return nil
}

func (m *memoryWebhooks) RotateSecret(_ context.Context, clientID, id string, overlap time.Duration) (string, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.at(clientID, id); err != nil {
		return "", time.Time{}, err
	}
	m.rotated = append(m.rotated, overlap)
	return exampleSecret, exampleOpened.Add(overlap), nil
}

func (m *memoryWebhooks) Attempts(ctx context.Context, clientID, id string, filter AttemptFilter, page domain.Page) ([]WebhookAttempt, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.before(ctx, clientID, id); err != nil {
		return nil, 0, err
	}
	var fit []WebhookAttempt
	for _, a := range m.attempts {
		had := slices.ContainsFunc(a.Events, func(e AttemptEvent) bool { return e.ID == filter.EventID })
		if a.WebhookID == id && (filter.Outcome == "" || filter.Outcome == a.Outcome) && (filter.EventID == "" || had) {
			fit = append(fit, a)
		}
	}
	return section(fit, page.Offset, page.Limit), len(fit), nil
}

// before is what all calls on the deliveries of a subscription begin with.
func (m *memoryWebhooks) before(ctx context.Context, clientID, id string) (int, error) {
	i, err := m.at(clientID, id)
	if err == nil && m.hook != nil {
		err = m.hook(ctx)
	}
	return i, err
}

func (m *memoryWebhooks) Test(_ context.Context, clientID, id string) (WebhookAnswer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.at(clientID, id)
	return m.answer, err
}

func (m *memoryWebhooks) Resend(ctx context.Context, clientID, id, eventID string) (WebhookAnswer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.before(ctx, clientID, id); err != nil {
		return WebhookAnswer{}, err
	}
	return m.answer, m.hasEvent(eventID)
}

func (m *memoryWebhooks) Replay(ctx context.Context, clientID, id string, from ReplayFrom) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.before(ctx, clientID, id); err != nil {
		return err
	}
	m.replays = append(m.replays, from)
	if from.EventID == "" {
		return nil
	}
	return m.hasEvent(from.EventID)
}

// hasEvent knows one event.
func (m *memoryWebhooks) hasEvent(id string) error {
	if id == exampleEvent {
		return nil
	}
	return &domain.Refusal{Kind: domain.Invalid, Detail: "event: there is no event with the id " + id}
}

func (m *memoryWebhooks) verifyKeys() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return []byte(m.keys), m.fail
}

type memoryReports struct {
	all []owned[domain.ReportResource]
	pdf []byte
}

func (m *memoryReports) Report(_ context.Context, clientID, id string) (domain.ReportResource, error) {
	for _, o := range m.all {
		if o.client == clientID && o.value.ID == id {
			return o.value, nil
		}
	}
	return domain.ReportResource{}, &domain.Refusal{Kind: domain.NotFound, Detail: "there is no report with the id " + id}
}

func (m *memoryReports) PDF(ctx context.Context, clientID, id string) (domain.ReportResource, []byte, error) {
	report, err := m.Report(ctx, clientID, id)
	return report, m.pdf, err
}
