package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"closure/domain"
	"closure/handlers"
	"closure/handlers/auth"
)

// The headers of the contract.
const (
	headerRequestID      = "upvest-request-id"
	headerClientID       = "upvest-client-id"
	headerAPIVersion     = "upvest-api-version"
	headerIdempotencyKey = "idempotency-key"

	apiVersion = "1"
)

// request is what is known of a request beside its inputs. admit fills in the client and the media type.
type request struct {
	id     string // of the request: a new uuid
	route  route  // the zero value when no call is for it
	method string
	path   string // as it came, escaped
	client string // the tenant; "" for the documents and the probes
	media  string // of the answer, as negotiated
	http   *http.Request
	raw    []byte // of a form, as it came
	seed   string // of the ids that it makes, under an idempotency key; "" for new ones
	writer http.ResponseWriter
}

type requestKey struct{}

func requestOf(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{}).(*request)
	return r
}

// maxInstance bounds the echo of a path in a problem, in bytes. It is ASCII: escaped.
const maxInstance = 1024

func (r *request) instance() string {
	if len(r.path) > maxInstance {
		return r.path[:maxInstance]
	}
	return r.path
}

// tracked knows whether the answer has begun, and its status.
type tracked struct {
	http.ResponseWriter
	began  bool
	status int // 0 while it has not begun
}

func (t *tracked) WriteHeader(status int) {
	if t.began {
		return // huma sets a status once more when the client has gone
	}
	t.began, t.status = true, status
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(b []byte) (int, error) {
	if !t.began {
		t.began, t.status = true, http.StatusOK
	}
	return t.ResponseWriter.Write(b)
}

// ServeHTTP gives every request its id and its deadline, answers what no call is for, and whatever panics.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	req := &request{id: uuid.NewString(), method: r.Method, path: r.URL.EscapedPath(), writer: w}
	w.Header().Set(headerRequestID, req.id)
	// What is about somebody's money stays out of caches.
	w.Header().Set("Cache-Control", "no-store")
	ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), requestKey{}, req), a.timeout)
	defer cancel()
	answer := &tracked{ResponseWriter: w}
	refusal := a.unrouted(answer, r, req)
	ctx, span := a.traced(ctx, r, req)
	defer func() { a.observed(ctx, span, req, answer.status, time.Since(begin)) }()
	defer a.rescue(ctx, answer, req)

	a.boundBody(r, req)
	if refusal != nil {
		a.answer(answer, refusal)
		return
	}
	a.mux.ServeHTTP(answer, r.WithContext(ctx))
}

