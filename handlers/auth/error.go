package auth

import "errors"

// Kind of an Error, as a caller acts upon it.
type Kind int

// The kinds.
const (
	// Unauthenticated: nobody knows who it is. Over HTTP this is 401.
	Unauthenticated Kind = iota + 1
	// Invalid: the request for a token is wrong; Code says how. Over HTTP this is 400.
	Invalid
	// NoTokens: tokens are given out elsewhere. Over HTTP this is 404.
	NoTokens
	// Unavailable: it cannot be told at present; the caller may come again. Over HTTP this is 503.
	Unavailable
)

// Codes of the token endpoint (RFC 6749, 5.2) that come from here. invalid_request and unsupported_grant_type are about the
// form, which the caller reads.
const (
	CodeInvalidClient = "invalid_client"
	CodeInvalidScope  = "invalid_scope"
)

// Error is a refusal.
type Error struct {
	Kind Kind
	// Code is OAuth's, with Invalid; else "".
	Code string
	// Reason is for the client: what is wrong and what would be right, and nothing that the client could not know.
	Reason string
	// Cause is for the log; nil for none.
	Cause error
}

// Error is the reason alone, so that an answer made of it tells nothing more.
func (e *Error) Error() string { return e.Reason }

func (e *Error) Unwrap() error { return e.Cause }

func unauthenticated(reason string) *Error { return &Error{Kind: Unauthenticated, Reason: reason} }

func unavailable(reason string, cause error) *Error {
	return &Error{Kind: Unavailable, Reason: reason, Cause: cause}
}

// The errors of changes in the registry.
var (
	// ErrUnknownClient: no client with the id is registered. Nothing was changed.
	ErrUnknownClient = errors.New("there is no such client in the registry")
	// ErrClientExists: the id is taken. Nothing was changed.
	ErrClientExists = errors.New("there is a client with this id already")
	// ErrFromFile: the client stands in the clients file, which only an operator changes. Nothing was changed.
	ErrFromFile = errors.New("the client stands in the clients file: change it there, and restart")
	// ErrInvalidClient: what was given makes no valid client; the text says why. Nothing was changed.
	ErrInvalidClient = errors.New("invalid client")
)
