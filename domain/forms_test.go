package domain

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What has to be refused, for each field of each command.

// bad is a value that must be refused, and what the answer must say would be right.
type bad struct {
	value any
	right string
}

func each(right string, values ...any) (out []bad) {
	for _, v := range values {
		out = append(out, bad{v, right})
	}
	return out
}

var (
	badIDs = append(each("must be a uuid", "", "1", "not a uuid", owner+"0", owner[:35], "{"+owner+"}", "urn:uuid:"+owner,
		strings.ReplaceAll(owner, "-", ""), strings.ReplaceAll(owner, "-", "x"), "g"+owner[1:], strings.Repeat("0", 36), owner[:35]+"\n", strings.Repeat("9", 100_000)),
		each("must be in lower case: 90000000-0000-4000-8000-00000000000a", "90000000-0000-4000-8000-00000000000A")...)
	badTexts    = badTextsOver(100)
	badDecimals = append(each("must be a decimal as a string", Decimal("1e999"), Decimal("1E3"), Decimal("NaN"), Decimal("Infinity"), Decimal("+1"),
		Decimal(".5"), Decimal("1."), Decimal("-"), Decimal("--1"), Decimal("-.5"), Decimal("1.2.3"), Decimal("1,5"), Decimal("1_000"), Decimal("0x1F"),
		Decimal(" 1"), Decimal("1 "), Decimal("1\n"), Decimal("１"), Decimal("−1"), Decimal("1\x00"), Decimal("null")),
		each("at most 38 digits, 27 of them decimals", Decimal(strings.Repeat("9", 39)), Decimal("-"+strings.Repeat("9", 39)),
			Decimal("0."+strings.Repeat("1", 28)), Decimal(strings.Repeat("1", 12)+"."+strings.Repeat("1", 27)), Decimal(strings.Repeat("0", 39)),
			Decimal(strings.Repeat("9", 100_000)))...)
	emptyDecimal = each("must be a decimal as a string", Decimal(""))
	badISINs     = append(each("must be an ISIN such as", "", "US037833100", "US03783310055", "us0378331005", "1S0378331005", "US037833100X", "US0378331005\n", "ÜS0378331005", strings.Repeat("U", 100_000)),
		each("whose check digit fits", "US0378331006", "US0378331004", "DE000BASF112", "US3078331005", "GB0002634947")...)
	badCurrencies = each("a currency code of ISO 4217", "", "EU", "EURO", "eur", "Eur", "978", "ZZZ", "XXX", "XTS", "BTC", "€", "EUR ", "E\x00R", strings.Repeat("E", 100_000))
	badCountries  = each("a country code of ISO 3166-1 alpha-2", "D", "DEU", "de", "De", "276", "UK", "EU", "ZZ", "XX", "DD", "SU", "YU", "EZ", "UN", " D", "D ", "  ", "E A", strings.Repeat("D", 100_000))
	badRevisions  = each("must be an integer from 1", int64(0), int64(-1), int64(-1<<63))
	badPositives  = slices.Concat(badDecimals, each("must be above zero", Decimal("0"), Decimal("-0"), Decimal("0.00"), Decimal("-1"), Decimal("-0.01")))
	badFilled     = slices.Concat(badDecimals, each("must not be negative", Decimal("-0.01"), Decimal("-1")))
	badAmounts    = slices.Concat(badDecimals, emptyDecimal, each("must not be negative", Decimal("-0.01"), Decimal("-1")))
)

func badStatuses[S ~string](list string, more ...S) []bad {
	out := each("must be one of "+list, S("active"), S("GONE"), S(" "), S(strings.Repeat("A", 100_000)), S("A\x1b[31m\xff"))
	for _, s := range more {
		out = append(out, bad{s, "must be one of " + list})
	}
	return out
}

var openings = badStatuses("ACTIVE, PENDING_APPROVAL", StatusClosing, StatusClosed, StatusLocked)

func badParties() []bad {
	of := func(n int) (out []Party) {
		for i := range n {
			out = append(out, Party{ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i+1), Type: Owner})
		}
		return out
	}
	twice := []Party{{owner, Owner}, {guardian, Guardian}, {owner, Guardian}}
	return []bad{
		{[]Party(nil), "users: must be 1 to 10 users, got 0"}, {[]Party{}, "users: must be 1 to 10 users, got 0"},
		{of(11), "users: must be 1 to 10 users, got 11"}, {of(50_000), "users: must be 1 to 10 users, got 50000"},
		{twice, "users[2].id: is in the list twice: " + owner},
		{[]Party{{guardian, Guardian}, {child, Guardian}}, "users: must have one OWNER or CHILD at least"},
		{[]Party{{owner, Owner}, {"x", Guardian}}, "users[1].id: must be a uuid"},
		{[]Party{{owner, "BOSS"}}, "users[0].type: must be one of OWNER, CHILD, GUARDIAN, got \"BOSS\""},
		{[]Party{{owner, ""}}, "users[0].type: must be one of OWNER, CHILD, GUARDIAN, got \"\""},
	}
}

