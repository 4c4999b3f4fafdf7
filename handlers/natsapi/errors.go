package natsapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
)

// Problem says why a command was rejected: RFC 9457, as the HTTP answers have it (CONTRACT: Errors). It never shows an
// internal cause.
type Problem struct {
	Type      string           `json:"type"`
	Status    int              `json:"status"`
	Title     string           `json:"title"`
	Detail    string           `json:"detail"`
	RequestID string           `json:"request_id,omitempty"`
	Blockers  []domain.Blocker `json:"blockers,omitempty"`
}

// problemTypes is where the slugs of the problems are explained.
const problemTypes = "https://docs.upvest.co/errors/"

// slug names a problem; it is the last part of its type.
type slug string

// The problems of this way in beside the domain's refusals.
const (
	slugTooLarge       slug = "payload_too_large"
	slugInternal       slug = "internal"
	slugUnavailable    slug = "unavailable"
	slugGatewayTimeout slug = "gateway_timeout"
)

// problems is the one table from what went wrong to what a client is told. The detail is for those that have none of
// their own.
var problems = map[slug]struct {
	status        int
	title, detail string
}{
	slug(domain.Invalid):       {http.StatusBadRequest, "Invalid request", ""},
	slug(domain.NotFound):      {http.StatusNotFound, "Not found", ""},
	slug(domain.Conflict):      {http.StatusConflict, "Conflict", ""},
	slug(domain.Unprocessable): {http.StatusUnprocessableEntity, "Unprocessable entity", ""},
	slugTooLarge:               {http.StatusRequestEntityTooLarge, "Payload too large", "the command makes a commit that is larger than the event log takes"},
	slugInternal:               {http.StatusInternalServerError, "Internal error", "the command failed for a reason that is not yours; it has been logged"},
	slugUnavailable:            {http.StatusServiceUnavailable, "Unavailable", "the command could not be carried out now; send it again with the same command_id"},
	slugGatewayTimeout:         {http.StatusGatewayTimeout, "Gateway timeout", "the command took too long and may yet be carried out; send it again with the same command_id"},
}

// slugOf classifies what an execution returned. What may pass comes first: a refusal that came along with it is not
// settled.
func slugOf(err error) slug {
	var refusal *domain.Refusal
	switch {
	case errors.Is(err, errTimeUp):
		return slugGatewayTimeout
	case errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, handlers.ErrContention),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return slugUnavailable
	case errors.As(err, &refusal):
		return slug(refusal.Kind)
	case errors.Is(err, eventstore.ErrTooLarge):
		return slugTooLarge
	}
	return slugInternal
}

// transient tells whether the same command may well succeed in a moment.
func transient(err error) bool {
	s := slugOf(err)
	return s == slugUnavailable || s == slugGatewayTimeout
}

// notFound tells whether the command was refused because a resource is not there.
func notFound(err error) bool { return slugOf(err) == slug(domain.NotFound) }

// problemOf is what the client is told of an error.
func problemOf(err error, requestID string) *Problem {
	s := slugOf(err)
	row, ok := problems[s]
	if !ok { // a kind of refusal that this table does not know yet
		s, row = slugInternal, problems[slugInternal]
	}
	p := &Problem{Type: problemTypes + string(s), Status: row.status, Title: row.title, Detail: row.detail, RequestID: requestID}
	var refusal *domain.Refusal
	if p.Detail == "" && errors.As(err, &refusal) {
		p.Detail, p.Blockers = refusal.Detail, refusal.Blockers
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
