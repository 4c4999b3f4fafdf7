package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"closure/domain"
	"closure/handlers/auth"
)

// newLiquidation is the body of POST /accounts/{id}/liquidations.
type newLiquidation struct {
	UserID string `json:"user_id" format:"uuid" doc:"Who asks for it: one of the users of the account."`
}

type (
	requestLiquidation struct {
		ByID
		Body newLiquidation
	}
	accountList struct {
		ByID
		PageQuery
	}
	// byLiquidation is the input of a call on one liquidation of an account.
	byLiquidation struct {
		ByID
		LiquidationID string `path:"liquidation_id" format:"uuid" doc:"The liquidation's id. One that is malformed, unknown or of another account is 404."`
	}
)

func (a *api) registerLiquidations() {
	const path, one = "/accounts/{id}/liquidations", "/accounts/{id}/liquidations/{liquidation_id}"
	register(a, route{
		id: "createLiquidation", scope: auth.LiquidationsAdmin, method: http.MethodPost, path: path, tag: tagLiquidations, summary: "Sell everything that an account holds",
		text: "One SELL order is placed for each open position. It does not close the account by itself, and does not need CLOSING. " +
			"Refused while another liquidation of the account is NEW or PROCESSING, and when nothing is held.",
		noun: nounAccount, conflicts: true, keyed: true,
		status: http.StatusAccepted, success: "The liquidation is taken.", example: exampleLiquidation, request: newLiquidation{UserID: exampleUser},
	}, a.requestLiquidation)
	register(a, route{
		id: "listLiquidations", scope: auth.LiquidationsRead, method: http.MethodGet, path: path, tag: tagLiquidations, summary: "List the liquidations of an account",
		text: "It shows what was just accepted.", noun: nounAccount,
		status: http.StatusOK, success: "A page of the liquidations.", example: exampleList(exampleLiquidation),
	}, a.listLiquidations)
	register(a, route{
		id: "getLiquidation", scope: auth.LiquidationsRead, method: http.MethodGet, path: one, tag: tagLiquidations, summary: "Read a liquidation",
		noun: nounAccount, part: nounLiquidation,
		status: http.StatusOK, success: "The liquidation.", example: exampleLiquidation,
	}, func(ctx context.Context, in *byLiquidation) (*found[domain.LiquidationResource], error) {
		return a.readLiquidation(ctx, in.ID, in.LiquidationID)
	})
	register(a, route{
		id: "cancelLiquidation", scope: auth.LiquidationsAdmin, method: http.MethodDelete, path: one, tag: tagLiquidations, summary: "Cancel a liquidation",
		text: "Possible while it is NEW: then the order service is asked to cancel its orders. It is safe to repeat: a CANCELLED one is accepted again.",
		noun: nounAccount, part: nounLiquidation, conflicts: true, status: http.StatusNoContent, success: "The liquidation is CANCELLED.",
	}, a.cancelLiquidation)
}

func (a *api) requestLiquidation(ctx context.Context, in *requestLiquidation) (*created[domain.LiquidationResource], error) {
	userID, err := storedID("user_id", in.Body.UserID)
	if err != nil {
		return nil, err
	}
	id := newID(ctx)
	_, err = a.engine.Do(ctx, command(ctx, domain.KindAccount, in.ID, &domain.RequestLiquidation{LiquidationID: id, UserID: userID}))
	if err != nil {
		return nil, err
	}
	liquidation, err := a.readLiquidation(ctx, in.ID, id)
	if err != nil {
		return nil, err
	}
	return &created[domain.LiquidationResource]{Location: "/accounts/" + in.ID + "/liquidations/" + id, Body: liquidation.Body}, nil
}

func (a *api) readLiquidation(ctx context.Context, accountID, id string) (*found[domain.LiquidationResource], error) {
	liquidation, err := a.engine.Liquidation(ctx, requestOf(ctx).client, accountID, id)
	return &found[domain.LiquidationResource]{Body: liquidation}, err
}

// listLiquidations reads them from the account itself: there are few of them, and the account has them all.
func (a *api) listLiquidations(ctx context.Context, in *accountList) (*found[list[domain.LiquidationResource]], error) {
	all, err := a.engine.Liquidations(ctx, requestOf(ctx).client, in.ID)
	slices.SortFunc(all, func(x, y domain.LiquidationResource) int { return compareLiquidations(x, y, in.PageQuery) })
	return listOf(in.PageQuery, section(all, in.Offset, in.Limit), len(all), err)
}

// compareLiquidations sorts as all lists are sorted: what is equal goes by id, in the direction of the rest.
func compareLiquidations(x, y domain.LiquidationResource, by PageQuery) int {
	if by.Order == domain.Descending {
		x, y = y, x
	}
	order := 0
	switch by.Sort {
	case domain.SortCreatedAt:
		order = x.CreatedAt.Compare(y.CreatedAt)
	case domain.SortUpdatedAt:
		order = x.UpdatedAt.Compare(y.UpdatedAt)
	}
	return cmp.Or(order, cmp.Compare(x.ID, y.ID))
}

func (a *api) cancelLiquidation(ctx context.Context, in *byLiquidation) (*nothing, error) {
	_, err := a.engine.Do(ctx, command(ctx, domain.KindAccount, in.ID, &domain.CancelLiquidation{LiquidationID: in.LiquidationID}))
	return &nothing{}, err
}
