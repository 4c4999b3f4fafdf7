package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/handlers"
)

func TestHistory(t *testing.T) {
	s := start(t)
	group := s.newGroup()
	account := s.newAccount(group.ID)
	path := "/accounts/" + account.ID
	require.Equal(t, http.StatusOK, s.do("PATCH", path, `{"name": "Rente"}`).status)
	require.Equal(t, http.StatusAccepted, s.do("DELETE", path, "").status)

	read := func(path string) list[handlers.HistoryItem] {
		t.Helper()
		return decode[list[handlers.HistoryItem]](t, s.do("GET", path, ""), http.StatusOK)
	}
	all := read(path + "/history")
	require.Equal(t, meta{Limit: 100, Count: 5, TotalCount: 5, Sort: "sequence", Order: "ASC"}, all.Meta)
	var types []string
	for _, item := range all.Data {
		types = append(types, fmt.Sprintf("%s/%d", item.Type, item.Index))
	}
	require.Equal(t, []string{"account.opened/0", "account.activated/1", "account.renamed/0", "account.closing_initiated/0", "account.closed/1"}, types)
	require.JSONEq(t, `{"name": "Rente"}`, string(all.Data[2].Data))

	page := read(path + "/history?offset=2&limit=2")
	require.Equal(t, all.Data[2:4], page.Data)
	require.Equal(t, meta{Offset: 2, Limit: 2, Count: 2, TotalCount: 5, Sort: "sequence", Order: "ASC"}, page.Meta)
	require.Empty(t, read(path+"/history?offset=99").Data)

	// as_of is inclusive, to the nanosecond, in any zone.
	at := all.Data[2].Time
	require.Equal(t, all.Data[:3], read(path+"/history?as_of="+url.QueryEscape(at.Format(time.RFC3339Nano))).Data)
	require.Equal(t, all.Data[:2], read(path+"/history?as_of="+url.QueryEscape(at.Add(-1).Format(time.RFC3339Nano))).Data)
	tokyo := at.In(time.FixedZone("", 9*3600)).Format(time.RFC3339Nano)
	require.Equal(t, all.Data[:3], read(path+"/history?as_of="+url.QueryEscape(tokyo)).Data)
	require.Equal(t, 3, read(path+"/history?limit=1&as_of="+url.QueryEscape(at.Format(time.RFC3339Nano))).Meta.TotalCount)
	require.Empty(t, read(path+"/history?as_of=0001-01-01T00:00:00Z").Data)

	groups := read("/account_groups/" + group.ID + "/history")
	require.Equal(t, domain.EventGroupAccountLinked, groups.Data[2].Type)
}

func TestHistoryRefused(t *testing.T) {
	s := start(t)
	path := "/accounts/" + s.newAccount(s.newGroup().ID).ID + "/history"
	for query, texts := range map[string][]string{
		"as_of=yesterday":                 {`as_of: must be a time in RFC 3339 such as`, `got "yesterday"`},
		"as_of=2026-01-01":                {"as_of: must be a time in RFC 3339"},
		"as_of=2026-01-01T00:00:00":       {"as_of: must be a time in RFC 3339"},
		"as_of=2026-02-30T00:00:00Z":      {"as_of: must be a time in RFC 3339"},
		"as_of=2026-01-01T00:00:00+01:00": {"as_of: must be a time in RFC 3339", "+ is written %2B"},
		"as_of=":                          {"as_of: must be a time in RFC 3339"},
		"limit=0":                         {"limit: must be an integer of 1 to 1000"},
		"sort=time":                       {"sort: is not a query parameter of this call; it has offset, limit, as_of"},
	} {
		s.refused(call{method: "GET", path: path + "?" + query}, invalidRequest, texts...)
	}
}
