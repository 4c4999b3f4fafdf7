// Package endpoint makes one POST to one endpoint of a client, and tells how it went.
//
// The URL is the client's word and may be hostile. So a Sender
//
//   - dials the public internet only. Every address is checked when it is dialled, after the name was resolved: it does not
//     matter what the name said before, how often it changes, or how many addresses it has.
//   - uses no proxy, whatever the environment says: a proxy would resolve and dial for us, past the check.
//   - follows no redirect.
//   - asks for TLS 1.2 and a certificate that is valid for the name.
//   - bounds what an endpoint can take: the time of each step, the size of the header, how much of the answer is read.
//   - tells of a failure by its class and a fixed sentence, which hold no URL, no address and nothing internal.
//
// What it cannot see is a NAT64 prefix that a network has chosen for itself: such an address looks like any public one.
// Where there is one, the network has to keep the engine from its own private addresses.
//
// It makes one attempt and never repeats a request that may have reached the endpoint: retries are the caller's.
package endpoint

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"
)

// Config of a Sender. The zero value is right for production.
type Config struct {
	// AllowInsecure is for development: http, IP literals, and every address, loopback and private ones as well. Redirects
	// are still not followed, and the certificate of an https URL is still checked. Defaults to false.
	AllowInsecure bool
	// Timeouts of one attempt.
	Timeouts Timeouts
	// UserAgent names the sender. Defaults to "closure".
	UserAgent string
	// Resolver resolves the names. Defaults to Go's own resolver: a name whose servers hang costs it no thread, and so
	// holds up no other name.
	Resolver *net.Resolver
	// RootCAs are the authorities that certificates are checked against. Defaults to those of the system.
	RootCAs *x509.CertPool
}

// Timeouts of one attempt. Each runs for itself, and Whole over all of them.
type Timeouts struct {
	// Connect bounds the resolving and dialling together, with all addresses of the name, and then the TLS handshake once
	// more. Defaults to 5s.
	Connect time.Duration
	// Header bounds the wait from the end of the request to the end of the answer's header. Defaults to 10s.
	Header time.Duration
	// Whole bounds the attempt from the first step to the last byte of the answer that is read. Defaults to 15s.
	Whole time.Duration
}

func (cfg Config) withDefaults() Config {
	for _, t := range []struct {
		value *time.Duration
		byDef time.Duration
	}{{&cfg.Timeouts.Connect, 5 * time.Second}, {&cfg.Timeouts.Header, 10 * time.Second}, {&cfg.Timeouts.Whole, 15 * time.Second}} {
		if *t.value <= 0 {
			*t.value = t.byDef
		}
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "closure"
	}
	if cfg.Resolver == nil {
		cfg.Resolver = &net.Resolver{PreferGo: true}
	}
	return cfg
}

const (
	// maxHeader is how long the header of an answer may be, in bytes.
	maxHeader = 64 << 10
	// idleFor is how long a connection is kept for the next request to its host.
	idleFor = 90 * time.Second
	// maxIdle and maxIdlePerHost bound the connections that are kept while nobody uses them. Subscriptions may share a host.
	maxIdle        = 2048
	maxIdlePerHost = 64
)

// Sender posts to endpoints. It may be used from many goroutines; connections are shared and used again.
type Sender struct {
	cfg       Config
	transport *http.Transport
	// permit says whether an address may be dialled: an error is the end of this connection.
	permit func(network, address string) error
}

// New makes a sender. Close releases its connections.
func New(cfg Config) *Sender {
	s := &Sender{cfg: cfg.withDefaults(), permit: newGuard().check}
	if cfg.AllowInsecure {
		s.permit = func(string, string) error { return nil }
	}
	t := s.cfg.Timeouts
	s.transport = &http.Transport{
		Proxy:                  nil, // on purpose: see the package
		DialContext:            s.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs},
		TLSHandshakeTimeout:    t.Connect,
		ResponseHeaderTimeout:  t.Header,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // so that nothing small becomes large here
		IdleConnTimeout:        idleFor,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		// No limit of connections to a host: the requests that hang would hold all of them, and those of other
		// subscriptions at the same host would wait. How many requests are under way is the caller's to bound.
		MaxConnsPerHost:   0,
		ForceAttemptHTTP2: true,
		HTTP2: &http.HTTP2Config{
			// All requests to a host may share one connection. When it is dead each of them would time out, for minutes:
			// so silence is followed by a ping, and a ping without an answer by a new connection.
			SendPingTimeout: t.Header,
			PingTimeout:     t.Connect,
			// What an endpoint may send before it is read; the default is 4 MiB for each request.
			MaxReceiveBufferPerStream: readAtMost,
		},
	}
	return s
}

