package natsapi

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"closure/domain"
)

// members are the members of a JSON object, not decoded yet.
type members struct {
	names  []string // in the order of the body
	values map[string]jsontext.Value
}

// readMembers splits a body that is one JSON object. With an error it gives what came before the place that is wrong.
func readMembers(body []byte) (members, error) {
	m := members{values: map[string]jsontext.Value{}}
	if len(bytes.TrimSpace(body)) == 0 {
		return m, invalid("body", "must be a JSON object with command_id, client_id, actor and the fields of the command; it is empty")
	}
	// The decoder refuses repeated names and invalid UTF-8 by itself, at any depth.
	dec := jsontext.NewDecoder(bytes.NewBuffer(body))
	if kind := dec.PeekKind(); kind != '{' && kind != 0 {
		return m, invalid("body", "must be a JSON object, got %s", got(kind))
	}
	if _, err := dec.ReadToken(); err != nil {
		return m, brokenJSON(err)
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return m, brokenJSON(err)
		}
		key := name.String()
		value, err := dec.ReadValue()
		if err != nil {
			return m, brokenJSON(err)
		}
		m.names = append(m.names, key)
		m.values[key] = value.Clone()
	}
	if _, err := dec.ReadToken(); err != nil {
		return m, brokenJSON(err)
	}
	end := dec.InputOffset()
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return m, invalid("body", "must end with the JSON object; there is more behind byte %d", end)
	}
	return m, nil
}

// brokenJSON says where a body stops being JSON, or which member stands there twice.
func brokenJSON(err error) error {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		// The body ended in the middle: the decoder reads from memory and knows no other error.
		return invalid("body", "must be whole JSON; it ends too early")
	}
	if errors.Is(syntax.Err, jsontext.ErrDuplicateName) {
		return invalid("body", "must have each member once; it has %s twice", domain.Quote(syntax.JSONPointer.LastToken()))
	}
	if errors.Is(syntax.Err, io.ErrUnexpectedEOF) {
		return invalid("body", "must be whole JSON; it ends too early, at byte %d", syntax.ByteOffset)
	}
	// The decoder's own words would show what follows in the body.
	where := ""
	if syntax.JSONPointer != "" {
		where = " (" + domain.Quote(strings.TrimPrefix(place("", syntax.JSONPointer), ".")) + ")"
	}
	return invalid("body", "must be JSON in UTF-8, and is not from byte %d on%s", syntax.ByteOffset, where)
}

// id is the uuid in a member, in lower case; "" when there is none.
func (m members) id(name string) string {
	var s string
	if err := json.Unmarshal(m.values[name], &s); err != nil {
		return ""
	}
	id, err := domain.ParseID(s)
	if err != nil {
		return ""
	}
	return id
}

// field is one member that a target takes.
type field struct {
	name  string
	value reflect.Value
}

// fieldsOf lists what a struct takes from JSON, in its order. What the engine fills in itself (json:"-") is not there.
func fieldsOf(target any) []field {
	v := reflect.ValueOf(target).Elem()
	var out []field
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			out = append(out, field{name, v.Field(i)})
		}
	}
	return out
}

// decode puts every member where it belongs, in one of the targets (pointers to structs).
func (m members) decode(command string, targets ...any) error {
	var fields []field
	for _, t := range targets {
		fields = append(fields, fieldsOf(t)...)
	}
	if err := m.checkNames(command, fields); err != nil {
		return err
	}
	for _, f := range fields {
		if value, ok := m.values[f.name]; ok {
			if err := decodeMember(f, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// mostNamed bounds how many unknown members are named in one refusal.
const mostNamed = 5

// checkNames names what is there and may not be, and else what is missing.
func (m members) checkNames(command string, fields []field) error {
	known := map[string]bool{}
	var required, rest, missing []string
	for _, f := range fields {
		known[f.name] = true
		if optional(command, f.name) {
			rest = append(rest, f.name)
			continue
		}
		required = append(required, f.name)
		if _, ok := m.values[f.name]; !ok {
			missing = append(missing, f.name)
		}
	}
	var unknown []string
	for _, name := range m.names {
		if !known[name] && len(unknown) < mostNamed {
			unknown = append(unknown, domain.Quote(name))
		}
	}
	takes := command + " takes " + names(required) + "; optionally " + names(rest)
	if len(unknown) > 0 {
		return invalid(names(unknown), "not known; %s", takes)
	}
	if len(missing) > 0 {
		return invalid(names(missing), "missing; %s", takes)
	}
	return nil
}

// decodeMember decodes one value, and says what would be right when it is of the wrong type.
func decodeMember(f field, value jsontext.Value) error {
	err := json.Unmarshal(value, f.value.Addr().Interface(), json.RejectUnknownMembers(true))
	var semantic *json.SemanticError
	switch {
	case err == nil:
		return refuseNull(f, value)
	case !errors.As(err, &semantic):
		// The decoder has seen the value once, so its syntax is right; what is left is that it does not fit.
		return invalid(f.name, "must be %s", want(f.value.Type()))
	case errors.Is(semantic.Err, json.ErrUnknownName):
		return invalid(domain.Quote(place(f.name, semantic.JSONPointer)), "not known")
	}
	shown := got(semantic.JSONKind)
	if semantic.JSONKind == '0' && semantic.GoType.Kind() == reflect.Int64 {
		shown = short(string(semantic.JSONValue))
	}
	return invalid(place(f.name, semantic.JSONPointer), "must be %s, got %s", want(semantic.GoType), shown)
}

// refuseNull finds a null, which the decoder would take for the zero value.
func refuseNull(f field, value jsontext.Value) error {
	if !bytes.Contains(value, []byte("null")) {
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(value))
	for {
		token, err := dec.ReadToken()
		if err != nil {
			return nil // the end: the value was decoded before, so it is nothing else
		}
		if token.Kind() == 'n' {
			at := dec.StackPointer()
			if at == "" {
				return invalid(f.name, "must be %s, got null; leave out what there is none of", want(f.value.Type()))
			}
			return invalid(place(f.name, at), "must not be null")
		}
	}
}

// place writes where in a member something stands as people do: users[0].id.
func place(name string, pointer jsontext.Pointer) string {
	for token := range pointer.Tokens() {
		if _, err := strconv.Atoi(token); err == nil {
			name += "[" + token + "]"
		} else {
			name += "." + token
		}
	}
	return name
}

// want says what a Go type takes from JSON.
func want(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[domain.Decimal]():
		return `a decimal as a JSON string, such as "12.50"`
	case t.Kind() == reflect.String:
		return "a string"
	case t.Kind() == reflect.Int64:
		return "an integer in plain digits, such as 7, and below 2^63"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Slice:
		return "an array"
	}
	return "an object"
}

// got names what a JSON value is.
func got(kind jsontext.Kind) string {
	switch kind {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '[':
		return "an array"
	}
	return "an object"
}

// short cuts a number of a client for an answer.
func short(number string) string {
	const most = 40
	if len(number) > most {
		return number[:most] + "…"
	}
	return number
}
