package natsapi_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/handlers/natsapi"
)

const (
	commandID = "0a1b2c3d-0000-4000-8000-00000000c001"
	clientID  = "0a1b2c3d-0000-4000-8000-00000000c11e"
	requestID = "0a1b2c3d-0000-4000-8000-0000000004e9"
	someID    = "0a1b2c3d-0000-4000-8000-0000000000aa"
	otherID   = "0a1b2c3d-0000-4000-8000-0000000000bb"
)

// payloads has every member of every command, with a value that is right.
func payloads() map[domain.Kind]map[string]string {
	return map[domain.Kind]map[string]string{
		domain.KindAccount: {
			"open":                    `{"account_group_id":"` + otherID + `","type":"TRADING","name":"Mein Depot","status":"ACTIVE"}`,
			"activate":                `{}`,
			"lock":                    `{}`,
			"unlock":                  `{}`,
			"rename":                  `{"name":"Anderer Name"}`,
			"record_position":         `{"isin":"US0378331005","quantity":"-3.5","pending_settlement":"0","revision":1}`,
			"record_corporate_action": `{"corporate_action_id":"` + otherID + `","isin":"US0378331005","status":"EXPECTED","revision":7}`,
			"place_order":             `{"order_id":"` + otherID + `","user_id":"` + someID + `","side":"SELL","isin":"US0378331005","quantity":"3","cash_amount":"","currency":""}`,
			"record_order":            `{"order_id":"` + otherID + `","status":"CANCELLED","filled_quantity":"0.5","revision":1}`,
			"request_liquidation":     `{"liquidation_id":"` + otherID + `","user_id":"` + someID + `"}`,
			"cancel_liquidation":      `{"liquidation_id":"` + otherID + `"}`,
			"settle_reconciliation":   `{"reconciliation_id":"` + otherID + `","note":"paid back"}`,
			"request_closure":         `{}`,
		},
		domain.KindUser: {"request_offboarding": `{}`},
		domain.KindAccountGroup: {
			"open": `{"users":[{"id":"` + otherID + `","type":"OWNER"}],"type":"PERSONAL","domicile":"DE","tax_residencies":["DE"],"status":"ACTIVE"}`,

			"activate":              `{}`,
			"lock":                  `{}`,
			"unlock":                `{}`,
			"record_cash_balance":   `{"currency":"EUR","balance":"12.50","pending_settlement":"0","revision":1}`,
			"record_fee_collection": `{"fee_collection_id":"` + otherID + `","status":"PROCESSING","amount":"1","currency":"EUR","revision":1}`,
			"record_withdrawal":     `{"withdrawal_id":"` + otherID + `","status":"NEW","amount":"1","currency":"EUR","revision":9223372036854775807}`,
			"request_closure":       `{"closure_reason":"aml","notification_only":true}`,
			"change_domicile":       `{"domicile":"GB","tax_residencies":["GB","DE"]}`,
			"record_tax_booking":    `{"tax_booking_id":"` + otherID + `","year":2026,"kind":"DIVIDEND","amount":"-1.50","currency":"EUR","revision":1}`,
			"settle_reconciliation": `{"reconciliation_id":"` + otherID + `","note":"paid back"}`,
		},
	}
}

// mayBeLeftOut is what DOMAIN calls optional or gives a default.
var mayBeLeftOut = map[string][]string{
	"open":                {"status", "domicile", "tax_residencies"},
	"record_position":     {"pending_settlement"},
	"record_cash_balance": {"pending_settlement"},
	"record_order":        {"filled_quantity"},
	"request_closure":     {"closure_reason", "notification_only"},
	"place_order":         {"user_id", "cash_amount", "currency"},
}

// bodyOf is a whole command: the envelope and the members of the payload.
func bodyOf(t testing.TB, payload string) map[string]json.RawMessage {
	t.Helper()
	body := map[string]json.RawMessage{}
	for _, part := range []string{payload, `{"command_id":"` + commandID + `","client_id":"` + clientID +
		`","actor":"upstream","request_id":"` + requestID + `","correlation_id":"` + otherID + `"}`} {
		require.NoError(t, json.Unmarshal([]byte(part), &body))
	}
	return body
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}

