package timer_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/timer"
)

// A clock that runs ahead by months: what counts is how long it is until a timer is due by that clock.
func TestAClockThatRunsAhead(t *testing.T) {
	t.Parallel()
	c := &clock{}
	c.move(120 * 24 * time.Hour)
	h := newHand()
	h.now = c.Now
	s := start(t, embeddedtest.Server(t), timer.Config{Handle: h.handle, Now: c.Now})
	require.NoError(t, s.Set(testContext(t), at("soon", c.Now().Add(time.Second))))
	got := h.await(t, 1)
	require.False(t, got[0].at.Before(got[0].Due))
	drained(t, s)

	// The clock is moved: one timer is made due by hand, and the one behind it comes when it is due by the new clock.
	overdue, next := at("overdue", c.Now().Add(24*time.Hour)), at("next", c.Now().Add(48*time.Hour))
	require.NoError(t, s.Set(testContext(t), next))
	require.NoError(t, s.Set(testContext(t), overdue))
	require.ErrorIs(t, s.Expire(testContext(t), overdue), timer.ErrNotDue)
	c.move(48*time.Hour - time.Second)
	pending, err := s.Pending(testContext(t))
	require.NoError(t, err)
	require.Equal(t, []timer.Timer{overdue, next}, pending, "by their times")
	require.NoError(t, s.Expire(testContext(t), overdue))
	require.Equal(t, overdue, h.await(t, 2)[1].Timer)
	require.NoError(t, s.Reschedule(testContext(t)))
	got = h.await(t, 3)
	require.Equal(t, next, got[2].Timer)
	require.False(t, got[2].at.Before(next.Due))
	drained(t, s)
}

// Timers that are due at the same time are listed by aggregate, id and purpose.
func TestTheOrderOfPending(t *testing.T) {
	t.Parallel()
	s := start(t, embeddedtest.Server(t), timer.Config{Handle: newHand().handle})
	due := time.Now().Add(time.Hour).UTC()
	want := []timer.Timer{
		{Aggregate: "z", ID: "9", Purpose: "z", Due: due.Add(-time.Nanosecond)},
		{Aggregate: "a", ID: "1", Purpose: "p", Due: due},
		{Aggregate: "a", ID: "1", Purpose: "q", Due: due},
		{Aggregate: "a", ID: "2", Purpose: "a", Due: due},
		{Aggregate: "b", ID: "0", Purpose: "a", Due: due},
		{Aggregate: "a", ID: "0", Purpose: "a", Due: due.AddDate(7000, 0, 0)}, // beyond what a schedule may be
	}
	for _, i := range []int{3, 5, 1, 0, 4, 2} {
		require.NoError(t, s.Set(testContext(t), want[i]))
	}
	pending, err := s.Pending(testContext(t))
	require.NoError(t, err)
	require.Equal(t, want, pending)
}

// A schedule that fires a second early, as schedules of whole seconds do, does not make its timer early.
func TestAServerThatIsEarly(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Server(t)
	h := newHand()
	s := start(t, server, timer.Config{Handle: h.handle})
	log := openLog(t, server.ClientURL(), 1)
	soon := at("a", time.Now().Add(1500*time.Millisecond))
	require.NoError(t, s.Set(testContext(t), soon))
	stands := lies(t, log, eventstore.TimerSetSubjects)
	require.Len(t, stands, 1)
	wake, due := scheduleOf(t, log)
	store(t, log, wake, "", jetstream.WithScheduleAt(time.Now()), jetstream.WithScheduleTarget(due))
	// It has fired, and the timer was not handled.
	require.Eventually(t, func() bool { return len(lies(t, log, eventstore.TimerDueSubjects)) == 1 }, patience, time.Millisecond)
	require.Len(t, lies(t, log, eventstore.TimerSetSubjects), 1)
	got := h.await(t, 1)
	require.False(t, got[0].at.Before(soon.Due))
	require.Less(t, got[0].at.Sub(soon.Due), 2*time.Second, "nor much later")
	nothingLies(t, log)
	require.Len(t, h.await(t, 1), 1)
}