// boundBody gives the body the time of the request to arrive, also when it is refused unread: the server takes in what is left
// of it before it answers, and a client that sends nothing would hold it there. Who has read the body takes the bound away.
func (a *api) boundBody(r *http.Request, req *request) {
	if r.ContentLength == 0 {
		return
	}
	err := http.NewResponseController(req.writer).SetReadDeadline(time.Now().Add(a.timeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		a.logger.Debug("the time of a body could not be bounded", "request_id", req.id, "error", err)
	}
}

// rescue turns a panic into a 500. When the answer has begun already the connection is cut, so that the client does not
// take a part for the whole.
func (a *api) rescue(ctx context.Context, w *tracked, r *request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	a.logger.ErrorContext(ctx, "a request panicked", "request_id", r.id, "method", r.method, "path", r.instance(),
		"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if w.began {
		panic(http.ErrAbortHandler)
	}
	a.answer(w, newProblem(r, internalError, internalDetail))
}

// unrouted is the answer when no call is for the path, or none for the method. Else the request knows its call.
func (a *api) unrouted(w http.ResponseWriter, r *http.Request, req *request) *problem {
	// The router would redirect //accounts to /accounts; a client of this API is better told.
	if path.Clean(req.path) != req.path {
		return newProblem(req, notFound, "there is nothing at this path; /openapi.json lists the calls")
	}
	handler, pattern := a.mux.Handler(r)
	if pattern != "" {
		req.route = a.routes[pattern]
		return nil
	}
	var would verdict
	handler.ServeHTTP(&would, r)
	if would.status != http.StatusMethodNotAllowed {
		return newProblem(req, notFound, "there is nothing at this path; /openapi.json lists the calls")
	}
	allow := would.Header().Get("Allow")
	w.Header().Set("Allow", allow)
	return newProblem(req, methodNotAllowed, "the method must be one of "+allow+", got "+domain.Quote(r.Method))
}

// verdict takes the router's own answer to a request that it has no handler for.
type verdict struct {
	header http.Header
	status int
}

func (v *verdict) Header() http.Header {
	if v.header == nil {
		v.header = http.Header{}
	}
	return v.header
}

func (v *verdict) WriteHeader(status int)      { v.status = status }
func (v *verdict) Write(b []byte) (int, error) { return len(b), nil }

type humaContext huma.Context

// exchange is a request that was admitted, as huma reads it: with the id in its stored form, and with the body in memory.
type exchange struct {
	humaContext
	route  route
	req    *request
	http   *http.Request
	ids    map[string]string // by the name of the parameter
	body   []byte
	status int   // overrides the one that huma gives; 0 for none
	held   *held // takes the answer; nil when it goes out at once
	who    auth.Principal
}

func (x *exchange) Param(name string) string                     { return x.ids[name] }
func (x *exchange) BodyReader() io.Reader                        { return bytes.NewReader(x.body) }
func (x *exchange) SetReadDeadline(_ time.Time) error            { return nil } // the body is here already
func (x *exchange) problem(s handlers.Slug, detail string) error { return newProblem(x.req, s, detail) }

// Header hides what admit has settled: huma would negotiate again, by its own rules.
func (x *exchange) Header(name string) string {
	switch strings.ToLower(name) {
	case "accept", "content-type":
		return ""
	}
	return x.humaContext.Header(name)
}

// SetStatus puts our status in the place of huma's own for a problem (transform).
func (x *exchange) SetStatus(status int) {
	if x.status != 0 {
		status = x.status
	}
	if x.held != nil {
		x.held.status = status
		return
	}
	x.humaContext.SetStatus(status)
}

// admit checks what all calls have in common before huma reads the inputs. The order is that of importance to a client
// that has it all wrong: who, what, then how.
func (a *api) admit(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	x := &exchange{humaContext: ctx, route: routeOf(ctx.Operation()), req: requestOf(r.Context()), http: r, ids: map[string]string{}}
	if err := a.carryOut(x, next); err != nil {
		a.answer(w, a.problemOf(r.Context(), err))
	}
}

func (a *api) carryOut(x *exchange, next func(huma.Context)) error {
	for _, check := range []func() error{
		x.checkVersion, x.checkClient, a.authenticated(x), x.checkAccept, x.checkIDs, x.checkQuery, x.readBody, a.signed(x),
	} {
		if err := check(); err != nil {
			return err
		}
	}
	if !x.route.anonymous || x.route.form {
		if err := a.enter(x.req); err != nil {
			return err
		}
		defer a.leave()
	}
	if x.route.keyed {
		return a.idempotent(x, next)
	}
	next(x)
	return nil
}

func (x *exchange) checkVersion() error {
	for _, v := range x.http.Header.Values(headerAPIVersion) {
		if v != apiVersion {
			return x.problem(invalidRequest, headerAPIVersion+": must be "+apiVersion+" or absent, got "+domain.Quote(v))
		}
	}
	return nil
}

// checkClient takes exactly one client id: of two, nobody could say which one counts.
func (x *exchange) checkClient() error {
	if x.route.anonymous {
		return nil
	}
	values := x.http.Header.Values(headerClientID)
	switch len(values) {
	case 0:
		return x.problem(missingClientID, headerClientID+": must be in the header, a uuid such as "+exampleID)
	case 1:
	default:
		return x.problem(missingClientID, fmt.Sprintf("%s: must be in the header once, got it %d times", headerClientID, len(values)))
	}
	id, err := domain.ParseID(values[0])
	if err != nil {
		return x.problem(missingClientID, headerClientID+": "+err.Error())
	}
	x.req.client = id
	return nil
}

func (x *exchange) checkAccept() error {
	media, ok := negotiate(x.http.Header.Values("Accept"), x.route.media())
	if !ok {
		return x.problem(notAcceptable, "accept: must allow "+strings.Join(x.route.media(), " or "))
	}
	x.req.media = media
	return nil
}

// checkIDs brings the ids of the path into their stored form. What is not a uuid cannot exist: it is not found.
func (x *exchange) checkIDs() error {
	for _, p := range x.Operation().Parameters {
		if p.In != "path" {
			continue
		}
		given := x.http.PathValue(p.Name)
		id, err := domain.ParseID(given)
		if err != nil {
			noun := x.route.noun
			if p.Name != "id" {
				noun = x.route.part
			}
			return x.problem(notFound, fmt.Sprintf("there is no %s with the id %s: an id is a uuid", noun, domain.Quote(given)))
		}
		x.ids[p.Name] = id
	}
	return nil
}
