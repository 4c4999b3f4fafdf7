package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/handlers"
)

// orderBody is a good order of zoe's; more goes before its members.
func orderBody(accountID string, side domain.OrderSide, more string) string {
	return fmt.Sprintf(`{%s "account_id": "%s", "user_id": "%s", "side": "%s", "instrument_id": "%s", "instrument_id_type": "ISIN", "order_type": "MARKET"}`,
		more, accountID, zoe, side, exampleISIN)
}

const one = `"quantity": "1",`

func (s *service) newOrder(accountID string, side domain.OrderSide) domain.OrderResource {
	s.t.Helper()
	return decode[domain.OrderResource](s.t, s.do("POST", "/orders", orderBody(accountID, side, one)), http.StatusAccepted)
}

func TestPlaceOrder(t *testing.T) {
	s := start(t)
	account := s.newAccount(s.newGroup().ID)
	a := s.do("POST", "/orders", orderBody(strings.ToUpper(account.ID), domain.Buy, `"quantity": "12.50",`))
	order := decode[domain.OrderResource](t, a, http.StatusAccepted)
	require.Equal(t, "/orders/"+order.ID, a.header.Get("Location"))
	quantity := domain.Decimal("12.50")
	require.Equal(t, domain.OrderResource{
		ID: order.ID, CreatedAt: order.CreatedAt, UpdatedAt: order.CreatedAt, AccountID: account.ID, UserID: zoe, Side: domain.Buy,
		InstrumentID: exampleISIN, InstrumentIDType: "ISIN", OrderType: "MARKET", Quantity: &quantity,
		Status: domain.OrderNew, InitiationFlow: domain.FlowAPI,
	}, order)
	for _, member := range []string{"cash_amount", "currency", "client_reference", "liquidation_id"} {
		require.Contains(t, string(a.body), `"`+member+`":null`)
	}
	// What was accepted is there at once, also under the id in capitals.
	for _, path := range []string{a.header.Get("Location"), "/orders/" + strings.ToUpper(order.ID)} {
		require.Equal(t, order, decode[domain.OrderResource](t, s.do("GET", path, ""), http.StatusOK))
	}
	// The same body again is another order: the id is the engine's.
	require.NotEqual(t, order.ID, s.newOrder(account.ID, domain.Buy).ID)

	nominal := decode[domain.OrderResource](t, s.do("POST", "/orders", orderBody(account.ID, domain.Buy, `"cash_amount": "250.00", "currency": "EUR",`)), http.StatusAccepted)
	require.Nil(t, nominal.Quantity)
	require.Equal(t, []string{"250.00", "EUR"}, []string{string(*nominal.CashAmount), *nominal.Currency})

	commits, err := s.log.Load(context.Background(), "account", account.ID, 0)
	require.NoError(t, err)
	require.Equal(t, []string{"place_order", "client:" + alice, a.id}, []string{commits[1].Command, commits[1].Actor, commits[1].RequestID})
}

// An order as a client of the public API writes it: with what is not used, with "" for what is left out, and with the
// currency of an order by quantity.
func TestPlaceOrderOfAPublicClient(t *testing.T) {
	s := start(t)
	account := s.newAccount(s.newGroup().ID)
	ignored := `"client_reference": "A-1", "limit_price": "", "stop_price": "", "expiry_date": null, "user_instrument_fit_acknowledgement": true,
		"fee": "0.0", "initiation_flow": "API", "initiation_id": 7, "execution_flow": "STRAIGHT_THROUGH",
		"fee_configuration": [{"cash_amount": "0.90", "currency": "EUR"}],`
	for _, more := range []string{
		`"quantity": "10", "currency": "EUR",`,
		`"quantity": "10", "currency": "EUR", "cash_amount": "",`,
		`"quantity": "10", "currency": null, "cash_amount": null,`,
	} {
		order := decode[domain.OrderResource](t, s.do("POST", "/orders", orderBody(account.ID, domain.Sell, ignored+more)), http.StatusAccepted)
		require.Equal(t, domain.Decimal("10"), *order.Quantity)
		require.Nil(t, order.CashAmount)
	}
	order := decode[domain.OrderResource](t, s.do("POST", "/orders", orderBody(account.ID, domain.Buy, ignored+`"quantity": "", "cash_amount": "1000", "currency": "EUR",`)), http.StatusAccepted)
	require.Equal(t, domain.Decimal("1000"), *order.CashAmount)
}