// refusal is the error of ParseCommand, which is never anything else.
func refusal(t testing.TB, err error) *domain.Refusal {
	t.Helper()
	var r *domain.Refusal
	require.True(t, errors.As(err, &r), "the error has to be a refusal, got %v", err)
	require.Equal(t, domain.Invalid, r.Kind)
	return r
}

func TestEveryCommandIsRead(t *testing.T) {
	for kind, commands := range payloads() {
		require.ElementsMatch(t, domain.CommandNames(kind), slices.Collect(maps.Keys(commands)), "the examples of %s", kind)
		for name, payload := range commands {
			t.Run(string(kind)+"/"+name, func(t *testing.T) {
				c, err := natsapi.ParseCommand(string(kind), someID, name, encode(t, bodyOf(t, payload)))
				require.NoError(t, err)
				require.Equal(t, domain.Command{
					Target: domain.Ref{Kind: kind, ID: someID}, ID: commandID, ClientID: clientID, Actor: "upstream",
					RequestID: requestID, CorrelationID: otherID, Payload: c.Payload,
				}, c)
				require.Equal(t, name, c.Payload.CommandName())
				// What was read, written again, is what came: no member got lost, and none is missing in the examples.
				require.JSONEq(t, payload, string(encode(t, c.Payload)))
			})
		}
	}
}

func TestEveryRequiredMemberIsAskedFor(t *testing.T) {
	for kind, commands := range payloads() {
		for name, payload := range commands {
			whole := bodyOf(t, payload)
			for member := range whole {
				t.Run(string(kind)+"/"+name+"/"+member, func(t *testing.T) {
					less := maps.Clone(whole)
					delete(less, member)
					_, err := natsapi.ParseCommand(string(kind), someID, name, encode(t, less))
					if slices.Contains(mayBeLeftOut[name], member) && !(kind == domain.KindAccount && name == "open" && member != "status") ||
						member == "request_id" || member == "correlation_id" {
						require.NoError(t, err)
						return
					}
					if name == "place_order" && member == "quantity" {
						require.Contains(t, refusal(t, err).Detail, "quantity: give either quantity, or cash_amount with currency")
						return
					}
					require.True(t, strings.HasPrefix(refusal(t, err).Detail, member+": missing; "+name+" takes command_id, client_id, actor"), "%v", err)
				})
			}
		}
	}
}

func TestAllMissingMembersAreNamed(t *testing.T) {
	_, err := natsapi.ParseCommand("account", someID, "rename", []byte(`{"actor":"a"}`))
	require.Equal(t, "command_id, client_id, name: missing; rename takes command_id, client_id, actor, name; optionally request_id, correlation_id",
		refusal(t, err).Detail)
}

// TestNullIsRefused: null would else be taken for the zero value, and a fact of zero would clear a blocker.
func TestNullIsRefused(t *testing.T) {
	for kind, commands := range payloads() {
		for name, payload := range commands {
			for member := range bodyOf(t, payload) {
				body := bodyOf(t, payload)
				body[member] = json.RawMessage("null")
				_, err := natsapi.ParseCommand(string(kind), someID, name, encode(t, body))
				require.Regexp(t, "^"+member+": must be .*, got null; leave out what there is none of$", refusal(t, err).Detail)
			}
		}
	}
}

// positionWith is a record_position with some members replaced; "" takes one away.
func positionWith(t testing.TB, replace map[string]string) []byte {
	t.Helper()
	body := bodyOf(t, payloads()[domain.KindAccount]["record_position"])
	for name, value := range replace {
		body[name] = json.RawMessage(value)
	}
	return encode(t, body)
}

