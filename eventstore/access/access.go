// Package access says what each role may do on NATS: who publishes commands, who reads events, who reads the log. The embedded
// server holds its users to it, and a cluster is to be given the same.
package access

import (
	"fmt"
	"strings"

	"closure/eventstore"
)

// Role is a user of NATS.
type Role struct {
	Name string
	// Text says who it is for.
	Text string
	// Publish and Subscribe are the subjects that it may use; everything else is denied.
	Publish, Subscribe []string
	// Inbox is the prefix of the subjects on which it gets answers: its own, so that nobody reads the answers to another role.
	Inbox string
}

// The names of the roles.
const (
	Engine     = "engine"
	Upstream   = "upstream"
	Downstream = "downstream"
	Audit      = "audit"
)

// Inbox is the prefix of a role's inbox.
func Inbox(name string) string { return "_INBOX." + name }

// Roles lists them all.
func Roles() []Role {
	roles := []Role{
		{
			Name: Engine, Text: "the engine, and the operator's commands: everything",
			Publish: []string{">"}, Subscribe: []string{">"},
		},
		{
			Name: Upstream, Text: "services that send commands and facts",
			Publish: []string{
				eventstore.CommandSubjects, // JetStream acknowledges it: accepted, and safe
				eventstore.RPCSubjects,
				// COMMAND.REJECTED tells what became of a command that was left in the inbox.
				lastFor(eventstore.StreamEvents),
			},
		},
		{
			Name: Downstream, Text: "services that read the published events, by consumers of their own",
			Publish: append(reading(eventstore.StreamEvents),
				"$JS.API.CONSUMER.CREATE."+eventstore.StreamEvents+".>",
				"$JS.API.CONSUMER.DURABLE.CREATE."+eventstore.StreamEvents+".*",
				"$JS.API.CONSUMER.INFO."+eventstore.StreamEvents+".*",
				"$JS.API.CONSUMER.MSG.NEXT."+eventstore.StreamEvents+".*",
				"$JS.ACK."+eventstore.StreamEvents+".>",
			),
		},
		{
			Name: Audit, Text: "auditors, who read the log and the published events, and change nothing: not even a consumer",
			Publish: append(reading(eventstore.StreamLog), reading(eventstore.StreamEvents)...),
		},
	}
	for i := range roles {
		roles[i].Inbox = Inbox(roles[i].Name)
		if roles[i].Name != Engine {
			roles[i].Subscribe = []string{roles[i].Inbox + ".>"}
		}
	}
	return roles
}

// lastFor is the direct get of the last message of a subject.
func lastFor(stream string) string { return "$JS.API.DIRECT.GET." + stream + ".>" }

// reading is what reads a stream without changing anything.
func reading(stream string) []string {
	return []string{
		"$JS.API.STREAM.INFO." + stream,
		"$JS.API.STREAM.MSG.GET." + stream,
		"$JS.API.DIRECT.GET." + stream,
		lastFor(stream),
	}
}

// ServerConfig writes the roles as a NATS server's configuration has them. keys are their public nkeys.
func ServerConfig(keys map[string]string) string {
	var b strings.Builder
	b.WriteString("authorization {\n  users = [\n")
	for _, r := range Roles() {
		fmt.Fprintf(&b, "    # %s: %s\n    { nkey: %q\n      permissions: {\n", r.Name, r.Text, keys[r.Name])
		fmt.Fprintf(&b, "        publish: { allow: [%s] }\n", quoted(r.Publish))
		fmt.Fprintf(&b, "        subscribe: { allow: [%s] }\n      } }\n", quoted(r.Subscribe))
	}
	b.WriteString("  ]\n}\n")
	return b.String()
}

func quoted(subjects []string) string {
	out := make([]string, len(subjects))
	for i, s := range subjects {
		out[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(out, ", ")
}
