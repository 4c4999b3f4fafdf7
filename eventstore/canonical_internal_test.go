package eventstore

import (
	"bytes"
	stdjson "encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"closure/eventstore/embedded/embeddedtest"
)

// FuzzCanonical: what the quick reader takes, the strict one takes, with the same result.
func FuzzCanonical(f *testing.F) {
	for range 20 {
		body, err := anyCommit().Example(rand.Int()).Encode()
		require.NoError(f, err)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		given := bytes.Clone(body)
		quick, ok := decodeCanonical(body)
		require.Equal(t, given, body)
		if !ok {
			require.Zero(t, quick)
			return
		}
		strict, err := decodeStrictly(body)
		require.NoError(t, err, "the strict reader refuses %q", body)
		require.Equal(t, strict, quick)
		written, err := quick.Encode()
		require.NoError(t, err)
		require.Equal(t, string(body), string(written), "there is one canonical spelling")
	})
}

// TestCanonicalReadsWhatIsWritten: the quick reader takes what this package writes of ordinary commits, and with one byte changed,
// left out or added it never takes what the strict one would not.
func TestCanonicalReadsWhatIsWritten(t *testing.T) {
	taken, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		body, err := anyCommit().Draw(t, "commit").Encode()
		require.NoError(t, err)
		strict, err := decodeStrictly(body)
		require.NoError(t, err)
		if quick, ok := decodeCanonical(body); ok {
			require.Equal(t, strict, quick)
			taken++
		}
		for _, other := range neighbours(t, body) {
			quick, ok := decodeCanonical(other)
			if !ok {
				refused++
				continue
			}
			strict, err := decodeStrictly(other)
			require.NoError(t, err, "the strict reader refuses %q", other)
			require.Equal(t, strict, quick)
		}
	})
	require.NotZero(t, taken)
	require.NotZero(t, refused)
}

// TestCanonicalTakesOrdinaryCommits: without it, all would still be right, and slow.
func TestCanonicalTakesOrdinaryCommits(t *testing.T) {
	const id = "9b2d1f34-6c0e-4e0a-8a57-3f1d5c7e9a10"
	body, err := Commit{
		ID: id, Aggregate: "account", AggregateID: id, ClientID: id, Version: 12, Command: "record_position", CommandID: id, Actor: "Zoë & Söhne",
		Time: time.Unix(1_800_000_000, 123), PrevHash: HashOf(nil), Events: []Event{
			{Type: "account.position_recorded", Version: 1, Data: stdjson.RawMessage(`{"isin":"US0378331005","quantity":"-1.50","revision":7}`)},
			{Type: "account.closed", Version: 1, Data: stdjson.RawMessage(`{}`)},
		},
	}.Encode()
	require.NoError(t, err)
	_, ok := decodeCanonical(body)
	require.True(t, ok)
}

// neighbours are bodies that differ in a place.
func neighbours(t *rapid.T, body []byte) [][]byte {
	at := rapid.IntRange(0, len(body)-1).Draw(t, "at")
	b := rapid.SampledFrom([]byte("\"\\{}[],:0-19.eE+ \n\x00\xff\xc3tn")).Draw(t, "byte")
	changed := bytes.Clone(body)
	changed[at] = b
	added := append(append(bytes.Clone(body[:at]), b), body[at:]...)
	left := append(bytes.Clone(body[:at]), body[at+1:]...)
	twice := append(append(bytes.Clone(body[:at]), body[max(0, at-12):at]...), body[at:]...)
	return [][]byte{changed, added, left, twice, body[:at], append(bytes.Clone(body), b)}
}

// TestEncodeIsMarshal: what is written without reflection is, byte by byte, what marshalling the stored shape gives.
func TestEncodeIsMarshal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyCommit().Draw(t, "commit")
		given := cloned(c)
		stored, body, err := c.encode()
		require.NoError(t, err)
		require.Equal(t, given, c, "the caller's commit was changed")
		normal, err := given.normalise()
		require.NoError(t, err)
		want, err := normal.marshal()
		require.NoError(t, err)
		require.Equal(t, string(want), string(body))
		again, err := decodeStrictly(body)
		require.NoError(t, err)
		require.True(t, reflect.DeepEqual(again, stored), "stored\n%+v, decoded\n%+v", stored, again)
	})
}

// TestEncodeRefusesBadUTF8 in every text.
func TestEncodeRefusesBadUTF8(t *testing.T) {
	texts := reflect.TypeFor[Commit]()
	for i := range texts.NumField() {
		if texts.Field(i).Type.Kind() != reflect.String || texts.Field(i).Name == "PrevHash" {
			continue
		}
		c := anyCommit().Example(1)
		reflect.ValueOf(&c).Elem().Field(i).SetString("a\xff")
		_, err := c.Encode()
		require.ErrorIs(t, err, ErrMalformedCommit, texts.Field(i).Name)
		require.ErrorContains(t, err, "UTF-8", texts.Field(i).Name)
	}
	c := anyCommit().Example(1)
	c.Events[0].Type = "a\xff"
	_, err := c.Encode()
	require.ErrorIs(t, err, ErrMalformedCommit)
	require.ErrorContains(t, err, "UTF-8")
}

func cloned(c Commit) Commit {
	events := make([]Event, len(c.Events))
	for i, e := range c.Events {
		e.Data = bytes.Clone(e.Data)
		events[i] = e
	}
	c.Events = events
	return c
}

