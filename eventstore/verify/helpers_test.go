package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/replay"
	"closure/eventstore/verify"
)

const (
	someClient  = "c0000000-0000-4000-8000-000000000001"
	otherClient = "c0000000-0000-4000-8000-000000000002"
	owner       = "00000000-0000-4000-8000-000000000001"
	group       = "90000000-0000-4000-8000-000000000001"
	account     = "ac000000-0000-4000-8000-000000000001"
	basf        = "DE000BASF111"
)

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// judge is what the program judges by.
func judge(before any, c eventstore.Recorded) (any, error) {
	state, _ := before.(domain.Aggregate)
	after, err := replay.Judge(state, c)
	if errors.Is(err, domain.ErrUnknownEvent) {
		err = fmt.Errorf("%w: %w", verify.ErrUnknownEvent, err)
	}
	return after, err
}

// scribe decides commands as the engine does, and keeps what the log would hold. It needs no server.
type scribe struct {
	t      testing.TB
	now    time.Time
	states map[domain.Ref]domain.Aggregate
	heads  map[domain.Ref]eventstore.Head
	log    []verify.Message
}

func newScribe(t testing.TB) *scribe {
	return &scribe{
		t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		states: map[domain.Ref]domain.Aggregate{}, heads: map[domain.Ref]eventstore.Head{},
	}
}

func (s *scribe) does(kind domain.Kind, id string, p domain.Payload) {
	s.t.Helper()
	s.now = s.now.Add(time.Minute)
	ref := domain.Ref{Kind: kind, ID: id}
	if s.states[ref] == nil {
		s.states[ref] = domain.New(ref)
	}
	c := domain.Command{Target: ref, ID: uuid.NewString(), ClientID: someClient, Actor: "Zoë <test>", Time: s.now, Payload: p}
	events, err := s.states[ref].Decide(c)
	require.NoError(s.t, err)
	raw, err := replay.Encode(kind, events)
	require.NoError(s.t, err)
	s.states[ref].Apply(c.Meta(), events)
	s.append(commitOf(c, s.heads[ref], raw...))
}

// commitOf is the commit of a command behind a head.
func commitOf(c domain.Command, head eventstore.Head, raw ...eventstore.Event) eventstore.Commit {
	version := head.Version + 1
	return eventstore.Commit{
		ID: replay.CommitID(c.Target.Kind, c.Target.ID, version, c.ID), Aggregate: string(c.Target.Kind), AggregateID: c.Target.ID,
		ClientID: c.ClientID, Command: c.Payload.CommandName(), CommandID: c.ID, Actor: c.Actor, Time: c.Time,
		Version: version, PrevHash: head.Hash, Events: raw,
	}
}

func (s *scribe) append(c eventstore.Commit) {
	s.t.Helper()
	m := messageOf(s.t, c)
	m.Sequence = uint64(len(s.log) + 1)
	s.log = append(s.log, m)
	s.heads[domain.Ref{Kind: domain.Kind(c.Aggregate), ID: c.AggregateID}] = eventstore.Head{Sequence: m.Sequence, Version: c.Version, Hash: m.Hash}
}

func messageOf(t testing.TB, c eventstore.Commit) verify.Message {
	t.Helper()
	body, err := c.Encode()
	require.NoError(t, err)
	return verify.Message{Subject: eventstore.LogSubject(c.Aggregate, c.AggregateID), Hash: eventstore.HashOf(body), ID: c.ID, Body: body}
}

// closing is the life of a user, a group and an account, from the first link to CLOSED: at 1 the user, at 2, 3, 6, 10 the group, at 4, 5, 7, 8,
// 9 the account.
func closing(t testing.TB) *scribe {
	t.Helper()
	s := newScribe(t)
	s.life(owner, group, account)
	require.Len(t, s.log, 10)
	return s
}

func (s *scribe) life(owner, group, account string) {
	s.t.Helper()
	parties := []domain.Party{{ID: owner, Type: domain.Owner}}
	open := domain.OpenAccountGroup{Users: parties, Type: "PERSONAL", SecuritiesAccountNumber: "1000001"}
	s.does(domain.KindUser, owner, &domain.LinkGroup{AccountGroupID: group, Open: open})
	s.does(domain.KindAccountGroup, group, &open)
	s.does(domain.KindAccountGroup, group, &domain.LinkAccount{AccountID: account, Type: domain.Trading, Name: "Für <später> & mehr"})
	s.does(domain.KindAccount, account, &domain.OpenAccount{
		AccountGroupID: group, Type: domain.Trading, Name: "Für <später> & mehr",
		Link: &domain.AccountLink{Number: 1, Status: domain.StatusActive, Users: parties},
	})
	s.does(domain.KindAccount, account, &domain.RecordPosition{ISIN: basf, Quantity: "3", Revision: 1})
	s.does(domain.KindAccountGroup, group, &domain.RequestAccountGroupClosure{ClosureReason: "user_initiated"})
	s.does(domain.KindAccount, account, &domain.RequestAccountClosure{})
	s.does(domain.KindAccount, account, &domain.RecordPosition{ISIN: basf, Quantity: "1", Revision: 2})
	s.does(domain.KindAccount, account, &domain.RecordPosition{ISIN: basf, Quantity: "0", Revision: 3})
	s.does(domain.KindAccountGroup, group, &domain.RecordAccountClosure{AccountID: account, ClosedAt: s.now})
}

