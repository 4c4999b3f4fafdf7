package webhooks

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

const (
	// maxAnswer is how much of an answer is read, in bytes; an answer within it leaves the connection usable.
	maxAnswer = 64 << 10
	// idleConnTimeout is how long a connection is kept for the next event of its endpoint.
	idleConnTimeout = 90 * time.Second
)

// clientOf makes the client, or takes the one that was given; either does not follow redirects: where events go is the
// client's word, and not that of whoever answers.
func clientOf(cfg Config) *http.Client {
	client := http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    100, // subscriptions may share a host
		IdleConnTimeout:        idleConnTimeout,
		MaxResponseHeaderBytes: maxAnswer,
		DisableCompression:     true, // answers are not read for what they say
	}}
	if cfg.Client != nil {
		client = *cfg.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// post makes one request. nil means a 2xx answer; the error else is a class of failures, and shows nothing of the URL or
// of what was sent and answered.
func (s *Service) post(url string, body []byte) error {
	ctx, cancel := context.WithTimeout(s.working, s.cfg.RequestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", s.userAgent)
	res, err := s.client.Do(req)
	if err != nil {
		return classify(err)
	}
	// The status is the answer. What follows is read only so that the connection can be used again, and dropped.
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer)
	_ = res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

// The classes of failures that have no status.
var (
	errTimeout     = errors.New("time-out")
	errRefused     = errors.New("connection refused")
	errReset       = errors.New("connection reset")
	errUnknownHost = errors.New("unknown host")
	errTLS         = errors.New("TLS")
	errOther       = errors.New("connection failed")
)

// classify tells how a request failed. The error itself has the URL in it, with its query, and stays here.
func classify(err error) error {
	var (
		network     net.Error
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		record      tls.RecordHeaderError
		alert       tls.AlertError
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return errTimeout
	case errors.As(err, &dns):
		return errUnknownHost
	case errors.Is(err, syscall.ECONNREFUSED):
		return errRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errReset
	case errors.As(err, &certificate), errors.As(err, &authority), errors.As(err, &record), errors.As(err, &alert):
		return errTLS
	}
	return errOther
}
