package handlers

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"

	"closure/domain"
	"closure/eventstore"
)

// Slug names a kind of problem: the last part of its type (CONTRACT: Errors). Clients act upon it, so it is stable, and the
// same over HTTP and over NATS.
type Slug string

// The slugs.
const (
	InvalidRequest        Slug = Slug(domain.Invalid)
	MissingClientID       Slug = "missing_client_id"
	MissingIdempotencyKey Slug = "missing_idempotency_key"
	Unauthorised          Slug = "unauthorised"
	Forbidden             Slug = "forbidden"
	NotFound              Slug = Slug(domain.NotFound)
	MethodNotAllowed      Slug = "method_not_allowed"
	NotAcceptable         Slug = "not_acceptable"
	Conflict              Slug = Slug(domain.Conflict)
	PayloadTooLarge       Slug = "payload_too_large"
	UnsupportedMediaType  Slug = "unsupported_media_type"
	UnprocessableEntity   Slug = Slug(domain.Unprocessable)
	TooManyRequests       Slug = "too_many_requests"
	InternalError         Slug = "internal"
	Unavailable           Slug = "unavailable"
	GatewayTimeout        Slug = "gateway_timeout"
)

var slugs = map[Slug]struct {
	status int
	title  string
}{
	InvalidRequest:        {http.StatusBadRequest, "The request is not valid"},
	MissingClientID:       {http.StatusBadRequest, "The client id is missing"},
	MissingIdempotencyKey: {http.StatusBadRequest, "The idempotency key is missing"},
	Unauthorised:          {http.StatusUnauthorized, "The request is not authenticated"},
	Forbidden:             {http.StatusForbidden, "The client may not do this"},
	NotFound:              {http.StatusNotFound, "There is no such resource"},
	MethodNotAllowed:      {http.StatusMethodNotAllowed, "The resource does not have this method"},
	NotAcceptable:         {http.StatusNotAcceptable, "The resource has no such representation"},
	Conflict:              {http.StatusConflict, "The present state does not allow it"},
	PayloadTooLarge:       {http.StatusRequestEntityTooLarge, "The request is too large"},
	UnsupportedMediaType:  {http.StatusUnsupportedMediaType, "The body is of another type"},
	UnprocessableEntity:   {http.StatusUnprocessableEntity, "The rules do not allow it"},
	TooManyRequests:       {http.StatusTooManyRequests, "There were too many requests"},
	InternalError:         {http.StatusInternalServerError, "Something went wrong"},
	Unavailable:           {http.StatusServiceUnavailable, "The service cannot answer at present"},
	GatewayTimeout:        {http.StatusGatewayTimeout, "The answer did not come in time"},
}

// Slugs lists every slug, sorted.
func Slugs() []Slug { return slices.Sorted(maps.Keys(slugs)) }

// Type is the problem's type, a URI.
func (s Slug) Type() string { return "https://docs.upvest.co/errors/" + string(s) }

// Status is the problem's HTTP status; over NATS it is a member of the answer.
func (s Slug) Status() int { return slugs[s].status }

// Title says the kind of problem in words: the same for all of one slug.
func (s Slug) Title() string { return slugs[s].title }

// SlugOf tells which kind of problem an error of the engine is. What may pass comes before a refusal that came along with
// it: that is not settled. Whatever is not known here is internal, and its text is not for clients.
func SlugOf(err error) Slug {
	var refusal *domain.Refusal
	switch {
	case errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, ErrContention), errors.Is(err, context.Canceled):
		return Unavailable
	case errors.Is(err, context.DeadlineExceeded):
		return GatewayTimeout
	case errors.As(err, &refusal):
		if _, known := slugs[Slug(refusal.Kind)]; known {
			return Slug(refusal.Kind)
		}
	case errors.Is(err, eventstore.ErrTooLarge):
		return PayloadTooLarge
	}
	return InternalError
}
