package endpoint_test

import (
	"crypto/tls"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/projections/webhooks/endpoint"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stranger := newAuthority(t)
	certificate := func(c tls.Certificate) func(*httptest.Server) {
		return func(s *httptest.Server) { s.TLS.Certificates = []tls.Certificate{c} }
	}
	version := func(lowest, highest uint16) func(*httptest.Server) {
		return func(s *httptest.Server) { s.TLS.MinVersion, s.TLS.MaxVersion = lowest, highest }
	}
	for _, c := range []struct {
		name   string
		change func(*httptest.Server)
		detail string // "" when it works
	}{
		{"tls13.example.com", version(tls.VersionTLS13, tls.VersionTLS13), ""},
		{"tls12.example.com", version(tls.VersionTLS12, tls.VersionTLS12), ""},
		{"tls11.example.com", version(tls.VersionTLS10, tls.VersionTLS11), "TLS 1.2 or later"},
		{"authority.example.com", certificate(stranger.certificate(t, "authority.example.com")), "known authority"},
		{"name.example.com", certificate(r.ca.certificate(t, "other.example.com")), "not for this name"},
		{"expired.example.com", certificate(r.ca.certificateUntil(t, "expired.example.com", time.Now().Add(-time.Minute))), "expired"},
		{"mutual.example.com", func(s *httptest.Server) { s.TLS.ClientAuth = tls.RequireAnyClientCert }, "without a certificate of the client"},
		{"mutual12.example.com", func(s *httptest.Server) {
			s.TLS.ClientAuth, s.TLS.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
		}, "without a certificate of the client"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			target := r.serve(t, c.name, ok, c.change)
			out := r.sender(t, within(nil)).Post(testContext(t), endpoint.Request{URL: target.url, Body: []byte("{}")})
			if c.detail == "" {
				require.Empty(t, out.Failure, out.Err)
				return
			}
			require.Equal(t, endpoint.TLS, out.Failure, out.Err)
			require.Contains(t, out.Detail, c.detail)
			requireSafe(t, out)
			require.Zero(t, target.requests.Load())
		})
	}
}

// TestNoTLS: a port that speaks plain HTTP, or hangs up.
func TestNoTLS(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	plain := httptest.NewServer(nil)
	t.Cleanup(plain.Close)
	r.zone.set("plain.example.com", "127.0.0.1")
	r.setPublic(plain.Listener.Addr().String(), true)
	s := r.sender(t, within(nil))
	out := s.Post(testContext(t), endpoint.Request{URL: "https://plain.example.com:" + portOf(plain.Listener.Addr().String())})
	require.Equal(t, endpoint.TLS, out.Failure, out.Err)
	require.Contains(t, out.Detail, "does not speak TLS")

	address := listen(t, hangUp)
	r.setPublic(address, true)
	out = s.Post(testContext(t), endpoint.Request{URL: "https://plain.example.com:" + portOf(address)})
	require.Equal(t, endpoint.Reset, out.Failure, out.Err)
	require.Contains(t, out.Detail, "during the TLS handshake")
}
