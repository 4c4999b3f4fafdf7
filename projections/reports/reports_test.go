package reports

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore"
	"closure/projections/reports/statement"
)

// Each owner and each child of a closed group gets one report; a guardian gets none.
func TestEachOwnerGetsOneReport(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	s := a.start(Config{})
	c.close()
	a.settle(s)

	closed, records := c.closed(), c.records()
	require.Len(t, records, 2)
	seen := map[string]bool{}
	for _, r := range records {
		require.Len(t, r.Events, 1)
		var created domain.ReportCreated
		require.NoError(t, json.Unmarshal(r.Events[0].Data, &created))
		seen[created.UserID] = true
		require.Equal(t, c.report(created.UserID), created.ReportID)
		require.Equal(t, "closure:reports", r.Actor)
		require.Equal(t, closed.ID, r.CausationID)
		require.Equal(t, domain.DeriveID("record_report", created.ReportID), r.CommandID)

		file := s.mustPDF(t, created.ReportID)
		sum := sha256.Sum256(file)
		require.Equal(t, created.SHA256, hex.EncodeToString(sum[:]))
		require.Equal(t, created.Size, len(file))
		resource, err := s.Report(testContext(t), someClient, created.ReportID)
		require.NoError(t, err)
		require.Equal(t, domain.ReportResource{
			ID: created.ReportID, CreatedAt: r.Time, UserID: created.UserID, Type: "ACCOUNT_CLOSING",
			Data: domain.ReportData{References: []domain.ReportReference{{ID: c.group, Type: "ACCOUNT_GROUP_ID"}}},
		}, resource)
	}
	require.Equal(t, map[string]bool{owner: true, child: true}, seen)
	_, err := s.Report(testContext(t), someClient, c.report(guardian))
	mustBeMissing(t, c.report(guardian), err)
}

// The whole log handled again gives the same bytes, the same object and no second record.
func TestMadeTwiceIsOneReport(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	c.close()
	first := a.start(Config{})
	a.settle(first)
	before, last, object := first.mustPDF(t, c.report(owner)), a.last(), a.object(first, c.report(owner))
	stop(t, first)

	require.NoError(t, a.log.JetStream().DeleteConsumer(testContext(t), eventstore.StreamLog, "reports"))
	again := a.start(Config{})
	require.Zero(t, again.Position())
	a.settle(again)
	require.Equal(t, last, a.last())
	require.Equal(t, object, a.object(again, c.report(owner)))
	require.Equal(t, before, again.mustPDF(t, c.report(owner)))
	require.Equal(t, before, a.render(again, c, domain.EventGroupClosed, owner), "the same log gives the same bytes")
	lag, err := again.Lag(testContext(t))
	require.NoError(t, err)
	require.Zero(t, lag)
}

// object identifies one writing of an object: each one has its own.
func (a *author) object(s *Service, id string) string {
	a.t.Helper()
	info, err := s.objects.GetInfo(testContext(a.t), id)
	require.NoError(a.t, err)
	return info.NUID
}

// render prints a user's copy of a report from the log as it is now.
func (a *author) render(s *Service, c *closing, event, user string) []byte {
	a.t.Helper()
	content, err := kinds[event].read(s, testContext(a.t), c.commit(event))
	require.NoError(a.t, err)
	for _, u := range c.state().Users {
		if u.ID == user {
			content.Address(domain.NewAccountGroup(c.group).ReportID(user, kinds[event].name), party(u))
		}
	}
	file, err := statement.Render(content)
	require.NoError(a.t, err)
	return file
}

// A crash between the object and its record: the object that is there is taken, and recorded once.
func TestACrashBetweenTheObjectAndTheRecord(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	c.close()
	crashed := a.service()
	id := c.report(owner)
	_, err := crashed.store(testContext(t), object{id: id, clientID: someClient, groupID: c.group}, a.render(crashed, c, domain.EventGroupClosed, owner))
	require.NoError(t, err)
	stored := a.object(crashed, id)
	// Not recorded: for clients it is not there.
	_, err = crashed.Report(testContext(t), someClient, id)
	mustBeMissing(t, id, err)
	_, _, err = crashed.PDF(testContext(t), someClient, id)
	mustBeMissing(t, id, err)
	// Of the child's, another version of the program has stored other bytes.
	_, err = crashed.store(testContext(t), object{id: c.report(child), clientID: someClient, groupID: c.group}, []byte("%PDF of another version"))
	require.NoError(t, err)

	s := a.start(Config{})
	a.settle(s)
	require.Len(t, c.records(), 2)
	require.Equal(t, stored, a.object(s, id), "stored again, and the bytes were there")
	s.mustPDF(t, id)
	require.Equal(t, a.render(s, c, domain.EventGroupClosed, child), s.mustPDF(t, c.report(child)), "what is recorded is what is stored")
}

