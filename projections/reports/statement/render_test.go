package statement

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestRenderSaysAllThatItIsGiven reads the whole text back, in order. The lines are those of the page from top to bottom;
// runs of one row follow each other from left to right.
func TestRenderSaysAllThatItIsGiven(t *testing.T) {
	sheets := read(t, render(t, sample()))
	require.Len(t, sheets, 1)
	want := []string{
		"Account closing statement", "ACCOUNT_CLOSING",
		"Report", reportID, "Prepared for owner", ownerID, "Created", "2026-03-14 12:00:30 UTC",
		"Account group",
		"Account group", groupID, "Securities account number", "1234567890", "Type", "CHILD",
		"Opened", "2024-03-14 12:00:30 UTC", "Closing requested", "2026-03-11 12:00:30 UTC", "Closed", "2026-03-14 11:59:30 UTC",
		"Reason for closing", "Requested by the user (user_initiated)", "Requested by", "customer service",
		"Closure announced", "2026-02-12 12:00:30 UTC",
		"Domicile", "DE", "Tax residencies", "DE, AT", "Accounts", "2",
		"Users", "OWNER " + ownerID, "CHILD " + childID,
		"Account 1 – Depot",
		"Account", "aaaaaaaa-0000-4000-8000-000000000001", "Type", "TRADING", "Position movements", "2",
		"Opened", "2025-03-14 12:00:30 UTC", "Closing requested", "2026-03-12 12:00:30 UTC", "Closed", "2026-03-13 12:00:30 UTC",
		"ISIN", "Time (UTC)", "Quantity before", "Quantity after", "Remark",
		"DE0007164600", "2026-03-14 07:00:30", "12.5", "2.25",
		"DE0007164600", "2026-03-14 08:00:30", "2.25", "0", "Sold out",
		"Account 2 – Portfolio",
		"Account", "aaaaaaaa-0000-4000-8000-000000000002", "Type", "TRADING", "Position movements", "0",
		"Opened", "2025-03-14 12:00:30 UTC", "Closing requested", "2026-03-12 12:00:30 UTC", "Closed", "2026-03-13 12:00:30 UTC",
		"No position was recorded for this account.",
		"Cash movements",
		"Currency", "Time (UTC)", "Balance before", "Balance after", "Pending settlement",
		"EUR", "2026-03-14 09:00:30", "1520.37", "-0.01", "7",
		"Fees", "Fee collection", "Time (UTC)", "Status", "Amount", "Currency",
		"fee-1", "2026-03-14 10:00:30", "FINALISED", "12.30", "CHF",
		"Withdrawals", "Withdrawal", "Time (UTC)", "Status", "Amount", "Currency",
		"withdrawal-1", "2026-03-14 11:00:30", "CONFIRMED", "1508.07", "SEK",
		"End of statement: 2 accounts, 2 position movements, 1 cash movement, 1 fee collection, 1 withdrawal.",
		"Report " + reportID + " for OWNER " + ownerID + ". All times are in UTC.", "Page 1 of 1",
	}
	var got []string
	for _, r := range sheets[0].runs {
		// The introduction is prose; its words are free.
		if !strings.HasPrefix(r.text, "The account group named") && !strings.HasPrefix(r.text, "recorded") {
			got = append(got, r.text)
		}
	}
	assert.Equal(t, want, got)
}

func TestRenderSaysWhatIsMissing(t *testing.T) {
	s := Closing{Cover: Cover{ReportID: reportID, Owner: Party{ID: ownerID, Type: "CHILD"}, CreatedAt: noon, Group: Group{ID: groupID}}}
	text := all(read(t, render(t, s)))
	for _, sentence := range []string{
		"Prepared for child\n", "The account group had no account.\n", "No cash movement was recorded.\n", "No fee was collected.\n",
		"No cash was withdrawn.\n", "Reason for closing\nnot stated\n", "Closure announced\nnot announced\n", "Closed\n–\n", "Users\n–\n",
		"End of statement: 0 accounts, 0 position movements, 0 cash movements, 0 fee collections, 0 withdrawals.\n",
	} {
		assert.Contains(t, text, sentence)
	}

	s.Accounts = []Account{{Number: 1, Positions: []PositionMovement{{ISIN: "DE0007164600", At: noon, To: "1"}}}}
	text = all(read(t, render(t, s)))
	assert.Contains(t, text, "Account 1\nAccount\n–\n")
	assert.Contains(t, text, "DE0007164600\n2026-03-14 12:00:30\n–\n1\n")
}