func badResidencies() (out []bad) {
	for _, b := range append(badCountries, each("a country code", "")...) {
		out = append(out, bad{[]string{"FR", b.value.(string)}, "tax_residencies[1]: must be " + b.right})
	}
	eleven := strings.Fields(countries)[:11]
	return append(out, bad{eleven, "must be at most 10 countries, got 11"}, bad{[]string{"DE", "FR", "DE"}, "tax_residencies[2]: is in the list twice: DE"})
}

// form is a payload that is right, and what is wrong for each of its fields, by the name on the wire.
type form struct {
	right  Payload
	fields map[string][]bad
}

func forms() []form {
	types := badStatuses[AccountType]("TRADING, PORTFOLIO", "")
	linkForm := link(firstAccount)
	return []form{
		{openAccount(StatusActive), map[string][]bad{"account_group_id": badIDs, "type": types, "name": badTexts, "status": openings}},
		{&Activate{}, nil}, {&Lock{}, nil}, {&Unlock{}, nil}, {&RequestAccountClosure{}, nil},
		{&RenameAccount{Name: "Savings"}, map[string][]bad{"name": badTexts}},
		{holds(basf, "1", 1), map[string][]bad{"isin": badISINs, "quantity": append(badDecimals, emptyDecimal...), "pending_settlement": badDecimals, "revision": badRevisions}},
		{action(CorporateActionExpected, 1), map[string][]bad{"corporate_action_id": badIDs, "isin": badISINs,
			"status": badStatuses[CorporateActionStatus]("EXPECTED, SETTLED, CANCELLED", ""), "revision": badRevisions}},
		{openGroup(), map[string][]bad{"users": badParties(), "type": badStatuses[GroupType]("PERSONAL, JOINT, LEGAL_ENTITY, FRENCH_PEA, ISA, CHILD, BUSINESS", ""),
			"domicile": badCountries, "tax_residencies": badResidencies(), "status": openings}},
		{cash("EUR", "1", 1), map[string][]bad{"currency": badCurrencies, "balance": append(badDecimals, emptyDecimal...), "pending_settlement": badDecimals, "revision": badRevisions}},
		{fee(FeeProcessing, 1), map[string][]bad{"fee_collection_id": badIDs, "status": badStatuses[FeeStatus]("PROCESSING, FINALISED, CANCELLED", "", "NEW"),
			"amount": badAmounts, "currency": badCurrencies, "revision": badRevisions}},
		{withdrawal(someWithdrawal, WithdrawalNew, 1), map[string][]bad{"withdrawal_id": badIDs,
			"status": badStatuses[WithdrawalStatus]("NEW, PROCESSING, CONFIRMED, CANCELLED", "", "FINALISED"),
			"amount": badAmounts, "currency": badCurrencies, "revision": badRevisions}},
		{closeGroup("aml"), map[string][]bad{"closure_reason": badStatuses[ClosureReason]("dunning, power_of_attorney, loss_of_legal_capacity, aml, risk_based, contract_breach, user_initiated", "AML", "other")}},
		{linkForm, map[string][]bad{"account_id": badIDs, "type": types, "name": badTexts, "status": openings}},
		{&WithdrawAccountLink{AccountID: firstAccount}, map[string][]bad{"account_id": badIDs}},
		{closureOf(firstAccount), map[string][]bad{"account_id": badIDs, "closed_at": each("must be the time", time.Time{})}},
		{report(owner), map[string][]bad{"report_id": badIDs, "user_id": badIDs,
			"type": badStatuses[ReportType]("ACCOUNT_CLOSING, ANNUAL_TAX_STATEMENT", "")}},
	}
}