// anyCommit is one that can be written.
func anyCommit() *rapid.Generator[Commit] {
	return rapid.Custom(func(t *rapid.T) Commit {
		text := rapid.SampledFrom([]string{"", "custody", "9b2d1f34-6c0e-4e0a-8a57-3f1d5c7e9a10", "Zoë & Söhne, 株\u2028\x7f"})
		value := plainValue
		if rapid.Bool().Draw(t, "odd") {
			text, value = rapid.OneOf(text, rapid.Just("<ops & \"audit\">\t\x00"), rapid.String()), rapid.OneOf(plainValue, oddValue)
		}
		token := rapid.SampledFrom([]string{"account", "9b2d1f34-6c0e-4e0a-8a57-3f1d5c7e9a10", "株", "a\"b\\"})
		c := Commit{
			ID: "x" + text.Draw(t, "id"), Aggregate: token.Draw(t, "aggregate"), AggregateID: token.Draw(t, "aggregate id"),
			ClientID: text.Draw(t, "client"), Version: rapid.IntRange(1, 1<<62).Draw(t, "version"), Command: text.Draw(t, "command"),
			CommandID: text.Draw(t, "command id"), Actor: text.Draw(t, "actor"), RequestID: text.Draw(t, "request"),
			CorrelationID: text.Draw(t, "correlation"), CausationID: text.Draw(t, "causation"),
			Time: time.Unix(rapid.Int64Range(-60_000_000_000, 250_000_000_000).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")),
		}
		if c.Version > 1 {
			c.PrevHash = HashOf([]byte(c.ID))
		}
		for range rapid.IntRange(1, 6).Draw(t, "events") {
			c.Events = append(c.Events, Event{Type: "t" + text.Draw(t, "type"), Version: rapid.IntRange(1, 12).Draw(t, "event version"), Data: anyData(t, value)})
		}
		return c
	})
}

// Values in the spelling of the log, and others.
var (
	plainValue = rapid.SampledFrom([]string{
		`"1.50"`, `""`, `"é"`, `0`, `-0`, `12`, `-1.50`, `12345678901234567890`, `null`, `true`, `false`, `[]`, `[1,"a",{}]`, `{}`, `{"a":{"b":[0]}}`,
	})
	oddValue = rapid.SampledFrom([]string{
		`"\u0026 \/"`, `1e2`, `1E+2`, ` [ 1 , 2 ] `, "{\n}", strings.Repeat(`{"d":`, 20) + `1` + strings.Repeat(`}`, 20), `{"\u0041":"\ud83d\ude00"}`,
	})
)

// anyData is an object of such values.
func anyData(t *rapid.T, value *rapid.Generator[string]) stdjson.RawMessage {
	out := "{"
	for i := range rapid.IntRange(0, canonicalNames+2).Draw(t, "members") {
		if i > 0 {
			out += ","
		}
		out += `"m` + string(rune('a'+i)) + `":` + value.Draw(t, "value")
	}
	return stdjson.RawMessage(out + "}")
}

// TestAcks: the quick reading of an answer is that of the whole document.
func TestAcks(t *testing.T) {
	for data, want := range map[string]ack{

		`{"stream":"CLOSURE_LOG","seq":18446744073709551615}`: {sequence: 1<<64 - 1},

		`{"stream":"CLOSURE_LOG","seq":12,"duplicate": true}`:        {sequence: 12, duplicate: true},
		`{"stream":"CLOSURE_LOG","seq":12, "domain":"hub"}`:          {sequence: 12},
		`{"stream":"CLOSURE_LOG","seq":0}`:                           {},
		`{"type":"x","stream":"CLOSURE_LOG","seq":7,"batch":"more"}`: {sequence: 7},
	} {
		got, err := readAck([]byte(data))
		require.NoError(t, err, data)
		require.Equal(t, want, got, data)
	}
	for _, data := range []string{``, `{}`, `+OK`, `{"stream":"","seq":1}`, `{"stream":"CLOSURE_LOG","seq":-1}`, `{"stream":"CLOSURE_LOG","seq":12`, `{"stream":"CLOSURE_LOG","seq":1.5}`} {
		_, err := readAck([]byte(data))
		require.ErrorIs(t, err, jetstream.ErrInvalidJSAck, data)
	}
	_, err := readAck([]byte(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence"},"stream":"CLOSURE_LOG","seq":0}`))
	var api *jetstream.APIError
	require.ErrorAs(t, err, &api)
	require.Equal(t, jetstream.JSErrCodeStreamWrongLastSequence, api.ErrorCode)
}

// TestServersAcksAreRead without encoding/json: a server that words them otherwise is understood, but slower.
func TestServersAcksAreRead(t *testing.T) {
	nc := embeddedtest.Connect(t, embeddedtest.Server(t))
	log, err := Open(t.Context(), nc, Config{})
	require.NoError(t, err)
	answer, err := log.nc.RequestMsgWithContext(t.Context(), newPublication(Recorded{Commit: Commit{ID: "c", Aggregate: "a", AggregateID: "b"}}, []byte("{}"), Head{}).message())
	require.NoError(t, err)
	seq, ok := plainAck(string(answer.Data))
	require.True(t, ok, "%s", answer.Data)
	require.EqualValues(t, 1, seq)
}
