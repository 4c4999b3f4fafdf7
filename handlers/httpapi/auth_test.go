package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/handlers/auth"
)

// needs restates the contract's table, apart from the code's. What is not in it needs no token.
var needs = map[string]auth.Scope{
	"GET /accounts": "accounts:read", "POST /accounts": "accounts:admin", "GET /accounts/{id}": "accounts:read",
	"PATCH /accounts/{id}": "accounts:admin", "DELETE /accounts/{id}": "accounts:admin", "GET /accounts/{id}/closure": "accounts:read",
	"GET /accounts/{id}/history": "accounts:read", "GET /users/{id}/accounts": "accounts:read",
	"GET /account_groups": "accounts:read", "POST /account_groups": "accounts:admin", "GET /account_groups/{id}": "accounts:read",
	"DELETE /account_groups/{id}": "accounts:admin", "GET /account_groups/{id}/closure": "accounts:read",
	"GET /account_groups/{id}/history": "accounts:read", "GET /users/{id}/account_groups": "accounts:read", "GET /closures": "accounts:read",
	"GET /webhooks": "webhooks:read", "POST /webhooks": "webhooks:admin", "GET /webhooks/{id}": "webhooks:read",
	"PATCH /webhooks/{id}": "webhooks:admin", "DELETE /webhooks/{id}": "webhooks:admin", "GET /webhooks/{id}/attempts": "webhooks:read",
	"POST /webhooks/{id}/test": "webhooks:admin", "POST /webhooks/{id}/replay": "webhooks:admin",
	"POST /webhooks/{id}/events/{event_id}/resend": "webhooks:admin", "POST /webhooks/{id}/rotate_secret": "webhooks:admin",
	"GET /users/{id}/reports": "reports:read", "GET /reports/{id}": "reports:read",
	"POST /orders": "orders:admin", "GET /orders/{id}": "orders:read", "GET /users/{id}": "users:read", "DELETE /users/{id}": "users:admin",
	"GET /accounts/{id}/liquidations": "account_liquidations:read", "POST /accounts/{id}/liquidations": "account_liquidations:admin",
	"GET /accounts/{id}/liquidations/{liquidation_id}":    "account_liquidations:read",
	"DELETE /accounts/{id}/liquidations/{liquidation_id}": "account_liquidations:admin",
}

// Every scope meets every call: it is let in exactly when the contract says so. The document says the same.
func TestScopes(t *testing.T) {
	s := start(t)
	ids := s.resources()
	tokens := map[auth.Scope]string{}
	for _, scope := range auth.Scopes() {
		id := domain.DeriveID("test", string(scope))
		tokens[scope] = s.register(id, scope)
		s.tokens[id] = tokens[scope]
	}
	doc := document(t, s)
	anonymous := 0
	for _, route := range calls {
		need, told := needs[route]
		if !told {
			anonymous++
			continue
		}
		method, path, _ := strings.Cut(route, " ")
		op := doc["paths"].(map[string]any)[path].(map[string]any)[strings.ToLower(method)].(map[string]any)
		require.Equal(t, []any{map[string]any{schemeOAuth: []any{string(need)}}}, op["security"], route)
		for _, scope := range auth.Scopes() {
			c := callTo(route, ids[family(route)])
			c.header = map[string]string{headerClientID: domain.DeriveID("test", string(scope))}
			allowed := scope == need || strings.TrimSuffix(string(scope), "admin")+"read" == string(need)
			if !allowed {
				s.refused(c, forbidden, "does not have the scope "+string(need))
				continue
			}
			// It is another client's resource: not found, or an empty list, or made, or refused for what it is about.
			status := s.send(c).status
			require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, status, "%s with %s", route, scope)
		}
	}
	require.Equal(t, 5, anonymous) // the token, the keys, the document and two probes
}

func (s *service) token(form url.Values) answer {
	s.t.Helper()
	return s.send(call{method: "POST", path: "/auth/token", body: form.Encode(), header: map[string]string{
		headerClientID: "", headerAuthorization: "", headerIdempotencyKey: "", "Content-Type": mediaForm,
	}})
}