// publish writes messages into the log of a server of its own, past the engine, and gives its connection. Their sequences
// are those that the server gives them.
func publish(t testing.TB, log []verify.Message) *nats.Conn {
	t.Helper()
	nc := embeddedtest.Connect(t, embeddedtest.Server(t))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	// Nothing but the name counts for a reader; this one lets messages be deleted.
	_, err = js.CreateStream(testContext(t), jetstream.StreamConfig{Name: eventstore.StreamLog, AllowDirect: true, Subjects: []string{eventstore.LogSubjects}})
	require.NoError(t, err)
	publishInto(t, js, log)
	return nc
}

func publishInto(t testing.TB, js jetstream.JetStream, log []verify.Message) {
	t.Helper()
	for _, m := range log {
		msg := &nats.Msg{Subject: m.Subject, Data: m.Body, Header: nats.Header{}}
		if m.Hash != "" {
			msg.Header.Set(eventstore.HeaderHash, m.Hash)
		}
		if m.ID != "" {
			msg.Header.Set(nats.MsgIdHdr, m.ID)
		}
		_, err := js.PublishMsgAsync(msg)
		require.NoError(t, err)
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-testContext(t).Done():
		t.Fatal("the server does not acknowledge")
	}
}

func openStream(t testing.TB, nc *nats.Conn, scope verify.Scope) *verify.Stream {
	t.Helper()
	src, err := verify.OpenStream(testContext(t), nc, scope)
	require.NoError(t, err)
	return src
}

func run(t testing.TB, src verify.Source, cfg verify.Config) verify.Report {
	t.Helper()
	if cfg.Judge == nil {
		cfg.Judge = judge
	}
	r, err := verify.Run(testContext(t), src, cfg)
	require.NoError(t, err)
	require.Equal(t, len(r.Problems) == 0, r.OK)
	require.True(t, slices.IsSortedFunc(r.Problems, func(a, b verify.Problem) int { return int(a.Sequence-1) - int(b.Sequence-1) }) || r.Problems[len(r.Problems)-1].Sequence == 0)
	return r
}

// export gives the lines of an export, without line feeds.
func export(t testing.TB, src verify.Source) [][]byte {
	t.Helper()
	var out bytes.Buffer
	done, err := verify.Export(testContext(t), &out, src, eventstore.StreamLog, time.Now())
	require.NoError(t, err)
	lines := bytes.Split(bytes.TrimSuffix(out.Bytes(), []byte("\n")), []byte("\n"))
	require.Len(t, lines, int(done.Count)+2)
	return lines
}

func openExport(t testing.TB, lines [][]byte) *verify.File {
	t.Helper()
	f, err := verify.OpenExport(bytes.NewReader(append(bytes.Join(lines, []byte("\n")), '\n')))
	require.NoError(t, err)
	return f
}

// forged is a commit with one event behind a message, with the right hash and the right link.
func forged(t testing.TB, behind verify.Message, command string, change func(*eventstore.Commit), events ...eventstore.Event) verify.Message {
	t.Helper()
	c, err := eventstore.DecodeCommit(behind.Body)
	require.NoError(t, err)
	c.Version, c.PrevHash, c.Command, c.CommandID, c.Events = c.Version+1, behind.Hash, command, uuid.NewString(), events
	c.ID = replay.CommitID(domain.Kind(c.Aggregate), c.AggregateID, c.Version, c.CommandID)
	if change != nil {
		change(&c)
	}
	return messageOf(t, c)
}

func event(name, data string) eventstore.Event {
	return eventstore.Event{Type: name, Version: 1, Data: json.RawMessage(data)}
}

// found writes problems down in short: "CODE@sequence".
func found(r verify.Report) []string {
	out := []string{}
	for _, p := range r.Problems {
		out = append(out, fmt.Sprintf("%s@%d", p.Code, p.Sequence))
	}
	return out
}
