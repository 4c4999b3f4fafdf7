package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// hall has endpoints that take whatever comes: https on loopback, each on a port of its own.
type hall struct {
	urls    []string
	came    tally // requests
	proto   atomic.Value
	roots   *x509.CertPool
	servers []*http.Server
	serving sync.WaitGroup
}

// openHall opens n endpoints. Each request is shown to see before it is answered; number counts them from 1.
func openHall(n int, see func(number int64, p posted)) (_ *hall, err error) {
	h := &hall{roots: x509.NewCertPool()}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	certificate, err := h.certificate()
	if err != nil {
		return nil, err
	}
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		server := &http.Server{
			TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
			ReadHeaderTimeout: patience, ErrorLog: log.New(io.Discard, "", 0),
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return // cut short: it comes again
				}
				h.proto.Store(r.Proto)
				see(h.came.add(1), posted{r.Header, body})
				w.WriteHeader(http.StatusNoContent)
			}),
		}
		h.servers, h.urls = append(h.servers, server), append(h.urls, "https://"+listener.Addr().String()+"/hook")
		h.serving.Go(func() { _ = server.ServeTLS(listener, "", "") }) // it ends with close
	}
	return h, nil
}

// certificate makes one for loopback, which the hall's roots trust.
func (h *hall) certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	h.roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// trusted is what a client of the hall needs.
func (h *hall) trusted() *tls.Config {
	return &tls.Config{RootCAs: h.roots, MinVersion: tls.VersionTLS12}
}

// protocol is what the last request was made over; "" for none yet.
func (h *hall) protocol() string {
	proto, _ := h.proto.Load().(string)
	return proto
}

// close cuts all connections.
func (h *hall) close() error {
	var errs []error
	for _, s := range h.servers {
		errs = append(errs, s.Close())
	}
	h.serving.Wait()
	return errors.Join(errs...)
}

// tally counts, and lets somebody wait for a number. The zero value has counted nothing.
type tally struct {
	mu      sync.Mutex
	n, want int64
	reached chan struct{} // nil: nobody waits
}

// add gives the number that it is then.
func (t *tally) add(n int64) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n += n
	if t.reached != nil && t.n >= t.want {
		close(t.reached)
		t.reached = nil
	}
	return t.n
}

func (t *tally) load() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// await waits until so many are counted, or the context ends. One at a time may wait.
func (t *tally) await(ctx context.Context, n int64) error {
	t.mu.Lock()
	if t.n >= n {
		t.mu.Unlock()
		return nil
	}
	reached := make(chan struct{})
	t.want, t.reached = n, reached
	t.mu.Unlock()
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
