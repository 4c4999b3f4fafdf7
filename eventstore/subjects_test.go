package eventstore_test

import (
	"testing"

	"closure/eventstore"
)

func TestSubjects(t *testing.T) {
	for got, want := range map[string]string{
		eventstore.LogSubject("account", "a1"):                    "closure.log.account.a1",
		eventstore.CommandSubject("account", "a1", "rename"):      "closure.command.account.a1.rename",
		eventstore.RPCSubject("account", "a1", "rename"):          "closure.rpc.account.a1.rename",
		eventstore.EventSubject("c1", "ACCOUNT.CLOSED", "a1"):     "closure.event.c1.account.closed.a1",
		eventstore.EventSubject("", "COMMAND.REJECTED", ""):       "closure.event._.command.rejected._",
		eventstore.EventFilter("c1", "ACCOUNT_GROUP"):             "closure.event.c1.account_group.>",
		eventstore.EventFilter("c1", ""):                          "closure.event.c1.>",
		eventstore.EventFilter("*", "ORDER"):                      "closure.event.*.order.>",
		eventstore.EventFilter("", "COMMAND"):                     "closure.event._.command.>",
		eventstore.LogSubjects + " " + eventstore.CommandSubjects: "closure.log.> closure.command.>",
		eventstore.RPCSubjects + " " + eventstore.EventSubjects:   "closure.rpc.> closure.event.>",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestParseSubjects(t *testing.T) {
	if agg, id, ok := eventstore.ParseLogSubject("closure.log.account.a1"); agg != "account" || id != "a1" || !ok {
		t.Errorf("log: %q %q %v", agg, id, ok)
	}
	for _, bad := range []string{"", "closure.log.account", "closure.log.account.", "closure.log..a1", "closure.log.account.a1.x", "closure.command.account.a1", "xclosure.log.account.a1"} {
		if agg, id, ok := eventstore.ParseLogSubject(bad); ok || agg != "" || id != "" {
			t.Errorf("log %q: %q %q %v, want not ok", bad, agg, id, ok)
		}
	}
	for prefix, parse := range map[string]func(string) (string, string, string, bool){
		"closure.command.": eventstore.ParseCommandSubject,
		"closure.rpc.":     eventstore.ParseRPCSubject,
	} {
		if agg, id, cmd, ok := parse(prefix + "account.a1.rename"); agg != "account" || id != "a1" || cmd != "rename" || !ok {
			t.Errorf("%s: %q %q %q %v", prefix, agg, id, cmd, ok)
		}
		for _, bad := range []string{"", "account", "account.a1", "account.a1.", "account..rename", ".a1.rename", "account.a1.rename.now"} {
			if agg, id, cmd, ok := parse(prefix + bad); ok || agg != "" || id != "" || cmd != "" {
				t.Errorf("%s%s: %q %q %q %v, want not ok", prefix, bad, agg, id, cmd, ok)
			}
		}
		if _, _, _, ok := parse("closure.other.account.a1.rename"); ok {
			t.Errorf("%s: another prefix is ok", prefix)
		}
	}
}

func TestTimerSubjects(t *testing.T) {
	set := eventstore.TimerSubject("account", "a1", "stall")
	wake, due := eventstore.TimerWakeSubject("account", "a1", "stall", 17)
	for got, want := range map[string]string{
		set: "closure.timer.set.account.a1.stall", eventstore.TimerSetSubjects: "closure.timer.set.>",
		wake: "closure.timer.wake.account.a1.stall.17", eventstore.TimerWakeSubjects: "closure.timer.wake.>",
		due: "closure.timer.due.account.a1.stall.17", eventstore.TimerDueSubjects: "closure.timer.due.>",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if agg, id, purpose, ok := eventstore.ParseTimerSubject(set); agg != "account" || id != "a1" || purpose != "stall" || !ok {
		t.Errorf("%s: %q %q %q %v", set, agg, id, purpose, ok)
	}
	for _, bad := range []string{"", "closure.timer.set.account.a1", "closure.timer.set.account.a1.stall.17", "closure.timer.set.account..stall", due, wake} {
		if agg, id, purpose, ok := eventstore.ParseTimerSubject(bad); ok || agg+id+purpose != "" {
			t.Errorf("%q: %q %q %q %v, want not ok", bad, agg, id, purpose, ok)
		}
	}
	if agg, id, purpose, seq, ok := eventstore.ParseTimerDueSubject(due); agg != "account" || id != "a1" || purpose != "stall" || seq != 17 || !ok {
		t.Errorf("%s: %q %q %q %d %v", due, agg, id, purpose, seq, ok)
	}
	for _, bad := range []string{"", set, wake, "closure.timer.due.account.a1.stall", "closure.timer.due.account.a1.stall.x", "closure.timer.due.account.a1.stall.-1", due + ".1"} {
		if agg, id, purpose, seq, ok := eventstore.ParseTimerDueSubject(bad); ok || agg+id+purpose != "" || seq != 0 {
			t.Errorf("%q: %q %q %q %d %v, want not ok", bad, agg, id, purpose, seq, ok)
		}
	}
	for s, want := range map[string]bool{"a1": true, "größe": true, "": false, "a.b": false, "a b": false, "*": false, ">": false, "a\n": false} {
		if eventstore.ValidToken(s) != want {
			t.Errorf("%q is a token: %v, want %v", s, !want, want)
		}
	}
}
