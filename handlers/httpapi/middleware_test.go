package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/domain"
)

func TestUnknownRoutes(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/", "/account", "/accounts/", "/accounts/" + zoe + "/", "//accounts", "/accounts/../accounts", "/./accounts",
		"/accounts/" + zoe + "/positions", "/openapi.yaml", "/docs", "/schemas/Account.json", "/metrics", "/asyncapi.json", "/auth/tokens", "/sandbox/clock", "/%61ccounts2",
		"/webhooks/" + zoe + "/events", "/" + strings.Repeat("x", 20_000)} {
		a := s.refused(call{method: "GET", path: path}, notFound, "there is nothing at this path")
		require.LessOrEqual(t, len(a.body), 2000)
	}
	// No client id is needed to learn that.
	s.refused(call{method: "GET", path: "/nothing", header: map[string]string{headerClientID: ""}}, notFound)
}

func TestWrongMethods(t *testing.T) {
	s := start(t)
	for path, allow := range map[string]string{
		"/accounts":                                 "GET, HEAD, POST",
		"/accounts/" + zoe:                          "DELETE, GET, HEAD, PATCH",
		"/account_groups/" + zoe:                    "DELETE, GET, HEAD",
		"/accounts/" + zoe + "/closure":             "GET, HEAD",
		"/users/" + zoe + "/accounts":               "GET, HEAD",
		"/webhooks":                                 "GET, HEAD, POST",
		"/webhooks/" + zoe + "/test":                "POST",
		"/webhooks/" + zoe + "/attempts":            "GET, HEAD",
		"/auth/verify_keys":                         "GET, HEAD",
		"/openapi.json":                             "GET, HEAD",
		"/healthz":                                  "GET, HEAD",
		"/reports/" + zoe:                           "GET, HEAD",
		"/account_groups/nonsense/history":          "GET, HEAD",
		"/orders":                                   "POST",
		"/orders/" + zoe:                            "GET, HEAD",
		"/users/" + zoe:                             "DELETE, GET, HEAD",
		"/closures":                                 "GET, HEAD",
		"/accounts/" + zoe + "/liquidations":        "GET, HEAD, POST",
		"/accounts/" + zoe + "/liquidations/" + zoe: "DELETE, GET, HEAD",
	} {
		for _, method := range []string{"PUT", "OPTIONS", "PROPFIND"} {
			a := s.refused(call{method: method, path: path}, methodNotAllowed, "the method must be one of "+allow)
			require.Equal(t, allow, a.header.Get("Allow"), path)
		}
	}
	s.refused(call{method: "POST", path: "/accounts/" + zoe, body: `{}`}, methodNotAllowed)
}

func TestHead(t *testing.T) {
	s := start(t)
	id := s.newAccount(s.newGroup().ID).ID
	get, head := s.do("GET", "/accounts/"+id, ""), s.do("HEAD", "/accounts/"+id, "")
	require.Equal(t, get.status, head.status)
	require.Equal(t, get.header.Get("Content-Type"), head.header.Get("Content-Type"))
	require.Equal(t, get.header.Get("Content-Length"), head.header.Get("Content-Length"))
	require.Equal(t, http.StatusNotFound, s.do("HEAD", "/accounts/"+zoe, "").status)
}

func TestRequestIDsAreNew(t *testing.T) {
	s := start(t)
	given := "7c9e6679-7425-40de-944b-e07fc1f90ae7"
	seen := map[string]bool{given: true}
	for range 5 {
		a := s.send(call{method: "GET", path: "/accounts", header: map[string]string{headerRequestID: given}})
		require.False(t, seen[a.id])
		seen[a.id] = true
	}
}

// Unknown query parameters are refused on every call.
func TestUnknownQueryParameters(t *testing.T) {
	s := start(t)
	for _, route := range calls {
		c := callTo(route, zoe)
		c.path += "?verbose=true&depth=3"
		s.refused(c, invalidRequest, "depth: is not a query parameter of this call; it has ", "verbose: is not a query parameter")
	}
}

