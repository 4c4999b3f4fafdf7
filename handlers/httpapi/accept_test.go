package httpapi

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNegotiate(t *testing.T) {
	both := []string{mediaJSON, mediaPDF}
	for _, tt := range []struct {
		accept []string
		want   string // "" for none
	}{
		{nil, mediaJSON},
		{[]string{""}, mediaJSON},
		{[]string{"*/*"}, mediaJSON},
		{[]string{"*"}, mediaJSON},
		{[]string{"text/html, image/gif, *; q=.2, */*; q=.2"}, mediaJSON},
		{[]string{"application/*"}, mediaJSON},
		{[]string{"application/json"}, mediaJSON},
		{[]string{"Application/JSON; charset=utf-8"}, mediaJSON},
		{[]string{"application/pdf"}, mediaPDF},
		{[]string{"application/pdf", "application/json"}, mediaJSON},
		{[]string{"application/pdf, */*"}, mediaPDF},
		{[]string{"application/json;q=0.1, application/pdf;q=0.2"}, mediaPDF},
		{[]string{"application/json;q=0, */*"}, mediaPDF},
		{[]string{"*/*;q=0, application/json"}, mediaJSON},
		{[]string{"application/json;q=0"}, ""},
		{[]string{"*/*;q=0"}, ""},
		{[]string{"text/html"}, ""},
		{[]string{"application/problem+json"}, ""},
		{[]string{"application/json;q=2"}, ""},
		{[]string{"application/json;q=NaN"}, ""},
		{[]string{"application/json;q=-1"}, ""},
		{[]string{"json"}, ""},
		{[]string{"/"}, ""},
		{[]string{";;;,,,"}, ""},
	} {
		media, ok := negotiate(tt.accept, both)
		require.Equal(t, tt.want != "", ok, "%q", tt.accept)
		if ok {
			require.Equal(t, tt.want, media, "%q", tt.accept)
		}
	}
}

func TestAcceptOnEveryRoute(t *testing.T) {
	s := start(t)
	id := s.newAccount(s.newGroup().ID).ID
	for _, route := range calls {
		c := callTo(route, id)
		c.header = map[string]string{"Accept": "text/html, application/xml;q=0.9"}
		s.refused(c, notAcceptable, "accept: must allow application/json")
	}
	for _, accept := range []string{"*/*", "application/*;q=0.3", "text/html;q=1, application/json;q=0.1"} {
		a := s.send(call{method: "GET", path: "/accounts/" + id, header: map[string]string{"Accept": accept}})
		require.Equal(t, http.StatusOK, a.status, accept)
		require.Equal(t, mediaJSON, a.header.Get("Content-Type"))
	}
}