func TestBadCommandsAreRefusedWithWhatWouldBeRight(t *testing.T) {
	whole := string(positionWith(t, nil))
	with := func(name, value string) string { return string(positionWith(t, map[string]string{name: value})) }
	group := func(users string) string {
		body := bodyOf(t, payloads()[domain.KindAccountGroup]["open"])
		body["users"] = json.RawMessage(users)
		return string(encode(t, body))
	}
	const fact, open = "account.record_position", "account_group.open"
	for name, test := range map[string]struct{ to, body, detail string }{
		"empty":                   {fact, "", "body: must be a JSON object with command_id, client_id, actor and the fields of the command; it is empty"},
		"white space":             {fact, " \n\t", "body: must be a JSON object with command_id, client_id, actor and the fields of the command; it is empty"},
		"an array":                {fact, "[" + whole + "]", "body: must be a JSON object, got an array"},
		"null":                    {fact, "null", "body: must be a JSON object, got null"},
		"a string":                {fact, `"` + someID + `"`, "body: must be a JSON object, got a string"},
		"a number":                {fact, "1", "body: must be a JSON object, got a number"},
		"not JSON":                {fact, "hello", "body: must be JSON in UTF-8, and is not from byte 0 on"},
		"XML":                     {fact, "<a/>", "body: must be JSON in UTF-8, and is not from byte 0 on"},
		"a byte order mark":       {fact, "\ufeff" + whole, "body: must be JSON in UTF-8, and is not from byte 0 on"},
		"cut off":                 {fact, whole[:len(whole)-1], "body: must be whole JSON; it ends too early, at byte " + itoa(len(whole)-1)},
		"cut off in a string":     {fact, `{"actor":"a`, "body: must be whole JSON; it ends too early, at byte 11"},
		"two objects":             {fact, whole + whole, "body: must end with the JSON object; there is more behind byte " + itoa(len(whole))},
		"trailing bytes":          {fact, whole + " x", "body: must end with the JSON object; there is more behind byte " + itoa(len(whole))},
		"a trailing comma":        {fact, strings.TrimSuffix(whole, "}") + ",}", "body: must be JSON in UTF-8, and is not from byte " + itoa(len(whole)-1) + " on"},
		"a member twice":          {fact, strings.TrimSuffix(whole, "}") + `,"revision":2}`, `body: must have each member once; it has "revision" twice`},
		"a member twice, nested":  {open, group(`[{"id":"` + otherID + `","type":"OWNER","type":"CHILD"}]`), `body: must have each member once; it has "type" twice`},
		"invalid UTF-8":           {fact, strings.Replace(whole, "upstream", "up\xffstream", 1), `body: must be JSON in UTF-8, and is not from byte 12 on ("actor")`},
		"half a surrogate pair":   {fact, strings.Replace(whole, "upstream", `\ud800`, 1), `body: must be JSON in UTF-8, and is not from byte 10 on ("actor")`},
		"a comment within":        {fact, strings.Replace(whole, `"-3.5"`, `/**/"-3.5"`, 1), "body: must be JSON in UTF-8, and is not from byte "},
		"a comment":               {fact, "/**/" + whole, "body: must be JSON in UTF-8, and is not from byte 0 on"},
		"NaN":                     {fact, strings.Replace(whole, `"-3.5"`, "NaN", 1), `body: must be JSON in UTF-8, and is not from byte ` + itoa(strings.Index(whole, `"-3.5"`)) + ` on ("quantity")`},
		"a leading zero":          {fact, strings.Replace(whole, `"revision":1`, `"revision":01`, 1), `body: must be JSON in UTF-8, and is not from byte ` + itoa(len(whole)-1)},
		"an unknown member":       {fact, with("note", `"x"`), `"note": not known; record_position takes command_id, client_id, actor, isin, quantity, revision; optionally request_id, correlation_id, pending_settlement`},
		"another case":            {fact, with("ISIN", `"x"`), `"ISIN": not known; record_position takes command_id, client_id, actor, isin, quantity, revision; optionally request_id, correlation_id, pending_settlement`},
		"the engine's own member": {"account.open", with("Link", "{}"), `"Link", "isin", "pending_settlement", "quantity", "revision": not known`},
		"a nested unknown member": {open, group(`[{"id":"` + otherID + `","type":"OWNER","name":"x"}]`), `"users[0].name": not known`},
		"a nested null":           {open, group(`[{"id":null,"type":"OWNER"}]`), `users[0].id: must not be null`},
		"a null in a list":        {open, group(`[null]`), `users[0]: must not be null`},
		"a nested wrong type":     {open, group(`[{"id":7,"type":"OWNER"}]`), `users[0].id: must be a string, got a number`},
		"an object for a list":    {open, group(`{}`), `users: must be an array, got an object`},
		"a string for an object":  {open, group(`["x"]`), `users[0]: must be an object, got a string`},
		"a string for a boolean":  {"account_group.request_closure", `{"command_id":"` + commandID + `","client_id":"` + clientID + `","actor":"a","notification_only":"true"}`, `notification_only: must be true or false, got a string`},
		"a number for an id":      {fact, with("client_id", "7"), "client_id: must be a string, got a number"},
		"revision 1e3":            {fact, with("revision", "1e3"), "revision: must be an integer in plain digits, such as 7, and below 2^63, got 1e3"},
		"revision 1.0":            {fact, with("revision", "1.0"), "revision: must be an integer in plain digits, such as 7, and below 2^63, got 1.0"},
		"revision in quotes":      {fact, with("revision", `"1"`), "revision: must be an integer in plain digits, such as 7, and below 2^63, got a string"},
		"revision 2^63":           {fact, with("revision", "9223372036854775808"), "revision: must be an integer in plain digits, such as 7, and below 2^63, got 9223372036854775808"},
		"revision of 100 digits":  {fact, with("revision", strings.Repeat("9", 100)), "revision: must be an integer in plain digits, such as 7, and below 2^63, got " + strings.Repeat("9", 40) + "…"},
		"revision true":           {fact, with("revision", "true"), "revision: must be an integer in plain digits, such as 7, and below 2^63, got a boolean"},
		"revision 0":              {fact, with("revision", "0"), "revision: must be an integer from 1, increasing at its source, got 0"},
		"revision -1":             {fact, with("revision", "-1"), "revision: must be an integer from 1, increasing at its source, got -1"},
		"a decimal as a number":   {fact, with("quantity", "12.50"), `quantity: must be a decimal as a JSON string, such as "12.50", got a number`},
		"a decimal 1e999":         {fact, with("quantity", `"1e999"`), `quantity: must be a decimal as a string, such as "12.50": digits, at most one point, an optional leading -, no exponent; at most 38 digits, 27 of them decimals`},
		"a decimal NaN":           {fact, with("quantity", `"NaN"`), "quantity: must be a decimal as a string"},
		"an empty decimal":        {fact, with("quantity", `""`), "quantity: must be a decimal as a string"},
		"a megabyte of digits":    {fact, with("quantity", `"`+strings.Repeat("1", 1<<20)+`"`), "quantity: must be a decimal as a string"},
		"a bad ISIN":              {fact, with("isin", `"US0378331006"`), `isin: must be an ISIN whose check digit fits, got "US0378331006"`},
		"an id that is none":      {fact, with("command_id", `"7"`), "command_id: must be a uuid such as 9b2d1f34-6c0e-4e0a-8a57-3f1d5c7e9a10, got 1 characters"},
		"an id in capitals":       {fact, with("client_id", `"`+strings.ToUpper(clientID)+`"`), "client_id: must be in lower case: " + clientID},
		"no actor":                {fact, with("actor", `""`), "actor: must be 1 to 100 characters, got 0"},
		"an actor of 100 kB":      {fact, with("actor", `"`+strings.Repeat("ä", 50_000)+`"`), "actor: must be 1 to 100 characters, got 50000"},
		"a control character":     {fact, with("actor", `"a\u0000"`), "actor: must have no control characters, got U+0000 at byte 1"},
	} {
		t.Run(name, func(t *testing.T) {
			aggregate, command, _ := strings.Cut(test.to, ".")
			_, err := natsapi.ParseCommand(aggregate, someID, command, []byte(test.body))
			detail := refusal(t, err).Detail
			require.True(t, strings.HasPrefix(detail, test.detail), "got  %s\nwant %s", detail, test.detail)
			require.Less(t, len(detail), 1000, "a refusal shows only a little of what came")
		})
	}
}

