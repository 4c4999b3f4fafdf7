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
