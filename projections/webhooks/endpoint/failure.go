package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"sync"
	"syscall"
)

// Failure is a class of failures. The list is closed and stable: clients may build on it.
type Failure string

// The classes.
const (
	TimeoutConnect   Failure = "timeout_connect"   // no connection in time: name, address or TLS handshake
	TimeoutHeader    Failure = "timeout_header"    // no answer in time
	Timeout          Failure = "timeout"           // the whole took too long
	Refused          Failure = "refused"           // nothing listens
	Unreachable      Failure = "unreachable"       // no way to the address
	Reset            Failure = "reset"             // the endpoint broke the connection off before it answered
	UnknownHost      Failure = "unknown_host"      // the name cannot be resolved
	AddressForbidden Failure = "address_forbidden" // the name leads to an address that may not be dialled
	URLForbidden     Failure = "url_forbidden"     // the URL is not one that may be subscribed (any more)
	TLS              Failure = "tls"               // no TLS, too old a version, or a certificate that is not valid
	Redirect         Failure = "redirect"          // 3xx
	Status           Failure = "status"            // any other status but 2xx
	AnswerInvalid    Failure = "answer_invalid"    // not HTTP, or a header that is too long
	NotSigned        Failure = "not_signed"        // ours: the request could not be signed, and was not sent
	Cancelled        Failure = "cancelled"         // ours: the caller ended the attempt
	Other            Failure = "other"             // none of these
)

// Failures lists the classes.
func Failures() []Failure {
	return []Failure{
		TimeoutConnect, TimeoutHeader, Timeout, Refused, Unreachable, Reset, UnknownHost, AddressForbidden, URLForbidden, TLS,
		Redirect, Status, AnswerInvalid, NotSigned, Cancelled, Other,
	}
}

// progress is how far an attempt got. The transport tells it from goroutines of its own, which may outlive the attempt.
type progress struct {
	mu sync.Mutex
	at reached
}

type reached struct {
	remote    string
	connected bool  // a connection was given to the request, handshake and all
	answered  bool  // the first byte of an answer came
	handshake error // how the TLS handshake failed
}

func (p *progress) now() reached {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

func (p *progress) set(change func(*reached)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.at)
}

func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		ConnectStart: func(_, address string) { p.set(func(r *reached) { r.remote = address }) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err != nil {
				p.set(func(r *reached) { r.handshake = err })
			}
		},
		GotConn: func(info httptrace.GotConnInfo) {
			p.set(func(r *reached) { r.connected, r.remote = true, info.Conn.RemoteAddr().String() })
		},
		GotFirstResponseByte: func() { p.set(func(r *reached) { r.answered = true }) },
	}
}

// classify tells how an attempt without an answer failed. Errors are told apart by their types, and by how far the attempt
// got where net/http has no type for them.
func classify(parent, ctx context.Context, at reached, err error) (Failure, string) {
	var (
		network net.Error
		dns     *net.DNSError
		op      *net.OpError
		family  *net.AddrError
	)
	isDNS := errors.As(err, &dns)
	switch {
	case errors.Is(parent.Err(), context.Canceled):
		return Cancelled, "the attempt was cut short by the sender"
	case ctx.Err() != nil && at.connected:
		return Timeout, "the request and its answer took too long"
	case errors.Is(err, errForbidden):
		return AddressForbidden, "the name leads to an address that is not one of the public internet"
	case ctx.Err() != nil, errors.As(err, &network) && network.Timeout():
		return timedOut(at, isDNS)
	case isDNS && dns.IsNotFound:
		return UnknownHost, "the name has no address"
	case isDNS:
		return UnknownHost, "the name could not be resolved: its servers give no proper answer"
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused, "the connection was refused"
	case anyOf(err, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN), errors.As(err, &family):
		// family: the name has IPv6 addresses only, and this machine has no IPv6
		return Unreachable, "there is no way to the endpoint's address"
	case anyOf(err, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF):
		return broken(at)
	case at.handshake != nil && errors.Is(err, at.handshake):
		return TLS, explainTLS(err)
	case errors.As(err, &op) && op.Op == "remote error": // an alert after the handshake; crypto/tls has no other mark for it
		return TLS, explainTLS(err)
	case at.answered:
		return AnswerInvalid, "the answer is not proper HTTP, or its header is too long"
	case at.connected: // with HTTP/2 this may be a header that is too long, as well: that ends the connection
		return Reset, "the connection broke off before there was a whole answer"
	}
	return Other, "the attempt failed for another reason"
}

func anyOf(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func timedOut(at reached, isDNS bool) (Failure, string) {
	switch {
	case at.connected:
		return TimeoutHeader, "the endpoint did not answer in time"
	case isDNS:
		return TimeoutConnect, "the name was not resolved in time"
	}
	return TimeoutConnect, "no connection in time"
}

func broken(at reached) (Failure, string) {
	switch {
	case at.handshake != nil && !at.connected:
		return Reset, "the endpoint closed the connection during the TLS handshake"
	case at.answered:
		return Reset, "the endpoint closed the connection within the header of its answer"
	}
	return Reset, "the endpoint closed the connection before it answered"
}

// explainTLS says what the endpoint's owner has to mend.
func explainTLS(err error) string {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		op        *net.OpError
	)
	switch {
	case errors.As(err, &authority):
		return "the certificate is not signed by a known authority"
	case errors.As(err, &name):
		return "the certificate is not for this name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate has expired or is not valid yet"
	case errors.As(err, &invalid):
		return "the certificate is not valid"
	case errors.As(err, &record):
		return "the endpoint does not speak TLS"
	case errors.As(err, &op) && op.Op == "remote error":
		return "the endpoint refused the TLS handshake; it has to accept TLS 1.2 or later, without a certificate of the client"
	}
	return "the TLS handshake failed; the endpoint has to speak TLS 1.2 or later"
}