func TestBadSubjectsAreRefusedWithWhatWouldBeRight(t *testing.T) {
	body := bodyOf(t, `{}`)
	for name, test := range map[string]struct{ aggregate, id, command, detail string }{
		"aggregate":           {"acount", someID, "lock", `aggregate: must be one of account, account_group, user, got "acount"`},
		"a user's command":    {"user", someID, "lock", `command: must be one of request_offboarding for a user, got "lock"`},
		"no aggregate":        {"", someID, "lock", `aggregate: must be one of account, account_group, user, got ""`},
		"command":             {"account", someID, "close", `command: must be one of open, activate, lock, unlock, rename, record_position, record_corporate_action, place_order, record_order, request_liquidation, cancel_liquidation, request_closure, settle_reconciliation for an account, got "close"`},
		"a group's command":   {"account", someID, "record_cash_balance", `command: must be one of open, activate`},
		"the engine's own":    {"account_group", someID, "link_account", `command: must be one of open, activate, lock, unlock, change_domicile`},
		"capitals":            {"account", someID, "Lock", `command: must be one of open`},
		"id":                  {"account", "7", "lock", `account id: must be a uuid such as 9b2d1f34-6c0e-4e0a-8a57-3f1d5c7e9a10, got 1 characters`},
		"id in capitals":      {"account_group", strings.ToUpper(someID), "lock", `account_group id: must be in lower case: ` + someID},
		"id in another form":  {"account", "{" + someID + "}", "lock", `account id: must be a uuid`},
		"id without the dash": {"account", strings.ReplaceAll(someID, "-", ""), "lock", `account id: must be a uuid`},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := natsapi.ParseCommand(test.aggregate, test.id, test.command, encode(t, body))
			detail := refusal(t, err).Detail
			require.True(t, strings.HasPrefix(detail, test.detail), "got  %s\nwant %s", detail, test.detail)
			require.Equal(t, commandID, c.ID, "whose it was is told all the same")
		})
	}
}

