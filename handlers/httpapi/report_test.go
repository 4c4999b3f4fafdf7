package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/domain"
)

func TestReport(t *testing.T) {
	s := start(t)
	s.reports.all = []owned[domain.ReportResource]{{alice, exampleReport}}
	s.reports.pdf = []byte("%PDF-1.7 \x00\xff not JSON")
	path := "/reports/" + strings.ToUpper(exampleReport.ID)

	accept := func(value string) answer {
		return s.send(call{method: "GET", path: path, header: map[string]string{"Accept": value}})
	}
	for _, value := range []string{"", "*/*", "application/json", "application/*", "application/pdf;q=0.5, application/json", "application/pdf, application/json"} {
		a := accept(value)
		require.Equal(t, mediaJSON, a.header.Get("Content-Type"), value)
		require.Equal(t, "Accept", a.header.Get("Vary"))
		require.Equal(t, exampleReport, decode[domain.ReportResource](t, a, http.StatusOK))
	}
	for _, value := range []string{"application/pdf", "application/pdf, */*;q=0.1", "text/html, application/pdf", "application/json;q=0, application/*"} {
		a := accept(value)
		require.Equal(t, http.StatusOK, a.status)
		require.Equal(t, mediaPDF, a.header.Get("Content-Type"), value)
		require.Equal(t, s.reports.pdf, a.body)
		require.Equal(t, `inline; filename="ACCOUNT_CLOSING-`+exampleReport.ID+`.pdf"`, a.header.Get("Content-Disposition"))
		require.Equal(t, "Accept", a.header.Get("Vary"))
	}
	s.refused(call{method: "GET", path: path, header: map[string]string{"Accept": "text/html"}}, notAcceptable, "accept: must allow application/json or application/pdf")

	// A report that is not there is told in the same way to whoever wants a PDF.
	for _, value := range []string{mediaPDF, mediaJSON} {
		s.refused(call{method: "GET", path: "/reports/" + zoe, header: map[string]string{"Accept": value}}, notFound, zoe)
	}
	head := s.send(call{method: "HEAD", path: path, header: map[string]string{"Accept": mediaPDF}})
	require.Equal(t, http.StatusOK, head.status)
	require.Equal(t, mediaPDF, head.header.Get("Content-Type"))
}
