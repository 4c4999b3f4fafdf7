package domain

// The commands of the orders of an account, with what is wrong about them whatever the state is.

type (
	// PlaceOrder asks for an order. Give either Quantity, or CashAmount with Currency; the public API has a currency with a
	// quantity, too. UserID is whose order it is, one of the
	// account's users; "" is the first that owns the account.
	PlaceOrder struct {
		OrderID    string    `json:"order_id"`
		UserID     string    `json:"user_id"`
		Side       OrderSide `json:"side"`
		ISIN       string    `json:"isin"`
		Quantity   Decimal   `json:"quantity"`
		CashAmount Decimal   `json:"cash_amount"`
		Currency   string    `json:"currency"`
	}
	// RecordOrder states how far an order is. FilledQuantity is how much of the instrument was bought or sold up to now. Without it
	// nothing was of what is CANCELLED, and of any other order nobody knows.
	RecordOrder struct {
		OrderID        string      `json:"order_id"`
		Status         OrderStatus `json:"status"`
		FilledQuantity Decimal     `json:"filled_quantity"`
		Revision       int64       `json:"revision"`
	}
)

func (PlaceOrder) CommandName() string  { return "place_order" }
func (RecordOrder) CommandName() string { return "record_order" }

func (*RecordOrder) fact() {}

// Validate refuses what is wrong whatever the state is.
func (p PlaceOrder) Validate() error {
	if err := checks(checkID("order_id", p.OrderID), oneOf("side", p.Side, Buy, Sell), checkISIN("isin", p.ISIN)); err != nil {
		return err
	}
	if p.UserID != "" {
		if err := checkID("user_id", p.UserID); err != nil {
			return err
		}
	}
	if (p.Quantity == "") == (p.CashAmount == "") {
		return invalid("quantity", "give either quantity, or cash_amount with currency, not both and not neither")
	}
	if p.Quantity != "" && p.Currency == "" {
		return checkPositive("quantity", p.Quantity)
	}
	if p.Quantity != "" {
		return checks(checkPositive("quantity", p.Quantity), checkCurrency("currency", p.Currency))
	}
	return checks(checkPositive("cash_amount", p.CashAmount), checkCurrency("currency", p.Currency))
}

func checkPositive(field string, d Decimal) error {
	if err := checkDecimal(field, d); err != nil {
		return err
	}
	if d.IsZero() || d.IsNegative() {
		return invalid(field, "must be above zero, got %s", d)
	}
	return nil
}

// Validate refuses what is wrong whatever the state is.
func (p RecordOrder) Validate() error {
	return checks(
		checkID("order_id", p.OrderID),
		oneOf("status", p.Status, OrderProcessing, OrderFilled, OrderCancelled),
		p.checkFilled(),
		checkRevision(p.Revision),
	)
}

// checkFilled takes a decimal, or "" for what is not said. Nothing can be FILLED with nothing.
func (p RecordOrder) checkFilled() error {
	const field = "filled_quantity"
	switch {
	case p.FilledQuantity == "":
		return nil
	case p.Status == OrderFilled:
		return checkPositive(field, p.FilledQuantity)
	}
	if err := checkDecimal(field, p.FilledQuantity); err != nil {
		return err
	}
	if p.FilledQuantity.IsNegative() {
		return invalid(field, "must not be negative, also of a SELL order, got %s", p.FilledQuantity)
	}
	return nil
}
