package httpapi

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"closure/domain"
)

const (
	// maxDetails and maxText bound a detail: how many problems it names, and how long one may be in bytes.
	maxDetails = 10
	maxText    = 300

	exampleID   = "9b2d1f34-6c0e-4e0a-8a57-3f1d5c7e9a10"
	exampleTime = "2027-04-06T00:00:00Z"
)

// transform turns huma's own refusals of an input into ours. It works on this API alone: huma.NewError is a variable of
// the whole process, and stays as it is.
func (a *api) transform(ctx huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	x, ok := ctx.(*exchange)
	if !ok {
		return nil, fmt.Errorf("a refusal outside of a request: %s", e.Detail)
	}
	p := newProblem(x.req, invalidRequest, a.inputDetail(x.Operation(), e).String())
	if len(e.Errors) == 0 {
		a.logger.Error("an input was refused without a reason", "request_id", x.req.id, "status", e.Status, "detail", e.Detail)
		p = newProblem(x.req, internalError, internalDetail)
	}
	x.status = p.Status
	return p, nil
}

// inputDetail names every field that is wrong, once, and what would be right: by the schema of the field, which is the one
// that stands in the OpenAPI document.
func (a *api) inputDetail(op *huma.Operation, e *huma.ErrorModel) details {
	var d details
	seen := map[string]bool{}
	for _, one := range e.Errors {
		if one == nil || seen[one.Location] {
			continue
		}
		seen[one.Location] = true
		place, location, _ := strings.Cut(one.Location, ".")
		if place == "body" {
			a.bodyDetail(&d, op.RequestBody.Content[routeOf(op).bodyMedia()].Schema, location, one)
			continue
		}
		for _, p := range op.Parameters {
			if p.Name == location && p.In == place {
				d.add(location, "must be "+wanted(p.Schema)+", got "+shown(one.Value)+hint(one.Value))
			}
		}
	}
	return d
}

// hint tells of the one trap of a query: a + that is not written %2B arrives as a space, in the zone of a time for one.
func hint(v any) string {
	if s, ok := v.(string); ok && strings.Contains(s, " ") {
		return " (in a query, + is written %2B)"
	}
	return ""
}

func (a *api) bodyDetail(d *details, root *huma.Schema, location string, one *huma.ErrorDetail) {
	registry := a.huma.OpenAPI().Components.Schemas
	s, parent := schemaAt(registry, root, location)
	object, isObject := one.Value.(map[string]any)
	if _, decoding := one.Value.(string); decoding && location == "" {
		// The body fits the schema and yet not the type: the message is jsonFormat's own.
		field, text, _ := strings.Cut(one.Message, ": ")
		d.add(field, text)
		return
	}
	if s == nil {
		d.add(shownName(location), "is not a member here; there are "+strings.Join(members(parent), ", "))
		return
	}
	if s.Type != huma.TypeObject || !isObject {
		d.add(location, "must be "+wanted(s)+", got "+shown(one.Value))
		return
	}
	for _, name := range s.Required {
		if _, ok := object[name]; !ok {
			d.add(strings.TrimPrefix(location+"."+name, "."), "is missing; it must be "+wanted(resolve(registry, s.Properties[name])))
		}
	}
}

// schemaAt follows a location such as users[0].type. s is nil where the schema knows nothing; parent is the last object on
// the way.
func schemaAt(registry huma.Registry, root *huma.Schema, location string) (s, parent *huma.Schema) {
	s = resolve(registry, root)
	if location == "" {
		return s, s
	}
	for step := range strings.SplitSeq(location, ".") {
		name, index, isItem := strings.Cut(step, "[")
		parent = s
		if s = resolve(registry, s.Properties[name]); s == nil {
			return nil, parent
		}
		for ; isItem && s != nil; _, index, isItem = strings.Cut(index, "[") {
			s = resolve(registry, s.Items)
		}
		if s == nil {
			return nil, parent
		}
	}
	return s, parent
}

func resolve(registry huma.Registry, s *huma.Schema) *huma.Schema {
	for s != nil && s.Ref != "" {
		s = registry.SchemaFromRef(s.Ref)
	}
	return s
}

func members(s *huma.Schema) []string {
	var names []string
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// wanted says in words what fits the schema.
func wanted(s *huma.Schema) string {
	switch {
	case s == nil:
		return "of another form"
	case len(s.Enum) == 1:
		return fmt.Sprint(s.Enum[0])
	case len(s.Enum) > 0:
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = fmt.Sprint(v)
		}
		return "one of " + strings.Join(values, ", ")
	case s.Format == "uuid":
		return "a uuid such as " + exampleID
	case s.Format == "date-time":
		return "a time in RFC 3339 such as " + exampleTime
	case s.Format == "decimal":
		return `a decimal as a string, such as "12.50"`
	}
	switch s.Type {
	case huma.TypeBoolean:
		return "true or false"
	case huma.TypeInteger:
		return "an integer" + between(s.Minimum, s.Maximum, "")
	case huma.TypeString:
		return "a string" + between(s.MinLength, s.MaxLength, " characters")
	case huma.TypeArray:
		return "an array" + between(s.MinItems, s.MaxItems, " items")
	case huma.TypeObject:
		return "an object"
	}
	return "of another form"
}

func between[T int | float64](low, high *T, unit string) string {
	switch {
	case low != nil && high != nil:
		return " of " + number(float64(*low)) + " to " + number(float64(*high)) + unit
	case low != nil:
		return " of " + number(float64(*low)) + unit + " at least"
	case high != nil:
		return " of " + number(float64(*high)) + unit + " at most"
	}
	return ""
}

// number writes a number as people do: in digits, unless they would be very many.
func number(f float64) string {
	if math.Abs(f) < 1e15 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// shown shows a value of the client: short, and only when it is a simple one.
func shown(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return domain.Quote(v)
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return number(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case map[string]any:
		return "an object"
	}
	if value := reflect.ValueOf(v); value.Kind() == reflect.Slice {
		return fmt.Sprintf("an array of %d", value.Len())
	}
	return "another value"
}

// shownName shows a name of the client: as it is when it looks like a name, else quoted and cut.
func shownName(name string) string {
	const most = 60
	plain := func(r rune) bool {
		return r == '_' || r == '-' || r == '.' || r == '[' || r == ']' ||
			(r >= '0' && r <= '9') || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z')
	}
	if name != "" && len(name) <= most && strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) < 0 {
		return name
	}
	return domain.Quote(name)
}

// cut bounds a text in bytes, at a character.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	s = s[:maxText]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}

// details are all problems of one input, each "field: what would be right".
type details []string

func (d *details) add(field, text string) { *d = append(*d, cut(field+": "+text)) }

// String is one detail of bounded length, in an order that does not depend on chance.
func (d details) String() string {
	sorted := slices.Clone(d)
	slices.Sort(sorted)
	if more := len(sorted) - maxDetails; more > 0 {
		return strings.Join(sorted[:maxDetails], "; ") + fmt.Sprintf("; and %d more", more)
	}
	return strings.Join(sorted, "; ")
}
