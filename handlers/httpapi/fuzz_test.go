package httpapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"
)

// FuzzRequest: whatever a client that is known sends, it gets an answer of the contract: a success, or a problem that says what is
// wrong; nothing panics, and no cause of ours is told.
func FuzzRequest(f *testing.F) {
	s := start(f)
	bearer := "Bearer " + s.tokens[alice]
	for _, route := range calls {
		c := callTo(route, zoe)
		f.Add(c.method, c.path, "", c.body, mediaJSON, "", zoe)
	}
	f.Add("POST", "/auth/token", "", "client_id="+alice+"&client_secret=x&grant_type=client_credentials", mediaForm, "*/*;q=0.1", "")
	f.Add("GET", "/accounts", "offset=0&limit=1000&sort=created_at&order=DESC", "", "", "application/json;q=0.5, text/*", "")
	f.Add("GET", "/closures", "status=CLOSING&blocker=OPEN_POSITIONS&reconciliation=true", "", "", "", "")
	f.Add("GET", "/reports/"+zoe, "", "", "", "application/pdf, */*;q=0", "")
	f.Add("DELETE", "/account_groups/"+zoe, "closure_reason=aml&notification_only=true", "", "", "", "")
	f.Fuzz(func(t *testing.T, method, path, query, body, contentType, accept, key string) {
		r, err := http.NewRequest(method, "http://127.0.0.1/", strings.NewReader(body))
		if err != nil || !strings.HasPrefix(path, "/") {
			return // HTTP itself does not carry it
		}
		r.URL.Path, r.URL.RawQuery = path, query
		if r.URL, err = r.URL.Parse(r.URL.String()); err != nil {
			return
		}
		r.RequestURI = r.URL.RequestURI()
		for name, value := range map[string]string{
			headerClientID: alice, headerAuthorization: bearer, "Content-Type": contentType, "Accept": accept, headerIdempotencyKey: key,
		} {
			if value != "" {
				r.Header[http.CanonicalHeaderKey(name)] = []string{value}
			}
		}
		w := httptest.NewRecorder()
		s.api.ServeHTTP(w, r)
		res := w.Result()
		answer, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NotEqual(t, http.StatusInternalServerError, res.StatusCode, "%s", answer)
		require.NotEmpty(t, res.Header.Get(headerRequestID))
		if res.StatusCode >= 400 && method != http.MethodHead {
			var p problem
			require.NoError(t, json.Unmarshal(answer, &p), "%d %s", res.StatusCode, answer)
			require.Equal(t, res.StatusCode, p.Status)
			require.NotEmpty(t, p.Detail)
		}
	})
}
