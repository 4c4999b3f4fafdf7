package eventstore

import (
	stdjson "encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// The log is written by this package, so nearly all that is read is in the one spelling that it writes. canonical reads that
// spelling, in one pass and without reflection. It takes only what the strict reader (commit.go) takes, with the same result;
// what it does not take, the strict reader reads, or refuses with a text that names the place. So nothing is ever refused here,
// and no rule is held here alone: the fuzz tests compare the two.

const (
	// canonicalDepth and canonicalNames bound the nesting of data and the members of one object: beyond them, the strict reader
	// does better.
	canonicalDepth = 16
	canonicalNames = 16
)

// canonical walks over a text. Its methods tell whether what is next is as they have it, and move behind it.
type canonical struct {
	text string
	at   int
}

// decodeCanonical reads a commit; ok is false for what the strict reader has to look at.
func decodeCanonical(body []byte) (c Commit, ok bool) {
	// One copy for all texts of the commit.
	r := canonical{text: string(body)}
	var at string
	ok = r.member(`{"id":`, &c.ID) && r.member(`,"aggregate":`, &c.Aggregate) && r.member(`,"aggregate_id":`, &c.AggregateID) &&
		r.member(`,"client_id":`, &c.ClientID) && r.number(`,"version":`, &c.Version) && r.member(`,"command":`, &c.Command) &&
		r.member(`,"command_id":`, &c.CommandID) && r.member(`,"actor":`, &c.Actor) && r.member(`,"request_id":`, &c.RequestID) &&
		r.member(`,"correlation_id":`, &c.CorrelationID) && r.member(`,"causation_id":`, &c.CausationID) && r.member(`,"time":`, &at) &&
		r.events(&c.Events) && r.member(`,"prev_hash":`, &c.PrevHash) && r.next("}") && r.at == len(r.text)
	if !ok {
		return Commit{}, false
	}
	var err error
	if c.Time, err = parseTime(at); err != nil || c.check() != nil {
		return Commit{}, false
	}
	return c, true
}

func (r *canonical) next(literal string) bool {
	if !strings.HasPrefix(r.text[r.at:], literal) {
		return false
	}
	r.at += len(literal)
	return true
}

// member is a name with a text.
func (r *canonical) member(name string, into *string) bool {
	if !r.next(name) {
		return false
	}
	begin := r.at + 1
	if !r.string() {
		return false
	}
	*into = r.text[begin : r.at-1]
	return true
}

// string is one without escapes.
func (r *canonical) string() bool {
	if r.at >= len(r.text) || r.text[r.at] != '"' {
		return false
	}
	ascii := true
	for i := r.at + 1; i < len(r.text); i++ {
		switch b := r.text[i]; {
		case b == '"':
			valid := ascii || utf8.ValidString(r.text[r.at+1:i])
			r.at = i + 1
			return valid
		case b < ' ' || b == '\\':
			return false
		case b >= utf8.RuneSelf:
			ascii = false
		}
	}
	return false
}

// number is a name with a positive integer of at most 18 digits.
func (r *canonical) number(name string, into *int) bool {
	if !r.next(name) {
		return false
	}
	n, begin := 0, r.at
	for r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9' {
		n = n*10 + int(r.text[r.at]-'0')
		if r.at++; r.at-begin > 18 {
			return false
		}
	}
	*into = n
	return r.at > begin && r.text[begin] != '0'
}

func (r *canonical) events(into *[]Event) bool {
	if !r.next(`,"events":[`) {
		return false
	}
	events := make([]Event, 0, 1) // most commits have one
	for {
		var e Event
		if !r.member(`{"type":`, &e.Type) || !r.number(`,"version":`, &e.Version) || !r.next(`,"data":`) {
			return false
		}
		begin := r.at
		if !r.object(1) {
			return false
		}
		e.Data = stdjson.RawMessage(r.text[begin:r.at])
		events = append(events, e)
		switch {
		case r.next("},"):
		case r.next("}]"):
			*into = events
			return true
		default:
			return false
		}
	}
}

// canonicalObject tells whether data is a JSON object in the spelling in which it is stored.
func canonicalObject(data []byte) bool {
	r := canonical{text: string(data)}
	return r.object(1) && r.at == len(r.text)
}

// object without white space, and with each name once.
func (r *canonical) object(depth int) bool {
	if depth > canonicalDepth || !r.next("{") {
		return false
	}
	if r.next("}") {
		return true
	}
	var names [canonicalNames]string
	for n := 0; n < len(names); n++ {
		begin := r.at
		if !r.string() {
			return false
		}
		names[n] = r.text[begin:r.at]
		for _, other := range names[:n] {
			if other == names[n] {
				return false
			}
		}
		if !r.next(":") || !r.value(depth) {
			return false
		}
		if !r.next(",") {
			return r.next("}")
		}
	}
	return false
}