func TestRenderNamesTheReasons(t *testing.T) {
	for wire, words := range map[string]string{
		"dunning":                "Dunning (dunning)",
		"power_of_attorney":      "Power of attorney (power_of_attorney)",
		"loss_of_legal_capacity": "Loss of legal capacity (loss_of_legal_capacity)",
		"aml":                    "Anti-money laundering (aml)",
		"risk_based":             "Risk based (risk_based)",
		"contract_breach":        "Breach of contract (contract_breach)",
		"user_initiated":         "Requested by the user (user_initiated)",
		"a_new_one":              "a_new_one",
		"":                       "not stated",
	} {
		assert.Equal(t, words, reason(wire))
	}
	s := sample()
	s.Accounts[1].Reason = "dunning"
	assert.Contains(t, all(read(t, render(t, s))), "Reason for closing\nDunning (dunning)\nNo position was recorded for this account.\n")
}

// TestRenderIsDeterministic renders from several goroutines, for the race detector too: the PDF writer has settings that
// all its documents share.
func TestRenderIsDeterministic(t *testing.T) {
	s := sample()
	s.Accounts[1].Name = "Ștefan – ქართული – Հայերեն – e\u0307\u0301 – 漢"
	want := render(t, s)
	files := make([][]byte, 24)
	var group sync.WaitGroup
	for i := range files {
		group.Go(func() {
			other := s
			// The zone in which a time is given is not part of what it says; nor is another document that is made meanwhile.
			other.CreatedAt = s.CreatedAt.In(time.FixedZone("somewhere", 3600*(i%5)))
			if i%3 == 0 {
				other.CreatedAt = other.CreatedAt.Add(time.Hour)
			}
			files[i], _ = Render(&other)
		})
	}
	group.Wait()
	for i, file := range files {
		if i%3 != 0 {
			assert.True(t, bytes.Equal(want, file), "file %d differs", i)
		} else {
			assert.Contains(t, string(file), "/ModDate (D:20260314130030Z)")
		}
	}
	assert.Contains(t, string(want), "/CreationDate (D:20260314120030Z)")
	assert.Contains(t, string(want), "/ModDate (D:20260314120030Z)")
}

func TestRenderRefusesWhatItCannotState(t *testing.T) {
	for field, spoil := range map[string]func(*Closing){
		"ReportID":  func(s *Closing) { s.ReportID = "" },
		"Owner.ID":  func(s *Closing) { s.Owner.ID = "" },
		"Group.ID":  func(s *Closing) { s.Group.ID = "" },
		"CreatedAt": func(s *Closing) { s.CreatedAt = time.Time{} },
	} {
		s := sample()
		spoil(&s)
		file, err := Render(&s)
		assert.Nil(t, file)
		assert.ErrorIs(t, err, ErrInvalid)
		assert.ErrorContains(t, err, field)
	}
}

// TestRenderTakesAnyText feeds it texts of every kind in every field: it makes a file that can be read, whose pages are
// those that the feet count.
func TestRenderTakesAnyText(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		kinds := rapid.OneOf(rapid.StringN(0, 120, -1), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) string { return string(b) }))
		word := func() string { return kinds.Draw(rt, "text") }
		s := sample()
		s.ReportID, s.Owner.Type, s.RequestedBy, s.Reason = "r"+word(), word(), word(), word()
		s.Group.TaxResidencies = []string{word(), word()}
		s.Accounts[0].Name, s.Accounts[0].Positions[0].ISIN = word(), word()
		s.Accounts[0].Positions[0].From = word()
		s.Cash[0].BalanceAfter, s.Cash[0].Currency = word(), word()
		s.Fees[0].ID, s.Withdrawals[0].Status = word(), word()
		file, err := Render(&s)
		if err != nil {
			rt.Fatal(err)
		}
		sheets := read(t, file)
		for i, sheet := range sheets {
			foot := fmt.Sprintf("Page %d of %d\n", i+1, len(sheets))
			if !strings.Contains(sheet.text(), foot) {
				rt.Fatalf("%q is missing", foot)
			}
		}
	})
}
