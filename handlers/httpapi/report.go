package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"reflect"

	"closure/domain"
	"closure/handlers/auth"
)

func (a *api) registerReports() {
	register(a, route{
		id: "listUserReports", scope: auth.ReportsRead, method: http.MethodGet, path: "/users/{id}/reports", tag: tagReports, summary: "List the reports of a user",
		text: "An unknown user has an empty list.", noun: nounUser,
		status: http.StatusOK, success: "A page of the user's reports.", example: exampleList(exampleReport),
	}, ofUser(a.lists.Reports))
	register(a, route{
		id: "getReport", scope: auth.ReportsRead, method: http.MethodGet, path: "/reports/{id}", tag: tagReports, summary: "Read a report",
		text: "As a resource in JSON, or as the PDF with `accept: application/pdf`.", noun: nounReport,
		status: http.StatusOK, success: "The report.", example: exampleReport,
		content: []content{{mediaJSON, reflect.TypeFor[domain.ReportResource]()}, {mediaPDF, nil}},
	}, a.readReport)
}

func (a *api) readReport(ctx context.Context, in *ByID) (*raw, error) {
	r := requestOf(ctx)
	// Caches between us and the client must not give the PDF to whoever asks for JSON.
	out := &raw{ContentType: r.media, Vary: "Accept"}
	if r.media != mediaPDF {
		report, err := a.reports.Report(ctx, r.client, in.ID)
		out.Body = report
		return out, err
	}
	report, pdf, err := a.reports.PDF(ctx, r.client, in.ID)
	out.Body = pdf
	out.Disposition = fmt.Sprintf(`inline; filename="%s-%s.pdf"`, report.Type, report.ID)
	return out, err
}
