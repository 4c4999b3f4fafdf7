package publisher

import (
	"context"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/handlers"
	"closure/handlers/natsapi"
	"closure/projections/publisher/cloudeventstest"
)

// parsed is a message as the SDK reads it.
func parsed(t *testing.T, header nats.Header, data []byte) ce.Event {
	t.Helper()
	return cloudeventstest.Parse(t, header, data)
}

// Every type of event there is, published by whoever publishes it, is a CloudEvent 1.0 to the SDK.
func TestEveryPublishedTypeIsACloudEvent(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, tell := range []func(*author){
		(*author).wholeStory,
		func(a *author) { a.open(); a.otherStory() },
	} {
		a := newAuthor(t)
		tell(a)
		a.caughtUp(a.start(Config{}))
		for _, msg := range a.out() {
			e := parsed(t, msg.Header, msg.Data)
			checkEvent(t, a, msg, e)
			seen[e.Type()] = true
		}
	}
	for _, msg := range rejections(t) {
		e := parsed(t, msg.Header, msg.Data)
		checkRejection(t, msg, e)
		seen[e.Type()] = true
	}
	for _, name := range publishedTypes(t) {
		if family, _, _ := strings.Cut(name, "."); family != "WEBHOOK" { // the webhooks' own
			require.True(t, seen[name], "%s does not occur in the stories: show one", name)
		}
	}
}

// checkEvent compares what the SDK has read with the log.
func checkEvent(t *testing.T, a *author, msg *jetstream.RawStreamMsg, e ce.Event) {
	t.Helper()
	sequence, err := strconv.Atoi(e.Extensions()["logsequence"].(string))
	require.NoError(t, err)
	commit := a.all[sequence-1]
	index, err := strconv.Atoi(msg.Header.Get(headerIndex))
	require.NoError(t, err)
	require.Equal(t, ce.CloudEventsVersionV1, e.SpecVersion())
	require.Equal(t, EventID(commit.ID, index), e.ID())
	require.Equal(t, "/closure", e.Source())
	require.Equal(t, commit.Time, e.Time().UTC())
	require.Equal(t, commit.ClientID, e.Extensions()["clientid"])
	require.Equal(t, "application/json", e.DataContentType())
	require.Equal(t, eventstore.EventSubject(commit.ClientID, e.Type(), e.Subject()), msg.Subject)
	require.Len(t, e.Extensions(), 2)
	var body struct {
		ID string `json:"id"`
	}
	require.NoError(t, e.DataAs(&body))
	require.Equal(t, e.Subject(), body.ID)
}

func checkRejection(t *testing.T, msg *jetstream.RawStreamMsg, e ce.Event) {
	t.Helper()
	require.Equal(t, domain.PublishedCommandRejected, e.Type())
	require.Equal(t, "/closure", e.Source())
	require.WithinDuration(t, time.Now(), e.Time(), time.Hour)
	require.Equal(t, "application/json", e.DataContentType())
	var body natsapi.Rejection
	require.NoError(t, e.DataAs(&body))
	require.Equal(t, e.ID(), body.ID)
	client, _ := e.Extensions()["clientid"].(string)
	require.Equal(t, eventstore.EventSubject(client, e.Type(), e.Subject()), msg.Subject)
}

// rejections lets the way in refuse commands that say whose they are, and one that says nothing at all.
func rejections(t *testing.T) []*jetstream.RawStreamMsg {
	t.Helper()
	a := newAuthor(t)
	a.publisher() // and with it the stream
	service := natsapi.New(natsapi.Config{Log: a.connect(), Engine: nobody{}})
	require.NoError(t, service.Start(testContext(t)))
	t.Cleanup(func() { require.NoError(t, service.Stop(context.Background())) })
	js := a.log.JetStream()
	events, err := js.CreateConsumer(testContext(t), eventstore.StreamEvents, jetstream.ConsumerConfig{})
	require.NoError(t, err)
	for _, c := range []struct{ subject, body string }{
		{eventstore.CommandSubject("account", someAccount.ID, "rename"), `{"client_id": "` + someClient + `", "command_id": "` + owner + `"}`},
		{"closure.command.account", ""},
	} {
		_, err := js.Publish(testContext(t), c.subject, []byte(c.body))
		require.NoError(t, err)
		_, err = events.Next(jetstream.FetchMaxWait(patience))
		require.NoError(t, err)
	}
	return a.out()
}