func TestBodiesRefused(t *testing.T) {
	s := start(t)
	group := s.newGroup().ID
	good := `{"account_group_id": "` + group + `", "type": "TRADING", "name": "x"}`
	for name, tt := range map[string]struct{ body, text string }{
		"broken":              {`{"name": `, "body: must be one JSON object: "},
		"cut":                 {good[:len(good)-1], "body: must be one JSON object: "},
		"not JSON":            {"name=x", "body: must be one JSON object: "},
		"trailing data":       {good + ` {}`, "body: must be one JSON object: "},
		"trailing bracket":    {good + `}`, "body: must be one JSON object: "},
		"comment":             {good + ` // done`, "body: must be one JSON object: "},
		"single quotes":       {strings.ReplaceAll(good, `"`, `'`), "body: must be one JSON object: "},
		"byte order mark":     {"\ufeff" + good, "body: must be one JSON object: "},
		"bad UTF-8":           {strings.Replace(good, `"x"`, "\"\xff\"", 1), "body: must be JSON in UTF-8"},
		"bad UTF-8 in a name": {strings.Replace(good, `"name"`, "\"na\xc3me\"", 1), "body: must be JSON in UTF-8"},
		"half a surrogate":    {strings.Replace(good, `"x"`, `"\ud800"`, 1), "body: must be one JSON object: "},
		"twice the same":      {strings.Replace(good, `{`, `{"name": "y", `, 1), "name: must be in the object once, got it twice"},
		"twice, escaped":      {strings.Replace(good, `{`, `{"\u006eame": "y", `, 1), "name: must be in the object once, got it twice"},
		"twice, deep":         {strings.Replace(good, `{`, `{"client_reference": {"a": 1, "a": 2}, `, 1), "client_reference.a: must be in the object once"},
		"twice, very deep":    {strings.Replace(good, `{`, `{"client_reference": `+strings.Repeat(`{"nested": `, 100)+`{"a": 1, "a": 2}`+strings.Repeat("}", 100)+", ", 1), "client_reference.nested.nested."},
		"array":               {`[` + good + `]`, "body: must be a JSON object, got an array of 1"},
		"string":              {`"x"`, `body: must be a JSON object, got "x"`},
		"number":              {`12`, "body: must be a JSON object, got 12"},
		"null":                {`null`, "body: must be a JSON object, got null"},
		"true":                {`true`, "body: must be a JSON object, got true"},
		"only blanks":         {"  \n", "body: must be one JSON object"},
		"large number":        {strings.Replace(good, `"x"`, `1e999`, 1), "name: must be "},
		"NaN":                 {strings.Replace(good, `"x"`, `NaN`, 1), "body: must be one JSON object: "},
		"deep":                {strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000), "body: must be one JSON object: "},
		"long unknown name":   {strings.Replace(good, `{`, `{"`+strings.Repeat("n", 100_000)+`": 1, `, 1), "is not a member here"},
		"control in a name":   {strings.Replace(good, `{`, `{"a\u0000\u001b[2J": 1, `, 1), `"a\x00\x1b[2J": is not a member here`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, chunked := range []bool{false, true} {
				a := s.in(t).refused(call{method: "POST", path: "/accounts", body: tt.body, chunked: chunked}, invalidRequest, tt.text)
				require.Less(t, len(a.body), 2000)
			}
		})
	}
	// Very many problems make one detail of bounded length.
	var many strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&many, `"m%d": 1, `, i)
	}
	a := s.refused(call{method: "POST", path: "/accounts", body: strings.Replace(good, `{`, `{`+many.String(), 1)}, invalidRequest, "; and 4990 more")
	require.Less(t, len(a.body), 5000)
}

func TestEmptyBodies(t *testing.T) {
	s := start(t)
	for _, route := range []string{"POST /accounts", "POST /account_groups", "POST /webhooks", "PATCH /accounts/{id}", "PATCH /webhooks/{id}",
		"POST /orders", "POST /accounts/{id}/liquidations", "POST /webhooks/{id}/replay", "POST /webhooks/{id}/rotate_secret"} {
		c := callTo(route, zoe)
		c.body = ""
		s.refused(c, invalidRequest, "body: must be a JSON object, got an empty body")
		c.chunked = true
		s.refused(c, invalidRequest, "body: must be a JSON object, got an empty body")
	}
}

func TestContentTypes(t *testing.T) {
	s := start(t)
	body := `{"user_id": "` + zoe + `", "type": "PERSONAL"}`
	send := func(name, value string) call {
		return call{method: "POST", path: "/account_groups", body: body, header: map[string]string{name: value}}
	}
	for _, value := range []string{"", "application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"} {
		require.Equal(t, http.StatusCreated, s.send(send("Content-Type", value)).status, value)
	}
	for _, value := range []string{"text/plain", "application/x-www-form-urlencoded", "application/xml", "application/problem+json", "application/json; charset=utf-16", "json", "application/json;;;=", "application/*"} {
		s.refused(send("Content-Type", value), unsupportedMediaType, "content-type: must be application/json")
	}
	s.refused(send("Content-Encoding", "gzip"), unsupportedMediaType, "content-encoding")
}

func TestBodySize(t *testing.T) {
	s := start(t)
	good := `{"user_id": "` + zoe + `", "type": "PERSONAL"}`
	for _, chunked := range []bool{false, true} {
		exact := good + strings.Repeat(" ", maxBody-len(good))
		require.Equal(t, http.StatusCreated, s.send(call{method: "POST", path: "/account_groups", body: exact, chunked: chunked}).status)
		for _, more := range []int{1, 4096, 5 << 20} {
			a := s.refused(call{method: "POST", path: "/account_groups", body: exact + strings.Repeat(" ", more), chunked: chunked}, payloadTooLarge, "body: must be at most 1048576 bytes")
			require.NotContains(t, string(a.body), zoe)
		}
	}
}

