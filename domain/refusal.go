package domain

import "fmt"

// RefusalKind is why a command was refused; each has one HTTP status and one slug (CONTRACT: Errors).
type RefusalKind string

// The kinds of refusal.
const (
	// Invalid: the command itself is wrong, whatever the state (400).
	Invalid RefusalKind = "invalid_request"
	// NotFound: no such resource for this client (404). Another client's resource is not found, too.
	NotFound RefusalKind = "not_found"
	// Conflict: the command does not fit the present state (409).
	Conflict RefusalKind = "conflict"
	// Unprocessable: the command is well-formed and its subject exists, but the rules forbid it (422).
	Unprocessable RefusalKind = "unprocessable_entity"
)

// Refusal is the domain's "no". Detail is written for the client: it names what is wrong and what would be right.
type Refusal struct {
	Kind     RefusalKind
	Detail   string
	Blockers []Blocker
}

func (r *Refusal) Error() string { return string(r.Kind) + ": " + r.Detail }

func invalid(field, format string, args ...any) error {
	return &Refusal{Kind: Invalid, Detail: field + ": " + fmt.Sprintf(format, args...)}
}

// Missing is the refusal for an id that is not there, or is not this client's.
func Missing(kind Kind, id string) *Refusal {
	return &Refusal{Kind: NotFound, Detail: fmt.Sprintf("there is no %s with the id %s", kind.noun(), id)}
}

func conflict(format string, args ...any) error {
	return &Refusal{Kind: Conflict, Detail: fmt.Sprintf(format, args...)}
}

func unprocessable(format string, args ...any) error {
	return &Refusal{Kind: Unprocessable, Detail: fmt.Sprintf(format, args...)}
}

// noun is the kind as people write it.
func (k Kind) noun() string {
	if k == KindAccountGroup {
		return "account group"
	}
	return string(k)
}

// WithArticle is the kind as people write it, with its article.
func (k Kind) WithArticle() string {
	if k == KindUser {
		return "a user"
	}
	return "an " + k.noun()
}
