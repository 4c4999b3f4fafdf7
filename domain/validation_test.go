package domain

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

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
	badTexts = slices.Concat(each("must be 1 to 100 characters, got 0", ""),
		each("must be 1 to 100 characters, got 101", strings.Repeat("x", 101), strings.Repeat("ä", 101)),
		each("must be 1 to 100 characters, got 100000", strings.Repeat("x", 100_000)),
		each("must have no control characters, got U+00", "a\x00", "a\nb", "\tb", "a\x1b[31m", "a\u007f", "a\u0085b"),
		each("must have no control characters, got U+20", "a\u2028b", "a\u2029b", "a\u202ab", "a\u202eb", "a\u2066b", "a\u2069b"),
		each("must be valid UTF-8", "\xff", "abc\xc3", "\xed\xa0\x80"))
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
		{report(owner), map[string][]bad{"report_id": badIDs, "user_id": badIDs, "type": badStatuses[ReportType]("ACCOUNT_CLOSING", "")}},
	}
}

// unchecked are the fields that take every value of their type, with why.
var unchecked = map[string]string{
	"request_closure.notification_only": "a boolean",
	"record_report.sha256":              "the engine's own, computed beside it",
	"record_report.size":                "the engine's own, computed beside it",
}

// fieldNames gives the names on the wire; the engine's own commands have none, so their Go names are spelt the same way.
func fieldNames(p Payload) map[string]int {
	out := map[string]int{}
	t := reflect.TypeOf(p).Elem()
	for i := range t.NumField() {
		name, tagged := t.Field(i).Tag.Lookup("json")
		if name == "-" {
			continue
		}
		if !tagged {
			name = snake(t.Field(i).Name)
		}
		out[name] = i
	}
	return out
}

// snake spells AccountID as account_id.
func snake(name string) string {
	out := []rune{}
	upper := true
	for i, r := range name {
		if unicode.IsUpper(r) && !upper && i > 0 {
			out = append(out, '_')
		}
		upper = unicode.IsUpper(r)
		out = append(out, unicode.ToLower(r))
	}
	return string(out)
}

func TestValidation(t *testing.T) {
	for _, f := range forms() {
		require.NoError(t, f.right.Validate(), f.right.CommandName())
		index := fieldNames(f.right)
		for _, name := range slices.Sorted(maps.Keys(f.fields)) {
			i, ok := index[name]
			require.True(t, ok, "%s has no field %s", f.right.CommandName(), name)
			for _, b := range f.fields[name] {
				p := reflect.New(reflect.TypeOf(f.right).Elem())
				p.Elem().Set(reflect.ValueOf(f.right).Elem())
				p.Elem().Field(i).Set(reflect.ValueOf(b.value).Convert(p.Elem().Field(i).Type()))
				checkInvalid(t, p.Interface().(Payload).Validate(), name, b)
			}
		}
	}
}

// checkInvalid: the answer names the field first, says what would be right, and can be shown and logged as it is.
func checkInvalid(t *testing.T, err error, field string, b bad) {
	t.Helper()
	at := fmt.Sprintf("%s = %.60q", field, fmt.Sprint(b.value))
	var refusal *Refusal
	require.True(t, errors.As(err, &refusal), "%s was taken", at)
	require.Equal(t, Invalid, refusal.Kind, at)
	named := strings.HasPrefix(refusal.Detail, field+": ") || strings.HasPrefix(refusal.Detail, field+"[")
	require.True(t, named, "%s: the answer does not begin with the field: %s", at, refusal.Detail)
	require.Contains(t, refusal.Detail, b.right, at)
	require.Less(t, len(refusal.Detail), 500, "%s: the answer repeats what was sent", at)
	require.True(t, utf8.ValidString(refusal.Detail), at)
	require.Equal(t, -1, strings.IndexFunc(refusal.Detail, func(r rune) bool { return unicode.IsControl(r) || breaksText(r) }), at)
}

// TestEveryFieldIsValidated finds a field, or a command, that the tables above do not have.
func TestEveryFieldIsValidated(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range forms() {
		command := f.right.CommandName()
		seen[reflect.TypeOf(f.right).String()] = true
		for name := range fieldNames(f.right) {
			if _, ok := unchecked[command+"."+name]; !ok {
				require.NotEmpty(t, f.fields[name], "%s.%s has no bad values in the table", command, name)
			}
		}
	}
	for _, kind := range Kinds() {
		for _, name := range CommandNames(kind) {
			p, ok := NewPayload(kind, name)
			require.True(t, ok)
			require.True(t, seen[reflect.TypeOf(p).String()], "%s %s has no form", kind, name)
		}
		for _, payload := range commands(kind) {
			require.True(t, seen[reflect.TypeOf(payload(newStage(kind, someGroup))).String()])
		}
	}
}

