package eventstore_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"closure/eventstore"
)

// -update writes golden files that do not exist. One that exists is a promise to
// readers of old logs, and is only ever replaced by hand.
var update = flag.Bool("update", false, "write golden files that are missing")

// goldenCommit uses every member, and what JSON encoders disagree on.
func goldenCommit() eventstore.Commit {
	return eventstore.Commit{
		ID:            "7d3f2c9a-54c2-4c55-9a53-0d2f5bb0c001",
		Aggregate:     "account_group",
		AggregateID:   "7d3f2c9a-54c2-4c55-9a53-0d2f5bb0c002",
		ClientID:      "7d3f2c9a-54c2-4c55-9a53-0d2f5bb0c003",
		Version:       3,
		Command:       "record_cash_balance",
		CommandID:     "7d3f2c9a-54c2-4c55-9a53-0d2f5bb0c004",
		Actor:         "Zoë <ops & \"audit\"> 株\u2028\t",
		RequestID:     "7d3f2c9a-54c2-4c55-9a53-0d2f5bb0c005",
		CorrelationID: "7d3f2c9a-54c2-4c55-9a53-0d2f5bb0c006",
		CausationID:   "",
		Time:          time.Date(2026, 4, 6, 1, 2, 3, 120000009, time.FixedZone("BST", 3600)),
		Events: []eventstore.Event{
			{Type: "account_group.cash_balance_recorded", Version: 2, Data: json.RawMessage(" { \"z\" : \"1.50\",\n\t\"a\" : [ 1e2, 0.10, null ], \"html\" : \"<&>\" } ")},
			{Type: "account_group.closed", Version: 1, Data: json.RawMessage(`{}`)},
		},
		PrevHash: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	}
}

