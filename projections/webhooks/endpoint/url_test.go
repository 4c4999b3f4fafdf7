package endpoint_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/projections/webhooks/endpoint"
)

func TestCheckURL(t *testing.T) {
	t.Parallel()
	label := strings.Repeat("a", 63)
	long := strings.Join([]string{label, label, label, strings.Repeat("b", 61)}, ".") // 253 bytes
	strict, loose := endpoint.New(endpoint.Config{}), endpoint.New(endpoint.Config{AllowInsecure: true})
	for want, urls := range map[string][]string{
		"": {
			"https://hooks.example.com", "https://hooks.example.com/", "HTTPS://Hooks.Example.COM:8443/a/b?c=d&e=%20", "https://a.b:1/",
			"https://a.b:65535/", "https://xn--bcher-kva.example/", "https://a_b.example.com", "https://1.2.3.4.com/", "https://3com.com",
			"https://localhost.example.com", "https://internal.example.com", "https://" + long + "/", "https://mylocal.de", "https://a--b.co",
			"https://bank.example/" + strings.Repeat("x", 2048-len("https://bank.example/")),
		},
		"must be at most 2048 bytes": {"https://bank.example/" + strings.Repeat("x", 2049-len("https://bank.example/"))},
		"must be an absolute URL": {
			"", "hooks.example.com", "/path", "https:", "https://", "https:///path", "https:hooks.example.com",
			"https://:443/", "mailto:me@example.com", "https://exa mple.com", "https://example.com:x/", "https://example.com/%zz",
			"https://example.com/\x00", "https://[::1", "https://exam%70le.com/", "https://127.0.0.1%00.example.com",
		},
		"must not carry a user":      {"https://me@example.com/", "https://me:secret@example.com/", "https://@example.com/", "https://127.0.0.1:80@example.com/"},
		"must have no fragment":      {"https://example.com/#a", "https://example.com/#", "https://example.com#@127.0.0.1/"},
		"must have a port":           {"https://example.com:/", "https://example.com:0/", "https://example.com:65536/", "https://example.com:99999999999999999999/"},
		"must be an https URL":       {"http://example.com/", "//example.com/", "ftp://example.com/", "ws://example.com", "gopher://example.com:70/"},
		"not an IP address":          {"https://127.0.0.1/", "https://8.8.8.8", "https://[::1]/", "https://[2606:4700::1]:443/", "https://[::ffff:127.0.0.1]", "https://[fe80::1%25eth0]/"},
		"its last label begins with": {"https://127.1/", "https://0177.0.0.1/", "https://0x7f.0.0.1", "https://1.2.3.4.5", "https://example.0x7f", "https://256.256.256.256"},
		"must have a full DNS name":  {"https://com/", "https://2130706433/", "https://0x7f000001/", "https://localhost/", "https://hooks"},
		"not one of a local network": {"https://a.localhost/", "https://printer.local", "https://metadata.google.internal/", "https://A.B.LAN", "https://x.home.arpa", "https://db.corp"},
		"must have a DNS name for a host: labels": {
			"https://example.com./", "https://localhost./", "https://.example.com/", "https://a..b/", "https://-a.com/", "https://a-.com/",
			"https://bücher.example/", "https://ⓛocalhost.com/", "https://127。0。0。1/", "https://b%C3%BCcher.example", "https://a!b.com/",
			"https://" + label + "a.com/", "https://example\u00ad.com/", "https://*.example.com",
		},
		"must have a host of at most 253 bytes": {"https://a" + long + "/"},
	} {
		for _, u := range urls {
			err := strict.CheckURL(u)
			if want == "" {
				require.NoError(t, err, u)
				require.NoError(t, loose.CheckURL(u), u)
				continue
			}
			require.ErrorContains(t, err, want, u)
			require.True(t, strings.HasPrefix(err.Error(), "must "), err)
		}
	}
	for _, u := range []string{"http://127.0.0.1:8080/", "http://localhost", "https://[::1]:1/", "http://receiver:8080/hook", "http://10.0.0.1"} {
		require.NoError(t, loose.CheckURL(u), u)
	}
	for _, u := range []string{"", "ftp://localhost", "http://me@localhost", "http://localhost/#", "http://localhost:0", "file:///etc/passwd", "http:///x"} {
		require.Error(t, loose.CheckURL(u), u)
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{
		"https://hooks.example.com:8443/a?b=c", "https://127.0.0.1", "https://[::1%25a]:1", "https://a.b#", "http://@x.y", "https://0x7f.1",
		"https://a.b:/", "https://ⓛocalhost", "https://a\\.b", "https://a.b\\@c.d", "https://a.b?c@d", "https://xn--a.com", "HTTPS://A.b",
	} {
		f.Add(s)
	}
	strict, loose := endpoint.New(endpoint.Config{}), endpoint.New(endpoint.Config{AllowInsecure: true})
	f.Fuzz(func(t *testing.T, raw string) {
		err := strict.CheckURL(raw)
		if err != nil {
			require.True(t, strings.HasPrefix(err.Error(), "must "), err)
			return
		}
		require.NoError(t, loose.CheckURL(raw))
		u, err := url.Parse(raw)
		require.NoError(t, err)
		_, err = http.NewRequest(http.MethodPost, raw, nil)
		require.NoError(t, err)
		host := strings.ToLower(u.Hostname())
		_, err = netip.ParseAddr(host)
		require.Error(t, err)
		require.Equal(t, "https", u.Scheme)
		require.Nil(t, u.User)
		require.Contains(t, host, ".")
		require.NotRegexp(t, `[^a-z0-9._-]|\.\.|^\.|\.$|(^|\.)(localhost|local|internal)$|(^|\.)[0-9][^.]*$`, host)
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "1", "-1", "99999999999999999999", "Thu, 01 May 2025 12:00:30 GMT", "Thursday, 01-May-25 12:00:30 GMT", "Thu May  1 12:00:30 2025"} {
		f.Add(s, int64(1_746_100_800))
	}
	f.Fuzz(func(t *testing.T, value string, now int64) {
		got := endpoint.RetryAfter(value, time.Unix(now, 0))
		require.GreaterOrEqual(t, got, time.Duration(0))
		require.LessOrEqual(t, got, endpoint.MaxRetryAfter)
	})
}
