package eventstore

import "strings"

// The streams of the engine.
const (
	StreamLog      = "CLOSURE_LOG"      // the event log; written by this package only
	StreamCommands = "CLOSURE_COMMANDS" // durable inbox of commands and facts
	StreamEvents   = "CLOSURE_EVENTS"   // what downstream consumers subscribe to
)

// What the streams hold, and what the micro service listens on.
const (
	LogSubjects     = prefixLog + ">"
	CommandSubjects = prefixCommand + ">"
	RPCSubjects     = prefixRPC + ">"
	EventSubjects   = prefixEvent + ">"
)

const (
	prefixLog     = "closure.log."
	prefixCommand = "closure.command."
	prefixRPC     = "closure.rpc."
	prefixEvent   = "closure.event."

	// absent stands where a subject needs a token and there is nothing to name.
	absent = "_"
)

// LogSubject is where the commits of one aggregate stand: closure.log.<aggregate>.<id>.
func LogSubject(aggregate, id string) string {
	return prefixLog + aggregate + "." + id
}

// ParseLogSubject splits a subject of the log.
func ParseLogSubject(s string) (aggregate, id string, ok bool) {
	t, ok := tokens(s, prefixLog, 2)
	if !ok {
		return "", "", false
	}
	return t[0], t[1], true
}

// CommandSubject is where a durable command is sent:
// closure.command.<aggregate>.<id>.<command>.
func CommandSubject(aggregate, id, command string) string {
	return prefixCommand + aggregate + "." + id + "." + command
}

// RPCSubject is where the same command is answered at once:
// closure.rpc.<aggregate>.<id>.<command>.
func RPCSubject(aggregate, id, command string) string {
	return prefixRPC + aggregate + "." + id + "." + command
}

// ParseCommandSubject splits closure.command.<aggregate>.<id>.<command>; any other
// number of tokens is not ok.
func ParseCommandSubject(s string) (aggregate, id, command string, ok bool) {
	return parseCommand(s, prefixCommand)
}

// ParseRPCSubject splits closure.rpc.<aggregate>.<id>.<command>; any other number
// of tokens is not ok.
func ParseRPCSubject(s string) (aggregate, id, command string, ok bool) {
	return parseCommand(s, prefixRPC)
}

func parseCommand(s, prefix string) (aggregate, id, command string, ok bool) {
	t, ok := tokens(s, prefix, 3)
	if !ok {
		return "", "", "", false
	}
	return t[0], t[1], t[2], true
}

// EventSubject is where an event is published:
// closure.event.<client>.<type in lower case>.<id>, with "_" for an empty client
// or resource. A type has a dot (ACCOUNT.CLOSED), so the subject has six tokens.
func EventSubject(clientID, eventType, resourceID string) string {
	return prefixEvent + orAbsent(clientID) + "." + strings.ToLower(eventType) + "." + orAbsent(resourceID)
}

// EventFilter selects the events of one client ("*": of all clients) and of one
// family (ACCOUNT, ORDER, …; "": of all families).
func EventFilter(clientID, family string) string {
	filter := prefixEvent + orAbsent(clientID) + "."
	if family != "" {
		filter += strings.ToLower(family) + "."
	}
	return filter + ">"
}

func orAbsent(s string) string {
	if s == "" {
		return absent
	}
	return s
}

// tokens splits what follows the prefix; ok when it is n tokens, none empty.
func tokens(s, prefix string, n int) ([]string, bool) {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return nil, false
	}
	t := strings.Split(rest, ".")
	if len(t) != n {
		return nil, false
	}
	for _, token := range t {
		if token == "" {
			return nil, false
		}
	}
	return t, true
}

// validToken: s can stand in a subject as one token, and means only itself.
func validToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		// Space, control characters, the separator, the wildcards. Bytes from 0x80
		// up are parts of UTF-8 sequences, which a subject may hold.
		if c := s[i]; c <= ' ' || c == 0x7f || c == '.' || c == '*' || c == '>' {
			return false
		}
	}
	return true
}
