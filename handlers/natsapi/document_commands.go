package natsapi

import (
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
	"closure/handlers/natsapi/asyncapi"
)

// commandTexts says what each command asks for. A fact tells a present value.
var commandTexts = map[domain.Kind]map[string]string{
	domain.KindAccount: {
		"open": "Open an account in a group.", "activate": "Let a PENDING_APPROVAL account become ACTIVE.", "lock": "Lay a lock over the account: a closing in progress waits.",
		"unlock": "Take the lock away.", "rename": "Give the account another name.", "record_position": "The whole present holding of one instrument.",
		"record_corporate_action": "How far a corporate action is.", "place_order": "Ask for an order: give either quantity, or cash_amount with currency.",
		"record_order": "How far an order is.", "request_liquidation": "Sell everything that the account holds.", "cancel_liquidation": "Take a liquidation back while it is NEW.",
		"request_closure": "Ask the account to close: it does as soon as nothing stands against it.", "settle_reconciliation": "Say how what came after CLOSED was settled.",
	},
	domain.KindAccountGroup: {
		"open": "Open an account group.", "activate": "Let a PENDING_APPROVAL group become ACTIVE.", "lock": "Lay a lock over the group: a closing in progress waits.",
		"unlock": "Take the lock away.", "change_domicile": "State the domicile and all tax residencies of the group.", "record_cash_balance": "The whole present cash in one currency.",
		"record_fee_collection": "How far a fee collection is.", "record_withdrawal": "How far a withdrawal is.", "record_tax_booking": "One booking of a tax year.",
		"request_closure": "Ask the group to close: it does as soon as nothing stands against it.", "settle_reconciliation": "Say how what came after CLOSED was settled.",
	},
	domain.KindUser: {"request_offboarding": "Ask to end the relation with the user."},
}

// addCommands describes each command twice, for it can be sent to the inbox, and to the micro service.
func (d *document) addCommands() {
	d.addAnswer()
	for _, kind := range domain.Kinds() {
		for _, command := range domain.CommandNames(kind) {
			payload, _ := domain.NewPayload(kind, command)
			tag := tagCommands
			if domain.IsFact(payload) {
				tag = tagFacts
			}
			name := string(kind) + "." + command
			text := commandTexts[kind][command]
			message := asyncapi.Message{
				Name: name, Title: name, Summary: text, ContentType: mediaJSON, Tags: tagged(tag),
				Payload:  d.schemas.Put(name, d.commandSchema(kind, command, payload)),
				Examples: []asyncapi.MessageExample{{Payload: exampleCommandOf(kind, command, payload)}},
			}
			id := map[string]asyncapi.Parameter{"id": {Description: "The uuid of " + kind.WithArticle() + ", in lower case.", Examples: []string{exampleIDs[kind]}}}
			d.Add("command."+name, asyncapi.Channel{
				Address: address(eventstore.CommandSubject(string(kind), sample("id"), command)), Title: "Inbox: " + name, Tags: tagged(tag),
				Description: "Publish to it with JetStream: its acknowledgement means that the command is safe.", Parameters: id, Stream: eventstore.StreamCommands,
			}, asyncapi.Operation{
				Action: asyncapi.Receive, Summary: text, Tags: tagged(tag), Description: "What is refused is published as " + domain.PublishedCommandRejected + ".",
			}, message)
			d.Add("rpc."+name, asyncapi.Channel{
				Address: address(eventstore.RPCSubject(string(kind), sample("id"), command)), Title: "Micro service: " + name, Tags: tagged(tag), Parameters: id,
			}, asyncapi.Operation{
				Action: asyncapi.Receive, Summary: text, Tags: tagged(tag), Reply: asyncapi.Answer("rpc.answer", "Answer"),
			}, message)
		}
	}
}

// addAnswer describes what the micro service answers.
func (d *document) addAnswer() {
	describe(d.schemas.Component(reflect.TypeFor[Answer]()), map[string]huma.Schema{
		"result":   {Description: "What became of the command.", Enum: anys(handlers.Accepted, handlers.Unchanged, Rejected)},
		"sequence": {Description: "In CLOSURE_LOG: of the command's commit, or when it is unchanged of the resource's last one; 0 when it is rejected."},
		"error":    {Description: "Why it is rejected; absent when it is not."},
	})
	d.Add("rpc.answer", asyncapi.Channel{
		Title: "The answer to a command", Description: "It goes to the reply subject of the request.", Tags: tagged(tagCommands, tagFacts),
	}, asyncapi.Operation{}, asyncapi.Message{
		Name: "Answer", Summary: "What became of a command.", ContentType: mediaJSON, Tags: tagged(tagCommands, tagFacts),
		Payload: d.schemas.Of(reflect.TypeFor[Answer]()),
		Examples: []asyncapi.MessageExample{
			{Name: "accepted", Payload: Answer{Result: handlers.Accepted, Sequence: 4711}},
			{Name: "rejected", Payload: Answer{Result: Rejected, Error: &Problem{
				Type: handlers.NotFound.Type(), Status: handlers.NotFound.Status(), Title: handlers.NotFound.Title(), Detail: "account " + exampleAccount + " does not exist",
			}}},
		},
	})
}