func TestTokens(t *testing.T) {
	s := start(t)
	const carol = "cccccccc-1111-4000-8000-000000000001"
	_, secret, err := s.auth.Clients().Add(t.Context(), auth.NewClient{ID: carol, Name: "Carol", Scopes: auth.NewSet(auth.AccountsRead, auth.OrdersAdmin)})
	require.NoError(t, err)
	form := func(change func(url.Values)) url.Values {
		f := url.Values{"client_id": {carol}, "client_secret": {secret}, "grant_type": {"client_credentials"}}
		if change != nil {
			change(f)
		}
		return f
	}
	got := decode[accessToken](t, s.token(form(nil)), http.StatusOK)
	require.Equal(t, "bearer", got.TokenType)
	require.Equal(t, 3600, got.ExpiresIn)
	require.Equal(t, "accounts:read orders:admin", got.Scope)
	asCarol := map[string]string{headerClientID: carol, headerAuthorization: "Bearer " + got.AccessToken}
	require.Equal(t, http.StatusOK, s.send(call{method: "GET", path: "/accounts", header: asCarol}).status)
	s.refused(call{method: "GET", path: "/webhooks", header: asCarol}, forbidden, "webhooks:read")

	some := decode[accessToken](t, s.token(form(func(f url.Values) { f.Set("scope", "accounts:read") })), http.StatusOK)
	require.Equal(t, "accounts:read", some.Scope)

	for name, c := range map[string]struct {
		change func(url.Values)
		status int
		text   string
	}{
		"another secret": {func(f url.Values) { f.Set("client_secret", secret[:len(secret)-1]+"_") }, 401, ""},
		"no such client": {func(f url.Values) { f.Set("client_id", zoe) }, 401, ""},
		"no client":      {func(f url.Values) { f.Del("client_id") }, 400, "client_id: is missing"},
		"no secret":      {func(f url.Values) { f.Del("client_secret") }, 400, "client_secret: is missing"},
		"no uuid":        {func(f url.Values) { f.Set("client_id", "carol") }, 400, "client_id: must be a uuid"},
		"another grant":  {func(f url.Values) { f.Set("grant_type", "password") }, 400, "grant_type: must be"},
		"a scope more":   {func(f url.Values) { f.Set("scope", "accounts:read users:admin") }, 400, "users:admin"},
		"no scope":       {func(f url.Values) { f.Set("scope", "everything") }, 400, "everything"},
		"twice":          {func(f url.Values) { f.Add("client_id", carol) }, 400, "client_id: must be given once, got it 2 times"},
		"a field more":   {func(f url.Values) { f.Set("audience", "x") }, 400, "audience"},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.in(t).token(form(c.change))
			require.Equal(t, c.status, a.status, "%s", a.body)
			require.Contains(t, a.problem(t).Detail, c.text)
			require.NotContains(t, string(a.body), secret)
		})
	}
	same := func(change func(url.Values)) string { return s.token(form(change)).problem(t).Detail }
	require.Equal(t, same(func(f url.Values) { f.Set("client_secret", "cls_x") }), same(func(f url.Values) { f.Set("client_id", zoe) }))
	require.NotContains(t, s.logged.String(), secret)
}

// Who guesses at a secret is slowed down, and nobody else is: not even the client in whose name it is done.
func TestTokensAreLimited(t *testing.T) {
	s := start(t)
	_, secret, err := s.auth.Clients().Rotate(t.Context(), alice, time.Hour)
	require.NoError(t, err)
	guess := func(client string) answer {
		return s.token(url.Values{"client_id": {client}, "client_secret": {"cls_guess"}, "grant_type": {"client_credentials"}})
	}
	for range tokensBurst {
		require.Equal(t, http.StatusUnauthorized, guess(alice).status)
	}
	a := guess(alice)
	require.Equal(t, http.StatusTooManyRequests, a.status)
	require.Equal(t, "1", a.header.Get("Retry-After"))
	require.Equal(t, http.StatusUnauthorized, guess(bob).status)
	right := url.Values{"client_id": {alice}, "client_secret": {secret}, "grant_type": {"client_credentials"}}
	require.Equal(t, http.StatusOK, s.token(right).status)

	large := url.Values{"client_id": {alice}, "client_secret": {strings.Repeat("x", maxForm)}, "grant_type": {"client_credentials"}}
	require.Equal(t, http.StatusRequestEntityTooLarge, s.token(large).status)
}