func TestPlaceOrderRefused(t *testing.T) {
	s := start(t)
	account := s.newAccount(s.newGroup().ID)
	good := orderBody(account.ID, domain.Buy, one)
	put := func(member, value string) string {
		return strings.Replace(good, `"`+member+`": "`, `"`+member+`": `+value+`, "client_reference": "`, 1)
	}
	for name, tt := range map[string]struct {
		body  string
		slug  handlers.Slug
		texts []string
	}{
		"both":                      {orderBody(account.ID, domain.Buy, one+`"cash_amount": "1", "currency": "EUR",`), invalidRequest, []string{"quantity: give either quantity, or cash_amount with currency"}},
		"neither":                   {orderBody(account.ID, domain.Buy, ""), invalidRequest, []string{"quantity: give either quantity, or cash_amount with currency"}},
		"neither, but empty":        {orderBody(account.ID, domain.Buy, `"quantity": "", "cash_amount": "",`), invalidRequest, []string{"quantity: give either quantity"}},
		"currency alone":            {orderBody(account.ID, domain.Buy, `"currency": "EUR",`), invalidRequest, []string{"quantity: give either quantity"}},
		"no currency":               {orderBody(account.ID, domain.Buy, `"cash_amount": "1",`), invalidRequest, []string{`currency: must be a currency code of ISO 4217 in capitals, such as EUR; got ""`}},
		"unknown currency":          {orderBody(account.ID, domain.Buy, `"cash_amount": "1", "currency": "EUX",`), invalidRequest, []string{`currency: must be a currency code`, `"EUX"`}},
		"currency of four":          {orderBody(account.ID, domain.Buy, one+`"currency": "EURO",`), invalidRequest, []string{`currency: must be a string of 3 characters at most, got "EURO"`}},
		"quantity is a number":      {orderBody(account.ID, domain.Buy, `"quantity": 12.5,`), invalidRequest, []string{`quantity: must be a decimal as a string, such as "12.50", got 12.5`}},
		"quantity with a comma":     {orderBody(account.ID, domain.Buy, `"quantity": "12,5",`), invalidRequest, []string{`quantity: must be a decimal as a string, such as "12.50"`}},
		"quantity with an exponent": {orderBody(account.ID, domain.Buy, `"quantity": "1e3",`), invalidRequest, []string{"quantity: must be a decimal", "no exponent"}},
		"quantity of zero":          {orderBody(account.ID, domain.Buy, `"quantity": "0.00",`), invalidRequest, []string{"quantity: must be above zero, got 0.00"}},
		"quantity below zero":       {orderBody(account.ID, domain.Buy, `"quantity": "-1",`), invalidRequest, []string{"quantity: must be above zero, got -1"}},
		"cash below zero":           {orderBody(account.ID, domain.Buy, `"cash_amount": "-1", "currency": "EUR",`), invalidRequest, []string{"cash_amount: must be above zero, got -1"}},
		"39 digits":                 {orderBody(account.ID, domain.Buy, `"quantity": "`+strings.Repeat("9", 39)+`",`), invalidRequest, []string{"quantity: must be a decimal", "38 digits"}},
		"limit order":               {put("order_type", `"LIMIT"`), invalidRequest, []string{`order_type: must be MARKET, got "LIMIT"`}},
		"instrument by uuid":        {put("instrument_id_type", `"UUID"`), invalidRequest, []string{`instrument_id_type: must be ISIN, got "UUID"`}},
		"instrument is no ISIN":     {put("instrument_id", `"AAPL"`), invalidRequest, []string{`instrument_id: must be an ISIN such as US0378331005`, `"AAPL"`}},
		"check digit":               {put("instrument_id", `"US0378331006"`), invalidRequest, []string{"instrument_id: must be an ISIN whose check digit fits"}},
		"unknown side":              {put("side", `"HOLD"`), invalidRequest, []string{`side: must be one of BUY, SELL, got "HOLD"`}},
		"account is no uuid":        {orderBody("a1", domain.Buy, one), invalidRequest, []string{`account_id: must be a uuid such as`, `got "a1"`}},
		"user is no uuid":           {put("user_id", `"zoe"`), invalidRequest, []string{"user_id: must be a uuid such as"}},
		"unknown member":            {orderBody(account.ID, domain.Buy, one+`"price": "1",`), invalidRequest, []string{"price: is not a member here; there are account_id, cash_amount, "}},
		"id of the client's":        {orderBody(account.ID, domain.Buy, one+`"order_id": "`+zoe+`",`), invalidRequest, []string{"order_id: is not a member here"}},
		"nothing given": {`{}`, invalidRequest, []string{"account_id: is missing; it must be a uuid", "user_id: is missing", "side: is missing; it must be one of BUY, SELL",
			"instrument_id: is missing", "instrument_id_type: is missing; it must be ISIN", "order_type: is missing; it must be MARKET"}},
		"unknown account":    {orderBody(bob, domain.Buy, one), unprocessableEntity, []string{"account_id: there is no account with the id " + bob}},
		"user of no account": {put("user_id", `"`+bob+`"`), unprocessableEntity, []string{"user_id: must be a user of the account, and " + bob + " is none"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.in(t).refused(call{method: "POST", path: "/orders", body: tt.body}, tt.slug, tt.texts...)
		})
	}
	commits, err := s.log.Load(context.Background(), "account", account.ID, 0)
	require.NoError(t, err)
	require.Len(t, commits, 1, "nothing but the opening")
}

