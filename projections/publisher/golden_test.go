package publisher

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
)

// update writes golden files that do not exist yet. It never touches one that does: downstream consumers rely on it.
var update = flag.Bool("update", false, "write the golden files that are missing; existing ones are never changed")

// golden compares data with a golden file.
func golden(t *testing.T, name string, data []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644); err == nil {
			_, err = f.Write(data)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
	}
	kept, err := os.ReadFile(path)
	require.NoError(t, err, "a golden file is missing: go test ./projections/publisher -update writes it, once")
	require.Equal(t, string(kept), string(data), "%s pins what downstream consumers get (CONTRACT: A published event)", path)
}

// typesOfAClosing and typesOfTheRest list what the publisher publishes; COMMAND.REJECTED comes from the way in.
func typesOfAClosing() []string {
	return []string{
		domain.PublishedAccountCreated, domain.PublishedAccountActivated, domain.PublishedAccountUpdated, domain.PublishedAccountLocked,
		domain.PublishedAccountUnlocked, domain.PublishedAccountClosingInitiated, domain.PublishedAccountClosed,
		domain.PublishedGroupCreated, domain.PublishedGroupActivated, domain.PublishedGroupLocked, domain.PublishedGroupUnlocked,
		domain.PublishedGroupClosureAnnounced, domain.PublishedGroupClosingInitiated, domain.PublishedGroupClosed,
		domain.PublishedReportCreated, domain.PublishedReconciliationRequired,
	}
}

func typesOfTheRest() []string {
	return []string{
		domain.PublishedGroupUpdated, domain.PublishedClosureStalled, domain.PublishedUserOffboardingInitiated, domain.PublishedUserOffboarded,
		domain.PublishedOrderNew, domain.PublishedOrderProcessing, domain.PublishedOrderFilled, domain.PublishedOrderCancelled,
		domain.PublishedOrderCancellationRequested,
		domain.PublishedLiquidationNew, domain.PublishedLiquidationProcessing, domain.PublishedLiquidationFilled,
		domain.PublishedLiquidationSettled, domain.PublishedLiquidationCancelled,
	}
}

// Each type of event, as it stands in CLOSURE_EVENTS after a whole closing: subject, headers and body.
func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	a.wholeStory()
	p := a.start(Config{})
	a.caughtUp(p)
	require.Equal(t, a.wanted(), a.published(), "each event once, in the order of the log")

	seen := a.checkGolden()
	for _, name := range typesOfAClosing() {
		require.True(t, seen[name], "%s does not occur", name)
	}
	require.Len(t, seen, len(typesOfAClosing())+1)
}

// The types that a plain closing does not have: orders, liquidations, a stall, a domicile that changes, a user who leaves.
func TestGoldenEventsOfTheRest(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	a.open()
	before := len(a.all)
	a.otherStory()
	p := a.start(Config{})
	a.caughtUp(p)
	require.Equal(t, a.wanted(), a.published(), "each event once, in the order of the log")
	require.Greater(t, len(a.all), before)
	seen := a.checkGolden(typesOfAClosing()...)
	for _, name := range typesOfTheRest() {
		require.True(t, seen[name], "%s does not occur", name)
	}
	require.Len(t, seen, len(typesOfTheRest()))
}

// checkGolden compares the first event of each type with its golden file, but for those that another story pins.
func (a *author) checkGolden(pinned ...string) map[string]bool {
	t := a.t.(*testing.T)
	t.Helper()
	seen := map[string]bool{}
	for _, msg := range a.out() {
		mustBeCloudEvent(t, a, msg)
		name := msg.Header.Get(headerType)
		if slices.Contains(pinned, name) {
			continue
		}
		if name == domain.PublishedReconciliationRequired && msg.Header.Get(headerSubject) == someAccount.ID {
			name += ".account"
		}
		if !seen[name] {
			seen[name] = true
			golden(t, filepath.Join("events", name+".json"), pretty(t, msg))
		}
	}
	return seen
}

// pretty shows a message as a golden file has it. Headers of the server and of its batches depend on how it was sent;
// ce-datacontenttype came later than the files, which stay as they are, and mustBeCloudEvent looks at it.
func pretty(t *testing.T, msg *jetstream.RawStreamMsg) []byte {
	t.Helper()
	headers := map[string]string{}
	for name, values := range msg.Header {
		if (strings.HasPrefix(name, "Nats-") && name != jetstream.MsgIDHeader) || name == headerDataContentType {
			continue
		}
		require.Len(t, values, 1, name)
		headers[name] = values[0]
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // the body as it is
	enc.SetIndent("", "  ")
	require.NoError(t, enc.Encode(struct {
		Subject string            `json:"subject"`
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body"`
	}{msg.Subject, headers, msg.Data}))
	return out.Bytes()
}

// mustBeCloudEvent checks what CONTRACT says of every published event.
func mustBeCloudEvent(t *testing.T, a *author, msg *jetstream.RawStreamMsg) {
	t.Helper()
	h := msg.Header
	require.Equal(t, "1.0", h.Get("ce-specversion"))
	require.Equal(t, "/closure", h.Get("ce-source"))
	require.Equal(t, "application/json", h.Get("content-type"))
	require.Equal(t, "application/json", h.Get("ce-datacontenttype"))
	require.Equal(t, someClient, h.Get("ce-clientid"))
	require.Equal(t, h.Get("ce-id"), h.Get("Nats-Msg-Id"))
	require.Equal(t, "closure.event."+someClient+"."+strings.ToLower(h.Get("ce-type"))+"."+h.Get("ce-subject"), msg.Subject)
	id, err := domain.ParseID(h.Get("ce-id"))
	require.NoError(t, err)
	require.Equal(t, id, h.Get("ce-id"))
	at, err := time.Parse(time.RFC3339Nano, h.Get("ce-time"))
	require.NoError(t, err)
	var sequence int
	require.NoError(t, json.Unmarshal([]byte(h.Get("ce-logsequence")), &sequence))
	require.Equal(t, a.all[sequence-1].Time, at.UTC())
	require.True(t, strings.HasSuffix(h.Get("ce-time"), "Z"))
	require.True(t, json.Valid(msg.Data))
}

// Ids are derived from commit and index, and from nothing else: they are the same whoever publishes, and when.
func TestEventIDsAreStable(t *testing.T) {
	t.Parallel()
	require.Equal(t, "183bfac5-e172-5514-ba51-600405204a43", EventID("c0330000-0000-4000-8000-000000000001", 0))
	seen := map[string]bool{}
	for _, commit := range []string{"c0330000-0000-4000-8000-000000000001", "c0330000-0000-4000-8000-000000000002"} {
		for index := range 12 {
			seen[EventID(commit, index)] = true
		}
	}
	require.Len(t, seen, 24)
}
