package verify

import (
	"context"
	"time"

	"closure/eventstore"
)

// Message is a message of the log as it is stored, before anybody has judged it.
type Message struct {
	Sequence uint64
	Subject  string
	Time     time.Time // when the server stored it
	Hash     string    // header Closure-Hash; "" for none
	ID       string    // header Nats-Msg-Id; "" for none, and in an export
	Body     []byte

	// Fault is what is wrong with the source itself at this place; then there is no message. "" for nothing.
	Fault string
}

// Scope is which part of a log a source has. The zero Scope is the whole of it.
type Scope struct {
	// From and To are the first and the last sequence, inclusive; 0 for the first and the last that there are.
	From, To uint64
	// Aggregate is a kind of aggregate; "" for all. ID is one of it; "" for all.
	Aggregate, ID string
	// Cut tells that the log goes on behind To. A source says so.
	Cut bool
}

// filtered tells that messages of other aggregates are left out, so that sequences are missing by right.
func (s Scope) filtered() bool { return s.Aggregate != "" }

// whole tells that it is the log from its beginning to its end.
func (s Scope) whole() bool { return !s.filtered() && s.first() == 1 && !s.Cut }

// first is the first sequence that the scope may have.
func (s Scope) first() uint64 { return max(s.From, 1) }

// has tells whether a message belongs to the scope by its subject.
func (s Scope) has(subject string) bool {
	if !s.filtered() {
		return true
	}
	aggregate, id, ok := eventstore.ParseLogSubject(subject)
	return ok && aggregate == s.Aggregate && (s.ID == "" || id == s.ID)
}

// Source gives the messages of a log. Each Walk begins anew and gives the same.
type Source interface {
	Scope() Scope
	// Walk hands over every message in the order in which it is there. An error of the handler ends it, and is returned.
	Walk(ctx context.Context, handle func(Message) error) error
}
