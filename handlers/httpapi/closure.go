package httpapi

import (
	"context"
	"net/http"

	"closure/domain"
	"closure/handlers/auth"
)

// closureQuery is which closings are asked for. The codes are those of domain.BlockerCodes: a test holds them to it.
type closureQuery struct {
	Status         domain.Status      `query:"status" enum:"PENDING_APPROVAL,ACTIVE,CLOSING,CLOSED,LOCKED" doc:"Only resources in this status; CLOSING, and LOCKED, are those in progress."`
	Blocker        domain.BlockerCode `query:"blocker" enum:"OPEN_POSITIONS,EXPECTED_CORPORATE_ACTIONS,OPEN_ORDERS,TAX_YEAR_END,OPEN_ACCOUNTS,OUTSTANDING_FEES,OUTSTANDING_WITHDRAWALS,CASH_BALANCE,LOCKED" doc:"Only those against which this blocker stands."`
	Reconciliation bool               `query:"reconciliation" doc:"With true only those with something that came after CLOSED and is not settled; with false all."`
	Offset         int                `query:"offset" minimum:"0" default:"0" doc:"How many items to pass over."`
	Limit          int                `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many items to answer at most."`
}

func (a *api) registerClosures() {
	register(a, route{
		id: "listClosures", scope: auth.AccountsRead, method: http.MethodGet, path: "/closures", tag: tagClosures, summary: "List the closings",
		text: "An addition of this engine. Every account and account group whose closing was asked for, the oldest request first; also after CLOSED. " +
			"`status=CLOSING` leaves those in progress that are not locked, `blocker` those that wait for one thing.",
		status: http.StatusOK, success: "A page of the closings.", example: exampleClosures,
	}, a.listClosures)
}

func (a *api) listClosures(ctx context.Context, in *closureQuery) (*found[list[domain.ClosureItem]], error) {
	items, total, err := a.lists.Closures(ctx, domain.ClosureQuery{
		ClientID: requestOf(ctx).client, Status: in.Status, Blocker: in.Blocker, Reconciliation: in.Reconciliation,
		Offset: in.Offset, Limit: in.Limit,
	})
	if err != nil {
		return nil, err
	}
	return &found[list[domain.ClosureItem]]{Body: list[domain.ClosureItem]{
		Meta: closuresMeta(in.Offset, in.Limit, len(items), total), Data: items,
	}}, nil
}

// closuresMeta: the list has one order, that in which closing was asked for.
func closuresMeta(offset, limit, count, total int) meta {
	return meta{Offset: offset, Limit: limit, Count: count, TotalCount: total, Sort: "requested_at", Order: string(domain.Ascending)}
}
