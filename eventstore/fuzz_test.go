package eventstore_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"closure/eventstore"
)

// leastCommit is the shortest body that decodes.
const leastCommit = `{"id":"c","aggregate":"a","aggregate_id":"b","client_id":"","version":1,"command":"","command_id":"","actor":"",` +
	`"request_id":"","correlation_id":"","causation_id":"","time":"2026-01-01T00:00:00Z","events":[{"type":"t","version":1,"data":{}}],"prev_hash":""}`

// bodySeeds are where the fuzzer begins: what decodes, in all the spellings that JSON has for it, and one of each kind of what
// does not.
func bodySeeds(f *testing.F) [][]byte {
	f.Helper()
	golden, err := os.ReadFile(filepath.Join("testdata", "commit.golden.json"))
	if err != nil {
		f.Fatal(err)
	}
	seeds := [][]byte{golden, golden[:len(golden)/2], golden[1:], append(bytes.Clone(golden), ' ', '{', '}')}
	for _, s := range []string{"", " ", "commit", `[]`, `{}`, `null`, `true`, `0`, `"c"`, "{\"id\":\"\xff\"}", `{"events":[null,{"data":{}}]}`, "\ufeff" + leastCommit} {
		seeds = append(seeds, []byte(s))
	}
	seeds = append(seeds, []byte(leastCommit), []byte(" \n"+leastCommit+"\r\n\t"))
	for _, edit := range [][2]string{
		// These decode: other spellings, members in another order, numbers that no float64 holds, whatever is within data.
		{`"actor":""`, `"actor":"\u0041\/\b\u0008\u003c\ud83d\ude00"`},
		{`"data":{}`, "\"data\" :\t{ \"a\" : [ 1E2, -0, 0.10, 1e400, 12345678901234567890, \"\\u0041\\/\" ], \"\\u0062\" : null }"},
		{`"data":{}`, `"data":` + strings.Repeat(`{"a":`, 100) + `[]` + strings.Repeat(`}`, 100)},
		{`"id":"c","aggregate":"a"`, `"aggregate":"a","id":"c"`},
		{`"time":"2026-01-01T00:00:00Z"`, `"time":"9999-12-31T23:59:59.999999999Z"`},
		{`"version":1,"command"`, `"version":9223372036854775807,"command"`},
		{`"aggregate_id":"b"`, `"aggregate_id":"株"`},
		// These do not.
		{`"actor":""`, `"actor":"\ud800"`},
		{`"actor":""`, "\"actor\":\"\xed\xa0\x80\""},
		{`"actor":""`, "\"actor\":\"\x00\""},
		{`"actor":""`, `"actor":null`},
		{`"actor":"",`, ``},
		{`"actor":""`, `"Actor":""`},
		{`"actor":""`, `"actor":"","\u0061ctor":""`},
		{`"actor":""`, `"actor":"","more":{}`},
		{`"version":1,"command"`, `"version":1.0,"command"`},
		{`"version":1,"command"`, `"version":1e0,"command"`},
		{`"version":1,"command"`, `"version":-0,"command"`},
		{`"version":1,"command"`, `"version":9223372036854775808,"command"`},
		{`"version":1,"command"`, `"version":2,"command"`},
		{`"prev_hash":""`, `"prev_hash":"` + strings.Repeat("0", 64) + `"`},
		{`"aggregate_id":"b"`, `"aggregate_id":"b.c"`},
		{`"aggregate_id":"b"`, `"aggregate_id":">"`},
		{`"time":"2026-01-01T00:00:00Z"`, `"time":"2026-01-01T00:00:00+00:00"`},
		{`"time":"2026-01-01T00:00:00Z"`, `"time":"2026-01-01T24:00:00Z"`},
		{`"time":"2026-01-01T00:00:00Z"`, `"time":"0000-01-01T00:00:00Z"`},
		{`"time":"2026-01-01T00:00:00Z"`, `"time":"2026-01-01T00:00:00,5Z"`},
		{`[{"type":"t","version":1,"data":{}}]`, `[]`},
		{`[{"type":"t","version":1,"data":{}}]`, `[null]`},
		{`"data":{}`, `"data":[]`},
		{`"data":{}`, `"data":{"a":1,"\u0061":2}`},
		{`"data":{}`, "\"data\":{\"a\":\"\xff\"}"},
		{`"type":"t"`, `"type":""`},
	} {
		body := strings.Replace(leastCommit, edit[0], edit[1], 1)
		if body == leastCommit {
			f.Fatalf("%s is not in the least commit", edit[0])
		}
		seeds = append(seeds, []byte(body))
	}
	return seeds
}

// Whatever the bytes are, they give a commit or ErrMalformedCommit. A commit encodes to the same JSON value, nothing lost and
// nothing added, which decodes to the same commit, and is written the same from then on.
//
// The bytes themselves MAY differ from those that were decoded: JSON knows many spellings (white space, escapes, the order of
// members), and the log has one. Package verify finds what stands in the log in any other.
//
// Run it with -fuzzminimizetime 10x: by default, an input that reaches new code is made smaller for up to a minute each.
func FuzzDecodeCommit(f *testing.F) {
	for _, body := range bodySeeds(f) {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		given := bytes.Clone(body)
		c, err := eventstore.DecodeCommit(body)
		if !bytes.Equal(given, body) {
			t.Fatalf("the body was changed to %q", body)
		}
		if err != nil {
			mustBe(t, err, eventstore.ErrMalformedCommit)
			if !reflect.ValueOf(c).IsZero() {
				t.Fatalf("refused (%v), and yet there is a commit: %+v", err, c)
			}
			return
		}
		first, err := c.Encode()
		if err != nil {
			t.Fatalf("decoded, but not encoded: %v", err)
		}
		mustBeSameJSON(t, body, first)
		again, err := eventstore.DecodeCommit(first)
		if err != nil {
			t.Fatalf("encoded, but not decoded: %v\n%s", err, first)
		}
		if want := asWritten(t, c); !reflect.DeepEqual(again, want) {
			t.Fatalf("decoded\n%+v, then\n%+v", want, again)
		}
		second, err := again.Encode()
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("encoded %s, then %s, %v", first, second, err)
		}
	})
}

// asWritten is the commit with the data of its events in the one spelling of the log: no white space, no needless escapes.
func asWritten(t *testing.T, c eventstore.Commit) eventstore.Commit {
	t.Helper()
	events := make([]eventstore.Event, len(c.Events))
	for i, e := range c.Events {
		data := jsontext.Value(bytes.Clone(e.Data))
		if err := data.Format(); err != nil {
			t.Fatalf("events[%d].data: %v", i, err)
		}
		e.Data = json.RawMessage(data)
		events[i] = e
	}
	c.Events = events
	return c
}

// mustBeSameJSON reads both with another decoder than the log's, numbers digit by digit.
func mustBeSameJSON(t *testing.T, a, b []byte) {
	t.Helper()
	var values [2]any
	for i, body := range [][]byte{a, b} {
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&values[i]); err != nil {
			t.Fatalf("decoded, but it is no JSON: %v\n%s", err, body)
		}
	}
	if !reflect.DeepEqual(values[0], values[1]) {
		t.Fatalf("decoded %s\nencoded %s", a, b)
	}
}
