package natsapi_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
	"closure/handlers/natsapi"
)

// What the publisher is pinned to write, one of each type, is what the document says: subject, headers and body.
func TestPublishedEventsFitTheDocument(t *testing.T) {
	t.Parallel()
	d := newAsyncDocument(t)
	files, err := filepath.Glob("../../projections/publisher/testdata/events/*.json")
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, name := range files {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		var event struct {
			Subject string          `json:"subject"`
			Headers map[string]any  `json:"headers"`
			Body    json.RawMessage `json:"body"`
		}
		require.NoError(t, json.Unmarshal(source, &event))
		eventType := event.Headers["ce-type"].(string)
		d.fits(eventType, event.Headers, event.Body)
		client, resource := event.Headers["ce-clientid"].(string), event.Headers["ce-subject"].(string)
		address := d.at("#/channels/" + eventType + "/address").(string)
		require.Equal(t, event.Subject, strings.NewReplacer("{client_id}", client, "{id}", resource).Replace(address))
		seen[eventType] = true
	}
	for _, name := range publishedTypes(t) {
		if family, _, _ := strings.Cut(name, "."); family != "COMMAND" && family != "WEBHOOK" {
			require.True(t, seen[name], "%s is not pinned", name)
		}
	}
}

func headersOf(h nats.Header) map[string]any {
	out := map[string]any{}
	for name := range h {
		if !strings.HasPrefix(name, "Nats-") || name == jetstream.MsgIDHeader {
			out[name] = h.Get(name)
		}
	}
	return out
}

// What the engine answers, refuses and logs is what the document says.
func TestAnswersRejectionsAndCommitsFitTheDocument(t *testing.T) {
	d := newAsyncDocument(t)
	r := serve(t)
	ask := func(subject string, body string) natsapi.Answer {
		msg, err := r.nc.Request(subject, []byte(body), patience)
		require.NoError(t, err)
		d.fits("Answer", nil, msg.Data)
		var a natsapi.Answer
		require.NoError(t, json.Unmarshal(msg.Data, &a))
		return a
	}
	group := r.openGroup()
	account := r.openAccount(group)
	envelope := `"command_id": "` + commandID + `", "client_id": "` + clientID + `", "actor": "a"`
	withdrawal := `{` + envelope + `, "withdrawal_id": "` + otherID + `", "status": "NEW", "amount": "5.00", "currency": "EUR", "revision": 1}`
	require.Equal(t, handlers.Accepted, ask(eventstore.RPCSubject("account_group", group, "record_withdrawal"), withdrawal).Result)
	require.Equal(t, handlers.Unchanged, ask(eventstore.RPCSubject("account_group", group, "record_withdrawal"), withdrawal).Result)
	require.Equal(t, natsapi.Rejected, ask(eventstore.RPCSubject("account", account, "rename"), "{}").Result)
	refused := ask(eventstore.RPCSubject("account_group", group, "request_closure"), `{"command_id": "`+someID+`", "client_id": "`+clientID+`", "actor": "a", "request_id": "`+requestID+`"}`)
	require.NotEmpty(t, refused.Error.Blockers)

	rejected := r.rejections()
	for _, c := range []struct{ subject, body string }{
		{eventstore.CommandSubject("account_group", group, "request_closure"), strings.Replace(`{`+envelope+`}`, commandID, otherID, 1)},
		{eventstore.CommandSubject("account", account, "rename"), ""},
		{"closure.command.account", ""},
	} {
		r.publish(c.subject, []byte(c.body))
		msg, _ := rejected.next()
		d.fits(domain.PublishedCommandRejected, headersOf(msg.Headers()), msg.Data())
	}

	stream, err := r.js.Stream(r.ctx, eventstore.StreamLog)
	require.NoError(t, err)
	last := stream.CachedInfo().State.LastSeq
	require.GreaterOrEqual(t, last, uint64(5))
	for seq := uint64(1); seq <= last; seq++ {
		msg, err := stream.GetMsg(r.ctx, seq)
		require.NoError(t, err)
		d.fits("commit", headersOf(msg.Header), msg.Data)
		// And it has all members that are described.
		require.Len(t, parsed(t, msg.Data), len(d.object("#/components/schemas/LoggedCommit/properties")))
	}
}

// What the document says of commands is what is read: a body that it refuses is refused, and one that it takes is taken.
func TestTheDocumentAndTheParserAgree(t *testing.T) {
	t.Parallel()
	d := newAsyncDocument(t)
	for kind, commands := range payloads() {
		for command, payload := range commands {
			whole := bodyOf(t, payload)
			if command == "place_order" { // "" is read as absent, and not described
				delete(whole, "cash_amount")
				delete(whole, "currency")
			}
			check := func(what string) {
				t.Helper()
				body := encode(t, whole)
				_, err := natsapi.ParseCommand(string(kind), someID, command, body)
				misfit := d.misfit("#/components/schemas/"+string(kind)+"."+command, parsed(t, body))
				require.Equal(t, err == nil, misfit == nil, "%s %s, %s: the parser says %v, the document %v: %s", kind, command, what, err, misfit, body)
			}
			check("as it is")
			whole["nobody_knows"] = json.RawMessage(`1`)
			check("with an unknown member")
			delete(whole, "nobody_knows")
			for member, value := range whole {
				delete(whole, member)
				check("without " + member)
				for _, other := range []string{`null`, `7`, `-1`, `"7"`, `true`, `[]`, `{}`, `"nonsense"`, `["nonsense"]`, `""`,
					`"ACTIVE"`, `"` + strings.ToUpper(otherID) + `"`, `"` + strings.Repeat("x", 101) + `"`, `"` + strings.Repeat("x", 1001) + `"`} {
					if other == `""` && emptyIsAbsent(command, member) {
						continue
					}
					whole[member] = json.RawMessage(other)
					check(member + " " + other[:min(len(other), 20)])
				}
				whole[member] = value
			}
		}
	}
}

// emptyIsAbsent: where a member may be left out, "" is read as if it were. The document does not speak of that.
func emptyIsAbsent(command, member string) bool {
	return slices.Contains([]string{"request_id", "correlation_id"}, member) || slices.Contains(mayBeLeftOut[command], member) ||
		command == "place_order" && member == "quantity"
}
