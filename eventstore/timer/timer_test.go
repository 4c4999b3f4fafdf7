package timer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/timer"
)

// The moments lie between two seconds of the clock, where the server's schedule can only be wrong.
func TestATimerIsHandledOnceAndNotEarly(t *testing.T) {
	t.Parallel()
	h := newHand()
	s := start(t, embeddedtest.Server(t), timer.Config{Handle: h.handle})
	now := time.Now()
	for i := range 8 {
		require.NoError(t, s.Set(testContext(t), at(fmt.Sprint(i), now.Add(time.Duration(900+150*i)*time.Millisecond))))
	}
	got := h.await(t, 8)
	drained(t, s)
	require.Len(t, got, 8, "each once")
	for _, g := range got {
		require.False(t, g.at.Before(g.Due), "due %s, handled %s", g.Due, g.at)
	}
}

func TestATimerThatIsDueAlreadyIsHandledAtOnce(t *testing.T) {
	t.Parallel()
	h := newHand()
	s := start(t, embeddedtest.Server(t), timer.Config{Handle: h.handle})
	past := at("a", time.Date(2020, 2, 29, 1, 2, 3, 4, time.UTC))
	require.NoError(t, s.Set(testContext(t), past))
	require.Equal(t, past, h.await(t, 1)[0].Timer, "to the nanosecond, long after")
	drained(t, s)
}

func TestSettingATimerAgainReplacesIt(t *testing.T) {
	t.Parallel()
	h := newHand()
	s := start(t, embeddedtest.Server(t), timer.Config{Handle: h.handle})
	now := time.Now()
	later, sooner := at("a", now.Add(24*time.Hour)), at("a", now.Add(time.Second))
	require.NoError(t, s.Set(testContext(t), later))
	require.NoError(t, s.Set(testContext(t), sooner))
	pending, err := s.Pending(testContext(t))
	require.NoError(t, err)
	require.Equal(t, []timer.Timer{sooner}, pending)
	require.Equal(t, sooner, h.await(t, 1)[0].Timer)
	drained(t, s)
}

// Another timer that was set behind it tells that the cancelled one would have come by now.
func TestACancelledTimerDoesNotCome(t *testing.T) {
	t.Parallel()
	h := newHand()
	s := start(t, embeddedtest.Server(t), timer.Config{Handle: h.handle})
	now := time.Now()
	require.NoError(t, s.Set(testContext(t), at("cancelled", now.Add(time.Second))))
	require.NoError(t, s.Set(testContext(t), at("witness", now.Add(2500*time.Millisecond))))
	require.NoError(t, s.Cancel(testContext(t), "account", "cancelled", "test"))
	require.NoError(t, s.Cancel(testContext(t), "account", "unknown", "test"), "one that is not there is no error")
	got := h.await(t, 1)
	require.Equal(t, "witness", got[0].ID)
	require.Len(t, got, 1)
}

func TestAHandlerThatFailsGetsItAgain(t *testing.T) {
	t.Parallel()
	h := newHand()
	h.fail.Store(3)
	s := start(t, embeddedtest.Server(t), timer.Config{Handle: h.handle})
	require.NoError(t, s.Set(testContext(t), at("a", time.Now())))
	got := h.await(t, 4)
	drained(t, s)
	for _, g := range got {
		require.Equal(t, got[0].Timer, g.Timer)
	}
	require.Len(t, got, 4)
}

