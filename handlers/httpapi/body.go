package httpapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"closure/domain"
)

// maxBody is the size of a body at most, in bytes.
const maxBody = 1 << 20

// maxForm is the size of a form at most: whoever sends one is not known yet.
const maxForm = 16 << 10

// jsonFormat reads and writes all JSON. Reading is strict: names count in their very spelling, and once.
var jsonFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error { return json.MarshalWrite(w, v, jsontext.AllowInvalidUTF8(true)) },
	Unmarshal: func(data []byte, v any) error {
		if err := json.Unmarshal(data, v, json.RejectUnknownMembers(true)); err != nil {
			return errors.New(decodeDetail(err))
		}
		return nil
	},
}

// checkQuery refuses parameters that the call does not have, that are there twice, or that have no value: whoever sent
// them means something that would not happen.
func (x *exchange) checkQuery() error {
	query, err := url.ParseQuery(x.http.URL.RawQuery)
	if err != nil {
		return x.problem(invalidRequest, "query: must be name=value pairs joined by &, percent-encoded")
	}
	known := map[string]*huma.Param{}
	var names []string
	for _, p := range x.Operation().Parameters {
		if p.In == "query" {
			known[p.Name] = p
			names = append(names, p.Name)
		}
	}
	var details details
	for name, values := range query {
		p := known[name]
		switch {
		case p == nil && len(names) == 0:
			details.add(shownName(name), "is not a query parameter of this call; it has none")
		case p == nil:
			details.add(shownName(name), "is not a query parameter of this call; it has "+strings.Join(names, ", "))
		case len(values) > 1:
			details.add(name, fmt.Sprintf("must be given once, got it %d times", len(values)))
		case values[0] == "" || (p.Schema.Type == huma.TypeBoolean && values[0] != "true" && values[0] != "false"):
			details.add(name, "must be "+wanted(p.Schema)+" or left out, got "+domain.Quote(values[0]))
		}
	}
	if len(details) > 0 {
		return x.problem(invalidRequest, details.String())
	}
	return nil
}

// readBody reads the body whole, before anything is decided upon it, and checks that it is one JSON object.
func (x *exchange) readBody() error {
	if x.Operation().RequestBody == nil {
		return x.readNoBody()
	}
	if err := x.checkContentType(); err != nil {
		return err
	}
	limit := int64(maxBody)
	if x.route.form {
		limit = maxForm
	}
	if x.http.ContentLength > limit {
		return x.tooLarge(limit)
	}
	body, err := x.read(limit)
	if errors.Is(err, errTooLong) {
		return x.tooLarge(limit)
	}
	if err != nil {
		return err
	}
	if x.route.form {
		x.req.http, x.req.raw = x.http, body
		x.body, err = x.formObject(body)
		return err
	}
	if len(body) == 0 {
		return x.problem(invalidRequest, "body: must be a JSON object, got an empty body")
	}
	if err := x.checkJSON(body); err != nil {
		return err
	}
	x.body = body
	return nil
}

// errTooLong: the body is longer than was allowed for.
var errTooLong = errors.New("the body is too long")

// read takes in the body, in the time that boundBody gave it.
func (x *exchange) read(limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(x.req.writer, x.http.Body, limit))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return nil, errTooLong
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, x.problem(gatewayTimeout, "body: did not arrive in time")
	case err != nil:
		return nil, x.problem(invalidRequest, "body: ended before it was complete")
	}
	// A deadline that stays (boundBody) would end the request's context when it passes.
	if err := http.NewResponseController(x.req.writer).SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	return body, nil
}

func (x *exchange) tooLarge(limit int64) error {
	return x.problem(payloadTooLarge, fmt.Sprintf("body: must be at most %d bytes", limit))
}

// readNoBody refuses a body where none is taken: it may hold what the client believes to count, such as a closure reason.
func (x *exchange) readNoBody() error {
	var err error
	switch {
	case x.http.ContentLength > 0:
		err = errTooLong
	case x.http.ContentLength < 0: // in chunks: it says its length by ending
		_, err = x.read(0)
	}
	if errors.Is(err, errTooLong) {
		return x.problem(invalidRequest, "body: must be empty, this call takes its inputs from the path and the query")
	}
	return err
}

func (x *exchange) checkContentType() error {
	refuse := func() error {
		return x.problem(unsupportedMediaType, "content-type: must be "+x.route.bodyMedia()+" in UTF-8, without a content-encoding")
	}
	if e := x.http.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return refuse()
	}
	given := x.http.Header.Values("Content-Type")
	if len(given) == 0 {
		return nil
	}
	media, params, err := mime.ParseMediaType(given[0])
	if err != nil || len(given) > 1 || media != x.route.bodyMedia() {
		return refuse()
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return refuse()
	}
	return nil
}

// checkJSON refuses what is not exactly one JSON object in which each name stands once. In a change, null is refused, too:
// it could mean "take it away", and there is nothing that can be taken away.
func (x *exchange) checkJSON(body []byte) error {
	if !utf8.Valid(body) {
		return x.problem(invalidRequest, "body: must be JSON in UTF-8, got bytes that are not UTF-8")
	}
	var parsed any
	if err := json.Unmarshal(body, &parsed); err != nil {
		return x.problem(invalidRequest, decodeDetail(err))
	}
	object, ok := parsed.(map[string]any)
	if !ok {
		return x.problem(invalidRequest, "body: must be a JSON object, got "+shown(parsed))
	}
	if x.http.Method != http.MethodPatch {
		return nil
	}
	var details details
	findNulls(&details, "", object)
	if len(details) > 0 {
		return x.problem(invalidRequest, details.String())
	}
	return nil
}

func findNulls(d *details, prefix string, object map[string]any) {
	for name, value := range object {
		switch value := value.(type) {
		case nil:
			d.add(prefix+shownName(name), "must not be null; leave it out to keep what is there")
		case map[string]any:
			findNulls(d, prefix+shownName(name)+".", value)
		}
	}
}

// decodeDetail says what is wrong with a JSON text, and where.
func decodeDetail(err error) string {
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		if errors.Is(syntactic.Err, jsontext.ErrDuplicateName) {
			return fieldOf(syntactic.JSONPointer) + ": must be in the object once, got it twice"
		}
		return fmt.Sprintf("body: must be one JSON object: %s at byte %d", cut(syntactic.Err.Error()), syntactic.ByteOffset)
	}
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		if errors.Is(semantic.Err, json.ErrUnknownName) {
			return fieldOf(semantic.JSONPointer) + ": is not a member of this body; names count in their very spelling"
		}
		return fieldOf(semantic.JSONPointer) + ": must be of another form, got " + domain.Quote(string(semantic.JSONValue))
	}
	return "body: must be one JSON object"
}

// fieldOf writes a JSON pointer as our details name fields: /users/0/id as users[0].id.
func fieldOf(pointer jsontext.Pointer) string {
	tokens := slices.Collect(pointer.Tokens())
	if len(tokens) == 0 {
		return "body"
	}
	field := ""
	for _, token := range tokens {
		switch {
		case token != "" && strings.Trim(token, "0123456789") == "":
			field += "[" + shownName(token) + "]"
		case field == "":
			field = shownName(token)
		default:
			field += "." + shownName(token)
		}
	}
	return cut(field)
}