func (r *canonical) array(depth int) bool {
	if depth > canonicalDepth || !r.next("[") {
		return false
	}
	if r.next("]") {
		return true
	}
	for r.value(depth) {
		if !r.next(",") {
			return r.next("]")
		}
	}
	return false
}

func (r *canonical) value(depth int) bool {
	if r.at >= len(r.text) {
		return false
	}
	switch r.text[r.at] {
	case '"':
		return r.string()
	case '{':
		return r.object(depth + 1)
	case '[':
		return r.array(depth + 1)
	case 't':
		return r.next("true")
	case 'f':
		return r.next("false")
	case 'n':
		return r.next("null")
	}
	return r.decimal()
}

// decimal is a number of JSON without an exponent.
func (r *canonical) decimal() bool {
	r.next("-")
	whole := r.at
	if r.digits() == 0 || r.text[whole] == '0' && r.at > whole+1 {
		return false
	}
	if r.next(".") && r.digits() == 0 {
		return false
	}
	// What goes on otherwise than with the end of a value is not taken by whoever asked.
	return true
}

func (r *canonical) digits() int {
	begin := r.at
	for r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9' {
		r.at++
	}
	return r.at - begin
}

// encodeCanonical writes a commit whose data is in the spelling of the log. It gives the bytes that marshalling it gives; the
// commit that is returned has its data there. ok is false when a text is not UTF-8.
func (c Commit) encodeCanonical() (_ Commit, body []byte, ok bool) {
	const names, ofEvent = 256, 40 // what stands around the values of a commit, with the version and the time; of an event
	size := names + len(c.ID) + len(c.Aggregate) + len(c.AggregateID) + len(c.ClientID) + len(c.Command) + len(c.CommandID) +
		len(c.Actor) + len(c.RequestID) + len(c.CorrelationID) + len(c.CausationID) + len(c.PrevHash)
	for _, e := range c.Events {
		size += len(e.Type) + len(e.Data) + ofEvent
	}
	w := canonicalWriter{out: make([]byte, 0, size)}
	w.member(`{"id":`, c.ID)
	w.member(`,"aggregate":`, c.Aggregate)
	w.member(`,"aggregate_id":`, c.AggregateID)
	w.member(`,"client_id":`, c.ClientID)
	w.number(`,"version":`, c.Version)
	w.member(`,"command":`, c.Command)
	w.member(`,"command_id":`, c.CommandID)
	w.member(`,"actor":`, c.Actor)
	w.member(`,"request_id":`, c.RequestID)
	w.member(`,"correlation_id":`, c.CorrelationID)
	w.member(`,"causation_id":`, c.CausationID)
	w.out = append(w.out, `,"time":"`...)
	w.out = c.Time.AppendFormat(w.out, time.RFC3339Nano)
	w.out = append(w.out, `","events":[`...)
	var room [4]int
	begins := room[:0] // of the data of each event
	for i, e := range c.Events {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.member(`{"type":`, e.Type)
		w.number(`,"version":`, e.Version)
		w.out = append(w.out, `,"data":`...)
		begins = append(begins, len(w.out))
		w.out = append(w.out, e.Data...)
		w.out = append(w.out, '}')
	}
	w.out = append(w.out, ']')
	w.member(`,"prev_hash":`, c.PrevHash)
	w.out = append(w.out, '}')
	// The data of the caller stays the caller's.
	events := slices.Clone(c.Events)
	for i, begin := range begins {
		end := begin + len(events[i].Data)
		events[i].Data = stdjson.RawMessage(w.out[begin:end:end])
	}
	c.Events = events
	return c, w.out, !w.failed
}

type canonicalWriter struct {
	out    []byte
	failed bool
}

func (w *canonicalWriter) member(name, value string) {
	w.out = append(w.out, name...)
	var err error
	if w.out, err = jsontext.AppendQuote(w.out, value); err != nil {
		w.failed = true
	}
}

func (w *canonicalWriter) number(name string, value int) {
	w.out = strconv.AppendInt(append(w.out, name...), int64(value), 10)
}

// parseTime reads a time of the log: RFC 3339 in UTC in its shortest form. time.Parse takes more than one spelling of the same
// instant; the log knows one.
func parseTime(s string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("time: %q is not RFC 3339", s)
	}
	var room [40]byte
	if string(at.UTC().AppendFormat(room[:0], time.RFC3339Nano)) != s {
		return time.Time{}, fmt.Errorf("time: %q is not in UTC in its shortest form", s)
	}
	return at.UTC(), nil
}