// When a schedule fires, the server removes whatever stands on its subject by the time at which it has stored what it fired.
// A timer that is set anew at that very moment must stay all the same.
func TestATimerThatIsSetAnewWhileItFires(t *testing.T) {
	t.Parallel()
	const n = 1000
	h := newHand()
	s := start(t, embeddedtest.Server(t), timer.Config{Handle: h.handle})
	soon := time.Now().Add(1500 * time.Millisecond).Truncate(time.Second).Add(time.Second)
	for i := range n {
		require.NoError(t, s.Set(testContext(t), at(fmt.Sprint(i), soon)))
	}
	h.await(t, 1)
	later := soon.Add(time.Hour)
	for i := n - 1; i >= 0; i-- { // from the other end: those the server comes to last
		require.NoError(t, s.Set(testContext(t), at(fmt.Sprint(i), later)))
	}
	// The witness is set last and comes last, so all that was on its way has come.
	require.NoError(t, s.Set(testContext(t), at("witness", time.Now())))
	require.Eventually(t, func() bool {
		pending, err := s.Pending(testContext(t))
		require.NoError(t, err)
		return len(pending) <= n
	}, patience, 50*time.Millisecond)
	pending, err := s.Pending(testContext(t))
	require.NoError(t, err)
	require.Len(t, pending, n, "none is lost")
	for _, p := range pending {
		require.True(t, p.Due.Equal(later), "%s is due at %s", p.ID, p.Due)
	}
}

// What a schedule has fired whose timer was cancelled or replaced in the meantime is dropped, and the one that has replaced it
// gets its schedule, should it have none.
func TestWhatAScheduleFiresTooLate(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Server(t)
	h := newHand()
	start(t, server, timer.Config{Handle: h.handle})
	log := openLog(t, server.ClientURL(), 1)
	due := time.Now().Add(1500 * time.Millisecond)
	stands := store(t, log, eventstore.TimerSubject("account", "replaced", "test"), fmt.Sprintf(`{"due":%q}`, due.Format(time.RFC3339Nano)))
	_, gone := eventstore.TimerWakeSubject("account", "gone", "test", 1)
	_, before := eventstore.TimerWakeSubject("account", "replaced", "test", stands-1)
	store(t, log, gone, "")
	store(t, log, before, "")
	got := h.await(t, 1)
	require.True(t, got[0].Due.Equal(due))
	require.False(t, got[0].at.Before(due))
	nothingLies(t, log)
	require.Len(t, h.await(t, 1), 1)
}

// A Set that was cut short, as by a crash, leaves a timer without a schedule. It is found once it is overdue.
func TestATimerWithoutAScheduleIsFound(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Server(t)
	stop(t, start(t, server, timer.Config{Handle: newHand().handle})) // makes the stream
	log := openLog(t, server.ClientURL(), 1)
	due := time.Now().Add(-2 * time.Minute)
	store(t, log, eventstore.TimerSubject("account", "a", "test"), fmt.Sprintf(`{"due":%q}`, due.Format(time.RFC3339Nano)))
	h := newHand()
	start(t, server, timer.Config{Handle: h.handle})
	require.True(t, h.await(t, 1)[0].Due.Equal(due))
	nothingLies(t, log)
}

// What is no timer is logged and stays, and holds up nothing.
func TestWhatIsNoTimer(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Server(t)
	h := newHand()
	s := start(t, server, timer.Config{Handle: h.handle})
	log := openLog(t, server.ClientURL(), 1)
	store(t, log, eventstore.TimerSubject("account", "broken", "test"), "{")
	store(t, log, eventstore.TimerSubject("account", "empty", "test"), "{}")
	store(t, log, "closure.timer.set.account", "")
	store(t, log, "closure.timer.due.account", "")
	require.NoError(t, s.Set(testContext(t), at("a", time.Now())))
	h.await(t, 1)
	drained(t, s)
	require.ErrorContains(t, s.Expire(testContext(t), at("broken", time.Now())), "not written by this engine")
	require.NoError(t, s.Set(testContext(t), at("broken", time.Now())), "it may be replaced")
	require.Equal(t, "broken", h.await(t, 2)[1].ID)
	require.NoError(t, s.Cancel(testContext(t), "account", "empty", "test"), "and removed")
	require.NotContains(t, lies(t, log, ">"), eventstore.TimerSubject("account", "empty", "test"))
}
