package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/handlers/idempotency"
)

// keyed are the calls that need a key, with a body that makes something once for an account with a position.
func (s *service) keyed() map[string]call {
	s.t.Helper()
	group := s.newGroup()
	account := s.newAccount(group.ID)
	s.tell(domain.KindAccount, account.ID, &domain.RecordPosition{ISIN: exampleISIN, Quantity: "5", Revision: 1})
	return map[string]call{
		"POST /account_groups": {method: "POST", path: "/account_groups", body: `{"user_id": "` + zoe + `", "type": "PERSONAL"}`},
		"POST /accounts":       {method: "POST", path: "/accounts", body: `{"account_group_id": "` + group.ID + `", "type": "TRADING", "name": "Second"}`},
		"POST /orders": {method: "POST", path: "/orders", body: `{"account_id": "` + account.ID + `", "user_id": "` + zoe + `", "side": "SELL",
			"instrument_id": "` + exampleISIN + `", "instrument_id_type": "ISIN", "order_type": "MARKET", "quantity": "1"}`},
		"POST /accounts/{id}/liquidations": {method: "POST", path: "/accounts/" + account.ID + "/liquidations", body: `{"user_id": "` + zoe + `"}`},
	}
}

// under sends the call under a key.
func (c call) under(key string) call {
	header := map[string]string{headerIdempotencyKey: key}
	for name, value := range c.header {
		header[name] = value
	}
	c.header = header
	return c
}

func TestIdempotencyKeyIsRequired(t *testing.T) {
	s := start(t)
	for name, c := range s.keyed() {
		for _, key := range []string{"", "seven", "urn:uuid:" + zoe} {
			s.refused(c.under(key), missingIdempotencyKey, headerIdempotencyKey+": must be")
		}
		op := s.api.huma.OpenAPI().Paths[name[len("POST "):]].Post
		require.Contains(t, fmt.Sprint(paramRefs(op)), headerIdempotencyKey, name)
	}
	// DELETE is safe to repeat by itself.
	require.Equal(t, http.StatusAccepted, s.send(call{method: "DELETE", path: "/accounts/" + s.newAccount(s.newGroup().ID).ID}).status)
}

// A repetition is answered as the first time, in the same bytes, and makes nothing; another request under the key is refused.
func TestIdempotency(t *testing.T) {
	s := start(t)
	for name, c := range s.keyed() {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			key := uuid.NewString()
			first := s.send(c.under(key))
			require.Less(t, first.status, 300, "%s", first.body)
			before, err := s.log.LastSequence(t.Context())
			require.NoError(t, err)
			spaced := c
			spaced.body = " " + c.body + "\n"
			for _, again := range []call{c, spaced} {
				a := s.send(again.under(key))
				require.Equal(t, first.status, a.status)
				require.Equal(t, string(first.body), string(a.body))
				require.Equal(t, first.header.Get("Location"), a.header.Get("Location"))
				require.Equal(t, first.header.Get("Content-Type"), a.header.Get("Content-Type"))
				require.NotEqual(t, first.id, a.id, "each request has its own id")
			}
			other := c
			other.body = c.body[:len(c.body)-1] + `, "client_reference": "x"}`
			if name == "POST /accounts/{id}/liquidations" {
				other.body = `{"user_id": "` + alice + `"}`
			}
			s.refused(other.under(key), conflict, "idempotency-key: was used for another request")
			after, err := s.log.LastSequence(t.Context())
			require.NoError(t, err)
			require.Equal(t, before, after, "nothing was written")
			// The keys of another client are others.
			asBob := c
			asBob.header = map[string]string{headerClientID: bob}
			require.NotEqual(t, string(first.body), string(s.send(asBob.under(key)).body))
		})
	}
}

// A refused request leaves its key free, so that it can be put right.
func TestRefusedRequestLeavesItsKey(t *testing.T) {
	s := start(t)
	key := uuid.NewString()
	c := call{method: "POST", path: "/accounts", body: `{"account_group_id": "` + zoe + `", "type": "TRADING", "name": "x"}`}
	s.refused(c.under(key), notFound)
	c.body = `{"account_group_id": "` + s.newGroup().ID + `", "type": "TRADING", "name": "x"}`
	require.Equal(t, http.StatusCreated, s.send(c.under(key)).status)
}

// Twenty at the same moment, through two instances: one effect, one answer.
func TestIdempotencyUnderRivals(t *testing.T) {
	first := start(t)
	second := startBeside(t, first)
	for name, c := range first.keyed() {
		key := uuid.NewString()
		before, err := first.log.LastSequence(t.Context())
		require.NoError(t, err)
		bodies := make(chan string, 20)
		var all sync.WaitGroup
		for i := range 20 {
			s := []*service{first, second}[i%2]
			all.Go(func() { bodies <- s.plain(c.under(key)) })
		}
		all.Wait()
		close(bodies)
		one := <-bodies
		require.Contains(t, one, `"id"`, name)
		for body := range bodies {
			require.Equal(t, one, body, name)
		}
		commits, err := first.log.Read(t.Context(), before+1, 100)
		require.NoError(t, err)
		ids := map[string]int{}
		for _, c := range commits {
			ids[c.CommandID+c.Aggregate]++
		}
		for id, n := range ids {
			require.Equal(t, 1, n, "%s: the command %s was carried out more than once", name, id)
		}
	}
}

// What was made by a request that ended before its answer was kept is not made again: here, between the two.
func TestIdempotencyAfterACrash(t *testing.T) {
	s := start(t)
	for name, c := range s.keyed() {
		key := uuid.NewString()
		whole := s.api.idempotency
		s.api.idempotency = forgetful{whole}
		first := s.send(c.under(key))
		s.api.idempotency = whole
		before, err := s.log.LastSequence(t.Context())
		require.NoError(t, err)
		again := s.send(c.under(key))
		require.Equal(t, first.status, again.status, "%s: %s", name, again.body)
		require.Equal(t, first.header.Get("Location"), again.header.Get("Location"), name)
		require.Equal(t, string(first.body), string(again.body), name)
		after, err := s.log.LastSequence(t.Context())
		require.NoError(t, err)
		require.Equal(t, before, after, name)
	}
}

// forgetful loses the answers, as a process does that ends before it has kept them.
type forgetful struct{ Idempotency }

func (forgetful) Keep(_ context.Context, _ *idempotency.Claim, a idempotency.Answer) idempotency.Answer {
	return a
}

func paramRefs(op *huma.Operation) (refs []string) {
	for _, p := range op.Parameters {
		refs = append(refs, p.Ref)
	}
	return refs
}

// plain sends a call from any goroutine, and gives the body of its answer.
func (s *service) plain(c call) string {
	r, err := http.NewRequest(c.method, s.url+c.path, strings.NewReader(c.body))
	if err != nil {
		return err.Error()
	}
	r.Header.Set(headerClientID, alice)
	r.Header.Set(headerAuthorization, "Bearer "+s.tokens[alice])
	r.Header.Set("Content-Type", mediaJSON)
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	resp, err := s.http.Do(r)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}
