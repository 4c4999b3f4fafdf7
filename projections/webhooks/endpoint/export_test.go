package endpoint

import "time"

// RetryAfter is the parser of the header.
func RetryAfter(value string, now time.Time) time.Duration { return retryAfter(value, now) }

// MaxRetryAfter is its limit.
const MaxRetryAfter = maxRetryAfter

// CheckAddress is the check of an address, as a dialer makes it.
func CheckAddress(network, address string) error { return newGuard().check(network, address) }

// ErrForbidden is what it says.
var ErrForbidden = errForbidden

// NewWith makes a sender whose check of addresses is replaced: tests have no public address to post to.
func NewWith(cfg Config, permit func(network, address string) error) *Sender {
	s := New(cfg)
	s.permit = permit
	return s
}
