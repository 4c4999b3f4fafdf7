package domain

import "fmt"

// PartyType is what a user is to an account group.
type PartyType string

// The types of party. An OWNER or a CHILD owns what is in the group, and gets its reports; a GUARDIAN acts for a CHILD.
const (
	Owner    PartyType = "OWNER"
	Child    PartyType = "CHILD"
	Guardian PartyType = "GUARDIAN"
)

// Party is a user of an account group.
type Party struct {
	ID   string    `json:"id" doc:"The user's id (uuid)." format:"uuid"`
	Type PartyType `json:"type" doc:"What the user is to the group." enum:"OWNER,CHILD,GUARDIAN"`
}

// Owns tells whether the party owns what is in the group.
func (p Party) Owns() bool { return p.Type == Owner || p.Type == Child }

const maxParties = 10

// checkParties holds the rule of the command table: 1-10 users, each once, one OWNER or CHILD at least.
func checkParties(field string, parties []Party) error {
	if n := len(parties); n < 1 || n > maxParties {
		return invalid(field, "must be 1 to %d users, got %d", maxParties, n)
	}
	owners := 0
	seen := map[string]bool{}
	for i, p := range parties {
		at := fmt.Sprintf("%s[%d]", field, i)
		if err := checks(checkID(at+".id", p.ID), oneOf(at+".type", p.Type, Owner, Child, Guardian)); err != nil {
			return err
		}
		if seen[p.ID] {
			return invalid(at+".id", "is in the list twice: %s", p.ID)
		}
		seen[p.ID] = true
		if p.Owns() {
			owners++
		}
	}
	if owners == 0 {
		return invalid(field, "must have one OWNER or CHILD at least")
	}
	return nil
}
