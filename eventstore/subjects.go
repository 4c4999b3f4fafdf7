package eventstore

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// The streams of the engine.
const (
	StreamLog      = "CLOSURE_LOG"      // the event log; written by this package only
	StreamCommands = "CLOSURE_COMMANDS" // durable inbox of commands and facts
	StreamEvents   = "CLOSURE_EVENTS"   // what downstream consumers subscribe to
	StreamTimers   = "CLOSURE_TIMERS"   // durable timers, and the message schedules that wake them
)

// What the streams hold, and what the micro service listens on.
const (
	LogSubjects     = prefixLog + ">"
	CommandSubjects = prefixCommand + ">"
	RPCSubjects     = prefixRPC + ">"
	EventSubjects   = prefixEvent + ">"
	// Timers that are set, the schedules that wake them, and what those schedules give when their time comes.
	TimerSetSubjects  = prefixTimerSet + ">"
	TimerWakeSubjects = prefixTimerWake + ">"
	TimerDueSubjects  = prefixTimerDue + ">"
	// QueryClosures is where operators ask for the list of closings.
	QueryClosures = prefixQuery + "closures"
	// QueryStatus is where operators ask the engines how they are: each of them answers.
	QueryStatus = prefixQuery + "status"
)

const (
	prefixLog     = "closure.log."
	prefixCommand = "closure.command."
	prefixRPC     = "closure.rpc."
	prefixEvent   = "closure.event."
	prefixQuery   = "closure.query."
	// Within CLOSURE_TIMERS.
	prefixTimerSet  = "closure.timer.set."
	prefixTimerWake = "closure.timer.wake."
	prefixTimerDue  = "closure.timer.due."
	// Within CLOSURE_COMMANDS: commands by their partition, and those that wait.
	prefixInbox = "closure.inbox."
	prefixAside = "closure.aside."

	// absent stands where a subject needs a token and there is nothing to name.
	absent = "_"
)

// LogSubject is where the commits of one aggregate stand: closure.log.<aggregate>.<id>.
func LogSubject(aggregate, id string) string {
	return prefixLog + aggregate + "." + id
}

// isLogSubject tells whether a subject is LogSubject of an aggregate, without making a text of it.
func isLogSubject(s, aggregate, id string) bool {
	rest, ok := strings.CutPrefix(s, prefixLog)
	if !ok || len(rest) != len(aggregate)+1+len(id) {
		return false
	}
	return rest[:len(aggregate)] == aggregate && rest[len(aggregate)] == '.' && rest[len(aggregate)+1:] == id
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

// Forms of the subjects that commands are sent to, for those who have to say what would be right.
const (
	CommandForm = prefixCommand + "<aggregate>.<id>.<command>"
	RPCForm     = prefixRPC + "<aggregate>.<id>.<command>"
)

// InboxPartitions is how many commands of different aggregates may be in hand at a
// time. It is part of the stored subjects, so changing it needs an empty inbox.
const InboxPartitions = 16

// AsideSubjects holds the commands that wait for what they are about.
const AsideSubjects = prefixAside + ">"

// InboxTransform is what the server does to the subject of a command when it stores
// it: closure.inbox.<partition>.<aggregate>.<id>.<command>. What has another number
// of tokens, or a wildcard among them, keeps its subject.
func InboxTransform() (source, destination string) {
	return prefixCommand + "*.*.*",
		fmt.Sprintf("%s{{partition(%d,2)}}.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}", prefixInbox, InboxPartitions)
}

// InboxFilter selects the commands of one partition.
func InboxFilter(partition int) string { return prefixInbox + strconv.Itoa(partition) + ".>" }

// InboxSubject is under which subject the server stores a command.
func InboxSubject(aggregate, id, command string) string {
	return prefixInbox + strconv.Itoa(InboxPartition(id)) + "." + aggregate + "." + id + "." + command
}

// InboxPartition is where the server puts an aggregate: the hash in its partition
// function is FNV-1a of 32 bits.
func InboxPartition(id string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // a hash never fails
	return int(h.Sum32() % InboxPartitions)
}

// AsideSubject is under which subject a command waits.
func AsideSubject(aggregate, id, command string) string {
	return prefixAside + aggregate + "." + id + "." + command
}

// CommandOf gives back the subject that the client sent a stored command to, and
// whether it is one that waits.
func CommandOf(stored string) (subject string, aside bool) {
	if rest, ok := strings.CutPrefix(stored, prefixInbox); ok {
		if _, tokens, ok := strings.Cut(rest, "."); ok {
			return prefixCommand + tokens, false
		}
	}
	if tokens, ok := strings.CutPrefix(stored, prefixAside); ok {
		return prefixCommand + tokens, true
	}
	return stored, false
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

// ValidToken tells whether s can stand in a subject as one token, and means only itself.
func ValidToken(s string) bool {
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

// TimerSubject is where a timer stands while it is set: closure.timer.set.<aggregate>.<id>.<purpose>.
func TimerSubject(aggregate, id, purpose string) string {
	return prefixTimerSet + aggregate + "." + id + "." + purpose
}

// ParseTimerSubject splits the subject of a timer that is set.
func ParseTimerSubject(s string) (aggregate, id, purpose string, ok bool) {
	return parseCommand(s, prefixTimerSet)
}

// TimerWakeSubject names the schedule of a timer, and where it fires to:
// closure.timer.<wake or due>.<aggregate>.<id>.<purpose>.<sequence>. The sequence is the one at which the timer stands, so
// that a timer that is set again has another schedule.
func TimerWakeSubject(aggregate, id, purpose string, sequence uint64) (wake, due string) {
	rest := aggregate + "." + id + "." + purpose + "." + strconv.FormatUint(sequence, 10)
	return prefixTimerWake + rest, prefixTimerDue + rest
}

// ParseTimerDueSubject splits closure.timer.due.<aggregate>.<id>.<purpose>.<sequence>.
func ParseTimerDueSubject(s string) (aggregate, id, purpose string, sequence uint64, ok bool) {
	t, ok := tokens(s, prefixTimerDue, 4)
	if !ok {
		return "", "", "", 0, false
	}
	sequence, err := strconv.ParseUint(t[3], 10, 64)
	if err != nil {
		return "", "", "", 0, false
	}
	return t[0], t[1], t[2], sequence, true
}
