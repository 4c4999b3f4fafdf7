package httpapi

import (
	"context"
	"net/http"
	"time"

	"closure/domain"
	"closure/handlers"
	"closure/handlers/auth"
)

// historyQuery is which part of a history is asked for.
type historyQuery struct {
	ByID
	Offset int    `query:"offset" minimum:"0" default:"0" doc:"How many events to pass over."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many events to answer at most."`
	AsOf   string `query:"as_of" format:"date-time" doc:"Only what was decided up to this time, inclusive. RFC 3339; in a query, + is written %2B." example:"2027-04-06T00:00:00Z"`
}

func (a *api) registerHistory() {
	const text = "All events in the order in which they were decided. It stays readable after CLOSED."
	register(a, route{
		id: "getAccountHistory", scope: auth.AccountsRead, method: http.MethodGet, path: "/accounts/{id}/history", tag: tagAccounts,
		summary: "Read the history of an account", text: text, noun: nounAccount,
		status: http.StatusOK, success: "A page of the events.", example: exampleHistory,
	}, a.history(domain.KindAccount))
	register(a, route{
		id: "getAccountGroupHistory", scope: auth.AccountsRead, method: http.MethodGet, path: "/account_groups/{id}/history", tag: tagGroups,
		summary: "Read the history of an account group", text: text, noun: nounGroup,
		status: http.StatusOK, success: "A page of the events.", example: exampleHistory,
	}, a.history(domain.KindAccountGroup))
}

func (a *api) history(kind domain.Kind) func(context.Context, *historyQuery) (*found[list[handlers.HistoryItem]], error) {
	return func(ctx context.Context, in *historyQuery) (*found[list[handlers.HistoryItem]], error) {
		asOf, err := in.asOf()
		if err != nil {
			return nil, err
		}
		items, err := a.engine.History(ctx, requestOf(ctx).client, domain.Ref{Kind: kind, ID: in.ID}, asOf)
		if err != nil {
			return nil, err
		}
		total := len(items)
		items = section(items, in.Offset, in.Limit)
		return &found[list[handlers.HistoryItem]]{Body: list[handlers.HistoryItem]{
			Meta: historyMeta(in.Offset, in.Limit, len(items), total), Data: items,
		}}, nil
	}
}

// historyMeta: a history has one order, that of the log.
func historyMeta(offset, limit, count, total int) meta {
	return meta{Offset: offset, Limit: limit, Count: count, TotalCount: total, Sort: "sequence", Order: string(domain.Ascending)}
}

// asOf is the time that was asked for; nil for none.
func (q historyQuery) asOf() (*time.Time, error) {
	if q.AsOf == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339Nano, q.AsOf)
	if err != nil {
		return nil, &domain.Refusal{Kind: domain.Invalid, Detail: "as_of: must be a time in RFC 3339 such as " + exampleTime + ", got " + domain.Quote(q.AsOf)}
	}
	return &at, nil
}