func TestUnauthorised(t *testing.T) {
	s := start(t)
	get := func(authorization string) call {
		return call{method: "GET", path: "/accounts", header: map[string]string{headerAuthorization: authorization}}
	}
	good := s.tokens[alice]
	for name, value := range map[string]string{
		"none": "", "another scheme": "Basic " + good, "nothing behind": "Bearer ", "no token": "Bearer abc", "cut": "Bearer " + good[:len(good)-4],
		"of another client": "Bearer " + s.tokens[bob], "two": "Bearer " + good + " " + good, "no signature": "Bearer " + good[:strings.LastIndex(good, ".")+1],
	} {
		t.Run(name, func(t *testing.T) {
			a := s.in(t).refused(get(value), unauthorised)
			require.Contains(t, a.header.Get("WWW-Authenticate"), "Bearer")
			require.NotContains(t, string(a.body), good)
		})
	}
	require.Equal(t, http.StatusOK, s.send(get("bearer "+good)).status, "the scheme is not sensitive to case")
	_, err := s.auth.Clients().SetDisabled(t.Context(), alice, true)
	require.NoError(t, err)
	s.refused(get("Bearer "+good), unauthorised)
}

// A client that comes too often is told when to come again; another one does not notice.
func TestRate(t *testing.T) {
	s := start(t, func(cfg *Config) { cfg.Rate = Rate{PerSecond: 0.001, Burst: 3} })
	asBob := call{method: "GET", path: "/accounts", header: map[string]string{headerClientID: bob}}
	for range 3 {
		require.Equal(t, http.StatusOK, s.do("GET", "/accounts", "").status)
	}
	a := s.do("GET", "/accounts", "")
	require.Equal(t, http.StatusTooManyRequests, a.status)
	require.Equal(t, "1000", a.header.Get("Retry-After"))
	require.Equal(t, http.StatusOK, s.send(asBob).status)
	require.Equal(t, http.StatusOK, s.do("GET", "/healthz", "").status)
	// A client may have a rate of its own.
	const carol = "cccccccc-1111-4000-8000-000000000001"
	_, secret, err := s.auth.Clients().Add(t.Context(), auth.NewClient{ID: carol, Name: "Carol", Scopes: auth.NewSet(auth.Scopes()...), Rate: auth.Rate{PerSecond: 0.001, Burst: 1}})
	require.NoError(t, err)
	token, err := s.auth.Token(t.Context(), carol, secret, "")
	require.NoError(t, err)
	s.tokens[carol] = token.AccessToken
	asCarol := call{method: "GET", path: "/accounts", header: map[string]string{headerClientID: carol}}
	require.Equal(t, http.StatusOK, s.send(asCarol).status)
	require.Equal(t, http.StatusTooManyRequests, s.send(asCarol).status)
}

// At most so many requests are carried out at a time; probes are always answered.
func TestInFlight(t *testing.T) {
	s := start(t, func(cfg *Config) { cfg.InFlight = 1 })
	inside, leave := make(chan struct{}), make(chan struct{})
	s.lists.hook = func(context.Context, string, string, domain.Page) error {
		close(inside)
		<-leave
		return nil
	}
	first := make(chan int, 1)
	go func() {
		r, _ := http.NewRequest("GET", s.url+"/accounts", nil)
		r.Header.Set(headerClientID, alice)
		r.Header.Set(headerAuthorization, "Bearer "+s.tokens[alice])
		resp, err := s.http.Do(r)
		if err != nil {
			first <- 0
			return
		}
		_ = resp.Body.Close()
		first <- resp.StatusCode
	}()
	<-inside
	s.refused(call{method: "GET", path: "/account_groups"}, unavailable, "nothing was done")
	require.Equal(t, http.StatusOK, s.do("GET", "/healthz", "").status)
	close(leave)
	require.Equal(t, http.StatusOK, <-first)
	s.lists.hook = nil
	require.Equal(t, http.StatusOK, s.do("GET", "/account_groups", "").status)
}