// TestWhoseARefusedCommandWas: the ids are what a rejection is found by, so they are read from whatever has them.
func TestWhoseARefusedCommandWas(t *testing.T) {
	ids := `"command_id":"` + commandID + `","client_id":"` + strings.ToUpper(clientID) + `","request_id":"` + requestID + `"`
	for name, test := range map[string]struct {
		body                      string
		command, client, request_ string
	}{
		"unknown member":        {`{"x":1,` + ids + `}`, commandID, clientID, requestID},
		"missing member":        {`{` + ids + `}`, commandID, clientID, requestID},
		"broken behind":         {`{` + ids + `,"x":`, commandID, clientID, requestID},
		"broken before":         {`{"x":,` + ids + `}`, "", "", ""},
		"twice":                 {`{` + ids + `,"client_id":"` + otherID + `"}`, commandID, clientID, requestID},
		"wrong types":           {`{"command_id":7,"client_id":null,"request_id":{}}`, "", "", ""},
		"no uuids":              {`{"command_id":"7","client_id":"*","request_id":">"}`, "", "", ""},
		"not an object":         {`[{` + ids + `}]`, "", "", ""},
		"nothing":               {``, "", "", ""},
		"in an object, nested ": {`{"x":{` + ids + `}}`, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := natsapi.ParseCommand("account", someID, "rename", []byte(test.body))
			require.Error(t, err)
			require.Equal(t, []string{test.command, test.client, test.request_}, []string{c.ID, c.ClientID, c.RequestID})
		})
	}
}

func FuzzParseCommand(f *testing.F) {
	for kind, commands := range payloads() {
		for name, payload := range commands {
			body := encode(f, bodyOf(f, payload))
			f.Add(string(kind), someID, name, body)
			f.Add(string(kind), someID, name, body[:len(body)/2])
		}
	}
	f.Add("account", "*", "rename", []byte(`{"command_id":null}`))
	f.Add("", "", "", []byte{0xff})
	f.Fuzz(func(t *testing.T, aggregate, id, command string, body []byte) {
		c, err := natsapi.ParseCommand(aggregate, id, command, body)
		if err != nil {
			refusal(t, err)
			for _, id := range []string{c.ID, c.ClientID, c.RequestID} {
				if id == "" {
					continue
				}
				if lower, err := domain.ParseID(id); err != nil || lower != id {
					t.Fatalf("%q is handed on as an id", id)
				}
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("what was accepted is not valid: %v", err)
		}
		if c.Target != (domain.Ref{Kind: domain.Kind(aggregate), ID: id}) || c.Payload.CommandName() != command {
			t.Fatalf("read %s %s of %s %s", c.Target.Kind, c.Payload.CommandName(), aggregate, command)
		}
	})
}