func TestCommitGolden(t *testing.T) {
	path := filepath.Join("testdata", "commit.golden.json")
	body, err := goldenCommit().Encode()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(path)
	if os.IsNotExist(err) && *update {
		if err := os.WriteFile(path, body, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Fatalf("%s was written; look at it, and run again without -update", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(body, want) {
		t.Fatalf("the wire format has changed:\n got %s\nwant %s", body, want)
	}
	// The hash is part of the format: old logs carry it.
	const hash = "88da5096cedde88fdb0255b8842d9557259e5b12d8ff8e454c2c390bf1057fab"
	if got := eventstore.HashOf(want); got != hash {
		t.Fatalf("hash %s, want %s", got, hash)
	}
	c, err := eventstore.DecodeCommit(want)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Encode()
	if err != nil || !bytes.Equal(again, want) {
		t.Fatalf("decoded and encoded: %s, %v", again, err)
	}
	if c.Time.Location() != time.UTC || !c.Time.Equal(goldenCommit().Time) {
		t.Fatalf("time %s, want %s in UTC", c.Time, goldenCommit().Time)
	}
}

// edit makes a commit of the golden one by replacing a piece of it.
func edit(t *testing.T, old, with string) []byte {
	t.Helper()
	body, err := goldenCommit().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(body, []byte(old)); n == 0 {
		t.Fatalf("%q is not in the golden commit", old)
	}
	return bytes.Replace(body, []byte(old), []byte(with), 1)
}

func TestDecodeCommitIsStrict(t *testing.T) {
	for name, c := range map[string]struct {
		body  []byte
		names string // what the error has to name
	}{
		"empty":                     {nil, ""},
		"not JSON":                  {[]byte("commit"), ""},
		"not an object":             {[]byte(`[]`), "type"},
		"null":                      {[]byte(`null`), "missing"},
		"cut off":                   {edit(t, `"}`, ``)[:200], ""},
		"bytes after it":            {append(edit(t, "{", "{"), " {}"...), "after"},
		"unknown member":            {edit(t, `{"id"`, `{"idd":1,"id"`), "/idd"},
		"unknown in an event":       {edit(t, `"data":{}`, `"data":{},"meta":{}`), "/events/1/meta"},
		"other case":                {edit(t, `"actor"`, `"Actor"`), "/Actor"},
		"member twice":              {edit(t, `"version":3,`, `"version":3,"version":4,`), "/version"},
		"twice within data":         {edit(t, `"data":{}`, `"data":{"a":1,"a":2}`), "/events/1/data/a"},
		"missing id":                {edit(t, `"id":"7d3f2c9a-54c2-4c55-9a53-0d2f5bb0c001",`, ``), "id"},
		"missing prev_hash":         {edit(t, `,"prev_hash":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`, ``), "prev_hash"},
		"missing causation":         {edit(t, `"causation_id":"",`, ``), "causation_id"},
		"missing event type":        {edit(t, `"type":"account_group.closed",`, ``), "events[1].type"},
		"missing event data":        {edit(t, `,"data":{}`, ``), "events[1].data"},
		"null actor":                {edit(t, `"actor":"Zo`, `"actor":null,"x":"`), ""},
		"null request_id":           {edit(t, `"request_id":"7d3f2c9a-54c2-4c55-9a53-0d2f5bb0c005"`, `"request_id":null`), "request_id"},
		"version as text":           {edit(t, `"version":3`, `"version":"3"`), "/version"},
		"version a fraction":        {edit(t, `"version":3`, `"version":3.5`), "/version"},
		"version too large":         {edit(t, `"version":3`, `"version":99999999999999999999`), "/version"},
		"version zero":              {edit(t, `"version":3`, `"version":0`), "version"},
		"version negative":          {edit(t, `"version":3`, `"version":-3`), "version"},
		"event version zero":        {edit(t, `"version":2`, `"version":0`), "events[0].version"},
		"events an object":          {edit(t, `"events":[`, `"events":{},"x":[`), "/events"},
		"events empty":              {edit(t, bodyEvents, `"events":[]`), "events"},
		"data an array":             {edit(t, `"data":{}`, `"data":[]`), "events[1].data"},
		"data null":                 {edit(t, `"data":{}`, `"data":null`), "events[1].data"},
		"id empty":                  {edit(t, `0d2f5bb0c001"`, `0d2f5bb0c001","x":"`), ""},
		"id a number":               {edit(t, `"id":"7d3f2c9a-54c2-4c55-9a53-0d2f5bb0c001"`, `"id":7`), "/id"},
		"id is empty":               {edit(t, `"id":"7d3f2c9a-54c2-4c55-9a53-0d2f5bb0c001"`, `"id":""`), "id"},
		"no aggregate":              {edit(t, `"aggregate":"account_group"`, `"aggregate":""`), "aggregate"},
		"aggregate_id a.b":          {edit(t, `"aggregate_id":"7d3f`, `"aggregate_id":"7d.3f`), "aggregate_id"},
		"bad UTF-8":                 {edit(t, "Zoë", "Zo\xff"), "UTF-8"},
		"bad UTF-8 in data":         {edit(t, `"html":"<`, "\"html\":\"\xff"), "UTF-8"},
		"time with an offset":       {edit(t, `"2026-04-06T00:02:03.120000009Z"`, `"2026-04-06T01:02:03.120000009+01:00"`), "time"},
		"time with zeros":           {edit(t, `.120000009Z`, `.120000000Z`), "time"},
		"time not a time":           {edit(t, `2026-04-06T`, `2026-04-31T`), "time"},
		"prev_hash short":           {edit(t, `"e3b0c4`, `"e3b0c`), "prev_hash"},
		"prev_hash upper":           {edit(t, `"e3b0c4`, `"E3B0C4`), "prev_hash"},
		"prev_hash on the first":    {edit(t, `"version":3`, `"version":1`), "prev_hash"},
		"no prev_hash on the third": {edit(t, `"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`, `""`), "prev_hash"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := eventstore.DecodeCommit(c.body)
			mustBe(t, err, eventstore.ErrMalformedCommit)
			if !strings.Contains(err.Error(), c.names) {
				t.Fatalf("%q does not name %q", err, c.names)
			}
		})
	}
}

// bodyEvents is the member events of the golden commit.
const bodyEvents = `"events":[{"type":"account_group.cash_balance_recorded","version":2,"data":{"z":"1.50","a":[1e2,0.10,null],"html":"<&>"}},` +
	`{"type":"account_group.closed","version":1,"data":{}}]`

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	for name, change := range map[string]func(*eventstore.Commit){
		"id":                func(c *eventstore.Commit) { c.ID = "" },
		"aggregate":         func(c *eventstore.Commit) { c.Aggregate = "a.b" },
		"aggregate_id":      func(c *eventstore.Commit) { c.AggregateID = "a b" },
		"version":           func(c *eventstore.Commit) { c.Version = 0 },
		"time":              func(c *eventstore.Commit) { c.Time = time.Time{} },
		"years":             func(c *eventstore.Commit) { c.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"UTF-8":             func(c *eventstore.Commit) { c.Actor = "\xff" },
		"events":            func(c *eventstore.Commit) { c.Events = nil },
		"events[1].data":    func(c *eventstore.Commit) { c.Events[1].Data = nil },
		"events[0].data":    func(c *eventstore.Commit) { c.Events[0].Data = json.RawMessage(`{"a":1,"a":2}`) },
		"data":              func(c *eventstore.Commit) { c.Events[0].Data = json.RawMessage(`{"a":"` + "\xff" + `"}`) },
		"events[1]":         func(c *eventstore.Commit) { c.Events[1].Data = json.RawMessage(`{} {}`) },
		"not a JSON object": func(c *eventstore.Commit) { c.Events[1].Data = json.RawMessage(`1`) },
		"events[1].type":    func(c *eventstore.Commit) { c.Events[1].Type = "" },
		"events[1].version": func(c *eventstore.Commit) { c.Events[1].Version = 0 },
		"prev_hash":         func(c *eventstore.Commit) { c.PrevHash = "abc" },
		"on version 1":      func(c *eventstore.Commit) { c.Version = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := goldenCommit()
			change(&c)
			_, err := c.Encode()
			mustBe(t, err, eventstore.ErrMalformedCommit)
			if !strings.Contains(err.Error(), name) {
				t.Fatalf("%q does not name %q", err, name)
			}
		})
	}
}

// Encoding leaves the caller's commit as it is, and gives the same each time.
func TestEncodeChangesNothing(t *testing.T) {
	c := goldenCommit()
	first, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if string(c.Events[0].Data) != string(goldenCommit().Events[0].Data) {
		t.Fatalf("the caller's data is %s now", c.Events[0].Data)
	}
	second, err := c.Encode()
	if err != nil || !bytes.Equal(first, second) {
		t.Fatalf("%s, then %s, %v", first, second, err)
	}
	c.Version = math.MaxInt
	if _, err := c.Encode(); err != nil {
		t.Fatal(err)
	}
}

// What Append returns is what is loaded, also of data that was escaped more than it has to be.
func TestEscapesAreStoredInOneSpelling(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	c := commitOf("account", "a")
	c.Events[0].Data = json.RawMessage(`{"name":"Smith \u0026 Co, Z\u00fcrich \/ \u003cCH\u003e"}`)
	rec, err := l.Append(testContext(t), c, eventstore.Head{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := l.Load(testContext(t), "account", "a", 0)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d commits, %v", len(all), err)
	}
	const want = `{"name":"Smith & Co, Zürich / <CH>"}`
	if got := string(rec.Events[0].Data); got != want || string(all[0].Events[0].Data) != want {
		t.Fatalf("appended %s, loaded %s, want %s", got, all[0].Events[0].Data, want)
	}
}