// Which orders an account takes follows from its status; each refusal says so.
func TestOrdersByStatus(t *testing.T) {
	s := start(t)
	group := s.newGroup()
	account := s.newAccount(group.ID)
	place := func(side domain.OrderSide) call {
		return call{method: "POST", path: "/orders", body: orderBody(account.ID, side, one)}
	}
	s.tell(domain.KindAccount, account.ID, &domain.RecordPosition{ISIN: exampleISIN, Quantity: "1", Revision: 1})
	bought := s.newOrder(account.ID, domain.Buy)

	s.tell(domain.KindAccount, account.ID, &domain.Lock{})
	for _, side := range []domain.OrderSide{domain.Buy, domain.Sell} {
		s.refused(place(side), unprocessableEntity, "the account is LOCKED")
	}
	s.tell(domain.KindAccount, account.ID, &domain.Unlock{})

	require.Equal(t, http.StatusAccepted, s.do("DELETE", "/accounts/"+account.ID, "").status)
	s.refused(place(domain.Buy), unprocessableEntity, "the account is CLOSING: it takes SELL orders only, got BUY")
	sold := s.newOrder(account.ID, domain.Sell)
	closure := decode[domain.Closure](t, s.do("GET", "/accounts/"+account.ID+"/closure", ""), http.StatusOK)
	require.Equal(t, []domain.BlockerCode{domain.OpenPositions, domain.OpenOrders}, codes(closure.Blockers))
	require.ElementsMatch(t, []string{bought.ID, sold.ID}, []string{closure.Blockers[1].Items[0].ID, closure.Blockers[1].Items[1].ID})

	s.tell(domain.KindAccount, account.ID, &domain.RecordOrder{OrderID: bought.ID, Status: domain.OrderCancelled, Revision: 1})
	s.tell(domain.KindAccount, account.ID, &domain.RecordOrder{OrderID: sold.ID, Status: domain.OrderFilled, Revision: 1})
	s.tell(domain.KindAccount, account.ID, &domain.RecordPosition{ISIN: exampleISIN, Quantity: "0", Revision: 2})
	s.refused(place(domain.Sell), unprocessableEntity, "the account is CLOSED")
	// An order stays readable, with how far it got.
	require.Equal(t, domain.OrderCancelled, decode[domain.OrderResource](t, s.do("GET", "/orders/"+bought.ID, ""), http.StatusOK).Status)
	require.Equal(t, domain.OrderFilled, decode[domain.OrderResource](t, s.do("GET", "/orders/"+sold.ID, ""), http.StatusOK).Status)
}

func TestUnknownOrder(t *testing.T) {
	s := start(t)
	id := uuid.NewString()
	s.refused(call{method: "GET", path: "/orders/" + id}, notFound, "there is no order with the id "+id)
	s.refused(call{method: "GET", path: "/orders/o1"}, notFound, `there is no order with the id "o1": an id is a uuid`)
	// The id of an account is not that of an order.
	account := s.newAccount(s.newGroup().ID)
	s.refused(call{method: "GET", path: "/orders/" + account.ID}, notFound, account.ID)
}

// The two refusals of an order that is not there are one, whoever gives it.
func TestUnknownOrderHasOneDetail(t *testing.T) {
	s := start(t)
	account, id := s.newAccount(s.newGroup().ID), uuid.NewString()
	_, err := s.engine.Order(context.Background(), alice, account.ID, id)
	var refusal *domain.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, refusal.Detail, s.refused(call{method: "GET", path: "/orders/" + id}, notFound).problem(t).Detail)
}

func codes(blockers []domain.Blocker) []domain.BlockerCode {
	var all []domain.BlockerCode
	for _, b := range blockers {
		all = append(all, b.Code)
	}
	return all
}
