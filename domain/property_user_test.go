package domain

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// modelUser says what a user must be, from the commands alone: of each group 1 for open, a year for a statement to come, 0 for done.
type modelUser struct {
	groups               map[string]int
	opened, asked, ended bool
}

const modelOpen = 1

func (m *modelUser) left() (open, pending bool) {
	for _, state := range m.groups {
		open, pending = open || state == modelOpen, pending || state > modelOpen
	}
	return open, pending
}

func (m *modelUser) predict(p Payload) {
	switch p := p.(type) {
	case *LinkGroup:
		if _, known := m.groups[p.AccountGroupID]; !known && !m.asked {
			m.groups[p.AccountGroupID], m.opened = modelOpen, true
		}
	case *WithdrawGroupLink:
		if m.groups[p.AccountGroupID] == modelOpen {
			delete(m.groups, p.AccountGroupID)
		}
	case *RecordGroupClosure:
		if m.groups[p.AccountGroupID] == modelOpen {
			m.groups[p.AccountGroupID] = p.TaxStatementYear
		}
	case *RecordTaxStatement:
		if m.groups[p.AccountGroupID] > modelOpen {
			m.groups[p.AccountGroupID] = 0
		}
	case *RequestOffboarding:
		open, _ := m.left()
		m.asked = m.asked || m.opened && !open
	}
	_, pending := m.left()
	m.ended = m.ended || m.asked && !pending
}

func (m *modelUser) status() Status {
	switch {
	case !m.opened:
		return ""
	case m.ended:
		return Status(UserOffboarded)
	case m.asked:
		return Status(UserOffboarding)
	}
	return Status(UserActive)
}

// userCommand draws what may be sent to a user: to one of three groups, in any order, and again.
func userCommand(t *rapid.T) Payload {
	group := of(t, "group", someGroup, otherGroup, firstAccount)
	switch of(t, "command", "link", "withdraw", "closed", "closed with a statement", "statement", "offboard") {
	case "link":
		return linkGroup(group)
	case "withdraw":
		return &WithdrawGroupLink{AccountGroupID: group}
	case "closed":
		return groupIsClosed(group, 0)
	case "closed with a statement":
		return groupIsClosed(group, 2026)
	case "statement":
		return &RecordTaxStatement{AccountGroupID: group}
	}
	return &RequestOffboarding{}
}

// TestAnyInterleavingOfAUser: never OFFBOARDED over an open group or a pending statement, OFFBOARDED exactly when the last goes, and
// every prefix of the log folds to the state that was.
func TestAnyInterleavingOfAUser(t *testing.T) {
	reached := map[Status]int{}
	rapid.Check(t, func(t *rapid.T) {
		s, m := newStage(KindUser, owner), &modelUser{groups: map[string]int{}}
		t.Repeat(map[string]func(*rapid.T){
			"command": func(t *rapid.T) {
				p := userCommand(t)
				s.put(t, s.command(p))
				m.predict(p)
			},
			"": func(t *rapid.T) {
				open, pending := m.left()
				require.Equal(t, m.status(), s.status())
				want := ""
				switch {
				case m.ended:
					require.False(t, open || pending, "OFFBOARDED with something left")
				case open && pending:
					want = "OPEN_ACCOUNT_GROUPS, PENDING_TAX_STATEMENTS"
				case open:
					want = "OPEN_ACCOUNT_GROUPS"
				case pending:
					want = "PENDING_TAX_STATEMENTS"
				}
				require.Equal(t, want, codes(userOf(s).Blockers()))
				require.Equal(t, s.agg, s.replay(t, len(s.lines)))
			},
		})
		reached[s.status()]++
	})
	require.NotZero(t, reached[Status(UserOffboarded)], "nobody was ever OFFBOARDED: the property holds of nothing")
}