// nobody is an engine that is never asked.
type nobody struct{}

func (nobody) Do(context.Context, domain.Command) (handlers.Outcome, error) {
	panic("a malformed command got through")
}

// publishedTypes reads the types of published events out of the domain's source: a new one cannot be forgotten.
func publishedTypes(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../domain/publication.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	var types []string
	ast.Inspect(file, func(n ast.Node) bool {
		declared, ok := n.(*ast.ValueSpec)
		if !ok || len(declared.Values) != 1 || !strings.HasPrefix(declared.Names[0].Name, "Published") {
			return true
		}
		value, ok := declared.Values[0].(*ast.BasicLit)
		require.True(t, ok, declared.Names[0].Name)
		name, err := strconv.Unquote(value.Value)
		require.NoError(t, err)
		types = append(types, name)
		return true
	})
	require.Greater(t, len(types), 30)
	require.True(t, slices.Contains(types, domain.PublishedAccountClosed))
	return types
}

// Whatever stands in an attribute, now or in a log of later, the header has printable ASCII, and is read back as it was.
func TestAttributesAreEncoded(t *testing.T) {
	t.Parallel()
	for value, header := range map[string]string{
		"ACCOUNT.CLOSED":             "ACCOUNT.CLOSED",
		"2026-01-02T09:01:00.1+02:0": "2026-01-02T09:01:00.1+02:0",
		"Euro € 😀":                   "Euro%20%E2%82%AC%20%F0%9F%98%80", // the binding's own example
		`100 % "sure"`:               "100%20%25%20%22sure%22",
		"Zoë\r\nce-type: X":          "Zo%C3%AB%0D%0Ace-type:%20X",
		"\x7f~!":                     "%7F~!",
	} {
		require.Equal(t, header, attribute(value))
		back, err := cloudeventstest.Decode(header)
		require.NoError(t, err)
		require.Equal(t, value, back)
	}
	require.Equal(t, "%EF%BF%BD", attribute("\xff"), "what is no UTF-8 is not made to look like it")
}

// A client id that nobody has thought of ends up in the event as it was, over a real server.
func TestAnEventWithStrangeAttributes(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	p := a.publisher()
	commit := eventstore.Recorded{Commit: eventstore.Commit{ID: "c1", ClientID: "Zoë", Time: time.Date(2026, 1, 1, 0, 30, 0, 120000000, time.FixedZone("", 3600))}, Sequence: 1}
	for i, client := range []string{"Zoë", ""} {
		commit.ClientID = client
		e, err := cloudEvent(commit, domain.Publication{Index: i, Type: domain.PublishedAccountClosed, ResourceID: "7", Body: json.RawMessage(`{"id":"7"}`)})
		require.NoError(t, err)
		require.NoError(t, p.publish(testContext(t), []event{e}))
	}
	out := a.out()
	first, second := parsedAs(t, out[0], true), parsedAs(t, out[1], true)
	require.Equal(t, "Zoë", first.Extensions()["clientid"])
	require.Equal(t, "2025-12-31T23:30:00.12Z", out[0].Header.Get("ce-time"))
	require.NotContains(t, second.Extensions(), "clientid", "an attribute without a value is left out")
	require.Equal(t, "closure.event._.account.closed.7", out[1].Subject)
}

// parsedAs reads by one of the two ways alone.
func parsedAs(t *testing.T, msg *jetstream.RawStreamMsg, asBinding bool) ce.Event {
	t.Helper()
	return cloudeventstest.ParseAs(t, msg.Header, msg.Data, asBinding)
}
