package signing_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/projections/webhooks/signing"
)

func TestANewSecret(t *testing.T) {
	s := signing.NewSecret()
	require.Regexp(t, `^whsec_[A-Za-z0-9+/]{43}=$`, s.Reveal(), "whsec_ and base64 of 32 bytes")
	require.NotEqual(t, s.Reveal(), signing.NewSecret().Reveal())
	parsed, err := signing.ParseSecret(s.Reveal())
	require.NoError(t, err)
	require.Equal(t, s.Reveal(), parsed.Reveal())
	require.False(t, s.IsZero())
	require.True(t, signing.Secret{}.IsZero())
	require.Empty(t, signing.Secret{}.Reveal())
}

func TestParseSecret(t *testing.T) {
	of := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xAB}, n)) }
	for _, n := range []int{24, 32, 64} {
		s, err := signing.ParseSecret(of(n))
		require.NoError(t, err)
		require.Equal(t, of(n), s.Reveal())
	}
	for text, want := range map[string]string{
		"":                                       "begin with whsec_",
		of(32)[len("whsec_"):]:                   "begin with whsec_",
		"whsk_" + of(32)[len("whsec_"):]:         "begin with whsec_",
		"whsec_":                                 "has 0 bytes, and has to have 24 to 64",
		of(23):                                   "has 23 bytes, and has to have 24 to 64",
		of(65):                                   "has 65 bytes, and has to have 24 to 64",
		strings.TrimRight(of(32), "="):           "base64, with padding",
		of(32) + "\n":                            "without line breaks",
		of(24)[:10] + "\r\n" + of(24)[10:]:       "without line breaks",
		"whsec_%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%": "base64",
		strings.Replace(of(32), "q6s=", "q6t=", 1): "base64", // bits that belong to no byte
	} {
		_, err := signing.ParseSecret(text)
		require.ErrorContains(t, err, want, "%q", text)
		if len(text) > len("whsec_") {
			require.NotContains(t, err.Error(), strings.TrimPrefix(text, "whsec_"), "the error may be logged")
		}
	}
}

// TestASecretIsNotPrinted prints and logs secrets in all ways that may happen by accident.
func TestASecretIsNotPrinted(t *testing.T) {
	s := signing.NewSecret()
	both := signing.Secrets{Current: s}.Rotate(time.Now(), time.Hour)
	type exported struct {
		Secret  signing.Secret
		Secrets signing.Secrets
		Pointer *signing.Secrets
	}
	type hidden struct {
		secret  signing.Secret
		secrets signing.Secrets
	}
	values := []any{s, &s, both, &both, exported{s, both, &both}, &exported{s, both, &both}, hidden{s, both}, &hidden{s, both},
		[]signing.Secret{s}, map[string]signing.Secret{"secret": s}}
	var out strings.Builder
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%p", "%c"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "value", v)
	}
	asJSON := slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range []any{s, &s, both, &both, struct{ Secret signing.Secret }{s}, []signing.Secret{s}} {
		asJSON.Info("json", "value", v)
	}
	for _, v := range []any{s, &s, struct{ Secret signing.Secret }{s}, map[string]signing.Secret{"a": s}} {
		written, err := json.Marshal(v)
		require.NoError(t, err)
		out.Write(written)
	}
	_, err := signing.ParseSecret(s.String())
	out.WriteString(err.Error())

	for _, secret := range both.Valid(time.Now()) {
		encoded := strings.TrimPrefix(secret.Reveal(), "whsec_")
		key, err := base64.StdEncoding.DecodeString(encoded)
		require.NoError(t, err)
		decimals := strings.Trim(fmt.Sprint(key[:8]), "[]")
		for _, form := range []string{encoded[:12], string(key[:8]), hex.EncodeToString(key[:6]), strings.ToUpper(hex.EncodeToString(key[:6])), decimals} {
			require.NotContains(t, out.String(), form)
		}
	}
	require.Contains(t, out.String(), "whsec_***", "it shows that there is one")
}

func TestSecretsRotateWithAnOverlap(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var none signing.Secrets
	require.Empty(t, none.Valid(now))

	first := none.Rotate(now, time.Hour)
	require.Equal(t, []signing.Secret{first.Current}, first.Valid(now), "there was none to overlap with")
	require.True(t, first.Previous.IsZero())
	require.Zero(t, first.PreviousUntil)

	second := first.Rotate(now, time.Hour)
	require.NotEqual(t, first.Current.Reveal(), second.Current.Reveal())
	require.Equal(t, []signing.Secret{second.Current, first.Current}, second.Valid(now))
	require.Equal(t, []signing.Secret{second.Current, first.Current}, second.Valid(now.Add(time.Hour-1)))
	require.Equal(t, []signing.Secret{second.Current}, second.Valid(now.Add(time.Hour)))

	third := second.Rotate(now.Add(time.Minute), time.Hour)
	require.Equal(t, []signing.Secret{third.Current, second.Current}, third.Valid(now.Add(time.Minute)), "the oldest has ended")
	require.Equal(t, now.Add(61*time.Minute), third.PreviousUntil)

	require.Len(t, third.Rotate(now, 0).Valid(now), 1, "without an overlap the old one ends at once")
	require.Len(t, third.Rotate(now, -time.Hour).Valid(now), 1)
}

func TestSecretsAreStoredAsJSON(t *testing.T) {
	now := time.Now()
	for _, s := range []signing.Secrets{{}, signing.Secrets{}.Rotate(now, time.Hour), signing.Secrets{}.Rotate(now, time.Hour).Rotate(now, time.Hour)} {
		stored, err := json.Marshal(struct {
			Secrets signing.Secrets `json:"secrets"`
		}{s})
		require.NoError(t, err)
		var read struct {
			Secrets signing.Secrets `json:"secrets"`
		}
		require.NoError(t, json.Unmarshal(stored, &read))
		require.Equal(t, s, read.Secrets)
	}

	fixed, err := signing.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	golden := `{"current":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","previous":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","previous_until":"2026-03-01T12:00:00Z"}`
	stored, err := json.Marshal(signing.Secrets{fixed, fixed, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)})
	require.NoError(t, err)
	require.Equal(t, golden, string(stored))

	for _, broken := range []string{`{"current":"whsec_***"}`, `{"current":"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}`, `{"current":17}`, `"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`} {
		var s signing.Secrets
		err := json.Unmarshal([]byte(broken), &s)
		require.Error(t, err, broken)
		require.NotContains(t, err.Error(), "MfKQ")
		require.Zero(t, s)
	}
}