// moreForms are those of orders, liquidations, dates and users.
func moreForms() []form {
	right := "must be one of "
	group := map[string][]bad{"account_group_id": badIDs}
	return []form{
		{order(someOrder, Buy, basf, "1"), map[string][]bad{"order_id": badIDs, "user_id": idsGiven(), "side": badStatuses[OrderSide]("BUY, SELL", ""),
			"isin": badISINs, "quantity": slices.Concat(badPositives, each("give either quantity, or cash_amount with currency", Decimal(""))),
			"currency": slices.Concat(each("must be a currency code", "eur", "XXX", "EURO"))}},
		{&PlaceOrder{OrderID: someOrder, Side: Buy, ISIN: basf, CashAmount: "1", Currency: "EUR"}, map[string][]bad{"cash_amount": badPositives,
			"currency": badCurrencies, "quantity": each("not both", Decimal("1"))}},
		{orderIs(someOrder, OrderFilled, 1), map[string][]bad{"order_id": badIDs, "revision": badRevisions,
			"status":          append(badStatuses[OrderStatus]("PROCESSING, FILLED, CANCELLED", ""), each(right+"PROCESSING, FILLED", OrderNew)...),
			"filled_quantity": badPositives}},
		{orderIs(someOrder, OrderCancelled, 1), map[string][]bad{"filled_quantity": badFilled}},
		{orderIs(someOrder, OrderProcessing, 1), map[string][]bad{"filled_quantity": badFilled}},
		{liquidate(someLiquidation), map[string][]bad{"liquidation_id": badIDs, "user_id": badIDs}},
		{takeBack(someLiquidation), map[string][]bad{"liquidation_id": badIDs}},
		{&RecordDomicile{AccountGroupID: someGroup, Domicile: "GB"}, map[string][]bad{"account_group_id": badIDs, "domicile": slices.Concat(badCountries, each("a country code", ""))}},
		{&ChangeDomicile{Domicile: "GB"}, map[string][]bad{"domicile": slices.Concat(badCountries, each("a country code", "")), "tax_residencies": badResidencies()}},
		{booking(2026, "-1", 1), map[string][]bad{"tax_booking_id": badIDs, "year": each("must be a year from 1900 to 9999", -1, 0, 26, 1899, 10000),
			"kind":   each("must be a kind of booking in capitals", "", "dividend", "Dividend", "1A", "_A", "A B", "A-B", "Ä", "A\n", strings.Repeat("A", 51), strings.Repeat("A", 100_000)),
			"amount": slices.Concat(badDecimals, emptyDecimal), "currency": badCurrencies, "revision": badRevisions}},
		{statement(), map[string][]bad{"day": each("must be a day of every year such as 03-15", MonthDay{}, MonthDay{3, 0}, MonthDay{0, 15}, MonthDay{13, 1},
			MonthDay{-1, 1}, MonthDay{3, -1}, MonthDay{3, 32}, MonthDay{4, 31}, MonthDay{2, 29}, MonthDay{2, 30})}},
		{settles(someAction), map[string][]bad{"reconciliation_id": badIDs, "note": badTextsOver(1000)}},
		{stall(1), map[string][]bad{"number": each("must be 1 at least", 0, -1), "period": each("must be above zero", time.Duration(0), -time.Second)}},
		{&ReviewClosure{}, nil}, {&RequestOffboarding{}, nil},
		{linkGroup(someGroup), group},
		{&WithdrawGroupLink{AccountGroupID: someGroup}, group},
		{groupIsClosed(someGroup, 2026), map[string][]bad{"account_group_id": badIDs, "closed_at": each("must be the time", time.Time{})}},
		{&RecordTaxStatement{AccountGroupID: someGroup}, group},
	}
}

// idsGiven are bad ids where none at all is right.
func idsGiven() []bad {
	return slices.DeleteFunc(slices.Clone(badIDs), func(b bad) bool { return b.value == "" })
}

// unchecked are the fields that take every value of their type, with why.
var unchecked = map[string]string{
	"request_closure.notification_only":               "a boolean",
	"record_report.sha256":                            "the engine's own, computed beside it",
	"record_report.size":                              "the engine's own, computed beside it",
	"link_account_group.open":                         "checked as the open of the group itself, see TestLinkGroupChecksTheGroup",
	"record_account_group_closure.tax_statement_year": "the engine's own, computed beside it",
}

// badTextsOver are texts that are wrong where so many characters are allowed.
func badTextsOver(limit int) []bad {
	bound := fmt.Sprintf("must be 1 to %d characters, got ", limit)
	return slices.Concat(each(bound+"0", ""),
		each(bound+fmt.Sprint(limit+1), strings.Repeat("x", limit+1), strings.Repeat("ä", limit+1)),
		each(bound+"100000", strings.Repeat("x", 100_000)),
		each("must have no control characters, got U+00", "a\x00", "a\nb", "\tb", "a\x1b[31m", "a\u007f", "a\u0085b"),
		each("must have no control characters, got U+20", "a\u2028b", "a\u2029b", "a\u202ab", "a\u202eb", "a\u2066b", "a\u2069b"),
		each("must be valid UTF-8", "\xff", "abc\xc3", "\xed\xa0\x80"))
}