// Close closes the connections that are idle. It may be called again, and after it the sender may still be used.
func (s *Sender) Close() { s.transport.CloseIdleConnections() }

// Request is one attempt to be made.
type Request struct {
	// URL of the endpoint. Post checks it as CheckURL does.
	URL string
	// Body is sent as it is. It MUST NOT be changed, not even after Post has returned.
	Body []byte
	// Header is sent besides Content-Type (application/json, unless given here) and User-Agent. It is not changed.
	Header http.Header
	// Sign is called once an attempt and last, when all headers are set; it adds its own. It may read the body, and MUST
	// leave URL, method and body as they are. nil: nothing is signed.
	Sign func(*http.Request) error
}

// Outcome of one attempt. All but Remote and Err may be shown to the client.
type Outcome struct {
	Status     int           // of the answer; 0: there was none
	Header     http.Header   // of the answer, up to 4 KiB of it, without cookies
	Body       []byte        // the first 4 KiB of the answer
	Truncated  bool          // there was more of the answer, or its end was not seen
	Duration   time.Duration // from the first step to the last byte that was read
	Failure    Failure       // "" for a 2xx
	Detail     string        // a fixed sentence that says more than the class; "" for a 2xx
	RetryAfter time.Duration // what the answer asks for, 1h at most; 0: nothing
	Gone       bool          // 410: the endpoint wants no more
	Remote     string        // the address dialled last, for the log
	Err        error         // what lies beneath a failure without an answer, for the log: it has addresses in it, not the URL
}

// Post makes one attempt and always returns an outcome, Whole after it was called at the latest.
//
// The status decides, and nothing that follows it: a 2xx is a success also when the answer is too long, too slow or broken
// off. When the end of the answer is not reached its connection is not used again (with HTTP/2, its stream is ended).
func (s *Sender) Post(ctx context.Context, r Request) Outcome {
	began := time.Now()
	out := s.post(ctx, r)
	out.Duration = time.Since(began)
	return out
}

func (s *Sender) post(parent context.Context, r Request) Outcome {
	ctx, cancel := context.WithTimeout(parent, s.cfg.Timeouts.Whole)
	defer cancel()
	if err := s.CheckURL(r.URL); err != nil {
		return Outcome{Failure: URLForbidden, Detail: "the URL " + err.Error(), Err: err}
	}
	var seen progress
	req, err := s.request(httptrace.WithClientTrace(ctx, seen.trace()), r)
	if err != nil {
		return Outcome{Failure: NotSigned, Detail: "the request could not be signed", Err: err}
	}
	// The transport itself, and not a client around it: there is nothing here that could follow a redirect.
	res, err := s.transport.RoundTrip(req)
	if err != nil {
		at := seen.now()
		failure, detail := classify(parent, ctx, at, err)
		return Outcome{Failure: failure, Detail: detail, Remote: at.remote, Err: err}
	}
	out := readAnswer(res, time.Now())
	out.Remote = seen.now().remote
	return out
}

// request builds the request and has it signed. CheckURL has passed, so that an error is one of Sign.
func (s *Sender) request(ctx context.Context, r Request) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	for name, values := range r.Header {
		req.Header[http.CanonicalHeaderKey(name)] = append([]string(nil), values...)
	}
	if req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", s.cfg.UserAgent)
	if r.Sign == nil {
		return req, nil
	}
	if err := r.Sign(req); err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(r.Body)) // Sign may have read it
	return req, nil
}
