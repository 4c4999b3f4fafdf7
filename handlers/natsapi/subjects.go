package natsapi

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// The subjects within CLOSURE_COMMANDS that nobody outside of this package uses. A well-formed command is stored as
// closure.inbox.<partition>.<aggregate>.<id>.<command>; one that waits as closure.aside.<aggregate>.<id>.<command>.
const (
	inboxPrefix   = "closure.inbox."
	asidePrefix   = "closure.aside."
	commandPrefix = "closure.command."
	asideSubjects = asidePrefix + ">"

	// transformSource is what the server stores under a partition, and transformTo where. What has another number of
	// tokens, or a wildcard among them, keeps its subject under closure.command.>.
	transformSource = commandPrefix + "*.*.*"
	commandForm     = commandPrefix + "<aggregate>.<id>.<command>"
)

// partitions is how many commands of different aggregates may be in hand at a time. It is part of the stored subjects,
// so changing it needs an empty inbox.
const partitions = 16

func transformTo() string {
	return fmt.Sprintf("%s{{partition(%d,2)}}.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}", inboxPrefix, partitions)
}

// inboxFilter selects the commands of one partition.
func inboxFilter(partition int) string { return inboxPrefix + strconv.Itoa(partition) + ".>" }

// partitionOf is where the server puts an aggregate: the hash in its partition function is FNV-1a of 32 bits.
func partitionOf(id string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // a hash never fails
	return int(h.Sum32() % partitions)
}

// inboxSubject is under which subject the server stores a command.
func inboxSubject(aggregate, id, command string) string {
	return inboxPrefix + strconv.Itoa(partitionOf(id)) + "." + aggregate + "." + id + "." + command
}

// asideSubject is under which subject a command waits.
func asideSubject(aggregate, id, command string) string {
	return asidePrefix + aggregate + "." + id + "." + command
}

// sentAs gives back the subject that the client sent a stored command to.
func sentAs(stored string) string {
	if rest, ok := strings.CutPrefix(stored, inboxPrefix); ok {
		if _, tokens, ok := strings.Cut(rest, "."); ok {
			return commandPrefix + tokens
		}
	}
	if tokens, ok := strings.CutPrefix(stored, asidePrefix); ok {
		return commandPrefix + tokens
	}
	return stored
}
