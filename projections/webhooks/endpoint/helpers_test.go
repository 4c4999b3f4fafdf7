package endpoint_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"closure/projections/webhooks/endpoint"
)

// TestMain sets proxies that nobody listens at, for every test: what would go through one fails.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"} {
		_ = os.Setenv(name, "http://proxy.example:1")
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		_ = os.Unsetenv(name)
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what has to come. All time-outs are as long, but those that a test is about.
const patience = 60 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// within gives time-outs that do not run out but for the one that set changes.
func within(set func(*endpoint.Timeouts)) endpoint.Timeouts {
	out := endpoint.Timeouts{Connect: patience, Header: patience, Whole: patience}
	if set != nil {
		set(&out)
	}
	return out
}

// rig is a small internet: a DNS server, an authority, and receivers on loopback that a sender takes for public.
type rig struct {
	t    testing.TB
	ca   *authority
	zone *zone

	mu      sync.Mutex
	public  map[string]bool  // by IP address and port
	permits []string         // what was asked for, in order
	instead map[string]error // of public addresses, which are never dialled
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return &rig{t: t, ca: newAuthority(t), zone: newZone(t), public: map[string]bool{}, instead: map[string]error{}}
}

// permit is the real check, but for the addresses that this internet has.
func (r *rig) permit(network, address string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.permits = append(r.permits, address)
	if r.public[address] {
		return nil
	}
	if err := endpoint.CheckAddress(network, address); err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(address)
	if err, ok := r.instead[host]; ok {
		return err // a public address that is down, without a packet to it
	}
	r.t.Errorf("the test would have dialled %s", address)
	return endpoint.ErrForbidden
}

func (r *rig) setPublic(address string, public bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.public[address] = public
}

func (r *rig) sender(t testing.TB, timeouts endpoint.Timeouts) *endpoint.Sender {
	t.Helper()
	s := endpoint.NewWith(endpoint.Config{Timeouts: timeouts, Resolver: r.zone.resolver(), RootCAs: r.ca.pool}, r.permit)
	t.Cleanup(s.Close)
	return s
}

// receiver is an endpoint of a rig.
type receiver struct {
	*httptest.Server
	url         string
	address     string // IP address and port
	connections atomic.Int64
	requests    atomic.Int64
}

// serve answers https for a name under example.com that only this rig knows; change may be nil.
func (r *rig) serve(t testing.TB, name string, handler http.HandlerFunc, change func(*httptest.Server)) *receiver {
	t.Helper()
	out := &receiver{}
	out.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		out.requests.Add(1)
		handler(w, req)
	}))
	out.Config.ErrorLog = log.New(io.Discard, "", 0)
	out.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			out.connections.Add(1)
		}
	}
	out.TLS = &tls.Config{Certificates: []tls.Certificate{r.ca.certificate(t, name)}}
	if change != nil {
		change(out.Server)
	}
	out.StartTLS()
	t.Cleanup(out.Close)
	out.address = out.Listener.Addr().String()
	out.url = "https://" + name + out.address[strings.LastIndex(out.address, ":"):] + "/hook?token=s3cret"
	r.setPublic(out.address, true)
	r.zone.set(name, "127.0.0.1")
	return out
}

// at is the URL with another path.
func (r *receiver) at(path string) string { return strings.Replace(r.url, "/hook?", path+"?", 1) }

func withHTTP2(s *httptest.Server) { s.EnableHTTP2 = true }

// ok answers 204 when it has read the request.
func ok(w http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	w.WriteHeader(http.StatusNoContent)
}

// listen runs a server below HTTP: serve gets each connection, and the end of the test in done.
func listen(t testing.TB, serve func(conn net.Conn, done <-chan struct{})) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(conn, done)
			})
		}
	})
	t.Cleanup(func() { close(done); _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

func (a *authority) certificate(t testing.TB, name string) tls.Certificate {
	t.Helper()
	return a.certificateUntil(t, name, time.Now().Add(time.Hour))
}

func (a *authority) certificateUntil(t testing.TB, name string, end time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: end.Add(-2 * time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
