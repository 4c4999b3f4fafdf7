package domain

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

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
	for _, f := range append(forms(), moreForms()...) {
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
	seen, bads := map[string]bool{}, map[string]int{}
	all := append(forms(), moreForms()...)
	name := func(f form, field string) string { return reflect.TypeOf(f.right).String() + "." + field }
	for _, f := range all {
		seen[reflect.TypeOf(f.right).String()] = true
		for field, values := range f.fields {
			bads[name(f, field)] += len(values)
		}
	}
	for _, f := range all {
		for field := range fieldNames(f.right) {
			if _, ok := unchecked[f.right.CommandName()+"."+field]; !ok {
				require.NotZero(t, bads[name(f, field)], "%s has no bad values in the table", name(f, field))
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
	for _, status := range []OrderStatus{OrderProcessing, OrderCancelled} {
		for _, filled := range []Decimal{"", "0", "-0", "0.00", "0.01", Decimal(strings.Repeat("9", 38))} {
			require.NoError(t, orderDid(someOrder, status, filled, 1).Validate(), "%s %s", status, filled)
		}
	}
	require.NoError(t, orderDid(someOrder, OrderFilled, "0.000000000000000000000000001", 1).Validate())
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
