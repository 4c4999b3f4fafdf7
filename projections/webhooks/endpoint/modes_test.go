package endpoint_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/projections/webhooks/endpoint"
)

// TestProduction: without the means of tests, nothing on this machine is reached.
func TestProduction(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	target := r.serve(t, "hooks.example.com", ok, nil)
	s := endpoint.New(endpoint.Config{Timeouts: within(nil), Resolver: r.zone.resolver(), RootCAs: r.ca.pool})
	port := portOf(target.address)
	for url, want := range map[string]endpoint.Failure{
		target.url:                               endpoint.AddressForbidden,
		"http://hooks.example.com:" + port:       endpoint.URLForbidden,
		"https://127.0.0.1:" + port:              endpoint.URLForbidden,
		"https://[::ffff:127.0.0.1]:" + port:     endpoint.URLForbidden,
		"https://2130706433:" + port:             endpoint.URLForbidden,
		"https://localhost:" + port:              endpoint.URLForbidden,
		"https://me:x@hooks.example.com:" + port: endpoint.URLForbidden,
		"://":                                    endpoint.URLForbidden,
	} {
		out := s.Post(testContext(t), endpoint.Request{URL: url})
		require.Equal(t, want, out.Failure, url)
		requireSafe(t, out, port)
		require.Error(t, out.Err)
	}
	require.Zero(t, target.connections.Load())
}

// TestDevelopment: with the flag, this machine and plain HTTP are reached, and redirects still are not followed.
func TestDevelopment(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(other.Close)
	redirect := func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/moved" {
			http.Redirect(w, req, other.URL, http.StatusTemporaryRedirect)
			return
		}
		ok(w, req)
	}
	plain, secure := httptest.NewServer(http.HandlerFunc(redirect)), httptest.NewTLSServer(http.HandlerFunc(redirect))
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	s := insecure(t, within(nil))
	require.Empty(t, s.Post(testContext(t), endpoint.Request{URL: plain.URL}).Failure)
	require.Empty(t, s.Post(testContext(t), endpoint.Request{URL: strings.Replace(plain.URL, "127.0.0.1", "localhost", 1)}).Failure)
	require.Equal(t, endpoint.Redirect, s.Post(testContext(t), endpoint.Request{URL: plain.URL + "/moved"}).Failure)
	require.Equal(t, endpoint.URLForbidden, s.Post(testContext(t), endpoint.Request{URL: "file:///etc/passwd"}).Failure)

	pool := secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	s = endpoint.New(endpoint.Config{AllowInsecure: true, Timeouts: within(nil), RootCAs: pool})
	t.Cleanup(s.Close)
	require.Empty(t, s.Post(testContext(t), endpoint.Request{URL: secure.URL}).Failure)
	require.Equal(t, endpoint.Redirect, s.Post(testContext(t), endpoint.Request{URL: secure.URL + "/moved"}).Failure)
}
