package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
)

// The slugs of the problems, under short names: the table of their types, statuses and titles is handlers'.
const (
	invalidRequest        = handlers.InvalidRequest
	missingClientID       = handlers.MissingClientID
	missingIdempotencyKey = handlers.MissingIdempotencyKey
	unauthorised          = handlers.Unauthorised
	forbidden             = handlers.Forbidden
	tooManyRequests       = handlers.TooManyRequests
	notFound              = handlers.NotFound
	methodNotAllowed      = handlers.MethodNotAllowed
	notAcceptable         = handlers.NotAcceptable
	conflict              = handlers.Conflict
	payloadTooLarge       = handlers.PayloadTooLarge
	unsupportedMediaType  = handlers.UnsupportedMediaType
	unprocessableEntity   = handlers.UnprocessableEntity
	internalError         = handlers.InternalError
	unavailable           = handlers.Unavailable
	gatewayTimeout        = handlers.GatewayTimeout
)

// retryAfter is how long a client should wait after unavailable, in seconds.
const retryAfter = "1"

// table maps errors to problems; the first row that fits counts. A detail "" is the one of the refusal.
var table = []struct {
	fits   func(ctx context.Context, err error) bool
	slug   handlers.Slug
	detail string
}{
	{refused(domain.Invalid), invalidRequest, ""},
	{refused(domain.NotFound), notFound, ""},
	{refused(domain.Conflict), conflict, ""},
	{refused(domain.Unprocessable), unprocessableEntity, ""},
	{is(handlers.ErrContention), unavailable, "others kept changing the resource; nothing was changed by this request, repeat it"},
	// Also when the request's own time ended first: a client is to come again, however the bounds lie to each other.
	{is(eventstore.ErrUnavailable), unavailable, "the event log does not answer; if it was a change, read the resource to see whether it was made"},
	// The request's own time is up: whatever else failed, failed for that.
	{outOfTime, gatewayTimeout, "the request was not done in time; if it was a change, read the resource to see whether it was made"},
	{is(eventstore.ErrTooLarge), payloadTooLarge, "the request is larger than the event log takes"},
	{is(context.DeadlineExceeded), gatewayTimeout, "a part of the engine did not answer in time; repeat the request later"},
	{is(context.Canceled), unavailable, "the request was cancelled"},
}

// internalDetail is all that clients learn of an error that the table does not have.
const internalDetail = "something went wrong on our side; the request_id leads us to the cause"

func is(target error) func(context.Context, error) bool {
	return func(_ context.Context, err error) bool { return errors.Is(err, target) }
}

func refused(kind domain.RefusalKind) func(context.Context, error) bool {
	return func(_ context.Context, err error) bool {
		var r *domain.Refusal
		return errors.As(err, &r) && r.Kind == kind
	}
}

func outOfTime(ctx context.Context, _ error) bool {
	return errors.Is(ctx.Err(), context.DeadlineExceeded)
}

// problem is an error as clients see it (RFC 9457). It is an error itself, so that huma answers with it.
type problem struct {
	Type      string           `json:"type" format:"uri" doc:"What kind of problem it is: https://docs.upvest.co/errors/ and a stable name." example:"https://docs.upvest.co/errors/not_found"`
	Status    int              `json:"status" doc:"The HTTP status." example:"404"`
	Title     string           `json:"title" doc:"The kind of problem in words: the same for all of one type." example:"There is no such resource"`
	Detail    string           `json:"detail" doc:"What is wrong with this request, and what would be right. For people: it may change." example:"there is no account with the id 2b7c1f6e-5f0e-4d0b-9a53-0d8a4b1c6e20"`
	Instance  string           `json:"instance" format:"uri-reference" doc:"The path of the request." example:"/accounts/2b7c1f6e-5f0e-4d0b-9a53-0d8a4b1c6e20"`
	RequestID string           `json:"request_id" format:"uuid" doc:"The id of the request, as in the header upvest-request-id." example:"7c9e6679-7425-40de-944b-e07fc1f90ae7"`
	Blockers  []domain.Blocker `json:"blockers,omitzero" doc:"With 409 only: what stands against it; empty when the status alone does."`

	header http.Header
}

// newProblem is a problem of this request.
func newProblem(r *request, s handlers.Slug, detail string) *problem {
	p := &problem{
		Type: s.Type(), Status: s.Status(), Title: s.Title(), Detail: detail,
		Instance: r.instance(), RequestID: r.id, header: http.Header{},
	}
	switch s {
	case conflict:
		p.Blockers = []domain.Blocker{}
	case unavailable:
		p.header.Set("Retry-After", retryAfter)
	case unauthorised:
		p.header.Set("WWW-Authenticate", `Bearer realm="closure"`)
	}
	return p
}

func (p *problem) Error() string { return p.Type + ": " + p.Detail }

// GetStatus, GetHeaders and ContentType are what huma asks an error for.
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) GetHeaders() http.Header   { return p.header }
func (p *problem) ContentType(string) string { return mediaProblem }

// problemOf turns an error into what the client may know of it. The cause goes to the log.
func (a *api) problemOf(ctx context.Context, err error) *problem {
	r := requestOf(ctx)
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	p = a.authProblem(r, err)
	if p != nil {
		a.logCause(ctx, r, p, err)
		return p
	}
	p = newProblem(r, internalError, internalDetail)
	for _, row := range table {
		if row.fits(ctx, err) {
			p = newProblem(r, row.slug, row.detail)
			break
		}
	}
	var refusal *domain.Refusal
	if p.Detail == "" && errors.As(err, &refusal) {
		p.Detail = refusal.Detail
		if p.Blockers != nil {
			p.Blockers = append(p.Blockers, refusal.Blockers...)
		}
	}
	a.logCause(ctx, r, p, err)
	return p
}

func (a *api) logCause(ctx context.Context, r *request, p *problem, err error) {
	if p.Status < http.StatusInternalServerError || errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	level := slog.LevelWarn
	if p.Status == http.StatusInternalServerError {
		level = slog.LevelError
	}
	a.logger.Log(ctx, level, "a request failed", "request_id", r.id, "method", r.method, "path", r.instance(),
		"client_id", r.client, "status", p.Status, "error", err)
}

// answer writes the problem.
func (a *api) answer(w http.ResponseWriter, p *problem) {
	body, err := json.Marshal(p, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		// A problem is made of strings and numbers; but an empty body is better than a wrong one.
		a.logger.Error("a problem could not be written", "request_id", p.RequestID, "error", err)
	}
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", mediaProblem)
	w.WriteHeader(p.Status)
	if _, err := w.Write(body); err != nil {
		a.logger.Debug("the client went away", "request_id", p.RequestID, "error", err)
	}
}
