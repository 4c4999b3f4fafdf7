package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"closure/domain"
	"closure/handlers/auth"
)

// newOrder is the body of POST /orders. Exactly one of Quantity and CashAmount is given; "" counts as left out, for clients
// of the public API write it so.
type newOrder struct {
	AccountID        string           `json:"account_id" format:"uuid" doc:"The account that the order is for."`
	UserID           string           `json:"user_id" format:"uuid" doc:"Whose order it is: one of the users of the account."`
	Side             domain.OrderSide `json:"side" enum:"BUY,SELL" doc:"An ACTIVE account takes both, a CLOSING one SELL only."`
	InstrumentID     string           `json:"instrument_id" doc:"The ISIN of the instrument (ISO 6166)." example:"US0378331005"`
	InstrumentIDType string           `json:"instrument_id_type" enum:"ISIN" doc:"How the instrument is named."`
	OrderType        string           `json:"order_type" enum:"MARKET" doc:"The type of the order: this engine takes MARKET only."`
	Quantity         domain.Decimal   `json:"quantity,omitempty" format:"decimal" doc:"How many pieces, above zero. Give either quantity or cash_amount." example:"12.5"`
	CashAmount       domain.Decimal   `json:"cash_amount,omitempty" format:"decimal" doc:"How much cash, above zero. Give either quantity or cash_amount." example:"250.00"`
	Currency         string           `json:"currency,omitempty" maxLength:"3" doc:"Of the cash amount (ISO 4217); it may also stand with a quantity." example:"EUR"`

	// The public API has these, and this engine does not use them.
	ClientReference    any `json:"client_reference,omitempty" doc:"Accepted and ignored."`
	LimitPrice         any `json:"limit_price,omitempty" doc:"Accepted and ignored: a MARKET order has none."`
	StopPrice          any `json:"stop_price,omitempty" doc:"Accepted and ignored: a MARKET order has none."`
	ExpiryDate         any `json:"expiry_date,omitempty" doc:"Accepted and ignored: a MARKET order has none."`
	FitAcknowledgement any `json:"user_instrument_fit_acknowledgement,omitempty" doc:"Accepted and ignored: the order service looks at it."`
	Fee                any `json:"fee,omitempty" doc:"Accepted and ignored."`
	FeeConfiguration   any `json:"fee_configuration,omitempty" doc:"Accepted and ignored."`
	InitiationFlow     any `json:"initiation_flow,omitempty" doc:"Accepted and ignored: it is API."`
	InitiationID       any `json:"initiation_id,omitempty" doc:"Accepted and ignored."`
	ExecutionFlow      any `json:"execution_flow,omitempty" doc:"Accepted and ignored: the order service chooses it."`
}

type placeOrder struct {
	Body newOrder
}

func (a *api) registerOrders() {
	register(a, route{
		id: "placeOrder", scope: auth.OrdersAdmin, method: http.MethodPost, path: "/orders", tag: tagOrders, summary: "Place an order",
		text: "The order is handed to the order service, which fills or cancels it. An ACTIVE account takes BUY and SELL, a CLOSING one SELL only, any other none (422). " +
			"An account that does not exist, or is another client's, is 422, too. An open order keeps its account from closing.",
		rules: true, keyed: true,
		status: http.StatusAccepted, success: "The order is taken.", example: exampleOrder,
		request: newOrder{
			AccountID: exampleAccount.ID, UserID: exampleUser, Side: domain.Sell, InstrumentID: exampleISIN, InstrumentIDType: "ISIN",
			OrderType: "MARKET", Quantity: *exampleOrder.Quantity,
		},
	}, a.placeOrder)
	register(a, route{
		id: "getOrder", scope: auth.OrdersRead, method: http.MethodGet, path: "/orders/{id}", tag: tagOrders, summary: "Read an order",
		noun: nounOrder, status: http.StatusOK, success: "The order.", example: exampleOrder,
	}, a.readOrder)
}

func (a *api) placeOrder(ctx context.Context, in *placeOrder) (*created[domain.OrderResource], error) {
	accountID, err := storedID("account_id", in.Body.AccountID)
	if err != nil {
		return nil, err
	}
	order, err := in.Body.command(newID(ctx))
	if err != nil {
		return nil, err
	}
	if _, err := a.engine.Do(ctx, command(ctx, domain.KindAccount, accountID, order)); err != nil {
		return nil, orderRefusal(err)
	}
	placed, err := a.engine.Order(ctx, requestOf(ctx).client, accountID, order.OrderID)
	return &created[domain.OrderResource]{Location: "/orders/" + order.OrderID, Body: placed}, err
}

// command is the order as the domain has it.
func (b newOrder) command(id string) (*domain.PlaceOrder, error) {
	userID, err := storedID("user_id", b.UserID)
	if err != nil {
		return nil, err
	}
	return &domain.PlaceOrder{
		OrderID: id, UserID: userID, Side: b.Side, ISIN: b.InstrumentID,
		Quantity: b.Quantity, CashAmount: b.CashAmount, Currency: b.Currency,
	}, nil
}

// orderRefusal speaks of the members of the body. The account is one of them: that it is not there is a fault of the order,
// while not found would be about the path.
func orderRefusal(err error) error {
	var refusal *domain.Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	if refusal.Kind == domain.NotFound {
		return &domain.Refusal{Kind: domain.Unprocessable, Detail: "account_id: " + refusal.Detail}
	}
	if text, ok := strings.CutPrefix(refusal.Detail, "isin: "); ok {
		return &domain.Refusal{Kind: refusal.Kind, Detail: "instrument_id: " + text}
	}
	return err
}

// readOrder asks the lists for the account of the order, and the account for the order.
func (a *api) readOrder(ctx context.Context, in *ByID) (*found[domain.OrderResource], error) {
	client := requestOf(ctx).client
	accountID, ok, err := a.lists.OrderAccount(ctx, client, in.ID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &domain.Refusal{Kind: domain.NotFound, Detail: "there is no order with the id " + in.ID}
	}
	order, err := a.engine.Order(ctx, client, accountID, in.ID)
	return &found[domain.OrderResource]{Body: order}, err
}
