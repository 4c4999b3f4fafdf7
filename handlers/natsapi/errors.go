package natsapi

import (
	"errors"
	"fmt"
	"runtime/debug"

	"closure/domain"
	"closure/handlers"
)

// Problem says why a command was rejected: RFC 9457, as the HTTP answers have it (CONTRACT: Errors). It never shows an
// internal cause.
type Problem struct {
	Type      string `json:"type"`
	Status    int    `json:"status"`
	Title     string `json:"title"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id,omitempty"`
	// Blockers stand with a conflict only; none when the status alone stands against it.
	Blockers []domain.Blocker `json:"blockers,omitzero"`
}

// details is what a client is told of the problems that are no refusals: those have a detail of their own.
var details = map[handlers.Slug]string{
	handlers.PayloadTooLarge: "the command makes a commit that is larger than the event log takes",
	handlers.InternalError:   "the command failed for a reason that is not yours; it has been logged",
	handlers.Unavailable:     "the command could not be carried out now; send it again with the same command_id",
	handlers.TooManyRequests: "the client has as many requests in hand as it may have; nothing was done, send it again with the same command_id",
	handlers.GatewayTimeout:  "the command took too long and may yet be carried out; send it again with the same command_id",
}

// slugOf classifies what an execution returned.
func slugOf(err error) handlers.Slug {
	if errors.Is(err, errTimeUp) {
		return handlers.GatewayTimeout
	}
	if errors.Is(err, errShare) {
		return handlers.TooManyRequests
	}
	return handlers.SlugOf(err)
}

// transient tells whether the same command may well succeed in a moment.
func transient(err error) bool {
	s := slugOf(err)
	return s == handlers.Unavailable || s == handlers.GatewayTimeout
}

// notFound tells whether the command was refused because a resource is not there.
func notFound(err error) bool { return slugOf(err) == handlers.NotFound }

// problemOf is what the client is told of an error.
func problemOf(err error, requestID string) *Problem {
	s := slugOf(err)
	p := &Problem{Type: s.Type(), Status: s.Status(), Title: s.Title(), Detail: details[s], RequestID: requestID}
	var refusal *domain.Refusal
	if p.Detail == "" && errors.As(err, &refusal) {
		p.Detail, p.Blockers = refusal.Detail, refusal.Blockers
	}
	if s == handlers.Conflict && p.Blockers == nil {
		p.Blockers = []domain.Blocker{}
	}
	return p
}

var (
	// errTimeUp: the execution did not end within its time; its outcome is unknown.
	errTimeUp = errors.New("the time for the command is up")
	// errAbandoned: the service stops, or its connection is gone. The command stays in the inbox for the next engine.
	errAbandoned = errors.New("abandoned: the service stops")
)

// panicError is a panic of the engine, kept with where it came from.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

// recovered turns a panic into an internal error. It is for defer, which recover asks for.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = &panicError{v, debug.Stack()}
	}
}
