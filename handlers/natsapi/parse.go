package natsapi

import (
	"fmt"
	"slices"
	"strings"

	"closure/domain"
)

// envelope is what every command carries beside the fields of its payload (DOMAIN: Commands and facts).
type envelope struct {
	CommandID     string `json:"command_id"`
	ClientID      string `json:"client_id"`
	Actor         string `json:"actor"`
	RequestID     string `json:"request_id"`
	CorrelationID string `json:"correlation_id"`
}

// optionalMembers lists, by command, what may be left out; "" is for all commands. All other members are required.
var optionalMembers = map[string][]string{
	"":                    {"request_id", "correlation_id"},
	"open":                {"status", "domicile", "tax_residencies"},
	"record_position":     {"pending_settlement"},
	"record_cash_balance": {"pending_settlement"},
	"record_order":        {"filled_quantity"},
	"request_closure":     {"closure_reason", "notification_only"},
	// Of these the domain asks for a quantity, or for a cash amount with its currency.
	"place_order": {"user_id", "quantity", "cash_amount", "currency"},
}

func optional(command, member string) bool {
	return slices.Contains(optionalMembers[""], member) || slices.Contains(optionalMembers[command], member)
}

// ParseCommand reads a command as it comes on closure.command.<aggregate>.<id>.<command> and closure.rpc.…: one flat JSON
// object of the envelope (command_id, client_id, actor, and optionally request_id and correlation_id) and the fields of
// the payload (DOMAIN: Commands and facts).
//
// It is strict: an unknown, repeated or missing member, null, a wrong type, broken JSON, invalid UTF-8 and anything behind
// the object are refused, and so is whatever domain.Command.Validate refuses. The error is always a *domain.Refusal of
// the kind Invalid; its detail names the member and what would be right. The command that comes with an error is good
// for saying whose it was, and no more: Target as given, and of ID, ClientID and RequestID those that could be read and
// are uuids.
func ParseCommand(aggregate, id, command string, body []byte) (domain.Command, error) {
	target := domain.Ref{Kind: domain.Kind(aggregate), ID: id}
	members, bodyErr := readMembers(body)
	who := domain.Command{
		Target: target, ID: members.id("command_id"), ClientID: members.id("client_id"), RequestID: members.id("request_id"),
	}
	payload, err := checkSubject(target, command)
	if err != nil {
		return who, err
	}
	if bodyErr != nil {
		return who, bodyErr
	}
	var e envelope
	if err := members.decode(command, &e, payload); err != nil {
		return who, err
	}
	c := domain.Command{
		Target: target, ID: e.CommandID, ClientID: e.ClientID, Actor: e.Actor,
		RequestID: e.RequestID, CorrelationID: e.CorrelationID, Payload: payload,
	}
	if err := c.Validate(); err != nil {
		return who, err
	}
	return c, nil
}

// checkSubject refuses what the subject alone shows to be wrong, and gives the payload to decode into.
func checkSubject(target domain.Ref, command string) (domain.Payload, error) {
	if !slices.Contains(domain.Kinds(), target.Kind) {
		return nil, invalid("aggregate", "must be one of %s, got %s", names(domain.Kinds()), domain.Quote(string(target.Kind)))
	}
	payload, ok := domain.NewPayload(target.Kind, command)
	if !ok {
		return nil, invalid("command", "must be one of %s for %s, got %s",
			names(domain.CommandNames(target.Kind)), target.Kind.WithArticle(), domain.Quote(command))
	}
	field := string(target.Kind) + " id"
	switch id, err := domain.ParseID(target.ID); {
	case err != nil:
		return nil, invalid(field, "%v", err)
	case id != target.ID:
		return nil, invalid(field, "must be in lower case: %s", id)
	}
	return payload, nil
}

// malformedSubject is the refusal for a subject that does not have the tokens of a command. The form says what would be right.
func malformedSubject(subject, form string) error {
	return invalid("subject", "must be %s, got %s", form, domain.Quote(subject))
}

// invalid is a refusal in the form that the domain uses: the field, and what is wrong with it.
func invalid(field, format string, args ...any) error {
	return &domain.Refusal{Kind: domain.Invalid, Detail: field + ": " + fmt.Sprintf(format, args...)}
}

func names[T ~string](values []T) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return strings.Join(out, ", ")
}