// dial sends bytes as they are, and reads one answer.
func (s *service) dial(raw string) answer {
	s.t.Helper()
	host, err := url.Parse(s.url)
	require.NoError(s.t, err)
	conn, err := net.Dial("tcp", host.Host)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(s.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = conn.Write([]byte(raw))
	require.NoError(s.t, err)
	method, rest, _ := strings.Cut(raw, " ")
	target, _, _ := strings.Cut(rest, " ")
	r, err := http.NewRequest(method, s.url+target, nil)
	require.NoError(s.t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	require.NoError(s.t, err)
	return s.check(r, resp)
}

// A body that does not come is given up within the time of the request.
func TestSlowBody(t *testing.T) {
	s := start(t, func(cfg *Config) { cfg.Timeout = 100 * time.Millisecond })
	stranger := "POST /account_groups HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + headerClientID + ": " + alice + "\r\n"
	head := stranger + headerAuthorization + ": Bearer " + s.tokens[alice] + "\r\n" + headerIdempotencyKey + ": " + zoe + "\r\n"
	for _, raw := range []string{head + "Content-Length: 50\r\n\r\n{", head + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"} {
		a := s.dial(raw)
		require.Equal(t, http.StatusGatewayTimeout, a.status)
		require.Contains(t, a.problem(t).Detail, "body: did not arrive in time")
	}
	// One that is refused unread is not waited for any longer.
	require.Equal(t, http.StatusUnauthorized, s.dial(stranger+"Content-Length: 50\r\n\r\n{").status)
	require.Equal(t, http.StatusNotFound, s.dial("POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{").status)
	a := s.dial(head + "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n")
	require.Equal(t, http.StatusBadRequest, a.status)
	require.Contains(t, a.problem(t).Detail, "body: ended before it was complete")
}

// A client that goes away within an answer is no fault of ours, and leaves no trace of one.
func TestClientGoesAway(t *testing.T) {
	var s *service
	// This runs when the server has shut down, and so after the answer has failed.
	t.Cleanup(func() { require.Empty(t, s.logged.String()) })
	s = start(t)
	asked := make(chan struct{})
	s.lists.hook = func(ctx context.Context, _, _ string, _ domain.Page) error {
		close(asked)
		<-ctx.Done() // the client has gone
		return nil
	}
	all := make([]domain.AccountResource, domain.MaxLimit)
	for i := range all {
		all[i] = exampleAccount
		all[i].Name = strings.Repeat("n", 5000)
	}
	s.lists.accounts = map[string][]domain.AccountResource{alice: all}
	host, err := url.Parse(s.url)
	require.NoError(t, err)
	conn, err := net.Dial("tcp", host.Host)
	require.NoError(t, err)
	_, err = fmt.Fprintf(conn, "GET /accounts?limit=1000 HTTP/1.1\r\nHost: x\r\n%s: %s\r\n%s: Bearer %s\r\n\r\n", headerClientID, alice, headerAuthorization, s.tokens[alice])
	require.NoError(t, err)
	<-asked
	require.NoError(t, conn.Close())
}

// The deadline of one request is not that of the next one on its connection.
func TestConnectionOutlivesARequest(t *testing.T) {
	s := start(t, func(cfg *Config) { cfg.Timeout = 300 * time.Millisecond })
	deadline := time.Now().Add(700 * time.Millisecond)
	requests := 0
	for ; time.Now().Before(deadline); requests++ {
		a := s.do("POST", "/account_groups", `{"user_id": "`+zoe+`", "type": "PERSONAL"}`)
		require.Equal(t, http.StatusCreated, a.status, "%s", a.body)
	}
	require.Greater(t, requests, 5)
}

func TestConfigIsChecked(t *testing.T) {
	s := start(t)
	whole := Config{Engine: s.engine, Lists: s.lists, Webhooks: s.webhooks, Reports: s.reports, Auth: s.auth, Idempotency: s.api.idempotency}
	_, err := New(whole)
	require.NoError(t, err)
	for _, change := range []func(*Config){
		func(c *Config) { c.Engine = nil }, func(c *Config) { c.Lists = nil }, func(c *Config) { c.Webhooks = nil },
		func(c *Config) { c.Reports = nil }, func(c *Config) { c.Timeout = -1 }, func(c *Config) { c.Auth = nil }, func(c *Config) { c.Idempotency = nil },
		func(c *Config) { c.InFlight = -1 }, func(c *Config) { c.Rate.PerSecond = -1 },
	} {
		cfg := whole
		change(&cfg)
		_, err := New(cfg)
		require.Error(t, err)
	}
	server := NewServer(s.api)
	require.NotZero(t, server.ReadHeaderTimeout)
	require.NotZero(t, server.IdleTimeout)
	require.Equal(t, 64<<10, server.MaxHeaderBytes)
	require.Greater(t, server.WriteTimeout, defaultTimeout)
}

// More than one API may live in a process, each with its own errors.
func TestTwoAPIs(t *testing.T) {
	first, second := start(t), start(t)
	for _, s := range []*service{first, second, first} {
		s.refused(call{method: "POST", path: "/accounts", body: `{}`}, invalidRequest, "name: is missing")
		_ = decode[list[domain.AccountResource]](t, s.do("GET", "/accounts", ""), http.StatusOK)
	}
}
