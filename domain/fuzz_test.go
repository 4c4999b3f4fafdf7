package domain

import (
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzDecodeEvent: whatever stands in a log, reading it never falls over; and what was read is written back as it is, in the current
// version.
func FuzzDecodeEvent(f *testing.F) {
	files, err := filepath.Glob(goldenEvents + "/*.json")
	require.NoError(f, err)
	require.NotEmpty(f, files)
	for _, path := range files {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		g, err := parseGolden(filepath.Base(path))
		require.NoError(f, err)
		for version := range EventVersion(g.name) + 1 {
			f.Add(g.name, version+1, data)
		}
	}
	for _, data := range []string{"", "{}", "null", "[]", `{"revision":1e999}`, `{"revision":9223372036854775808}`, `{"revision":1.0}`, `{"users":null}`,
		`{"closed_at":"2026-01-02T10:00:00+01:00"}`, `{"closed_at":"10000-01-01T00:00:00Z"}`, "{\"isin\":\"\xff\"}", `{"item":{"id":null}}`, strings.Repeat("[", 20_000)} {
		for _, name := range EventTypes() {
			for version := range EventVersion(name) {
				f.Add(name, version+1, []byte(data))
			}
		}
	}
	f.Fuzz(func(t *testing.T, name string, version int, data []byte) {
		e, err := DecodeEvent(name, version, data)
		if err != nil {
			require.Nil(t, e)
			require.ErrorContains(t, err, name)
			return
		}
		require.Equal(t, name, EventType(kindOf(name), e))
		written, err := EncodeEvent(e)
		require.NoError(t, err, "an event that can be read, and not written")
		again, err := DecodeEvent(name, EventVersion(name), written)
		require.NoError(t, err)
		rewritten, err := EncodeEvent(again)
		require.NoError(t, err)
		require.Equal(t, string(written), string(rewritten))
		// Folding it over a resource that is there never falls over either.
		s := newStage(kindOf(name), firstAccount)
		s.agg.Apply(Meta{ClientID: someClient, CommandID: owner, Actor: "fuzz", Time: s.clock.tick()}, []Event{e, e})
		s.agg.Copy()
		s.closure()
	})
}

// FuzzDecimal compares the rule with another way to say it, and the value with that of math/big.
func FuzzDecimal(f *testing.F) {
	for _, b := range badDecimals {
		f.Add(string(b.value.(Decimal)))
	}
	for _, s := range []string{"", "0", "-0", "0.00", "-0.00", "12.50", "-12.50", "00.10", strings.Repeat("9", 38), "0." + strings.Repeat("0", 26) + "1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := Decimal(s)
		err := d.Validate()
		require.Equal(t, wellFormed(s), err == nil, "%q: %v", s, err)
		if err != nil {
			return
		}
		value, ok := new(big.Rat).SetString(s)
		require.True(t, ok, "%q", s)
		require.Equal(t, value.Sign() == 0, d.IsZero(), "%q", s)
		require.Equal(t, value.Sign() < 0, d.IsNegative(), "%q", s)
	})
}

// wellFormed walks the digits one by one.
func wellFormed(s string) bool {
	s = strings.TrimPrefix(s, "-")
	before, behind, point := 0, 0, false
	for i := range len(s) {
		switch {
		case s[i] == '.' && !point && i > 0:
			point = true
		case s[i] < '0' || s[i] > '9':
			return false
		case point:
			behind++
		default:
			before++
		}
	}
	return before > 0 && (!point || behind > 0) && behind <= 27 && before+behind <= 38
}
