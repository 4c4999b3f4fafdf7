package domain

import (
	"maps"
	"slices"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
)

// state is what a golden log says of an aggregate: its last hash too, since no commit after it holds it.
type state struct {
	Status       Status                `json:"status"`
	Version      int                   `json:"version"`
	Hash         string                `json:"hash"`
	Resource     any                   `json:"resource"`
	Closure      *Closure              `json:"closure,omitempty"`
	Reports      []ReportResource      `json:"reports,omitempty"`
	Orders       []OrderResource       `json:"orders,omitempty"`
	Liquidations []LiquidationResource `json:"liquidations,omitempty"`
}

func showStates(t *testing.T, all map[Ref]folded) []byte {
	t.Helper()
	out := map[string]state{}
	for ref, f := range all {
		s := state{Status: statusOf(f.agg), Version: f.version, Hash: f.hash}
		if c, ok := f.agg.(Closable); ok {
			closure := c.Closure(Outlook{Now: c.LastChange()})
			s.Closure = &closure
		}
		switch a := f.agg.(type) {
		case *Account:
			s.Resource = a.Resource()
			s.Orders, s.Liquidations = ordersOf(a), liquidationsOf(a)
		case *AccountGroup:
			s.Resource, s.Reports = a.Resource(), reportsOf(a)
		case *User:
			s.Resource = a.Resource()
		}
		out[string(ref.Kind)+"/"+ref.ID] = s
	}
	data, err := json.Marshal(out, json.Deterministic(true), jsontext.WithIndent("  "))
	require.NoError(t, err)
	return append(data, '\n')
}

func ordersOf(a *Account) (out []OrderResource) {
	for _, id := range slices.Sorted(maps.Keys(a.orders)) {
		out = append(out, a.OrderResource(a.orders[id]))
	}
	return out
}

func liquidationsOf(a *Account) (out []LiquidationResource) {
	for _, l := range a.Liquidations() {
		out = append(out, a.LiquidationResource(l))
	}
	return out
}

func reportsOf(g *AccountGroup) (out []ReportResource) {
	for _, kind := range []ReportType{ReportAccountClosing, ReportAnnualTaxStatement} {
		for _, p := range g.Users {
			if r, ok := g.Report(g.ReportID(p.ID, kind)); ok {
				out = append(out, g.ReportResource(r))
			}
		}
	}
	return out
}