// Several services at once, as when one was paused and wakes up, make one report.
func TestServicesAtOnce(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	c.close()
	closed := c.closed()
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		s := a.service()
		wg.Go(func() { errs[i] = s.handle(testContext(t), []eventstore.Recorded{closed}) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Len(t, c.records(), 2)
	s := a.service()
	s.mustPDF(t, c.report(owner))
	s.mustPDF(t, c.report(child))
}

// A replica that lags shows no group, or one that is not closed: then nothing is made, and nothing is skipped.
func TestWhatIsNotYetSeenIsNotSkipped(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	c.close()
	s := a.service()
	ahead := c.closed()
	ahead.Sequence = a.last() + 1
	require.ErrorIs(t, s.make(testContext(t), kinds[domain.EventGroupClosed], ahead), eventstore.ErrUnavailable)
	unseen := c.closed()
	unseen.AggregateID = uuid.NewString()
	require.ErrorIs(t, s.make(testContext(t), kinds[domain.EventGroupClosed], unseen), eventstore.ErrUnavailable)
	require.Empty(t, c.records())
}

// The place in the log is kept for good: what this version of the engine does not know may be what a later one makes a report for.
func TestWhatOnlyALaterVersionKnowsIsNotPassedOver(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	c := a.open()
	s := a.service()
	for _, e := range []eventstore.Event{
		{Type: "account_group.teleported", Version: 1}, {Type: "account.teleported", Version: 1},
		{Type: domain.EventGroupClosed, Version: domain.EventVersion(domain.EventGroupClosed) + 1},
	} {
		e.Data = json.RawMessage(`{}`)
		err := s.handle(testContext(t), []eventstore.Recorded{{Commit: eventstore.Commit{ID: uuid.NewString(), Aggregate: "account_group", AggregateID: c.group,
			ClientID: someClient, Events: []eventstore.Event{e}}}})
		require.ErrorIs(t, err, domain.ErrUnknownEvent)
		require.ErrorContains(t, err, e.Type)
	}
}

// A group that cannot be read is not skipped and is named in the log; the reports of others are made.
func TestAGroupThatCannotBeReadHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	bad, good := a.open(), a.open()
	bad.close()
	closed := bad.closed()
	commits, err := a.log.Load(testContext(t), string(domain.KindAccountGroup), bad.group, 0)
	require.NoError(t, err)
	_, err = a.log.Append(testContext(t), eventstore.Commit{
		ID: uuid.NewString(), Aggregate: "account_group", AggregateID: bad.group, ClientID: someClient, Actor: "test", Time: a.now,
		Events: []eventstore.Event{{Type: "account_group.teleported", Version: 1, Data: json.RawMessage(`{}`)}},
	}, commits[len(commits)-1].Head())
	require.NoError(t, err)
	good.close()
	lines := make(chan string, 1000)
	s := a.start(Config{Logger: slog.New(slog.NewTextHandler(writerFunc(func(line []byte) {
		select {
		case lines <- string(line):
		default: // enough is known
		}
	}), nil))})

	deadline := time.After(patience)
	for said := false; !said; {
		select {
		case line := <-lines:
			said = strings.Contains(line, "account_group.teleported") && strings.Contains(line, bad.group)
		case <-deadline:
			require.FailNow(t, "the log does not name the group")
		}
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(good.records()) < 2 {
		select {
		case <-tick.C:
		case <-deadline:
			require.FailNow(t, "no reports of the other group")
		}
	}
	s.mustPDF(t, good.report(owner))
	require.Less(t, s.Position(), closed.Sequence, "it went on behind the closing that it could not report")
}

type writerFunc func([]byte)

func (f writerFunc) Write(line []byte) (int, error) {
	f(line)
	return len(line), nil
}

// Of two services one works; the other takes over.
func TestTwoServices(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	services := []*Service{a.start(Config{}), a.start(Config{})}
	first, second := a.open(), a.open()
	first.close()
	for _, s := range services {
		a.settle(s)
	}
	require.Len(t, first.records(), 2)
	stop(t, services[0])
	second.close()
	a.settle(services[1])
	require.Len(t, second.records(), 2)
}

func TestStopBeforeStartAndTwice(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	s := New(Config{Log: a.log, Do: a.do})
	stop(t, s)
	stop(t, s)
	s = a.start(Config{})
	stop(t, s)
	stop(t, s)
	store, err := a.log.JetStream().ObjectStore(testContext(t), Bucket)
	require.NoError(t, err)
	status, err := store.Status(testContext(t))
	require.NoError(t, err)
	require.Equal(t, jetstream.FileStorage, status.Storage())
}
