package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"closure/domain"
	"closure/handlers/idempotency"
)

// Idempotency remembers the answers to requests with an idempotency key, for all instances: idempotency.Store does.
type Idempotency interface {
	// Claim takes the key for a request. Another request under the same key MUST be idempotency.ErrOtherRequest.
	Claim(ctx context.Context, clientID, key, fingerprint string) (*idempotency.Claim, error)
	// Keep keeps the answer, and gives the one that counts.
	Keep(ctx context.Context, c *idempotency.Claim, a idempotency.Answer) idempotency.Answer
	// Release lets the key go.
	Release(ctx context.Context, c *idempotency.Claim)
}

// settleWithin bounds what is still to be written when the request has been carried out, however late that was.
const settleWithin = 3 * time.Second

// idempotent carries a request out under its key, or answers what was answered before. The answer is kept before the client
// sees it.
func (a *api) idempotent(x *exchange, next func(huma.Context)) error {
	ctx := x.Context()
	key, err := x.idempotencyKey()
	if err != nil {
		return err
	}
	claim, err := a.idempotency.Claim(ctx, x.req.client, key, x.fingerprint())
	if errors.Is(err, idempotency.ErrOtherRequest) {
		return x.problem(conflict, headerIdempotencyKey+": was used for another request; take a new one for each request, and the same only to repeat it")
	}
	if err != nil {
		return err
	}
	if claim.Answer != nil {
		return x.write(*claim.Answer)
	}
	x.req.seed, x.held = claim.Seed, &held{header: http.Header{}}
	next(x)
	answer := x.held.answer()
	x.held = nil

	settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	switch {
	case answer.Status < http.StatusMultipleChoices:
		answer = a.idempotency.Keep(settling, claim, answer)
	case answer.Status < http.StatusInternalServerError:
		a.idempotency.Release(settling, claim)
	}
	return x.write(answer)
}

// idempotencyKey takes exactly one key.
func (x *exchange) idempotencyKey() (string, error) {
	values := x.http.Header.Values(headerIdempotencyKey)
	switch {
	case len(values) == 0:
		return "", x.problem(missingIdempotencyKey, headerIdempotencyKey+": must be in the header, a new uuid for each request")
	case len(values) > 1:
		return "", x.problem(missingIdempotencyKey, fmt.Sprintf("%s: must be in the header once, got it %d times", headerIdempotencyKey, len(values)))
	}
	key, err := domain.ParseID(values[0])
	if err != nil {
		return "", x.problem(missingIdempotencyKey, headerIdempotencyKey+": "+err.Error())
	}
	return key, nil
}

// fingerprint is what makes a request the same: its method, its path and its body, however that was laid out.
func (x *exchange) fingerprint() string {
	body := jsontext.Value(bytes.Clone(x.body))
	if err := body.Canonicalize(); err != nil {
		body = x.body // it was checked; and the bytes are good, too
	}
	sum := sha256.New()
	_, _ = fmt.Fprintf(sum, "%s %s\n", x.http.Method, x.http.URL.Path) // a hash takes everything
	_, _ = sum.Write(body)
	return hex.EncodeToString(sum.Sum(nil))
}

// held is an answer that is not sent yet.
type held struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (h *held) answer() idempotency.Answer {
	a := idempotency.Answer{Status: h.status, Header: map[string]string{}, Body: h.body.Bytes()}
	for name := range h.header {
		a.Header[name] = h.header.Get(name)
	}
	return a
}

// write sends an answer.
func (x *exchange) write(a idempotency.Answer) error {
	for name, value := range a.Header {
		x.humaContext.SetHeader(name, value)
	}
	x.humaContext.SetStatus(a.Status)
	_, err := x.humaContext.BodyWriter().Write(a.Body)
	if err != nil {
		return nil //nolint:nilerr // the client has gone, and there is nobody to tell
	}
	return nil
}

// SetHeader, AppendHeader and BodyWriter take the answer that huma writes, while it is held.
func (x *exchange) SetHeader(name, value string) {
	if x.held != nil {
		x.held.header.Set(name, value)
		return
	}
	x.humaContext.SetHeader(name, value)
}

// AppendHeader is as SetHeader.
func (x *exchange) AppendHeader(name, value string) {
	if x.held != nil {
		x.held.header.Add(name, value)
		return
	}
	x.humaContext.AppendHeader(name, value)
}

// BodyWriter is as SetHeader.
func (x *exchange) BodyWriter() io.Writer {
	if x.held != nil {
		return &x.held.body
	}
	return x.humaContext.BodyWriter()
}

// newID is the id of what a request makes. Under an idempotency key it is always the same.
func newID(ctx context.Context) string {
	if r := requestOf(ctx); r.seed != "" {
		return domain.DeriveID("idempotency", r.seed, "resource")
	}
	return uuid.NewString()
}

// commandID is the id of the command that a request is. Under an idempotency key it is always the same.
func commandID(r *request) string {
	if r.seed != "" {
		return domain.DeriveID("idempotency", r.seed, "command")
	}
	return uuid.NewString()
}
