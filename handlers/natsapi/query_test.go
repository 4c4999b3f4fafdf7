package natsapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers/natsapi"
)

// closings answers with one page, and keeps what it was asked. What the lists hold is tested where they are kept.
type closings struct {
	asked chan domain.ClosureQuery
	err   error
}

func (c closings) Closures(_ context.Context, q domain.ClosureQuery) ([]domain.ClosureItem, int, error) {
	c.asked <- q
	if c.err != nil {
		return nil, 0, c.err
	}
	return []domain.ClosureItem{{Aggregate: domain.KindAccount, ID: someID, ClientID: clientID, Closure: domain.Closure{Status: domain.StatusClosing}}}, 7, nil
}

func askClosures(t *testing.T, r *rig, body string) natsapi.ClosuresAnswer {
	t.Helper()
	msg, err := r.nc.Request(eventstore.QueryClosures, []byte(body), patience)
	require.NoError(t, err)
	var a natsapi.ClosuresAnswer
	require.NoError(t, json.Unmarshal(msg.Data, &a), string(msg.Data))
	return a
}

func serveLists(t *testing.T, lists natsapi.Lists) *rig {
	t.Helper()
	r := newRig(t)
	r.keepEvents(1)
	cfg := r.config()
	cfg.Lists = lists
	r.start(cfg)
	return r
}

func TestOperatorsAskForClosings(t *testing.T) {
	lists := closings{asked: make(chan domain.ClosureQuery, 10)}
	r := serveLists(t, lists)
	for body, want := range map[string]domain.ClosureQuery{
		"":   {},
		"{}": {},
		`{"client_id": "` + clientID + `", "status": "CLOSING", "blocker": "CASH_BALANCE", "reconciliation": true, "offset": 3, "limit": 9}`: {
			ClientID: clientID, Status: domain.StatusClosing, Blocker: domain.CashBalance, Reconciliation: true, Offset: 3, Limit: 9},
	} {
		a := askClosures(t, r, body)
		require.Nil(t, a.Error)
		require.Equal(t, 7, a.TotalCount)
		require.Equal(t, someID, a.Data[0].ID)
		require.Equal(t, want, <-lists.asked)
	}
}

func TestAQuestionThatIsRefused(t *testing.T) {
	lists := closings{asked: make(chan domain.ClosureQuery, 10), err: &domain.Refusal{Kind: domain.Invalid, Detail: "limit: must be 1 to 1000, got 5000"}}
	r := serveLists(t, lists)
	require.Equal(t, "limit: must be 1 to 1000, got 5000", askClosures(t, r, `{"limit": 5000}`).Error.Detail)
	<-lists.asked
	for body, says := range map[string]string{
		`[]`:                     "body: must be a JSON object with client_id",
		`{"limit": "many"}`:      `wrong at "/limit"`,
		`{"colour": "red"}`:      `wrong at "/colour"`,
		`{"limit": 1`:            "body: must be a JSON object",
		`{"client_id": "seven"}`: "client_id: must be a uuid",
	} {
		a := askClosures(t, r, body)
		require.NotNil(t, a.Error, body)
		require.Equal(t, 400, a.Error.Status)
		require.Contains(t, a.Error.Detail, says)
	}
	require.Empty(t, lists.asked, "what is refused is not asked")
}

func TestAListThatFails(t *testing.T) {
	r := serveLists(t, closings{asked: make(chan domain.ClosureQuery, 10), err: errors.New("disk on fire at /var/lib")})
	a := askClosures(t, r, "")
	require.Equal(t, 500, a.Error.Status)
	require.NotContains(t, a.Error.Detail, "fire", "no internal text")
}

// FuzzParseClosures: any bytes are a query or a refusal that says what is wrong.
func FuzzParseClosures(f *testing.F) {
	for _, seed := range []string{``, `{}`, `{"status":"CLOSING","limit":10}`, `{"blocker":"OPEN_POSITIONS","offset":-1}`, `{"client_id":"x"}`, `[1`, `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := natsapi.ParseClosures(body)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		again, err := json.Marshal(q)
		require.NoError(t, err)
		same, err := natsapi.ParseClosures(again)
		require.NoError(t, err)
		require.Equal(t, q, same)
	})
}