// The clock was set back after a timer was set: its schedule fires hours early, and is set again.
func TestAClockThatWasSetBack(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Server(t)
	c := &clock{}
	h := newHand()
	h.now = c.Now
	s := start(t, server, timer.Config{Handle: h.handle, Now: c.Now})
	log := openLog(t, server.ClientURL(), 1)
	soon := at("a", c.Now().Add(time.Second))
	require.NoError(t, s.Set(testContext(t), soon))
	c.move(-2 * time.Hour)
	require.Eventually(t, func() bool {
		for range lies(t, log, eventstore.TimerDueSubjects) {
			return false
		}
		return nextSchedule(t, log).After(time.Now().Add(time.Hour))
	}, patience, 10*time.Millisecond)
	c.move(2 * time.Hour)
	require.NoError(t, s.Reschedule(testContext(t)))
	got := h.await(t, 1)
	require.False(t, got[0].at.Before(soon.Due))
	nothingLies(t, log)
	require.Len(t, h.await(t, 1), 1)
}

// scheduleOf gives the subject of the one schedule that is set, and its target.
func scheduleOf(t testing.TB, log *eventstore.Log) (wake, due string) {
	t.Helper()
	msg := lastSchedule(t, log)
	require.NotNil(t, msg)
	return msg.Subject, msg.Header.Get(jetstream.ScheduleTargetHeader)
}

// nextSchedule is when the one schedule fires; the zero time when there is none.
func nextSchedule(t testing.TB, log *eventstore.Log) time.Time {
	t.Helper()
	msg := lastSchedule(t, log)
	if msg == nil {
		return time.Time{}
	}
	fires, err := time.Parse("@at "+time.RFC3339Nano, msg.Header.Get(jetstream.ScheduleHeader))
	require.NoError(t, err)
	return fires
}

func lastSchedule(t testing.TB, log *eventstore.Log) *jetstream.RawStreamMsg {
	t.Helper()
	stream, err := log.JetStream().Stream(testContext(t), eventstore.StreamTimers)
	require.NoError(t, err)
	msg, err := stream.GetLastMsgForSubject(testContext(t), eventstore.TimerWakeSubjects)
	if err != nil {
		require.ErrorIs(t, err, jetstream.ErrMsgNotFound)
		return nil
	}
	return msg
}

// What follows from a timer may set it anew: that one must not be taken away with the one that was handled.
func TestExpireKeepsATimerThatWasSetAnew(t *testing.T) {
	t.Parallel()
	c := &clock{}
	server := embeddedtest.Server(t)
	var s *timer.Service
	first, second := at("a", c.Now().Add(time.Hour)), at("a", c.Now().Add(2*time.Hour))
	s = start(t, server, timer.Config{Now: c.Now, Handle: func(ctx context.Context, tm timer.Timer) error {
		if tm.ID != "a" {
			return nil
		}
		return s.Set(ctx, second)
	}})
	require.NoError(t, s.Set(testContext(t), first))
	c.move(time.Hour)
	for range 2 { // the second time it is handled, and nothing is taken away
		require.NoError(t, s.Expire(testContext(t), first))
		pending, err := s.Pending(testContext(t))
		require.NoError(t, err)
		require.Equal(t, []timer.Timer{second}, pending)
	}
	log := openLog(t, server.ClientURL(), 1)
	require.Len(t, lies(t, log, eventstore.TimerWakeSubjects), 1, "with its schedule, and no other")
	require.NoError(t, s.Expire(testContext(t), at("nowhere", c.Now())), "one that has gone is handled, too")
}

// What cannot be handled stays set.
func TestExpireThatFails(t *testing.T) {
	t.Parallel()
	c := &clock{}
	h := newHand()
	h.now = c.Now
	h.fail.Store(1)
	s := start(t, embeddedtest.Server(t), timer.Config{Now: c.Now, Handle: h.handle})
	later := at("a", c.Now().Add(time.Hour))
	require.NoError(t, s.Set(testContext(t), later))
	c.move(time.Hour)
	require.ErrorContains(t, s.Expire(testContext(t), later), "not now")
	pending, err := s.Pending(testContext(t))
	require.NoError(t, err)
	require.Equal(t, []timer.Timer{later}, pending)
	require.NoError(t, s.Expire(testContext(t), later))
	drained(t, s)
}