// TestRightValues has what must be taken, at the edges.
func TestRightValues(t *testing.T) {
	for _, d := range []Decimal{"0", "-0", "0.00", "-0.000", "00.10", "1", "-1", "0.5", Decimal(strings.Repeat("9", 38)), Decimal("-" + strings.Repeat("9", 38)),
		Decimal("0." + strings.Repeat("1", 27)), Decimal("-" + strings.Repeat("1", 11) + "." + strings.Repeat("1", 27))} {
		require.NoError(t, holds(basf, d, 1).Validate(), d)
	}
	for _, amount := range []Decimal{"0", "-0", "-0.00", "0.01"} {
		require.NoError(t, (&RecordFeeCollection{FeeCollectionID: someFee, Status: FeeProcessing, Amount: amount, Currency: "EUR", Revision: 1}).Validate(), amount)
	}
	for _, isin := range []string{basf, apple, world, "US5949181045", "GB0002634946", "FR0000120271", "DE0007164600", "CH0038863350", "JP3633400001",
		"NL0010273215", "AU0000XVGZA3", "DE000A0F5UF5", "US02079K3059", "IE00BK5BQT80"} {
		require.NoError(t, holds(isin, "1", 1).Validate(), isin)
	}
	for _, name := range []string{"x", strings.Repeat("x", 100), strings.Repeat("ß", 100), strings.Repeat("\U0001F600", 100), "O’Brien & Söhne <GmbH>", "Łódź Ωμέγα Привет",
		"שָׁלוֹם\u200f", "a\u00a0b"} {
		require.NoError(t, (&RenameAccount{Name: name}).Validate(), name)
	}
	for _, code := range []string{"EUR", "GBP", "USD", "CHF", "PLN", "JPY", "XAU"} {
		require.NoError(t, cash(code, "1", 1).Validate(), code)
	}
	for _, code := range append(strings.Fields(countries), "") {
		p := openGroup()
		p.Domicile = code
		require.NoError(t, p.Validate(), code)
	}
	require.Len(t, strings.Fields(countries), 249, "ISO 3166-1 has 249 codes")
	for _, reason := range append(ClosureReasons(), "") {
		require.NoError(t, closeGroup(reason).Validate())
	}
	for _, groupType := range GroupTypes() {
		p := openGroup()
		p.Type, p.TaxResidencies = groupType, strings.Fields(countries)[:10]
		require.NoError(t, p.Validate())
	}
	crowd := openGroup()
	for i := range 9 {
		crowd.Users = append(crowd.Users, Party{ID: DeriveID("user", fmt.Sprint(i)), Type: Guardian})
	}
	require.NoError(t, crowd.Validate(), "ten users")
	family := openGroup()
	family.Users = []Party{{guardian, Guardian}, {child, Child}}
	require.NoError(t, family.Validate())
	require.Equal(t, []bool{false, true, true}, []bool{family.Users[0].Owns(), family.Users[1].Owns(), users()[0].Owns()})
	require.NoError(t, holds(basf, "1", 1<<63-1).Validate())
}

// TestEnvelope has the fields that every command carries.
func TestEnvelope(t *testing.T) {
	right := activeAccount(t).command(&Lock{})
	right.RequestID, right.CorrelationID, right.CausationID = owner, child, guardian
	require.NoError(t, right.Validate())
	set := map[string]func(*Command, string){
		"account id": func(c *Command, v string) { c.Target.ID = v },
		"command_id": func(c *Command, v string) { c.ID = v },
		"client_id":  func(c *Command, v string) { c.ClientID = v },
	}
	optional := map[string]func(*Command, string){
		"request_id":     func(c *Command, v string) { c.RequestID = v },
		"correlation_id": func(c *Command, v string) { c.CorrelationID = v },
		"causation_id":   func(c *Command, v string) { c.CausationID = v },
	}
	for field, put := range optional {
		c := right
		put(&c, "")
		require.NoError(t, c.Validate(), "%s may be left out", field)
	}
	maps.Copy(set, optional)
	for field, put := range set {
		for _, b := range badIDs {
			if _, may := optional[field]; may && b.value == "" {
				continue
			}
			c := right
			put(&c, b.value.(string))
			checkInvalid(t, c.Validate(), field, b)
		}
	}
	for _, b := range badTexts {
		c := right
		c.Actor = b.value.(string)
		checkInvalid(t, c.Validate(), "actor", b)
	}
	c := right
	c.Payload = &RenameAccount{}
	checkInvalid(t, c.Validate(), "name", bad{"", "must be 1 to 100"})
}