// commandSchema is made of the members that ParseCommand reads, with the ones that it asks for.
func (d *document) commandSchema(kind domain.Kind, command string, payload domain.Payload) *huma.Schema {
	s := &huma.Schema{
		Type: huma.TypeObject, Description: commandTexts[kind][command], Properties: map[string]*huma.Schema{}, AdditionalProperties: false,
	}
	for _, f := range append(fieldsOf(&envelope{}), fieldsOf(payload)...) {
		s.Properties[f.name] = d.memberSchema(formOf(kind, command, f.name), f)
		if !optional(command, f.name) {
			s.Required = append(s.Required, f.name)
		}
	}
	if command == "place_order" {
		s.OneOf = []*huma.Schema{
			{Required: []string{"quantity"}, Not: &huma.Schema{Required: []string{"cash_amount"}}},
			{Required: []string{"cash_amount", "currency"}, Not: &huma.Schema{Required: []string{"quantity"}}},
		}
	}
	return s
}

// memberSchema is what one member of a command may be. The Go type says the type, and what is more stands in memberForms.
func (d *document) memberSchema(form form, f field) *huma.Schema {
	s := *d.schemas.Of(f.value.Type())
	s.Nullable = false // null is refused
	form.apply(&s)
	if s.Items != nil && s.Items.Type == huma.TypeString {
		items := *s.Items
		items.Pattern = form.items
		s.Items = &items
	}
	if strings.HasSuffix(f.name, "_id") {
		s.Format, s.Pattern = "uuid", patternID
	}
	if f.value.Type() == reflect.TypeFor[domain.Decimal]() {
		s.Format, s.Pattern, s.Examples = "decimal", patternDecimal, []any{form.example}
	}
	if f.name == "revision" {
		s.Minimum, s.Format = ptr(1.0), "int64"
	}
	return &s
}

// The forms of values. The domain asks for more than a pattern can say: check digits, codes that are assigned, 38 digits at most.
const (
	patternID       = `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`
	patternDecimal  = `^-?[0-9]+(\.[0-9]+)?$`
	patternISIN     = `^[A-Z]{2}[A-Z0-9]{9}[0-9]$`
	patternCurrency = `^[A-Z]{3}$`
	patternCountry  = `^[A-Z]{2}$`
	patternTaxKind  = `^[A-Z][A-Z0-9_]{0,49}$`
)

// form is what a member says beside its type.
type form struct {
	text    string
	example any
	pattern string
	items   string // pattern of what a list holds
	enum    []any
	low     int // of a length, an amount or a number of items
	high    int
}

// formOf finds what is said of a member: for one command of one kind, for one command, or in general.
func formOf(kind domain.Kind, command, member string) form {
	for _, name := range []string{string(kind) + "." + command + "." + member, command + "." + member, member} {
		if f, ok := memberForms[name]; ok {
			return f
		}
	}
	return form{}
}

func (f form) apply(s *huma.Schema) {
	s.Description, s.Pattern, s.Enum = f.text, f.pattern, f.enum
	if f.high == 0 {
		return
	}
	switch s.Type {
	case huma.TypeString:
		s.MinLength, s.MaxLength = &f.low, &f.high
	case huma.TypeArray:
		s.MinItems, s.MaxItems = &f.low, &f.high
	case huma.TypeInteger:
		s.Minimum, s.Maximum = ptr(float64(f.low)), ptr(float64(f.high))
	}
}

var exampleIDs = map[domain.Kind]string{domain.KindAccount: exampleAccount, domain.KindAccountGroup: exampleGroup, domain.KindUser: exampleUser}

// exampleCommandOf is a whole command, with all members but those that exclude each other.
func exampleCommandOf(kind domain.Kind, command string, payload domain.Payload) map[string]any {
	out := map[string]any{}
	for _, f := range append(fieldsOf(&envelope{}), fieldsOf(payload)...) {
		out[f.name] = formOf(kind, command, f.name).example
	}
	if command == "place_order" {
		delete(out, "cash_amount")
		delete(out, "currency")
	}
	return out
}
